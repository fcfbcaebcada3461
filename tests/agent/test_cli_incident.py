"""`linkwitness incident` over a real store and ledger."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.cli.main import run
from agent.sla.time.calendar import parse_instant
from agent.store import EventRecord, Store
from probes.core.clock import SECOND, SystemClock
from probes.core.model import Counts, Delay, Sample, SampleState

CONFIG = """
site: test
store: {path: store}
contracts: contracts
circuits:
  - {name: alpha, provider: P, target: 192.0.2.10, interface: eth9, near_end: edge, contract: basic,
     probes: [{kind: icmp}]}
  - {name: edge, provider: local, target: 192.0.2.11, probes: [{kind: icmp}]}
  - {name: beta, provider: P, target: 192.0.2.12, probes: [{kind: icmp}]}
  - {name: gamma, provider: Q, target: 192.0.2.13, probes: [{kind: icmp}]}
"""
CONTRACT = """
id: basic
version: "1"
provider: P
customer: C
time_zone: UTC
window: {calendar: month}
objectives:
  - {id: up, metric: availability, target: 99 %}
clock: {start: ticket, stop: restored, pauses: [customer_unavailable]}
"""
START = parse_instant("2026-11-02T10:00:00Z")
TOTAL = 120
OUT = range(30, 60)
"""Samples 30 to 59 of alpha and beta are lost: down from 10:05 to 10:10."""


def sample(circuit: str, number: int) -> Sample:
    lost = 10 if circuit in ("alpha", "beta") and number in OUT else 0
    got = 10 - lost
    delay = Delay(got, got * 10**7, 10**7, 10**7, 10**7, 10**7, 10**7, 0) if got else None
    state = SampleState.OK if got else SampleState.NO_REPLY
    counts = Counts(sent=10, received=got, lost=lost)
    return Sample(circuit, "icmp", "icmp", START + number * 10 * SECOND, 10 * SECOND, state, counts, delay)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts" / "basic.yaml").write_text(CONTRACT)
    (tmp_path / "agent.yaml").write_text(CONFIG)
    store = Store.open(tmp_path / "store", clock=SystemClock(), site="test")
    store.append([sample(name, index) for index in range(TOTAL) for name in ("alpha", "edge", "beta", "gamma")])
    store.event(EventRecord("carrier_up", START - SECOND, "eth9 has a carrier", reason="interface eth9"))
    assert store.flush(10)
    store.close(10)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], home: Path, *words: str, code: int = 0) -> str:
    assert run(["incident", words[0], "-c", str(home / "agent.yaml"), *words[1:]]) == code
    out, err = capsys.readouterr()
    return out if code == 0 else out + err


def value(capsys: pytest.CaptureFixture[str], home: Path, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(said(capsys, home, *words, "--json"))
    return found


def add(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    said(capsys, home, "add", "--circuit", "alpha", "--stamp", "ticket=2026-11-02T10:07:00Z", "--priority", "P1",
         "--by", "anna")  # fmt: skip


def test_a_measured_outage_is_listed_with_its_party_and_evidence(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = value(capsys, home, "list", "alpha", "--month", "2026-11")
    assert found["measured"] is True
    (incident,) = found["incidents"]
    assert incident["id"] == "alpha-20261102T100500Z"
    assert incident["basis"] == "measured"
    assert incident["end"] == "2026-11-02T10:10:00.000Z"
    assert incident["measured_clock_ns"] == incident["down_ns"] == 300 * SECOND
    assert incident["contract_clock"]["ns"] is None
    party = incident["attribution"]
    assert (party["party"], party["by"]) == ("provider", "evidence")
    text = " ".join(party["reasons"])
    assert "1 other circuit of P failed at the same time" in text
    assert "The near end edge stayed well." in text
    assert "Interface eth9 had its carrier all the time." in text
    assert "1 other circuit stayed well: gamma." in text
    assert "The path was not recorded." in text
    assert "No far end is configured." in text


def test_both_clocks_with_their_difference(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(capsys, home)
    said(capsys, home, "pause", "INC-1", "customer_unavailable", "--at", "2026-11-02T10:08:00Z", "--until",
         "2026-11-02T10:09:00Z")  # fmt: skip
    said(capsys, home, "stamp", "INC-1", "restored", "--at", "2026-11-02T10:12:00Z")
    (incident,) = value(capsys, home, "list", "alpha", "--month", "2026-11")["incidents"]
    assert incident["basis"] == "both"
    assert incident["contract_clock"]["paused_ns"] == 60 * SECOND
    assert incident["contract_clock"]["ns"] == 240 * SECOND
    assert incident["difference_ns"] == -60 * SECOND
    line = said(capsys, home, "list", "alpha", "--month", "2026-11")
    assert "contract 4 min (1 min paused), measured 5 min, difference -1 min; provider" in line


def test_an_attribution_stands_before_the_evidence_and_can_be_disputed(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add(capsys, home)
    said(capsys, home, "attribute", "INC-1", "customer", "--because", "power cut at the customer", "--by", "noc")
    said(capsys, home, "dispute", "INC-1", "--because", "our power was on", "--by", "anna")
    (incident,) = value(capsys, home, "list", "alpha", "--month", "2026-11")["incidents"]
    party = incident["attribution"]
    assert (party["party"], party["by"], party["disputed"]) == ("customer", "noc", "anna: our power was on")
    assert (party["before"]["party"], party["before"]["by"]) == ("provider", "evidence")
    shown = said(capsys, home, "show", "INC-1")
    assert "disputed   anna: our power was on" in shown
    assert "before that\n  answers    provider, by the evidence" in shown
    assert "entry 2" in shown
    assert "by noc: attribute" in shown


def test_a_dispute_of_the_evidence_alone(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(capsys, home)
    said(capsys, home, "dispute", "INC-1", "--because", "not ours", "--by", "noc")
    (incident,) = value(capsys, home, "list", "alpha", "--month", "2026-11")["incidents"]
    assert incident["attribution"]["party"] == "provider"
    assert incident["attribution"]["disputed"] == "noc: not ours"


def test_import_is_all_or_nothing_and_dry_run_enters_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = home / "tickets.csv"
    file.write_text("id,circuits,ticket\nT1,alpha,2026-11-02T10:07:00Z\nT2,nobody,2026-11-02T10:07:00\n")
    told = said(capsys, home, "import", str(file), code=1)
    assert "tickets.csv:3:4: circuits: there is no circuit 'nobody'" in told
    assert "tickets.csv:3:11: ticket: " in told
    assert not (home / "contracts" / "incidents.jsonl").exists()
    file.write_text("id,circuits,ticket\nT1,alpha,2026-11-02T10:07:00Z\nT2,beta,2026-11-02T10:07:00Z\n")
    assert "2 new, 0 changed, 0 known as they are; nothing was entered" in said(
        capsys, home, "import", str(file), "--dry-run"
    )
    assert value(capsys, home, "import", str(file))["new"] == ["T1", "T2"]
    assert "T1 is known as T1" in said(capsys, home, "import", str(file), code=1)
    assert value(capsys, home, "import", str(file), "--update") == {
        "schema": "linkwitness.incident-import/1", "entered": False, "new": [], "updated": [], "unchanged": 2,
    }  # fmt: skip


def test_what_cannot_be_is_refused_with_the_way_out(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(capsys, home)
    for words, text in (
        (("add", "--circuit", "nobody"), "there is no circuit 'nobody'"),
        (("add", "--circuit", "alpha", "--stamp", "ticket=yesterday"), "'yesterday' is not an instant"),
        (("add", "--circuit", "alpha", "--stamp", "began=2026-11-02T10:07:00Z"), "there is no stamp 'began'"),
        (("add", "--circuit", "alpha", "--id", "a b"), "is not a name"),
        (("pause", "INC-1", "Customer away"), "is not a reason"),
        (("resume", "INC-1"), "hint: there is nothing to resume"),
        (("close", "INC-9"), "hint: the last ones: INC-1"),
        (("attribute", "INC-1", "nobody", "--because", "x"), "there is no party 'nobody'"),
        (("show", "INC-9"), "there is no ticket and no incident INC-9"),
        (("list", "nobody"), "there is no circuit 'nobody'"),
    ):
        assert text in said(capsys, home, *words, code=1), words


def test_the_ledger_is_verified_and_a_torn_line_set_aside(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(capsys, home)
    path = home / "contracts" / "incidents.jsonl"
    whole = path.read_bytes()
    assert "whole: " in said(capsys, home, "verify")
    path.write_bytes(whole + b'{"at_ns":17')
    assert "incident verify --set-aside" in said(capsys, home, "list", code=1)
    assert "broken: " in said(capsys, home, "verify", code=1)
    assert "a torn line was moved to" in said(capsys, home, "verify", "--set-aside")
    assert path.read_bytes() == whole
    path.write_bytes(whole.replace(b"P1", b"P2"))
    assert "incidents.jsonl:1: this line is not as it was written" in said(capsys, home, "verify", code=1)


def test_without_a_store_tickets_stand_alone(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(capsys, home)
    found = value(capsys, home, "list", "--month", "2026-11", "--store", str(home / "none"))
    assert found["measured"] is False
    assert [item["basis"] for item in found["incidents"]] == ["ticket"]


def test_what_was_known_earlier(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A ticket entered today was not known on the day, and of the outage only what had been measured by then."""
    add(capsys, home)
    found = value(capsys, home, "list", "alpha", "--month", "2026-11", "--now", "2026-11-02T10:08:00Z")
    (incident,) = found["incidents"]
    assert (incident["basis"], incident["ongoing"]) == ("measured", True)
