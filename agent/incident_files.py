"""Tickets of both sides: an append-only ledger beside the contracts, every change an entry with its author.

Nothing is ever taken back: a stamp that was wrong is corrected by another entry, an attribution is replaced by one that
keeps the old behind it, a dispute stays visible. What does not follow from what is there is refused with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from agent import ledger
from agent.ledger import LedgerError
from agent.sla.faults.joining import EVIDENCE
from agent.sla.terms.incidents import Attribution, Pause, Responsible, Stamp, Ticket
from agent.sla.words.wording import moment
from probes.core.errors import LocalError

FILE: Final = "incidents.jsonl"
ACTIONS: Final = (
    "add", "import", "stamp", "pause", "resume", "attribute", "dispute", "close", "note", "reference",
)  # fmt: skip
_STARTS: Final = (Stamp.FAULT, Stamp.DETECTED, Stamp.TICKET)
_ORDER: Final = (
    (Stamp.FAULT, Stamp.DETECTED),
    (Stamp.FAULT, Stamp.RESTORED),
    (Stamp.DETECTED, Stamp.RESTORED),
    (Stamp.TICKET, Stamp.RESPONSE),
    (Stamp.RESTORED, Stamp.CONFIRMED),
    (Stamp.FAULT, Stamp.CONFIRMED),
    *((stamp, Stamp.CLOSED) for stamp in Stamp if stamp is not Stamp.CLOSED),
)
"""Which stamp cannot lie after which. A ticket may be opened when all is over."""


class RefusedError(LocalError):
    """An entry that does not follow from what the ledger holds."""


@dataclass(frozen=True, slots=True)
class Entered:
    """What an entry made: its line in the ledger and the tickets it is about, as they are now."""

    number: int
    tickets: tuple[Ticket, ...]


def load(contracts: Path, *, as_of_ns: int | None = None) -> tuple[Ticket, ...]:
    """Tickets by their id, with all entries that had been made by as_of_ns applied. Raises LedgerError."""
    path = contracts / FILE
    found = _replayed(ledger.read(path), path, as_of_ns)
    return tuple(found[name] for name in sorted(found))


def enter(contracts: Path, content: Mapping[str, Any], *, at_ns: int, by: str) -> Entered:
    """One entry more. Raises RefusedError where it does not fit what is there, LedgerError where it cannot be kept."""
    path = contracts / FILE
    made: list[Ticket] = []

    def check(entries: Sequence[ledger.Entry]) -> None:
        before = _replayed(entries, path, None)
        after = apply(before, content, at_ns=at_ns, by=by)
        made.extend(ticket for name, ticket in after.items() if before.get(name) is not ticket)

    line = ledger.append(path, content, at_ns=at_ns, by=by, check=check)
    return Entered(line.number, tuple(made))


def history(contracts: Path, identity: str) -> list[ledger.Entry]:
    """All entries about one ticket, oldest first. Raises LedgerError."""
    return [entry for entry in ledger.read(contracts / FILE) if identity in _named(entry.content)]


def next_id(tickets: Iterable[Ticket]) -> str:
    """`INC-7`: the first number that no ticket has and none after it."""
    numbers = [int(item.id[4:]) for item in tickets if item.id.startswith("INC-") and item.id[4:].isdecimal()]
    return f"INC-{max(numbers, default=0) + 1}"


def apply(tickets: Mapping[str, Ticket], content: Mapping[str, Any], *, at_ns: int, by: str) -> dict[str, Ticket]:
    """The tickets with one entry applied. Pure. Raises RefusedError, and KeyError, TypeError or ValueError for
    content that is none of ours."""
    found, action = dict(tickets), content["action"]
    if action in ("add", "import"):
        given = [content["ticket"]] if action == "add" else content["tickets"]
        for value in given:
            ticket = from_value(value, at_ns)
            if ticket.id in found:
                raise RefusedError(f"there is a ticket {ticket.id} already", hint="stamp it, or take another id")
            found[ticket.id] = _fit(ticket, at_ns)
        for value in content.get("updates", ()):
            found[value["id"]] = _fit(_updated(_known(found, value["id"]), value), at_ns)
        return found
    if action not in _CHANGES:
        raise ValueError(action)
    ticket = _known(found, content["id"])
    found[ticket.id] = _fit(_CHANGES[action](ticket, content, by), at_ns)
    return found


def to_value(ticket: Ticket) -> dict[str, Any]:
    """For the ledger: times in UTC ns, nothing that is empty."""
    value: dict[str, Any] = {
        "id": ticket.id,
        "circuits": list(ticket.circuits),
        "stamps_ns": {stamp.value: ticket.stamps[stamp] for stamp in Stamp if stamp in ticket.stamps},
    }
    for name, item in (
        ("pauses", [_pause_value(pause) for pause in ticket.pauses]),
        ("priority", ticket.priority),
        ("cause", ticket.cause),
        ("references", list(ticket.references)),
        ("note", ticket.note),
    ):
        if item:
            value[name] = item
    return value


def from_value(value: Mapping[str, Any], entered_ns: int) -> Ticket:
    return Ticket(
        value["id"],
        tuple(value["circuits"]),
        {Stamp(name): int(at) for name, at in value["stamps_ns"].items()},
        entered_ns,
        _pauses(value.get("pauses", ())),
        value.get("priority", ""),
        value.get("cause", ""),
        tuple(value.get("references", ())),
        None,
        value.get("note", ""),
    )


def _pauses(values: Iterable[Mapping[str, Any]]) -> tuple[Pause, ...]:
    return tuple(
        Pause(item["start_ns"], item.get("end_ns"), item["reason"], item.get("evidence", "")) for item in values
    )


def _pause_value(pause: Pause) -> dict[str, Any]:
    value = {"start_ns": pause.start_ns, "end_ns": pause.end_ns, "reason": pause.reason, "evidence": pause.evidence}
    return {name: item for name, item in value.items() if name == "reason" or item not in (None, "")}


def _replayed(entries: Sequence[ledger.Entry], path: Path, as_of_ns: int | None) -> dict[str, Ticket]:
    found: dict[str, Ticket] = {}
    for entry in entries:
        if as_of_ns is not None and entry.at_ns > as_of_ns:
            continue
        try:
            found = apply(found, entry.content, at_ns=entry.at_ns, by=entry.by)
        except RefusedError as error:
            raise LedgerError(f"{path}:{entry.number}: {error.message}", line=entry.number) from None
        except (KeyError, TypeError, ValueError, AttributeError):
            raise LedgerError(f"{path}:{entry.number}: this is no entry about a ticket", line=entry.number) from None
    return found


def _named(content: Mapping[str, Any]) -> set[str]:
    """Ids of the tickets an entry is about."""
    values = [content, content.get("ticket", {}), *content.get("tickets", ()), *content.get("updates", ())]
    return {str(value["id"]) for value in values if "id" in value}


def _known(tickets: Mapping[str, Ticket], identity: str) -> Ticket:
    if identity not in tickets:
        some = ", ".join(sorted(tickets)[-5:]) or "none yet"
        raise RefusedError(f"there is no ticket {identity}", hint=f"the last ones: {some}")
    return tickets[identity]


def _open(ticket: Ticket, what: str) -> None:
    if Stamp.CLOSED in ticket.stamps:
        hint = (
            "a closed ticket takes notes, references, attributions and disputes; a stamp with --correct; a pause that "
            "was over by then, with --until"
        )
        raise RefusedError(f"{ticket.id} was closed at {moment(ticket.stamps[Stamp.CLOSED])}: {what}", hint=hint)


def _pausing(ticket: Ticket) -> Pause | None:
    return next((pause for pause in ticket.pauses if pause.end_ns is None), None)


def _stamp(ticket: Ticket, content: Mapping[str, Any], by: str) -> Ticket:  # noqa: ARG001 # all changes are alike
    stamp, at_ns, correct = Stamp(content["stamp"]), int(content["at_ns"]), bool(content.get("correct"))
    if not correct:
        _open(ticket, "no further stamp")
        if stamp in ticket.stamps:
            raise RefusedError(
                f"{ticket.id} has the stamp {stamp}, {moment(ticket.stamps[stamp])}", hint="correct it with --correct"
            )
    return replace(ticket, stamps={**ticket.stamps, stamp: at_ns})


def _pause(ticket: Ticket, content: Mapping[str, Any], by: str) -> Ticket:  # noqa: ARG001
    pause = _pauses([content])[0]
    closed = ticket.stamps.get(Stamp.CLOSED)
    if closed is not None and (pause.end_ns is None or pause.end_ns > closed):
        _open(ticket, "its clock cannot pause")
    standing = _pausing(ticket)
    if standing is not None and (pause.end_ns is None or pause.end_ns > standing.start_ns):
        raise RefusedError(
            f"the clock of {ticket.id} stands since {moment(standing.start_ns)} ({standing.reason})",
            hint="resume it first",
        )
    if pause.end_ns is not None and pause.end_ns <= pause.start_ns:
        raise RefusedError("a pause ends after it starts")
    return replace(ticket, pauses=tuple(sorted((*ticket.pauses, pause), key=lambda item: item.start_ns)))


def _resume(ticket: Ticket, content: Mapping[str, Any], by: str) -> Ticket:  # noqa: ARG001
    standing, at_ns = _pausing(ticket), int(content["at_ns"])
    if standing is None:
        raise RefusedError(f"the clock of {ticket.id} does not stand", hint="there is nothing to resume")
    if at_ns <= standing.start_ns:
        raise RefusedError(f"the pause began at {moment(standing.start_ns)}: it cannot end at {moment(at_ns)}")
    pauses = tuple(replace(item, end_ns=at_ns) if item is standing else item for item in ticket.pauses)
    return replace(ticket, pauses=pauses)


def _attribute(ticket: Ticket, content: Mapping[str, Any], by: str) -> Ticket:
    party, reasons = Responsible(content["party"]), tuple(str(item) for item in content["reasons"])
    if not reasons or not all(reasons):
        raise RefusedError("an attribution gives its reason", hint="name the evidence with --because")
    return replace(ticket, attribution=Attribution(party, by, reasons, before=ticket.attribution))


def _dispute(ticket: Ticket, content: Mapping[str, Any], by: str) -> Ticket:
    reason = str(content["reason"])
    if not reason:
        raise RefusedError("a dispute gives its reason", hint="say it with --because")
    subject = ticket.attribution or Attribution(Responsible.UNKNOWN, EVIDENCE)
    told = f"{subject.disputed}; {by}: {reason}" if subject.disputed else f"{by}: {reason}"
    return replace(ticket, attribution=replace(subject, disputed=told))


def _close(ticket: Ticket, content: Mapping[str, Any], by: str) -> Ticket:  # noqa: ARG001
    _open(ticket, "it cannot be closed again")
    standing = _pausing(ticket)
    if standing is not None:
        raise RefusedError(f"the clock of {ticket.id} stands ({standing.reason})", hint="resume it first")
    return replace(ticket, stamps={**ticket.stamps, Stamp.CLOSED: int(content["at_ns"])})


def _note(ticket: Ticket, content: Mapping[str, Any], by: str) -> Ticket:
    told = f"{by}: {content['text']}"
    return replace(ticket, note=f"{ticket.note}; {told}" if ticket.note else told)


def _reference(ticket: Ticket, content: Mapping[str, Any], by: str) -> Ticket:  # noqa: ARG001
    name = str(content["reference"])
    if name in ticket.references:
        raise RefusedError(f"{ticket.id} has the reference {name} already")
    return replace(ticket, references=(*ticket.references, name))


_CHANGES: Final[Mapping[str, Callable[[Ticket, Mapping[str, Any], str], Ticket]]] = {
    "stamp": _stamp,
    "pause": _pause,
    "resume": _resume,
    "attribute": _attribute,
    "dispute": _dispute,
    "close": _close,
    "note": _note,
    "reference": _reference,
}


def _updated(ticket: Ticket, value: Mapping[str, Any]) -> Ticket:
    """With what an import gives anew; what it leaves out stays."""
    fresh = from_value({"circuits": ticket.circuits, "stamps_ns": {}, **value}, ticket.entered_ns)
    references = (*ticket.references, *(item for item in fresh.references if item not in ticket.references))
    return replace(
        ticket,
        circuits=fresh.circuits,
        stamps={**ticket.stamps, **fresh.stamps},
        pauses=fresh.pauses or ticket.pauses,
        priority=fresh.priority or ticket.priority,
        cause=fresh.cause or ticket.cause,
        references=references,
        note=fresh.note or ticket.note,
    )


def _fit(ticket: Ticket, at_ns: int) -> Ticket:
    """The ticket, if its times make sense together."""
    wrong = misfit(ticket, at_ns)
    if wrong:
        raise RefusedError(f"{ticket.id}: {wrong}")
    return ticket


def misfit(ticket: Ticket, at_ns: int) -> str:
    """What contradicts itself in a ticket entered at at_ns; empty where nothing does."""
    stamps = ticket.stamps
    if not ticket.circuits:
        return "a ticket is about a circuit"
    if not any(stamp in stamps for stamp in _STARTS):
        return f"a ticket has one of the stamps {', '.join(stamp.value for stamp in _STARTS)}"
    for first, then in _ORDER:
        if first in stamps and then in stamps and stamps[then] < stamps[first]:
            return f"{then} at {moment(stamps[then])} lies before {first} at {moment(stamps[first])}"
    for stamp, instant in stamps.items():
        if instant > at_ns:
            return f"{stamp} at {moment(instant)} lies in the future"
    return _wrong_pause(ticket, at_ns)


def _wrong_pause(ticket: Ticket, at_ns: int) -> str:
    first = min(ticket.stamps.values())
    end: int | None = None
    for pause in sorted(ticket.pauses, key=lambda item: item.start_ns):
        if pause.start_ns < first:
            return f"the pause from {moment(pause.start_ns)} begins before the ticket does, at {moment(first)}"
        if max(pause.start_ns, pause.end_ns or 0) > at_ns:
            return f"the pause from {moment(pause.start_ns)} lies in the future"
        if end is not None and pause.start_ns < end:
            return f"two pauses overlap at {moment(pause.start_ns)}"
        end = at_ns if pause.end_ns is None else pause.end_ns
    return ""
