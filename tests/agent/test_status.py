"""`linkwitness status` beside a running agent, after it has stopped, and without a store."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.cli.status import command
from agent.report.store_status import StoreReport, document, grids
from agent.report.terminal import print_grid
from agent.store import EventRecord, RunRecord, RunState, Store, StoreReader
from probes.core.clock import SECOND, SystemClock
from probes.core.errors import LocalError
from probes.core.model import Counts, Rate, Sample, SampleState
from tests.fakes.samples import START, ping

NOW = START + 100 * SECOND


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path / "store", clock=SystemClock(), site="ams-edge-01")
    opened.append(
        [
            ping(0),
            ping(1),
            ping(2, circuit="B", probe="udp", delay=None, variation=None, counts=Counts(10, 0, 10),
                 state=SampleState.REJECTED, reason="port unreachable from 192.0.2.7"),
            Sample("B", "tput", "throughput", NOW - 5 * SECOND, SECOND, SampleState.OK,
                   rate=Rate(94_100_000, 50_000_000)),
        ]
    )  # fmt: skip
    opened.note(RunRecord("B", "tput", "throughput", RunState.RAN, NOW - 60 * SECOND, NOW - 60 * SECOND))
    opened.note(RunRecord("B", "tput", "throughput", RunState.SKIPPED, NOW, reason="another run on this circuit"))
    opened.event(EventRecord("gap", NOW - 90 * SECOND, "host frozen", NOW - 30 * SECOND, "frozen"))
    assert opened.flush(10.0)
    opened.cursor("central")
    opened.advance("central", 3)
    opened.park("central", 2, "ping value=1", "field type conflict")
    assert opened.flush(10.0)
    yield opened
    opened.close(10.0)


@pytest.fixture
def report(store: Store, tmp_path: Path) -> StoreReport:  # noqa: ARG001 # the store must be there first
    with StoreReader.open(tmp_path / "store") as reader:
        return StoreReport(NOW, reader.status(), reader.latest(), reader.newest_runs(), reader.events(), reader.gaps())


def drawn(report: StoreReport) -> str:
    stream = io.StringIO()
    for grid in grids(report):
        print_grid(grid, stream)
    return stream.getvalue()


def test_the_table_names_every_probe_with_its_newest_sample(report: StoreReport) -> None:
    lines = drawn(report).splitlines()
    assert lines[0].startswith("site ams-edge-01, store ")
    assert "kept by process" in lines[0]
    icmp = next(line for line in lines if line.startswith("ACME-1")).split()
    assert icmp == ["ACME-1", "icmp", "ok", "12.000", "ms", "0.000", "ms", "0/10", "–", "1m20s", "user", "stamps"]
    udp = next(line for line in lines if " udp " in line)
    assert udp.split()[:6] == ["B", "udp", "rejected", "–", "–", "10/10"]
    assert udp.rstrip().endswith("port unreachable from 192.0.2.7")
    assert any("↑94.1 Mbit/s ↓50 Mbit/s" in line and " tput " in line for line in lines)
    assert any("B/tput" in line and "skipped" in line and "another run on this circuit" in line for line in lines)
    assert any(line.split() == ["central", "3", "1", "1"] for line in lines)
    assert any("gap" in line and "1m" in line and "host frozen" in line for line in lines)


def test_the_document_has_the_same_facts(report: StoreReport) -> None:
    found = json.loads(json.dumps(document(report)))
    assert found["schema"] == "linkwitness.status/1"
    assert (found["store"]["samples"], found["store"]["newest_seq"], found["store"]["running"]) == (4, 4, True)
    assert [(item["circuit"], item["probe"], item["samples"]) for item in found["series"]] == [
        ("ACME-1", "icmp", 2), ("B", "tput", 1), ("B", "udp", 1),
    ]  # fmt: skip
    assert found["latest"][0]["age_ns"] == 80 * SECOND
    assert found["sinks"] == [{"name": "central", "seq": 3, "lag": 1, "parked": 1}]
    assert found["runs"][0]["reason"] == "another run on this circuit"
    assert {event["kind"] for event in found["events"]} == {"gap", "start"}


def test_the_command_works_beside_the_agent_and_after_it(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command(store=tmp_path / "store")
    assert "kept by process" in capsys.readouterr().out
    assert store.close(10.0)
    command(store=tmp_path / "store", json_output=True)
    assert json.loads(capsys.readouterr().out)["store"]["running"] is False
    command(store=tmp_path / "store")
    assert "no agent is running" in capsys.readouterr().out


def test_without_a_store_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="there is no store at") as raised:
        command(store=tmp_path / "nothing")
    assert "linkwitness run" in raised.value.hint


def test_every_gap_is_listed_with_begin_end_and_reason(report: StoreReport) -> None:
    (line,) = (line for line in drawn(report).splitlines() if "frozen" in line and line.count("Z") == 2)
    assert line.split()[2:4] == ["1m", "frozen"]
    (gap,) = document(report)["gaps"]
    assert (gap["reason"], gap["begin_ns"], gap["end_ns"]) == ("frozen", NOW - 90 * SECOND, NOW - 30 * SECOND)
