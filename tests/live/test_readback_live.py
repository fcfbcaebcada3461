"""Reading back from real servers: only what was asked for, of one site, each sample once, or a refusal with its why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agent.config import SinkSettings
from agent.deliver import readback
from agent.deliver.line import LineEncoder
from agent.deliver.linebatch import BatchEncoder
from agent.deliver.sink import Sink
from agent.sla.docket import Reading
from agent.sla.samples.columns import (
    HISTOGRAM_COLUMNS,
    INTEGER_COLUMNS,
    READABLE_COLUMNS,
    WITHHELD_COLUMNS,
    SampleColumns,
)
from agent.store import Store, StoreReader
from agent.store.samplebatch import of_samples
from probes.core.clock import SECOND
from probes.core.errors import LocalError
from probes.core.model import Circuit, Sample
from probes.core.path_text import from_text
from tests.fakes.one_way import WITHHELD, judged, promises, stream
from tests.fakes.samples import START, SteppedClock, ping, traced
from tests.fakes.sealed import release_all, seal_all
from tests.fakes.series import BEGIN_NS, CIRCUITS, far_series
from tests.live.servers import InfluxDB1, VictoriaMetrics

pytestmark = pytest.mark.live("influxdb", "victoria-metrics")

COLUMNS = READABLE_COLUMNS
NAMES = (
    "plain", "two words", "a,b=c", "röhre", "it's", "it''s", 'say "x"', "back\\slash", "\\'", '\\"', "' OR 1=1 --",
    "x' OR 'a'='a", '"; DROP DATABASE sla; --', "/.*/", "$circuit", "%s", "{}", "日本", "\U0001f600", "a\\\\b", "'",
)  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[InfluxDB1]:
    with InfluxDB1() as running:
        yield running


@pytest.fixture
def settings(server: InfluxDB1, request: pytest.FixtureRequest) -> SinkSettings:
    database = request.node.name[:60]
    server.create(database)
    return SinkSettings("influx", server.url, "v1", database=database, timeout_ns=10 * SECOND)


def write(settings: SinkSettings, *samples: Sample, site: str = "here", known: Circuit | None = None) -> None:
    encoder = LineEncoder(site, {} if known is None else {known.id: known})
    sink = Sink(settings)
    reply = sink.write("\n".join(encoder.encode(sample, text=True) for sample in samples))
    sink.close()
    assert reply.answer == "written", reply


def test_every_name_reads_its_own_samples_and_no_others(settings: SinkSettings) -> None:
    for number, name in enumerate(NAMES):
        write(settings, ping(number, circuit=name, probe=name, rtt_ns=10**6 + number))
    for number, name in enumerate(NAMES):
        columns = readback.read(settings, name, name, COLUMNS, 0, 2**62)
        assert columns.start_ns.tolist() == [START + number * 10 * SECOND], name
        assert columns.column("rtt_min_ns").tolist() == [10**6 + number]
    assert {(item.circuit, item.probe) for item in readback.series(settings)} == {(name, name) for name in NAMES}


def test_two_sites_with_a_circuit_of_the_same_name_are_not_mixed(settings: SinkSettings) -> None:
    write(settings, ping(0, rtt_ns=1000), ping(1, rtt_ns=1001), site="ams")
    write(settings, ping(0, rtt_ns=2000), ping(2, rtt_ns=2002), site="ber's")
    for site, delays in (("ams", [1000, 1001]), ("ber's", [2000, 2002]), ("elsewhere", [])):
        columns = readback.read(settings, "ACME-1", "icmp", COLUMNS, 0, 2**62, site=site)
        assert columns.column("rtt_min_ns").tolist() == delays
        rows = [item.rows for item in readback.series(settings, site=site)]
        assert rows == ([len(delays)] if delays else [])
    with pytest.raises(LocalError, match=r"ACME-1/icmp is measured by several sites: ams, ber's"):
        readback.read(settings, "ACME-1", "icmp", COLUMNS, 0, 2**62)


def test_samples_sent_again_under_other_labels_come_back_once(settings: SinkSettings) -> None:
    circuit = Circuit("ACME-1", "192.0.2.7", customer="ACME")
    samples = [ping(number, rtt_ns=1000 + number) for number in range(5)]
    write(settings, *samples[:4], known=circuit)
    write(settings, *samples[2:], known=replace(circuit, customer="ACME Ltd", labels={"pop": "x"}))
    columns = readback.read(settings, "ACME-1", "icmp", COLUMNS, 0, 2**62)
    assert columns.column("rtt_min_ns").tolist() == [1000, 1001, 1002, 1003, 1004]
    assert (np.diff(columns.start_ns) > 0).all()


@pytest.mark.parametrize("rows", [1, 2, 3, 7])
def test_pages_join_without_loss(settings: SinkSettings, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(readback, "PAGE_ROWS", rows)
    write(settings, *(ping(number, rtt_ns=1000 + number) for number in range(7)))
    columns = readback.read(settings, "ACME-1", "icmp", COLUMNS, 0, 2**62)
    assert columns.column("rtt_min_ns").tolist() == list(range(1000, 1007))


def test_answer_beyond_the_limit_is_read_in_smaller_pages(
    settings: SinkSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readback, "MAXIMUM_READ_BACK", 8192)
    write(settings, *(ping(number, rtt_ns=1000 + number) for number in range(300)))
    columns = readback.read(settings, "ACME-1", "icmp", COLUMNS, 0, 2**62)
    assert columns.column("rtt_min_ns").tolist() == list(range(1000, 1300))


def test_window_is_half_open(settings: SinkSettings) -> None:
    write(settings, *(ping(number) for number in range(4)))
    begin = START + 10 * SECOND
    columns = readback.read(settings, "ACME-1", "icmp", (), begin, begin + 20 * SECOND)
    assert columns.start_ns.tolist() == [begin, begin + 10 * SECOND]
    assert columns.sent is None


def test_nothing_there_is_no_rows(settings: SinkSettings) -> None:
    assert len(readback.read(settings, "nobody", "icmp", COLUMNS, 0, 2**62)) == 0
    assert readback.series(settings) == []


def differences(one: SampleColumns, other: SampleColumns) -> list[str]:
    """Names of the columns that are not equal, value by value."""
    found = [name for name in INTEGER_COLUMNS if not np.array_equal(one.column(name), other.column(name))]
    for name in HISTOGRAM_COLUMNS:
        texts = [[item.to_text() if item else None for item in getattr(columns, name)] for columns in (one, other)]
        found += [] if texts[0] == texts[1] else [name]
    return found + [name for name in WITHHELD_COLUMNS if list(getattr(one, name)) != list(getattr(other, name))]


@pytest.fixture
def far(tmp_path: Path) -> Iterator[tuple[Path, StoreReader]]:
    """A store with STAMP, TWAMP and path samples, half of them sealed."""
    path = tmp_path / "store"
    store = Store.open(path, clock=SteppedClock(), site="here")
    store.append(list(far_series(300)))
    assert store.flush(10.0)
    release_all(store, seal_all(path))
    store.append(list(far_series(300, seed=2, begin_ns=BEGIN_NS + 4000 * SECOND)))
    assert store.flush(10.0)
    with StoreReader.open(path) as reader:
        yield path, reader
    assert store.close()


def test_what_only_a_far_end_knows_comes_back_value_by_value(
    settings: SinkSettings, far: tuple[Path, StoreReader]
) -> None:
    """Sent as the agent sends it: many at once, sealed days first, and read back as the judge reads."""
    _, reader = far
    batches = [reader.after_batch(0, 10_000)]
    encoder = BatchEncoder(LineEncoder("here", {}), text=True)
    sealed = [
        item
        for series in reader.series()
        for item in reader.samples(series.circuit, series.probe, 0, BEGIN_NS + 3990 * SECOND)
        if item.sample.kind == series.kind
    ]
    batches.append(of_samples(sealed))
    sink = Sink(settings)
    for batch in batches:
        lines = encoder.encode(batch)
        assert not lines.unwritable
        reply = sink.write(b"".join(lines.parts).decode().rstrip("\n"))
        assert reply.answer == "written", reply
    sink.close()
    kinds = {"stamp", "twamp", "path"}
    assert {(item.circuit, item.probe, item.kind) for item in readback.series(settings)} == {
        (item.circuit, item.probe, item.kind) for item in reader.series()
    }
    for series in reader.series():
        kinds.discard(series.kind)
        back = readback.read(settings, series.circuit, series.probe, COLUMNS, 0, 2**62)
        here = reader.read(series.circuit, series.probe, COLUMNS, 0, 2**62)
        assert (len(here), back.kind) == (series.rows, series.kind)
        assert differences(here, back) == []
        if series.kind != "path":
            assert (here.column("forward_delay_min_ns") < 0).any()
            assert any(here.forward_withheld or ())
    assert not kinds


def test_the_path_itself_is_in_the_database(settings: SinkSettings) -> None:
    sample = traced(0, "192.0.2.1", None, "198.51.100.7")
    assert sample.path is not None
    write(settings, sample)
    query = readback._Query(settings)
    (found,) = query.rows('SELECT "path","hop_count","target_reached","path_mtu" FROM "route"')
    query.close()
    text, *numbers = found["values"][0][1:]
    assert from_text(text) == sample.path
    assert numbers == [3, 1, 1500]


def test_one_way_contracts_are_judged_the_same_from_store_sealed_days_and_database(
    settings: SinkSettings, tmp_path: Path
) -> None:
    samples = stream(withheld=range(100, 110))
    store = Store.open(tmp_path / "store", clock=SteppedClock(), site="here")
    store.append(samples)
    assert store.flush(30.0)
    write(settings, *samples)
    with StoreReader.open(tmp_path / "store") as reader:

        def kept(wanted: Reading) -> SampleColumns:
            return reader.read(wanted.circuit, wanted.probe, wanted.columns, wanted.start_ns, wanted.end_ns)

        def back(wanted: Reading) -> SampleColumns:
            return readback.read(
                settings, wanted.circuit, wanted.probe, wanted.columns, wanted.start_ns, wanted.end_ns, wanted.kind
            )

        live = judged(kept, promises())
        assert judged(back, promises()) == live
        release_all(store, seal_all(tmp_path / "store"))
        assert judged(kept, promises()) == live
    assert store.close()
    assert len({verdict.state for verdict in live}) > 1
    assert any(WITHHELD in verdict.sentence for verdict in live)


def test_database_that_is_missing_is_said(settings: SinkSettings) -> None:
    with pytest.raises(LocalError, match="database not found: nowhere"):
        readback.read(replace(settings, database="nowhere"), "ACME-1", "icmp", COLUMNS, 0, 2**62)


def test_victoria_metrics_keeps_the_numbers_of_a_far_end() -> None:
    """As float64, without any text: of a path, the number of its hops."""
    samples = [sample for sample in far_series(160) if sample.circuit == CIRCUITS[0]]
    with VictoriaMetrics() as running:
        settings = SinkSettings("vm", running.url, "v2", bucket="sla", timeout_ns=5 * SECOND)
        sink = Sink(settings)
        encoder = LineEncoder("here", {})
        reply = sink.write("\n".join(encoder.encode(sample, text=False) for sample in samples))
        sink.close()
        assert reply.answer == "written", reply
        stamps = [sample for sample in samples if sample.probe == "stamp" and sample.forward and sample.forward.delay]
        for column, read in (
            ("forward_delay_sum_ns", lambda one: one.forward.delay.sum_ns),
            ("forward_delay_min_ns", lambda one: one.forward.delay.minimum_ns),
            ("forward_lost", lambda one: one.forward.lost),
            ("residence_sum_ns", lambda one: one.residence.sum_ns),
        ):
            meant = [float(read(sample)) for sample in stamps if read(sample) is not None]
            found = running.shown(f'stamp_{column}{{probe="stamp"}}', len(meant))["values"]
            assert set(meant) <= set(found), column
        assert min(running.shown('stamp_forward_delay_min_ns{probe="stamp"}', len(stamps))["values"]) < 0
        assert set(running.shown("route_hop_count", 1)["values"]) == {3.0}
        assert running.export("route_path") == []


def test_victoria_metrics_is_refused_not_read_as_empty() -> None:
    with VictoriaMetrics() as running:
        settings = SinkSettings("vm", running.url, "v2", bucket="sla", timeout_ns=5 * SECOND)
        write(settings, ping(0))
        with pytest.raises(LocalError, match="VictoriaMetrics, which does not speak InfluxQL"):
            readback.series(settings)
        with pytest.raises(LocalError, match="VictoriaMetrics, which does not speak InfluxQL"):
            readback.read(settings, "ACME-1", "icmp", COLUMNS, 0, 2**62)
