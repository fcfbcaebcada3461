"""Timestamps and clock errors as test packets carry them, for whole arrays, in exact integer arithmetic. Pure.

NTP 64-bit format (RFC 5905 section 6; RFC 4656 section 4.1.2):

      0                   1                   2                   3
      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
     |      seconds since 1900-01-01T00:00:00Z, modulo 2^32          |
     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
     |      fraction of a second in units of 2^-32 s                 |
     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+

Truncated PTPv2 format (RFC 8186 section 2.1): seconds since 1970-01-01 modulo 2^32, then nanoseconds below 10^9.

Error Estimate (RFC 4656 section 4.1.2; bit Z: RFC 8186 section 2.3):

      0                   1
      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5
     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
     |S|Z|   Scale   |   Multiplier  |     error = Multiplier * 2^Scale / 2^32 seconds
     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+

S: the clock is synchronised to UTC by an outside source. Z: 0 NTP, 1 truncated PTPv2. Multiplier 0 says nothing and
is to be disbelieved. A word is a 64-bit timestamp as one unsigned number. Era 1 of NTP begins 2036-02-07T06:28:16Z:
which era a word is of is told by a time known to be near, that is, within 68 years.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from probes.core.arrays import ABSENT, Int64

Words = NDArray[np.uint64]

EPOCH_1900_S: Final = 2_208_988_800
"""seconds from 1900-01-01 to 1970-01-01, 17 leap days among them"""
ERA_NS: Final = 2**32 * 10**9
"""after so many ns a word comes again"""
NEAR_LIMIT_NS: Final = 2**62
"""how far from 1970 `near_ns` may be: 146 years"""

_SECOND: Final = 10**9
_NS_IN_UNIT: Final = np.array(_SECOND / 2**32)
_EPOCH_1900: Final = np.array(EPOCH_1900_S)
"""arrays, since numpy takes longer to turn a number into one than to add it"""
_LOW: Final = np.uint64(0xFFFF_FFFF)
_HIGH: Final = np.uint64(32)
_LARGEST: Final = np.iinfo(np.int64).max
_MOST_UNITS: Final = 255 << 63


@dataclass(frozen=True, slots=True, eq=False)
class ErrorEstimates:
    """What far clocks say of themselves, arrays (n,). error_ns: rounded up, ABSENT where Multiplier is 0, the largest
    int64 where it would not fit."""

    error_ns: Int64
    synchronised: NDArray[np.bool_]
    ptp: NDArray[np.bool_]


def to_ntp(ns: Int64) -> Words:
    """UTC ns since 1970 as NTP words, rounded to the nearest 2^-32 s. Exactly undone by from_ntp."""
    seconds, rest = np.divmod(ns, _SECOND)
    fraction = ((rest << 32) + _SECOND // 2) // _SECOND
    return _word(seconds + EPOCH_1900_S, fraction)


def from_ntp(words: Words, near_ns: Int64 | int) -> Int64:
    """NTP words as UTC ns since 1970, rounded to the nearest ns, of the era that comes nearest to near_ns, scalar or
    (n,), which lies within NEAR_LIMIT_NS of 1970."""
    seconds = (words >> _HIGH).astype(np.int64)
    fraction = (words & _LOW).astype(np.int64)
    return _nearest((seconds - EPOCH_1900_S) * _SECOND + ((fraction * _SECOND + (1 << 31)) >> 32), near_ns)


def to_ptp(ns: Int64) -> Words:
    """ns since 1970 as truncated PTPv2 words, exactly. The timescale stays that of `ns`.

    PTP's own is TAI, ahead of UTC by the leap seconds (37 s since 2017). What is written here from UTC reads as UTC;
    a far side that keeps TAI shows as a one-way delay near 37 s, which is for the caller to see.
    """
    seconds, rest = np.divmod(ns, _SECOND)
    return _word(seconds, rest)


def halves(seconds: Int64, rest: Int64, *, ptp: bool) -> tuple[Int64, NDArray[np.float64] | Int64]:
    """What to_ntp and to_ptp give for struct timespec, seconds since 1970 and ns, as the two halves of the words: the
    first modulo 2^32, the second exactly. A reflector's few operations count (docs/decisions/0012).

    The quotient is one of numbers that a double holds exactly, so it is off by less than 2^-22; how near it can come to
    the middle between two units, 1 / (2 * 5^9), is more than that.
    """
    return (seconds, rest) if ptp else (seconds + _EPOCH_1900, np.rint(rest / _NS_IN_UNIT))


def from_ptp(words: Words, near_ns: Int64 | int) -> Int64:
    """Truncated PTPv2 words as ns since 1970 nearest to near_ns (see from_ntp), in the timescale they were written in;
    ABSENT where the nanoseconds are not below 10^9."""
    seconds = (words >> _HIGH).astype(np.int64)
    rest = (words & _LOW).astype(np.int64)
    return np.where(rest < _SECOND, _nearest(seconds * _SECOND + rest, near_ns), ABSENT)


def error_estimate(error_ns: int, *, synchronised: bool, ptp: bool) -> int:
    """The 16 bits for a clock that is at most error_ns wrong: the smallest value they can hold that is not less.

    Multiplier is never 0. Raises ValueError for a negative error.
    """
    if error_ns < 0:
        raise ValueError(f"a clock cannot be {error_ns} ns wrong at most")
    units = min(-(-(error_ns << 32) // _SECOND), _MOST_UNITS)
    scale = max(0, units.bit_length() - 8)
    if -(-units >> scale) > 255:
        scale += 1
    multiplier = max(1, -(-units >> scale))
    return synchronised << 15 | ptp << 14 | scale << 8 | multiplier


def read_error(words: ArrayLike) -> ErrorEstimates:
    """Error Estimate fields, (n,) of any integer type."""
    fields = np.asarray(words).astype(np.int64)
    scale, multiplier = (fields >> 8) & 63, fields & 255
    product = multiplier * _SECOND
    down, up = np.maximum(32 - scale, 0), np.maximum(scale - 32, 0)
    fits = product <= _LARGEST >> up
    error = np.where(fits, ((product + (1 << down) - 1) >> down) << np.where(fits, up, 0), _LARGEST)
    error[multiplier == 0] = ABSENT
    return ErrorEstimates(error, (fields & 0x8000) != 0, (fields & 0x4000) != 0)


def _word(seconds: Int64, fraction: Int64) -> Words:
    return ((seconds << 32) | fraction).view(np.uint64)


def _nearest(ns: Int64, near_ns: Int64 | int) -> Int64:
    """`ns` moved by whole eras to within half an era of near_ns."""
    return ns + (near_ns - ns + ERA_NS // 2) // ERA_NS * ERA_NS
