"""The store is moved, deleted or replaced under the running agent: found, said, set right, nothing kept is lost."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from agent.store import Store, StoreReader
from agent.store.directory import Directory, held
from agent.store.records import LIVE_FILE, Owner
from probes.core.errors import LocalError
from tests.fakes.samples import SteppedClock, ping


def keep(store: Store, *numbers: int) -> None:
    store.append([ping(n) for n in numbers])
    assert store.flush(20.0), store.failure()


def numbers(path: Path) -> list[int]:
    with StoreReader.open(path) as reader:
        return [(item.sample.start_ns - ping(0).start_ns) // 10**10 for item in reader.after(0, 100)]


def names(path: Path) -> list[tuple[int, str]]:
    """(seq, epoch) of every sample."""
    with closing(sqlite3.connect(path / LIVE_FILE)) as connection:
        epochs = connection.execute("SELECT first_seq, epoch FROM epochs ORDER BY first_seq").fetchall()
        seqs = [row[0] for row in connection.execute("SELECT seq FROM samples ORDER BY seq")]
    return [(seq, [epoch for first, epoch in epochs if first <= seq][-1]) for seq in seqs]


def said(path: Path) -> list[str | None]:
    with StoreReader.open(path) as reader:
        return [event.reason for event in reader.events(kind="identity")]


@pytest.fixture
def running(store: Store) -> Store:
    keep(store, 0, 1, 2)
    store.cursor("central")
    store.advance("central", 2)
    assert store.flush(10.0)
    return store


def delete_all(path: Path) -> None:
    shutil.rmtree(path)


def delete_live(path: Path) -> None:
    (path / LIVE_FILE).unlink()


def delete_live_and_log(path: Path) -> None:
    for name in (LIVE_FILE, f"{LIVE_FILE}-wal", f"{LIVE_FILE}-shm"):
        (path / name).unlink()


@pytest.mark.parametrize("delete", [delete_all, delete_live, delete_live_and_log])
def test_what_was_deleted_is_written_anew_from_what_is_still_open(
    running: Store, store_path: Path, delete: Callable[[Path], None]
) -> None:
    delete(store_path)
    keep(running, 3)
    assert numbers(store_path) == [0, 1, 2, 3]
    assert held(store_path)
    assert said(store_path) == ["deleted"]
    with StoreReader.open(store_path) as reader:
        assert reader.cursors() == {"central": 2}
    keep(running, 4)
    assert running.close(10.0)
    assert numbers(store_path) == [0, 1, 2, 3, 4]
    assert [seq for seq, _ in names(store_path)] == [1, 2, 3, 4, 5]
    assert not list(store_path.glob("*.unfinished"))


def test_a_store_that_was_moved_away_stays_whole_and_a_fresh_one_goes_on(
    running: Store, store_path: Path, tmp_path: Path
) -> None:
    there = tmp_path / "there"
    store_path.rename(there)
    keep(running, 3, 4)
    assert numbers(store_path) == [3, 4]
    assert said(store_path) == ["moved away"]
    with StoreReader.open(store_path) as reader:
        assert reader.cursors() == {"central": 2}
    assert running.close(10.0)
    assert [seq for seq, _ in names(store_path)] == [4, 5]
    assert not {*names(there)} & {*names(store_path)}
    again = Store.open(there, clock=SteppedClock(), site="lab")
    assert numbers(there) == [0, 1, 2]
    assert again.close(10.0)


def test_a_store_put_in_the_place_of_the_running_one_is_taken_up_and_keeps_its_log(
    running: Store, store_path: Path, tmp_path: Path
) -> None:
    """The log of the other store has the name of the one that is open: closing that must not remove it."""
    backup = tmp_path / "backup"
    shutil.copytree(store_path, backup)
    assert (backup / f"{LIVE_FILE}-wal").stat().st_size
    keep(running, 3, 4, 5)
    store_path.rename(tmp_path / "there")
    backup.rename(store_path)
    keep(running, 6)
    assert numbers(store_path) == [0, 1, 2, 6]
    assert said(store_path) == ["moved away"]
    assert running.close(10.0)
    assert numbers(store_path) == [0, 1, 2, 6]
    mine, other = names(store_path), names(tmp_path / "there")
    assert mine[:3] == other[:3]
    assert not {*mine[3:]} & {*other}


def test_the_lock_deleted_is_held_again(running: Store, store_path: Path) -> None:
    (store_path / "lock").unlink()
    assert not held(store_path)
    keep(running, 3)
    assert held(store_path)
    assert numbers(store_path) == [0, 1, 2, 3]
    assert said(store_path) == ["lock deleted"]
    assert running.close(10.0)


def test_where_another_daemon_has_taken_the_place_nothing_is_written_there(running: Store, store_path: Path) -> None:
    (store_path / "lock").unlink()
    other = Directory.claim(store_path, Owner(1, "boot", 1))
    running.append([ping(3)])
    assert not running.flush(1.5)
    assert "in use by process" in (running.failure() or "")
    assert numbers(store_path) == [0, 1, 2]
    other.release()
    assert running.flush(20.0)
    assert numbers(store_path) == [0, 1, 2, 3]
    assert running.close(10.0)


def test_a_closed_store_takes_no_new_sink(running: Store, store_path: Path) -> None:
    assert running.close(10.0)
    with pytest.raises(LocalError, match="closed"):
        running.cursor("other")
    with StoreReader.open(store_path) as reader:
        assert reader.cursors() == {"central": 2}
