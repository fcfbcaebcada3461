"""`linkwitness check` over a real store: output, exit codes, choice of circuits and periods."""

import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from agent.cli.main import run
from agent.sla.terms.contract import Window
from agent.sla.time.calendar import parse_instant, windows_within
from agent.sla.verdict import VerdictState, gravest
from agent.store import Store
from probes.core.clock import SECOND, SystemClock
from probes.core.model import Counts, Delay, Sample, SampleState
from tests.fakes.assessments import AVAILABILITY, LOSS_DAY, OCTOBER, verdict
from tests.fakes.assessments import CONTRACT as CONTRACT_OF_OCTOBER

CONFIG = """
site: test
store: {path: store}
contracts: contracts
circuits:
  - name: alpha
    target: 192.0.2.10
    contract: basic
    probes: [{kind: icmp}]
  - name: beta
    target: 192.0.2.11
    contract: basic
    probes: [{kind: icmp}]
  - name: gamma
    target: 192.0.2.12
    probes: [{kind: icmp}]
"""
CONTRACT = """
id: basic
version: "1"
provider: P
customer: C
time_zone: Europe/Berlin
window: {calendar: day}
objectives:
  - {id: loss, metric: loss, target: 1 %}
  - {id: delay, metric: rtt, statistic: {type: mean}, target: 20ms}
  - {id: up, metric: availability, target: 99 %}
"""
# Local midnight of 2026-11-03 in Berlin
START = parse_instant("2026-11-02T23:00:00Z")
NOW = "2026-11-02T23:30:05Z"


def sample(circuit: str, number: int, lost: int) -> Sample:
    got = 10 - lost
    delay = Delay(got, got * 10**7, 10**7, 10**7, 10**7, 10**7, 10**7, 0) if got else None
    state = SampleState.OK if got else SampleState.NO_REPLY
    counts = Counts(sent=10, received=got, lost=lost)
    return Sample(circuit, "icmp", "icmp", START + number * 10 * SECOND, 10 * SECOND, state, counts, delay)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A configuration, a contract, and half an hour of samples: alpha is fine, beta lost 9 of 180 samples."""
    (tmp_path / "agent.yaml").write_text(CONFIG)
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts" / "basic.yaml").write_text(CONTRACT)
    store = Store.open(tmp_path / "store", clock=SystemClock(), site="test")
    for number in range(180):
        store.append([sample("alpha", number, 0), sample("beta", number, 10 if 50 <= number < 59 else 0)])
    assert store.flush(30.0)
    store.close(30.0)
    return tmp_path


def check(home: Path, *arguments: str) -> int:
    return run(["check", "-c", str(home / "agent.yaml"), "--now", NOW, *arguments])


def test_one_circuit_as_a_plugin(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(home, "alpha") == 0
    out = capsys.readouterr().out
    assert out == (
        "SLA OK - 3 objectives of 1 circuit: 3 on track | 'loss'=0%;;1;0;100 'delay'=10ms;;20;0 'up'=100%;;99:;0;100\n"
    )


def test_a_circuit_of_which_nothing_new_comes_is_not_ok(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # The newest sample begins at 23:29:50; five minutes and three periods of silence are explained, two hours are not.
    arguments = ["check", "alpha", "-c", str(home / "agent.yaml"), "--now"]
    assert run([*arguments, "2026-11-02T23:34:00Z"]) == 0
    capsys.readouterr()
    assert run([*arguments, "2026-11-02T23:45:00Z"]) == 3
    line = capsys.readouterr().out
    assert line.startswith("SLA UNKNOWN - alpha: ")
    assert "nothing new of alpha for 15 min 10 s: is the agent running? | " in line


def test_the_worst_of_all_circuits_decides(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(home) == 1
    line = capsys.readouterr().out
    assert line.startswith("SLA WARNING - beta: ")
    assert "[6 objectives of 2 circuits: 4 on track, 2 at risk]" in line
    assert "'beta/up'=95%;;99:;0;100" in line


def test_the_table_comes_after_the_plugin_line(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(home, "basic", "--format", "table") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("SLA WARNING - ")
    assert sum(line.lstrip().startswith(("alpha ", "beta ")) for line in lines) == 6
    assert any("beta: availability 95 % of 30 min measured since 2026-11-02 23:00 UTC" in line for line in lines)


def test_json(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(home, "beta", "--json") == 1
    read = json.loads(capsys.readouterr().out)
    assert [item["state"] for item in read["verdicts"]] == ["at_risk", "on_track", "at_risk"]
    assert read["verdicts"][2]["value_exact"] == "19/20"
    assert read["now"] == "2026-11-02T23:30:05.000Z"


def test_a_past_period_is_closed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["check", "beta", "-c", str(home / "agent.yaml"), "--now", "2026-11-10T00:00:00Z"]
    assert run([*arguments, "--window", "2026-11-03"]) == 3
    assert "[3 objectives of 1 circuit: 3 inconclusive]" in capsys.readouterr().out
    # A month is asked for, the objectives are on days: the last day of it holds nothing.
    assert run([*arguments, "--month", "2026-10"]) == 3
    assert "[3 objectives of 1 circuit: 3 inconclusive]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["delta"], "there is no circuit or contract 'delta'"),
        (["gamma"], "the circuit 'gamma' has no contract"),
        (["--format", "xml"], "there is no format 'xml'"),
        (["--from", "elsewhere"], "there is no source 'elsewhere'"),
        (["--month", "2026"], "'2026' is not a month"),
        (["--month", "2026-13"], "'2026-13' is not a period"),
        (["--month", "2026-10", "--window", "2026"], "--month and --window are two periods"),
    ],
)
def test_what_cannot_be_checked_is_unknown(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert check(home, *arguments) == 3
    assert capsys.readouterr().out.startswith(f"SLA UNKNOWN - {said}")


def test_a_bad_configuration_or_contract_is_unknown(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "contracts" / "basic.yaml").write_text(CONTRACT.replace("99 %", "199 %"))
    assert check(home) == 3
    assert "199 % is more than 100 %" in capsys.readouterr().out
    (home / "contracts" / "basic.yaml").unlink()
    assert check(home) == 3
    assert "'basic' is not a contract" in capsys.readouterr().out
    assert run(["check", "-c", str(home / "none.yaml")]) == 3
    assert "there is no configuration at" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["--no-such-option"], ["a", "b"]])
def test_usage_errors_and_help_are_unknown(arguments: list[str]) -> None:
    assert run(["check", *arguments]) == 3


def test_without_a_store_it_is_unknown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "agent.yaml").write_text(CONFIG)
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts" / "basic.yaml").write_text(CONTRACT)
    assert check(tmp_path) == 3
    assert "there is no store at" in capsys.readouterr().out


def test_a_period_that_has_not_begun_is_not_judged_as_the_present(home: Path, capsys) -> None:
    assert run(["check", "-c", str(home / "agent.yaml"), "--now", NOW, "--window", "2026-12"]) == 3
    assert "2026-12 has not begun in Europe/Berlin" in capsys.readouterr().out


def test_a_month_of_daily_windows_judges_each_day_that_has_begun(home: Path, capsys) -> None:
    month = ["check", "alpha", "-c", str(home / "agent.yaml"), "--now", NOW, "--month", "2026-11"]
    run([*month, "--json"])
    days = [item["window"]["label"] for item in json.loads(capsys.readouterr().out)["verdicts"]
            if item["objective"] == "up"]  # fmt: skip
    assert days == ["2026-11-01", "2026-11-02", "2026-11-03"]
    run(month)
    told = capsys.readouterr()
    assert told.out.count("'up'=") == 1
    assert "of 3 windows inconclusive)" in told.out
    assert told.err == ""


def test_a_year_seen_from_a_month_is_said(home: Path, capsys) -> None:
    contract = home / "contracts" / "basic.yaml"
    contract.write_text(contract.read_text().replace("calendar: day", "calendar: year"))
    run(["check", "alpha", "-c", str(home / "agent.yaml"), "--now", NOW, "--month", "2026-11"])
    assert "note: alpha: up is judged for 2026, its own window, and not 2026-11" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--month", "2026-Q4"], ["--now", "2300-01-01T00:00:00Z"], ["--window", "9999"]])
def test_times_that_cannot_be_are_told_in_one_line(home: Path, capsys, options: list[str]) -> None:
    assert run(["check", "-c", str(home / "agent.yaml"), *options]) == 3
    told = capsys.readouterr()
    assert told.out.startswith("SLA UNKNOWN - '")
    assert "Traceback" not in told.err


def test_a_terminal_without_dashes_gets_the_table(home: Path) -> None:
    words = [sys.executable, "-m", "agent.cli.main", "check", "-c", str(home / "agent.yaml"), "--format", "table"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (3, "")


def test_of_many_windows_the_one_with_the_worst_value_is_shown() -> None:
    days = windows_within(CONTRACT_OF_OCTOBER, Window("day"), OCTOBER)[:4]
    shares = (Fraction(2, 100), Fraction(20, 100), Fraction(5, 100))
    bad = [
        verdict(LOSS_DAY, VerdictState.BREACHED, share, window=day) for share, day in zip(shares, days, strict=False)
    ]
    unknown = verdict(LOSS_DAY, VerdictState.INCONCLUSIVE, Fraction(1), window=days[3])
    assert gravest((unknown, *bad)) is bad[1]
    low = [verdict(AVAILABILITY, VerdictState.BREACHED, Fraction(n, 10), window=days[0]) for n in (9, 7, 8)]
    assert gravest(low) is low[1]
    assert gravest(()) is None
