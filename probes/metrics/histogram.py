"""Log-linear histogram of delays: 128 buckets per octave, the same for all, so that histograms merge exactly. Pure.

Below 128 ns every ns is its own bucket. Above, a value with exponent e = floor(log2 ns) - 7 is in bucket
128 e + (ns >> e): its top eight bits. A bucket is 2^e ns wide and starts at 128 * 2^e or above, so it is at most
1/128 = 0.79 % of its values wide. Bucket numbers ascend with the delay and have no gaps: 127 ns is bucket 127, 128 ns
is bucket 128, 256 and 257 ns are bucket 256.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Final

import numpy as np

from probes.core.arrays import SUB_BUCKET_BITS, SUB_BUCKETS, Histogram, Int64

_LARGEST: Final = np.iinfo(np.int64).max
EMPTY: Final = Histogram(np.zeros(0, np.int64), np.zeros(0, np.int64))


def bucket_of(values_ns: Int64) -> Int64:
    """Bucket number of each delay, same shape. A negative one (the clock stepped between its stamps) is in bucket 0."""
    values = np.maximum(np.asarray(values_ns, np.int64), 0)
    # frexp of the float is one too high where the conversion rounded up to a power of two.
    octave = np.maximum(np.frexp(values.astype(np.float64))[1].astype(np.int64) - 1, SUB_BUCKET_BITS)
    octave -= (values >> octave == 0) & (octave > SUB_BUCKET_BITS)
    exponent = octave - SUB_BUCKET_BITS
    return np.asarray(SUB_BUCKETS * exponent + (values >> exponent), np.int64)


def bounds(index: Int64) -> tuple[Int64, Int64]:
    """(lower, upper) of each bucket, half-open, ns. The last bucket's upper bound is the largest int64."""
    index = np.asarray(index, np.int64)
    exponent = np.maximum(index // SUB_BUCKETS - 1, 0)
    lower = index - SUB_BUCKETS * exponent << exponent
    width = np.int64(1) << exponent
    return lower, lower + np.minimum(width, _LARGEST - lower)


def build(values_ns: Int64) -> Histogram:
    """Histogram of delays, shape (n,)."""
    index, count = np.unique(bucket_of(values_ns), return_counts=True)
    return Histogram(index.astype(np.int64), count.astype(np.int64))


def merge(histograms: Iterable[Histogram]) -> Histogram:
    """The histogram of all their delays together; exact. No histograms make an empty one."""
    parts = list(histograms) or [EMPTY]
    index, where = np.unique(np.concatenate([part.index for part in parts]), return_inverse=True)
    count = np.zeros(len(index), np.int64)
    np.add.at(count, where, np.concatenate([part.count for part in parts]))
    return Histogram(index, count)


def total(histogram: Histogram) -> int:
    """Number of delays in it."""
    return int(histogram.count.sum())


def percentile(histogram: Histogram, p: Fraction) -> tuple[int, int] | None:
    """Bounds [lower, upper) in ns of the percentile p (0 < p <= 1) by nearest rank, RFC 2330 section 11.3.

    The exact value of the delays the histogram was built from lies within. None for an empty histogram.
    """
    if not 0 < p <= 1:
        raise ValueError(f"percentile {p} is not in (0, 1]")
    reach = np.cumsum(histogram.count)
    if not len(reach):
        return None
    rank = -(-p.numerator * int(reach[-1]) // p.denominator)
    lower, upper = bounds(histogram.index[int(np.searchsorted(reach, rank, side="left"))])
    return int(lower), int(upper)
