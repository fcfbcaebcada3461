"""How this process deals with memory it has freed: kept for the next column instead of given back and asked for again.

A month of a column is 2 MB. By default the C library returns such memory to the kernel as soon as it is freed, and
every page of the next column is cleared anew: a third of the time of judging many circuits in turn.
"""

from __future__ import annotations

import ctypes
from typing import Final

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_AT_ONCE: Final = 32 * 1024 * 1024
"""Larger pieces still come from the kernel and go back to it: the most that the C library allows."""


def keep_freed(octets: int) -> bool:
    """From now on up to so much freed memory stays with the process. False where the C library knows no such thing."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _AT_ONCE)) and bool(mallopt(_TRIM_THRESHOLD, octets))
