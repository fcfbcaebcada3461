"""The ledger of tickets, and files imported into it."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import incident_files, incident_import, ledger
from agent.document import DocumentError
from agent.incident_files import RefusedError, enter, from_value, history, load, next_id, to_value
from agent.ledger import LedgerError
from agent.sla.terms.incidents import Pause, Responsible, Stamp, Ticket
from probes.core.errors import LocalError

HOUR = 3600 * 10**9
TEN = 1_790_000_000 * 10**9
NOW = TEN + 100 * HOUR


def add(path: Path, name: str = "T1", **more: Any) -> None:
    ticket = {"id": name, "circuits": ["c1"], "stamps_ns": {"ticket": TEN}} | more
    enter(path, {"action": "add", "ticket": ticket}, at_ns=NOW, by="anna")


def change(path: Path, action: str, name: str = "T1", by: str = "anna", **more: Any) -> Ticket:
    return enter(path, {"action": action, "id": name, **more}, at_ns=NOW, by=by).tickets[0]


def test_the_life_of_a_ticket(tmp_path: Path) -> None:
    add(tmp_path, priority="P1", references=["A-1"])
    change(tmp_path, "stamp", stamp="response", at_ns=TEN + HOUR)
    change(tmp_path, "pause", start_ns=TEN + 2 * HOUR, reason="customer_unavailable", evidence="mail of 10:02")
    change(tmp_path, "resume", at_ns=TEN + 3 * HOUR)
    change(tmp_path, "stamp", stamp="restored", at_ns=TEN + 4 * HOUR)
    change(tmp_path, "reference", reference="B-2")
    change(tmp_path, "attribute", party="provider", reasons=["fibre cut, RFO-3"])
    change(tmp_path, "dispute", by="noc", reason="the CPE had no power")
    change(tmp_path, "attribute", by="bert", party="third_party", reasons=["digger"])
    change(tmp_path, "note", text="RFO asked for")
    closed = change(tmp_path, "close", at_ns=TEN + 5 * HOUR)
    (ticket,) = load(tmp_path)
    assert ticket == closed
    assert ticket.entered_ns == NOW
    assert {stamp.value: (at - TEN) // HOUR for stamp, at in ticket.stamps.items()} == {
        "ticket": 0, "response": 1, "restored": 4, "closed": 5,
    }  # fmt: skip
    assert ticket.pauses == (Pause(TEN + 2 * HOUR, TEN + 3 * HOUR, "customer_unavailable", "mail of 10:02"),)
    assert ticket.references == ("A-1", "B-2")
    assert ticket.note == "anna: RFO asked for"
    now = ticket.attribution
    assert now is not None
    assert now.before is not None
    assert (now.party, now.by, now.disputed) == (Responsible.THIRD_PARTY, "bert", "")
    assert (now.before.party, now.before.by) == (Responsible.PROVIDER, "anna")
    assert now.before.disputed == "noc: the CPE had no power"
    assert [entry.content["action"] for entry in history(tmp_path, "T1")][-1] == "close"
    assert len(history(tmp_path, "T1")) == 11


@pytest.mark.parametrize(
    ("before", "action", "more", "why"),
    [
        ((), "stamp", {"id": "T9", "stamp": "restored", "at_ns": TEN}, "there is no ticket T9"),
        ((), "stamp", {"stamp": "ticket", "at_ns": TEN}, "has the stamp ticket"),
        ((), "stamp", {"stamp": "response", "at_ns": TEN - 1}, "response .* lies before ticket"),
        ((), "stamp", {"stamp": "restored", "at_ns": NOW + 1}, "lies in the future"),
        ((), "resume", {"at_ns": NOW}, "does not stand"),
        ((), "pause", {"start_ns": TEN - 1, "reason": "x"}, "begins before the ticket does"),
        ((), "pause", {"start_ns": TEN, "end_ns": TEN, "reason": "x"}, "ends after it starts"),
        ((("pause", {"start_ns": TEN + HOUR, "reason": "x"}),), "pause", {"start_ns": TEN + 2 * HOUR, "reason": "y"},
         "stands since"),
        ((("pause", {"start_ns": TEN + HOUR, "reason": "x"}),), "resume", {"at_ns": TEN + HOUR}, "cannot end"),
        ((("pause", {"start_ns": TEN + HOUR, "reason": "x"}),), "close", {"at_ns": NOW}, "stands"),
        ((("pause", {"start_ns": TEN, "end_ns": TEN + 9, "reason": "x"}),), "pause",
         {"start_ns": TEN + 8, "end_ns": TEN + 10, "reason": "y"}, "two pauses overlap"),
        ((("close", {"at_ns": NOW}),), "close", {"at_ns": NOW}, "was closed"),
        ((("close", {"at_ns": NOW}),), "stamp", {"stamp": "restored", "at_ns": TEN}, "was closed"),
        ((("close", {"at_ns": NOW}),), "pause", {"start_ns": TEN, "reason": "x"}, "was closed"),
        ((("close", {"at_ns": TEN + HOUR}),), "pause", {"start_ns": TEN, "end_ns": TEN + HOUR + 1, "reason": "x"},
         "was closed"),
        ((), "attribute", {"party": "provider", "reasons": []}, "gives its reason"),
        ((), "dispute", {"reason": ""}, "gives its reason"),
        ((("reference", {"reference": "A"}),), "reference", {"reference": "A"}, "has the reference A already"),
    ],
)  # fmt: skip
def test_what_does_not_follow_is_refused_and_leaves_no_entry(
    tmp_path: Path, before: tuple[tuple[str, dict[str, Any]], ...], action: str, more: dict[str, Any], why: str
) -> None:
    add(tmp_path)
    for name, content in before:
        change(tmp_path, name, **content)
    kept = (tmp_path / incident_files.FILE).read_bytes()
    with pytest.raises(RefusedError, match=why):
        enter(tmp_path, {"action": action, "id": "T1", **more}, at_ns=NOW, by="anna")
    assert (tmp_path / incident_files.FILE).read_bytes() == kept


def test_a_pause_that_was_over_by_then_may_be_entered_after_the_ticket_was_closed(tmp_path: Path) -> None:
    add(tmp_path)
    change(tmp_path, "close", at_ns=TEN + 5 * HOUR)
    late = change(tmp_path, "pause", start_ns=TEN, end_ns=TEN + HOUR, reason="customer_unavailable", evidence="mail")
    assert [(item.start_ns, item.end_ns) for item in late.pauses] == [(TEN, TEN + HOUR)]
    assert history(tmp_path, "T1")[-1].content["action"] == "pause"


def test_a_ticket_needs_a_circuit_a_start_and_a_name_of_its_own(tmp_path: Path) -> None:
    add(tmp_path)
    for more, why in (
        ({"name": "T1"}, "already"),
        ({"name": "T2", "circuits": []}, "is about a circuit"),
        ({"name": "T2", "stamps_ns": {"restored": TEN}}, "one of the stamps fault, detected, ticket"),
    ):
        with pytest.raises(RefusedError, match=why):
            add(tmp_path, **more)
    assert len(load(tmp_path)) == 1


def test_a_stamp_is_corrected_by_another_entry(tmp_path: Path) -> None:
    add(tmp_path)
    change(tmp_path, "close", at_ns=NOW)
    ticket = change(tmp_path, "stamp", stamp="ticket", at_ns=TEN - HOUR, correct=True)
    assert ticket.stamps[Stamp.TICKET] == TEN - HOUR
    assert len(history(tmp_path, "T1")) == 3


def test_what_was_known_at_an_earlier_time(tmp_path: Path) -> None:
    enter(
        tmp_path, {"action": "add", "ticket": {"id": "T1", "circuits": ["c1"], "stamps_ns": {"ticket": TEN}}},
        at_ns=TEN + 1, by="anna",
    )  # fmt: skip
    change(tmp_path, "stamp", stamp="restored", at_ns=TEN + HOUR)
    assert load(tmp_path, as_of_ns=TEN) == ()
    assert set(load(tmp_path, as_of_ns=TEN + 1)[0].stamps) == {Stamp.TICKET}
    assert set(load(tmp_path)[0].stamps) == {Stamp.TICKET, Stamp.RESTORED}


def test_a_foreign_entry_is_named_with_its_line(tmp_path: Path) -> None:
    add(tmp_path)
    for content in ({"action": "explode", "id": "T1"}, {"x": 1}, {"action": "add", "ticket": 7}):
        ledger.append(tmp_path / incident_files.FILE, content, at_ns=NOW, by="x")
        with pytest.raises(LedgerError, match=r"incidents\.jsonl:2: this is no entry about a ticket"):
            load(tmp_path)
        path = tmp_path / incident_files.FILE
        path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])


def test_the_next_number(tmp_path: Path) -> None:
    assert next_id(()) == "INC-1"
    for name in ("INC-7", "INC-x", "T3"):
        add(tmp_path, name)
    assert next_id(load(tmp_path)) == "INC-8"


pauses = st.builds(Pause, st.integers(0, 9), st.none() | st.integers(0, 9), st.just("x"), st.sampled_from(("", "mail")))
texts = st.text(st.characters(codec="utf-8", exclude_categories=("C",)), max_size=20)


@given(
    st.builds(
        Ticket,
        texts,
        st.lists(texts, max_size=3).map(tuple),
        st.dictionaries(st.sampled_from(Stamp), st.integers(0, 2**62)),
        st.just(5),
        st.lists(pauses, max_size=3).map(tuple),
        texts, texts, st.lists(texts, max_size=3).map(tuple), st.none(), texts,
    )
)  # fmt: skip
def test_a_ticket_reads_back_as_it_was(ticket: Ticket) -> None:
    assert from_value(json.loads(json.dumps(to_value(ticket))), 5) == ticket


# Import

CSV = """id;circuits;fault;ticket;restored;priority;references;pauses
T1;c1;2026-09-20T10:00:00Z;;2026-09-20T12:00:00Z;P1;A-1;customer_unavailable 2026-09-20T11:00Z/2026-09-20T11:30Z
;c1;2026-09-21T10:00:00+02:00;;;;X-9;
"""


def parsed(text: str, name: str = "t.csv", known: tuple[Ticket, ...] = (), **more: Any) -> incident_import.Import:
    return incident_import.parse(text.encode(), Path(name), known, now_ns=NOW, circuits={"c1", "two words"}, **more)


def test_csv_and_json_give_the_same_tickets() -> None:
    value = [
        {
            "id": "T1", "circuits": ["c1"], "fault": "2026-09-20T10:00:00Z", "restored": "2026-09-20T12:00:00Z",
            "priority": "P1", "references": ["A-1"],
            "pauses": [
                {"reason": "customer_unavailable", "start": "2026-09-20T11:00:00Z", "end": "2026-09-20T11:30:00Z"}
            ],
        },
        {"circuits": "c1", "fault": "2026-09-21T08:00:00Z", "references": "X-9"},
    ]  # fmt: skip
    found = parsed(CSV)
    assert found.new == parsed(json.dumps(value), "t.json").new
    assert found.new == parsed("\n".join(json.dumps(item) for item in value), "t.jsonl").new
    assert [ticket.id for ticket in found.new] == ["T1", "X-9"]
    assert found.new[0].pauses[0].reason == "customer_unavailable"


def test_every_mistake_is_told_at_once_with_line_and_column() -> None:
    text = (
        "id;circuits;fault;ticket;restored;priority;references;pauses;colour\n"
        "T1;c1;2026-09-20T10:00:00;;2026-09-20T12:00:00Z;;;;\n"
        "T 2;c9;;;yesterday;;;access refused;red\n"
        ";c1;2026-09-20T10:00:00Z;;2026-09-20T09:00:00Z;;A-2;;\n"
        "T4;;2026-09-20T10:00:00Z;;;;;;\n"
        "T5;two words;;;;;;;\n"
        ";c1;2026-09-20T10:00:00Z;;;;;;\n"
        "T7;c1;2026-09-20T10:00:00Z;;;;A-2;;\n"
    )
    with pytest.raises(DocumentError) as caught:
        parsed(text)
    found = [(problem.line, problem.column, problem.key, problem.message) for problem in caught.value.problems]
    assert [item[:3] for item in found] == [
        (2, 7, "fault"), (3, 1, "id"), (3, 5, "circuits"), (3, 10, "restored"), (3, 22, "pauses"), (3, 37, "colour"),
        (4, 1, ""), (5, 1, "circuits"), (6, 1, ""), (7, 1, "id"), (8, 1, "id"),
    ]  # fmt: skip
    assert "its zone is missing" in found[0][3]
    assert "restored at 2026-09-20 09:00 UTC lies before fault" in found[6][3]
    assert found[-1][3] == "A-2 is in this file already, in line 4"


def test_a_known_ticket_is_refused_or_updated(tmp_path: Path) -> None:
    add(tmp_path, references=["A-1"])
    text = '[{"references": "A-1", "restored": "2026-09-23T10:00:00Z"}]'
    with pytest.raises(DocumentError, match="A-1 is known as T1: leave the row out, or import with --update"):
        parsed(text, "t.json", load(tmp_path))
    found = parsed(text, "t.json", load(tmp_path), update=True)
    content = found.content()
    assert content is not None
    enter(tmp_path, content, at_ns=NOW, by="anna")
    (ticket,) = load(tmp_path)
    assert set(ticket.stamps) == {Stamp.TICKET, Stamp.RESTORED}
    assert ticket.circuits == ("c1",)
    again = parsed(text, "t.json", load(tmp_path), update=True)
    assert (again.content(), again.unchanged) == (None, 1)
    assert [entry.content["action"] for entry in history(tmp_path, "T1")] == ["add", "import"]


def test_all_rows_of_a_file_are_one_entry(tmp_path: Path) -> None:
    content = parsed(CSV).content()
    assert content is not None
    enter(tmp_path, content, at_ns=NOW, by="anna")
    assert [ticket.id for ticket in load(tmp_path)] == ["T1", "X-9"]
    assert len(ledger.read(tmp_path / incident_files.FILE)) == 1


def test_files_of_no_form_and_files_without_a_ticket() -> None:
    with pytest.raises(LocalError, match="no known form"):
        parsed("", "t.xls")
    with pytest.raises(DocumentError, match="there is no ticket in it"):
        parsed("id;circuits\n")


@given(
    st.text(st.sampled_from('id;,"\n[]{}:cfault2026-T0Z \t'), max_size=80), st.sampled_from(("csv", "json", "jsonl"))
)
def test_nonsense_is_refused_and_never_crashes(text: str, form: str) -> None:
    with contextlib.suppress(DocumentError):
        incident_import.parse(text.encode(), Path(f"t.{form}"), (), now_ns=NOW, circuits=None)
