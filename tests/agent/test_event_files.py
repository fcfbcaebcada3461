"""Events from CSV, JSON and JSON Lines: every mistake at its place, all or nothing, and again what is known."""

import json
from pathlib import Path

import pytest

from agent import event_files, ledger, tabular
from agent.document import DocumentError
from agent.sla.terms.events import Event
from agent.sla.terms.incidents import Pause
from agent.sla.time.calendar import parse_instant as at
from probes.core.errors import LocalError

CSV = """\
id,kind,start,end,priority,circuits,abandoned,reference,pauses
T-1,call,2026-10-05T09:30:00+02:00,2026-10-05T09:30:10.5+02:00,P1,C-1 C-2,,CRM 7,
T-2,call,2026-10-05T07:31:00Z,,,,2026-10-05T07:32:00Z,,waiting 2026-10-05T07:31:10Z/2026-10-05T07:31:20Z
"""
EVENTS = (
    Event(
        "T-1",
        "call",
        {"start": at("2026-10-05T07:30:00Z"), "end": at("2026-10-05T07:30:10.5Z")},
        0,
        ("C-1", "C-2"),
        "P1",
        reference="CRM 7",
    ),
    Event(
        "T-2",
        "call",
        {"start": at("2026-10-05T07:31:00Z")},
        0,
        abandoned_ns=at("2026-10-05T07:32:00Z"),
        pauses=(Pause(at("2026-10-05T07:31:10Z"), at("2026-10-05T07:31:20Z"), "waiting"),),
    ),
)
OBJECTS = [
    {
        "id": "T-1", "kind": "call", "start": "2026-10-05T09:30:00+02:00", "end": "2026-10-05T09:30:10.5+02:00",
        "priority": "P1", "circuits": ["C-1", "C-2"], "abandoned": None, "reference": "CRM 7",
    },
    {
        "id": "T-2", "kind": "call", "start": "2026-10-05T07:31:00Z", "abandoned": "2026-10-05T07:32:00Z",
        "pauses": [{"reason": "waiting", "start": "2026-10-05T07:31:10Z", "end": "2026-10-05T07:31:20Z"}],
    },
]  # fmt: skip


def texts(data: str, form: tabular.Form = "csv") -> list[str]:
    with pytest.raises(DocumentError) as refused:
        event_files.parse(data.encode(), "f", form, {"C-1", "C-2"})
    return [str(problem) for problem in refused.value.problems]


@pytest.mark.parametrize(
    ("data", "form"),
    [
        (CSV, "csv"),
        (CSV.replace(",", ";"), "csv"),
        ("\ufeff" + CSV.replace("\n", "\r\n"), "csv"),
        (CSV.rstrip("\n"), "csv"),
        (CSV.replace("CRM 7", '"CRM 7"'), "csv"),
        (json.dumps(OBJECTS), "json"),
        (json.dumps(OBJECTS, indent=3), "json"),
        ("\n".join(json.dumps(item) for item in OBJECTS) + "\n\n", "jsonl"),
    ],
)
def test_the_same_events_in_every_form(data: str, form: tabular.Form) -> None:
    assert event_files.parse(data.encode(), "f", form, {"C-1", "C-2"}) == EVENTS


def test_quotes_hold_separators_line_ends_and_quotes() -> None:
    rows = tabular.read(b'a,b\n"x, ""y""\nz",2\n3,4\n', "f", "csv")
    assert [(name, cell.value, cell.line, cell.column) for row in rows for name, cell in row.cells.items()] == [
        ("a", 'x, "y"\nz', 2, 1),
        ("b", "2", 3, 4),
        ("a", "3", 4, 1),
        ("b", "4", 4, 3),
    ]


def test_every_mistake_is_told_with_its_place() -> None:
    text = (
        "id,kind,start,circuits,pauses,Ended at\n"
        "T 1,call,2026-10-05T09:30:00,C-9,,\n"
        ",Call,2026-10-05T09:30:00Z,C-1,later,2026-10-05T09:30:00Z\n"
        "T-3,call,,,,\n"
        "T-4,call,2026-10-05T09:30:00Z,,w 2026-10-05T09:30:00Z/2026-10-05T09:30:00Z,\n"
    )
    assert texts(text) == [
        "f:2:1: id: 'T 1' is not a name: no spaces, no `/` and no `;`, at most 120 characters",
        "f:2:10: start: '2026-10-05T09:30:00' is not an instant (its zone is missing): write it like "
        "2026-10-31T23:00:00Z",
        "f:2:30: circuits: there is no circuit 'C-9' (known: C-1, C-2)",
        "f:3:1: id: is missing",
        "f:3:2: kind: 'Call' is not a kind: write it like call or p1_response",
        "f:3:32: pauses: 'later' is not a pause: write it like waiting_for_customer START/END",
        "f:3:38: Ended at: a stamp is named by small letters, digits and underscores",
        "f:4:1: no stamp: at least one time is needed, such as start",
        "f:5:32: pauses: the pause for w ends no later than it starts",
    ]


@pytest.mark.parametrize(
    ("data", "form", "expected"),
    [
        ("", "csv", "f:1:1: there is no event in it"),
        ("id,kind,start\n", "csv", "f:1:1: there is no event in it"),
        ("id,id\n1,2\n", "csv", "f:1:4: column 'id' is there already"),
        ("id,,kind\n", "csv", "f:1:4: a column has no name"),
        ("id,kind\nT\n", "csv", "f:2:1: 1 fields, the header names 2"),
        ('id,kind\n"T,call\n', "csv", "f:2:1: a quoted field without an end"),
        ('id,kind\n"T"x,call\n', "csv", "f:2:4: a quoted field ends here, so a separator is expected"),
        ("{}", "json", "f:1:1: a list of objects is expected: [ {...}, {...} ]"),
        ("[\n {},\n 3]", "json", "f:3:2: an object is expected: {...}"),
        ('[{"a": 1} {"b": 2}]', "json", "f:1:11: `,` or `]` is expected"),
        ("[] x", "json", "f:1:4: something follows the list"),
        ('[{"a": 1, "a": 2}]', "json", "f:1:2: this is not JSON: a key is there twice"),
        ('[\n{"a": }]', "json", "f:2:7: this is not JSON: Expecting value"),
        ('{"id": "a"}\n{"id": "b"} {}\n', "jsonl", "f:2:13: something follows the object"),
    ],
)
def test_a_text_that_is_not_of_its_form(data: str, form: tabular.Form, expected: str) -> None:
    found = texts(data, form)
    assert found[0] == expected


def test_places_in_json_are_those_of_the_values() -> None:
    text = '[\n  {"id": "T-1", "kind": "call",\n   "start": "soon", "circuits": 5, "pauses": [{"reason": "x"}]}\n]'
    assert texts(text, "json") == [
        "f:3:13: start: 'soon' is not an instant: write it like 2026-10-31T23:00:00Z",
        "f:3:33: circuits: 5 is not a list of circuits",
        "f:3:46: pauses: a pause has reason and start, and may have end and evidence",
    ]


def test_an_id_twice_in_one_file() -> None:
    text = "id,kind,start\nT-1,call,2026-10-05T09:30:00Z\nT-1,call,2026-10-05T09:30:00Z\n"
    assert texts(text) == ["f:3:1: id: T-1 is in this file already"]


def test_octets_that_are_not_text() -> None:
    with pytest.raises(DocumentError, match="f:2:3: this is not UTF-8"):
        tabular.read(b"id\nT-\xff\n", "f", "csv")


def test_too_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tabular, "MOST_ROWS", 1)
    with pytest.raises(DocumentError, match="f:3:1: more than 1 rows"):
        tabular.read(b"id\n1\n2\n", "f", "csv")


def test_an_import_is_one_entry_and_again_changes_nothing(tmp_path: Path) -> None:
    made = event_files.plan((), EVENTS, "calls.csv", CSV.encode())
    event_files.enter(tmp_path, made, at_ns=7, by="me")
    entries = ledger.read(tmp_path / event_files.FILE)
    assert len(entries) == 1
    assert entries[0].content["source"] == "calls.csv"
    known = event_files.load(tmp_path)
    assert [event.entered_ns for event in known] == [7, 7]
    again = event_files.plan(known, EVENTS, "calls.csv", CSV.encode())
    assert (again.new, again.changed, again.unchanged) == ((), (), 2)
    event_files.enter(tmp_path, again, at_ns=8, by="me")
    assert len(ledger.read(tmp_path / event_files.FILE)) == 1


def test_an_event_imported_again_replaces_what_was_known(tmp_path: Path) -> None:
    first = Event("T-9", "call", {"start": 5}, 0)
    later = Event("T-9", "call", {"start": 5, "end": 9}, 0)
    event_files.enter(tmp_path, event_files.plan((), [first], "a", b""), at_ns=1, by="me")
    made = event_files.plan(event_files.load(tmp_path), [later], "b", b"")
    assert (made.new, made.changed) == ((), (later,))
    event_files.enter(tmp_path, made, at_ns=2, by="me")
    (known,) = event_files.load(tmp_path)
    assert known.stamps == {"start": 5, "end": 9}
    assert len(ledger.read(tmp_path / event_files.FILE)) == 2


def test_files_that_cannot_be_imported(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="no known form"):
        event_files.form_of(Path("a.xlsx"))
    with pytest.raises(LocalError, match="cannot read"):
        event_files.content(tmp_path / "none.csv")
    assert event_files.form_of(Path("a.NDJSON")) == "jsonl"
    assert event_files.load(tmp_path) == ()
