"""`linkwitness check DRAFT --month A..B`: what a contract would have paid, and what it must refuse."""

import json
from pathlib import Path

import pytest

from agent.cli.main import run
from agent.sla.time.calendar import parse_instant
from agent.store import Store
from probes.core.clock import SECOND, SystemClock
from probes.core.model import Counts, Delay, Sample, SampleState

MINUTE = 60 * SECOND
SPAN = 5 * MINUTE
NOW = "2026-11-02T00:00:00Z"
BEGIN, END = parse_instant("2026-08-31T00:00:00Z"), parse_instant("2026-11-01T12:00:00Z")
OUTAGE = (parse_instant("2026-10-10T12:00:00Z"), parse_instant("2026-10-10T15:00:00Z"))
CONFIG = """
site: test
interval: 5m
store: {path: store}
circuits:
  - {name: alpha, target: 192.0.2.7, monthly_charge: "480.00 EUR", probes: [{kind: icmp, every: 30s}]}
  - {name: beta, target: 192.0.2.8, monthly_charge: "480.00 EUR", probes: [{kind: icmp, every: 30s}]}
"""
DRAFT = """
id: draft
version: "0"
provider: P
customer: C
time_zone: UTC
objectives:
  - {id: up, metric: availability, statistic: {type: availability_mef, dt: 5m, n: 2}, target: 99.9 %}
credits:
  currency: EUR
  terms:
    - id: pay
      objective: up
      basis: band
      bands: [{from: 99.5 %, to: 99.9 %, credit: 10 %}, {to: 99.5 %, credit: 25 %}]
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two months of two circuits, one of which was down for three hours of October (744 h): 99.597 %."""
    home = tmp_path_factory.mktemp("site")
    store = Store.open(home / "store", clock=SystemClock(), site="test")
    for name in ("alpha", "beta"):
        batch = []
        for start in range(BEGIN, END, SPAN):
            lost = 10 if name == "alpha" and OUTAGE[0] <= start < OUTAGE[1] else 0
            delay = Delay(10, 10**8, 10**7, 10**7, 10**7, 10**7, 10**7, 0) if not lost else None
            state = SampleState.NO_REPLY if lost else SampleState.OK
            batch.append(Sample(name, "icmp", "icmp", start, SPAN, state, Counts(10, 10 - lost, lost), delay))
        store.append(batch)
        store.flush(60)
    store.close(30)
    (home / "agent.yaml").write_text(CONFIG)
    (home / "draft.yaml").write_text(DRAFT)
    return home


def backtest(home: Path, *words: str, month: str = "2026-09..2026-10", draft: str = "draft.yaml") -> int:
    return run(["check", str(home / draft), "-c", str(home / "agent.yaml"), "--now", NOW, "--month", month, *words])


def test_each_circuit_and_month_with_what_would_have_been_paid(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert backtest(home) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in lines if line.startswith(("alpha", "beta"))]
    assert [" ".join(row[:3]) for row in rows] == [
        "alpha 2026-09 met", "alpha 2026-10 breached", "beta 2026-09 met", "beta 2026-10 met",
    ]  # fmt: skip
    assert [line.rstrip().endswith("pay: 48.00 EUR; breached: up") for line in lines if "breached" in line] == [True]
    assert "draft 0 would have paid 48.00 EUR for 2 circuits over 2026-09 to 2026-10." in lines


def test_the_same_for_machines_with_the_arithmetic(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert backtest(home, "--json", "--circuit", "alpha") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["total"] == [{"amount": "48.00", "currency": "EUR"}]
    assert [item["period"] for item in found["periods"]] == ["2026-09", "2026-10"]
    october = found["periods"][1]
    assert (october["outages"], october["down_ns"]) == (1, 3 * 60 * MINUTE)
    assert any("480.00 EUR = 48.00 EUR" in step for step in october["lines"][0]["steps"])
    assert october["verdicts"][0]["value_exact"] == "247/248"


def test_one_month_is_a_range_too(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert backtest(home, "--circuit", "beta", month="2026-10") == 0
    assert "draft 0 would have paid 0.00 EUR for 1 circuit over 2026-10." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--month", "2026-10..2026-09"], "is no range of periods"),
        (["--month", "2026-10..2027-01"], "has not begun"),
        (["--month", "2016-10..2026-10"], "more than 120 periods"),
        (["--circuit", "gamma"], "there is no circuit gamma"),
    ],
)
def test_what_cannot_be_is_told(home: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str) -> None:
    month = words[1] if words[0] == "--month" else "2026-10"
    assert backtest(home, *(words if words[0] != "--month" else []), month=month) == 3
    said = capsys.readouterr()
    assert told in said.out
    assert "Traceback" not in said.err


def test_a_draft_without_a_period_is_refused(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", str(home / "draft.yaml"), "-c", str(home / "agent.yaml"), "--now", NOW]) == 3
    assert "a draft is judged over the past" in capsys.readouterr().out


def test_a_draft_with_mistakes_is_told_with_its_lines(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "wrong.yaml").write_text(DRAFT.replace("from: 99.5 %", "from: 99.6 %").replace("time_zone: UTC", ""))
    assert backtest(home, draft="wrong.yaml") == 3
    said = capsys.readouterr()
    assert "time_zone: this key is required" in said.out + said.err
    assert "leaves a hole" in said.out + said.err


def test_a_draft_that_no_circuit_can_show_is_refused(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = DRAFT.partition("credits:")[0]
    (home / "rate.yaml").write_text(
        text + "  - {id: rate, metric: throughput, statistic: {type: minimum}, target: 90Mbit/s}\n"
    )
    assert backtest(home, draft="rate.yaml") == 3
    assert "no circuit has what draft is judged by" in capsys.readouterr().out
