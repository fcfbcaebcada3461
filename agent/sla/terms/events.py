"""Imported events: calls, mails, requests, notices, each with its stamps. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agent.sla.terms.incidents import Pause


@dataclass(frozen=True, slots=True)
class Event:
    """One case. kind: call, mail, request, notice ... as the contract's event objectives name it. stamps: UTC ns by
    name (start, end, ...). circuits: those it is about, empty for all of the contract. abandoned_ns: given up then."""

    id: str
    kind: str
    stamps: Mapping[str, int]
    entered_ns: int
    circuits: tuple[str, ...] = ()
    priority: str = ""
    abandoned_ns: int | None = None
    pauses: tuple[Pause, ...] = ()
    reference: str = ""
