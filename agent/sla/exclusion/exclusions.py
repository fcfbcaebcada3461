"""What of the agreed exclusions holds for one circuit in one window, by the contract's terms. Pure.

Each instant is excluded once and for one reason: by the contract's terms in the order it states them, and under one
kind by the entry that starts first (then ends first, then by id). Only announced time is out: work that overruns
counts again from the announced end. Time over an allowance counts again: the time that comes first uses it up, in
each calendar unit of the contract's zone for itself. Time that does not qualify uses up nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agent.sla.exclusion.exclusion_words import Losses, sentence
from agent.sla.terms.excluded import Entry, Exclusion, ExclusionKind, ExclusionTerms, Ruling, Standing
from agent.sla.terms.objective import Window
from agent.sla.time.calendar import resolve
from agent.sla.time.hours import spans as service_time
from agent.sla.time.spans import NOWHERE, Spans
from agent.sla.time.wall_clock import DAY_NS, local_time
from agent.sla.time.zones import zone as zone_named

if TYPE_CHECKING:
    from agent.sla.terms.contract import Contract, Objective

__all__ = ["Entry", "Exclusion", "ExclusionKind", "ExclusionTerms", "Ruling", "Standing", "rule"]

NO_IMPACT: Final = "NO-IMPACT"


@dataclass(slots=True)
class _Claim:
    """One entry on its way through the terms. until_ns: its end as known now. obstacle: why it does not apply at all,
    as far as looked. permitted: its time in the hours of terms it fulfils; own: what it takes out and no other did."""

    exclusion: Exclusion
    until_ns: int
    obstacle: Standing | None
    terms: ExclusionTerms | None = None
    permitted: Spans = NOWHERE
    faulty: Spans = NOWHERE
    covered: Spans = NOWHERE
    own: Spans = NOWHERE


@dataclass(slots=True)
class _Taken:
    """Time taken out so far, by effect."""

    out: list[Spans] = field(default_factory=list)
    up: list[Spans] = field(default_factory=list)
    all: Spans = NOWHERE


def rule(
    contract: Contract,
    circuit: str,
    *,
    start_ns: int,
    end_ns: int,
    now_ns: int,
    objective: Objective | None = None,
    fault: Spans = NOWHERE,
) -> Ruling:
    """What of the contract's exclusions holds for the circuit in [start_ns, end_ns), as known at now_ns.

    objective: whose `exclusions` limits the kinds. fault: when the provider was at fault, as far as that is known.
    Raises ValueFormatError where an allowance is by contract year and the contract does not say when that begins.
    """
    ledger = sorted((item for item in contract.exclusions if not item.circuits or circuit in item.circuits), key=_place)
    heard = [item for item in ledger if item.start_ns < end_ns and item.end_ns > start_ns]
    windows = [item for item, _ in _standing(contract, start_ns, end_ns)]
    if not heard and not windows:
        return Ruling()
    terms = contract.exclusion_terms
    first_ns = _extent(contract, min(item.start_ns for item in (*heard, *windows)))
    last_ns = max(item.end_ns for item in (*heard, *windows))
    kinds = None if objective is None else objective.exclusions
    claims = [
        _Claim(item, item.until_ns(now_ns), _obstacle(item, now_ns, kinds))
        for item in (ledger if terms else heard)
        if item.start_ns < last_ns and item.end_ns > first_ns
    ]
    claims += [
        _Claim(item, item.end_ns, _obstacle(item, now_ns, kinds), line)
        for item, line in _standing(contract, first_ns, last_ns)
    ]
    claims.sort(key=lambda claim: _place(claim.exclusion))
    taken = _by_terms(contract, claims, now_ns, fault) if terms else _without_terms(claims)
    touching = [item for item in claims if item.exclusion.start_ns < end_ns and item.exclusion.end_ns > start_ns]
    theirs = _together([item.own for item in touching])
    return Ruling(
        tuple(_entry(item, start_ns, end_ns, now_ns) for item in touching),
        _together(taken.out) & theirs,
        _together(taken.up) & theirs,
    )


def _place(item: Exclusion) -> tuple[int, int, str]:
    return item.start_ns, item.end_ns, item.id


def _standing(contract: Contract, start_ns: int, end_ns: int) -> Iterator[tuple[Exclusion, ExclusionTerms]]:
    """Hours that are out by themselves, each stretch that touches [start_ns, end_ns) as an entry."""
    for terms in contract.exclusion_terms:
        if not terms.standing or terms.hours is None:
            continue
        reason = f"{terms.kind.value.replace('_', ' ')} window of the contract"
        zone = zone_named(terms.hours.time_zone).info
        for start, end in service_time(terms.hours, start_ns - DAY_NS, end_ns + DAY_NS):
            if start < end_ns and end > start_ns:
                name = f"window-{local_time(start, zone):%Y%m%dT%H%M}"
                yield Exclusion(name, start, end, reason, 0, kind=terms.kind, source="contract"), terms


def _extent(contract: Contract, first_ns: int) -> int:
    """Since when entries bear on what an entry that starts at first_ns may take out: whoever comes earlier in the
    unit of an allowance uses it up. Terms stated earlier take their time first, so they are looked at last."""
    for terms in reversed(contract.exclusion_terms):
        if terms.allowance_ns is not None:
            first_ns = min(first_ns, resolve(contract, Window(terms.per), first_ns).start_ns)
    return first_ns


def _obstacle(exclusion: Exclusion, now_ns: int, kinds: Sequence[str] | None) -> Standing | None:
    """Why an entry does not apply, whatever the contract's terms."""
    if exclusion.entered_ns > now_ns:
        return Standing.NOT_ENTERED
    if exclusion.rejected and (exclusion.rejected_ns is None or exclusion.rejected_ns <= now_ns):
        return Standing.REJECTED
    if exclusion.until_ns(now_ns) <= exclusion.start_ns:
        return Standing.CANCELLED
    if exclusion.impact == NO_IMPACT:
        return Standing.NO_IMPACT
    if exclusion.proposed and not exclusion.confirmed(now_ns):
        return Standing.PROPOSED
    if exclusion.retroactive and not exclusion.confirmed(now_ns):
        return Standing.UNCONFIRMED
    if kinds is not None and exclusion.kind not in kinds:
        return Standing.OBJECTIVE
    return None


def _short_of(exclusion: Exclusion, terms: ExclusionTerms, now_ns: int) -> Standing | None:
    """What an entry lacks of what the terms ask for. Notice that is too short by one ns is too short."""
    if terms.notice_ns and (
        exclusion.notified_ns is None or exclusion.notified_ns + terms.notice_ns > exclusion.start_ns
    ):
        return Standing.NOTICE
    if terms.evidence and not exclusion.evidence:
        return Standing.EVIDENCE
    if terms.approval and (exclusion.confirmed_role != terms.approval or not exclusion.confirmed(now_ns)):
        return Standing.APPROVAL
    return None


def _without_terms(claims: Sequence[_Claim]) -> _Taken:
    """Every entry that nothing stands against is out. They come by their start, so that what is out already of an
    entry is all before the end that reaches furthest."""
    reach = 0
    for claim in (item for item in claims if item.obstacle is None):
        start, end = claim.exclusion.start_ns, claim.until_ns
        claim.permitted = Spans.of([(start, end)])
        if reach <= start:
            claim.own = claim.permitted
        else:
            claim.own = Spans.of([(max(start, reach), end)])
            claim.covered = Spans.of([(start, min(reach, end))])
        reach = max(reach, end)
    return _Taken([_together([claim.own for claim in claims])])


def _by_terms(contract: Contract, claims: Sequence[_Claim], now_ns: int, fault: Spans) -> _Taken:
    """The terms one after the other, each over what those before it left."""
    taken = _Taken()
    for terms in contract.exclusion_terms:
        fit = []
        for claim in (item for item in claims if item.exclusion.kind is terms.kind):
            standing = claim.exclusion.source == "contract"
            if claim.obstacle not in (None, *_BY_TERMS) or (standing and claim.terms is not terms):
                continue
            if standing:
                fit.append((claim, _permitted(claim, terms)))
                continue
            lacking = _short_of(claim.exclusion, terms, now_ns)
            if lacking is None:
                claim.obstacle, claim.terms = None, terms
                fit.append((claim, _permitted(claim, terms)))
            elif claim.terms is None:
                claim.obstacle, claim.terms = lacking, terms
        _take(contract, terms, fit, taken, fault)
    known = {terms.kind for terms in contract.exclusion_terms}
    for claim in claims:
        if claim.obstacle is None and claim.exclusion.kind not in known:
            claim.obstacle = Standing.KIND
    return taken


_BY_TERMS: Final = (Standing.NOTICE, Standing.EVIDENCE, Standing.APPROVAL)
"""Obstacles by the terms of one line; another line on the same kind may have no such."""


def _permitted(claim: _Claim, terms: ExclusionTerms) -> Spans:
    """The entry's time within the hours of the terms."""
    start, end = claim.exclusion.start_ns, claim.until_ns
    mine = Spans.of([(start, end)]) if terms.hours is None else service_time(terms.hours, start, end)
    claim.permitted = claim.permitted | mine
    return mine


def _take(
    contract: Contract, terms: ExclusionTerms, fit: Sequence[tuple[_Claim, Spans]], taken: _Taken, fault: Spans
) -> None:
    """What one line of the terms takes out, given to its entries in their order."""
    asked = _together([mine for _, mine in fit]) - taken.all
    if terms.overlap == "provider_wins":
        for claim, mine in fit:
            claim.faulty = claim.faulty | (mine & fault)
        asked = asked - fault
    granted = asked if terms.allowance_ns is None else Spans.of(_allowed(contract, terms, terms.allowance_ns, asked))
    before = taken.all
    for claim, mine in fit:
        if len(before):
            claim.covered = claim.covered | (mine & before)
        _give(claim, mine & granted, taken)
    (taken.out if terms.effect == "both" else taken.up).append(granted)


def _give(claim: _Claim, mine: Spans, taken: _Taken) -> None:
    """To the entry what none before it was given."""
    already = mine & taken.all
    if len(already):
        claim.covered = claim.covered | already
        mine = mine - already
    if len(mine):
        claim.own = claim.own | mine
        taken.all = taken.all | mine


def _allowed(contract: Contract, terms: ExclusionTerms, allowance_ns: int, asked: Spans) -> Iterator[tuple[int, int]]:
    """The first allowance_ns of the time asked for in each unit."""
    spent: dict[int, int] = {}
    for start, end in asked:
        at = start
        while at < end:
            unit = resolve(contract, Window(terms.per), at)
            until = min(end, unit.end_ns)
            used = spent.get(unit.start_ns, 0)
            grant = min(until - at, allowance_ns - used)
            spent[unit.start_ns] = used + grant
            yield at, at + grant
            at = until


def _entry(claim: _Claim, start_ns: int, end_ns: int, now_ns: int) -> Entry:
    """Standing of one entry in the window."""
    begin, end = max(claim.exclusion.start_ns, start_ns), min(claim.until_ns, end_ns)
    whole_ns, own_ns = max(0, end - begin), sum(max(0, min(last, end) - max(first, begin)) for first, last in claim.own)
    lost = Losses() if claim.obstacle is not None or own_ns == whole_ns else _losses(claim, begin, end)
    standing = claim.obstacle or _remaining(lost, own_ns)
    text = sentence(claim.exclusion, standing, claim.terms, whole_ns, own_ns, lost, now_ns)
    return Entry(claim.exclusion, standing, claim.own, own_ns, text)


def _losses(claim: _Claim, start_ns: int, end_ns: int) -> Losses:
    """What becomes of the entry's time in [start_ns, end_ns) that it does not take out, each ns by one cause."""
    left = Spans.of([(start_ns, end_ns)]) - claim.own
    outside = left - claim.permitted
    left = left & claim.permitted
    covered = left & claim.covered
    left = left - claim.covered
    faulty = left & claim.faulty
    return Losses(outside.length_ns, covered.length_ns, faulty.length_ns, left.length_ns - faulty.length_ns)


def _remaining(lost: Losses, own_ns: int) -> Standing:
    """Of an entry that nothing stands against as a whole: applied, unless nothing of it was left to take out."""
    if own_ns or lost.covered_ns:
        return Standing.APPLIED
    if lost.over_ns:
        return Standing.ALLOWANCE
    if lost.faulty_ns:
        return Standing.FAULT
    return Standing.HOURS if lost.outside_ns else Standing.CANCELLED


def _together(parts: Sequence[Spans]) -> Spans:
    return Spans.of(pair for part in parts for pair in part)
