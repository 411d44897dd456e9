"""Signals while the main thread is busy; each case ends a process of its own."""

import contextlib
import signal
import subprocess
import sys
import threading
import time

import pytest

from jaxmnist.runtime.signals import StopSignals, own_process

PROGRAM = """
import sys, threading, time
from jaxmnist.runtime.signals import StopSignals, own_process

def rescue():
    print("rescued", flush=True)
    time.sleep({saving})

with own_process(), StopSignals({seconds}, "ended in time.") as stop, stop.busy(rescue):
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
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with StopSignals(30.0) as outer, StopSignals(30.0) as inner:
        signal.raise_signal(signal.SIGTERM)
        assert (outer.requested, inner.requested) == (None, signal.SIGTERM)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_hangup_that_is_ignored_as_under_nohup_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignals(30.0) as stop:
            signal.raise_signal(signal.SIGHUP)
            assert stop.requested is None
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_outside_of_a_command_no_signal_ends_the_process_and_the_work_goes_on_to_its_end(signum, monkeypatch):
    monkeypatch.setattr("os._exit", lambda code: pytest.fail(f"ended with {code}"))
    threads = threading.active_count()
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    with (
        contextlib.suppress(ZeroDivisionError),
        StopSignals(0.0, "ended.") as stop,
        stop.busy(lambda: pytest.fail("saved")),
    ):
        signal.raise_signal(signum)
        signal.raise_signal(signum)  # impatience
        assert threading.active_count() == threads
        time.sleep(0.1)
        assert stop.requested == signum
        raise ZeroDivisionError
    assert {one: signal.getsignal(one) for one in before} == before


def test_an_interrupt_that_the_work_did_not_see_is_raised_afterwards():
    with pytest.raises(KeyboardInterrupt), StopSignals():
        signal.raise_signal(signal.SIGINT)


def test_work_that_does_not_end_for_long_is_cut_off_by_another_interrupt(monkeypatch):
    monkeypatch.setattr("jaxmnist.runtime.signals._PATIENCE", 0.0)
    with contextlib.suppress(ZeroDivisionError), StopSignals():
        signal.raise_signal(signal.SIGINT)
        time.sleep(0.01)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise ZeroDivisionError


def test_a_handler_of_the_caller_is_told_once_the_work_has_ended():
    told = []
    before = signal.signal(signal.SIGTERM, lambda signum, _: told.append(signum))
    try:
        with contextlib.suppress(ZeroDivisionError), StopSignals():
            signal.raise_signal(signal.SIGTERM)
            assert told == []
            raise ZeroDivisionError
        assert told == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_another_thread_than_the_main_one_leaves_signals_alone():
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work():
        with own_process(), StopSignals() as stop:
            seen.append((stop.requested, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(None, before)]
