"""Sampling adequacy: each concern with its arithmetic, worked beside it, and the schedule it names, tried out."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sla.sampling.adequacy import concerns
from agent.sla.sampling.schedules import asked, counted_share
from agent.sla.terms.contract import (
    Contract,
    Coverage,
    JitterDefinition,
    Measurement,
    Metric,
    Objective,
    Service,
    Statistic,
    StatisticType,
    Window,
)
from agent.sla.terms.remedies import Band, ChronicRule, CreditBasis, CreditTerms, Price
from agent.sla.time.hours import Daily, Hours
from probes.core.model import Circuit, ProbeSetting
from probes.core.units import parse_duration
from tests.fakes.contracts import contract, objective

SECOND, MINUTE, HOUR = 10**9, 60 * 10**9, 3600 * 10**9
SPAN = 10 * SECOND
MONTH, DAY = Window("month"), Window("day")


def probe(kind: str = "icmp", every: int | None = SECOND, schedule: str | None = None, **more: object) -> ProbeSetting:
    parameters = more if every is None else {"every": every, **more}
    return ProbeSetting(kind, kind, parameters, schedule)


def circuit(*probes: ProbeSetting, **more: object) -> Circuit:
    return Circuit("c1", "192.0.2.9", probes=probes, contract="test", **more)  # type: ignore[arg-type]


def said(terms: Contract, *probes: ProbeSetting, span: int = SPAN, **more: object) -> list[str]:
    return [f"{item.severity}: {item.message}" for item in concerns(terms, circuit(*probes, **more), span)]


def uptime(target: str, statistic: Statistic | None = None, **more: object) -> Objective:
    return objective(Metric.AVAILABILITY, target, statistic, **({"window": MONTH} | more))


def test_four_nines_of_a_month_from_one_burst_in_five_minutes() -> None:
    # A month has at least 28 days = 2 419 200 s; 0.01 % of it are 241.92 s = 4 min 1 s.
    # One attempt each 5 min: an interval is twice that, 10 min, and three in a row make an outage: 30 min.
    # Half of 241.92 s over 3 intervals is 40.32 s: dt 30 s, so an attempt each 15 s.
    (found,) = said(contract(uptime("0.9999")), probe("tcp", 5 * MINUTE))
    assert found == (
        "error: 99.99 % of 28 d allows 4 min 1 s down, and the shortest outage that tcp is sure to see lasts 30 min "
        "(n x dt = 3 x 10 min): one outage breaks the promise, and one as long as is allowed is not seen; "
        "`every: 15s` would do"
    )
    assert not said(contract(uptime("0.9999")), probe("tcp", 15 * SECOND))


def test_a_stream_that_is_slow_beside_a_short_day() -> None:
    # 99.9 % of a day: 86.4 s. n x dt = 10 x 10 s = 100 s. Half of 86.4 s over 10 intervals is 4.32 s: dt 2 s,
    # with ten packets in it: one in 200 ms.
    found = said(contract(uptime("0.999", Statistic(StatisticType.AVAILABILITY_MEF, n=10), window=DAY)), probe())
    assert found == [
        "error: 99.9 % of 1 d allows 1 min 26 s down, and the shortest outage that icmp is sure to see lasts "
        "1 min 40 s (n x dt = 10 x 10 s): one outage breaks the promise, and one as long as is allowed is not seen; "
        "`dt: 2s` with `every: 200ms` would do"
    ]


def test_two_outages_in_the_allowance_are_a_warning_and_three_are_none() -> None:
    # 99.9 % of a day: 86.4 s; 5 x 10 s = 50 s fits once, not twice; 4 x 10 s = 40 s fits twice.
    five = uptime("0.999", Statistic(StatisticType.AVAILABILITY_MEF, n=5), window=DAY)
    (found,) = said(contract(five), probe())
    assert found.startswith("warning: 99.9 % of 1 d allows 1 min 26 s down")
    assert "two such outages break the promise" in found
    four = uptime("0.999", Statistic(StatisticType.AVAILABILITY_MEF, n=4), window=DAY)
    assert not said(contract(four), probe())


def test_service_hours_shorten_the_allowance() -> None:
    # Mon-Fri 08-18 are 50 of 168 h. 99.9 % of 28 days x 50/168 = 200 h: 12 min. n x dt = 2 x 5 min = 10 min: a warning.
    hours = Hours((Daily(frozenset(range(5)), 480, 1080),), "UTC")
    assert counted_share(hours) == Fraction(50, 168)
    terms = contract(uptime("0.999", Statistic(StatisticType.AVAILABILITY_MEF, dt_ns=5 * MINUTE, n=2), hours=hours))
    (found,) = said(terms, probe())
    assert found.startswith("warning: 99.9 % of 8 d 8 h allows 12 min down")


def test_a_promise_of_all_time_asks_for_no_pace() -> None:
    assert not said(contract(uptime("1")), probe("tcp", 30 * SECOND))


def test_an_interval_that_lies_across_samples() -> None:
    (found,) = said(contract(uptime("0.99", Statistic(StatisticType.AVAILABILITY_MEF, dt_ns=15 * SECOND))), probe())
    assert found == (
        "error: dt of 15 s is not a multiple of the sample interval of 10 s: `dt: 20s`, or `interval: 15s` in the "
        "configuration, would do"
    )


def test_seconds_of_g_826_need_samples_of_a_second_or_packets() -> None:
    terms = contract(uptime("0.99", Statistic(StatisticType.AVAILABILITY_SECONDS, dt_ns=SECOND, n=10)))
    quick = circuit(probe(every=100 * 10**6))
    (found,) = concerns(terms, quick, SPAN, packets_ns=7 * 24 * HOUR)
    assert found.message == (
        "this availability_seconds takes the packets themselves, which are kept for 7 days, and the window lasts up to "
        "31 d 1 h: `keep_packets: 37d` would do"
    )
    assert not concerns(terms, quick, SPAN, packets_ns=37 * 24 * HOUR)
    assert not concerns(terms, quick, SECOND, packets_ns=HOUR)
    (found,) = concerns(terms, circuit(probe("tcp")), SPAN)
    assert "single attempts" in found.message


@pytest.mark.parametrize(
    ("every", "c", "expected"),
    [
        # 10 packets in 10 s: a tenth each. One lost is 10 %, more than 1 %: not told apart. 1/(1 %) = 100 packets.
        (
            SECOND,
            "0.01",
            "10 packets in 10 s: loss moves in steps of 10 %, and 1 of 10 lost, 10 %, is the first above c = 1 %",
        ),
        # 5 packets: 2 of 5 lost is 40 %, the first above 20 %.
        (
            2 * SECOND,
            "0.2",
            "5 packets in 10 s: loss moves in steps of 20 %, and 2 of 5 lost, 40 %, is the first above c = 20 %",
        ),
        # 5 packets, c 50 %: 3 of 5 is more than half, and that is what half means.
        (2 * SECOND, "0.5", None),
        # 10 packets, c 20 %: 3 of 10.
        (SECOND, "0.2", None),
        # One packet: it is lost or not.
        (
            10 * SECOND,
            "0.1",
            "1 packet in 10 s: loss moves in steps of 100 %, and 1 of 1 lost, 100 %, is the first above c = 10 %",
        ),
    ],
)
def test_packets_in_an_interval_tell_c(every: int, c: str, expected: str | None) -> None:
    found = said(contract(uptime("0.99", Statistic(StatisticType.AVAILABILITY_MEF, c=Fraction(c)))), probe(every=every))
    assert [item.partition("; ")[0].removeprefix("warning: ") for item in found] == ([expected] if expected else [])


def test_an_interval_shorter_than_the_pace_is_empty() -> None:
    terms = contract(uptime("0.99", Statistic(StatisticType.AVAILABILITY_MEF, dt_ns=10 * SECOND)))
    found = said(terms, probe(every=MINUTE))
    assert found[0] == (
        "error: icmp asks once in 1 min, so that most intervals of 10 s hold no packet: `every: 1s`, or `dt: 10m`, "
        "would do"
    )


def test_a_block_with_fewer_packets_than_the_standard_asks_for() -> None:
    # 5 min at one packet a second are 300 packets; 1000 take one in 300 ms, and a round pace below is 200 ms.
    blocks = Statistic(
        StatisticType.AVAILABILITY_BLOCKS, block_ns=5 * MINUTE, c=Fraction(1, 5), least_packets=1000
    )  # fmt: skip
    (found,) = said(contract(uptime("0.99", blocks)), probe())
    assert found == (
        "error: a block of 5 min holds 300 packets of one in 1 s, and the contract wants 1000: no block ever says "
        "anything; `every: 200ms` would do"
    )
    assert not said(contract(uptime("0.99", blocks)), probe(every=200 * 10**6))


def test_outages_shorter_than_the_machine_sees() -> None:
    # n x dt = 6 x 10 s = 60 s; the contract counts from 30 s on. 30 s / 6 = 5 s.
    short = Statistic(StatisticType.AVAILABILITY_OUTAGE, n=6, minimum_ns=30 * SECOND)
    (found,) = said(contract(uptime("0.99", short)), probe())
    assert found == (
        "error: the contract counts outages from 30 s on, and icmp is sure to see them from 1 min on (n x dt = 6 x "
        "10 s); `dt: 5s` would do"
    )


def test_every_clause_that_counts_outages_is_held_against_the_machine() -> None:
    percent = Price("percent", Fraction(1, 10))
    terms = contract(
        uptime("0.9", Statistic(StatisticType.AVAILABILITY_OUTAGE, n=6)),
        objective(Metric.OUTAGE, "3", Statistic(StatisticType.COUNT, minimum_ns=20 * SECOND), window=MONTH),
        credits=(
            CreditTerms("a", CreditBasis.PER_UNIT, minimum_outage_ns=30 * SECOND),
            CreditTerms("b", CreditBasis.PER_EVENT, bands=(Band(Fraction(40 * SECOND), None, percent),)),
            CreditTerms("c", CreditBasis.PER_EVENT, bands=(Band(Fraction(5 * MINUTE), None, percent),)),
        ),
        chronic=(ChronicRule("d", "terminate", count=3, minimum_ns=50 * SECOND),),
    )
    found = concerns(terms, circuit(probe()), SPAN)
    assert [item.path for item in found] == [
        ("objectives", 1, "statistic", "minimum_outage"),
        ("credits", "terms", 0, "minimum_outage"),
        ("credits", "terms", 1, "bands"),
        ("chronic", 0, "minimum"),
    ]


def test_a_tenth_of_a_per_cent_of_loss_from_three_hundred_packets() -> None:
    # One packet in 4 min 48 s: 86 400 s / 288 s = 300 in a day. One of them is 0.33 %, more than 0.1 %.
    # Ten losses at 0.1 % are 10 000 packets: 86 400 s / 10 000 = 8.64 s, so one in 5 s.
    terms = contract(objective(Metric.LOSS, "0.001", window=DAY))
    (found,) = said(terms, probe(every=288 * SECOND))
    assert found == (
        "error: icmp makes 300 packets in 1 d: one of them is 0.33 %, more than the 0.1 % that may be bad, so that a "
        "single one breaks it; `every: 5s` would make 17280"
    )
    # 1000 packets resolve it, coarsely; 10 000 do well.
    assert [item.split(":")[0] for item in said(terms, probe(every=86 * SECOND))] == ["warning"]
    assert not said(terms, probe(every=5 * SECOND))


@pytest.mark.parametrize(
    ("every", "severity"),
    # p99.9 needs 1/(1-p) = 1000 values: 28 days at one in an hour are 672, in 40 min 1008, in 1 min 40 320.
    [(HOUR, "error"), (40 * MINUTE, "warning"), (MINUTE, None)],
)
def test_a_percentile_needs_its_packets(every: int, severity: str | None) -> None:
    p999 = objective(Metric.RTT, "1", Statistic(StatisticType.PERCENTILE, p=Fraction(999, 1000)), window=MONTH)
    found = said(contract(p999), probe(every=every))
    assert [item.split(":")[0] for item in found] == ([severity] if severity else [])
    if severity == "error":
        assert "icmp makes 672 packets in 28 d, and p99.9 needs 1/(1-p) = 1000 to be defined; `every: 2m`" in found[0]


def test_capacity_runs_of_a_window() -> None:
    # The p10 of throughput needs 1/p = 10 runs; one a week gives four in 28 days.
    p10 = objective(Metric.THROUGHPUT, "1", Statistic(StatisticType.PERCENTILE, p=Fraction(1, 10)), window=MONTH)
    (found,) = said(contract(p10), probe("throughput", 7 * 24 * HOUR))
    assert "throughput makes 4 runs in 28 d, and p10 needs 1/p = 10 to be defined" in found
    wanted = objective(Metric.THROUGHPUT, "1", window=MONTH, min_samples=30)
    (found,) = said(contract(wanted), probe("throughput", None, "15 3 * * *"))
    assert found == "error: throughput makes 28 runs in 28 d, and the contract wants 30; `every: 12h` would make 56"


@pytest.mark.parametrize(
    ("schedule", "runs"),
    [("15 3 * * *", 28), ("*/15 * * * *", 2688), ("0 8-17 * * *", 280), ("0 0 * * mon,tue", 8), ("5,35 * * * *", 1344)],
)
def test_a_timetable_is_counted(schedule: str, runs: int) -> None:
    assert asked(probe("throughput", None, schedule), 28 * 24 * HOUR) == runs


def test_bins_must_lie_on_samples_and_hold_packets() -> None:
    bins = Statistic(StatisticType.BIN_MEAN, bin_ns=25 * SECOND)
    assert said(contract(objective(Metric.RTT, "1", bins, window=MONTH)), probe())[0] == (
        "error: a bin of 25 s is not a multiple of the sample interval of 10 s: `bin: 30s` would do"
    )
    bins = Statistic(StatisticType.BIN_MEAN, bin_ns=5 * MINUTE)
    # One packet a minute: five in a bin, a fifth of it each; ten take one in 30 s.
    assert said(contract(objective(Metric.RTT, "1", bins, window=MONTH)), probe(every=MINUTE)) == [
        "warning: a bin of 5 min holds 5 packets of one in 1 min: each is 20 % of it; `every: 30s` would put 10 into it"
    ]
    assert said(contract(objective(Metric.RTT, "1", bins, window=MONTH)), probe(every=10 * MINUTE))[0].startswith(
        "error: icmp asks once in 10 min, so that most bins of 5 min hold nothing"
    )


def test_the_worst_quarter_of_an_hour_of_loss() -> None:
    # 15 min at one packet in 10 s are 90 packets: one is 1.1 %, more than 0.5 %. Ten losses take 2000: one in 450 ms.
    worst = Statistic(StatisticType.MAX_WINDOW, span_ns=15 * MINUTE)
    found = said(contract(objective(Metric.LOSS, "0.005", worst, window=MONTH)), probe(every=10 * SECOND))
    assert found == [
        "error: icmp makes 90 packets in 15 min: one of them is 1.1 %, more than the 0.5 % that may be bad, so that a "
        "single one breaks it; `every: 200ms` would make 4500"
    ]


def test_runs_in_the_wrong_direction_or_below_the_target() -> None:
    terms = contract(objective(Metric.THROUGHPUT, "50000000", window=MONTH))
    found = said(terms, probe("throughput", HOUR, direction="forward", limit=40_000_000))
    assert found == [
        "error: throughput fills the circuit forward only, and the promise is about both directions: `direction: both` "
        "would do",
        "error: throughput is limited to 40 Mbit/s, below the target of 50 Mbit/s: no `limit` would do",
    ]
    minimum = Statistic(StatisticType.MINIMUM, direction="forward")
    forward = objective(Metric.THROUGHPUT, "50000000", minimum, window=MONTH)
    assert not said(contract(forward), probe("throughput", HOUR, direction="forward"))


def test_a_rate_of_the_line_is_more_than_its_payload() -> None:
    # A full packet of 1500 octets carries 1448 of TCP payload and takes 1538 on the wire: 94.1 %. 95 % cannot be seen.
    terms = replace(
        contract(objective(Metric.THROUGHPUT, "0.95", share=True, window=MONTH)), service=Service(layer="L1")
    )
    (found,) = said(terms, probe("throughput", HOUR), committed_rate_bps=100_000_000)
    assert found == (
        "error: the committed rate of 100 Mbit/s counts at L1, and throughput counts TCP payload, of which full frames "
        "carry 1448/1538 = 94.1 %: at most 94.148244 Mbit/s can ever be seen, and 95 Mbit/s is promised; a target of "
        "94 % of committed_rate or less would do"
    )
    ninety = replace(terms, objectives=(objective(Metric.THROUGHPUT, "0.9", share=True, window=MONTH),))
    assert not said(ninety, probe("throughput", HOUR), committed_rate_bps=100_000_000)


def test_pairs_that_no_two_packets_make() -> None:
    pairs = Statistic(
        StatisticType.PERCENTILE, p=Fraction(99, 100), definition=JitterDefinition.IFDV, tau_ns=1500 * 10**6
    )  # fmt: skip
    found = said(contract(objective(Metric.JITTER, "1", pairs, window=MONTH)), probe())
    assert found == ["error: no two packets lie 1.5 s apart where icmp sends one in 1 s: `tau: 2s` would do"]


def test_other_packets_than_those_of_the_contract() -> None:
    terms = replace(
        contract(objective(Metric.LOSS, "0.01", window=MONTH)),
        measurement=Measurement(packet_size=200, dscp=46, timeout_ns=2 * SECOND),
    )
    found = said(terms, probe(timeout=3 * SECOND, size=56))
    assert found == [
        "error: icmp waits 3 s for an answer, and by the contract a packet is lost after 2 s: answers in between count "
        "as arrived; `timeout: 2s` would do",
        "warning: icmp sends 56 octets, the contract is about 200: `size: 200B` would do",
        "warning: icmp sends code point DF (0), the contract is about EF (46): `dscp: 46` would do",
    ]
    assert [item.split(":")[0] for item in said(terms, probe(timeout=SECOND, size=200), dscp=46)] == ["warning"]
    assert not said(terms, probe(timeout=2 * SECOND, size=200), dscp=46)


def test_another_pace_and_another_way_than_the_contracts() -> None:
    loss = objective(Metric.LOSS, "0.01", window=MONTH)
    slower = replace(contract(loss), measurement=Measurement(path="forward", interval_ns=100 * 10**6))
    assert said(slower, probe()) == [
        "warning: icmp sends one packet in 1 s, the contract is about one in 100 ms: `every: 100ms` would do",
        "warning: icmp measures the way there and back together, the contract is about the way forward",
    ]
    assert not said(replace(slower, measurement=Measurement(path="round_trip", interval_ns=SECOND)), probe())


def test_capacity_runs_take_coverage_away_from_the_others() -> None:
    # A run of 2 x 10 s touches up to three samples of 10 s: 30 s of every 5 min, a tenth. 90 % are left, 95 % wanted;
    # 30 s are 5 % of 600 s.
    terms = contract(objective(Metric.LOSS, "0.01", window=MONTH, coverage=Coverage(Fraction(95, 100))))
    load = probe("throughput", 5 * MINUTE, duration=10 * SECOND, direction="both")
    assert said(terms, probe(), load) == [
        "error: throughput loads the circuit 30 s of every 5 min, when nothing else is judged: at most 90.0 % of the "
        "time is covered, and the contract wants 95 %; `every: 10m` or more would do, or a circuit of its own for "
        "throughput"
    ]
    assert not said(terms, probe(), replace(load, parameters={**load.parameters, "every": 10 * MINUTE}))


def test_a_gap_that_the_schedule_makes_itself() -> None:
    gap = Coverage(Fraction(1, 2), longest_gap_ns=6 * HOUR)
    (found,) = said(
        contract(objective(Metric.THROUGHPUT, "1", window=MONTH, coverage=gap)), probe("throughput", 24 * HOUR)
    )
    assert found.startswith("error: throughput asks once in 24 h, and a gap of 6 h is too long")


def test_a_window_that_the_store_forgets() -> None:
    p95 = Statistic(StatisticType.PERCENTILE, p=Fraction(95, 100), definition=JitterDefinition.IPDV)
    quarter = contract(objective(Metric.JITTER, "1", p95, window=Window("quarter")))
    found = concerns(quarter, circuit(probe()), SPAN, packets_ns=35 * 24 * HOUR, samples_ns=400 * 24 * HOUR)
    assert [item.message for item in found] == [
        "this percentile takes the packets themselves, which are kept for 35 days, and the window lasts "
        "up to 92 d 1 h: `keep_packets: 98d` would do"
    ]
    assert not concerns(quarter, circuit(probe()), SPAN, packets_ns=98 * 24 * HOUR, samples_ns=400 * 24 * HOUR)
    year = contract(objective(Metric.LOSS, "0.1", window=Window("year")))
    found = concerns(year, circuit(probe()), SPAN, packets_ns=HOUR, samples_ns=90 * 24 * HOUR)
    assert [item.message for item in found] == [
        "samples are kept for 90 days, and the window lasts up to 366 d: `keep_samples: 371d` would do"
    ]


def test_one_way_is_said_to_be_out_of_reach() -> None:
    delay = objective(Metric.DELAY, "1", Statistic(StatisticType.MEAN, direction="forward"), window=MONTH)
    ours = contract(delay)
    assert said(ours, probe("udp")) == [
        "error: the circuit has no probe of kind stamp or twamp, which stamps packets at both ends"
    ]
    theirs = replace(ours, measurement=Measurement(record="theirs"))
    assert [item.split(":")[0] for item in said(theirs, probe("udp"))] == ["warning"]


def test_a_missing_probe_is_an_error_and_events_need_none() -> None:
    assert said(contract(objective(Metric.JITTER, "1")), probe("tcp")) == [
        "error: the circuit has no probe of kind stamp or twamp or udp or icmp"
    ]
    assert not said(contract(objective(Metric.EVENT, "1", Statistic(StatisticType.LONGEST))), probe("tcp"))


def test_outages_without_a_machine_that_finds_them() -> None:
    found = said(contract(objective(Metric.OUTAGE, "1", Statistic(StatisticType.MTTR))), probe())
    assert found == ["warning: no objective on availability finds outages here: only tickets tell of them"]


def test_a_share_of_an_unknown_rate() -> None:
    terms = contract(objective(Metric.THROUGHPUT, "0.9", share=True, window=MONTH))
    assert said(terms, probe("throughput", HOUR)) == [
        "error: the circuit has no committed_rate to take a share of"
    ]  # fmt: skip
    assert not said(terms, probe("throughput", HOUR), committed_rate_bps=10**8)


@given(
    every_ms=st.sampled_from([100, 200, 500, 1000, 5000, 10_000, 60_000, 300_000]),
    loss=st.sampled_from(["0.1", "0.01", "0.001", "0.0001"]),
    unit=st.sampled_from(["day", "week", "month"]),
)
def test_the_pace_that_is_named_is_enough(every_ms: int, loss: str, unit: str) -> None:
    """Doing as told leaves no error, for loss."""
    terms = contract(objective(Metric.LOSS, loss, window=Window(unit)))  # type: ignore[arg-type]
    found = said(terms, probe(every=every_ms * 10**6))
    for item in found:
        named = re.search(r"`every: (\w+)`", item)
        assert named is not None, item
        assert not said(terms, probe(every=parse_duration(named[1])))


@given(n=st.integers(1, 20), every_s=st.sampled_from([1, 5, 15, 60, 300]), target=st.sampled_from(["0.99", "0.999"]))
def test_the_interval_that_is_named_is_enough(n: int, every_s: int, target: str) -> None:
    """Doing as told leaves no error, for single attempts."""
    terms = contract(uptime(target, Statistic(StatisticType.AVAILABILITY_MEF, n=n), window=Window("week")))
    for item in said(terms, probe("tcp", every_s * SECOND)):
        named = re.search(r"`every: (\w+)`", item)
        assert named is not None, item
        assert not said(terms, probe("tcp", parse_duration(named[1])))


def test_a_slower_pace_than_the_one_named_is_not_enough() -> None:
    """So that the two properties above could fail at all: twenty times the pace that is named does not do."""
    terms = contract(objective(Metric.LOSS, "0.001", window=DAY))
    (found,) = said(terms, probe(every=288 * SECOND))
    named = re.search(r"`every: (\w+)`", found)
    assert named is not None
    assert said(terms, probe(every=20 * parse_duration(named[1])))
