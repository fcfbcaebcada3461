"""The E-model against exact fractions, and by hand."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.metrics.voice import CODINGS, Codec, best_mos, sample_mos, sample_rating
from tests.probes.metrics import naive

MS = 1_000_000


def one(value: int) -> np.ndarray:
    return np.array([value], np.int64)


def test_by_hand() -> None:
    """G.711 at 0 ms and no loss: d = 60 ms, R = 93.2 - 1.44 = 91.76; with 1 % loss 95/(1 + 4.3) = 17.9246 less."""
    assert sample_rating(one(0), one(0), one(100), "g711").tolist() == [917_600]
    assert sample_rating(one(0), one(1), one(100), "g711").tolist() == [738_354]
    assert sample_rating(one(5), one(100), one(100), "g711").tolist() == [0]
    assert best_mos("g711") > best_mos("g729a")


@given(
    st.integers(0, 2_000 * MS), st.integers(0, 1000), st.integers(1, 1000), st.sampled_from(sorted(CODINGS))
)  # fmt: skip
def test_rating_is_the_formula_rounded_down(one_way_ns: int, lost: int, sent: int, codec: Codec) -> None:
    lost = min(lost, sent)
    found = int(sample_rating(one(one_way_ns), one(lost), one(sent), codec)[0])
    exact = naive.rating(one_way_ns, lost, sent, codec) if lost < sent else Fraction(0)
    exact = min(max(exact, Fraction(0)), Fraction(100))
    assert Fraction(found, 10**4) <= exact
    assert exact - Fraction(found, 10**4) <= Fraction(2, 10**4)


@pytest.mark.parametrize("codec", sorted(CODINGS))
def test_mos_and_rating_go_together(codec: Codec) -> None:
    """More delay and more loss never make either better."""
    delay = np.arange(0, 900 * MS, 10 * MS)
    same, sent = np.zeros(len(delay), np.int64), np.full(len(delay), 1000, np.int64)
    for values in (
        (delay, same, sent),
        (same, np.arange(len(delay), dtype=np.int64) * 11, sent),
    ):
        assert (np.diff(sample_rating(*values, codec)) <= 0).all()
        assert (np.diff(sample_mos(*values, codec)) <= 0).all()
