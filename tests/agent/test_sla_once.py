"""What is worked out once from samples: the same as worked out each time, whoever asks, bounded, never written to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sla.judge import judge
from agent.sla.samples.columns import CHOICES, SampleColumns
from agent.sla.samples.histograms import Histograms
from agent.sla.terms.contract import Metric, Objective, Statistic, StatisticType
from probes.metrics.histogram import build
from tests.fakes.contracts import CIRCUIT, HOUR, MS, contract, objective, series

START = 1_790_035_200 * 10**9
TEXTS = st.text(alphabet="....H59x?", min_size=30, max_size=150).filter(lambda text: text.strip("?") != "")


def percentile(p: int) -> Statistic:
    return Statistic(StatisticType.PERCENTILE, p=Fraction(p, 100))


OBJECTIVES = (
    objective(Metric.AVAILABILITY, "0.999"),
    objective(Metric.RTT, 25 * MS, id="mean"),
    objective(Metric.RTT, 25 * MS, id="mean-up", only_available_time=True),
    objective(Metric.LOSS, "0.01"),
    objective(Metric.LOSS, "0.01", id="loss-up", only_available_time=True),
    objective(Metric.RTT, 25 * MS, percentile(95), id="p95"),
    objective(Metric.RTT, 25 * MS, percentile(99), id="p99-up", only_available_time=True),
)


def measured(text: str) -> SampleColumns:
    """With a histogram for every row that has answers; delays differ from row to row."""
    columns = series(START, text)
    count = columns.column("rtt_count")
    delays = 10 * MS + np.arange(len(columns)) * 100_000
    shapes = [build(np.full(n, delay)) if n > 0 else None for n, delay in zip(count, delays, strict=True)]
    return replace(columns, histogram=Histograms.of(shapes))


def told(columns: SampleColumns, *objectives: Objective) -> list[str]:
    """All of each verdict."""
    found = judge(contract(*objectives), CIRCUIT, {"icmp": columns}, now_ns=START + HOUR)
    digests = ("contract_sha256", "exclusions_sha256")
    return [
        repr(replace(item, evidence={name: value for name, value in item.evidence.items() if name not in digests}))
        for item in found
    ]


def differs(text: str) -> bool:
    """Whether judging all objectives over the same samples tells anything else than each over samples of its own.

    Those that need available time are judged beside the objective that defines it.
    """
    shared = told(measured(text), *OBJECTIVES)
    again = measured(text)
    twice = [told(again, *OBJECTIVES), told(again, *OBJECTIVES)]
    alone = [told(measured(text), OBJECTIVES[0], one)[-1] for one in OBJECTIVES[1:]]
    return shared[1:] != alone or twice != [shared, shared]


@settings(max_examples=60, deadline=None)
@given(TEXTS)
def test_objectives_judged_together_are_judged_as_if_alone(text: str) -> None:
    assert not differs(text)


def test_a_memory_that_mixes_up_choices_of_rows_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(self: SampleColumns, key: Hashable, rows: object, make: Callable[[], Any]) -> Any:  # noqa: ARG001
        return self.once(key, make)

    text = "." * 40 + "9" * 20 + "." * 30
    assert not differs(text)
    monkeypatch.setattr(SampleColumns, "once_of", careless)
    assert differs(text)


def test_made_once() -> None:
    columns, calls = measured("...."), Counter[str]()

    def make() -> str:
        calls["made"] += 1
        return "it"

    assert [columns.once("a", make), columns.once("a", make), columns.once("b", make)] == ["it"] * 3
    assert calls["made"] == 2


def test_copies_begin_with_nothing() -> None:
    columns = measured("....")
    columns.once("a", lambda: 1)
    for copy in (replace(columns), columns.between(START, START + HOUR), replace(columns, state=columns.state.copy())):
        assert copy.once("a", lambda: 2) == 2


def test_a_choice_of_rows_is_known_by_what_it_holds() -> None:
    columns, rows = measured("...."), np.array([True, True, False, False])
    assert columns.once_of("k", rows, lambda: "first") == "first"
    assert columns.once_of("k", rows.copy(), lambda: "never") == "first"
    rows[0] = False  # whoever asked goes on with its own array
    assert columns.once_of("k", rows, lambda: "second") == "second"
    assert columns.once_of("k", np.array([True, True, False, False]), lambda: "never") == "first"
    assert columns.once_of("other", rows, lambda: "third") == "third"


def test_no_more_than_so_many_choices_are_remembered() -> None:
    columns = measured("." * 10)
    for number in range(3 * CHOICES):
        rows = np.arange(10) == number % 10
        columns.once_of("k", rows, lambda number=number: number)
    assert len(columns.derived["k"]) == CHOICES


def test_what_several_get_cannot_be_written_to() -> None:
    columns = measured("....")
    with pytest.raises(ValueError, match="read-only"):
        columns.once("a", lambda: np.zeros(3, np.int64))[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        columns.once_of("b", np.ones(4, np.bool_), lambda: np.zeros(3, np.int64))[0] = 1


few = st.lists(st.integers(0, 3 * 10**9), max_size=6)


@given(st.lists(st.none() | few, max_size=12), st.randoms(use_true_random=False), st.sampled_from(["uint16", "int64"]))
def test_merged_is_the_sum_of_all_chosen_rows(values: list[list[int] | None], chance: Any, kind: str) -> None:
    shapes = [None if item is None else build(np.array(item, np.int64)) for item in values]
    found = Histograms.of(shapes)
    narrow = Histograms(found.bucket.astype(kind), found.packets.astype(kind), found.start, found.end, found.there)
    joined = Histograms.joined((narrow, shapes))
    rows = np.array([chance.random() < 0.6 for _ in range(2 * len(shapes))], np.bool_)
    total: Counter[int] = Counter()
    for shape, taken in zip([*shapes, *shapes], rows, strict=True):
        if taken and shape is not None:
            total.update(dict(zip(shape.index.tolist(), shape.count.tolist(), strict=True)))
    bucket, packets = joined.taken(rows).merged()
    assert dict(zip(bucket.tolist(), packets.tolist(), strict=True)) == dict(total)
    assert bucket.tolist() == sorted(total)
    if values:
        assert joined.bucket.dtype == np.dtype(kind)  # as narrow as it was: the rest fits


def test_a_row_too_large_for_the_narrow_form_widens_all() -> None:
    narrow = Histograms(
        *(np.array([5], "uint16") for _ in range(2)), *(np.array([n]) for n in (0, 1)), np.array([True])
    )
    wide = Histograms.by_size(np.array([5, 6]), np.array([70_000, 1]), np.array([2]), np.array([True]))
    bucket, packets = Histograms.joined((narrow, wide)).merged()
    assert (bucket.tolist(), packets.tolist()) == ([5, 6], [70_005, 1])
