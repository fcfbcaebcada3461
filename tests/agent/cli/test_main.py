"""The root command: quick, light, lazy, and true to its exit codes."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from agent.cli import lazy, main
from probes.core.errors import LocalError

HEAVY = ("numpy", "scapy", "influxdb_client", "duckdb", "pydantic", "rich", "psutil", "apscheduler")
LISTED = (
    "probe",
    "run",
    "reflect",
    "check",
    "report",
    "contract",
    "incident",
    "maintenance",
    "event",
    "claim",
    "status",
    "host",
    "config",
    "store",
    "sink",
    "doctor",
)


def linkwitness(*arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
    words = (sys.executable, "-m", "agent.cli.main", *arguments)
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, **settings)  # type: ignore[call-overload]


def imported_by(*arguments: str) -> set[str]:
    """Top-level packages in sys.modules after a command line."""
    code = (
        "import sys, json; from agent.cli.main import run; code = run(sys.argv[1:]);"
        "print('\\n' + json.dumps([code, sorted({name.partition('.')[0] for name in sys.modules})]))"
    )
    done = subprocess.run(
        (sys.executable, "-c", code, *arguments), capture_output=True, text=True, timeout=60, check=True
    )
    code, packages = json.loads(done.stdout.splitlines()[-1])
    assert code == 0, done.stderr
    return set(packages)


@pytest.mark.parametrize("arguments", [("--help",), ("-h",)])
def test_help_imports_nothing_heavy(arguments: Sequence[str]) -> None:
    assert imported_by(*arguments).isdisjoint(HEAVY)


def test_help_imports_no_command() -> None:
    code = "import sys; from agent.cli.main import run; run(['--help']); print([m for m in sys.modules if 'cli' in m])"
    done = subprocess.run((sys.executable, "-c", code), capture_output=True, text=True, timeout=60, check=True)
    loaded = done.stdout.splitlines()[-1]
    assert all(f"agent.cli.{name}'" not in loaded for name in LISTED)


@pytest.mark.serial
def test_help_takes_less_than_300_ms_of_cpu() -> None:
    """Median of five, of CPU time, which waiting for a busy machine does not add to."""
    spent = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert linkwitness("--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    assert sorted(spent)[2] < 0.3


def test_help_lists_every_command_with_its_help() -> None:
    said = linkwitness("--help").stdout
    for entry in main.COMMANDS:
        assert f"  {entry.name} " in said
        assert entry.help in said
    assert [entry.name for entry in main.COMMANDS] == list(LISTED)


def test_version_names_python_and_the_packages() -> None:
    said = linkwitness("--version").stdout
    assert said.startswith("linkwitness ")
    assert f"Python {'.'.join(str(part) for part in sys.version_info[:3])}" in said
    assert all(f"{package} " in said for package in ("numpy", "scapy", "influxdb-client", "typer"))


def test_wrong_command_is_usage_and_names_the_nearest() -> None:
    done = linkwitness("statsu")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Did you mean 'status'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_command_shows_the_help() -> None:
    done = linkwitness()
    assert done.returncode == 2
    assert "Measure:" in done.stderr


def test_usage_of_a_plugin_is_unknown() -> None:
    """3 is UNKNOWN; 2 would page somebody as CRITICAL for a typing mistake."""
    assert linkwitness("check", "--no-such-option").returncode == 3
    assert linkwitness("check", "--help").returncode == 3


def _refuse() -> None:
    raise LocalError("the disk is gone", hint="bring it back")


def _interrupted() -> None:
    raise KeyboardInterrupt


def _broken() -> None:
    raise RuntimeError("broken on purpose")


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """The root with commands that fail in every way."""
    entries = tuple(
        lazy.Entry(name, "", lambda function=function: function, plugin=plugin)
        for name, function, plugin in (
            ("refuse", _refuse, False), ("refuse-plugin", _refuse, True), ("interrupted", _interrupted, False),
            ("broken", _broken, False), ("broken-plugin", _broken, True),
        )
    )  # fmt: skip
    monkeypatch.setattr(main, "COMMANDS", entries)


@pytest.mark.usefixtures("commands")
class TestFailures:
    def test_local_error_is_told_with_its_hint(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main.run(["refuse"]) == 1
        said = capsys.readouterr()
        assert said.err == "error: the disk is gone\nhint: bring it back\n"
        assert said.out == ""

    def test_plugin_is_unknown(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main.run(["refuse-plugin"]) == 3
        assert main.run(["broken-plugin"]) == 3
        assert "broken on purpose" in capsys.readouterr().err

    def test_interrupt(self) -> None:
        assert main.run(["interrupted"]) == 130

    def test_our_own_mistakes_are_not_hidden(self) -> None:
        with pytest.raises(RuntimeError, match="on purpose"):
            main.run(["broken"])


@pytest.mark.parametrize("unbuffered", ["1", ""])
def test_quiet_when_the_reader_has_gone(unbuffered: str) -> None:
    """A pipe whose reading end is closed before anything is written."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        (sys.executable, "-m", "agent.cli.main", "--help"),
        stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
    )  # fmt: skip
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_module_that_cannot_be_imported_does_not_break_the_others() -> None:
    entry = lazy.Entry("gone", "Not there.", lazy.attribute("agent.cli.no_such_module:command"))
    group = lazy.group_of(lambda: [entry])(name="root")
    context = SimpleNamespace(token_normalize_func=None, resilient_parsing=False)
    assert list(group.commands) == ["gone"]
    with pytest.raises(ModuleNotFoundError):
        group.resolve_command(context, ["gone"])
