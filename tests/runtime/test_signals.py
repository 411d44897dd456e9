"""Signals while the main thread is busy; each case ends a process of its own."""

import signal
import subprocess
import sys
import time

import pytest

PROGRAM = """
import sys, threading, time
from jaxmnist.runtime.signals import StopSignals

def rescue():
    print("rescued", flush=True)
    time.sleep({saving})

with StopSignals({seconds}, "ended in time.") as stop, stop.busy(rescue):
    print("ready", flush=True)
    deaf = threading.Event()
    while not deaf.wait(30):
        pass
"""


def start(seconds, saving=0.0):
    program = PROGRAM.format(seconds=seconds, saving=saving)
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(
    ("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_work_that_does_not_end_in_time_is_saved_and_ended(signum, code):
    process = start(0.2)
    process.send_signal(signum)
    began = time.perf_counter()
    output, errors = process.communicate(timeout=20)
    assert time.perf_counter() - began < 2
    assert (process.returncode, output, errors) == (code, "rescued\n", "error: ended in time.\n")


@pytest.mark.parametrize(("seconds", "saving"), [(30, 0), (0, 30)])
def test_a_second_signal_ends_at_once_even_while_the_first_one_saves(seconds, saving):
    process = start(seconds, saving)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    began = time.perf_counter()
    process.communicate(timeout=20)
    assert time.perf_counter() - began < 1
    assert process.returncode == 130


def test_the_handlers_from_before_are_in_force_again_afterwards():
    from jaxmnist.runtime.signals import StopSignals

    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with StopSignals(30.0) as outer, StopSignals(30.0) as inner:
        signal.raise_signal(signal.SIGTERM)
        assert (outer.requested, inner.requested) == (None, signal.SIGTERM)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_hangup_that_is_ignored_as_under_nohup_stays_ignored():
    from jaxmnist.runtime.signals import StopSignals

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignals(30.0) as stop:
            signal.raise_signal(signal.SIGHUP)
            assert stop.requested is None
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
