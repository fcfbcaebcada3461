"""The ledger of maintenance beside the contracts: read whole, checked, appended to, with the notices it rests on.

`contracts/maintenance.jsonl` holds what was imported, confirmed, rejected, called off and moved; `contracts/notices/`
a copy of every imported file under its SHA-256, which is never changed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agent.ledger import Entry, LedgerError, append, read
from agent.sla.exclusion.maintenance import Book, MaintenanceError, Work
from probes.core.errors import LocalError

FILE: Final = "maintenance.jsonl"
NOTICES: Final = "notices"


@dataclass(frozen=True, slots=True)
class MaintenanceLedger:
    """book: what all entries come to. digest: SHA-256 of the last line, which stands for all before it, or empty."""

    book: Book
    digest: str = ""


def load(contracts: Path) -> MaintenanceLedger:
    """The ledger of a directory of contracts; an empty one where there is none.

    Raises LedgerError with the line for an entry that was changed, or that cannot follow from those before it.
    """
    entries = read(contracts / FILE)
    return MaintenanceLedger(replay(entries, contracts / FILE), entries[-1].sha256 if entries else "")


def replay(entries: Sequence[Entry], path: Path) -> Book:
    """All entries in their order. Raises LedgerError with the line."""
    book = Book()
    for entry in entries:
        try:
            book.take(entry.content, at_ns=entry.at_ns, by=entry.by)
        except MaintenanceError as error:
            raise LedgerError(f"{path}:{entry.number}: {error.message}", hint=error.hint, line=entry.number) from None
    return book


def enter(contracts: Path, content: Mapping[str, Any], *, at_ns: int, by: str) -> Work:
    """One more entry, if it can follow; returns the work it is about as it is then.

    Raises MaintenanceError for what cannot follow, LedgerError where the file cannot be trusted or written.
    """
    path, found = contracts / FILE, Book()

    def check(entries: Sequence[Entry]) -> None:
        nonlocal found
        found = replay(entries, path)
        found.take(content, at_ns=at_ns, by=by)

    if not contracts.is_dir():
        raise LocalError(f"there is no directory {contracts}", hint="maintenance is kept beside the contracts")
    append(path, content, at_ns=at_ns, by=by, check=check)
    name = str(content["id"])
    if content["do"] == "notice":
        known = found.by_key.get(_key(content["notice"]))
        name = known or name
    return found.find(name)[0]


def _key(notice: Mapping[str, Any]) -> tuple[str, str]:
    return str(notice["provider"]).casefold(), str(notice["maintenance"])


def keep(contracts: Path, data: bytes) -> str:
    """Keeps a notice as it came; returns its path relative to the contracts. Raises LocalError."""
    relative = f"{NOTICES}/{hashlib.sha256(data).hexdigest()}.ics"
    path = contracts / relative
    try:
        if path.is_file() and path.read_bytes() == data:
            return relative
        path.parent.mkdir(exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}.tmp")
        with fresh.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(path)
        _sync(path.parent)
        _sync(contracts)
    except OSError as error:
        text = f"cannot keep the notice in {path.parent}: {error.strerror}; nothing was entered"
        raise LocalError(text, hint="check the directory, its permissions and the free space") from None
    return relative


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
