"""Line protocol read strictly: what LineEncoder has written becomes the same sample again. Pure.

Also what a database gives back of it: fields in any order, one field a line, floats without a point. A line says what
we would have said, or it is refused: sums, percentages and means that contradict the integers beside them are found.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from agent.deliver.far_fields import DELAY, PATH_FIELDS, VARIATION
from agent.deliver.line import LineEncoder, measurement
from agent.sla.samples.columns import BASIC_COLUMNS, DIRECTIONS, FAR_COLUMNS, HISTOGRAM_COLUMNS, RESIDENCE_COLUMNS
from agent.store.far_end import FAR_TEXTS
from probes.core.arrays import Histogram
from probes.core.errors import LocalError
from probes.core.model import Counts, Delay, OneWay, Path, Rate, Residence, Sample, SampleState, Variation
from probes.core.path_text import from_text

MAXIMUM_LINE: Final = 1 << 18
"""Octets: four times what the longest line of ours takes."""

FieldValue = int | float | str
Fields = Mapping[str, FieldValue]
Key = tuple[str, str, str]
"""circuit, probe, kind"""

_LOWEST, _HIGHEST = -(1 << 63), (1 << 63) - 1
_COLUMNS: Final = tuple(name for name in BASIC_COLUMNS if name not in ("start_ns", "span_ns", "state"))
_SHAPE: Final = (("counts", 8), ("delay", 8), ("variation", 5), ("rate", 6))


def _groups() -> dict[str, tuple[str, ...]]:
    found, at = {}, 0
    for name, length in _SHAPE:
        found[name] = _COLUMNS[at : at + length]
        at += length
    return found


GROUPS: Final = {
    **_groups(),
    **{f"{way}_delay": tuple(f"{way}_{name}" for name in DELAY) for way in DIRECTIONS},
    **{f"{way}_variation": tuple(f"{way}_{name}" for name in VARIATION) for way in DIRECTIONS},
    "residence": RESIDENCE_COLUMNS,
}
TEXTS: Final = ("reason", "remote", *HISTOGRAM_COLUMNS, *FAR_TEXTS)
DERIVED: Final = frozenset((
    "packets_transmitted", "packets_received", "percent_packet_loss", "average_response_ms", "minimum_response_ms",
    "maximum_response_ms", "standard_deviation_ms", "percentile50_ms", "percentile95_ms", "percentile99_ms",
    "jitter_ipdv_ms", "result_code", "response_time", *PATH_FIELDS,
))  # fmt: skip
"""Fields that follow from the integers."""
KNOWN: Final = frozenset(("span_ns", "state", *_COLUMNS, *FAR_COLUMNS, *TEXTS)) | DERIVED

_FORBIDDEN: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_HEAD: Final = re.compile(r"(?:\\.|[^\\ ])+")
_WORD: Final = re.compile(r"(?:\\[,= ]|\\(?![,= ])|[^\\,= ])+")
_MEASUREMENT: Final = re.compile(r"(?:\\[, ]|\\(?![, ])|[^\\, ])+")
_FIELD: Final = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)=(?:(-?[0-9]+)i|(-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)'
                           r'|"((?:[^"\\]|\\.)*)")(?=[, ])')  # fmt: skip
_TIME: Final = re.compile(r"-?[0-9]{1,19}")


class LineFault(LocalError):  # noqa: N818 # a finding about somebody's file, listed with its place
    """A line that is not right, or says what cannot be."""


class ForeignLine(LineFault):
    """A right line, but not one of a sample of ours."""


@dataclass(frozen=True, slots=True)
class Point:
    """One line: fields of one sample, all of them or some. site: empty where the line names none."""

    key: Key
    site: str
    start_ns: int
    fields: Fields


class LineReader:
    """Reads lines of any number of series. What a series' tags say is remembered, for HEADS of them."""

    HEADS: Final = 10_000

    def __init__(self) -> None:
        self._heads: dict[str, tuple[Key, str]] = {}

    def read(self, line: str) -> Point:
        """One line without its end. Raises LineFault, ForeignLine."""
        if len(line) > MAXIMUM_LINE:
            raise LineFault(f"it is longer than {MAXIMUM_LINE} octets")
        if (bad := _FORBIDDEN.search(line)) is not None:
            raise LineFault(f"it has the control character {bad[0]!r} at {bad.start() + 1}")
        head = _HEAD.match(line)
        if head is None or line[head.end() : head.end() + 1] != " ":
            raise LineFault("it ends before its fields")
        known = self._heads.get(head[0])
        if known is None:
            known = read_head(head[0])
            if len(self._heads) >= self.HEADS:
                self._heads.clear()
            self._heads[head[0]] = known
        fields, end = read_fields(line, head.end() + 1)
        time = line[end + 1 :]
        if _TIME.fullmatch(time) is None or not _LOWEST <= int(time) <= _HIGHEST:
            raise LineFault(f"{time[:30]!r} is no time in ns")
        return Point(known[0], known[1], int(time), fields)


def read_head(text: str) -> tuple[Key, str]:
    """Series and site of a measurement with its tags. Raises LineFault, ForeignLine."""
    name = _MEASUREMENT.match(text)
    if name is None:
        raise LineFault("it has no measurement")
    at, tags = name.end(), dict[str, str]()
    while at < len(text):
        tag = _WORD.match(text, at + 1)
        value = None if tag is None or text[tag.end() : tag.end() + 1] != "=" else _WORD.match(text, tag.end() + 1)
        if text[at] != "," or tag is None or value is None or (value.end() < len(text) and text[value.end()] != ","):
            raise LineFault(f"its tags cannot be read from {text[at : at + 20]!r} on")
        if _plain(tag[0]) in tags:
            raise LineFault(f"the tag {_plain(tag[0])} is there twice")
        tags[_plain(tag[0])] = _plain(value[0])
        at = value.end()
    found = _plain(name[0], ", ")
    if lacking := [tag for tag in ("circuit", "probe", "kind") if tag not in tags]:
        raise ForeignLine(f"measurement {found}: no tag {' and '.join(lacking)}, so no sample of ours")
    if found != measurement(tags["kind"]):
        raise ForeignLine(f"measurement {found} is not that of kind {tags['kind']}")
    return (tags["circuit"], tags["probe"], tags["kind"]), tags.get("site", "")


def read_fields(line: str, at: int) -> tuple[dict[str, FieldValue], int]:
    """Fields from this place on, and where they end. Raises LineFault, ForeignLine."""
    fields: dict[str, FieldValue] = {}
    while True:
        found = _FIELD.match(line, at)
        if found is None:
            raise LineFault(f"its fields cannot be read from {line[at : at + 20]!r} on")
        name, integer, real, text = found.groups()
        if name in fields:
            raise LineFault(f"the field {name} is there twice")
        if name not in KNOWN:
            raise ForeignLine(f"the field {name} is none of ours")
        fields[name] = _value(name, integer, real, text)
        at = found.end()
        if line[at] == " ":
            return fields, at
        at += 1


def _value(name: str, integer: str | None, real: str | None, text: str | None) -> FieldValue:
    if text is not None:
        if name not in TEXTS:
            raise LineFault(f"the field {name} is a text, not a number")
        return re.sub(r'\\(["\\])', r"\1", text)
    if name in TEXTS:
        raise LineFault(f"the field {name} is a number, not a text")
    if integer is not None:
        number = int(integer) if len(integer) <= 20 else _HIGHEST + 1
        if not _LOWEST <= number <= _HIGHEST:
            raise LineFault(f"the field {name} does not fit 64 bits")
        return number
    if name not in DERIVED:
        raise LineFault(f"the field {name} is no integer (its value does not end in i)")
    value = float(real or "")
    if not math.isfinite(value):
        raise LineFault(f"the field {name} is infinite")
    return value


def _plain(text: str, special: str = ",= ") -> str:
    return re.sub(rf"\\([{special}])", r"\1", text) if "\\" in text else text


class SampleBuilder:
    """Fields of one point, all that there are, as a sample; and whether two samples say the same."""

    def __init__(self) -> None:
        self._encoder = LineEncoder("", {})

    def build(self, key: Key, start_ns: int, fields: Fields) -> Sample:
        """Raises LineFault: fields are missing or contradict each other."""
        if lacking := [name for name in ("span_ns", "state") if name not in fields]:
            raise LineFault(f"without {' and '.join(lacking)} it is no whole sample")
        try:
            state = SampleState.from_code(_integer(fields, "state"))
            histogram, *shapes = (_histogram(fields, name) for name in HISTOGRAM_COLUMNS)
            path = _path(fields)
        except (LocalError, ValueError, KeyError):
            raise LineFault("its state, a histogram or its path cannot be read") from None
        sample = Sample(
            *key, start_ns, _integer(fields, "span_ns"), state,
            counts=Counts(*whole) if (whole := _whole(fields, "counts")) else None,
            delay=Delay(*whole) if (whole := _whole(fields, "delay")) else None,
            variation=_variation(fields, "variation"),
            rate=_rate(fields),
            remote=_text(fields, "remote"), reason=_text(fields, "reason"), histogram=histogram,
            forward=_one_way(fields, "forward", shapes[0]), backward=_one_way(fields, "backward", shapes[1]),
            residence=Residence(*whole) if (whole := _whole(fields, "residence")) else None, path=path,
        )  # fmt: skip
        said = self.fields(sample)
        for name, value in fields.items():
            if name in PATH_FIELDS and path is None:
                continue  # a database without texts keeps nothing else of a path
            if name not in said:
                raise LineFault(f"the field {name} does not fit its other fields")
            if value != said[name]:
                raise LineFault(f"the field {name} is {value!r}; by its other fields it would be {said[name]!r}")
        return sample

    def fields(self, sample: Sample) -> dict[str, FieldValue]:
        """What a line says of the sample."""
        line = self._encoder.encode(sample, text=True)
        head = _HEAD.match(line)
        assert head is not None
        return read_fields(line, head.end() + 1)[0]

    def difference(self, kept: Sample, read: Sample) -> str | None:
        """Where a sample that is kept contradicts one that was read, in words; None where it does not.

        Texts that a database did not keep are no contradiction.
        """
        ours, theirs = self.fields(kept), self.fields(read)
        for name in dict.fromkeys((*ours, *theirs)):
            if ours.get(name) != theirs.get(name) and not (name in TEXTS and name not in theirs):
                return f"{name} is {ours.get(name, 'absent')} here and {theirs.get(name, 'absent')} there"
        return None


def _integer(fields: Fields, name: str) -> int:
    value = fields[name]
    if not isinstance(value, int):
        raise LineFault(f"the field {name} is no integer")
    return value


def _whole(fields: Fields, group: str) -> list[int]:
    """All values of a group, or none. Raises LineFault where some are missing."""
    names = GROUPS[group]
    there = [name for name in names if name in fields]
    if there and len(there) < len(names):
        lacking = next(name for name in names if name not in fields)
        raise LineFault(f"it has {there[0]} without {lacking}")
    return [_integer(fields, name) for name in there]


def _variation(fields: Fields, group: str) -> Variation | None:
    """Two of its values may be missing: no pair arrived, or no second packet. Raises LineFault."""
    pairs, total, ipdv, pdv, rfc3550 = GROUPS[group]
    there = [name for name in GROUPS[group] if name in fields]
    if not there:
        return None
    if lacking := [name for name in (pairs, total, pdv) if name not in fields]:
        raise LineFault(f"it has {there[0]} without {lacking[0]}")
    return Variation(
        _integer(fields, pairs), _integer(fields, total), _perhaps(fields, ipdv), _integer(fields, pdv),
        _perhaps(fields, rfc3550),
    )  # fmt: skip


def _one_way(fields: Fields, way: str, histogram: Histogram | None) -> OneWay | None:
    """Each value may be missing, those of a delay together. Raises LineFault."""
    names = ("sent", "lost", "error_ns", "dscp", "ttl", "stamped")
    sent, lost, error_ns, dscp, ttl, stamped = (_perhaps(fields, f"{way}_{name}") for name in names)
    delay = Delay(*whole) if (whole := _whole(fields, f"{way}_delay")) else None
    variation, withheld = _variation(fields, f"{way}_variation"), _text(fields, f"{way}_withheld")
    found = OneWay(sent, lost, delay, variation, error_ns, withheld, dscp, histogram, ttl, stamped)
    return None if found == OneWay() else found


def _histogram(fields: Fields, name: str) -> Histogram | None:
    return Histogram.from_text(str(fields[name])) if name in fields else None


def _path(fields: Fields) -> Path | None:
    return from_text(str(fields["path"])) if "path" in fields else None


def _perhaps(fields: Fields, name: str) -> int | None:
    return _integer(fields, name) if name in fields else None


def _rate(fields: Fields) -> Rate | None:
    """Each value may be missing: a direction that was not measured."""
    forward, backward, *rest = (_perhaps(fields, name) for name in GROUPS["rate"])
    if all(value is None for value in (forward, backward, *rest)):
        return None
    return Rate(forward, backward, rest[0], rest[1], rest[2], rest[3])


def _text(fields: Fields, name: str) -> str | None:
    return str(fields[name]) if name in fields else None
