"""Events of a contract: read from CSV, JSON and JSON Lines, kept in an append-only ledger beside the contracts.

Fields of a row: `id` and `kind` (both needed); `priority`; `circuits`, several apart by spaces; `abandoned`, a time;
`reference`; `pauses`. Every other field is a stamp of the event under its own name (`start`, `end`, `ringing` ...),
and at least one is needed. Times are ISO 8601 with their zone: 2026-10-05T09:30:00+02:00.

A pause is `REASON START/END`, several apart by semicolons; without END it still lasts. In JSON, circuits may be a list,
and pauses a list of objects with reason, start, end and evidence.

An event that is imported again replaces what was known of it by then; the ledger keeps both. All rows of a file are
one entry: they are there together or not at all.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from agent import ledger
from agent.document import DocumentError, Problem, shown
from agent.sla.terms.events import Event
from agent.sla.terms.incidents import Pause
from agent.sla.time.calendar import parse_instant
from agent.tabular import FORMS, Cell, Form, Row, read
from probes.core.errors import LocalError

FILE: Final = "events.jsonl"
SIZE_LIMIT: Final = 32 << 20
_WORD: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_NAME: Final = re.compile(r"[^\s/;\x00-\x1f]{1,120}")
_TEXT: Final = re.compile(r"[^\x00-\x1f]{1,200}")
_PAUSE: Final = re.compile(r"(\S+)\s+(\S+?)/(\S*)")
_OWN: Final = ("id", "kind", "priority", "circuits", "abandoned", "reference", "pauses")


@dataclass(frozen=True, slots=True)
class Import:
    """What a file would change: events that are new, that differ from what is known, and that are known as they are."""

    new: tuple[Event, ...]
    changed: tuple[Event, ...]
    unchanged: int
    source: str
    digest: str

    @property
    def entering(self) -> tuple[Event, ...]:
        return (*self.new, *self.changed)


class _WrongError(Exception):
    """What is wrong with one value."""


def load(contracts: Path, *, as_of_ns: int | None = None) -> tuple[Event, ...]:
    """Events of the ledger beside the contracts, as they were known at as_of_ns, by their id. Raises LedgerError."""
    found: dict[str, Event] = {}
    for entry in ledger.read(contracts / FILE):
        if as_of_ns is not None and entry.at_ns > as_of_ns:
            continue
        for value in entry.content.get("events", ()):
            event = _stored(value, entry.at_ns)
            found[event.id] = event
    return tuple(found[name] for name in sorted(found))


def parse(data: bytes, file: str, form: Form, circuits: Collection[str] | None = None) -> tuple[Event, ...]:
    """The events of a file. circuits: those there are; None takes any. Raises DocumentError with every mistake."""
    problems: list[Problem] = []
    events: dict[str, Event] = {}
    rows = read(data, file, form)
    for row in rows:
        event = _event(row, file, circuits, problems)
        if event is None:
            continue
        if event.id in events:
            place = row.cells["id"]
            problems.append(Problem(file, place.line, place.column, "id", f"{event.id} is in this file already"))
        events[event.id] = event
    if problems:
        raise DocumentError(sorted(problems, key=lambda problem: (problem.line, problem.column)))
    if not rows:
        raise DocumentError([Problem(file, 1, 1, "", "there is no event in it")])
    return tuple(events.values())


def form_of(path: Path) -> Form:
    """By the file's suffix. Raises LocalError."""
    form = FORMS.get(path.suffix.lower())
    if form is None:
        raise LocalError(f"{path} is of no known form", hint=f"name it with one of {', '.join(FORMS)}")
    return form


def content(path: Path) -> bytes:
    """Of a file to import. Raises LocalError."""
    try:
        with path.open("rb") as stream:
            data = stream.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise LocalError(f"cannot read {path}: {error.strerror}", hint="check the path and its permissions") from None
    if len(data) > SIZE_LIMIT:
        raise LocalError(f"{path} is larger than {SIZE_LIMIT >> 20} MiB", hint="split it")
    return data


def plan(known: Iterable[Event], events: Iterable[Event], source: str, data: bytes) -> Import:
    """What importing these events would change."""
    before = {event.id: replace(event, entered_ns=0) for event in known}
    new, changed, same = [], [], 0
    for event in events:
        if event.id not in before:
            new.append(event)
        elif before[event.id] != event:
            changed.append(event)
        else:
            same += 1
    return Import(tuple(new), tuple(changed), same, source, hashlib.sha256(data).hexdigest())


def enter(contracts: Path, made: Import, *, at_ns: int, by: str) -> None:
    """One entry with all that is new or changed; none where nothing is. Raises LedgerError."""
    if not made.entering:
        return
    values = [_value(event) for event in made.entering]
    entry = {"events": values, "source": made.source, "source_sha256": made.digest}
    ledger.append(contracts / FILE, entry, at_ns=at_ns, by=by)


def _event(row: Row, file: str, circuits: Collection[str] | None, problems: list[Problem]) -> Event | None:
    """None where something is wrong with it, which is told among the problems."""
    before = len(problems)

    def take(name: str, reading: Any, default: Any = None) -> Any:
        cell = row.cells.get(name)
        if cell is None:
            return default
        try:
            return reading(cell)
        except _WrongError as wrong:
            problems.append(Problem(file, cell.line, cell.column, name, str(wrong)))
            return default

    for name in ("id", "kind"):
        if name not in row.cells:
            problems.append(Problem(file, row.line, row.column, name, "is missing"))
    identity, kind = take("id", _name, ""), take("kind", _word, "")
    named: tuple[str, ...] = take("circuits", _names, ())
    for name in named:
        if circuits is not None and name not in circuits:
            cell = row.cells["circuits"]
            text = f"there is no circuit {name!r} (known: {', '.join(sorted(circuits)) or 'none'})"
            problems.append(Problem(file, cell.line, cell.column, "circuits", text))
    stamps = {}
    for name, cell in row.cells.items():
        if name in _OWN:
            continue
        if _WORD.fullmatch(name) is None:
            text = "a stamp is named by small letters, digits and underscores"
            problems.append(Problem(file, cell.line, cell.column, name, text))
        stamps[name] = take(name, _time, 0)
    if not stamps and len(problems) == before:
        text = "no stamp: at least one time is needed, such as start"
        problems.append(Problem(file, row.line, row.column, "", text))
    found = Event(
        identity,
        kind,
        stamps,
        0,
        named,
        take("priority", _text, ""),
        take("abandoned", _time),
        take("pauses", _pauses, ()),
        take("reference", _text, ""),
    )
    return found if len(problems) == before else None


def _string(cell: Cell, what: str) -> str:
    if not isinstance(cell.value, str):
        raise _WrongError(f"{shown(cell.value)} is not {what}")
    return cell.value.strip()


def _name(cell: Cell) -> str:
    value = str(cell.value) if isinstance(cell.value, int) and not isinstance(cell.value, bool) else cell.value
    text = _string(Cell(value, cell.line, cell.column), "a name")
    if _NAME.fullmatch(text) is None:
        raise _WrongError(f"{shown(text)} is not a name: no spaces, no `/` and no `;`, at most 120 characters")
    return text


def _word(cell: Cell) -> str:
    text = _string(cell, "a kind")
    if _WORD.fullmatch(text) is None:
        raise _WrongError(f"{shown(text)} is not a kind: write it like call or p1_response")
    return text


def _text(cell: Cell) -> str:
    value = str(cell.value) if isinstance(cell.value, int) and not isinstance(cell.value, bool) else cell.value
    text = _string(Cell(value, cell.line, cell.column), "a text")
    if _TEXT.fullmatch(text) is None:
        raise _WrongError("is not one line of at most 200 characters")
    return text


def _names(cell: Cell) -> tuple[str, ...]:
    values = cell.value if isinstance(cell.value, list) else str(_string(cell, "a list of circuits")).split()
    return tuple(_name(Cell(value, cell.line, cell.column)) for value in values)


def _time(cell: Cell) -> int:
    text = _string(cell, "a time")
    try:
        return parse_instant(text)
    except LocalError as error:
        zone = " (its zone is missing)" if re.fullmatch(r"[\d-]+[T ][\d:.]+", text) else ""
        raise _WrongError(f"{error.message}{zone}: {error.hint}") from None


def _pauses(cell: Cell) -> tuple[Pause, ...]:
    found = tuple(_from_text(cell) if isinstance(cell.value, str) else _from_list(cell))
    for pause in found:
        if pause.end_ns is not None and pause.end_ns <= pause.start_ns:
            raise _WrongError(f"the pause for {pause.reason} ends no later than it starts")
    return tuple(sorted(found, key=lambda pause: pause.start_ns))


def _from_text(cell: Cell) -> Iterator[Pause]:
    for part in str(cell.value).split(";"):
        written = _PAUSE.fullmatch(part.strip())
        if written is None:
            raise _WrongError(f"{shown(part.strip())} is not a pause: write it like waiting_for_customer START/END")
        reason, start, end = written.groups()
        yield Pause(
            _time(Cell(start, cell.line, cell.column)),
            _time(Cell(end, cell.line, cell.column)) if end else None,
            reason,
        )


def _from_list(cell: Cell) -> Iterator[Pause]:
    if not isinstance(cell.value, list):
        raise _WrongError(f"{shown(cell.value)} is not a list of pauses")
    for item in cell.value:
        if not isinstance(item, dict) or not {"reason", "start"} <= set(item) <= {"reason", "start", "end", "evidence"}:
            raise _WrongError("a pause has reason and start, and may have end and evidence")

        def at(name: str, taken: Mapping[str, object] = item) -> Cell:
            return Cell(taken[name], cell.line, cell.column)

        yield Pause(
            _time(at("start")),
            _time(at("end")) if item.get("end") is not None else None,
            _name(at("reason")),
            _text(at("evidence")) if item.get("evidence") is not None else "",
        )


def _value(event: Event) -> dict[str, Any]:
    """For the ledger: times in UTC ns, nothing that is empty."""
    value: dict[str, Any] = {"id": event.id, "kind": event.kind, "stamps_ns": dict(event.stamps)}
    for name, item in (
        ("circuits", list(event.circuits)),
        ("priority", event.priority),
        ("abandoned_ns", event.abandoned_ns),
        ("reference", event.reference),
        ("pauses", [_pause_value(pause) for pause in event.pauses]),
    ):
        if item not in (None, "", []):
            value[name] = item
    return value


def _pause_value(pause: Pause) -> dict[str, Any]:
    value = {"start_ns": pause.start_ns, "end_ns": pause.end_ns, "reason": pause.reason, "evidence": pause.evidence}
    return {name: item for name, item in value.items() if item not in (None, "")}


def _stored(value: Mapping[str, Any], at_ns: int) -> Event:
    pauses: Sequence[Mapping[str, Any]] = value.get("pauses", ())
    return Event(
        value["id"],
        value["kind"],
        dict(value["stamps_ns"]),
        at_ns,
        tuple(value.get("circuits", ())),
        value.get("priority", ""),
        value.get("abandoned_ns"),
        tuple(Pause(item["start_ns"], item.get("end_ns"), item["reason"], item.get("evidence", "")) for item in pauses),
        value.get("reference", ""),
    )
