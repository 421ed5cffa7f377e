"""Leftovers: freed memory that the C library would keep goes back to the system."""

import ctypes
import re
import sys
from pathlib import Path

import pytest

from ppvae.backends.devices.leftovers import give_back

COUNT, SIZE = 2000, 100_000  # each too small to be mapped by itself


def resident() -> int:
    """Bytes of memory that the process holds."""
    return 1024 * int(re.findall(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())[0])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and other systems' C libraries take no such advice")
def test_what_was_freed_below_what_is_held_goes_back() -> None:
    library = ctypes.CDLL(None)
    if not hasattr(library, "malloc_trim"):
        pytest.skip("this C library cannot be told to give memory back")
    library.malloc.restype, library.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    blocks = [library.malloc(SIZE) for _ in range(COUNT)]
    for block in blocks:
        ctypes.memset(block, 1, SIZE)
    for block in blocks[:-1]:  # the last one keeps the heap from shrinking by itself
        library.free(block)
    before = resident()
    give_back()
    assert before - resident() > COUNT * SIZE / 2
    library.free(blocks[-1])
