"""Who answers for an outage, by what stood around it, in sentences. Pure.

The evidence is weighed in this order; the first that speaks decides, the others are told beside it:

1. the interface that the circuit leaves by had no carrier: own agent (the measuring site);
2. the gateway or the near end failed as well: own agent (the site's own side of the circuit);
3. every circuit of the agent that was measured failed, and they have three targets or more: unknown, because one place
   cannot tell its own failure from that of all others;
4. circuits of several providers failed at the same instant, others stayed well: unknown, something they share;
5. the circuit failed and its far end, reached another way, failed as well: unknown, the far site may have failed;
6. other circuits of the same provider failed and those of other providers stayed well: provider;
7. the near end or the gateway stayed well, or other circuits did: provider, the fault lies beyond this site;
8. nothing was measured beside it: unknown.

A circuit to the same target is no witness when it fails too: it is the same far end. What the customer or a third party
did is seen by no probe of ours; they answer only where somebody enters so.

Nothing of this excludes any time or pays anything by itself: only what somebody enters does. An entry replaces the
finding, which stays visible behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

from agent.sla.faults.joining import EVIDENCE
from agent.sla.terms.incidents import Attribution, Incident, Responsible
from agent.sla.time.spans import NOWHERE, Spans
from agent.sla.words.wording import moment, plural, spoken
from probes.core.clock import SECOND

AROUND_NS: Final = 60 * SECOND
"""What failed within this time of the outage failed with it."""
TOGETHER: Final = Fraction(1, 2)
"""A neighbour that failed in so much of the outage, as far as it was measured, failed with it."""
TARGETS: Final = 3
"""From so many different targets on, all of them failing says something about this site."""
_NAMED: Final = 4


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another circuit beside the incident. failed, well: by its samples, only around the incident; neither where it
    was not measured."""

    circuit: str
    target: str
    provider: str = ""
    site: str = ""
    failed: Spans = NOWHERE
    well: Spans = NOWHERE


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is known about the time around an incident. None where it is not watched or not configured.

    interface: the circuit leaves by it; carrier_down: when it had no carrier. gateway: what the site leaves by.
    path_before, path_after: as a path was recorded. gaps: when this agent did not measure, with the reason.
    """

    provider: str = ""
    site: str = ""
    target: str = ""
    near_end: Neighbour | None = None
    far_end: Neighbour | None = None
    gateway: Neighbour | None = None
    interface: str = ""
    carrier_down: Spans | None = None
    others: tuple[Neighbour, ...] = ()
    path_before: str | None = None
    path_after: str | None = None
    gaps: tuple[tuple[str, int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class _Seen:
    """How one neighbour fared. together: None where it was not measured during the outage."""

    who: Neighbour
    together: bool | None
    failed_ns: int


def attribute(incident: Incident, surroundings: Surroundings) -> Attribution:
    """Party with its reasons; what people entered in the tickets stands before the evidence, which stays behind it."""
    if not len(incident.down):
        reason = "No outage was measured: the ticket alone says that there was one."
        found = Attribution(Responsible.UNKNOWN, EVIDENCE, (reason,))
    else:
        found = _by_evidence(incident, surroundings)
    entered = incident.attribution
    if entered.by == EVIDENCE and not entered.disputed:
        return found
    return _upon(entered, found)


def _upon(entered: Attribution, found: Attribution) -> Attribution:
    """The entered attribution with the evidence at the end of what it replaced."""
    if entered.by == EVIDENCE:
        return replace(found, disputed=entered.disputed)
    return replace(entered, before=found if entered.before is None else _upon(entered.before, found))


def _by_evidence(incident: Incident, around: Surroundings) -> Attribution:
    near, gateway, far = (_seen(incident, item) for item in (around.near_end, around.gateway, around.far_end))
    others = [seen for item in around.others if (seen := _seen(incident, item)) is not None]
    party, why = _decide(incident, around, near, gateway, far, others)
    sentences = [
        why,
        _carrier(incident, around),
        *(_told(name, item) for name, item in (("near end", near), ("gateway", gateway), ("far end", far))),
        *_about(others, around),
        _path(around),
        _gaps(incident, around),
    ]
    return Attribution(party, EVIDENCE, tuple(dict.fromkeys(text for text in sentences if text)))


def _decide(
    incident: Incident,
    around: Surroundings,
    near: _Seen | None,
    gateway: _Seen | None,
    far: _Seen | None,
    others: Sequence[_Seen],
) -> tuple[Responsible, str]:
    """By the first rule that speaks, with the sentence for it."""
    own, unknown, provider = Responsible.AGENT, Responsible.UNKNOWN, Responsible.PROVIDER
    if around.carrier_down is not None and len(around.carrier_down & incident.down.grown(AROUND_NS)):
        return own, f"The measuring site answers for it: its interface {around.interface} had no carrier."
    for name, item in (("near end", near), ("gateway", gateway)):
        if item is not None and item.together:
            return own, f"The measuring site answers for it: its {name} {item.who.circuit} failed at the same time."
    failed = [item for item in others if item.together and item.who.target != around.target]
    well = [item for item in others if item.together is False]
    targets = {item.who.target for item in failed} | {around.target}
    beside_well = (near is not None and near.together is False) or (gateway is not None and gateway.together is False)
    if failed and not well and not beside_well and len(targets) >= TARGETS:
        return unknown, (
            f"Nobody can say who answers for it: all {len(failed) + 1} circuits of this agent failed at once, which "
            "its own host or site may have caused as well."
        )
    strangers = {item.who.provider for item in failed if item.who.provider and item.who.provider != around.provider}
    if strangers:
        where = {item.who.site for item in failed} | {around.site}
        place = f" They all end at {around.site}." if len(where) == 1 and around.site else ""
        return unknown, (
            "Nobody can say who answers for it: circuits of different providers failed at the same time, so the cause "
            f"is something they share.{place}"
        )
    if far is not None and far.together:
        return unknown, (
            f"Nobody can say who answers for it: the far end, seen through {far.who.circuit}, failed as well, so the "
            "far site itself may have failed."
        )
    siblings = [item for item in failed if item.who.provider and item.who.provider == around.provider]
    if siblings and any(item.who.provider != around.provider for item in well):
        return provider, (
            f"The provider answers for it: {plural(len(siblings), 'other circuit')} of {around.provider} failed at the "
            "same time, and circuits of others stayed well."
        )
    if beside_well or well:
        witness = "its own side stayed well" if beside_well else "other circuits of this agent stayed well"
        return provider, f"The provider answers for it: the circuit failed while {witness}."
    return unknown, "Nobody can say who answers for it: nothing else was measured at that time."


def _seen(incident: Incident, who: Neighbour | None) -> _Seen | None:
    """How it fared: it failed with the circuit if it failed in half of the time that both were measured, or more."""
    if who is None:
        return None
    failed_ns = (who.failed & incident.down).length_ns
    measured_ns = ((who.failed | who.well) & incident.down).length_ns
    if measured_ns:
        return _Seen(who, failed_ns >= TOGETHER * measured_ns, failed_ns)
    beside = incident.down.grown(AROUND_NS)
    if len(who.failed & beside):
        return _Seen(who, True, 0)
    return _Seen(who, False if len(who.well & beside) else None, 0)


def _carrier(incident: Incident, around: Surroundings) -> str:
    if not around.interface:
        return "The interface that the circuit leaves by is not configured, so that its carrier is not watched."
    if around.carrier_down is None:
        return f"No record of the carrier of interface {around.interface}."
    lost = around.carrier_down & incident.down.grown(AROUND_NS)
    if not len(lost):
        return f"Interface {around.interface} had its carrier all the time."
    first = int(lost.start_ns[0])
    return f"Interface {around.interface} was without carrier for {spoken(lost.length_ns)}, first at {moment(first)}."


def _told(name: str, seen: _Seen | None) -> str:
    if seen is None:
        return f"No {name} is configured." if name != "gateway" else "No gateway is watched."
    if seen.together is None:
        return f"The {name} {seen.who.circuit} was not measured at that time."
    if seen.together:
        lasted = f" for {spoken(seen.failed_ns)} of it" if seen.failed_ns else " right beside it"
        return f"The {name} {seen.who.circuit} failed as well{lasted}."
    partly = f", but for {spoken(seen.failed_ns)}" if seen.failed_ns else ""
    return f"The {name} {seen.who.circuit} stayed well{partly}."


def _about(others: Sequence[_Seen], around: Surroundings) -> list[str]:
    """Other circuits: which failed with it and what they share, which stayed well, which say nothing."""
    if not others:
        return ["No other circuit is measured by this agent."]
    failed = [item for item in others if item.together]
    well = [item for item in others if item.together is False]
    mute = [item for item in others if item.together is None]
    found = []
    if failed:
        shared = [
            f"{len(same)} of them {word} {name}"
            for word, name, same in (
                ("of the same provider,", around.provider, [i for i in failed if i.who.provider == around.provider]),
                ("at the same site,", around.site, [i for i in failed if i.who.site == around.site]),
            )
            if name and same
        ]
        tail = f" ({'; '.join(shared)})" if shared else ""
        found.append(f"{plural(len(failed), 'other circuit')} failed at the same time: {_names(failed)}{tail}.")
    if well:
        found.append(f"{plural(len(well), 'other circuit')} stayed well: {_names(well)}.")
    if mute:
        found.append(f"{plural(len(mute), 'other circuit')} not measured at that time: {_names(mute)}.")
    return found


def _names(items: Sequence[_Seen]) -> str:
    names = [item.who.circuit for item in items]
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _path(around: Surroundings) -> str:
    if around.path_before is None and around.path_after is None:
        return "The path was not recorded."
    before, after = around.path_before or "not recorded", around.path_after or "not recorded"
    return f"Path before: {before}; after: {after}."


def _gaps(incident: Incident, around: Surroundings) -> str:
    """What the agent did not measure from a minute before the incident to a minute after it."""
    begin, end = int(incident.down.start_ns[0]) - AROUND_NS, int(incident.down.end_ns[-1]) + AROUND_NS
    beside = [(reason, first, last) for reason, first, last in around.gaps if first < end and last > begin]
    if not beside:
        return "This agent measured without a gap around it."
    reason, first, last = beside[0]
    more = f", and {plural(len(beside) - 1, 'gap')} more" if len(beside) > 1 else ""
    return f"This agent did not measure from {moment(first)} to {moment(last)}: {reason}{more}."
