"""Chronic rules against a window that is slid over the period hour by hour."""

import random
from dataclasses import replace

import pytest

from agent.sla.credit import chronic
from agent.sla.credit.chronic import History, findings
from agent.sla.terms.incidents import Incident
from agent.sla.terms.remedies import ChronicRule
from agent.sla.time import calendar
from tests.fakes.contracts import HOUR, contract
from tests.fakes.credit_note import outage
from tests.faults.counts import count

NOVEMBER = calendar.parse("2026-11", "UTC")
OCTOBER = calendar.parse("2026-10", "UTC")


def outages(dice: random.Random) -> tuple[Incident, ...]:
    """From October on, each at the same time of the day, so that many are whole days apart."""
    found, at = [], OCTOBER.start_ns
    for number in range(20):
        at += dice.randrange(1, 8) * 24 * HOUR
        length = dice.choice((1, 2, 3, 12, 23)) * HOUR
        counted = [(at, at + length)] if dice.random() < 0.8 else [(at, at + HOUR)]
        found.append(outage(f"i{number}", at, at + length, counted))
    return tuple(found)


def rule_of(dice: random.Random) -> ChronicRule:
    rule = ChronicRule("r", "terminate", minimum_ns=dice.choice((0, HOUR, 3 * HOUR)))
    if dice.random() < 0.5:
        rule = replace(rule, count=dice.randrange(1, 6))
    else:
        rule = replace(rule, aggregate_ns=dice.choice((2, 5, 13, 24, 40)) * HOUR)
    if dice.random() < 0.7:
        return replace(rule, rolling_ns=dice.choice((48, 240, 720)) * HOUR)
    return replace(rule, calendar=dice.choice(("week", "month", "quarter")))


def slid(rule: ChronicRule, incidents: tuple[Incident, ...], as_of_ns: int) -> bool:
    """Whether some hour of the period completes the rule."""
    last = min(NOVEMBER.end_ns, as_of_ns)
    taken = [item for item in incidents if item.start_ns < last]
    hours = {
        item.id: [hour for begin, end in item.counted for hour in range(begin, min(end, as_of_ns), HOUR)]
        for item in taken
    }
    taken = [item for item in taken if len(hours[item.id]) * HOUR >= max(1, rule.minimum_ns)]
    for hour in range(NOVEMBER.start_ns, last, HOUR):  # the hour that completes it
        if rule.rolling_ns is not None:
            begin = hour + HOUR - rule.rolling_ns
        else:
            assert rule.calendar is not None
            begin = calendar.calendar_window(rule.calendar, calendar.local_time(hour, calendar.zone_named("UTC").info).date(), "UTC").start_ns  # noqa: E501  # fmt: skip
        if rule.count is not None:
            starts = [item.start_ns for item in taken if begin <= item.start_ns <= hour]
            if hour in starts and len(starts) >= rule.count:
                return True
        else:
            down = [one for item in taken for one in hours[item.id] if begin <= one <= hour]
            if hour in down and len(down) * HOUR >= (rule.aggregate_ns or 0):
                return True
    return False


def differs(tries: int) -> str:
    for number in range(tries):
        dice = random.Random(f"chronic/{number}")
        rule, incidents = rule_of(dice), outages(dice)
        as_of = dice.choice((NOVEMBER.end_ns + HOUR, NOVEMBER.start_ns + dice.randrange(700) * HOUR))
        (found,) = findings(History(contract(chronic=(rule,)), NOVEMBER, incidents, (), as_of))
        if found.met != slid(rule, incidents, as_of):
            return f"{number}: {found}"
    return ""


@pytest.mark.timeout(3600)
def test_rules_equal_a_window_slid_over_the_period() -> None:
    assert not differs(count("CHRONIC", 150, 5000))


def test_the_slid_window_catches_one_that_is_closed_at_both_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    right = chronic._span_of

    def wide(history: History, rule: ChronicRule, end_ns: int) -> calendar.WindowInstants:
        found = right(history, rule, end_ns)
        return replace(found, start_ns=found.start_ns - HOUR) if rule.rolling_ns else found

    monkeypatch.setattr(chronic, "_span_of", wide)
    assert differs(400)


def test_the_slid_window_catches_a_rule_that_was_complete_before(monkeypatch: pytest.MonkeyPatch) -> None:
    earlier = calendar.parse("2026-Q4", "UTC").start_ns

    def from_october(signed: object, _period: object, *rest: object) -> object:
        return original(signed, replace(NOVEMBER, start_ns=earlier), *rest)

    original = History
    monkeypatch.setitem(globals(), "History", from_october)
    assert differs(150)


def test_nothing_to_look_at() -> None:
    (found,) = findings(History(contract(chronic=(ChronicRule("r", "escalate"),)), NOVEMBER, (), (), NOVEMBER.end_ns))
    assert not found.met
    assert found.sentence == "r: not met: nothing to look at"
