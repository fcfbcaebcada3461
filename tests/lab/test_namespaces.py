"""The lab cleans up after itself, after a run that was killed, and after nobody else."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.namespaces import ROOT, Lab, LabError, command, namespaces, remove, started, sweep

pytestmark = [pytest.mark.root, pytest.mark.serial]

KILLED = """
import sys, time
from pathlib import Path
from tests.lab.namespaces import Lab
lab = Lab(Path(sys.argv[1]))
child = lab.near.popen(["sleep", "300"])
print(lab.near.name, child.pid, lab.link.process.pid, flush=True)
time.sleep(300)
"""


def test_both_ends_reach_each_other_at_once(lab: Lab) -> None:
    for family in (4, 6):
        done = lab.near.run(["ping", "-n", "-c", "1", "-W", "2", lab.far.address(family)])
        assert "1 received" in done.stdout
    assert lab.near.counters()["wan0"]["tx_packets"] >= 2


def test_closing_leaves_nothing(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    names = {lab.near.name, lab.far.name, lab.middle}
    assert names <= set(namespaces())
    child = lab.far.popen(["sleep", "300"])
    lab.close()
    lab.close()
    assert not names & set(namespaces())
    assert child.poll() is not None
    assert lab.link.process.poll() is not None


def test_what_a_killed_run_left_is_removed_and_what_a_living_one_uses_is_not(lab: Lab, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    name, child, emulator = process.stdout.readline().split()
    assert name in namespaces()
    assert name not in sweep()
    process.send_signal(signal.SIGKILL)
    process.wait(5)
    process.stdout.close()
    assert name in sweep()
    assert not any(entry.startswith(name.removesuffix("near")) for entry in namespaces())
    for pid in (child, emulator):
        state = started(int(pid))
        assert state is None or Path(f"/proc/{pid}/cmdline").read_bytes() == b""
    assert lab.near.name in namespaces()


def test_foreign_names_are_left_alone() -> None:
    foreign = f"lw-{os.getpid()}-other"
    command("ip", "netns", "add", foreign)
    try:
        assert foreign not in sweep()
        assert foreign in namespaces()
    finally:
        remove(foreign)


def test_settings_of_a_host(lab: Lab) -> None:
    lab.near.ping_group_range(0, 2147483647)
    assert lab.near.run(["sysctl", "-n", "net.ipv4.ping_group_range"]).stdout.split() == ["0", "2147483647"]
    lab.far.nft(
        "table inet lab {\n chain input {\n type filter hook input priority 0\n icmp type echo-request drop\n }\n}\n"
    )
    done = lab.near.run(["ping", "-q", "-c", "2", "-i", "0.1", "-W", "1", lab.far.ipv4], check=False)
    assert "0 received" in done.stdout
    assert list(lab.log().echo().fate) == ["unanswered", "unanswered"]
    lab.near.tc("qdisc", "add", "dev", "wan0", "root", "tbf", "rate", "1mbit", "burst", "2kb", "latency", "5ms")
    assert "tbf" in command("tc", "-n", lab.near.name, "qdisc", "show")


def test_a_command_that_fails_says_what_it_said(lab: Lab) -> None:
    with pytest.raises(LabError, match=r"ip -n .* link set nosuch up: Cannot find device"):
        lab.near.ip("link", "set", "nosuch", "up")
    with pytest.raises(LabError, match="exit 3"):
        lab.near.run([sys.executable, "-c", "raise SystemExit(3)"])


def test_programs_run_where_they_should(lab: Lab) -> None:
    done = lab.far.run(["ip", "-br", "address", "show", "dev", "wan0"])
    assert lab.far.ipv4 in done.stdout
    assert lab.far.ipv6 in done.stdout
