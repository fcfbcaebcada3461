"""The unit files are what systemd understands, and as closed as they say. Offline: nothing is installed or started."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.live("systemd")

FOLDER = Path(__file__).parents[2] / "systemd"
UNITS = sorted(path.name for path in FOLDER.glob("*.service"))
EXPOSURE = {"linkwitness.service": 20, "linkwitness-reflector.service": 15}
"""Highest `systemd-analyze security` score allowed, in tenths."""


def placed(folder: Path, name: str, *changes: tuple[str, str]) -> Path:
    """The unit with a program that exists here, and other changes (pattern, replacement)."""
    text = (FOLDER / name).read_text("utf-8")
    for pattern, replacement in ((r"^ExecStart=\S+", "ExecStart=/bin/true"), *changes):
        text, count = re.subn(pattern, replacement, text, flags=re.MULTILINE)
        assert count, pattern
    path = folder / name
    path.write_text(text, "utf-8")
    for socket in FOLDER.glob("*.socket"):
        shutil.copy(socket, folder)
    return path


def complaints(path: Path) -> list[str]:
    """What `systemd-analyze verify` says about a unit and its socket. Its exit code is 0 for unknown keys: read on."""
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(path)], capture_output=True, text=True, check=False, timeout=60
    )
    return [line for line in done.stderr.splitlines() if path.stem in line]


def exposure(path: Path, tenths: int) -> subprocess.CompletedProcess[str]:
    words = ["systemd-analyze", "security", "--offline=true", f"--threshold={tenths}", "--no-pager", str(path)]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)


def settings(name: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in (FOLDER / name).read_text("utf-8").splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize("name", UNITS)
def test_systemd_understands_every_line(name: str, tmp_path: Path) -> None:
    assert complaints(placed(tmp_path, name)) == []


@pytest.mark.parametrize(
    ("pattern", "replacement", "complaint"),
    [
        (r"^WatchdogSec=60", "WatchdogSecs=60", "Unknown key 'WatchdogSecs'"),
        (r"^Restart=on-failure", "Restart=sometimes", "Failed to parse service restart specifier"),
        (r"^ExecReload=\S+", "ExecReload=/bin/no-such-program", "no-such-program is not executable"),
    ],
)
def test_a_mistake_is_seen(pattern: str, replacement: str, complaint: str, tmp_path: Path) -> None:
    path = placed(tmp_path, "linkwitness.service", (pattern, replacement))
    assert any(complaint in line for line in complaints(path)), complaints(path)


@pytest.mark.parametrize("name", UNITS)
def test_the_sandbox_is_as_tight_as_promised(name: str, tmp_path: Path) -> None:
    done = exposure(placed(tmp_path, name), EXPOSURE[name])
    assert done.returncode == 0, done.stdout


def test_a_loosened_sandbox_is_seen(tmp_path: Path) -> None:
    path = placed(tmp_path, "linkwitness.service", (r"^CapabilityBoundingSet=.*", "CapabilityBoundingSet=~"))
    assert exposure(path, EXPOSURE["linkwitness.service"]).returncode == 1


def test_the_agent_may_open_raw_sockets_and_low_ports_and_read_the_clock_and_nothing_more() -> None:
    unit = settings("linkwitness.service")
    assert unit["AmbientCapabilities"] == unit["CapabilityBoundingSet"] == ["CAP_NET_RAW CAP_NET_BIND_SERVICE"]
    assert "adjtimex clock_adjtime" in unit["SystemCallFilter"]
    assert not {"ProtectClock", "ProcSubset", "PrivateUsers"} & unit.keys()
    assert unit["NotifyAccess"] == ["main"]


def test_the_reflector_holds_no_capability_and_gets_port_862_from_its_socket_unit() -> None:
    unit = settings("linkwitness-reflector.service")
    assert unit["CapabilityBoundingSet"] == [""]
    assert "AmbientCapabilities" not in unit
    assert unit["RestrictAddressFamilies"] == ["AF_INET AF_INET6"]
    assert "adjtimex clock_adjtime" in unit["SystemCallFilter"]
    assert "ProtectClock" not in unit
    assert settings("linkwitness-reflector.socket")["ListenDatagram"] == ["[::]:862"]


@pytest.mark.parametrize("name", UNITS)
def test_the_commands_and_options_are_the_programs(name: str) -> None:
    """Each option the unit passes is in the command's own help."""
    (line,) = settings(name)["ExecStart"]
    program, command, *words = line.split()
    options = [word for word in words if word.startswith("-")]
    assert program == "/opt/linkwitness/bin/linkwitness"
    done = subprocess.run(
        [sys.executable, "-m", "agent.cli.main", command, "--help"],
        cwd=FOLDER.parent, env=os.environ | {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200"},
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert all(option in done.stdout for option in options)


def test_the_receive_buffer_is_enough_for_five_thousand_packets_a_second() -> None:
    lines = (FOLDER / "linkwitness.sysctl.conf").read_text("utf-8").splitlines()
    settings = dict(line.split(" = ") for line in lines if not line.startswith("#"))
    assert list(settings) == ["net.core.rmem_max"]
    held = 2 * int(settings["net.core.rmem_max"]) // 830  # octets of a small reply or a stamp
    assert held >= 2 * 2 * 5000, "replies and stamps of two seconds"


@pytest.mark.root
def test_user_and_folders_are_made(tmp_path: Path) -> None:
    """In a root of their own: the user, and folders that only root may write."""
    (tmp_path / "etc").mkdir()
    for tool, name in (
        ("systemd-sysusers", "linkwitness.sysusers.conf"),
        ("systemd-tmpfiles", "linkwitness.tmpfiles.conf"),
    ):
        words = [tool, f"--root={tmp_path}", *(["--create"] if tool == "systemd-tmpfiles" else []), str(FOLDER / name)]
        subprocess.run(words, check=True, capture_output=True, timeout=30)
    user = next(
        line.split(":") for line in (tmp_path / "etc/passwd").read_text("utf-8").splitlines() if "linkwitness" in line
    )
    assert (user[5], user[6]) == ("/var/lib/linkwitness", "/usr/sbin/nologin")
    folder = (tmp_path / "etc/linkwitness").stat()
    assert (oct(folder.st_mode & 0o7777), folder.st_uid, folder.st_gid) == ("0o750", 0, int(user[3]))
    assert oct((tmp_path / "etc/linkwitness/credentials").stat().st_mode & 0o7777) == "0o700"
