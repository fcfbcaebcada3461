"""What a sample knows by its far end, as columns of its row and back: both directions, residence and the path. Pure.

A direction has parts (delay, variation) whose first column tells a missing one from one that is there. A sample of a
kind without a far end of its own has NULL throughout, in the live database, and no such column in a sealed file.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from agent.sla.samples.columns import DIRECTIONS, FAR_COLUMNS, ONE_WAY_COLUMNS, RESIDENCE_COLUMNS, WITHHELD_COLUMNS
from probes.core.arrays import Histogram
from probes.core.model import Delay, OneWay, Path, Residence, Sample, Variation
from probes.core.path_text import from_text, to_text

Value = int | float | str | bytes | None
Row = tuple[Value, ...]

PATH: Final = "path"
FAR_TEXTS: Final = (*WITHHELD_COLUMNS, PATH)
FAR_HISTOGRAMS: Final = tuple(f"{way}_histogram" for way in DIRECTIONS)
FAR_SAMPLE_COLUMNS: Final = (*FAR_COLUMNS, *FAR_TEXTS, *FAR_HISTOGRAMS)
"""Columns of one sample in the order of the table, after all others."""
GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    **{
        way: (*(f"{way}_{name}" for name in ONE_WAY_COLUMNS), f"{way}_withheld", f"{way}_histogram")
        for way in DIRECTIONS
    },
    "residence": RESIDENCE_COLUMNS,
    PATH: (PATH,),
}
"""What samples have or lack together, and its columns."""
GROUP_OF: Final = {name: group for group, names in GROUPS.items() for name in names}
PRESENT: Final = ", ".join(f"max(coalesce({', '.join((*names, 'NULL'))}) IS NOT NULL)" for names in GROUPS.values())
"""SQL: of which groups any row has something, in the order of GROUPS."""
NOTHING: Final[Row] = (None,) * len(FAR_SAMPLE_COLUMNS)

_AT: Final = {name: at for at, name in enumerate(FAR_SAMPLE_COLUMNS)}
_NO_DIRECTION: Final[Row] = (None,) * len(ONE_WAY_COLUMNS)
_NO_DELAY: Final[Row] = (None,) * 8
_NO_VARIATION: Final[Row] = (None,) * 5
_NO_RESIDENCE: Final[Row] = (None,) * 4


def columns_of(groups: Collection[str]) -> tuple[list[str], list[str], list[str]]:
    """(integers, texts, histograms) of those groups."""
    names = [name for group in GROUPS if group in groups for name in GROUPS[group]]
    texts, shapes = ([name for name in names if name in kind] for kind in (FAR_TEXTS, FAR_HISTOGRAMS))
    return [name for name in names if name not in (*texts, *shapes)], texts, shapes


def is_known(sample: Sample) -> bool:
    """Whether the sample has anything of it. Most have not, and are to pay nothing for it."""
    return not (sample.forward is None and sample.backward is None and sample.residence is None and sample.path is None)


def encode(sample: Sample) -> Row:
    """Values in the order of FAR_SAMPLE_COLUMNS."""
    if not is_known(sample):
        return NOTHING
    forward, backward, residence, path = sample.forward, sample.backward, sample.residence, sample.path
    return (
        *(_NO_DIRECTION if forward is None else _direction(forward)),
        *(_NO_DIRECTION if backward is None else _direction(backward)),
        *(_NO_RESIDENCE if residence is None else _residence(residence)),
        None if forward is None else forward.withheld,
        None if backward is None else backward.withheld,
        None if path is None else to_text(path),
        _octets(forward),
        _octets(backward),
    )


def _direction(one: OneWay) -> Row:
    d, v = one.delay, one.variation
    return (
        one.sent,
        one.lost,
        *(
            _NO_DELAY
            if d is None
            else (d.count, d.sum_ns, d.minimum_ns, d.maximum_ns, d.p50_ns, d.p95_ns, d.p99_ns, d.stddev_ns)
        ),
        *(_NO_VARIATION if v is None else (v.ipdv_pairs, v.ipdv_abs_sum_ns, v.ipdv_p95_ns, v.pdv_p95_ns, v.rfc3550_ns)),
        one.error_ns,
        one.dscp,
        one.ttl,
        one.stamped,
    )


def _residence(one: Residence) -> Row:
    return (one.count, one.sum_ns, one.minimum_ns, one.maximum_ns)


def _octets(one: OneWay | None) -> bytes | None:
    return None if one is None or one.histogram is None else one.histogram.to_bytes()


def decode(row: Sequence[Value]) -> tuple[OneWay | None, OneWay | None, Residence | None, Path | None]:
    """Inverse of encode; a direction of which nothing is known is none. Raises TypeError, LocalError."""
    values = tuple(row)
    if values == NOTHING:
        return None, None, None, None
    at, path = _AT, values[_AT[PATH]]
    residence = values[at["residence_count"] : at["residence_max_ns"] + 1]
    if path is not None and not isinstance(path, str):
        raise TypeError(f"the path is {path!r}")
    return (
        _one_way(values, "forward"),
        _one_way(values, "backward"),
        None if residence[0] is None else Residence(*_integers(residence)),
        None if path is None else from_text(path),
    )


def _one_way(values: Row, way: str) -> OneWay | None:
    first, withheld, octets = (values[_AT[f"{way}_{name}"]] for name in ("sent", "withheld", "histogram"))
    begin = _AT[f"{way}_sent"]
    numbers = values[begin : begin + len(ONE_WAY_COLUMNS)]
    if withheld is None and octets is None and numbers == _NO_DIRECTION:
        return None
    if withheld is not None and not isinstance(withheld, str):
        raise TypeError(f"{way}_withheld is {withheld!r}")
    if octets is not None and not isinstance(octets, bytes):
        raise TypeError(f"{way}_histogram is no blob")
    delay, variation = numbers[2:10], numbers[10:15]
    return OneWay(
        _integer(first),
        _integer(numbers[1]),
        None if delay[0] is None else Delay(*_integers(delay)),
        None if variation[0] is None else _variation(variation),
        _integer(numbers[15]),
        withheld,
        _integer(numbers[16]),
        None if octets is None else Histogram.from_bytes(octets),
        _integer(numbers[17]),
        _integer(numbers[18]),
    )


def _variation(values: Row) -> Variation:
    pairs, total, pdv = _integers((values[0], values[1], values[3]))
    return Variation(pairs, total, _integer(values[2]), pdv, _integer(values[4]))


def _integers(values: Row) -> tuple[int, ...]:
    """None of them may be missing."""
    found = tuple(value for value in values if isinstance(value, int))
    if len(found) < len(values):
        raise TypeError("a value is missing from its group")
    return found


def _integer(value: Value) -> int | None:
    if value is not None and not isinstance(value, int):
        raise TypeError(f"{value!r} is no integer")
    return value
