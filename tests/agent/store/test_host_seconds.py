"""Seconds of this host: exact through the store, found by time, gone with their age, refused when damaged."""

import contextlib
import zlib
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

FORMAT_1 = bytes.fromhex(
    "01789cfbfd1f0266583180018c7ecc8cca87d1a7d9b18b6fe6c62e3e9b1f42a77e005b537fba05cc6d6816c6ae3e5b1cbb78b03476716b"
    "79ece2cacad8c5b9d5b18b7fd6c22e7e5b0fbbf86123ece2abcdb08b0300a49030ff"
)
"""As it was written before there was a canary: 3 seconds of 15 columns, 0, 1000, 2000 ... less 5, and one ABSENT."""

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


def first_format(values: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> bytes:
    """What the first format made of 15 columns."""
    return b"\x01" + zlib.compress(np.diff(values.T, prepend=0).astype("<i8").tobytes(), 6)


def test_seconds_from_before_the_canary_are_read_and_have_none() -> None:
    old = np.arange(45).reshape(3, 15) * 1000 - 5
    old[1, 4] = ABSENT
    read = HostSeconds.decode(FORMAT_1)
    assert np.array_equal(read.values[:, :15], old)
    assert COLUMNS[14:] == ("breach", "canary_ns", "canary_user_ns")
    assert (read.values[:, 15:] == ABSENT).all()
    again = read.encode()
    assert again[0] == 2
    assert np.array_equal(HostSeconds.decode(again).values, read.values)


@settings(deadline=None)
@given(arrays.arrays(np.int64, st.tuples(st.integers(1, 70), st.just(15))))
def test_any_row_of_the_first_format_is_read(values: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> None:
    read = HostSeconds.decode(first_format(values)).values
    assert np.array_equal(read[:, :15], values)
    assert (read[:, 15:] == ABSENT).all()


def test_old_and_new_rows_are_joined_and_a_format_to_come_is_refused() -> None:
    both = joined([HostSeconds.decode(FORMAT_1), seconds(0, 5)])
    assert both.values.shape == (8, len(COLUMNS))
    with pytest.raises(LocalError, match="format 3"):
        HostSeconds.decode(b"\x03" + seconds(0, 5).encode()[1:])
    # Rows say how wide they are: neither format takes the other's body for its own.
    with pytest.raises(LocalError, match="length does not fit"):
        HostSeconds.decode(b"\x01" + seconds(0, 4).encode()[1:])


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


def test_the_canary_is_shown_in_words_where_it_broke_and_in_numbers_where_all_is_shown() -> None:
    values = seconds(0, 4).values.copy()
    values[:, AT["canary_ns"]] = (1_137, 880, 230 * 1_000_000, ABSENT)
    values[:, AT["canary_user_ns"]] = (49_800, 26_000_001, 60_000, ABSENT)
    values[2:, AT["breach"]] = int(Breach.CANARY)
    values[:, AT["clock_step_ns"]] = 0
    found = HostSeconds(values)
    grid = host_seconds.grid(found, everything=False)
    assert [row[-1].text for row in grid.rows] == ["own stack lost or held a packet"] * 2
    assert len(grid.rows[0]) == len(grid.columns)
    everything = host_seconds.grid(found, everything=True)
    assert everything.columns[-2].heading == "STACK/USER"
    assert [row[-2] for row in everything.rows] == ["2us/50us", "1us/27ms", "230ms/60us", "–/–"]
    rows = host_seconds.document(found, NOON, NOON + 60 * SECOND)["seconds"]
    assert isinstance(rows, list)
    assert [row["canary_ns"] for row in rows] == [1_137, 880, 230_000_000, None]
    assert rows[3]["breach"] == ["own stack lost or held a packet"]
