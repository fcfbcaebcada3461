"""Whose the losses are: against a far end played out packet by packet, cut into intervals anyhow."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.core.arrays import ABSENT
from probes.metrics.direction import Split, Tally, split_losses

BACK, THERE, BOTH, TWICE = "backward", "forward", "answered", "twice"
Fates = list[str]


def played(fates: Fates, first_number: int = 7) -> tuple[list[int], list[int]]:
    """Number of the reply that came (ABSENT if none) and further numbers taken, of each packet; a far end in order."""
    number, numbers, extra = first_number, [], []
    for fate in fates:
        numbers.append(number if fate in (BOTH, TWICE) else ABSENT)
        extra.append(int(fate == TWICE))
        number += {THERE: 0, BACK: 1, BOTH: 1, TWICE: 2}[fate]
    return numbers, extra


def tally(streams: list[tuple[list[int], list[int]]]) -> Tally:
    columns: list[list[int]] = [[], [], [], []]
    for stream, (numbers, extra) in enumerate(streams):
        columns[0] += [stream] * len(numbers)
        columns[1] += numbers
        columns[2] += [int(number == ABSENT) for number in numbers]
        columns[3] += extra
    return Tally(*(np.array(column, np.int64) for column in columns))


def one(fates: Fates, carry: Tally | None = None, ahead: Fates = ()) -> Split:  # type: ignore[assignment]
    """One stream: this interval, then what is known of the next."""
    whole = played([*fates, *ahead])
    mine, later = ([column[: len(fates)] for column in whole], [column[len(fates) :] for column in whole])
    return split_losses(carry or Tally.none(), tally([(mine[0], mine[1])]), tally([(later[0], later[1])]), 1)


def test_by_hand() -> None:
    """Numbers 7, 9, 10: one answer in between was lost on its way back; the other packet lost there never arrived."""
    found = one([BOTH, BACK, THERE, BOTH, BOTH])
    assert found.backward.tolist() == [1]
    assert found.carry.number.tolist() == [10]
    assert one([BOTH, THERE, THERE, BOTH]).backward.tolist() == [0]
    assert one([BOTH, BACK, BACK, BOTH]).backward.tolist() == [2]


def test_what_no_reply_brackets_is_not_known() -> None:
    assert one([BOTH, BOTH, BACK]).backward.tolist() == [ABSENT]
    assert one([BACK, BOTH, BOTH]).backward.tolist() == [ABSENT]
    assert one([BACK, BACK]).backward.tolist() == [ABSENT]
    assert one([BOTH, BOTH]).backward.tolist() == [0]
    assert one([BOTH, BOTH, BACK], ahead=[BOTH]).backward.tolist() == [1]
    assert one([BOTH, BOTH, BACK], ahead=[THERE]).backward.tolist() == [ABSENT]


def test_copies_of_a_request_take_numbers_and_are_no_loss() -> None:
    assert one([BOTH, TWICE, THERE, BOTH]).backward.tolist() == [0]


def test_requests_that_overtook_one_another() -> None:
    """Sent 0 1 2 3, numbered 7 9 8 10: nothing is lost. With the answer to 1 lost, 9 is missing behind the anchor 8; as
    11 and 12 show that requests overtake one another, the loss before that is put down to it.
    """
    numbers = [7, 9, 8, 10]
    found = split_losses(Tally.none(), tally([(numbers, [0] * 4)]), Tally.none(), 1)
    assert found.backward.tolist() == [0]
    found = split_losses(Tally.none(), tally([([7, ABSENT, 8, 10, 12, 11, 13], [0] * 7)]), Tally.none(), 1)
    assert found.backward.tolist() == [1]


def test_a_far_end_that_begins_anew_is_not_known_once() -> None:
    carry = split_losses(Tally.none(), tally([played([BOTH] * 90, 1000)]), Tally.none(), 1).carry
    numbers, extra = played([BOTH] * 5 + [BACK] + [BOTH] * 3, 0)
    first = split_losses(carry, tally([(numbers, extra)]), Tally.none(), 1)
    assert first.backward.tolist() == [ABSENT]
    numbers, extra = played([BOTH] * 5 + [BACK] + [BOTH] * 3, numbers[-1] + 1)
    assert split_losses(first.carry, tally([(numbers, extra)]), Tally.none(), 1).backward.tolist() == [1]


FATES = st.lists(st.sampled_from([BOTH, BOTH, BOTH, THERE, BACK, TWICE]), max_size=30)


@given(st.lists(FATES, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_cut_anyhow_the_parts_add_up_to_the_truth(streams: list[Fates], rng: random.Random) -> None:
    """Each interval sees some of the next; the streams end and begin with an answer, so that nothing stays open."""
    streams = [[BOTH, *fates, BOTH] for fates in streams]
    whole = [played(fates) for fates in streams]
    cuts = sorted(rng.randrange(33) for _ in range(3))
    carry, total, lost = Tally.none(), np.zeros(len(streams), np.int64), np.zeros(len(streams), np.int64)
    for begin, end in zip([0, *cuts], [*cuts, 99], strict=True):
        mine = tally([(numbers[begin:end], extra[begin:end]) for numbers, extra in whole])
        later = tally([(numbers[end:], extra[end:]) for numbers, extra in whole])
        found = split_losses(carry, mine, later, len(streams))
        carry = found.carry
        assert (found.backward != ABSENT).all()
        total += found.backward
        lost += np.bincount(mine.stream, weights=mine.lost, minlength=len(streams)).astype(np.int64)
        assert (found.backward >= 0).all()
    assert total.tolist() == [fates.count(BACK) for fates in streams]
    assert lost.tolist() == [fates.count(BACK) + fates.count(THERE) for fates in streams]


def test_a_seeded_fault_is_caught() -> None:
    """A split that puts all losses down to the way there fails the test by hand."""
    assert one([BOTH, BACK, THERE, BOTH, BOTH]).backward.tolist() != [0]


@pytest.mark.parametrize("seed", range(40))
def test_shuffled_requests_add_up_nearly(seed: int) -> None:
    """One request in twenty overtaken by up to three others, losses of 10 % either way: within two of 400."""
    rng = random.Random(seed)
    fates = [BOTH, BOTH, *(rng.choice([BOTH] * 8 + [THERE, BACK]) for _ in range(400)), *[BOTH] * 8]
    arriving = sorted(
        (index + (3.5 if rng.random() < 0.05 else 0.0), index) for index, fate in enumerate(fates) if fate != THERE
    )
    numbers = [ABSENT] * len(fates)
    for number, (_, index) in enumerate(arriving):
        numbers[index] = number if fates[index] == BOTH else ABSENT
    found = split_losses(Tally.none(), tally([(numbers, [0] * len(numbers))]), Tally.none(), 1)
    assert abs(int(found.backward[0]) - fates.count(BACK)) <= 2
