"""Chronic rules: repeated outages, long ones together, promises missed again and again, and the right that gives. Pure.

A rule is met in a period when the outage or the missed window that completes it lies in the period: what was complete
before was told before. Rolling windows are half-open: of three outages within 30 days, the third starts less than
30 days after the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from agent.sla.credit.claims import deadline_of
from agent.sla.credit.credit_lines import excused
from agent.sla.credit.credit_values import span
from agent.sla.credit.prices import in_service
from agent.sla.terms.contract import Contract, Window
from agent.sla.terms.incidents import Incident
from agent.sla.terms.remedies import ChronicRule
from agent.sla.terms.settlement import ChronicFinding
from agent.sla.time.calendar import WindowInstants, previous, resolve
from agent.sla.time.spans import Spans
from agent.sla.verdict import Verdict, VerdictState
from agent.sla.words.wording import moment, plural

_RIGHTS: Final = {
    "terminate": "the customer may terminate",
    "reroute": "the customer may ask for another route",
    "extra_credit": "an extra credit is due",
    "escalate": "the matter is escalated",
}


@dataclass(frozen=True, slots=True)
class History:
    """What a rule is tried on: outages and verdicts of the period and of the time before it."""

    contract: Contract
    period: WindowInstants
    incidents: tuple[Incident, ...]
    verdicts: tuple[Verdict, ...]
    as_of_ns: int

    @property
    def end_ns(self) -> int:
        return min(self.period.end_ns, self.as_of_ns)

    def counted(self, incident: Incident) -> Spans:
        """Its time that counts by now."""
        return incident.counted.within(incident.start_ns, self.as_of_ns)


@dataclass(frozen=True, slots=True)
class _Met:
    """What completes a rule: the outages or windows it rests on, and the window its deadline runs from."""

    sentence: str
    window: WindowInstants
    incidents: tuple[Incident, ...] = ()


def findings(history: History) -> tuple[ChronicFinding, ...]:
    """One for each rule of the contract, met or not, in its order."""
    return tuple(_finding(history, rule) for rule in history.contract.chronic)


def _finding(history: History, rule: ChronicRule) -> ChronicFinding:
    tried = list(_tried(history, rule))
    met = [item for item in tried if isinstance(item, _Met)]
    if not met:
        missing = "; ".join(item for item in tried if isinstance(item, str)) or "nothing to look at"
        return ChronicFinding(rule, False, f"{rule.id}: not met: {missing}")
    last = met[-1]
    exercise = None
    if rule.exercise is not None:
        ending = last.incidents[-1:]  # the one that completes the rule
        exercise = deadline_of(history.contract, rule.exercise, last.window, ending, history.as_of_ns)
    sentence = f"{rule.id}: {last.sentence}: {_RIGHTS[rule.right]}"
    if exercise is not None:
        sentence += f", until {exercise}"
    return ChronicFinding(rule, True, sentence, tuple(item.id for item in last.incidents), exercise)


def _tried(history: History, rule: ChronicRule) -> Iterator[_Met | str]:
    """What each condition of the rule gives: what meets it, or why it is not met."""
    if rule.count is not None:
        yield _counted(history, rule, rule.count)
    if rule.aggregate_ns is not None:
        yield _together(history, rule, rule.aggregate_ns)
    if rule.objective is not None and rule.missed_windows is not None:
        yield _missed(history, rule, rule.objective, rule.missed_windows)


def _candidates(history: History, rule: ChronicRule) -> list[Incident]:
    found = [
        item
        for item in history.incidents
        if item.start_ns < history.end_ns
        and not excused(item)
        and in_service(history.contract, replace(history.period, start_ns=item.start_ns, end_ns=item.start_ns + 1))
        and history.counted(item).length_ns >= max(1, rule.minimum_ns)
    ]
    return sorted(found, key=lambda item: (item.start_ns, item.id))


def _span_of(history: History, rule: ChronicRule, end_ns: int) -> WindowInstants:
    """The window of the rule that ends at, or for a calendar unit holds, the instant before end_ns."""
    if rule.calendar is not None:
        return resolve(history.contract, Window(rule.calendar), end_ns - 1)
    if rule.rolling_ns is None:
        return replace(history.period, end_ns=end_ns)
    label = f"{span(rule.rolling_ns)} to {moment(end_ns)}"
    return WindowInstants(end_ns - rule.rolling_ns, end_ns, label, history.contract.time_zone)


def _where(rule: ChronicRule, window: WindowInstants) -> str:
    return f"within {span(rule.rolling_ns)}" if rule.rolling_ns is not None else f"in {window.label}"


def _counted(history: History, rule: ChronicRule, count: int) -> _Met | str:
    """So many outages within the window that ends with the last of them."""
    taken = _candidates(history, rule)
    least = f" of {span(rule.minimum_ns)} or longer" if rule.minimum_ns else ""
    most, best = 0, ""
    met: _Met | None = None
    for place, last in enumerate(taken):
        if last.start_ns < history.period.start_ns:
            continue
        window = _span_of(history, rule, last.start_ns + 1)
        group = [item for item in taken[: place + 1] if item.start_ns >= window.start_ns]
        text = f"{plural(len(group), 'outage')}{least} {_where(rule, window)}"
        if len(group) >= count:
            chosen = tuple(group[-count:])
            listed = ", ".join(f"{item.id} on {moment(item.start_ns)}" for item in chosen)
            met = _Met(f"{text} ({listed})", window, chosen)
        if len(group) > most:
            most, best = len(group), text
    if met is not None:
        return met
    return f"{best}, {count} are needed" if most else f"no outage{least} in {history.period.label}, {count} are needed"


def _together(history: History, rule: ChronicRule, aggregate_ns: int) -> _Met | str:
    """Outages of so long together within some window that ends in the period."""
    taken = _candidates(history, rule)
    down = Spans.of(pair for item in taken for pair in history.counted(item))
    most, window = 0, history.period
    for end in _ends(history, rule, down):
        tried = _span_of(history, rule, end)
        length = down.within(tried.start_ns, end).length_ns
        if length > most:
            most, window = length, tried
    text = f"outages of {span(most)} together {_where(rule, window)}"
    if most < aggregate_ns:
        return f"{text}, {span(aggregate_ns)} are needed"
    group = tuple(item for item in taken if history.counted(item).within(window.start_ns, window.end_ns).length_ns)
    return _Met(f"{text} ({', '.join(item.id for item in group)})", window, group)


def _ends(history: History, rule: ChronicRule, down: Spans) -> list[int]:
    """Instants of the period up to which the time down within a window can be longest: the end of an outage or of the
    period, or where the window's start leaves an outage. At each of them an outage lasts, so it adds to the sum."""
    first, last = history.period.start_ns, history.end_ns
    edges = {last}
    for begin, end in down:
        edges.add(end)
        if rule.rolling_ns is not None:
            edges.add(begin + rule.rolling_ns)
    inside = np.array(sorted(edge for edge in edges if first < edge <= last), np.int64)
    found: list[int] = inside[down.holds(inside - 1)].tolist()
    return found


def _missed(history: History, rule: ChronicRule, objective: str, needed: int) -> _Met | str:
    """So many windows missed in a row, or of the last missed_of, the last of them in the period."""
    by_window = {
        (item.window.start_ns, item.window.end_ns): item for item in history.verdicts if item.objective.id == objective
    }
    verdicts = [by_window[key] for key in sorted(by_window)]
    run, best, met = 0, 0, None
    before: WindowInstants | None = None
    for place, verdict in enumerate(verdicts):
        window = verdict.window
        adjacent = before is not None and before.end_ns == window.start_ns
        before = window
        missed = _is_missed(verdict)
        run = (run if adjacent else 0) + 1 if missed else 0
        if window.end_ns <= history.period.start_ns or window.start_ns >= history.end_ns:
            continue
        if rule.missed_of is None:
            number, text = run, f"{objective} missed in {plural(run, 'window')} in a row"
        else:
            among = _last(verdicts[: place + 1], rule.missed_of)
            number = sum(_is_missed(item) for item in among)
            text = f"{objective} missed in {number} of the last {rule.missed_of} windows"
        best = max(best, number)
        if missed and number >= needed:
            met = _Met(f"{text} to {window.label}", window)
    if met is not None:
        return met
    how = "in a row" if rule.missed_of is None else f"of the last {rule.missed_of}"
    return f"{objective} missed in {plural(best, 'window')} {how}, {needed} are needed"


def _is_missed(verdict: Verdict) -> bool:
    return verdict.state is VerdictState.BREACHED and verdict.remark != "excused"


def _last(verdicts: Sequence[Verdict], count: int) -> list[Verdict]:
    """Those of the last `count` windows; a window of which no verdict is given is not missed."""
    first = verdicts[-1].window
    for _ in range(count - 1):
        first = previous(first)
    return [item for item in verdicts if item.window.start_ns >= first.start_ns]
