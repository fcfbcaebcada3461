"""Excluded time: each instant once, however many entries hold it; entries made too late only by name.

The oracle counts second by second, and judges by loops what is left of a day once the excluded intervals are gone.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.sla.exclusion.exclusions import Exclusion, Standing, rule
from agent.sla.judge import judge
from agent.sla.terms.contract import Metric, Statistic, StatisticType, Window
from agent.sla.time.calendar import parse_instant
from agent.sla.verdict import Verdict, VerdictState
from tests.fakes.columns import SECOND, SPAN
from tests.fakes.contracts import CIRCUIT, contract, objective, series

T0 = parse_instant("2026-11-03T00:00:00Z")
BEFORE, LATER = T0 - 86400 * SECOND, T0 + 86400 * SECOND
NOW = T0 + 2 * 86400 * SECOND
LAST = 120


def entry(start: int, end: int, entered_ns: int = BEFORE, confirmed: str = "", *circuits: str) -> Exclusion:
    """Seconds from T0."""
    name = f"{start}-{end}"
    return Exclusion(name, T0 + start * SECOND, T0 + end * SECOND, "maintenance", entered_ns, confirmed, circuits)


entries = st.lists(
    st.builds(
        lambda start, length, late, name: entry(start, start + length, T0 + late * SECOND, name),
        st.integers(-20, LAST), st.integers(1, 60), st.integers(-40, LAST + 60), st.sampled_from(["", "A. Customer"]),
    ),
    max_size=12,
)  # fmt: skip


@given(entries, st.integers(0, LAST + 60))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_the_time_excluded_is_counted_second_by_second_and_once(
    tallied: Callable[[str, int], None], ledger: list[Exclusion], now: int
) -> None:
    now_ns = T0 + now * SECOND
    ruling = rule(contract(exclusions=tuple(ledger)), "c1", start_ns=T0, end_ns=T0 + LAST * SECOND, now_ns=now_ns)
    expected = 0
    for second in range(LAST):
        at = T0 + second * SECOND
        holding = [item for item in ledger if item.start_ns <= at < item.end_ns]
        expected += any(
            item.entered_ns <= now_ns and (item.entered_ns <= item.start_ns or item.confirmed_by) for item in holding
        )
    assert ruling.time.within(T0, T0 + LAST * SECOND).length_ns == expected * SECOND
    touching = [item for item in ledger if item.start_ns < T0 + LAST * SECOND and item.end_ns > T0]
    assert sorted(item.exclusion.id for item in ruling.entries) == sorted(item.id for item in touching), (
        "all are listed"
    )
    tallied("maintenance entered twice, overlapping, afterwards: seconds as a loop counts them", LAST)


def test_an_entry_made_after_its_start_is_marked_and_holds_only_when_confirmed_by_name() -> None:
    late = entry(0, 60, T0 + 1)
    assert late.retroactive
    assert not entry(0, 60, T0).retroactive, "at its very start is in time"
    (open_entry,) = rule(contract(exclusions=(late,)), "c1", start_ns=T0, end_ns=NOW, now_ns=NOW).entries
    assert open_entry.standing is Standing.UNCONFIRMED
    agreed = contract(exclusions=(replace(late, confirmed_by="J. Smith, ACME"),))
    ruling = rule(agreed, "c1", start_ns=T0, end_ns=NOW, now_ns=NOW)
    assert ruling.entries[0].standing is Standing.APPLIED
    assert ruling.evidence()[0]["retroactive"] is True
    assert ruling.evidence()[0]["confirmed_by"] == "J. Smith, ACME"


def test_a_verdict_as_of_an_earlier_instant_knows_nothing_of_later_entries() -> None:
    signed = contract(exclusions=(entry(0, 60, LATER, "J. Smith"),))
    ruling = rule(signed, "c1", start_ns=T0, end_ns=NOW, now_ns=LATER - 1)
    assert [item.standing for item in ruling.entries] == [Standing.NOT_ENTERED]
    assert not len(ruling.time)


def test_an_entry_for_some_circuits_is_for_no_other() -> None:
    ledger = (entry(0, 60, BEFORE, "", "c1", "c2"), entry(30, 90, BEFORE, "", "c3"))
    assert [
        item.exclusion.id
        for item in rule(contract(exclusions=ledger), "c1", start_ns=T0, end_ns=NOW, now_ns=NOW).entries
    ] == ["0-60"]


# --- judged ----------------------------------------------------------------------------------------------------------

LENGTH = 90
ROLLING = Window(None, LENGTH * SPAN)
UP = objective(Metric.AVAILABILITY, "0.9", window=ROLLING)
LOSS = objective(Metric.LOSS, "0.1", window=ROLLING)
DELAY = objective(Metric.RTT, 12_000_000, window=ROLLING)
CLEAN = objective(Metric.LOSS, "0.1", window=ROLLING, id="clean", only_available_time=True)


def judged(text: str, *ledger: Exclusion, promises=(UP, LOSS, DELAY)) -> tuple[Verdict, ...]:
    now = T0 + LENGTH * SPAN + 30 * SECOND
    signed = contract(*promises, exclusions=tuple(ledger), exclusions_digest="d1")
    return judge(signed, CIRCUIT, {"icmp": series(T0 - 6 * SPAN, "." * 6 + text)}, now_ns=now, measured_since_ns=BEFORE)


def naive_states(text: str, n: int = 3) -> list[bool]:
    """The machine by the letter; after the end nothing is known, and nothing is assumed to be high."""
    up, states = True, []
    for k in range(len(text)):
        run = text[k : k + n]
        if up and run == "H" * n:
            up = False
        elif not up and run == "." * n:
            up = True
        states.append(up)
    return states


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.tuples(st.integers(-50, 900), st.integers(1, 300)), min_size=1, max_size=4))
def test_what_is_left_of_a_day_is_judged_as_loops_judge_it(seed: int, away: list[tuple[int, int]]) -> None:
    chance = random.Random(seed)
    text = ""
    while len(text) < LENGTH - 4:
        text += chance.choice(".H") * chance.randint(1, 12)
    text = text[: LENGTH - 4] + "...."  # the last ones are decided
    ledger = [replace(entry(start, start + length), id=f"x{number}") for number, (start, length) in enumerate(away)]
    gone = {second // 10 for start, length in away for second in range(start, start + length)}
    left = [k for k in range(LENGTH) if k not in gone]
    up, loss, delay = judged(text, *ledger)
    states = naive_states(text)
    assert up.evidence["intervals"] == len(left)
    assert up.evidence["intervals_excluded"] == LENGTH - len(left)
    if left:
        assert up.value == Fraction(sum(states[k] for k in left), len(left))
        assert up.best == up.value == up.worst
        lost = sum(text[k] == "H" for k in left)
        assert loss.value == Fraction(lost, len(left))
        assert (loss.evidence["sent"], loss.evidence["unknown_at_most"]) == (10 * len(left), 0)
        assert loss.coverage == 1
        assert delay.evidence["packets"] == 10 * (len(left) - lost)
    assert up.evidence["excluded_ns"] == loss.evidence["excluded_ns"] == (LENGTH - len(left)) * SPAN


def test_no_credit_twice_for_maintenance_entered_twice() -> None:
    text = "." * 30 + "H" * 30 + "." * 30
    once = judged(text, entry(300, 600))
    twice = judged(text, entry(300, 600), replace(entry(310, 590), id="again"), replace(entry(400, 600), id="more"))
    for one, two in zip(once, twice, strict=True):
        assert (one.state, one.value, one.coverage) == (two.state, two.value, two.coverage)
        assert one.evidence["excluded_ns"] == two.evidence["excluded_ns"] == 30 * SPAN
    assert once[0].state is VerdictState.MET
    assert once[0].evidence["outages"] == ()
    assert "no outage, 1 min allowed; 5 min excluded: maintenance (300-600)" in once[0].sentence
    assert once[0].evidence["exclusions_sha256"] == "d1"


def test_a_retroactive_entry_changes_nothing_and_is_named() -> None:
    text = "." * 30 + "H" * 30 + "." * 30
    late = entry(300, 600, T0 + 301 * SECOND)
    plain, beside = judged(text), judged(text, late)
    for one, two in zip(plain, beside, strict=True):
        assert (one.state, one.value) == (two.state, two.value)
    assert beside[0].state is VerdictState.BREACHED
    assert beside[0].sentence.endswith(
        "1 exclusion not applied: 300-600 (entered after its start and confirmed by nobody)"
    )
    confirmed = judged(text, replace(late, confirmed_by="J. Smith"))
    assert confirmed[0].state is VerdictState.MET
    assert confirmed[0].evidence["exclusions"][0]["retroactive"] is True
    assert "5 min excluded: maintenance (300-600, entered after its start)" in confirmed[0].sentence


def test_an_outage_that_outlasts_the_maintenance_counts_from_its_end() -> None:
    up, _, _ = judged("." * 30 + "H" * 40 + "." * 20, entry(300, 600))
    assert up.evidence["intervals_down"] == 10
    assert up.evidence["outages"][0]["down_in_window_ns"] == 10 * SPAN
    assert up.evidence["outages"][0]["duration_ns"] == 40 * SPAN


def test_all_of_it_excluded_is_no_verdict() -> None:
    for verdict in judged("H" * LENGTH, entry(-100, 2000)):
        assert verdict.state is VerdictState.INCONCLUSIVE
        assert verdict.value is None


def test_maintenance_to_come_takes_its_time_out_of_the_budget() -> None:
    promise = objective(Metric.AVAILABILITY, "0.9", Statistic(StatisticType.AVAILABILITY_MEF))
    ahead = Exclusion("tonight", T0 + 43200 * SECOND, LATER, "maintenance", BEFORE)
    data = {"icmp": series(T0, "." * 360)}
    for ledger, budget in (((), 8640), ((ahead,), 4320)):
        signed = contract(promise, exclusions=ledger)
        (found,) = judge(signed, CIRCUIT, data, now_ns=T0 + 361 * SPAN, measured_since_ns=T0)
        assert found.evidence["budget_ns"] == budget * SECOND
        assert found.state is VerdictState.ON_TRACK


def test_available_time_and_excluded_time_are_both_left_out() -> None:
    text = "." * 20 + "H" * 10 + "." * 10 + "H" * 10 + "." * 20 + "H." * 10
    (_, clean) = judged(text, entry(200, 300), promises=(UP, CLEAN))
    assert clean.evidence["sent"] == 10 * (LENGTH - 20)
    assert clean.evidence["lost"] == 100
    assert (clean.evidence["samples_excluded"], clean.evidence["samples_excluded_unavailable"]) == (10, 10)
