"""Exclusions under a contract's terms, against a second implementation that goes second by second.

The oracle knows no spans: it walks through every second of ten minutes around a midnight in Berlin at which a day, a
week and a month end together, and asks of each second who may take it out.
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sla.exclusion import exclusions
from agent.sla.exclusion.exclusions import Exclusion, ExclusionKind, ExclusionTerms, Ruling, Standing, rule
from agent.sla.judge import judge
from agent.sla.terms.contract import Contract, Metric, Window
from agent.sla.time.calendar import local_time, parse_instant
from agent.sla.time.hours import Daily, Hours
from agent.sla.time.spans import Spans
from agent.sla.time.zones import zone
from tests.fakes.columns import SECOND
from tests.fakes.contracts import CIRCUIT, contract, objective, series

BERLIN = zone("Europe/Berlin").info
MIDNIGHT = parse_instant("2026-05-31T22:00:00Z")
"""Monday 2026-06-01 00:00 in Berlin: a day, a week and a month begin."""
FIRST, LAST = -300, 300
MAINTENANCE, CUSTOMER, MAJEURE = ExclusionKind.MAINTENANCE, ExclusionKind.CUSTOMER, ExclusionKind.FORCE_MAJEURE
EVERY_DAY = frozenset(range(7))
AROUND = Hours((Daily(EVERY_DAY, 1437, 1440), Daily(EVERY_DAY, 0, 2)), "Europe/Berlin", text="23:57-00:02")
UP = objective(Metric.AVAILABILITY, "0.9", window=Window("day"))


def at(second: int) -> int:
    return MIDNIGHT + second * SECOND


def a_ledger(chance: random.Random, size: int) -> tuple[Exclusion, ...]:
    entries = []
    for number in range(size):
        start = chance.randint(FIRST, LAST - 1)
        entries.append(
            Exclusion(
                f"x{number}", at(start), at(min(start + chance.choice((1, 5, 30, 90, 200, 400)), LAST)), "work",
                at(start + chance.choice((-400, -60, -1, 0, 1, 60))),
                chance.choice(("", "", "A. Customer")),
                chance.choice(((), (), ("c1",), ("c1", "c2"), ("c2",))),
                chance.choice((*list(ExclusionKind)[:2], CUSTOMER, MAINTENANCE, MAJEURE)),
                chance.choice((None, at(start - 120), at(start - 61), at(start - 60), at(start - 59), at(start))),
                chance.choice(("", "CHG-1.pdf")),
                proposed=chance.random() < 0.2,
                cancelled_ns=chance.choice((None, None, None, at(start - 10), at(start), at(start + 20))),
                confirmed_role=chance.choice(("", "customer", "provider")),
                confirmed_ns=chance.choice((None, None, at(start + 30))),
                rejected=chance.choice(("", "", "", "", "not agreed")),
                impact=chance.choice(("", "", "OUTAGE", "NO-IMPACT")),
            )
        )  # fmt: skip
    return tuple(entries)


def some_terms(chance: random.Random) -> tuple[ExclusionTerms, ...]:
    def one() -> ExclusionTerms:
        if chance.random() < 0.15:
            return ExclusionTerms(MAINTENANCE, hours=AROUND, standing=True)
        return ExclusionTerms(
            chance.choice((MAINTENANCE, MAINTENANCE, CUSTOMER, MAJEURE)),
            chance.choice((0, 0, 60 * SECOND, 120 * SECOND)),
            chance.choice((None, None, AROUND)),
            chance.choice((None, 0, 40 * SECOND, 100 * SECOND)),
            chance.choice(("day", "week", "month")),
            chance.random() < 0.2,
            chance.choice(("", "", "", "customer")),
            chance.choice(("both", "both", "numerator_only")),
            chance.choice(("excluded_wins", "provider_wins")),
        )

    return tuple(one() for _ in range(chance.randint(1, 4)))


def unit_of(second: int, per: str) -> str:
    """Name of the calendar unit that holds the second, from its local date alone."""
    day = local_time(at(second), BERLIN).date()
    return {"day": f"{day}", "week": f"{day.isocalendar()[:2]}", "month": f"{day:%Y-%m}"}[per]


def in_force(item: Exclusion, now: int) -> bool:
    confirmed = bool(item.confirmed_by) and (item.confirmed_ns is None or item.confirmed_ns <= now)
    return not (
        item.entered_ns > now
        or item.rejected
        or item.impact == "NO-IMPACT"
        or (item.proposed and not confirmed)
        or (item.entered_ns > item.start_ns and not confirmed)
        or ("c1" not in item.circuits and item.circuits)
    )


def qualifies(item: Exclusion, terms: ExclusionTerms, now: int) -> bool:
    confirmed = bool(item.confirmed_by) and (item.confirmed_ns is None or item.confirmed_ns <= now)
    return (
        item.kind is terms.kind
        and (not terms.notice_ns or (item.notified_ns is not None
                                     and item.start_ns - item.notified_ns >= terms.notice_ns))
        and bool(item.evidence or not terms.evidence)
        and (not terms.approval or (confirmed and item.confirmed_role == terms.approval))
    )  # fmt: skip


def naive(signed: Contract, now: int, fault: set[int]) -> tuple[set[int], set[int], Counter[str]]:
    """Seconds that are out, seconds that count as up, and seconds by the entry that takes them out."""
    out: set[int] = set()
    up: set[int] = set()
    by: Counter[str] = Counter()
    ledger = sorted(signed.exclusions, key=lambda item: (item.start_ns, item.end_ns, item.id))
    for terms in signed.exclusion_terms:
        window = Exclusion("window", at(-180), at(120), "", 0)
        spent: Counter[str] = Counter()
        granted = set()
        for second in range(FIRST, LAST):
            if second in out or second in up or (terms.overlap == "provider_wins" and second in fault):
                continue
            local = local_time(at(second), BERLIN)
            minute = local.hour * 60 + local.minute
            if terms.hours is not None and not (1437 <= minute < 1440 or 0 <= minute < 2):
                continue
            holders = [
                item
                for item in ledger
                if item.start_ns <= at(second) < item.end_ns
                and not (item.cancelled_ns is not None and item.cancelled_ns <= min(now, at(second)))
                and in_force(item, now)
                and qualifies(item, terms, now)
            ]
            if terms.standing:
                holders = sorted([*holders, window], key=lambda item: (item.start_ns, item.end_ns, item.id))
            if not holders:
                continue
            unit = unit_of(second, terms.per)
            if terms.allowance_ns is None or spent[unit] * SECOND < terms.allowance_ns:
                spent[unit] += 1
                granted.add(second)
                by[holders[0].id] += 1
        (out if terms.effect == "both" else up).update(granted)
    return out, up, by


def seconds(time: Spans) -> set[int]:
    assert all(start % SECOND == 0 and end % SECOND == 0 for start, end in time)
    return {
        second
        for start, end in time
        for second in range((start - MIDNIGHT) // SECOND, (end - MIDNIGHT) // SECOND)
    }  # fmt: skip


def a_case(seed: int) -> tuple[Contract, int, int, int, set[int]]:
    """Contract, first and last second of the window, now, seconds of the provider's fault."""
    chance = random.Random(seed)
    signed = contract(
        zone="Europe/Berlin",
        exclusions=a_ledger(chance, chance.randint(0, 9)),
        exclusion_terms=some_terms(chance),
    )
    start = chance.randint(FIRST, LAST - 2)
    end = chance.randint(start + 1, LAST)
    bad = chance.randint(FIRST, LAST)
    return signed, start, end, at(chance.randint(-350, 700)), set(range(bad, min(bad + 60, LAST)))


def ruled(signed: Contract, start: int, end: int, now: int, fault: set[int]) -> Ruling:
    known = Spans.of((at(second), at(second + 1)) for second in fault)
    return rule(signed, "c1", start_ns=at(start), end_ns=at(end), now_ns=now, fault=known)


def differences(seeds: Sequence[int]) -> Iterator[int]:
    """Seeds for which the two implementations disagree."""
    for seed in seeds:
        signed, start, end, now, fault = a_case(seed)
        ruling = ruled(signed, start, end, now, fault)
        out, up, _ = naive(signed, now, fault)
        window = set(range(start, end))
        same = seconds(ruling.time) & window == out & window and seconds(ruling.up) & window == up & window
        if not same:
            yield seed


def test_the_time_taken_out_is_that_of_a_walk_second_by_second() -> None:
    assert list(differences(range(700))) == []


def test_each_entry_takes_out_what_the_walk_gives_it() -> None:
    for seed in range(300):
        signed, _, _, now, fault = a_case(seed)
        ruling = ruled(signed, FIRST, LAST, now, fault)
        _, _, by = naive(signed, now, fault)
        found: Counter[str] = Counter()
        for item in ruling.entries:
            found[item.exclusion.id.partition("-")[0]] += item.applied_ns // SECOND
        assert +found == by, seed


def test_the_walk_catches_an_allowance_that_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exclusions, "_allowed", lambda *given: given[-1])
    assert next(differences(range(3000)), None) is not None


def test_the_walk_catches_terms_that_ask_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exclusions, "_short_of", lambda *_: None)
    assert next(differences(range(3000)), None) is not None


cases = st.integers(0, 10**9).map(a_case)


@settings(max_examples=150, deadline=None)
@given(cases)
def test_no_instant_is_taken_out_twice_and_the_entries_make_up_the_whole(case) -> None:
    ruling = ruled(*case)
    assert (ruling.time & ruling.up).length_ns == 0
    together = ruling.time | ruling.up
    assert sum(item.applied.length_ns for item in ruling.entries) == together.length_ns
    assert ((together - Spans.of(pair for item in ruling.entries for pair in item.applied)).length_ns) == 0
    for item in ruling.entries:
        assert (item.applied - Spans.of([(item.exclusion.start_ns, item.exclusion.end_ns)])).length_ns == 0
        assert item.applied_ns == item.applied.within(at(case[1]), at(case[2])).length_ns
        assert item.sentence.startswith(item.standing.value)
        if item.applied_ns:
            assert item.standing is Standing.APPLIED


@settings(max_examples=100, deadline=None)
@given(cases)
def test_a_part_of_a_window_has_the_entries_that_touch_it(case) -> None:
    signed, start, end, now, fault = case
    part, whole = ruled(*case), ruled(signed, FIRST, LAST, now, fault).within(at(start), at(end))
    assert [(item.exclusion.id, item.applied_ns) for item in part.entries] == [
        (item.exclusion.id, item.applied_ns) for item in whole.entries
    ]
    window = (at(start), at(end))
    assert list(part.time.within(*window)) == list(whole.time.within(*window))


@settings(max_examples=100, deadline=None)
@given(cases, st.randoms(use_true_random=False))
def test_the_order_of_the_ledger_is_of_no_account(case, chance: random.Random) -> None:
    signed, *rest = case
    shuffled = list(signed.exclusions)
    chance.shuffle(shuffled)
    one, two = ruled(signed, *rest), ruled(replace(signed, exclusions=tuple(shuffled)), *rest)
    assert list(one.time) == list(two.time)
    assert list(one.up) == list(two.up)
    assert one.evidence() == two.evidence()


@settings(max_examples=100, deadline=None)
@given(cases)
def test_without_terms_the_time_out_is_the_union_of_what_is_in_force(case) -> None:
    signed, start, end, now, _ = case
    ruling = ruled(replace(signed, exclusion_terms=()), start, end, now, set())
    holding = [item for item in signed.exclusions if in_force(item, now)]
    expected = {
        second
        for second in range(start, end)
        for item in holding
        if item.start_ns <= at(second) < item.end_ns
        and not (item.cancelled_ns is not None and item.cancelled_ns <= min(now, at(second)))
    }
    assert seconds(ruling.time) & set(range(start, end)) == expected
    assert not len(ruling.up)


@settings(max_examples=60, deadline=None)
@given(cases, st.text(".H", min_size=60, max_size=60))
def test_what_nobody_confirmed_never_changes_a_verdict(case, text: str) -> None:
    """A ledger of proposals and of late entries without a name judges as no ledger at all."""
    signed, *_ = case
    nameless = tuple(
        replace(item, confirmed_by="", proposed=item.proposed or not item.retroactive) for item in signed.exclusions
    )
    promises = (UP, objective(Metric.LOSS, "0.1"), objective(Metric.RTT, 12_000_000))
    verdicts = []
    for ledger in (nameless, ()):
        asked = tuple(item for item in signed.exclusion_terms if not item.standing)
        terms = replace(signed, exclusions=ledger, objectives=promises, exclusion_terms=asked)
        samples = {"icmp": series(at(FIRST), text)}
        verdicts.append(judge(terms, CIRCUIT, samples, now_ns=at(400), measured_since_ns=at(FIRST)))
    for with_ledger, without in zip(*verdicts, strict=True):
        for figure in ("state", "value", "best", "worst", "coverage", "window_coverage", "estimated", "target"):
            assert getattr(with_ledger, figure) == getattr(without, figure)
