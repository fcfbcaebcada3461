"""Numbers as decimal digits, for many rows at once: tables of four digits in one 32-bit word. Pure.

A token is a row of words; octets that a number does not need are NUL, and are taken out when the lines are put
together. Every text is the one that Python's own `%d` and `repr` give.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from probes.core.arrays import Int64

Words = NDArray[np.uint32]
"""Four octets of text each, (words, rows): the first word of every row, then the second..."""

COLON: Final = np.frombuffer(b":\0\0\0", np.uint32)[0]
SEMICOLON: Final = np.frombuffer(b";\0\0\0", np.uint32)[0]
HIGHEST_MS: Final = 10**15
"""ns below this are written exactly by `milliseconds`: their ms have at most 15 digits, so that no double is nearer."""
_COMMA: Final = ord(",")
_TEN_THOUSAND: Final = 10_000
_MILLION: Final = 10**6
_THOUSAND: Final = 1_000


def _table(texts: Callable[[int], str], size: int) -> Words:
    """The text of each number, right-aligned in four octets."""
    return np.frombuffer(b"".join(texts(n).encode("ascii").rjust(4, b"\0") for n in range(size)), np.uint32)


_LAST: Final = np.concatenate((_table("%d".__mod__, _TEN_THOUSAND), _table("%04d".__mod__, _TEN_THOUSAND)))
"""The last four digits; in the second half there are others before them."""
_HIGHER: Final = np.concatenate((np.zeros(1, np.uint32), _LAST[1:]))
"""Digits further up: none where the number has none there."""


def _fraction(thousandths: int) -> str:
    return f".{thousandths:03d}".rstrip("0").ljust(2, "0")


_FIRST_OF_FRACTION: Final = np.concatenate((_table(_fraction, _THOUSAND), _table(".%03d".__mod__, _THOUSAND)))
_REST_OF_FRACTION: Final = _table(lambda n: f"{n:03d}".rstrip("0"), _THOUSAND)
_TINY: Final = np.array([repr(n / 1e6) for n in range(100)], "S12").view(np.uint32).reshape(100, 3).T.copy()


def words_of(highest: int) -> int:
    """Words that `integers` needs for values up to this."""
    return -(-len(str(highest)) // 4)


def integers(values: Int64, words: int) -> Words:
    """Not negative, below 10^(4 words): as `%d`."""
    found = np.empty((words, len(values)), np.uint32)
    left = values
    for place in range(words - 1, -1, -1):
        table = _LAST if place == words - 1 else _HIGHER
        if place:
            above = left // _TEN_THOUSAND
            digits = left - above * _TEN_THOUSAND
            digits += (above > 0) * _TEN_THOUSAND
            left = above
        else:
            digits = left
        found[place] = table[digits]
    return found


def milliseconds(values: Int64, words: int) -> Words:
    """ns in 0 .. HIGHEST_MS as `repr(ns / 1e6)`. words: of the whole ms; two more come after them, three at least."""
    whole = values // _MILLION
    fraction = values - whole * _MILLION
    first = fraction // _THOUSAND
    rest = fraction - first * _THOUSAND
    found = np.empty((words + 2, len(values)), np.uint32)
    found[:words] = integers(whole, words)
    found[words] = _FIRST_OF_FRACTION[first + (rest > 0) * _THOUSAND]
    found[words + 1] = _REST_OF_FRACTION[rest]
    # Below 100 ns repr takes to exponents.
    tiny = np.flatnonzero((values > 0) & (values < 100))
    if len(tiny):
        found[:, tiny] = 0
        found[:3, tiny] = _TINY[:, values[tiny]]
    return found


def reals(values: NDArray[np.float64]) -> Words:
    """As `repr`. One call of it for all: `[a, b, ..., z]`, from which the numbers are then taken."""
    octets = np.frombuffer(f"{values.tolist()!r}".encode("ascii"), np.uint8)
    commas = np.flatnonzero(octets == _COMMA)
    first = np.concatenate(([1], commas + 2))
    lengths = np.concatenate((commas, [len(octets) - 1])) - first
    width = -(-int(lengths.max()) // 4) * 4
    place = np.arange(width)
    padded = np.concatenate((octets, np.zeros(width, np.uint8)))
    table = padded[first[:, None] + place]
    table[place >= lengths[:, None]] = 0
    found: Words = table.view(np.uint32).T
    return found


def texts(octets: list[bytes]) -> Words:
    """Texts without NUL, left-aligned."""
    width = max(1, -(-max(map(len, octets), default=0) // 4))
    table: NDArray[Any] = np.array(octets, f"S{4 * width}")
    found: Words = table.view(np.uint32).reshape(len(octets), width).T
    return found
