"""A damaged row of the live database: it is taken out with all it held, and keeps nothing else from being kept."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.store import Store, StoreReader, wholeness
from agent.store.records import DAMAGED, LIVE_FILE
from agent.store.sealed.keeper import Keeper
from agent.store.sealed.offline import opened
from probes.core.clock import SECOND
from probes.core.errors import LocalError
from tests.fakes.samples import START, SteppedClock, ping, some_packets
from tests.fakes.sealed import DAY, seal_all

DAYS = 3
ROWS = 20
FIRST_DAY = START // DAY
VICTIM = 7
"""seq of the row that is damaged"""
DAMAGES = {
    "a number is a text": "sent = 'x'",
    "a number is a fraction": "rtt_sum_ns = 0.5",
    "a required number is missing its type": "local_drops = x'00'",
    "a text is octets": "remote = x'31'",
    "a text is no UTF-8": "remote = CAST(x'80' AS TEXT)",
    "a long text is no UTF-8": "reason = CAST(x'61626380' AS TEXT)",
    "a fraction is a text": "load = 'x'",
    "a histogram is cut": "histogram = x'010203'",
    "a histogram is a text": "histogram = 'eightoct'",
    "two at once": "phases = x'00', corrupt = ''",
}


@pytest.fixture
def damaged(store_path: Path, clock: SteppedClock) -> Callable[[str], Path]:
    def build(change: str) -> Path:
        store = Store.open(store_path, clock=clock, site="lab")
        for day in range(DAYS):
            begin = (FIRST_DAY + day) * DAY
            store.append([
                ping(0, circuit=f"ACME-{n % 2}", start_ns=begin + n * 10 * SECOND, packets=some_packets(n + 1))
                for n in range(ROWS)
            ])  # fmt: skip
        assert store.flush(10)
        assert store.close()
        with sqlite3.connect(store_path / LIVE_FILE) as connection:
            assert connection.execute(f"UPDATE samples SET {change} WHERE seq = ?", (VICTIM,)).rowcount == 1
        connection.close()
        return store_path

    return build


def keeper(path: Path, store: Store, clock: SteppedClock) -> Keeper:
    return Keeper(path, store, clock, lambda _kind, _text: None)


def all_days(path: Path) -> list[tuple[int, int]]:
    with StoreReader.open(path) as reader:
        return [(day.live, day.sealed) for day in reader.days()]


@pytest.mark.parametrize("change", DAMAGES.values(), ids=list(DAMAGES))
def test_it_is_named_and_taken_out_with_all_it_held(
    damaged: Callable[[str], Path], clock: SteppedClock, change: str
) -> None:
    path = damaged(change)
    reasons = [finding.reason for finding in wholeness.check(path).findings]
    assert any(reason.startswith("1 samples hold what is no value") and "ACME-0" in reason for reason in reasons)
    store = Store.open(path, clock=clock, site="lab")
    assert keeper(path, store, clock).expel() == 1
    assert [part.rows for part in seal_all(path)] == [ROWS - 1, ROWS, ROWS]
    assert store.flush(10)
    with StoreReader.open(path) as reader:
        [gap] = [item for item in reader.gaps() if item.reason == "damaged"]
        [held] = reader.events(kind=DAMAGED)
    start = FIRST_DAY * DAY + (VICTIM - 1) * 10 * SECOND
    assert (gap.circuit, gap.at_ns, gap.end_ns, gap.count) == ("ACME-0", start, start + 10 * SECOND, 1)
    assert held.circuit == "ACME-0"
    for column in (part.partition("=")[0].strip() for part in change.split(", ")):
        assert column in (held.reason or "")
    assert "sent " in held.text
    assert "packets X'" in held.text
    assert store.close()
    assert wholeness.check(path).findings == []


@pytest.mark.parametrize("change", [change for change in DAMAGES.values() if "0.5" not in change])
def test_without_this_no_day_would_be_sealed_any_more(damaged: Callable[[str], Path], change: str) -> None:
    with pytest.raises((LocalError, OSError, TypeError)):
        seal_all(damaged(change))


def test_the_keeper_and_a_hand_take_it_out_and_go_on(damaged: Callable[[str], Path], clock: SteppedClock) -> None:
    path = damaged(DAMAGES["a text is no UTF-8"])
    with opened(path, clock) as writer:
        sealed = Keeper(path, writer, clock, lambda _kind, _text: None).seal(FIRST_DAY + 1)
    assert [part.rows for part in sealed] == [ROWS - 1]
    assert all_days(path) == [(0, ROWS - 1), (ROWS, 0), (ROWS, 0)]


def test_what_is_sound_stays(damaged: Callable[[str], Path], clock: SteppedClock) -> None:
    path = damaged("reason = 'größer als „vorher“', remote = '2001:db8::1', load = 1, histogram = NULL")
    store = Store.open(path, clock=clock, site="lab")
    assert keeper(path, store, clock).expel() == 0
    store.close()
