"""Leftovers: memory that a compiler has freed and the C library keeps, which a step cannot use all of."""

from __future__ import annotations

import ctypes
import sys


def give_back() -> None:
    """Hand it back to the system, where its C library is one that can be told to."""
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "malloc_trim"):
        library.malloc_trim(0)
