"""`linkwitness report` over a real store: formats, files, circuits, periods, and the same bytes again."""

import json
import shlex
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from agent.cli.main import run
from agent.report.statement.document import schema
from agent.sla.time.calendar import parse_instant
from agent.store import Store
from probes.core.clock import SECOND, SystemClock
from probes.core.model import Counts, Delay, Sample, SampleState
from probes.metrics.histogram import build
from tests.fakes.sealed import release_all, seal_all

CONFIG = """
site: test
store: {path: store}
contracts: contracts
circuits:
  - name: alpha
    target: 192.0.2.10
    contract: basic
    monthly_charge: "300.00 EUR"
    probes: [{kind: icmp}]
  - name: beta
    target: 192.0.2.11
    contract: basic
    probes: [{kind: icmp}]
"""
CONTRACT = """
id: basic
version: "1"
title: Basic
provider: P
customer: C
time_zone: Europe/Berlin
window: {calendar: day}
coverage: {minimum: 0.1 %}
objectives:
  - {id: loss, metric: loss, target: 1 %}
  - {id: up, metric: availability, target: 99 %}
"""
START = parse_instant("2026-11-02T23:00:00Z")
NOW = "2026-11-04T09:00:00Z"


def sample(circuit: str, number: int, lost: int) -> Sample:
    got = 10 - lost
    delay = Delay(got, got * 10**7, 10**7, 10**7, 10**7, 10**7, 10**7, 0) if got else None
    histogram = build(np.full(got, 10**7, np.int64)) if got else None
    state = SampleState.OK if got else SampleState.NO_REPLY
    counts = Counts(sent=10, received=got, lost=lost)
    start = START + number * 10 * SECOND
    return Sample(circuit, "icmp", "icmp", start, 10 * SECOND, state, counts, delay, histogram=histogram)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Two circuits and an hour of samples; beta is down for five minutes of it."""
    (tmp_path / "agent.yaml").write_text(CONFIG)
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts" / "basic.yaml").write_text(CONTRACT)
    store = Store.open(tmp_path / "store", clock=SystemClock(), site="test")
    for number in range(360):
        store.append([sample("alpha", number, 0), sample("beta", number, 10 if 100 <= number < 130 else 0)])
    assert store.flush(30.0)
    store.close(30.0)
    return tmp_path


def report(home: Path, *arguments: str) -> int:
    return run(["report", *arguments, "-c", str(home / "agent.yaml"), "--now", NOW])


def test_text_on_standard_output(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(home, "beta", "--window", "2026-11-03") == 0
    out = capsys.readouterr().out
    assert out.startswith("SERVICE REPORT FOR THE CUSTOMER\nBasic\nCircuit beta, 2026-11-03\n")
    assert "5 min" in out
    assert "Probe icmp. Buckets of 2 min." in out  # read for the drawing: no promise asks for delays
    assert "icmp (drawing): 360 rows" in out


def test_the_ending_of_the_file_gives_the_format(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for ending, begin in (("html", "<!DOCTYPE html>"), ("json", "{"), ("csv", "section,"), ("txt", "SERVICE REPORT")):
        path = home / f"out.{ending}"
        assert report(home, "beta", "--window", "2026-11-03", "-o", str(path)) == 0
        assert path.read_text("utf-8").startswith(begin)
        assert str(path) in capsys.readouterr().err
    assert sorted(item.name for item in home.glob("out.*")) == ["out.csv", "out.html", "out.json", "out.txt"]
    jsonschema.Draft202012Validator(schema()).validate(json.loads((home / "out.json").read_text("utf-8")))


def test_both_parties_get_the_same_content_and_data(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read = []
    for audience in ("provider", "customer"):
        assert report(home, "beta", "--window", "2026-11-03", "--format", "json", "--for", audience) == 0
        read.append(json.loads(capsys.readouterr().out))
    assert read[0]["content"] == read[1]["content"]
    assert read[0]["content_sha256"] == read[1]["content_sha256"]
    assert read[0]["summary"] != read[1]["summary"]


def test_the_command_in_the_report_makes_the_same_bytes(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(home, "alpha", "--window", "2026-11-03", "--format", "html") == 0
    first = capsys.readouterr().out
    assert report(home, "alpha", "--window", "2026-11-03", "--format", "json") == 0
    words = shlex.split(json.loads(capsys.readouterr().out)["command"])
    assert words[0] == "linkwitness"
    words[words.index("json")] = "html"
    assert run(words[1:]) == 0
    assert capsys.readouterr().out == first


def test_sealing_the_days_changes_no_byte(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = {}
    for sealed in (False, True):
        if sealed:
            store = Store.open(home / "store", clock=SystemClock(), site="test")
            parts = seal_all(home / "store")
            assert release_all(store, parts) > 0
            store.close(30.0)
        for output in ("html", "json", "csv", "text"):
            assert report(home, "beta", "--window", "2026-11-03", "--format", output) == 0
            told[sealed, output] = capsys.readouterr().out
    for output in ("html", "json", "csv", "text"):
        assert told[True, output] == told[False, output]


def test_several_circuits_go_into_a_directory(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(home, "basic", "--window", "2026-11-03", "--format", "html") == 1
    said = capsys.readouterr().err
    assert "basic has 2 circuits, each with a report of its own: alpha, beta" in said
    assert "--circuit" in said
    assert report(home, "basic", "--window", "2026-11-03", "--format", "html", "-o", str(home / "reports")) == 0
    names = sorted(path.name for path in (home / "reports").iterdir())
    assert names == ["alpha-2026-11-03-customer.html", "beta-2026-11-03-customer.html"]
    capsys.readouterr()
    assert report(home, "basic", "--circuit", "beta", "--window", "2026-11-03") == 0
    assert "Circuit beta" in capsys.readouterr().out


def test_without_a_period_it_is_the_month_before(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(home, "alpha") == 0
    out = capsys.readouterr().out
    assert "Circuit alpha, 2026-10\n" in out
    assert "inconclusive" in out


def test_an_open_month(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(home, "alpha", "--month", "2026-11") == 0
    assert "the period is not over" in capsys.readouterr().out


def test_ledgers_beside_the_contracts_are_named(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(home, "alpha", "--window", "2026-11-03") == 0
    assert "Ledger incidents.jsonl" not in capsys.readouterr().out
    add = ["incident", "add", "beta", "-c", str(home / "agent.yaml")]
    run(add)
    capsys.readouterr()
    (home / "contracts" / "events.jsonl").write_bytes(b"")
    assert report(home, "alpha", "--window", "2026-11-03") == 0
    assert "Ledger events.jsonl" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["delta"], "there is no circuit or contract 'delta'"),
        (["alpha", "--format", "pdf"], "there is no format 'pdf'"),
        (["alpha", "--for", "lawyer"], "nobody is called 'lawyer' in a contract"),
        (["alpha", "--month", "2026"], "'2026' is not a month"),
        (["alpha", "--month", "2026-08..2026-10"], "is not a period"),
        (["alpha", "--window", "2027"], "2027 has not begun in Europe/Berlin"),
        (["alpha", "--month", "2026-10", "--window", "2026"], "--month and --window are two periods"),
        (["alpha", "--circuit", "beta"], "beta is not a circuit of alpha"),
        (["alpha", "--from", "elsewhere"], "there is no source 'elsewhere'"),
    ],
)
def test_what_cannot_be_reported(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert report(home, *arguments) == 1
    captured = capsys.readouterr()
    assert said in captured.err
    assert "hint: " in captured.err
    assert captured.out == ""


def test_a_file_that_cannot_be_written_is_told(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "file").write_text("")
    assert report(home, "alpha", "--window", "2026-11-03", "-o", str(home / "file" / "x.html")) == 1
    assert "hint: " in capsys.readouterr().err
