"""Seconds of this host: exact through the store, found by time, gone with their age, refused when damaged."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from agent.report import host_seconds
from agent.store import Store, StoreReader
from agent.store.hostseconds import AT, COLUMNS, Breach, HostSeconds, joined, second
from probes.core.arrays import ABSENT
from probes.core.clock import SECOND, SystemClock
from probes.core.errors import LocalError

NOON = 1_790_000_000 * SECOND


def seconds(first: int, number: int, *, broken: tuple[int, ...] = ()) -> HostSeconds:
    """Seconds that end first, first + 1, ... s after NOON."""
    rows = [
        second(
            {
                "at_ns": NOON + (first + n) * SECOND, "elapsed_ns": SECOND, "load_ppm": 1000 * n, "lateness_ns": n,
                "breach": int(Breach.LATE | Breach.STOLEN) if n in broken else 0,
            }
        )
        for n in range(number)
    ]  # fmt: skip
    return HostSeconds(np.array(rows, np.int64))


@settings(deadline=None)
@given(arrays.arrays(np.int64, st.tuples(st.integers(0, 70), st.just(len(COLUMNS)))))
def test_what_is_kept_is_what_was_seen(values: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> None:
    assert np.array_equal(HostSeconds.decode(HostSeconds(values).encode()).values, values)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_foreign_bytes_are_refused_and_nothing_else(data: bytes) -> None:
    with contextlib.suppress(LocalError):
        HostSeconds.decode(data)


def test_every_truncation_is_refused() -> None:
    data = seconds(0, 60).encode()
    for length in range(len(data)):
        with pytest.raises(LocalError):
            HostSeconds.decode(data[:length])


def test_a_minute_takes_little() -> None:
    assert len(seconds(0, 60).encode()) < 400


def test_they_are_read_back_by_time(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store", clock=SystemClock(), site="lab")
    for first in (0, 60, 120):
        store.note(seconds(first, 60, broken=(3,)))
    assert store.flush(10.0)
    with StoreReader.open(tmp_path / "store") as reader:
        whole = reader.host()
        assert np.array_equal(whole.values, joined(seconds(first, 60, broken=(3,)) for first in (0, 60, 120)).values)
        assert (len(whole), whole.impaired) == (180, 3)
        part = reader.host(NOON + 50 * SECOND, NOON + 64 * SECOND)
        assert part.values[:, AT["at_ns"]].tolist() == [NOON + n * SECOND for n in range(50, 64)]
    store.retire(packets_before_ns=0, samples_before_ns=NOON + 59 * SECOND)
    with StoreReader.open(tmp_path / "store") as reader:
        assert len(reader.host()) == 120
    assert store.close(10.0)


def test_the_table_shows_what_broke_and_the_document_everything() -> None:
    found = seconds(0, 60, broken=(3, 4))
    grid = host_seconds.grid(found, everything=False)
    assert len(grid.rows) == 2
    assert grid.above[0].text == "this host was unfit to measure in 2 of 60 seconds observed (3.33%)"
    assert len(host_seconds.grid(found, everything=True).rows) == 60
    document = host_seconds.document(found, NOON, NOON + 60 * SECOND)
    rows = document["seconds"]
    assert isinstance(rows, list)
    assert rows[3]["breach"] == ["CPU stolen", "sent late"]
    assert (rows[0]["breach"], rows[0]["stolen_ppm"], rows[5]["load_ppm"]) == ([], None, 5000)


def test_no_second_is_said_to_be_none() -> None:
    assert host_seconds.headline(HostSeconds.none()) == "no second of this host was observed"
    assert second({}) == [ABSENT] * len(COLUMNS)
