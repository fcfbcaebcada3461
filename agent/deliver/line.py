"""Line protocol of InfluxDB, written by ourselves: exact integers, stable order, nothing that could split a line. Pure.

One measurement per kind of probe, under Telegraf's name where Telegraf has such a plugin. Beside Telegraf's fields
stands every integer column of the store under its own name, so that what is read back equals what was kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from agent.sla.columns import INTEGER_COLUMNS
from agent.store import rows
from probes.core.errors import LocalError
from probes.core.model import Circuit, Sample, SampleState

MEASUREMENTS: Final = {"icmp": "ping", "udp": "udp_echo", "tcp": "net_response"}
"""Kinds whose measurement is not their own name."""
MAXIMUM_TAG: Final = 256
MAXIMUM_TEXT: Final = 32_000
"""Octets of a text field: below the 64 kB that every server takes."""

_INTEGERS: Final = tuple(name for name in INTEGER_COLUMNS if name != "start_ns")
_ECHO_RESULT: Final = {SampleState.INVALID: 2}
_CONNECT_RESULT: Final = {
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
        self._heads: dict[tuple[str, str, str], str] = {}

    def encode(self, sample: Sample, *, text: bool) -> str:
        """One line without its end. text: the server keeps text fields. Raises LineError."""
        key = (sample.circuit, sample.probe, sample.kind)
        head = self._heads.get(key)
        if head is None:
            head = self._heads[key] = self._head(*key)
        fields = [*_integer_fields(sample), *_telegraf_fields(sample)]
        if text:
            fields.extend(_text_fields(sample))
        return f"{head} {','.join(fields)} {sample.start_ns}"

    def _head(self, circuit: str, probe: str, kind: str) -> str:
        known = self._circuits.get(circuit)
        tags = {"circuit": circuit, "probe": probe, "kind": kind, "site": self._site}
        if known is not None:
            tags |= _description(known)
        written = (f"{_escaped(name)}={_escaped(value)}" for name, value in sorted(tags.items()) if value)
        return f"{_escaped(measurement(kind))},{','.join(written)}"


def _description(circuit: Circuit) -> dict[str, str]:
    """What is known of the circuit, at most five values: a database pays for every tag."""
    tags = {"customer": circuit.customer or "", "provider": circuit.provider or ""}
    tags |= {name: value for name, value in sorted(circuit.labels.items())[:3] if name not in _RESERVED}
    return tags


_RESERVED: Final = frozenset({"circuit", "probe", "kind", "site", "time", "reason", "remote", "histogram", *_INTEGERS})


_AMBIGUOUS: Final = re.compile(r"\\(?=[,= ]|$)")


def _escaped(text: str) -> str:
    """A measurement, tag name or tag value. Raises LineError for what the format cannot carry."""
    if any(ord(letter) < 0x20 or 0x7F <= ord(letter) < 0xA0 or letter in "\u2028\u2029" for letter in text):
        raise LineError(f"{text!r} has a control character", hint="names and labels are plain text on one line")
    if _AMBIGUOUS.search(text):
        raise LineError(
            f"{text!r} has a backslash before a comma, space, equals sign or its end: servers read that differently",
            hint="choose another name",
        )
    if len(text.encode("utf-8", "surrogatepass")) > MAXIMUM_TAG:
        raise LineError(f"{text[:40]!r}... is longer than {MAXIMUM_TAG} octets", hint="choose a shorter name")
    return text.replace(",", "\\,").replace("=", "\\=").replace(" ", "\\ ")


def _quoted(text: str) -> str:
    """A text field's value. Control characters become spaces: the texts are for people."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)[:MAXIMUM_TEXT]
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _integer_fields(sample: Sample) -> Iterable[str]:
    values = rows.encode(sample)
    for name, value in zip(_INTEGERS, values[1 : len(_INTEGERS) + 1], strict=True):
        if value is not None:
            if not isinstance(value, int) or not -(1 << 63) <= value < 1 << 63:
                raise LineError(f"{name}={value!r} of {sample.circuit}/{sample.probe} is not a 64-bit integer")
            yield f"{name}={value}i"


def _telegraf_fields(sample: Sample) -> Iterable[str]:
    if sample.kind == "tcp":
        return _net_response(sample)
    if sample.counts is not None and sample.rate is None:
        return _ping(sample)
    return ()


def _ping(sample: Sample) -> Iterable[str]:
    counts, delay = sample.counts, sample.delay
    if counts is None:
        return
    yield f"packets_transmitted={counts.sent}i"
    yield f"packets_received={counts.received}i"
    if counts.sent:
        yield f"percent_packet_loss={100 * counts.lost / counts.sent!r}"
    if delay is not None:
        for name, value in (
            ("average_response_ms", delay.sum_ns / delay.count), ("minimum_response_ms", delay.minimum_ns),
            ("maximum_response_ms", delay.maximum_ns), ("standard_deviation_ms", delay.stddev_ns),
            ("percentile50_ms", delay.p50_ns), ("percentile95_ms", delay.p95_ns), ("percentile99_ms", delay.p99_ns),
        ):  # fmt: skip
            yield f"{name}={value / 1e6!r}"
    if sample.variation is not None and sample.variation.ipdv_pairs:
        yield f"jitter_ipdv_ms={sample.variation.ipdv_mean_ns / 1e6!r}"
    yield f"result_code={_ECHO_RESULT.get(sample.state, 0)}i"


def _net_response(sample: Sample) -> Iterable[str]:
    if sample.delay is not None:
        yield f"response_time={sample.delay.sum_ns / 1e9!r}"
    yield f"result_code={_CONNECT_RESULT[sample.state]}i"


def _text_fields(sample: Sample) -> Iterable[str]:
    if sample.reason:
        yield f"reason={_quoted(sample.reason)}"
    if sample.remote:
        yield f"remote={_quoted(sample.remote)}"
    if sample.histogram is not None:
        written = sample.histogram.to_text()
        if written and len(written) <= MAXIMUM_TEXT:
            yield f'histogram="{written}"'
