"""`linkwitness sink parked|retry|drop`: beside a running agent and without one, said which; golden output."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from agent.cli.sink import app
from agent.config import SinkSettings
from agent.deliver import Delivery, SinkStatus, requests
from agent.deliver.care import CHECK_EVENT, SinkCare
from agent.report import sink_status
from agent.report.parked_lines import tag
from agent.report.sink_status import SinkState
from agent.report.terminal import print_grid
from agent.store import EventRecord, ParkedLine, SinkPosition, Store, StoreReader
from agent.store.sink_state import published
from probes.core.clock import SECOND, SystemClock
from tests.fakes.point_server import PointServer
from tests.fakes.samples import ping
from tests.fakes.scripted_server import Answer

GOLDEN = Path(__file__).parents[2] / "golden"
NOW_NS = 1_795_000_000 * SECOND


def invoke(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def configured(home: Path, url: str) -> Path:
    path = home / "agent.yaml"
    path.write_text(
        "site: here\nstore: {path: store}\ncircuits:\n  - {name: a, target: 127.0.0.1, probes: [{kind: icmp}]}\n"
        f'sinks:\n  - {{name: central, url: "{url}", api: v1, database: sla, timeout: 2s}}\n'
    )
    return path


def line(number: int, value: str = "1i") -> str:
    return f"ping,circuit=röhre\\,\\ {number},probe=icmp lost={value} {number}"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Six parked lines: of one the type is wrong for good."""
    store = Store.open(tmp_path / "store", clock=SystemClock(), site="here")
    store.cursor("central")
    for number in range(1, 6):
        store.park("central", number, line(number), "HTTP 400: field type conflict")
    store.park("central", 6, line(6, "1.5"), "HTTP 400: wrong for good")
    assert store.close(10)
    return tmp_path


@pytest.fixture
def server() -> Iterator[PointServer]:
    with PointServer(dialect="1.x") as opened:
        opened.types["ping", "lost"] = "integer"
        yield opened


def parked(home: Path) -> list[int]:
    with StoreReader.open(home / "store") as reader:
        return [item.seq for item in reader.parked("central", after=0)]


def events(home: Path, kind: str = "parked") -> list[str]:
    with StoreReader.open(home / "store") as reader:
        return [event.text for event in reader.events(kind=kind)]


def test_listed_with_circuit_and_reason(home: Path) -> None:
    config = configured(home, "http://127.0.0.1:1")
    text = invoke("parked", "-c", config, "-n", 2).stdout
    first = next(row for row in text.splitlines() if row.startswith("central "))
    assert "röhre, 6" in first
    assert "HTTP 400: wrong for good" in first
    assert "central: 6 parked, the newest 2 shown" in text
    assert "lost=1.5" not in text
    assert "lost=1.5" in invoke("parked", "-c", config, "--lines").stdout
    found = json.loads(invoke("parked", "-c", config, "--json", "--sink", "central").stdout)
    assert found["schema"] == "linkwitness.sink-parked/1"
    [central] = found["sinks"]
    assert (central["parked"], central["dropped"], len(central["lines"])) == (6, 0, 6)
    assert central["lines"][-1]["circuit"] == "röhre, 1"
    assert set(central["lines"][0]) == {"id", "at", "seq", "circuit", "probe", "reason", "line"}
    assert invoke("parked", "-c", config, "--sink", "other").stdout.startswith("nothing is parked")


def test_retried_here_while_no_agent_runs(home: Path, server: PointServer) -> None:
    result = invoke("retry", "-c", configured(home, server.url))
    assert result.exit_code == 1, "one is still refused"
    assert "sink central: 5 parked lines accepted, 1 left: HTTP 400: partial write" in result.stdout
    assert "(done here: no agent is running on " in result.stdout
    assert parked(home) == [6]
    assert len(server.points) == 5
    assert events(home)[0].startswith("sink central: 5 parked lines accepted, 1 left")
    server.types.clear()
    server.points.clear()
    again = invoke("retry", "-c", configured(home, server.url))
    assert (again.exit_code, parked(home)) == (0, [])
    assert invoke("retry", "-c", configured(home, server.url)).stdout == "nothing is parked\n"


def test_retried_while_the_server_is_away_leaves_everything(home: Path) -> None:
    result = invoke("retry", "-c", configured(home, "http://127.0.0.1:1"), "--sink", "central")
    assert result.exit_code == 1
    assert "0 parked lines accepted, 6 left: 127.0.0.1:1 cannot be reached" in result.stdout
    assert parked(home) == [1, 2, 3, 4, 5, 6]


def test_dropped_here_with_the_reason_kept(home: Path) -> None:
    config = configured(home, "http://127.0.0.1:1")
    assert invoke("drop", "-c", config, "--sink", "central", "--reason", " ").exit_code == 2
    assert invoke("drop", "-c", config, "--sink", "central").exit_code == 2
    result = invoke("drop", "-c", config, "--sink", "central", "--reason", "ticket 4711: old types")
    assert result.exit_code == 0
    assert "sink central: 6 parked lines dropped (done here" in result.stdout
    assert parked(home) == []
    assert events(home) == ["sink central: 6 parked lines dropped by hand: ticket 4711: old types"]


@pytest.fixture
def agent(home: Path, server: PointServer) -> Iterator[Path]:
    """A store that is held, with delivery and care, as the agent has it."""
    clock = SystemClock()
    store = Store.open(home / "store", clock=clock, site="here")
    settings = SinkSettings("central", server.url, "v1", database="sla", timeout_ns=2 * SECOND)
    delivery = Delivery([settings], store, home / "store", {}, "here", clock)
    care = SinkCare([settings], store, home / "store", clock, delivery.status)
    delivery.start()
    care.start()
    yield home
    care.close()
    delivery.close(1)
    store.close(10)


def test_done_by_the_running_agent(agent: Path, server: PointServer) -> None:
    result = invoke("retry", "-c", configured(agent, server.url))
    assert "sink central: 5 parked lines accepted, 1 left" in result.stdout
    assert "(done by the running agent (process " in result.stdout
    assert parked(agent) == [6]
    result = invoke("drop", "-c", configured(agent, server.url), "--sink", "central", "--reason", "enough")
    assert result.exit_code == 0, result.output
    assert "1 parked lines dropped (done by the running agent" in result.stdout
    assert parked(agent) == []
    assert sorted(path.name for path in (agent / "store" / "requests").iterdir()) == []


def test_an_agent_that_does_not_answer(home: Path, server: PointServer) -> None:
    store = Store.open(home / "store", clock=SystemClock(), site="here")
    result = invoke("retry", "-c", configured(home, server.url), "--wait", "0.1")
    store.close(10)
    assert result.exit_code == 1
    assert "has not answered within 0.1 s; it still may" in result.stdout


def test_requests_that_make_no_sense_or_are_old_are_cleared_away(tmp_path: Path) -> None:
    folder = tmp_path / requests.FOLDER
    asked = requests.ask(tmp_path, "retry", "a", NOW_NS)
    old = requests.ask(tmp_path, "drop", "a", NOW_NS - 2 * requests.OLDEST_NS, "x")
    for name, text in (("x.request", "{"), ("y.request", '{"action": "rm"}'), ("z", "?"), ("w.request", "[" * 9000)):
        (folder / name).write_text(text)
    os.mkfifo(folder / "pipe.request")
    (folder / "link.request").symlink_to(tmp_path / "nowhere")
    (folder / f"{asked.id[::-1]}.request").write_text((folder / f"{asked.id}.request").read_text())
    assert list(requests.waiting(tmp_path, NOW_NS)) == [asked]
    assert list(requests.waiting(tmp_path, NOW_NS)) == []
    assert [path.name for path in folder.iterdir()] == []
    assert old.id != asked.id
    requests.answer(tmp_path, asked, requests.Done("done", 3))
    assert requests.answer_to(tmp_path, asked) == requests.Done("done", 3)
    assert requests.answer_to(tmp_path, asked) is None
    assert list(requests.waiting(tmp_path / "none", NOW_NS)) == []


def test_a_request_that_is_being_written_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / requests.FOLDER
    folder.mkdir()
    half, left_behind = folder / "0123456789abcdef.unfinished", folder / "fedcba9876543210.unfinished"
    half.write_text("{")
    left_behind.write_text("{")
    os.utime(half, ns=(NOW_NS, NOW_NS))
    os.utime(left_behind, ns=(NOW_NS - 2 * requests.OLDEST_NS,) * 2)
    assert list(requests.waiting(tmp_path, NOW_NS)) == []
    assert (half.exists(), left_behind.exists()) == (True, False)


def test_the_agents_own_trial_of_a_sink_is_an_event_and_a_status_line(home: Path) -> None:
    class Mistyped(PointServer):
        def answer_read(self, request: object) -> object:
            path = str(getattr(request, "path", ""))
            if "FIELD" not in path:
                return super().answer_read(request)  # type: ignore[arg-type]
            found = [{"name": "ping", "columns": ["fieldKey", "fieldType"], "values": [["lost", "float"]]}]
            body = json.dumps({"results": [{"series": found}]}).encode()
            return Answer(200, {}, body)

    clock = SystemClock()
    with Mistyped(dialect="1.x") as server:
        store = Store.open(home / "store", clock=clock, site="here")
        store.append([ping(1)])
        settings = SinkSettings("central", server.url, "v1", database="sla", timeout_ns=2 * SECOND)
        care = SinkCare([settings], store, home / "store", clock, lambda: [])
        care.start()
        for _ in range(1000):
            if care.troubles():
                break
            threading.Event().wait(0.01)
        care.close()
        store.close(10)
    assert any(
        "ping there has fields of other types: lost (float, sent as integer)" in text for text in care.troubles()
    )
    assert any("ping there has fields of other types" in text for text in events(home, CHECK_EVENT))
    assert not any(request.lines and not request.lines[0].startswith("#") for request in server.asked)
    assert published(home / "store")["schema"] == "linkwitness.sinks-live/1"


def test_trouble_at_the_start_is_forgotten_once_the_sink_takes_samples(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.deliver.care.AGAIN_NS", 0)
    well = SinkStatus("central", "", "waiting", 0, 0, 0, 0)
    status = [well]
    with PointServer([Answer(401), Answer(401)], dialect="1.x") as server:
        store = Store.open(home / "store", clock=SystemClock(), site="here")
        settings = SinkSettings("central", server.url, "v1", database="sla", timeout_ns=2 * SECOND)
        care = SinkCare([settings], store, home / "store", SystemClock(), lambda: status)
        care.start()
        refused = "sink central: takes no samples: HTTP 401"
        until(lambda: refused in care.troubles())
        asked = len(server.writes)
        threading.Event().wait(0.3)
        assert len(server.writes) == asked == 1, "a server in trouble is left to the delivery"
        status[0] = replace(well, state="ok")
        until(lambda: refused not in care.troubles())
        care.close()
        store.close(10)
    assert events(home, CHECK_EVENT).count(refused) == 1


def until(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not come to that")


def states() -> list[SinkState]:
    since = EventRecord("sink", NOW_NS - 60 * SECOND, "sink a: ok")
    held = EventRecord("sink", NOW_NS - 7200 * SECOND, "sink b: held: HTTP 401: no", reason="HTTP 401: unauthorized")
    findings = [{"state": "warn", "text": "its clock is 9 s ahead of this host's", "remedy": "synchronise both"}]
    live = {"server": "InfluxDB 2.7.5", "rate": 20_000.0, "findings": findings}
    refused = ParkedLine("a", 77, NOW_NS - 3600 * SECOND, "ping,circuit=x lost=1i 1", "HTTP 422: field type conflict")
    position, oldest_ns = SinkPosition("a", 1_000_000, 1_200_000, 3), NOW_NS - 6000 * SECOND
    return [
        SinkState("a", NOW_NS, position, oldest_ns, since, refused, True, 0, live),
        SinkState("b", NOW_NS, SinkPosition("b", 7, 12, 0), NOW_NS - 7300 * SECOND, held, None, True, 2500, {}),
        SinkState("new", NOW_NS, None, None, None, None, True),
    ]  # fmt: skip


def test_status_as_it_is_drawn(tmp_path: Path) -> None:
    with (tmp_path / "drawn").open("w+", encoding="utf-8") as stream:
        print_grid(sink_status.grid(states()), stream, width=150)
        stream.seek(0)
        drawn = "".join(f"{row.rstrip()}\n" for row in stream.read().splitlines())
    assert drawn == (GOLDEN / "sink-status-150.txt").read_text("utf-8")


def test_status_as_a_document() -> None:
    found = json.dumps(sink_status.document(states()), ensure_ascii=False, indent=2) + "\n"
    assert found == (GOLDEN / "sink-status.json").read_text("utf-8")


@pytest.mark.parametrize(
    ("text", "circuit"),
    [
        (line(3), "röhre, 3"), ("m,circuit=a\\=b x=1i 1", "a=b"), ("m,acircuit=a x=1i 1", None), ("", None),
        ("m x=1i 1", None), ("m,circuit=back\\slash x=1i 1", "back\\slash"),
    ],
)  # fmt: skip
def test_circuit_of_a_line(text: str, circuit: str | None) -> None:
    assert tag(text, "circuit") == circuit
