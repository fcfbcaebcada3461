"""The MEF 10.4 machine: hand-worked sequences, a plain loop as oracle, all completions as oracle for the bounds.

In the texts below `.` is a low interval, `H` a high one, `?` an unknown one; in the states `1` is up, `0` is down and
`?` is either.
"""

import itertools
import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from agent.sla.downtime import availability
from agent.sla.samples.measured import Pace
from probes.core.model import SampleState
from tests.fakes.columns import SECOND, SPAN, columns, packets

HALF = Fraction(1, 2)
TRIES = Pace(SPAN, attempts=True)


def flags(text: str) -> tuple[np.ndarray, np.ndarray]:
    high = np.array([letter == "H" for letter in text], np.bool_)
    known = np.array([letter != "?" for letter in text], np.bool_)
    return high, known


def shown(best: np.ndarray, worst: np.ndarray) -> str:
    return "".join("?" if b != w else "1" if b else "0" for b, w in zip(best, worst, strict=True))


def plain_loop(high: list[bool], n: int, *, initially_up: bool = True) -> list[int]:
    """The definition, letter by letter. A run that the sequence cuts off is not a run of n."""
    states: list[int] = []
    for k in range(len(high)):
        ahead = high[k : k + n]
        all_high = len(ahead) == n and all(ahead)
        all_low = len(ahead) == n and not any(ahead)
        before = states[-1] if states else int(initially_up)
        if k == 0 and initially_up:
            states.append(0 if all_high else 1)
        elif before == 1 and all_high:
            states.append(0)
        elif before == 0 and all_low:
            states.append(1)
        else:
            states.append(before)
    return states


@pytest.mark.parametrize(
    ("n", "sequence", "expected", "why"),
    [
        (3, "......", "111111", "nothing is high: up, and the last interval is up whatever follows"),
        (3, "..H...", "111111", "one high interval is no run of 3"),
        (3, "..HH..", "111111", "two are none either"),
        (3, "..HHH...", "11000111", "three are: down from the FIRST of them; three low ones: up from the first"),
        (3, "HHH...", "000111", "A(0) = 0 because H(0..2) are all true"),
        (3, "HH....", "111111", "A(0) = 1: H(2) is false"),
        (3, "HHHH....", "00001111", "a longer run ends where the low run begins"),
        (3, "HHH..H...", "000000111", "two low intervals do not end it: down until the first of three"),
        (3, "HHH.H.H.H...", "000000000111", "flapping below n keeps the state it came from"),
        (3, ".H.H.H.H.", "111111111", "the same flapping from up stays up"),
        (3, "...HHH", "111000", "the run of 3 is complete at the end: down is certain"),
        (3, "....HH", "1111??", "two high at the end: down if the next is high, else up"),
        (3, ".....H", "11111?", "one high at the end: down if the next two are high"),
        (3, "HHH.", "000?", "down, one low at the end: up from here if two more are low"),
        (3, "HHH..", "000??", "the same with two"),
        (3, "HHH.H", "00000", "the low one was alone and the last one is high: still down"),
        (3, "....H.", "111111", "the high one was alone and the last is low: up"),
        (1, ".H.H", "1010", "n = 1: every interval is its own run"),
        (1, "?", "?", "n = 1, unknown"),
        (2, ".HH.H..", "1000011", "n = 2"),
        (2, ".H", "1?", "n = 2: the last one needs one more"),
        (10, "HHHHHHHHH.", "1111111111", "nine of ten (G.826 wants ten)"),
        (10, "HHHHHHHHHH..........", "00000000001111111111", "ten high seconds are all unavailable, G.826"),
        (3, "..?...", "111111", "one unknown interval cannot be a run of 3"),
        (3, "..??..", "111111", "nor can two"),
        (3, "..???...", "11???111", "three unknown intervals may have been an outage"),
        (3, "..H??...", "11???111", "one high and two unknown may have been"),
        (3, "..HH?...", "11???111", "if the unknown one was high, all three were down"),
        (3, "..HHH???...", "11000???111", "down, then unknown: either it came back at once or at the first known low"),
        (3, "HHH?...", "000?111", "the unknown one belongs to the outage or to the recovery"),
        (3, "???", "???", "nothing known"),
        (3, "??", "??", "nothing known; what follows might be high"),
        (3, "??....", "111111", "at most two could have been high: never a run"),
        (3, "HHH???HHH...", "000???000111", "an outage, unknown, an outage"),
        (3, "HHH?HHH...", "0000000111", "one unknown interval inside an outage cannot have ended it"),
        (3, "HHH??HHH...", "00000000111", "nor can two"),
        (3, "...H?H...", "111???111", "high, unknown, high: a run if the middle one was high"),
        (3, "", "", "no interval, no state"),
        (4, "HHHH...H....", "000000001111", "n = 4: three low ones do not count"),
    ],
)  # fmt: skip
def test_hand_worked_sequences(n: int, sequence: str, expected: str, why: str) -> None:
    high, known = flags(sequence)
    assert shown(*availability.bounds(high, known, n)) == expected, why


@pytest.mark.parametrize(
    ("initial", "sequence", "expected"),
    [
        (True, ".H.HH.", "111111"),
        (False, ".H.HH.", "00000?"),  # the state is inherited: down until three low ones; the last could be the first
        (None, ".H.HH.", "??????"),  # not known before, and nothing here decides
        (None, ".H...H", "??111?"),  # three low ones decide; the high one at the end may begin a run
        (None, "HHH.", "000?"),
        (False, "...", "111"),
        (False, "HH", "00"),
    ],
)
def test_the_state_before_is_inherited(initial: bool | None, sequence: str, expected: str) -> None:
    high, known = flags(sequence)
    assert shown(*availability.bounds(high, known, 3, initial=initial)) == expected


def test_the_vectorised_machine_is_the_plain_loop_over_100000_sequences() -> None:
    chance = random.Random(20261101)
    for _ in range(100_000):
        n = chance.randint(1, 5)
        stay = chance.choice((0.5, 0.7, 0.9))
        high = [chance.random() < 0.5]
        for _ in range(chance.randint(0, 24)):
            high.append(high[-1] if chance.random() < stay else not high[-1])
        up = chance.random() < 0.7
        got = availability.states(np.array(high, np.bool_), n, initially_up=up)
        assert got.astype(int).tolist() == plain_loop(high, n, initially_up=up), (high, n, up)


@settings(max_examples=400, deadline=None)
@given(st.text("..HH?", min_size=1, max_size=12), st.integers(1, 4), st.sampled_from([True, False, None]))
def test_bounds_are_exactly_the_extremes_of_all_completions(sequence: str, n: int, initial: bool | None) -> None:
    high, known = flags(sequence)
    padded = [*sequence, *("?" * (n - 1))]
    holes = [index for index, letter in enumerate(padded) if letter == "?"]
    assume(len(holes) <= 9)
    every: list[list[int]] = []
    for start in (True, False) if initial is None else (initial,):
        for choice in itertools.product((False, True), repeat=len(holes)):
            full = [letter == "H" for letter in padded]
            for index, value in zip(holes, choice, strict=True):
                full[index] = value
            every.append(plain_loop(full, n, initially_up=start)[: len(sequence)])
    best, worst = availability.bounds(high, known, n, initial=initial)
    assert best.astype(int).tolist() == [max(column) for column in zip(*every, strict=True)]
    assert worst.astype(int).tolist() == [min(column) for column in zip(*every, strict=True)]


@settings(max_examples=300, deadline=None)
@given(st.text("..HH?", min_size=1, max_size=60), st.integers(1, 6), st.randoms())
def test_knowing_less_never_narrows_the_bounds(sequence: str, n: int, chance: random.Random) -> None:
    less = "".join("?" if chance.random() < 0.3 else letter for letter in sequence)
    best, worst = availability.bounds(*flags(sequence), n)
    best_less, worst_less = availability.bounds(*flags(less), n)
    assert (best_less >= best).all()
    assert (worst_less <= worst).all()


def test_loss_equal_to_c_is_not_high_and_one_packet_more_is() -> None:
    rows = [packets(0, 10, 5), packets(SPAN, 10, 6), packets(2 * SPAN, 3, 1), packets(3 * SPAN, 3, 2)]
    bins = availability.bin_samples(columns(rows), SPAN, 0, 4 * SPAN)
    assert bins.high(HALF).tolist() == [False, True, False, True]
    # C = 1/3: 1 of 3 is exactly C, not above it
    assert bins.high(Fraction(1, 3)).tolist() == [True, True, False, True]


def test_samples_are_summed_into_longer_intervals_before_the_ratio_is_taken() -> None:
    # 30 s intervals of 10 s samples: 10 + 2 + 3 lost of 30 is one half, not high, though the first sample lost all.
    rows = [packets(0, 10, 10), packets(SPAN, 10, 2), packets(2 * SPAN, 10, 3)]
    rows += [packets(3 * SPAN, 10, 10), packets(4 * SPAN, 10, 3), packets(5 * SPAN, 10, 3)]
    bins = availability.bin_samples(columns(rows), 3 * SPAN, 0, 6 * SPAN)
    assert (bins.sent.tolist(), bins.lost.tolist()) == ([30, 30], [15, 16])
    assert bins.high(HALF).tolist() == [False, True]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"start_ns": SPAN, "state": SampleState.IMPAIRED.code, "sent": 10, "lost": 10}, "the host was in trouble"),
        ({"start_ns": SPAN, "state": SampleState.INVALID.code}, "nothing was measured"),
        ({"start_ns": SPAN, "state": SampleState.OK.code, "sent": 0, "lost": 0}, "nothing was sent"),
        ({"start_ns": SPAN, "state": SampleState.NO_REPLY.code, "sent": 4, "lost": 4, "span_ns": 4 * SECOND}, "a part"),
        ({"start_ns": SPAN + 5 * SECOND, "sent": 10, "lost": 10}, "reaches over the edge of two intervals"),
    ],
)
def test_what_was_not_measured_is_unknown_never_down(row: dict[str, object], why: str) -> None:
    bins = availability.bin_samples(columns([packets(0, 10, 0), row]), SPAN, 0, 3 * SPAN)
    assert bins.known.tolist() == [True, False, False], why
    assert bins.high(HALF).tolist() == [False, False, False]


@pytest.mark.parametrize("state", [SampleState.NO_REPLY, SampleState.REJECTED])
def test_no_reply_and_rejected_are_measured_loss(state: SampleState) -> None:
    row = {"start_ns": 0, "state": state.code, "sent": 10, "lost": 10}
    bins = availability.bin_samples(columns([row]), SPAN, 0, SPAN)
    assert bins.known.tolist() == [True]
    assert bins.high(HALF).tolist() == [True]


def test_single_attempts_belong_to_the_interval_they_start_in() -> None:
    rows = [packets(9_999_999_999, 1, 0, span_ns=5_000_000), packets(25 * SECOND, 1, 1, span_ns=3 * SECOND)]
    bins = availability.bin_samples(columns(rows, probe="tcp", kind="tcp"), SPAN, 0, 4 * SPAN, pace=TRIES)
    assert bins.known.tolist() == [True, False, True, False]
    assert bins.lost.tolist() == [0, 0, 1, 0]


def assessed(sequence: str, first: int, last: int, n: int = 3) -> availability.Availability:
    rows = []
    for index, letter in enumerate(sequence):
        if letter != "?":
            rows.append(packets(index * SPAN, 10, 10 if letter == "H" else 0))
    bins = availability.bin_samples(columns(rows), SPAN, 0, len(sequence) * SPAN)
    return availability.assess(bins, n, HALF, first * SPAN, last * SPAN)


def test_outages_have_start_end_and_the_part_inside_the_window() -> None:
    #           0123456789012345
    sequence = "..HHHH.....HHHHH"
    whole = assessed(sequence, 0, 16)
    assert [(o.start_ns // SPAN, o.end_ns // SPAN, o.down_ns // SPAN, o.ongoing) for o in whole.outages] == [
        (2, 6, 4, False),
        (11, 16, 5, True),
    ]
    assert (whole.total, whole.up, whole.down, whole.unknown) == (16, 7, 9, 0)
    # The window begins inside the first outage and ends inside the second: each owner gets its part.
    part = assessed(sequence, 4, 13)
    assert [(o.start_ns // SPAN, o.end_ns // SPAN, o.down_ns // SPAN, o.ongoing) for o in part.outages] == [
        (2, 6, 2, False),
        (11, 13, 2, True),
    ]
    assert (part.total, part.up, part.down) == (9, 5, 4)


def test_the_look_ahead_reads_beyond_the_end_of_the_window() -> None:
    # The window ends after the first high interval: the two that follow it outside decide that it is down.
    assert assessed("....HHH...", 0, 5).down == 1
    assert assessed("....HH....", 0, 5).down == 0
    assert assessed("....H", 0, 5).unknown == 1


def test_only_intervals_wholly_inside_the_window_count() -> None:
    bins = availability.bin_samples(columns([packets(k * SPAN, 10, 0) for k in range(6)]), SPAN, 0, 6 * SPAN)
    got = availability.assess(bins, 3, HALF, 5 * SECOND, 45 * SECOND)
    assert (got.start_ns, got.total) == (SPAN, 3)


@settings(max_examples=150, deadline=None)
@given(st.text("..HH?", min_size=2, max_size=40), st.data())
def test_splitting_a_period_at_any_point_adds_up(sequence: str, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(sequence)))
    whole, left, right = (assessed(sequence, *edge) for edge in ((0, len(sequence)), (0, cut), (cut, len(sequence))))
    assert left.up + right.up == whole.up
    assert left.down + right.down == whole.down
    assert left.unknown + right.unknown == whole.unknown
    assert sum(o.down_ns for o in left.outages + right.outages) == sum(o.down_ns for o in whole.outages)


def test_a_month_of_ten_second_intervals_finds_the_outages_that_were_put_in() -> None:
    size = 31 * 8640
    high = np.zeros(size, np.bool_)
    chance = random.Random(7)
    expected = 0
    for start in range(1000, size - 1000, 5000):
        length = chance.choice((1, 2, 3, 4, 60))
        high[start : start + length] = True
        expected += length if length >= 3 else 0
    best, worst = availability.bounds(high, np.ones(size, np.bool_), 3)
    assert int((~worst).sum()) == int((~best).sum()) == expected
