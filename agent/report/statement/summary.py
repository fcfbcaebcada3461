"""The first sentences of a report, for the one who reads it, and what comes after them in which order. Pure.

Both audiences are told the same numbers. The customer reads what was promised, what was kept and what is owed; the
provider what is at stake, who answers for it, and which time does not count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, Literal

from agent.report.statement import figures
from agent.report.statement.model import Audience, Content, Result, Section, Summary
from agent.report.statement.rows import IncidentRow

SECTIONS: Final[dict[Audience, tuple[Section, ...]]] = {
    "customer": (
        "results", "credit", "chronic", "chart", "incidents", "exclusions", "time", "disputes", "signatures",
        "methods", "provenance",
    ),
    "provider": (
        "results", "chart", "incidents", "exclusions", "disputes", "credit", "chronic", "time", "signatures",
        "methods", "provenance",
    ),
}  # fmt: skip
_NAMED: Final = 3
_GOOD: Final = ("met", "on_track")


def summary(content: Content, audience: Audience) -> Summary:
    """What stands on top."""
    tone, headline = _headline(content)
    told = _for_customer(content) if audience == "customer" else _for_provider(content)
    return Summary(headline, tuple(sentence for sentence in told if sentence), tone)


def _headline(content: Content) -> tuple[Literal["good", "bad", "warn", "unknown"], str]:
    tally = content.tally
    open_results = tally.inconclusive + tally.unmeasurable
    if not tally.results:
        return "unknown", "There is nothing to judge in this period"
    if tally.breached:
        if tally.results == 1:
            return "bad", "The one promise was broken"
        broken = len({result.objective for result in content.results if result.state == "breached"})
        promises = len({result.objective for result in content.results})
        return "bad", f"{_count(broken, 'promise')} of {promises} {_was(broken)} broken"
    if tally.at_risk:
        return "warn", f"Nothing is broken yet; {_count(tally.at_risk, 'result')} of {tally.results} at risk"
    if open_results == tally.results:
        return "unknown", "No verdict is possible for this period"
    if open_results:
        return "unknown", f"Nothing was broken; {open_results} of {tally.results} cannot be decided"
    if tally.on_track:
        return "good", "All promises are kept so far"
    return "good", "All promises were kept"


def _for_customer(content: Content) -> Iterable[str]:
    yield _kept(content)
    yield from _broken(content.results)
    yield _down(content)
    yield _owed(content)
    yield from _rights(content)
    yield _record(content)


def _for_provider(content: Content) -> Iterable[str]:
    yield _stake(content)
    yield from _broken(content.results)
    yield _answers(content.incidents)
    yield _time_out(content)
    if content.disputes:
        yield f"{_count(len(content.disputes), 'item')} {_is(len(content.disputes))} not agreed yet; they are listed."
    yield from _rights(content)
    yield _kept(content)
    yield _record(content)


def _kept(content: Content) -> str:
    tally = content.tally
    parts = [
        f"{number} {word}"
        for number, word in (
            (tally.met, "met"),
            (tally.breached, "breached"),
            (tally.on_track, "on track"),
            (tally.at_risk, "at risk"),
            (tally.inconclusive, "inconclusive"),
            (tally.unmeasurable, "not measurable"),
        )
        if number
    ]
    objectives = len({result.objective for result in content.results})
    windows = "" if tally.results == objectives else f" in {tally.results} windows"
    return f"{_count(objectives, 'promise')}{windows}: {', '.join(parts)}." if parts else ""


def _broken(results: Sequence[Result]) -> Iterable[str]:
    found = [result for result in results if result.state == "breached"]
    shown: dict[str, list[Result]] = {}
    for result in found:
        shown.setdefault(result.objective, []).append(result)
    for objective, rows in list(shown.items())[:_NAMED]:
        first = rows[0]
        where = "" if len(rows) == 1 else f" in {len(rows)} windows, first in {first.window.label}"
        also = "" if objective == first.name else f" ({objective})"
        yield f"{_capital(first.name)}{also}: {first.value.shown}, promised {first.target_text}{where}."
    if len(shown) > _NAMED:
        yield f"{_count(len(shown) - _NAMED, 'more promise')} broken: see the table."


def _down(content: Content) -> str:
    incidents = content.incidents
    if not incidents:
        return "No fault is on record in this period."
    down = sum(int(item.down.exact or 0) for item in incidents)
    counted = sum(int(item.counted.exact or 0) for item in incidents)
    also = ", all of which counts" if counted == down else f", of which {figures.span(counted)} count"
    return f"{_count(len(incidents), 'fault')}: {figures.span(down)} down{also if down else ''}."


def _owed(content: Content) -> str:
    credit = content.credit
    if credit.total.exact is None:
        return f"No credit can be worked out: {credit.obstacle}." if credit.obstacle else ""
    if not credit.total.exact:
        return "No credit is owed."
    share = f", {credit.share.shown} of the monthly charge" if credit.share.exact is not None else ""
    if credit.lapsed.exact == credit.total.exact:
        return f"{credit.total.shown}{share}, were earned; nobody claimed them in time, so that nothing is owed."
    until = f"; to be claimed by {credit.claim_by}" if credit.claim_by else ""
    provisional = " so far" if any(line.provisional for line in credit.lines) else ""
    told = f"{_provider(content)} owes {credit.total.shown}{provisional}{share}{until}."
    if credit.lapsed.exact:
        told += f" Of it {credit.lapsed.shown} were not claimed in time."
    if credit.hindered.exact:
        told += f" Something stands in the way of the claim for {credit.hindered.shown}: see there."
    return told


def _stake(content: Content) -> str:
    credit = content.credit
    if credit.total.exact is None:
        return f"No credit can be worked out: {credit.obstacle}." if credit.obstacle else ""
    if not credit.total.exact:
        return "No credit is at stake."
    share = f", {credit.share.shown} of the monthly charge" if credit.share.exact is not None else ""
    claims = Counter(line.claim.state for line in credit.lines if line.claim is not None)
    words = {"automatic": "owed without a claim", "open": "not claimed yet", "filed": "claimed",
             "not_due": "not due yet", "accepted": "accepted", "rejected": "rejected", "lapsed": "lapsed"}  # fmt: skip
    state = ", ".join(f"{number} {words[name]}" for name, number in sorted(claims.items()))
    lines = _count(len(credit.lines), "credit line")
    return f"At stake: {credit.total.shown}{share}, in {lines}{f' ({state})' if state else ''}."


def _answers(incidents: Sequence[IncidentRow]) -> str:
    if not incidents:
        return "No fault is on record in this period."
    parties = Counter(item.attribution.party for item in incidents)
    told = ", ".join(
        f"{name} {number}" for name, number in sorted(parties.items(), key=lambda item: (-item[1], item[0]))
    )
    disputed = sum(bool(item.attribution.disputed) for item in incidents)
    return f"{_count(len(incidents), 'fault')}; who answers: {told}{f'; {disputed} disputed' if disputed else ''}."


def _time_out(content: Content) -> str:
    accepted = [row for row in content.exclusions if row.applied]
    refused = len(content.exclusions) - len(accepted)
    if not content.exclusions:
        return "No time is excluded."
    total = sum(int(row.taken.exact or 0) for row in accepted)
    parts = [f"{_count(len(accepted), 'exclusion')} accepted ({figures.span(total)})"] if accepted else []
    parts += [f"{refused} not applied"] if refused else []
    return f"{_capital(' and '.join(parts))}."


def _rights(content: Content) -> Iterable[str]:
    for row in content.chronic:
        if row.met:
            until = f", to be used by {row.exercise_by}" if row.exercise_by else ""
            yield f"Repeated failure ({row.rule}) gives the right to {row.right}{until}."


def _record(content: Content) -> str:
    final = next((fact.text for fact in content.header.facts if fact.label == "Final record"), "")
    return "" if not final or final == "this measurement" else f"By contract the record that is final is {final}."


def _provider(content: Content) -> str:
    return next((party.name for party in content.header.parties if party.role == "provider"), "The provider")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _was(number: int) -> str:
    return "was" if number == 1 else "were"


def _is(number: int) -> str:
    return "is" if number == 1 else "are"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
