"""Reading back from real servers: only what was asked for, of one site, each sample once, or a refusal with its why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from agent.config import SinkSettings
from agent.deliver import readback
from agent.deliver.line import LineEncoder
from agent.deliver.sink import Sink
from agent.sla.samples.columns import INTEGER_COLUMNS
from probes.core.clock import SECOND
from probes.core.errors import LocalError
from probes.core.model import Circuit, Sample
from tests.fakes.samples import START, ping
from tests.live.servers import InfluxDB1, VictoriaMetrics

pytestmark = pytest.mark.live("influxdb", "victoria-metrics")

COLUMNS = (*INTEGER_COLUMNS, "histogram")
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


def test_database_that_is_missing_is_said(settings: SinkSettings) -> None:
    with pytest.raises(LocalError, match="database not found: nowhere"):
        readback.read(replace(settings, database="nowhere"), "ACME-1", "icmp", COLUMNS, 0, 2**62)


def test_victoria_metrics_is_refused_not_read_as_empty() -> None:
    with VictoriaMetrics() as running:
        settings = SinkSettings("vm", running.url, "v2", bucket="sla", timeout_ns=5 * SECOND)
        write(settings, ping(0))
        with pytest.raises(LocalError, match="VictoriaMetrics, which does not speak InfluxQL"):
            readback.series(settings)
        with pytest.raises(LocalError, match="VictoriaMetrics, which does not speak InfluxQL"):
            readback.read(settings, "ACME-1", "icmp", COLUMNS, 0, 2**62)
