"""Where the program runs: what JAX and the C library are told before the first array."""

import ctypes
import subprocess
import sys

import pytest

from jaxmnist.errors import UsageError
from jaxmnist.parallel import select_device


def test_a_device_that_is_not_there_is_named_with_what_to_install():
    with pytest.raises(UsageError, match=r"no tpu device .* only cpu; .* pip install 'jax\[tpu\]'"):
        select_device("tpu")


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_memory_that_a_program_frees_is_there_for_its_next_call():
    # In a process of its own: a C library that has served others keeps to the arenas it has.
    answer = subprocess.run([sys.executable, "-c", _PAGE_FAULTS], check=True, capture_output=True, text=True)
    faults, pages = map(int, answer.stdout.split())
    assert faults < pages / 10


# 40 MB: glibc by itself keeps blocks of up to 32 MB, and a thread's arena holds 64. It takes some calls until
# freed blocks have joined to one that is large enough.
_PAGE_FAULTS = """
import resource
import jax
from jaxmnist.parallel import select_device

device = select_device("cpu")
ones = jax.device_put(jax.numpy.ones((40, 2**18)), device)
program = jax.jit(lambda x: x + 1)

def page_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    program(ones).block_until_ready()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(min(page_faults() for _ in range(40)), ones.nbytes // resource.getpagesize())
"""
