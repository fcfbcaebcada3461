"""What people wrote down beside the contracts of a directory: tickets, events, claims."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agent import claim_files, event_files, incident_files
from agent.claim_files import ClaimName
from agent.sla.claims import Filing
from agent.sla.events import Event
from agent.sla.incidents import Ticket


@dataclass(frozen=True, slots=True)
class Written:
    """Everything of the ledgers; nothing where there are none."""

    tickets: tuple[Ticket, ...] = ()
    events: tuple[Event, ...] = ()
    claims: Mapping[ClaimName, Filing] = field(default_factory=dict)

    @staticmethod
    def load(contracts: Path) -> Written:
        """Raises LocalError, with the ledger's file and line, for one that is not whole."""
        return Written(incident_files.load(contracts), event_files.load(contracts), claim_files.load(contracts))
