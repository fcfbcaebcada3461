"""`linkwitness doctor`: each trouble is found, named and has a remedy; a healthy host has none."""

import fcntl
import json
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from agent.cli import config_findings, doctor, host_findings
from agent.cli.finding import Finding, State
from agent.config import AgentConfig, SecretSource, SinkSettings, load
from probes.core.clock import ClockQuality
from probes.core.errors import LocalError, PrivilegeError

DEFAULT = Path(__file__).parents[2] / "config" / "agent.yaml"
OK, WARN, FAIL = State.OK, State.WARN, State.FAIL


def states(findings: list[Finding]) -> list[tuple[str, State]]:
    return [(finding.subject, finding.state) for finding in findings]


def every_trouble_has_a_remedy(findings: list[Finding]) -> bool:
    return all(finding.remedy for finding in findings if finding.state is not OK)


# The host


def proc(tmp_path: Path, capabilities: str, groups: str = "1\t0") -> Path:
    (tmp_path / "self").mkdir(exist_ok=True)
    (tmp_path / "self" / "status").write_text(f"Name:\tx\nCapEff:\t{capabilities}\nSeccomp:\t0\n")
    (tmp_path / "sys/net/ipv4").mkdir(parents=True, exist_ok=True)
    (tmp_path / "sys/net/ipv4/ping_group_range").write_text(f"{groups}\n")
    return tmp_path


@pytest.mark.parametrize(
    ("bits", "words"),
    [
        ("0000000000000000", "none"),
        ("0000000000002000", "CAP_NET_RAW"),
        ("0000000000003400", "CAP_NET_BIND_SERVICE, CAP_NET_ADMIN, CAP_NET_RAW"),
        ("0000000000002001", "CAP_NET_RAW, 1 more"),
        ("000001ffffffffff", "all (root)"),
        ("junk", "unknown"),
    ],
)
def test_capabilities_are_named(tmp_path: Path, bits: str, words: str) -> None:
    *_, finding = host_findings.privileges(lambda _family: True, proc(tmp_path, bits, "0\t2147483647"))
    assert finding.text == f"{words}; net.ipv4.ping_group_range is 0 2147483647"


def test_a_right_that_is_missing_is_no_failure(tmp_path: Path) -> None:
    def refuse(family: int) -> bool:
        raise PrivilegeError("not permitted", hint="do this") if family == 4 else LocalError("no IPv6", hint="enable")

    found = list(host_findings.privileges(refuse, proc(tmp_path, "0")))
    assert states(found) == [("icmp ipv4", WARN), ("icmp ipv6", OK), ("capabilities", OK)]
    assert found[0].remedy == "do this"


def test_the_way_to_send_icmp_is_named(tmp_path: Path) -> None:
    four, six, _ = host_findings.privileges(lambda family: family == 4, proc(tmp_path, "0"))
    assert ("raw socket" in four.text, "ping_group_range" in six.text) == (True, True)


@pytest.mark.parametrize(
    ("quality", "state", "words"),
    [
        (ClockQuality(True, 1_000, 1_500_000), OK, "synchronised, error at most 1.5 ms"),
        (ClockQuality(True, None, None), OK, "synchronised, error unknown"),
        (ClockQuality(True, 1_000, 500_000_000), WARN, "error at most 500.0 ms"),
        (ClockQuality(False, None, None), WARN, "not synchronised"),
    ],
)
def test_the_clock(quality: ClockQuality, state: State, words: str) -> None:
    finding = host_findings.clock(quality)
    assert finding.state is state
    assert words in finding.text
    assert bool(finding.remedy) == (state is not OK)


@pytest.mark.parametrize(
    ("version", "racy"),
    [
        ((3, 40, 1), True), ((3, 44, 5), True), ((3, 44, 6), False), ((3, 45, 0), True), ((3, 50, 6), True),
        ((3, 50, 7), False), ((3, 51, 2), True), ((3, 51, 3), False), ((3, 52, 0), False), ((4, 0, 0), False),
    ],
)  # fmt: skip
def test_which_sqlite_has_the_race(version: tuple[int, int, int], racy: bool) -> None:
    assert ("WAL-reset race" in host_findings.sqlite(version).text) is racy


def test_a_stranger_with_our_name_is_reported() -> None:
    ours = {"agent": ["linkwitness"], "probes": ["linkwitness"]}
    assert states(list(host_findings.packages(ours))) == [("package agent", OK), ("package probes", OK)]
    assert all("source tree" in finding.text for finding in host_findings.packages({}))
    found = list(host_findings.packages(ours | {"agent": ["linkwitness", "agent-py"]}))
    assert states(found) == [("package agent", FAIL), ("package probes", OK)]
    assert "agent-py" in found[0].text
    assert "pip uninstall agent-py" in found[0].remedy


@pytest.mark.parametrize(
    ("environment", "state", "words"),
    [
        ({}, OK, "not started as a service; systemd does not run this host"),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "30000000"}, OK, "watchdog after 30s"),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "2000000"}, WARN, "bites after 2s"),
        ({"NOTIFY_SOCKET": "/run/x"}, WARN, "without a watchdog"),
        ({"WATCHDOG_USEC": "30000000"}, WARN, "no NOTIFY_SOCKET"),
    ],
)
def test_the_service_manager(tmp_path: Path, environment: dict[str, str], state: State, words: str) -> None:
    finding = host_findings.service(environment, tmp_path / "none")
    assert finding.state is state
    assert words in finding.text
    assert every_trouble_has_a_remedy([finding])


# The configuration


@pytest.fixture
def settings() -> AgentConfig:
    return load(DEFAULT)


def mounts(tmp_path: Path, kind: str) -> Path:
    file = tmp_path / "mountinfo"
    file.write_text(
        "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        f"22 21 0:5 / {str(tmp_path).replace(' ', chr(92) + '040')} rw,noatime shared:3 - {kind} server:/export rw\n"
    )
    return file


@pytest.mark.parametrize(("kind", "state"), [("nfs4", FAIL), ("cifs", FAIL), ("tmpfs", WARN), ("ext4", None)])
def test_a_file_system_that_cannot_keep_a_store(tmp_path: Path, kind: str, state: State | None) -> None:
    found = list(config_findings.store(tmp_path / "a store" / "deeper", mounts(tmp_path, kind)))
    assert found[0] == Finding("store", OK, f"{tmp_path / 'a store' / 'deeper'} can be created")
    assert {finding.state for finding in found if finding.subject == "file system"} == ({state} if state else set())
    assert every_trouble_has_a_remedy(found)


@pytest.mark.parametrize(("free", "state"), [(1 << 20, FAIL), (500 << 20, WARN), (5 << 30, OK)])
def test_room_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, state: State) -> None:
    usage = type("Usage", (), {"free": free})
    monkeypatch.setattr(config_findings.shutil, "disk_usage", lambda _path: usage)
    found = {finding.subject: finding for finding in config_findings.store(tmp_path, mounts(tmp_path, "ext4"))}
    assert found["disk space"].state is state


def test_a_store_in_use_names_the_process(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(json.dumps({"pid": os.getpid(), "boot_id": "x", "started_ns": 1}))
    with (tmp_path / "lock").open("r+b") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        found = list(config_findings.store(tmp_path, mounts(tmp_path, "ext4")))
    assert found[0] == Finding("store", OK, f"{tmp_path} is in use by process {os.getpid()}")
    assert next(config_findings.store(tmp_path)).text == f"{tmp_path} is writable"


def test_a_store_that_this_user_cannot_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_findings.os, "access", lambda *_: False)
    assert next(config_findings.store(tmp_path / "x")).text == f"this user cannot create {tmp_path / 'x'}"
    assert next(config_findings.store(tmp_path)).state is FAIL


def test_damaged_databases_are_not_forgotten(tmp_path: Path) -> None:
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "2026-11-01.sqlite").touch()
    assert ("store history", WARN) in states(list(config_findings.store(tmp_path, mounts(tmp_path, "ext4"))))


def test_circuits_that_this_host_cannot_measure(settings: AgentConfig, tmp_path: Path) -> None:
    (tmp_path / "lo").mkdir()
    plain = settings.circuits[0]
    wrong = replace(
        settings,
        circuits=(plain, replace(plain, id="a", interface="eth9"), replace(plain, id="b", source="203.0.113.99"),
                  replace(plain, id="c", source="127.0.0.1", interface="lo"), replace(plain, id="gateway")),
        discover={"gateway": "gateway"},
    )  # fmt: skip
    found = list(config_findings.circuits(wrong, lambda _role: None, tmp_path))
    assert states(found) == [("circuit a", FAIL), ("circuit b", FAIL), ("circuit gateway", WARN)]
    assert found[0].remedy == "name one of lo"
    assert not list(config_findings.circuits(settings, lambda _role: "192.0.2.1", tmp_path))


def test_a_receive_buffer_for_the_configured_rate(settings: AgentConfig, tmp_path: Path) -> None:
    limit = tmp_path / "rmem_max"
    limit.write_text("212992\n")
    assert config_findings.receive_buffer(settings, limit).state is OK
    fast = replace(settings.circuits[0].probes[0], parameters={"every": 1_000_000})
    loud = replace(settings, circuits=(replace(settings.circuits[0], probes=(fast,)),))
    finding = config_findings.receive_buffer(loud, limit)
    assert (finding.state, finding.text) == (
        WARN,
        "net.core.rmem_max 212992 holds 513 replies; 1000 a second are expected",
    )
    wanted = int(finding.remedy.partition("rmem_max=")[2].partition(",")[0])
    limit.write_text(str(wanted))
    assert config_findings.receive_buffer(loud, limit).state is OK


def test_secrets_of_a_sink(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("s3cr3t")
    file.chmod(0o644)
    sink = SinkSettings("central", "https://influx.example.net", bucket="b", token=SecretSource(file=file))
    [finding] = config_findings.secrets(sink)
    assert (finding.state, finding.remedy) == (FAIL, f"chmod 600 {file}")
    file.chmod(0o600)
    assert not list(config_findings.secrets(sink))
    assert not list(config_findings.secrets(replace(sink, url="http://127.0.0.1:8086")))
    assert not list(config_findings.secrets(replace(sink, url="http://[::1]:8086")))
    [finding] = config_findings.secrets(replace(sink, url="http://10.0.0.5:8086"))
    assert finding.state is WARN
    assert not list(config_findings.secrets(replace(sink, url="http://10.0.0.5:8086", token=None)))


# The command


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    application = typer.Typer()
    application.command()(doctor.command)
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(application, arguments)
        return result.exit_code, result.stdout

    return invoke


CIRCUIT = "store: {path: here}\ncircuits:\n  - {name: a, target: 127.0.0.1, probes: [{kind: tcp, port: 1}]}\n"


def test_every_subject_is_looked_at(run: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    (tmp_path / "agent.yaml").write_text(CIRCUIT)
    code, text = run("-c", "agent.yaml", "--json")
    report = json.loads(text)
    assert (report["schema"], report["ok"], code) == ("linkwitness.doctor/1", True, 0)
    assert {item["subject"] for item in report["findings"]} >= {
        "package agent", "package probes", "icmp ipv4", "icmp ipv6", "capabilities", "clock", "sqlite", "service",
        "configuration", "store", "disk space", "receive buffer", "sinks",
    }  # fmt: skip
    assert not (tmp_path / "here").exists()


def test_a_wrong_configuration_is_a_failure_with_its_place(run: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    (tmp_path / "agent.yaml").write_text("interval: 5\n" + CIRCUIT)
    code, text = run("-c", "agent.yaml")
    assert code == 1
    assert "fail  configuration: agent.yaml:1:11: interval: 5 has no unit" in text
    (tmp_path / "agent.yaml").write_text(CIRCUIT)
    (tmp_path / "agent.yaml").chmod(0o666)
    code, text = run("-c", "agent.yaml")
    assert code == 0
    assert f"remedy: chmod o-w {tmp_path / 'agent.yaml'}" in text
    code, text = run("-c", "absent.yaml")
    assert code == 1
    assert "fail  configuration: cannot read absent.yaml" in text


def test_a_sink_that_is_down_is_a_failure(run: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    (tmp_path / "agent.yaml").write_text(
        CIRCUIT + "sinks:\n  - {name: central, url: 'http://127.0.0.1:1', api: v2, bucket: b, timeout: 1s}\n"
    )
    code, text = run("-c", "agent.yaml")
    assert code == 1
    assert "fail  sink central: " in text
    assert "remedy: " in text


class InfluxPing(BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # the name http.server calls
        self.send_response(204 if self.path == "/ping" else 404)
        self.send_header("X-Influxdb-Version", "1.6.7")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


def test_a_sink_that_answers_is_named(run: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), InfluxPing) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        (tmp_path / "agent.yaml").write_text(
            CIRCUIT + f"sinks:\n  - {{name: central, url: '{url}', database: sla, timeout: 5s}}\n"
        )
        code, text = run("-c", "agent.yaml")
        server.shutdown()
        thread.join(5)
    assert code == 0
    assert f"ok    sink central: {url} answers: InfluxDB 1.6.7\n" in text
