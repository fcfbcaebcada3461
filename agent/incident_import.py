"""Tickets from CSV, JSON and JSON Lines: every mistake at once with its line, all rows or none.

Fields of a row: `id` (else the first reference is the id); `circuits`, several apart by semicolons; the stamps `fault`,
`detected`, `ticket`, `response`, `restored`, `confirmed`, `closed`, of which one of the first three is needed;
`priority`; `cause`; `references`, several apart by semicolons; `note`; `pauses`, several apart by semicolons, each
`REASON START/END`, without END while it lasts. Times are ISO 8601 with their zone: 2026-10-05T09:30:00+02:00. In JSON,
circuits and references may be lists, and pauses a list of objects with reason, start, end and evidence.

A row whose id or reference is known is refused, or with update=True changes that ticket: what it gives replaces what
was there, what it leaves out stays.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from agent.document import DocumentError, Problem, shown
from agent.incident_files import misfit, to_value
from agent.sla.terms.incidents import Pause, Stamp, Ticket
from agent.sla.time.calendar import parse_instant
from agent.tabular import FORMS, Cell, Row, read
from probes.core.errors import LocalError

SIZE_LIMIT: Final = 32 << 20
FIELDS: Final = (
    "id", "circuits", *(stamp.value for stamp in Stamp), "priority", "cause", "references", "note", "pauses",
)  # fmt: skip
NAME: Final = re.compile(r"[^\s/;\x00-\x1f]{1,120}")
WORD: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_TEXT: Final = re.compile(r"[^\x00-\x1f]{1,500}")
_PAUSE: Final = re.compile(r"(\S+)\s+(\S+?)/(\S*)")

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Import:
    """What a file would enter. unchanged: rows that say nothing new."""

    new: tuple[Ticket, ...]
    updates: tuple[Mapping[str, Any], ...]
    unchanged: int
    source: str
    digest: str

    def content(self) -> dict[str, Any] | None:
        """For the ledger, all in one entry; None where there is nothing to enter."""
        if not self.new and not self.updates:
            return None
        return {
            "action": "import",
            "tickets": [to_value(ticket) for ticket in self.new],
            "updates": [dict(value) for value in self.updates],
            "source": self.source,
            "source_sha256": self.digest,
        }


class _WrongError(Exception):
    """What is wrong with one value."""


def parse(
    data: bytes,
    path: Path,
    known: Sequence[Ticket],
    *,
    now_ns: int,
    circuits: Collection[str] | None = None,
    update: bool = False,
) -> Import:
    """What the file would enter beside the known tickets. circuits: those there are, None takes any name.

    Raises DocumentError with every mistake, LocalError for a file of no known form.
    """
    form = FORMS.get(path.suffix.lower())
    if form is None:
        raise LocalError(f"{path} is of no known form", hint=f"name it with one of {', '.join(FORMS)}")
    rows = read(data, str(path), form)
    reader = _Reader(str(path), known, circuits, now_ns, update)
    for row in rows:
        reader.take(row)
    if not rows:
        reader.problems.append(Problem(str(path), 1, 1, "", "there is no ticket in it"))
    if reader.problems:
        raise DocumentError(sorted(reader.problems, key=lambda problem: (problem.line, problem.column)))
    digest = hashlib.sha256(data).hexdigest()
    return Import(tuple(reader.new), tuple(reader.updates), reader.unchanged, path.name, digest)


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


class _Reader:
    """Reads row after row and remembers what it found and what is wrong."""

    def __init__(
        self, file: str, known: Sequence[Ticket], circuits: Collection[str] | None, now_ns: int, update: bool
    ) -> None:
        self._file, self._circuits, self._now_ns, self._update = file, circuits, now_ns, update
        self._by_id = {ticket.id: ticket for ticket in known}
        self._by_reference = {name: ticket.id for ticket in known for name in ticket.references}
        self._seen: dict[str, int] = {}
        self.problems: list[Problem] = []
        self.new: list[Ticket] = []
        self.updates: list[Mapping[str, Any]] = []
        self.unchanged = 0

    def take(self, row: Row) -> None:
        before = len(self.problems)
        for name, cell in row.cells.items():
            if name not in FIELDS:
                self._wrong(cell, name, f"is no field of a ticket (fields: {', '.join(FIELDS)})")
        given = self._ticket(row)
        if len(self.problems) > before:
            return
        if not given.id:
            self._wrong(row, "id", "neither an id nor a reference")
            return
        for name in {given.id, *given.references}:
            if name in self._seen:
                self._wrong(row, "id", f"{name} is in this file already, in line {self._seen[name]}")
                return
        self._seen |= dict.fromkeys({given.id, *given.references}, row.line)
        names = [given.id, *(self._by_reference.get(name, "") for name in given.references)]
        old = next((self._by_id[name] for name in names if name in self._by_id), None)
        if old is None:
            self._fresh(row, given)
        elif not self._update:
            self._wrong(row, "id", f"{given.id} is known as {old.id}: leave the row out, or import with --update")
        else:
            self._known(row, given, old)

    def _fresh(self, row: Row, given: Ticket) -> None:
        if not given.circuits:
            self._wrong(row, "circuits", "is missing")
            return
        wrong = misfit(given, self._now_ns)
        if wrong:
            self._wrong(row, "", wrong)
        else:
            self.new.append(given)

    def _known(self, row: Row, given: Ticket, old: Ticket) -> None:
        value = to_value(replace(given, id=old.id))
        if not given.circuits:
            del value["circuits"]
        together = replace(
            old,
            circuits=given.circuits or old.circuits,
            stamps={**old.stamps, **given.stamps},
            pauses=given.pauses or old.pauses,
            priority=given.priority or old.priority,
            cause=given.cause or old.cause,
            references=(*old.references, *(name for name in given.references if name not in old.references)),
            note=given.note or old.note,
        )
        wrong = misfit(together, self._now_ns)
        if wrong:
            self._wrong(row, "", wrong)
        elif together == old:
            self.unchanged += 1
        else:
            self.updates.append(value)

    def _ticket(self, row: Row) -> Ticket:
        nothing: tuple[str, ...] = ()
        references = self._value(row, "references", _names, nothing)
        stamps = {stamp: self._value(row, stamp.value, _time, 0) for stamp in Stamp if stamp.value in row.cells}
        circuits = self._value(row, "circuits", _texts, nothing)
        for name in circuits:
            if self._circuits is not None and name not in self._circuits:
                text = f"there is no circuit {name!r} (known: {', '.join(sorted(self._circuits)) or 'none'})"
                self._wrong(row.cells["circuits"], "circuits", text)
        return Ticket(
            self._value(row, "id", _name, references[0] if references else ""),
            circuits,
            stamps,
            self._now_ns,
            self._value(row, "pauses", _pauses, ()),
            self._value(row, "priority", _text, ""),
            self._value(row, "cause", _text, ""),
            references,
            None,
            self._value(row, "note", _text, ""),
        )

    def _value(self, row: Row, name: str, reading: Callable[[Cell], Value], default: Value) -> Value:
        cell = row.cells.get(name)
        if cell is None:
            return default
        try:
            return reading(cell)
        except _WrongError as wrong:
            self._wrong(cell, name, str(wrong))
            return default

    def _wrong(self, place: Cell | Row, name: str, text: str) -> None:
        self.problems.append(Problem(self._file, place.line, place.column, name, text))


def _string(cell: Cell, what: str) -> str:
    value = cell.value
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise _WrongError(f"{shown(cell.value)} is not {what}")
    return value.strip()


def _name(cell: Cell) -> str:
    text = _string(cell, "a name")
    if NAME.fullmatch(text) is None:
        raise _WrongError(f"{shown(text)} is not a name: no spaces, no `/` and no `;`, at most 120 characters")
    return text


def _text(cell: Cell) -> str:
    text = _string(cell, "a text")
    if _TEXT.fullmatch(text) is None:
        raise _WrongError("is not one line of at most 500 characters")
    return text


def _parts(cell: Cell, what: str) -> Iterator[Cell]:
    values: Sequence[object] = cell.value if isinstance(cell.value, list) else _string(cell, what).split(";")
    for value in values:
        if value != "":
            yield Cell(value, cell.line, cell.column)


def _names(cell: Cell) -> tuple[str, ...]:
    return tuple(_name(part) for part in _parts(cell, "a list of references"))


def _texts(cell: Cell) -> tuple[str, ...]:
    return tuple(_text(part) for part in _parts(cell, "a list of circuits"))


def _time(cell: Cell) -> int:
    if not isinstance(cell.value, str):
        raise _WrongError(f"{shown(cell.value)} is not a time: write it like 2026-10-31T23:00:00Z")
    text = cell.value.strip()
    try:
        return parse_instant(text)
    except LocalError as error:
        zone = " (its zone is missing)" if re.fullmatch(r"[\d-]+[T ][\d:.]+", text) else ""
        raise _WrongError(f"{error.message}{zone}: {error.hint}") from None


def _pauses(cell: Cell) -> tuple[Pause, ...]:
    found = tuple(_listed(cell, cell.value) if isinstance(cell.value, list) else _written(cell))
    for pause in found:
        if pause.end_ns is not None and pause.end_ns <= pause.start_ns:
            raise _WrongError(f"the pause for {pause.reason} ends no later than it starts")
    return tuple(sorted(found, key=lambda pause: pause.start_ns))


def _written(cell: Cell) -> Iterator[Pause]:
    for part in _string(cell, "a list of pauses").split(";"):
        found = _PAUSE.fullmatch(part.strip())
        if found is None:
            raise _WrongError(f"{shown(part.strip())} is not a pause: write it like customer_unavailable START/END")
        reason, start, end = (Cell(item, cell.line, cell.column) for item in found.groups())
        yield Pause(_time(start), _time(end) if end.value else None, _reason(str(reason.value)))


def _listed(cell: Cell, values: Sequence[object]) -> Iterator[Pause]:
    for item in values:
        if not isinstance(item, dict) or not {"reason", "start"} <= set(item) <= {"reason", "start", "end", "evidence"}:
            raise _WrongError("a pause has reason and start, and may have end and evidence")
        at = {name: Cell(value, cell.line, cell.column) for name, value in item.items() if value is not None}
        if "start" not in at or "reason" not in at:
            raise _WrongError("a pause has reason and start")
        yield Pause(
            _time(at["start"]),
            _time(at["end"]) if "end" in at else None,
            _reason(_string(at["reason"], "a reason")),
            _text(at["evidence"]) if "evidence" in at else "",
        )


def _reason(text: str) -> str:
    """A reason as contracts name it: `customer_unavailable`."""
    if WORD.fullmatch(text) is None:
        raise _WrongError(f"{shown(text)} is not a reason: small letters, digits and underscores")
    return text
