"""Taking notices of carriers into the ledger of maintenance."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent import maintenance_ledger
from agent.maintenance_notices import SIZE_LIMIT, parse
from agent.report.maintenance import state
from agent.sla.exclusion.maintenance import Book, MaintenanceError, Notice, Work, affected
from probes.core.errors import LocalError


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one notice. work: as it is now, None where it was refused. strangers: objects not of this site."""

    file: str
    notice: Notice
    what: str
    work: Work | None
    strangers: tuple[str, ...]

    def line(self) -> str:
        name = self.notice.maintenance if self.work is None else self.work.newest.id
        text = f"{name}: {self.what}"
        if self.work is not None:
            whose = ", ".join(self.work.newest.circuits) or "no circuit of this site"
            text += f"; {whose}; {state(self.work.newest)}"
        if self.strangers:
            text += f"; unknown here: {', '.join(self.strangers[:5])}" + ("…" if len(self.strangers) > 5 else "")
        return text


@dataclass(frozen=True, slots=True)
class Importing:
    """Who imports, when, what the circuits are called. received_ns: None takes what the notices say of themselves."""

    contracts: Path
    circuits: Mapping[str, Sequence[str]]
    kind: str
    by: str
    now_ns: int
    received_ns: int | None = None


def take(path: Path, how: Importing) -> list[Outcome]:
    """All notices of one file, or none where one of them is malformed. Raises LocalError."""
    data = _content(path)
    notices = parse(data, str(path))
    evidence = maintenance_ledger.keep(how.contracts, data)
    return [_taken(notice, path, how, evidence) for notice in notices]


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise LocalError(f"cannot read {path}: {error.strerror}", hint="check the path and its permissions") from None


def _taken(notice: Notice, path: Path, how: Importing, evidence: str) -> Outcome:
    book = maintenance_ledger.load(how.contracts).book
    circuits, strangers = affected(notice, how.circuits)
    try:
        weight = book.weigh(notice)
    except MaintenanceError as error:
        return Outcome(str(path), notice, f"not taken: {error.message}", None, strangers)
    work = book.work_of(notice)
    if weight == "known" and work is not None:
        return Outcome(str(path), notice, "known already", work, strangers)
    told = how.received_ns if how.received_ns is not None else notice.stamped_ns
    content = {
        "do": "notice",
        "id": work.id if work is not None else identity(book, notice),
        "notice": notice.values(),
        "kind": how.kind,
        "reason": notice.summary or f"maintenance of {notice.provider}",
        "circuits": list(circuits),
        "received_ns": min(told, how.now_ns),
        "evidence": evidence,
        "file": path.name,
    }
    done = maintenance_ledger.enter(how.contracts, content, at_ns=how.now_ns, by=how.by)
    return Outcome(str(path), notice, done.history[-1].words, done, strangers)


def identity(book: Book, notice: Notice) -> str:
    """A name for the work that is safe in commands: the provider's own where it is free."""
    plain = _word(notice.maintenance)
    for name in (plain, f"{_word(notice.provider)[:20]}-{plain}"[:60]):
        if name not in book.works:
            return name
    return next(name for number in range(2, 10**6) if (name := f"{plain[:50]}-{number}") not in book.works)


def _word(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:60] or "notice"
