"""`linkwitness event` and `linkwitness claim`: what they enter, show and refuse, and with which exit code."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from agent import claim_files, contract_files, event_files, ledger
from agent.cli import main
from agent.sla.terms.contract import Contract, EventTerms, Metric, Statistic, StatisticType
from agent.sla.terms.remedies import CreditBasis, CreditTerms, Price
from tests.fakes.contracts import contract, objective

CONFIG = """\
site: here
store: {path: store}
contracts: contracts
circuits:
  - {name: C-1, target: 192.0.2.9, contract: test, probes: [{kind: icmp}]}
"""
CSV = """\
id,kind,start,end,circuits
T-1,call,2026-10-05T09:30:00+02:00,2026-10-05T09:30:10+02:00,C-1
T-2,mail,2026-10-05T09:31:00+02:00,,
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration whose one contract has a promise about calls and a credit."""
    (tmp_path / "contracts").mkdir()
    (tmp_path / "agent.yaml").write_text(CONFIG, "utf-8")
    (tmp_path / "events.csv").write_text(CSV, "utf-8")
    calls = objective(
        Metric.EVENT,
        "0.95",
        Statistic(StatisticType.RATIO_WITHIN, limit=Fraction(20 * 10**9)),
        events=EventTerms("call"),
    )
    terms = CreditTerms("credit", CreditBasis.BAND, "event", price=Price("percent", Fraction(1, 10)))
    signed = contract(calls, zone="Europe/Berlin", credits=(terms,))

    def load(_directory: Path) -> dict[str, Contract]:
        return {"test": signed, "other": replace(signed, id="other", credits=())}

    monkeypatch.setattr("agent.config.load", lambda _path: _settings(tmp_path))
    monkeypatch.setattr(contract_files, "load", load)
    return tmp_path


def _settings(place: Path) -> object:
    """What the commands take of a configuration."""
    from types import SimpleNamespace

    from probes.core.model import Circuit

    return SimpleNamespace(contracts=place / "contracts", circuits=(Circuit("C-1", "192.0.2.9", contract="test"),))


def run(*arguments: object) -> int:
    return main.run([str(item) for item in arguments])


def test_events_are_imported_once(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("event", "import", place / "events.csv", "--by", "me", "--dry-run") == 0
    shown = capsys.readouterr()
    assert "2 new, 0 changed, 0 known as they are; nothing was entered" in shown.out
    assert "new      T-1  call [C-1]  start 2026-10-05 07:30 UTC, end 2026-10-05 07:30:10 UTC" in shown.out
    assert not (place / "contracts" / event_files.FILE).exists()
    assert run("event", "import", place / "events.csv", "--by", "me") == 0
    shown = capsys.readouterr()
    assert shown.out == "2 new, 0 changed, 0 known as they are\n"
    assert shown.err == "note: no contract has a promise about events of kind mail\n"
    assert run("event", "import", place / "events.csv", "--by", "me", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"entered": True, "new": [], "changed": [], "unchanged": 2}
    entries = ledger.read(place / "contracts" / event_files.FILE)
    assert [(entry.by, entry.content["source"]) for entry in entries] == [("me", "events.csv")]


def test_a_file_with_a_mistake_enters_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "events.csv").write_text(CSV.replace("09:31:00+02:00", "09:31:00").replace("C-1", "C-9"), "utf-8")
    assert run("event", "import", place / "events.csv", "--by", "me") == 1
    errors = capsys.readouterr().err
    assert f"{place}/events.csv:2:62: circuits: there is no circuit 'C-9' (known: C-1)" in errors
    assert f"{place}/events.csv:3:10: start: '2026-10-05T09:31:00' is not an instant (its zone is missing)" in errors
    assert not (place / "contracts" / event_files.FILE).exists()


@pytest.mark.usefixtures("place")
def test_one_event_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("event", "add", "T-7", "--kind", "call", "--by", "me", "--circuit", "C-1", "--priority", "P1")
    times = ("--stamp", "start=2026-10-05T07:30:00Z", "--pause", "customer 2026-10-05T07:31:00Z/")
    assert run(*words, *times) == 0
    capsys.readouterr()
    assert run("event", "list") == 0
    assert capsys.readouterr().out == "T-7  call P1 [C-1]  start 2026-10-05 07:30 UTC, 1 paused\n"
    assert run("event", "list", "--json", "--kind", "call", "--circuit", "C-1") == 0
    (value,) = json.loads(capsys.readouterr().out)
    assert (value["id"], value["start"], value["pauses"][0]["end"]) == ("T-7", "2026-10-05T07:30:00Z", None)
    assert run("event", "list", "--kind", "mail") == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("T-7", "--kind", "call", "--stamp", "start"), 2, "write it like start="),
        (("T-7", "--kind", "call", "--stamp", "kind=2026-10-05T07:30:00Z"), 2, "write it like start="),
        (("T 7", "--kind", "call", "--stamp", "start=2026-10-05T07:30:00Z"), 1, "'T 7' is not a name"),
        (("T-7", "--kind", "call", "--stamp", "start=2026-10-05T07:30:00"), 1, "its zone is missing"),
        (("T-7", "--kind", "call", "--stamp", "start=2026-10-05T07:30:00Z", "--circuit", "C-9"), 1, "no circuit 'C-9'"),
    ],
)
def test_what_cannot_be_added(
    place: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, text: str
) -> None:
    assert run("event", "add", *words, "--by", "me") == code
    assert text in capsys.readouterr().err
    assert not (place / "contracts" / event_files.FILE).exists()


def test_a_claim_from_filing_to_answer(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    claim = ("test", "C-1", "credit", "2026-10")
    assert run("claim", "file", *claim, "--by", "me", "--on", "2026-11-03", "--reference", "CLM-9") == 0
    assert capsys.readouterr().out == "filed on 2026-11-03: test: C-1/credit/2026-10\n"
    assert run("claim", "file", *claim, "--by", "me") == 1
    assert "was filed already, on 2026-11-03" in capsys.readouterr().err
    assert run("claim", "accept", *claim, "--by", "me", "--amount", "48.00 EUR", "--note", "by mail") == 0
    capsys.readouterr()
    assert run("claim", "list") == 0
    text = capsys.readouterr().out
    assert text == "accepted 48.00 EUR  test: C-1/credit/2026-10, filed on 2026-11-03, CLM-9, by mail\n"
    assert run("claim", "list", "--json", "--contract", "test") == 0
    assert json.loads(capsys.readouterr().out)[0]["amount"] == "48.00 EUR"
    assert run("claim", "reject", *claim, "--by", "me") == 1
    assert len(claim_files.load(place / "contracts")) == 1


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("none", "C-1", "credit", "2026-10"), 1, "there is no contract none"),
        (("other", "C-1", "credit", "2026-10"), 1, "no circuit C-1 has the contract other"),
        (("test", "C-1", "debit", "2026-10"), 1, "test has no credit debit"),
        (("test", "C-1", "credit", "2026/10"), 1, "is not a period"),
        (("test", "C-1", "credit", "2026-10", "--on", "soon"), 2, "is not a date"),
    ],
)
def test_claims_for_what_there_is_not(
    place: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, text: str
) -> None:
    assert run("claim", "file", *words, "--by", "me") == code
    assert text in capsys.readouterr().err
    assert claim_files.load(place / "contracts") == {}


@pytest.mark.usefixtures("place")
def test_an_answer_to_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("claim", "accept", "test", "C-1", "credit", "2026-10", "--by", "me") == 1
    assert "was never filed" in capsys.readouterr().err
