"""Fields of what only a far end knows: both directions, residence and the path, in the order of the store. Pure.

Every integer under the store's name; what a direction lacks is left out, a whole part of it or one value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any, Final

from agent.sla.samples.columns import DIRECTIONS, FAR_COLUMNS, ONE_WAY_COLUMNS, RESIDENCE_COLUMNS
from agent.store.far_end import FAR_HISTOGRAMS, PATH
from probes.core.model import Delay, OneWay, Path, Residence, Sample, Variation
from probes.core.path_text import to_text

Pair = tuple[str, int]

DELAY: Final = ONE_WAY_COLUMNS[2:10]
VARIATION: Final = ONE_WAY_COLUMNS[10:15]
OPTIONAL_VARIATION: Final = ("ipdv_p95_ns", "rfc3550_ns")
"""What a direction may lack although it has a variation."""
PATH_FIELDS: Final = ("hop_count", "target_reached", "path_mtu")
"""Derived from the path, for databases that keep no text."""
FAR_FIELDS: Final = (*FAR_COLUMNS, *PATH_FIELDS)

_READ_DELAY: Final[Callable[[Delay], tuple[int, ...]]] = attrgetter(
    "count", "sum_ns", "minimum_ns", "maximum_ns", "p50_ns", "p95_ns", "p99_ns", "stddev_ns"
)
_READ_VARIATION: Final[Callable[[Variation], tuple[int | None, ...]]] = attrgetter(*VARIATION)
_READ_RESIDENCE: Final[Callable[[Residence], tuple[int, ...]]] = attrgetter(
    "count", "sum_ns", "minimum_ns", "maximum_ns"
)


def integers(sample: Sample) -> list[Pair]:
    """Names and values that the sample has, in their order in the line."""
    found: list[Pair] = []
    for way, one in zip(DIRECTIONS, (sample.forward, sample.backward), strict=True):
        if one is not None:
            found += [(f"{way}_{name}", value) for name, value in _one_way(one) if value is not None]
    if sample.residence is not None:
        found += zip(RESIDENCE_COLUMNS, _READ_RESIDENCE(sample.residence), strict=True)
    if sample.path is not None:
        found += _of_path(sample.path)
    return found


def _one_way(one: OneWay) -> Iterator[tuple[str, int | None]]:
    yield from (("sent", one.sent), ("lost", one.lost))
    if one.delay is not None:
        yield from zip(DELAY, _READ_DELAY(one.delay), strict=True)
    if one.variation is not None:
        yield from zip(VARIATION, _READ_VARIATION(one.variation), strict=True)
    yield from (("error_ns", one.error_ns), ("dscp", one.dscp), ("ttl", one.ttl), ("stamped", one.stamped))


def _of_path(path: Path) -> Iterator[Pair]:
    yield from (("hop_count", len(path.hops)), ("target_reached", int(path.reached)))
    if path.mtu is not None:
        yield "path_mtu", path.mtu


def texts(sample: Sample) -> Iterator[tuple[str, str]]:
    """Names and texts, not quoted."""
    ways = (sample.forward, sample.backward)
    for way, one in zip(DIRECTIONS, ways, strict=True):
        if one is not None and one.withheld:
            yield f"{way}_withheld", one.withheld
    if sample.path is not None:
        yield PATH, to_text(sample.path)


def histograms(sample: Sample) -> Iterator[tuple[str, Any]]:
    """Names and histograms."""
    for name, one in zip(FAR_HISTOGRAMS, (sample.forward, sample.backward), strict=True):
        if one is not None and one.histogram is not None:
            yield name, one.histogram
