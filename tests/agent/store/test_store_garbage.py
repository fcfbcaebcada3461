"""Whatever stands in the store's directory, the agent starts, keeps, and leaves what it found bit for bit."""

import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.store import Store, StoreReader, livefile, opening
from agent.store.directory import held
from agent.store.records import LIVE_FILE
from agent.store.sealed import manifest
from probes.core.errors import LocalError
from tests.fakes.samples import SteppedClock, ping
from tests.fakes.sealed import release_all, seal_all

KEPT = 40


@pytest.fixture
def left(tmp_path: Path) -> Iterator[Path]:
    """A store at rest with a sealed day and a live one; 40 samples."""
    path = tmp_path / "store"
    store = Store.open(path, clock=SteppedClock(), site="lab")
    store.append([ping(n) for n in range(KEPT // 2)])
    assert store.flush(10.0)
    release_all(store, seal_all(path))
    store.append([ping(100_000 + n) for n in range(KEPT // 2)])
    assert store.close(10.0)
    yield path
    for name in ("noise", "loop"):
        shutil.rmtree(path / name, ignore_errors=True)


def noise(length: int) -> bytes:
    return random.Random(length).randbytes(length)


def random_bytes(path: Path) -> None:
    path.write_bytes(noise(200_000))


def random_bytes_with_a_head(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100] + noise(40_960 - 100))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def one_octet(path: Path) -> None:
    path.write_bytes(b"S")


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size * 2 // 3)


def zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def another_program(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE accounts(id)")
        connection.execute("PRAGMA user_version = 900")
    connection.close()


def our_tables_dropped(path: Path) -> None:
    with sqlite3.connect(path, isolation_level=None) as connection:
        connection.execute("DROP TABLE meta")
    connection.close()


def a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "inside").write_text("something")


def a_link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def image(path: Path) -> object:
    """What stands there, to the last bit."""
    if path.is_symlink():
        return path.readlink()
    if path.is_dir():
        return sorted((str(entry.relative_to(path)), entry.read_bytes()) for entry in path.rglob("*"))
    return path.read_bytes() if path.is_file() else path.is_fifo()


WRECKS = (
    random_bytes, random_bytes_with_a_head, one_octet, cut, zeros, another_program, our_tables_dropped,
    a_directory, a_link_to_itself, a_pipe,
)  # fmt: skip


@pytest.mark.parametrize("wreck", WRECKS, ids=lambda wreck: wreck.__name__)
def test_a_wrecked_database_is_kept_and_a_fresh_one_goes_on(left: Path, wreck: Callable[[Path], None]) -> None:
    with StoreReader.open(left) as reader:
        epoch = reader.status().epoch
    wreck(left / LIVE_FILE)
    found = image(left / LIVE_FILE)
    store = Store.open(left, clock=SteppedClock(), site="lab")
    store.append([ping(900_000)])
    assert store.flush(20.0), store.failure()
    with StoreReader.open(left) as reader:
        (sample,) = reader.after(0, 10)
        assert sample.seq == KEPT + 1, "the numbers go on"
        assert reader.status().rows == KEPT // 2 + 1, "what is sealed is there"
        assert reader.status().epoch != epoch
        assert "damaged" in [event.kind for event in reader.events()]
        assert "damaged" in [gap.reason for gap in reader.gaps()]
    kept = [entry for entry in (left / "damaged").iterdir() if entry.name.endswith(".sqlite")]
    assert [image(entry) for entry in kept] == [found]
    assert store.close(10.0)


def test_an_empty_file_is_a_new_store(left: Path) -> None:
    """SQLite calls it an empty database: there is nothing to keep of it."""
    empty(left / LIVE_FILE)
    store = Store.open(left, clock=SteppedClock(), site="lab")
    store.append([ping(900_000)])
    assert store.close(10.0)
    with StoreReader.open(left) as reader:
        assert [item.seq for item in reader.after(0, 10)] == [KEPT + 1]
        assert [event.reason for event in reader.events(kind="identity")] == ["missing"]


OTHERS = ("lock", "reserve", "sealed", "sealed/lock", f"{LIVE_FILE}-wal", f"{LIVE_FILE}-shm", "damaged")


@pytest.mark.parametrize("wreck", [a_directory, a_link_to_itself, a_pipe], ids=lambda wreck: wreck.__name__)
@pytest.mark.parametrize("name", OTHERS)
def test_another_entry_that_is_not_what_its_name_says(left: Path, name: str, wreck: Callable[[Path], None]) -> None:
    if name in ("sealed", "damaged") and wreck is a_directory:
        return
    place = left / name
    if place.is_dir():
        shutil.rmtree(place)
    place.touch()
    wreck(place)
    found = image(place)
    store = Store.open(left, clock=SteppedClock(), site="lab")
    store.append([ping(900_000)])
    assert store.flush(20.0), store.failure()
    assert held(left)
    with StoreReader.open(left) as reader:
        assert len(reader.after(0, 100)) == KEPT // 2 + 1
        assert reader.status().rows == (KEPT // 2 + 1 if name == "sealed" else KEPT + 1)
        if name != "damaged":
            assert place.name in reader.events(kind="damaged")[0].text
    moved = left / "damaged-1" if name == "damaged" else left / "damaged" / place.name
    assert image(moved) == found
    assert (left / "reserve").stat().st_size == 1 << 20
    assert store.close(10.0)


@pytest.mark.parametrize("wreck", [a_directory, a_link_to_itself, random_bytes], ids=lambda wreck: wreck.__name__)
def test_a_sealed_day_that_is_garbage_is_named_and_keeps_nobody_from_measuring(
    left: Path, wreck: Callable[[Path], None]
) -> None:
    (name,) = manifest.names(left)
    wreck(manifest.path_of(left, name))
    (left / "sealed" / "2020-01-01.1").write_bytes(noise(100))
    store = Store.open(left, clock=SteppedClock(), site="lab")
    store.append([ping(900_000)])
    assert store.flush(20.0), store.failure()
    with StoreReader.open(left) as reader, pytest.raises(LocalError, match=r"2020-01-01\.1"):
        reader.series()
    with StoreReader.open(left, ignore_damaged=True) as reader:
        assert reader.status().rows == KEPT // 2 + 1
        assert len(reader.left_out()) == 2
    assert store.close(10.0)


def test_the_check_at_the_start_has_a_bound(left: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However large the file, its structure is looked at for CHECK_NS, counted in steps of SQLite's machine."""
    monkeypatch.setattr(livefile, "CHECK_STEPS", 10)
    asked = []

    class Hurried(SteppedClock):
        def monotonic(self) -> int:
            asked.append(1)
            return super().monotonic() + len(asked) * opening.CHECK_NS // 20

    store = Store.open(left, clock=Hurried(), site="lab")
    assert store.close(10.0)
    with StoreReader.open(left) as reader:
        assert reader.status().damaged == ()
        assert reader.status().rows == KEPT


def test_a_reader_of_garbage_is_told_what_mends_it(left: Path) -> None:
    random_bytes(left / LIVE_FILE)
    with pytest.raises(LocalError, match="file is not a database") as refused:
        StoreReader.open(left)
    assert "moves it into damaged/, whole" in (refused.value.hint or "")
    another_program(left / LIVE_FILE)
    with pytest.raises(LocalError, match="is a database of another program"):
        StoreReader.open(left)
