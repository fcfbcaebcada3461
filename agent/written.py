"""What people wrote down beside the contracts of a directory: tickets, events, claims."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agent import claim_files, event_files, incident_files
from agent.claim_files import ClaimName
from agent.sla.credit.claims import Filing
from agent.sla.terms.events import Event
from agent.sla.terms.incidents import Ticket

LEDGERS: Final = (claim_files.FILE, event_files.FILE, incident_files.FILE)


def seen_of(contracts: Path) -> tuple[tuple[int, int], ...]:
    """What changes with every entry: size and time of change of each ledger; zeros where there is none."""
    found = []
    for name in LEDGERS:
        try:
            status = (contracts / name).stat()
        except OSError:
            found.append((0, 0))
        else:
            found.append((status.st_size, status.st_mtime_ns))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Written:
    """Everything of the ledgers; nothing where there are none."""

    tickets: tuple[Ticket, ...] = ()
    events: tuple[Event, ...] = ()
    claims: Mapping[ClaimName, Filing] = field(default_factory=dict)

    @staticmethod
    def load(contracts: Path, *, as_of_ns: int | None = None) -> Written:
        """What had been entered by as_of_ns; all of it for None. Raises LocalError, with the ledger's file and line,
        for one that is not whole."""
        return Written(
            incident_files.load(contracts, as_of_ns=as_of_ns),
            event_files.load(contracts, as_of_ns=as_of_ns),
            claim_files.load(contracts, as_of_ns=as_of_ns),
        )
