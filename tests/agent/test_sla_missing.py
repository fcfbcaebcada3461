"""What was not measured decides nothing: packets not sent, slow attempts, a clock set back, the newest samples."""

from dataclasses import replace
from fractions import Fraction

import pytest

from agent.sla.downtime import availability
from agent.sla.judge import judge
from agent.sla.samples import feeds
from agent.sla.samples.causes import Circumstances, Gap
from agent.sla.terms.contract import Metric, Objective, Window
from agent.sla.time.calendar import WindowInstants, parse, parse_instant
from agent.sla.verdict import Verdict, VerdictState
from probes.core import catalog
from probes.core.errors import ValueFormatError
from probes.core.model import Circuit, ProbeSetting, SampleState
from tests.fakes.columns import SECOND, SPAN, columns, packets
from tests.fakes.contracts import CIRCUIT, MS, contract, objective, series

START = parse_instant("2026-10-05T00:00:00Z")
DAY: WindowInstants = parse("2026-10-05", "UTC")
AFTER = START + 2 * 86400 * SECOND
ALL_DAY = range(8640)
UP = objective(Metric.AVAILABILITY, "0.99")
LOSS = objective(Metric.LOSS, "0.01")
DELAY = objective(Metric.RTT, 20 * MS)
TCP = ProbeSetting("tcp", "tcp", {"every": 5 * SECOND})


def judged(rows: list[dict[str, object]], *promises: Objective, circuit: Circuit = CIRCUIT) -> tuple[Verdict, ...]:
    probe = circuit.probes[0]
    data = {probe.name: columns(rows, probe=probe.name, kind=probe.kind)}
    since = START - 86400 * SECOND
    return judge(contract(*promises), circuit, data, now_ns=AFTER, window=DAY, measured_since_ns=since)


def stream(number: int, sent: int, lost: int, not_sent: int) -> dict[str, object]:
    answered = {"rtt_count": sent - lost, "rtt_sum_ns": (sent - lost) * MS} if sent > lost else {}
    return packets(START + number * SPAN, sent, lost, late=0, not_sent=not_sent, **answered)


@pytest.mark.parametrize("lost_of_a_hundred", [0, 4])
def test_a_stream_of_which_a_tenth_was_sent_decides_nothing(lost_of_a_hundred: int) -> None:
    rows = [stream(k, 1, int(k % 100 < lost_of_a_hundred), 9) for k in ALL_DAY]
    for verdict in judged(rows, UP, LOSS, DELAY):
        assert verdict.state is VerdictState.INCONCLUSIVE, verdict.sentence
        assert verdict.coverage <= Fraction(1, 10)


def test_packets_not_sent_widen_the_bounds_of_loss_exactly() -> None:
    rows = [stream(k, 9, 0, 1) for k in ALL_DAY]
    up, loss, delay = judged(rows, UP, LOSS, DELAY)
    assert (loss.value, loss.best, loss.worst) == (0, 0, Fraction(1, 10))
    assert loss.coverage == Fraction(9, 10), "exactly the minimum: enough"
    assert (loss.state, loss.estimated) == (VerdictState.MET, True)
    assert loss.evidence["unknown_at_most"] == 8640
    assert (delay.state, delay.estimated) == (VerdictState.MET, True)
    assert (up.state, up.estimated, up.coverage) == (VerdictState.MET, False, 1), "1 of 10 cannot make it high loss"


def test_an_interval_is_decided_when_the_packets_not_sent_cannot_change_it() -> None:
    # sent, lost, not sent -> decided, high
    cases = [
        ((10, 10, 0), (True, True)), ((10, 0, 10), (True, False)), ((10, 0, 11), (False, False)),
        ((10, 10, 9), (True, True)), ((10, 10, 10), (False, False)), ((1, 1, 9), (False, False)),
    ]  # fmt: skip
    data = columns([stream(k, *counts) for k, (counts, _) in enumerate(cases)])
    bins = availability.bin_samples(data, SPAN, START, START + len(cases) * SPAN)
    half = Fraction(1, 2)
    found = list(zip(bins.decided(half).tolist(), bins.high(half).tolist(), strict=True))
    assert found == [expected for _, expected in cases]


def test_one_attempt_slower_than_the_pace_changes_no_other() -> None:
    rows = [
        packets(START + k * 5 * SECOND + 1, 1, 0, late=0, span_ns=2 * MS, rtt_count=1, rtt_sum_ns=MS)
        for k in range(17280)
    ]
    rows[777] |= {"span_ns": 12 * SECOND, "state": SampleState.IMPAIRED.code}
    for verdict in judged(rows, UP, LOSS, DELAY, circuit=replace(CIRCUIT, probes=(TCP,))):
        assert verdict.state is VerdictState.MET, verdict.sentence
        assert verdict.coverage > Fraction(999, 1000)


def test_kinds_are_told_apart_as_the_catalogue_has_them() -> None:
    for name in catalog.names():
        stream_kind = isinstance(catalog.load(name), catalog.StreamKind)
        assert feeds.makes_attempts(ProbeSetting(name, name, {})) is not stream_kind, name


def test_time_told_twice_by_a_clock_set_back_is_neither_up_nor_down() -> None:
    """At 02:00 the clock is set back to 01:00, and the circuit is down until it is 02:00 again."""
    first = [packets(START + k * SPAN, 10, 0, late=0) for k in range(720)]
    again = [packets(START + k * SPAN + 1, 10, 10, late=0) for k in range(360, 720)]
    after = [packets(START + k * SPAN, 10, 0, late=0) for k in range(720, 8640)]
    (up,) = judged(sorted([*first, *again, *after], key=lambda row: int(str(row["start_ns"]))), UP)
    assert (up.evidence["intervals_unknown"], up.evidence["intervals_down"]) == (360, 0)
    assert up.estimated


def test_parts_of_an_interval_that_overlap_do_not_make_a_whole() -> None:
    parts = [packets(0, 6, 0, span_ns=6 * SECOND), packets(3 * SECOND, 6, 0, span_ns=6 * SECOND)]
    bins = availability.bin_samples(columns([*parts, packets(SPAN, 10, 0)]), SPAN, 0, 2 * SPAN)
    assert bins.known.tolist() == [False, True]


def test_parts_before_and_after_a_restart_count_once_and_leave_the_interval_unknown() -> None:
    parts = [packets(START, 4, 0, late=0, span_ns=4 * SECOND)]
    parts += [packets(START + 6 * SECOND, 4, 1, late=0, span_ns=4 * SECOND)]
    up, loss = judged([*parts, *(packets(START + k * SPAN, 10, 0, late=0) for k in range(1, 8640))], UP, LOSS)
    assert up.evidence["intervals_unknown"] == 1
    assert (loss.evidence["sent"], loss.evidence["lost"], loss.evidence["unknown_at_most"]) == (86398, 1, 3)


@pytest.mark.parametrize("length", [60, 600, 3600])
def test_a_rolling_window_holds_samples_that_have_settled(length: int) -> None:
    """The newest sample there can be was over 3 s ago; a window up to now would never be measured whole."""
    promises = [replace(item, window=Window(None, length * SECOND)) for item in (UP, LOSS)]
    now = START + 86400 * SECOND + 7 * SECOND
    for verdict in judge(
        contract(*promises), CIRCUIT, {"icmp": series(START, "." * 8639)}, now_ns=now, measured_since_ns=START
    ):
        assert (verdict.state, verdict.estimated, verdict.coverage) == (VerdictState.MET, False, 1), verdict.sentence


@pytest.mark.parametrize("text", ["1500-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z"])
def test_instants_beyond_64_bits_of_nanoseconds_are_refused(text: str) -> None:
    with pytest.raises(ValueFormatError, match="out of reach"):
        parse_instant(text)
    with pytest.raises(ValueFormatError, match="out of reach"):
        parse(text[:4], "UTC")


def test_a_hole_from_a_time_of_more_packets_held_as_many() -> None:
    """Until noon 100 packets a sample, then, as configured now, 10: the hole before noon may have lost 1000."""
    before = [packets(START + k * SPAN, 100, 0, late=0) for k in range(4320) if not 100 <= k < 110]
    after = [packets(START + k * SPAN, 10, 0, late=0) for k in range(4320, 8640)]
    (loss,) = judged([*before, *after], LOSS)
    assert loss.evidence["unknown_at_most"] == 1001
    assert loss.worst == Fraction(1001, 431000 + 43200 + 1001)


def test_the_time_not_measured_is_told_by_its_reasons() -> None:
    """The agent stopped for 1 h 50 min, then the disk was full for 20 min; two minutes more are missing."""
    begin, lost = START + 6 * 3600 * SECOND, range(2160, 2160 + 780)
    rows = [stream(k, 10, 0, 0) for k in ALL_DAY if k not in lost and not 6000 <= k < 6006]
    rows = [row | {"state": SampleState.IMPAIRED.code} if 7000 * SPAN <= row["start_ns"] - START < 7006 * SPAN else row
            for row in rows]  # fmt: skip
    gaps = (
        Gap(begin, begin + 6600 * SECOND, "stopped"),
        Gap(begin + 6600 * SECOND, begin + 7800 * SECOND, "disk full"),
    )
    (loss,) = judge(
        contract(LOSS), CIRCUIT, {"icmp": columns(rows)}, now_ns=AFTER, window=DAY,
        measured_since_ns=START - 86400 * SECOND, known=Circumstances(gaps),
    )  # fmt: skip
    assert "2 h 12 min not measured: agent stopped 1 h 50 min, disk full 20 min, host in trouble or " in loss.sentence
    assert loss.sentence.count("without a record 1 min") == 1
    told = {str(item["reason"]): item["ns"] for item in loss.evidence["not_measured"]}
    assert sum(told.values()) == 7800 * SECOND + 120 * SECOND
    assert told["without a record"] == told["host in trouble or loading the circuit"] == 60 * SECOND
