"""Line protocol of InfluxDB, written by ourselves: exact integers, stable order, nothing that could split a line. Pure.

One measurement per kind of probe, under Telegraf's name where Telegraf has such a plugin. Beside Telegraf's fields
stands every integer column of the store under its own name, so that what is read back equals what was kept. What only
a far end knows follows them (agent.deliver.far_fields).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final

from agent.deliver import far_fields
from agent.sla.samples.columns import BASIC_COLUMNS
from agent.store import far_end
from agent.store.far_end import FAR_HISTOGRAMS, FAR_TEXTS
from probes.core.arrays import Histogram
from probes.core.errors import LocalError
from probes.core.model import Circuit, Counts, Sample, SampleState

MEASUREMENTS: Final = {"icmp": "ping", "udp": "udp_echo", "tcp": "net_response", "path": "route"}
"""Kinds whose measurement is not their own name."""
MAXIMUM_TAG: Final = 256
MAXIMUM_TEXT: Final = 32_000
"""Octets of a text field: below the 64 kB that every server takes."""

MAXIMUM_TAGS: Final = 10
_LOWEST, _HIGHEST = -(1 << 63), (1 << 63) - 1
OWN_INTEGERS: Final = tuple(name for name in BASIC_COLUMNS if name != "start_ns")
"""Fields under the store's names, in their order: those that any kind of sample may have."""
_ATTRIBUTES: Final = (
    ("sent", "received", "lost", "late", "duplicate", "reordered", "corrupt", "not_sent"),
    ("count", "sum_ns", "minimum_ns", "maximum_ns", "p50_ns", "p95_ns", "p99_ns", "stddev_ns"),
    ("ipdv_pairs", "ipdv_abs_sum_ns", "ipdv_p95_ns", "pdv_p95_ns", "rfc3550_ns"),
    ("forward_bps", "backward_bps", "forward_bytes", "backward_bytes", "forward_ns", "backward_ns"),
)
"""Of Counts, Delay, Variation and Rate, in the order of OWN_INTEGERS after span_ns and state."""
GROUPS: Final = tuple(
    OWN_INTEGERS[2 + sum(map(len, _ATTRIBUTES[:n])) : 2 + sum(map(len, _ATTRIBUTES[: n + 1]))]
    for n in range(len(_ATTRIBUTES))
)
"""The same groups by the names of their fields."""
OPTIONAL: Final = frozenset(("ipdv_p95_ns", "rfc3550_ns", *GROUPS[-1]))
"""What a sample may lack although it has the group."""
_READERS: Final[tuple[Callable[[Any], tuple[int, ...]], ...]] = tuple(attrgetter(*names) for names in _ATTRIBUTES)


def _template(shape: int) -> tuple[tuple[str, ...], str]:
    """Names and format of the integer fields of a sample; bit n of shape: it has the n-th group."""
    names, rest = list(OWN_INTEGERS[:2]), list(OWN_INTEGERS[2:])
    for bit, attributes in enumerate(_ATTRIBUTES):
        group, rest = rest[: len(attributes)], rest[len(attributes) :]
        names += group if shape >> bit & 1 else []
    return tuple(names), ",".join(f"{name}=%di" for name in names)


_TEMPLATES: Final = tuple(_template(shape) for shape in range(1 << len(_ATTRIBUTES)))
_PING_DELAY: Final = (
    "average_response_ms=%r,minimum_response_ms=%r,maximum_response_ms=%r,standard_deviation_ms=%r,percentile50_ms=%r,"
    "percentile95_ms=%r,percentile99_ms=%r"
)
CONNECT_RESULT: Final = {
    SampleState.OK: 0, SampleState.IMPAIRED: 0, SampleState.NO_REPLY: 1, SampleState.REJECTED: 2,
    SampleState.INVALID: 2,
}  # fmt: skip
"""Telegraf's result_code: ping 0 ok, 2 error; net_response 0 success, 1 timeout, 2 connection failed."""


class LineError(LocalError):
    """A value that cannot be written without changing its meaning."""


def measurement(kind: str) -> str:
    """Name of the measurement that holds samples of this kind."""
    return MEASUREMENTS.get(kind, kind)


class LineEncoder:
    """Encodes the samples of one site. Tags are written once per probe and remembered."""

    def __init__(self, site: str, circuits: Mapping[str, Circuit]) -> None:
        self._site, self._circuits = site, circuits
        self._heads: dict[tuple[str, str, str, str | None], str] = {}

    def encode(self, sample: Sample, *, text: bool, branch: str | None = None) -> str:
        """One line without its end. text: the server keeps text fields; branch: as in `head`. Raises LineError."""
        key = (sample.circuit, sample.probe, sample.kind, branch)
        head = self._heads.get(key)
        if head is None:
            head = self._heads[key] = self.head(*key)
        fields = [_integer_fields(sample)]
        far = far_end.is_known(sample)
        if far:
            _add_far_integers(fields, sample)
        _add_telegraf_fields(fields, sample)
        if text:
            _add_text_fields(fields, sample)
            if far:
                _add_far_texts(fields, sample)
        return f"{head} {','.join(fields)} {sample.start_ns}"

    def head(self, circuit: str, probe: str, kind: str, branch: str | None = None) -> str:
        """Measurement and tags. Raises LineError.

        branch: tells a copy of the store on another machine from the original (docs/decisions/0006-*.md).
        """
        known = self._circuits.get(circuit)
        tags = {"circuit": circuit, "probe": probe, "kind": kind}
        if empty := [name for name, value in tags.items() if not value]:
            raise LineError(f"a sample without {' and '.join(empty)}", hint="everything measured has a name")
        tags["site"] = self._site
        if known is not None:
            tags |= _description(known, probe, kind)
        if branch:
            tags["branch"] = branch
        written = (f"{_escaped(name)}={_escaped(value)}" for name, value in sorted(tags.items()) if value)
        # In a measurement the equals sign is not escaped: a backslash before it would be part of the name.
        return f"{_escaped(measurement(kind), ', ')},{','.join(written)}"


def _description(circuit: Circuit, probe: str, kind: str) -> dict[str, str]:
    """What is known of the circuit: Telegraf's tags, then labels as far as there is room. A database pays for each."""
    tags = {"customer": circuit.customer or "", "provider": circuit.provider or ""}
    if kind in ("icmp", "udp"):
        tags["url"] = circuit.target
    else:
        tags["server"] = circuit.target
        port = next((setting.parameters.get("port") for setting in circuit.probes if setting.name == probe), None)
        tags["port"] = "" if port is None else str(port)
    if kind == "tcp":
        tags["protocol"] = "tcp"
    room = MAXIMUM_TAGS - _OWN_TAGS - sum(1 for value in tags.values() if value)
    labels = sorted(item for item in circuit.labels.items() if item[0] not in _RESERVED and item[1])
    return tags | dict(labels[:room])


_OWN_TAGS: Final = 4
_RESERVED: Final = frozenset((
    "circuit", "probe", "kind", "site", "branch", "customer", "provider", "url", "server", "port", "protocol", "result",
    "time", "reason", "remote", "histogram", *OWN_INTEGERS, *far_fields.FAR_FIELDS, *FAR_TEXTS, *FAR_HISTOGRAMS,
))  # fmt: skip
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_AMBIGUOUS: Final = re.compile(r"\\(?=[,= ]|$)")


def _escaped(text: str, special: str = ",= ") -> str:
    """A measurement, tag name or tag value. Raises LineError for what the format cannot carry."""
    if _CONTROL.search(text):
        raise LineError(f"{text!r} has a control character", hint="names and labels are plain text on one line")
    if _AMBIGUOUS.search(text):
        raise LineError(
            f"{text!r} has a backslash before a comma, space, equals sign or its end: servers read that differently",
            hint="choose another name",
        )
    if len(text.encode("utf-8")) > MAXIMUM_TAG:
        raise LineError(f"{text[:40]!r}... is longer than {MAXIMUM_TAG} octets", hint="choose a shorter name")
    return "".join(f"\\{letter}" if letter in special else letter for letter in text)


def quoted(text: str) -> str:
    """A text field's value. Control characters become spaces: the texts are for people."""
    plain = text[:MAXIMUM_TEXT]
    if not plain.isprintable():
        plain = "".join(letter if letter.isprintable() else " " for letter in plain)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _integer_fields(sample: Sample) -> str:
    """Every integer column that the sample has, by the template of the groups it has."""
    groups = (sample.counts, sample.delay, sample.variation, sample.rate)
    shape = 0
    values: tuple[int, ...] = (sample.span_ns, sample.state.code)
    for bit, (group, read) in enumerate(zip(groups, _READERS, strict=True)):
        if group is not None:
            shape |= 1 << bit
            values += read(group)
    names, template = _TEMPLATES[shape]
    if None not in values:
        _check_integers(sample, names, values)
        return template % values
    there = [(name, value) for name, value in zip(names, values, strict=True) if value is not None]
    if lacking := set(names) - OPTIONAL - {name for name, _ in there}:
        raise LineError(f"{sample.circuit}/{sample.probe} has no {', '.join(sorted(lacking))}, which it must have")
    _check_integers(sample, names, tuple(value for _, value in there))
    return ",".join(f"{name}={value}i" for name, value in there)


def _check_integers(sample: Sample, names: Sequence[str], values: tuple[int, ...]) -> None:
    """int and nothing else: a float, infinite or not, would change the type of a field for ever."""
    values = (sample.start_ns, *values)
    if set(map(type, values)) != {int} or min(values) < _LOWEST or max(values) > _HIGHEST:
        wrong = next(value for value in values if type(value) is not int or not _LOWEST <= value <= _HIGHEST)
        raise LineError(
            f"{sample.circuit}/{sample.probe} has {wrong!r} among {names[0]}..{names[-1]}: no 64-bit integer"
        )


def _add_telegraf_fields(fields: list[str], sample: Sample) -> None:
    if sample.kind == "tcp":
        _add_net_response(fields, sample)
    elif sample.counts is not None and sample.rate is None:
        _add_ping(fields, sample, sample.counts)


def _add_ping(fields: list[str], sample: Sample, counts: Counts) -> None:
    delay, variation = sample.delay, sample.variation
    fields.append(f"packets_transmitted={counts.sent}i,packets_received={counts.received}i")
    if counts.sent:
        fields.append(f"percent_packet_loss={100 * counts.lost / counts.sent!r}")
    if delay is not None and delay.count:
        fields.append(_PING_DELAY % (
            delay.sum_ns / delay.count / 1e6, delay.minimum_ns / 1e6, delay.maximum_ns / 1e6, delay.stddev_ns / 1e6,
            delay.p50_ns / 1e6, delay.p95_ns / 1e6, delay.p99_ns / 1e6,
        ))  # fmt: skip
    if variation is not None and variation.ipdv_pairs:
        fields.append(f"jitter_ipdv_ms={variation.ipdv_mean_ns / 1e6!r}")
    fields.append("result_code=2i" if sample.state is SampleState.INVALID else "result_code=0i")


def _add_net_response(fields: list[str], sample: Sample) -> None:
    if sample.delay is not None and sample.delay.count:
        fields.append(f"response_time={sample.delay.sum_ns / sample.delay.count / 1e9!r}")
    fields.append(f"result_code={CONNECT_RESULT[sample.state]}i")


def _add_text_fields(fields: list[str], sample: Sample) -> None:
    if sample.reason:
        fields.append(f"reason={quoted(sample.reason)}")
    if sample.remote:
        fields.append(f"remote={quoted(sample.remote)}")
    if sample.histogram is not None:
        _add_histogram(fields, "histogram", sample.histogram)


def _add_far_integers(fields: list[str], sample: Sample) -> None:
    far = far_fields.integers(sample)
    if far:
        _check_integers(sample, [name for name, _ in far], tuple(value for _, value in far))
        fields += [f"{name}={value}i" for name, value in far]


def _add_far_texts(fields: list[str], sample: Sample) -> None:
    for name, text in far_fields.texts(sample):
        if name != "path" or len(text) <= MAXIMUM_TEXT:  # JSON that is cut is none
            fields.append(f"{name}={quoted(text)}")
    for name, histogram in far_fields.histograms(sample):
        _add_histogram(fields, name, histogram)


def _add_histogram(fields: list[str], name: str, histogram: Histogram) -> None:
    written = histogram.to_text()
    if written and len(written) <= MAXIMUM_TEXT:
        fields.append(f'{name}="{written}"')
