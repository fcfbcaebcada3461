"""A sample as a row of the store and back. Pure.

A group of values (counts, delay, variation, rate) that a sample lacks is NULL throughout; its first column tells a
missing group from one that is there. What only a far end knows stands behind all others (agent.store.far_end).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from agent.sla.samples.columns import BASIC_COLUMNS
from agent.store import far_end
from agent.store.far_end import FAR_SAMPLE_COLUMNS
from probes.core.arrays import Histogram
from probes.core.block import STAMPS
from probes.core.errors import LocalError
from probes.core.model import Counts, Delay, Quality, Rate, Sample, SampleState, Variation

Value = far_end.Value
Row = far_end.Row

RATE_COLUMNS: Final = ("rate_streams", "rate_layer", "forward_retransmits", "backward_retransmits")
QUALITY_COLUMNS: Final = (
    "stamps", "lateness_p50_ns", "lateness_max_ns", "local_drops", "clock_synchronised", "clock_error_ns", "load",
)  # fmt: skip
OWN_COLUMNS: Final = (
    *BASIC_COLUMNS, *RATE_COLUMNS, *QUALITY_COLUMNS, "remote", "reason", "phases", "histogram",
)  # fmt: skip
"""Columns of what a sample knows by itself. The histogram, the widest, is last."""
SAMPLE_COLUMNS: Final = (*OWN_COLUMNS, *FAR_SAMPLE_COLUMNS)
"""Columns of one sample in the order of the table, after `series` and `seq`."""

_NO_COUNTS: Final = (None,) * 8
_NO_DELAY: Final = (None,) * 8
_NO_VARIATION: Final = (None,) * 5
_NO_RATE: Final = (None,) * 10
_STAMPS_OF: Final = dict(enumerate(STAMPS))
_STAMPS: Final = {source: code for code, source in _STAMPS_OF.items()}
_AT: Final = {name: index for index, name in enumerate(SAMPLE_COLUMNS)}


def encode(sample: Sample) -> Row:
    """The sample's values in the order of SAMPLE_COLUMNS. Packets are not in it."""
    shape = None if sample.histogram is None else sample.histogram.to_bytes()
    return own(sample, shape) + far_end.encode(sample)


def own(sample: Sample, shape: bytes | None) -> Row:
    """Those of OWN_COLUMNS, which are all that most samples have. shape: bytes of the histogram."""
    counts, delay, variation, rate, quality = (
        sample.counts, sample.delay, sample.variation, sample.rate, sample.quality,
    )  # fmt: skip
    return (
        sample.start_ns,
        sample.span_ns,
        sample.state.code,
        *(_NO_COUNTS if counts is None else _counts_row(counts)),
        *(_NO_DELAY if delay is None else _delay_row(delay)),
        *(_NO_VARIATION if variation is None else _variation_row(variation)),
        *(_NO_RATE if rate is None else _rate_row(rate)),
        _STAMPS[quality.stamps],
        quality.lateness_p50_ns,
        quality.lateness_max_ns,
        quality.local_drops,
        None if quality.clock_synchronised is None else int(quality.clock_synchronised),
        quality.clock_error_ns,
        quality.load,
        sample.remote,
        sample.reason,
        json.dumps(sample.phases, ensure_ascii=False, separators=(",", ":")) if sample.phases else None,
        shape,
    )


def _counts_row(c: Counts) -> Row:
    return (c.sent, c.received, c.lost, c.late, c.duplicate, c.reordered, c.corrupt, c.not_sent)


def _delay_row(d: Delay) -> Row:
    return (d.count, d.sum_ns, d.minimum_ns, d.maximum_ns, d.p50_ns, d.p95_ns, d.p99_ns, d.stddev_ns)


def _variation_row(v: Variation) -> Row:
    return (v.ipdv_pairs, v.ipdv_abs_sum_ns, v.ipdv_p95_ns, v.pdv_p95_ns, v.rfc3550_ns)


def _rate_row(r: Rate) -> Row:
    return (
        r.forward_bps, r.backward_bps, r.forward_bytes, r.backward_bytes, r.forward_ns, r.backward_ns,
        r.streams, r.layer, r.forward_retransmits, r.backward_retransmits,
    )  # fmt: skip


def decode(circuit: str, probe: str, kind: str, row: Sequence[Value]) -> Sample:
    """Inverse of encode. Raises LocalError for a row that is not ours or is damaged."""
    at = _AT
    try:
        forward, backward, residence, path = far_end.decode(row[len(OWN_COLUMNS) :])
        return Sample(
            circuit=circuit,
            probe=probe,
            kind=kind,
            start_ns=_required(row, "start_ns"),
            span_ns=_required(row, "span_ns"),
            state=SampleState.from_code(_required(row, "state")),
            counts=None if row[at["sent"]] is None else Counts(*row[at["sent"] : at["not_sent"] + 1]),  # type: ignore[arg-type] # columns of the table are INTEGER
            delay=None if row[at["rtt_count"]] is None else Delay(*row[at["rtt_count"] : at["rtt_stddev_ns"] + 1]),  # type: ignore[arg-type] # as above
            variation=(
                None if row[at["ipdv_pairs"]] is None else Variation(*row[at["ipdv_pairs"] : at["rfc3550_ns"] + 1])  # type: ignore[arg-type] # as above
            ),
            rate=(
                None
                if row[at["rate_streams"]] is None
                else Rate(*row[at["forward_bps"] : at["backward_retransmits"] + 1])  # type: ignore[arg-type] # as above
            ),
            quality=_quality(row),
            remote=_text(row, "remote"),
            reason=_text(row, "reason"),
            phases=_phases(_text(row, "phases")),
            histogram=_histogram(row[at["histogram"]]),
            forward=forward,
            backward=backward,
            residence=residence,
            path=path,
        )
    except (TypeError, ValueError, KeyError, IndexError) as error:
        message = f"a stored sample of {circuit}/{probe} cannot be read: {error}"
        raise LocalError(message, hint="the row is damaged") from None


def _required(row: Sequence[Value], column: str) -> int:
    value = row[_AT[column]]
    if not isinstance(value, int):
        raise TypeError(f"{column} is {value!r}")
    return value


def _integer(row: Sequence[Value], column: str) -> int | None:
    return None if row[_AT[column]] is None else _required(row, column)


def _text(row: Sequence[Value], column: str) -> str | None:
    value = row[_AT[column]]
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{column} is {value!r}")
    return value


def _quality(row: Sequence[Value]) -> Quality:
    synchronised, load = _integer(row, "clock_synchronised"), row[_AT["load"]]
    if load is not None and not isinstance(load, float):
        raise TypeError(f"load is {load!r}")
    return Quality(
        stamps=_STAMPS_OF[_required(row, "stamps")],
        lateness_p50_ns=_integer(row, "lateness_p50_ns"),
        lateness_max_ns=_integer(row, "lateness_max_ns"),
        local_drops=_required(row, "local_drops"),
        clock_synchronised=None if synchronised is None else bool(synchronised),
        clock_error_ns=_integer(row, "clock_error_ns"),
        load=load,
    )


def _phases(text: str | None) -> tuple[tuple[str, int], ...]:
    return () if text is None else tuple((str(name), int(ns)) for name, ns in json.loads(text))


def _histogram(data: Value) -> Histogram | None:
    if data is None:
        return None
    if not isinstance(data, bytes):
        raise TypeError("the histogram is no blob")
    return Histogram.from_bytes(data)


def printable(value: Value) -> Value:
    """A text SQLite can keep: code points that UTF-8 cannot carry (lone surrogates) become \\udXXX."""
    return value.encode("utf-8", "backslashreplace").decode("utf-8") if isinstance(value, str) else value
