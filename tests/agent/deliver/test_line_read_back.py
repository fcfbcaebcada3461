"""Lines read by a second, strict parser: what was encoded is what is read, or encoding refuses."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.deliver.line import MAXIMUM_TAG, LineEncoder, LineError, measurement
from agent.sla.samples.columns import HISTOGRAM_COLUMNS, INTEGER_COLUMNS
from agent.store import rows
from agent.store.far_end import FAR_TEXTS
from probes.core.arrays import Histogram
from probes.core.model import Circuit, Counts, Delay, ProbeSetting, Quality, Rate, Sample, SampleState, Variation
from probes.core.path_text import from_text
from tests.fakes import samples as shapes
from tests.fakes.line_parser import NotALineError, parse
from tests.fakes.samples import ping

hostile = st.text(st.sampled_from(list("ab \\,=\"'\n\r\t\0\x7f\x85\u2028\u202e\ud800é#%{}")), max_size=12)
words = st.one_of(hostile, st.text(max_size=300))
letters = st.sampled_from(list("ab \\,=\"'\u202eé#%{}")) | st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"))
names = st.text(letters, min_size=1, max_size=24).filter(lambda name: not re.search(r"\\([,= ]|$)", name))
"""Every name that must be written: awkward, but on one line and the same to all servers."""
kinds = st.sampled_from(("icmp", "udp", "tcp", "throughput"))
any_sample = st.builds(
    replace, shapes.samples, circuit=names, probe=names, kind=kinds | names, reason=st.none() | words,
    remote=st.none() | words,
)  # fmt: skip
circuits = st.builds(
    Circuit, st.just("c"), st.just("t"), customer=st.none() | names, provider=st.none() | names,
    labels=st.dictionaries(st.from_regex("[a-z][a-z0-9_]{0,8}", fullmatch=True), names, max_size=6),
)  # fmt: skip


@given(any_sample, names, circuits, st.booleans())
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_is_read_is_what_was_meant(sample: Sample, site: str, circuit: Circuit, text: bool) -> None:
    line = LineEncoder(site, {sample.circuit: circuit}).encode(sample, text=text)
    read_as_meant(line, sample, site, circuit, text)


@given(words, st.sampled_from(("circuit", "probe", "kind", "site", "customer", "label")), any_sample)
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
def test_one_hostile_word_is_read_as_it_was_meant_or_refused(word: str, place: str, sample: Sample) -> None:
    if place in ("circuit", "probe", "kind"):
        sample = replace(sample, **{place: word})  # type: ignore[arg-type]
    site = word if place == "site" else "ams"
    circuit = Circuit(
        "c", "t", customer=word if place == "customer" else None, labels={"pop": word} if place == "label" else {}
    )
    try:
        line = LineEncoder(site, {sample.circuit: circuit}).encode(sample, text=True)
    except LineError:
        assert not word or len(word.encode("utf-8", "replace")) > MAXIMUM_TAG or UNWRITABLE.search(word), "needlessly"
        return
    read_as_meant(line, sample, site, circuit, True)


UNWRITABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]|\\\\([,= ]|$)")


def read_as_meant(line: str, sample: Sample, site: str, circuit: Circuit, text: bool) -> None:
    point = parse(line)
    line.encode("utf-8")
    assert (point.measurement, point.time_ns) == (measurement(sample.kind), sample.start_ns)
    meant = {"circuit": sample.circuit, "probe": sample.probe, "kind": sample.kind, "site": site}
    assert {name: value for name, value in meant.items() if value}.items() <= point.tags.items()
    assert point.tags.get("customer", "") == (circuit.customer or "")
    assert point.tags.get("provider", "") == (circuit.provider or "")
    assert list(point.tag_order) == sorted(point.tag_order)
    assert len(point.tags) <= 10
    stored = dict(zip(rows.SAMPLE_COLUMNS, rows.encode(sample), strict=True))
    for name in INTEGER_COLUMNS[1:]:
        assert point.fields.get(name) == stored[name]
        assert name not in point.fields or type(point.fields[name]) is int
    texts = {name for name, value in point.fields.items() if isinstance(value, str)}
    assert texts <= ({"reason", "remote", *HISTOGRAM_COLUMNS, *FAR_TEXTS} if text else set())
    ways = (sample.forward, sample.backward)
    shapes = [sample.histogram, *(None if one is None else one.histogram for one in ways)]
    for name, shape in zip(HISTOGRAM_COLUMNS, shapes, strict=True):
        if name in texts and shape is not None:
            assert Histogram.from_text(str(point.fields[name])).to_text() == shape.to_text()
    if sample.path is not None:
        assert point.fields["hop_count"] == len(sample.path.hops)
        assert not text or from_text(str(point.fields["path"])) == sample.path


@given(any_sample)
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_same_sample_same_bytes(sample: Sample) -> None:
    encoders = [LineEncoder("s", {}), LineEncoder("s", {})]
    try:
        lines = {encoder.encode(sample, text=True) for encoder in encoders}
        lines |= {encoder.encode(sample, text=True) for encoder in encoders}
    except LineError:
        return
    assert len(lines) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"circuit": "a\nb"}, {"circuit": "a\\"}, {"probe": "a\0"}, {"circuit": "x" * (MAXIMUM_TAG + 1)},
        {"circuit": "é" * (MAXIMUM_TAG // 2 + 1)}, {"probe": "\u2028"}, {"circuit": "a\\,b"},
        {"circuit": "\ud800"}, {"start_ns": 1 << 63}, {"start_ns": -(1 << 63) - 1}, {"start_ns": 1.5},
        {"counts": Counts(sent=1 << 63)}, {"counts": Counts(sent=float("nan"))}, {"span_ns": float("inf")},
        {"rate": Rate(forward_bps=2.5)}, {"rate": Rate(forward_bps=True)}, {"circuit": ""},
    ],
    ids=repr,
)  # fmt: skip
def test_refused(change: dict[str, object]) -> None:
    with pytest.raises(LineError):
        LineEncoder("s", {}).encode(replace(ping(0), **change), text=True)  # type: ignore[arg-type]


def test_measurements_and_fields_of_the_kinds() -> None:
    line = LineEncoder("ams", {}).encode(ping(1), text=True)
    assert line == (
        "ping,circuit=ACME-1,kind=icmp,probe=icmp,site=ams span_ns=10000000000i,state=0i,sent=10i,received=10i,lost=0i,"
        "late=0i,duplicate=0i,reordered=0i,corrupt=0i,not_sent=0i,rtt_count=10i,rtt_sum_ns=120000000i,"
        "rtt_min_ns=12000000i,rtt_max_ns=12000000i,rtt_p50_ns=12000000i,rtt_p95_ns=12000000i,rtt_p99_ns=12000000i,"
        "rtt_stddev_ns=0i,ipdv_pairs=9i,ipdv_abs_sum_ns=0i,ipdv_p95_ns=0i,pdv_p95_ns=0i,rfc3550_ns=0i,"
        "packets_transmitted=10i,packets_received=10i,percent_packet_loss=0.0,average_response_ms=12.0,"
        "minimum_response_ms=12.0,maximum_response_ms=12.0,standard_deviation_ms=0.0,percentile50_ms=12.0,"
        "percentile95_ms=12.0,percentile99_ms=12.0,jitter_ipdv_ms=0.0,result_code=0i,"
        'remote="192.0.2.7" 1790000010000000000'
    )
    assert [measurement(kind) for kind in ("icmp", "udp", "tcp", "throughput", "stamp", "twamp", "path")] == [
        "ping", "udp_echo", "net_response", "throughput", "stamp", "twamp", "route",
    ]  # fmt: skip


def test_tags_are_telegrafs_where_it_has_them_and_never_more_than_ten() -> None:
    labels = dict.fromkeys("abcdefgh", "x") | {"url": "mine", "server": "mine"}
    probes = (ProbeSetting("tcp", "tcp", {"port": 443}), ProbeSetting("icmp", "icmp", {}))
    circuit = Circuit("ACME-1", "gw.example.net", "ACME", "ExampleTel", labels=labels, probes=probes)
    encoder = LineEncoder("ams", {"ACME-1": circuit})
    own = {"circuit": "ACME-1", "site": "ams", "customer": "ACME", "provider": "ExampleTel"}
    for probe, more, room in (
        ("icmp", {"url": "gw.example.net"}, "abc"),
        ("udp", {"url": "gw.example.net"}, "abc"),
        ("tcp", {"server": "gw.example.net", "port": "443", "protocol": "tcp"}, "a"),
        ("throughput", {"server": "gw.example.net"}, "abc"),
    ):
        tags = parse(encoder.encode(replace(ping(0), probe=probe, kind=probe), text=False)).tags
        assert tags == own | {"kind": probe, "probe": probe} | more | dict.fromkeys(room, "x")
        assert len(tags) == 10


def test_lost_interval_has_no_delay_and_says_so() -> None:
    lost = replace(
        ping(0), state=SampleState.NO_REPLY, counts=Counts(sent=10, lost=10), delay=None, variation=None, reason="gone"
    )
    point = parse(LineEncoder("ams", {}).encode(lost, text=True))
    assert point.fields["percent_packet_loss"] == 100.0
    assert not [name for name in point.fields if "response" in name or "rtt" in name or "jitter" in name]
    assert point.fields["reason"] == "gone"


def test_delay_of_no_packet_is_absent_not_a_division() -> None:
    empty = replace(ping(0), delay=Delay(0, 0, 0, 0, 0, 0, 0, 0), variation=Variation(0, 0, None, 0, None))
    for kind in ("icmp", "tcp"):
        fields = parse(LineEncoder("ams", {}).encode(replace(empty, kind=kind), text=True)).fields
        assert "average_response_ms" not in fields
        assert "response_time" not in fields


def test_long_texts_are_cut_and_histograms_never() -> None:
    sample = replace(ping(0), reason="\\" * 40_000, quality=Quality())
    line = LineEncoder("ams", {}).encode(sample, text=True)
    assert len(line) < 65_536
    assert set(str(parse(line).fields["reason"])) == {"\\"}


@pytest.mark.parametrize(
    "line",
    [
        "m a=1i 1\n", "m a=1 i 1", "m a=1i", "m 1", ",a=b c=1i 1", "m,a= c=1i 1", "m,a=b,a=c d=1i 1", "m,a=b a=1i 1",
        "m a=nan 1", "m a=1i,a=2i 1", 'm a="x 1', "m a=9223372036854775808i 1", "m a=1i 9223372036854775808",
        "m a=1i2 1", "m a=0x1 1", "m a=1i  1", "m a=1i 1 ", "m,a=b=c d=1i 1", "m a=1_0i 1",
    ],
)  # fmt: skip
def test_the_parser_is_strict(line: str) -> None:
    with pytest.raises(NotALineError):
        parse(line)
