"""`linkwitness sink` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from agent.cli.main import run as run_root
from agent.cli.sink import app
from agent.store import EventRecord, Store
from probes.core.clock import SECOND, SystemClock
from tests.fakes.samples import ping
from tests.fakes.scripted_server import INFLUX_1, Answer, Misbehaviour, ScriptedServer

CIRCUIT = "site: here\nstore: {path: store}\ncircuits:\n  - {name: a, target: 127.0.0.1, probes: [{kind: icmp}]}\n"


def configured(home: Path, *sinks: str) -> Path:
    listed = "".join(f"  - {{{sink}}}\n" for sink in sinks)
    path = home / "agent.yaml"
    path.write_text(CIRCUIT + (f"sinks:\n{listed}" if sinks else ""))
    return path


def invoke(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def sink(server: ScriptedServer, more: str = "") -> str:
    return f'name: central, url: "{server.url}", api: auto, database: sla, timeout: 1s{more}'


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Three samples, two of them delivered; one line refused; the server is away since."""
    store = Store.open(tmp_path / "store", clock=SystemClock(), site="here")
    store.append([ping(number) for number in range(3)])
    assert store.flush(10)
    store.cursor("central")
    store.park("central", 2, "ping x=1i 2", "HTTP 400: field type conflict")
    store.advance("central", 2)
    store.event(EventRecord("sink", 5 * SECOND, "sink central: ok"))
    store.event(EventRecord("sink", 6 * SECOND, "sink central: waiting: gone", reason="gone"))
    store.event(EventRecord("sink", 7 * SECOND, "sink central-2: ok"))
    assert store.close(10)
    return tmp_path


def test_status_tells_position_lag_trouble_and_refused_lines(home: Path) -> None:
    config = configured(home, 'name: central, url: "http://127.0.0.1:1", api: v1, database: sla')
    result = invoke("status", "-c", config, "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert (found["schema"], found["ok"]) == ("linkwitness.sink-status/1", False)
    [central] = found["sinks"]
    assert central.pop("lag_ns") > 0
    parked = central.pop("last_parked")
    assert parked.pop("at").endswith("Z")
    assert parked == {"seq": 2, "reason": "HTTP 400: field type conflict", "line": "ping x=1i 2"}
    assert central == {
        "name": "central", "configured": True, "state": "waiting", "since": "1970-01-01T00:00:06.000Z",
        "words": "gone", "cursor": 2, "lag": 1, "parked": 1, "parked_dropped": 0, "server": None, "rate": None,
        "drain_ns": None, "oldest": "2026-09-21T14:13:40.000Z", "findings": [],
    }  # fmt: skip
    text = invoke("status", "-c", config).stdout
    assert next(line.split()[:5] for line in text.splitlines() if line.startswith("central ")) == [
        "central", "waiting", "1970-01-01T00:00:06Z", "2", "1",
    ]  # fmt: skip
    assert " gone\n" in text
    assert "central refused sample 2 last: HTTP 400: field type conflict" in text


def test_status_of_a_sink_that_is_new_and_one_that_is_gone(home: Path) -> None:
    config = configured(home, 'name: fresh, url: "http://127.0.0.1:1", api: v1, database: sla')
    result = invoke("status", "-c", config, "--json")
    assert result.exit_code == 0, "what is not configured is in nobody's way"
    states = {item["name"]: item["state"] for item in json.loads(result.stdout)["sinks"]}
    assert states == {"fresh": "not started", "central": "not configured"}


def test_status_reads_a_directory_without_a_configuration(home: Path) -> None:
    result = invoke("status", "--store", home / "store", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["sinks"][0]["configured"] is None


def test_status_without_a_store_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_root(["sink", "status", "--store", str(tmp_path / "none")]) == 1
    assert "there is no store at" in capsys.readouterr().err


def test_check_writes_nothing_unless_asked_to(tmp_path: Path) -> None:
    with ScriptedServer([Answer()]) as server:
        config = configured(tmp_path, sink(server))
        result = invoke("check", "-c", config)
        assert result.exit_code == 0, result.stdout
        assert [line for line in server.stored if not line.startswith("#")] == []
        assert f"ok    sink central: {server.url} is InfluxDB 1.6.7, written by api v1\n" in result.stdout
        assert "ok    sink central: database sla takes samples\n" in result.stdout
        assert "warn  sink central: its clock is " in result.stdout
        assert invoke("check", "central", "-c", config, "--write").exit_code == 0
        [point] = [line for line in server.stored if not line.startswith("#")]
        assert point.startswith("linkwitness_agent,sink=central check=1i ")


@pytest.mark.parametrize(
    ("answer", "words", "remedy"),
    [
        (Answer(401, body=b'{"error":"unauthorized access"}'), "HTTP 401: unauthorized access", "set `token`"),
        (Answer(403, body=b'{"error":"no right"}'), "HTTP 403: no right", "set `token`"),
        (Answer(404, body=b'{"error":"database not found"}'), "HTTP 404: database not found", "create database sla"),
        (Answer(503), "HTTP 503", "busy or broken"),
        (Answer(302, {"Location": "http://127.0.0.1:1/"}), "redirects are not followed", "see the server's words"),
        (Answer(500, body=b'{"error":"retention policy not found: x"}'), "HTTP 500: ret", "create the retention"),
        (Misbehaviour("stall"), "did not answer within 1 s", "busy or broken"),
    ],
)  # fmt: skip
def test_check_names_the_trouble_and_the_remedy(
    tmp_path: Path, answer: Answer | Misbehaviour, words: str, remedy: str
) -> None:
    with ScriptedServer([answer]) as server:
        config = configured(tmp_path, sink(server))
        result = invoke("check", "-c", config)
        found = json.loads(invoke("check", "-c", config, "--json").stdout)
    assert result.exit_code == 1
    [line] = [line for line in result.stdout.splitlines() if line.startswith("fail")]
    assert line.startswith("fail  sink central: takes no samples: ")
    assert words in line
    assert remedy in result.stdout
    assert not found["ok"]
    assert found["sinks"][0]["http_status"] == getattr(answer, "status", None)
    assert found["sinks"][0]["version"] == "1.6.7"


def test_check_of_a_server_that_takes_another_path(tmp_path: Path) -> None:
    with ScriptedServer([Answer(404, body=b"404 page not found")]) as server:
        config = configured(tmp_path, f'name: central, url: "{server.url}", api: v2, bucket: sla, timeout: 1s')
        result = invoke("check", "-c", config)
    assert result.exit_code == 1
    assert "remedy: this server is written by api v1: set `api: v1` and `database`" in result.stdout


def test_check_never_shows_the_secret(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cr3t-token\n")
    (tmp_path / "token").chmod(0o600)
    with ScriptedServer([Answer(401, body=b'{"error":"who are you"}')], reads=INFLUX_1) as server:
        config = configured(tmp_path, sink(server, ", token: {file: token}"))
        results = [invoke("check", "-c", config), invoke("check", "-c", config, "--json")]
        assert any("s3cr3t-token" in request.headers.get("authorization", "") for request in server.writes)
        assert not any("s3cr3t" in str(request.headers) for request in server.asked if request.method == "GET")
    assert all(result.exit_code == 1 and "s3cr3t" not in result.output for result in results)
    assert f"renew file {tmp_path}/token" in results[0].stdout


def test_check_of_a_secret_that_is_missing_asks_nobody(tmp_path: Path) -> None:
    with ScriptedServer([Answer()]) as server:
        result = invoke("check", "-c", configured(tmp_path, sink(server, ", token: {file: token}")))
        assert server.asked == []
    assert result.exit_code == 1
    assert "token cannot be read" in result.stdout


def test_check_of_a_server_that_is_down(tmp_path: Path) -> None:
    config = configured(tmp_path, 'name: central, url: "http://127.0.0.1:1", api: v1, database: sla, timeout: 1s')
    result = invoke("check", "-c", config)
    assert result.exit_code == 1
    assert "fail  sink central: http://127.0.0.1:1: " in result.stdout
    assert json.loads(invoke("check", "-c", config, "--json").stdout)["sinks"][0]["product"] is None


def test_check_of_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke("check", "-c", configured(tmp_path)).stdout == "no sink is configured: samples stay in the store\n"
    assert run_root(["sink", "check", "nobody", "-c", str(configured(tmp_path))]) == 1
    assert capsys.readouterr().err == "error: there is no sink 'nobody'\nhint: configured: none\n"
