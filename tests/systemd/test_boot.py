"""The unit on a machine that booted: started, reloaded, hung, killed and stopped by systemd itself."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.systemd.machine import ROOT, Machine, wait_for

pytestmark = [pytest.mark.root, pytest.mark.serial]

UNIT = "linkwitness.service"
CONFIG = "etc/linkwitness/agent.yaml"
PROGRAM = "/opt/linkwitness/bin/linkwitness"
CAP_NET_RAW, CAP_NET_BIND_SERVICE = 1 << 13, 1 << 10

AGENT = """
site: boot-test
interval: 1s
contracts: contracts
store: {path: /var/lib/linkwitness}
reflector: {listen: 127.0.0.1, allow: [127.0.0.0/8]}
circuits:
  - {name: own-icmp, target: 127.0.0.1, contract: loopback, probes: [{kind: icmp, every: 200ms}]}
  - {name: own-udp, target: 127.0.0.1, contract: loopback, probes: [{kind: udp, every: 200ms}]}
"""
ONE_MORE = """  - {name: added, target: 127.0.0.1, probes: [{kind: icmp, every: 200ms}]}
"""

FASTER = """[Service]
WatchdogSec=4
TimeoutAbortSec=1
RestartSec=200ms
"""


def prepare(root: Path) -> None:
    (root / "etc/linkwitness/contracts").mkdir(parents=True)
    (root / CONFIG).write_text(AGENT, "utf-8")
    shutil.copy(ROOT / "config/contracts/loopback.yaml", root / "etc/linkwitness/contracts")
    override = root / "etc/systemd/system/linkwitness.service.d"
    override.mkdir()
    (override / "faster.conf").write_text(FASTER, "utf-8")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("machine"), prepare=prepare)
    yield machine
    machine.close()


@pytest.fixture
def service(machine: Machine) -> Iterator[Machine]:
    """The machine with the service freshly started, on the plain configuration."""
    (machine.root / CONFIG).write_text(AGENT, "utf-8")
    done = machine.attempt("systemctl", "start", UNIT)
    assert done.returncode == 0, done.stderr + machine.journal(UNIT)
    yield machine
    machine.run("systemctl", "stop", UNIT)
    machine.run("systemctl", "reset-failed", UNIT)


def main_pid(machine: Machine) -> str:
    return machine.show(UNIT, "MainPID")["MainPID"]


def circuits(machine: Machine) -> set[str]:
    """Circuits the program itself knows samples of, asked beside the running service."""
    done = machine.attempt(PROGRAM, "status", "-c", f"/{CONFIG}", "--json")
    assert done.returncode == 0, done.stderr
    return {name for name in ("own-icmp", "own-udp", "added") if json.dumps(name) in done.stdout}


def test_it_starts_as_its_own_user_with_two_capabilities(service: Machine) -> None:
    shown = service.show(UNIT, "ActiveState", "StatusText", "NRestarts")
    assert (shown["ActiveState"], shown["NRestarts"]) == ("active", "0")
    assert shown["StatusText"]
    status = dict(
        line.split(":", 1) for line in (service.run("cat", f"/proc/{main_pid(service)}/status") or "").splitlines()
    )
    uid = (service.run("id", "-u", "linkwitness") or "").strip()
    assert set(status["Uid"].split()) == {uid} != {"0"}
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == CAP_NET_RAW | CAP_NET_BIND_SERVICE
    assert status["NoNewPrivs"].strip() == "1"
    assert (service.run("stat", "-c", "%U %a", "/var/lib/linkwitness") or "").split() == ["linkwitness", "750"]


def test_it_measures_inside_its_sandbox(service: Machine) -> None:
    assert wait_for(lambda: circuits(service) == {"own-icmp", "own-udp"}, 15), service.journal(UNIT)
    journal = service.journal(UNIT)
    assert "Traceback" not in journal
    assert "Operation not permitted" not in journal


def test_reload_takes_the_new_configuration_in_the_same_process(service: Machine) -> None:
    before = main_pid(service)
    (service.root / CONFIG).write_text(AGENT + ONE_MORE, "utf-8")
    assert service.run("systemctl", "reload", UNIT) is not None
    assert wait_for(lambda: "added" in circuits(service), 15), service.journal(UNIT)
    assert main_pid(service) == before


def test_a_wrong_configuration_on_reload_changes_nothing(service: Machine) -> None:
    before = main_pid(service)
    (service.root / CONFIG).write_text(AGENT.replace("every:", "evry:"), "utf-8")
    assert service.run("systemctl", "reload", UNIT) is not None
    assert wait_for(lambda: "evry" in service.journal(UNIT), 10)
    assert service.show(UNIT, "ActiveState")["ActiveState"] == "active"
    assert main_pid(service) == before


def test_a_killed_agent_is_started_again(service: Machine) -> None:
    before = main_pid(service)
    service.run("systemctl", "kill", "-s", "KILL", "--kill-who=main", UNIT)
    assert wait_for(
        lambda: service.show(UNIT, "ActiveState")["ActiveState"] == "active" and main_pid(service) not in (before, "0"),
        20,
    ), service.journal(UNIT)
    assert service.show(UNIT, "NRestarts")["NRestarts"] == "1"


def test_an_agent_that_hangs_is_killed_by_the_watchdog_and_started_again(service: Machine) -> None:
    before = main_pid(service)
    service.run("systemctl", "kill", "-s", "STOP", "--kill-who=main", UNIT)
    assert wait_for(
        lambda: service.show(UNIT, "ActiveState")["ActiveState"] == "active" and main_pid(service) not in (before, "0"),
        30,
    ), service.journal(UNIT)
    assert "watchdog" in service.journal(UNIT).lower()


def test_an_agent_that_works_is_left_alone_by_the_watchdog(service: Machine) -> None:
    before = main_pid(service)
    time.sleep(9)
    assert main_pid(service) == before
    assert service.show(UNIT, "NRestarts")["NRestarts"] == "0"


def test_it_stops_cleanly_and_says_so(service: Machine) -> None:
    assert wait_for(lambda: circuits(service), 15)
    assert service.run("systemctl", "stop", UNIT) is not None
    shown = service.show(UNIT, "Result", "ExecMainStatus", "ActiveState")
    assert shown == {"Result": "success", "ExecMainStatus": "0", "ActiveState": "inactive"}, service.journal(UNIT)


def test_a_missing_configuration_fails_with_the_remedy_in_the_journal(machine: Machine) -> None:
    config = machine.root / CONFIG
    config.rename(config.with_suffix(".away"))
    try:
        assert machine.run("systemctl", "start", UNIT) is None
        assert "there is no configuration at /etc/linkwitness/agent.yaml" in machine.journal(UNIT)
    finally:
        machine.run("systemctl", "stop", UNIT)
        config.with_suffix(".away").rename(config)
        machine.run("systemctl", "reset-failed", UNIT)


REFLECTOR = "linkwitness-reflector.service"
ASK = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(3)
s.sendto(bytes.fromhex("4c570101") + bytes(60), ("127.0.0.1", 8620))
print(s.recv(100)[:4].hex(), end="")
s.sendto(bytes.fromhex("00000007" "0000000100000000" "0101") + bytes(30), ("127.0.0.1", 862))
reply = s.recv(100)
print(len(reply), reply[24:28].hex(), end="")
"""


def test_the_reflector_answers_those_it_was_told_to(machine: Machine) -> None:
    settings = (ROOT / "systemd/linkwitness-reflector.conf").read_text("utf-8").replace("192.0.2.0/24", "127.0.0.0/8")
    (machine.root / "etc/linkwitness/reflector.conf").write_text(settings, "utf-8")
    done = machine.attempt("systemctl", "start", REFLECTOR)
    assert done.returncode == 0, done.stderr
    try:
        assert wait_for(lambda: "listening on ::" in machine.journal(REFLECTOR), 15), machine.journal(REFLECTOR)
        assert machine.run("/usr/bin/python3", "-c", ASK) == "4c57010244 00000007"
        status = machine.run("cat", f"/proc/{machine.show(REFLECTOR, 'MainPID')['MainPID']}/status") or ""
        assert "CapEff:\t0000000000000000" in status, "port 862 comes from the socket unit"
        assert machine.run("systemctl", "stop", REFLECTOR) is not None
        assert machine.show(REFLECTOR, "Result", "ExecMainStatus") == {"Result": "success", "ExecMainStatus": "0"}
    finally:
        machine.run("systemctl", "stop", REFLECTOR.replace("service", "socket"), REFLECTOR)


def test_the_reflector_does_not_start_without_its_list(machine: Machine) -> None:
    (machine.root / "etc/linkwitness/reflector.conf").unlink(missing_ok=True)
    assert machine.run("systemctl", "start", REFLECTOR) is None
    machine.run("systemctl", "stop", REFLECTOR)
    machine.run("systemctl", "reset-failed", REFLECTOR)
