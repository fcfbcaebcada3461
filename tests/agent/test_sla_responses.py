"""Event objectives: against a count by hand, event by event; open windows; what cannot be evaluated."""

import random
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sla import responses
from agent.sla.case import Moment, UnusableError
from agent.sla.responses import evaluate_events, of_circuit
from agent.sla.terms.contract import EventTerms, Metric, Objective, Statistic, StatisticType, Target, Window
from agent.sla.terms.events import Event
from agent.sla.terms.incidents import Pause
from agent.sla.time import calendar
from agent.sla.time.hours import Daily, Hours
from agent.sla.verdict import NO_EVENTS, VerdictState, decide
from tests.fakes import clocks_on_the_wall as wall
from tests.fakes.clocks_on_the_wall import HOUR, MINUTE

OCTOBER = calendar.parse("2026-10", "Europe/Berlin")
OFFICE = Hours((Daily(frozenset(range(5)), 480, 1080),), "Europe/Berlin")


def promise(kind: StatisticType = StatisticType.RATIO_WITHIN, target: str = "0.9", **more: object) -> Objective:
    terms = {name: more.pop(name) for name in ("hours", "pauses", "pause_cap_ns", "abandoned") if name in more}
    statistic = Statistic(kind, limit=Fraction(HOUR), **more)  # type: ignore[arg-type]
    wanted = Target(Fraction(target), target)
    return Objective("o", Metric.EVENT, statistic, wanted, Window("month"), events=EventTerms("case", **terms))  # type: ignore[arg-type]


def random_events(dice: random.Random, count: int) -> list[Event]:
    found = []
    for number in range(count):
        start = OCTOBER.start_ns - 10 * HOUR + dice.randrange(OCTOBER.length_ns + 20 * HOUR)
        stamps = {"start": start}
        if dice.random() < 0.8:
            stamps["end"] = start + dice.choice((HOUR, dice.randrange(72 * HOUR)))
        pauses = tuple(
            Pause(start + begin, None if dice.random() < 0.2 else start + begin + dice.randrange(1, 30 * HOUR), reason)
            for reason in ("customer", "lunch")
            if dice.random() < 0.3 and (begin := dice.randrange(20 * HOUR)) >= 0
        )
        gone = start + dice.randrange(5 * HOUR) if dice.random() < 0.2 else None
        found.append(Event(f"e{number}", "case", stamps, 0, pauses=pauses, abandoned_ns=gone))
    return found


def by_hand(event: Event, terms: EventTerms, now: int) -> tuple[int, str]:
    """Elapsed time minute by minute, and what became of the event: over, open or abandoned."""
    start = event.stamps["start"]
    ends = [(event.stamps["end"], "over")] if event.stamps.get("end", now + 1) <= now else []
    if event.abandoned_ns is not None and event.abandoned_ns <= now:
        ends.append((event.abandoned_ns, "abandoned"))
    stop, fate = min(ends, default=(now, "open"))
    if len(ends) == 2 and ends[0][0] == ends[1][0]:
        fate = "over"
    edges = {start, stop, *range(start // MINUTE * MINUTE + MINUTE, stop, MINUTE)}
    for pause in event.pauses:
        edges |= {edge for edge in (pause.start_ns, pause.end_ns) if edge is not None and start < edge < stop}
    total = paused = 0
    ordered = sorted(edges)
    for begin, end in pairwise(ordered):
        if terms.hours is None or wall.counts(terms.hours, begin):
            stands = any(
                item.reason in terms.pauses and item.start_ns <= begin and (item.end_ns is None or begin < item.end_ns)
                for item in event.pauses
            )
            total += end - begin
            paused += (end - begin) * stands
    return total - min(paused, paused if terms.pause_cap_ns is None else terms.pause_cap_ns), fate


def differs(seeds: range) -> str:
    for seed in seeds:
        dice = random.Random(seed)
        chosen = promise(
            hours=dice.choice((None, OFFICE)), pauses=dice.choice(((), ("customer",), ("customer", "lunch"))),
            pause_cap_ns=dice.choice((None, HOUR)), abandoned=dice.choice(("excluded", "late_if_over", "late")),
        )  # fmt: skip
        terms = chosen.events
        assert terms is not None
        events = random_events(dice, 12)
        now = OCTOBER.end_ns + dice.choice((0, HOUR, 40 * HOUR))
        within = late = unsure = 0
        for event in events:
            if not OCTOBER.start_ns <= event.stamps["start"] < OCTOBER.end_ns:
                continue
            elapsed, fate = by_hand(event, terms, now)
            over = elapsed > HOUR
            if fate == "abandoned":
                late += terms.abandoned == "late" or (terms.abandoned == "late_if_over" and over)
            elif over:
                late += 1
            elif fate == "open":
                unsure += 1
            else:
                within += 1
        count = within + late + unsure
        estimate = evaluate_events(chosen, events, OCTOBER, Moment(now, 0)).findings.estimate
        expected = (
            (Fraction(within, within + late) if within + late else None,
             Fraction(within + unsure, count), Fraction(within, count)) if count else (1, 1, 1)
        )  # fmt: skip
        if (estimate.value, estimate.best, estimate.worst) != expected:
            return f"{seed}: {estimate} instead of {expected}"
    return ""


def test_shares_equal_a_count_by_hand() -> None:
    assert not differs(range(25))


@pytest.mark.parametrize(
    "bug",
    [
        ("worked", lambda _hours, start, end: max(0, end - start)),
        ("_left_out", lambda *_: False),
    ],
    ids=["hours ignored", "abandoned ones not left out"],
)
def test_the_count_by_hand_catches(bug: tuple[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responses, *bug)
    assert differs(range(25))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([
    StatisticType.RATIO_WITHIN, StatisticType.RATIO_OVER, StatisticType.MEAN, StatisticType.PERCENTILE,
    StatisticType.LONGEST, StatisticType.COUNT, StatisticType.TOTAL,
]))  # fmt: skip
def test_the_order_of_events_changes_nothing_and_bounds_hold_the_end(seed: int, kind: StatisticType) -> None:
    """What is open now is closed in the end: the value then lies within the bounds told before."""
    dice = random.Random(seed)
    events = [replace(event, pauses=(), abandoned_ns=None) for event in random_events(dice, 10)]
    chosen = promise(kind, "0", p=Fraction(9, 10) if kind is StatisticType.PERCENTILE else None, hours=OFFICE)
    now = OCTOBER.end_ns
    found = evaluate_events(chosen, events, OCTOBER, Moment(now, 0))
    dice.shuffle(events)
    assert evaluate_events(chosen, events, OCTOBER, Moment(now, 0)) == found
    closed = [
        replace(event, stamps={**event.stamps, "end": max(now + 1, now + dice.randrange(90 * HOUR))})
        if event.stamps.get("end", now + 1) > now
        else event
        for event in events
    ]
    final = evaluate_events(chosen, closed, OCTOBER, Moment(now + 200 * HOUR, 0)).findings.estimate.value
    bounds = found.findings.estimate
    if final is None or found.findings.remark == NO_EVENTS:
        return
    low, high = (bounds.worst, bounds.best) if chosen.comparison == "min" else (bounds.best, bounds.worst)
    assert low is None or low <= final
    assert high is None or final <= high


def test_an_open_window_is_on_track_until_it_cannot_be_kept() -> None:
    middle = OCTOBER.start_ns + 240 * HOUR
    start = middle - 50 * HOUR
    late = Event("a", "case", {"start": start, "end": start + 2 * HOUR}, 0)
    good = Event("b", "case", {"start": start, "end": start + MINUTE}, 0)

    def state(target: str, *events: Event) -> VerdictState:
        chosen = promise(target=target)
        found = evaluate_events(chosen, events, OCTOBER, Moment(middle, 0)).findings
        return decide(chosen, chosen.target.value, found, closed=False).state

    assert state("0.9", good) is VerdictState.ON_TRACK
    assert state("0.9", good, late) is VerdictState.AT_RISK  # many in time may still follow
    assert state("1", good, late) is VerdictState.BREACHED  # one late is one too many, whatever follows
    assert state("0.9") is VerdictState.ON_TRACK
    assert state("0.9", Event("c", "case", {"start": middle - MINUTE}, 0)) is VerdictState.UNMEASURABLE


def test_what_is_said_and_shown() -> None:
    start = OCTOBER.start_ns + HOUR
    events = [
        Event("a", "case", {"start": start, "end": start + 2 * HOUR}, 0),
        Event("b", "case", {"end": start}, 0),
        Event("c", "other", {"start": start}, 0),
    ]
    found = evaluate_events(promise(), events, OCTOBER, Moment(OCTOBER.end_ns, 0))
    assert found.details == "1 of 1 case late"
    assert found.evidence["events_without_start"] == 1
    assert found.evidence["late"] == ({"id": "a", "start_ns": start, "elapsed_ns": 2 * HOUR, "open": False},)
    assert found.findings.budget is not None
    assert (found.findings.budget.allowed, found.findings.budget.used) == (0, 1)  # a tenth of one event is none
    nothing = evaluate_events(promise(), events[2:], OCTOBER, Moment(OCTOBER.end_ns, 0))
    assert nothing.details == "no case, no case has ever been imported"
    assert nothing.findings.remark == NO_EVENTS


def test_what_cannot_be_evaluated() -> None:
    moment = Moment(OCTOBER.end_ns, 0)
    with pytest.raises(UnusableError, match="which events"):
        evaluate_events(replace(promise(), events=None), (), OCTOBER, moment)
    without = replace(promise(), statistic=Statistic(StatisticType.RATIO_WITHIN))
    with pytest.raises(UnusableError, match="within which time"):
        evaluate_events(without, (), OCTOBER, moment)
    start = OCTOBER.start_ns + HOUR
    odd = replace(promise(), statistic=Statistic(StatisticType.MTBF))
    with pytest.raises(UnusableError, match="no mtbf of events"):
        evaluate_events(odd, [Event("a", "case", {"start": start}, 0)], OCTOBER, moment)


def test_events_of_a_circuit() -> None:
    one, both, every = (
        Event("a", "case", {}, 0, ("C-1",)),
        Event("b", "case", {}, 0, ("C-1", "C-2")),
        Event("c", "case", {}, 0),
    )
    assert of_circuit((one, both, every), "C-2") == [both, every]
