"""Restored from a backup, copied back, cloned: no (epoch, seq) names two samples, nothing on disk is lost."""

import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.store import EventRecord, Store, StoreReader, identity
from agent.store.identity import Evidence, Left, Witness, judge, same_machine, shared_through, this_machine, within
from agent.store.records import LIVE_FILE
from agent.store.sealed import manifest
from agent.store.sealed.manifest import DAY_NS
from tests.fakes.samples import MAXIMUM, SteppedClock, ping
from tests.fakes.sealed import release_all, seal_all

PER_DAY = 8640
Identified = dict[int, tuple[str, int]]
"""What a sample says (its round trip time) -> its (epoch, seq)."""


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Be on this machine from now on."""

    def move(name: str) -> None:
        monkeypatch.setattr(identity, "this_machine", lambda: f"{name};")

    move("one")
    return move


def epoch_of(epochs: list[tuple[int, str]], seq: int) -> str:
    return [epoch for first, epoch in epochs if first <= seq][-1]


def contents(path: Path) -> Identified:
    """Everything that can be read, live and sealed, each sample once."""
    with closing(sqlite3.connect(path / LIVE_FILE)) as connection:
        live = {row[0] for row in connection.execute("SELECT seq FROM samples")}
        epochs = identity.epochs_of(connection)
    parts = manifest.load_all(path)
    found: Identified = {}
    with StoreReader.open(path) as reader:
        read = reader.samples("ACME-1", "icmp", 0, MAXIMUM, 100_000)
        assert reader.status().rows == len(read)
        assert len(reader.read("ACME-1", "icmp", (), 0, MAXIMUM)) == len(read)
    for item in read:
        day = item.sample.start_ns // DAY_NS
        of = [part for part in parts if part.day == day and part.first_seq <= item.seq <= part.through_seq]
        own = epochs if item.seq in live and not of else list(of[-1].epochs)
        assert item.sample.delay is not None
        assert item.sample.delay.minimum_ns not in found, "a sample is read twice"
        found[item.sample.delay.minimum_ns] = (epoch_of(own, item.seq), item.seq)
    return found


def events(path: Path, kind: str) -> list[EventRecord]:
    with StoreReader.open(path) as reader:
        return reader.events(kind=kind)


@dataclass
class World:
    """Stores on disk, backups of them, and every (epoch, seq) that ever named a sample."""

    place: Path
    named: dict[tuple[str, int], int] = field(default_factory=dict)
    said: int = 0
    day: int = 0
    at: int = 0

    def session(self, path: Path, samples: int = 5) -> None:
        """Start, keep samples, stop; nothing that was there may be missing afterwards, and no name be used twice."""
        before = contents(path) if (path / LIVE_FILE).exists() else {}
        store = Store.open(path, clock=SteppedClock(), site="lab")
        try:
            new = []
            for _ in range(samples):
                self.said, self.at = self.said + 1, self.at + 1
                new.append(ping(self.day * PER_DAY + self.at, rtt_ns=1_000_000 + self.said))
            store.append(new)
            assert store.flush(10.0)
        finally:
            assert store.close(10.0)
        after = contents(path)
        assert {key: after.get(key) for key in before} == before
        assert len(after) == len(before) + samples
        for says, name in after.items():
            assert self.named.setdefault(name, says) == says, f"{name} names two samples"

    def seal(self, path: Path) -> None:
        """Seal all but the present day and take what is sealed out of the database."""
        before = contents(path)
        day = ping(self.day * PER_DAY).start_ns // DAY_NS
        seal_all(path, day)
        store = Store.open(path, clock=SteppedClock(), site="lab")
        release_all(store, manifest.load_all(path))
        assert store.close(10.0)
        assert contents(path) == before


def copy(source: Path, target: Path) -> None:
    """As an operator restores it: what was there goes."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)


def copy_live(source: Path, target: Path) -> None:
    """The database alone, into the file that is there or a new one."""
    shutil.copyfile(source / LIVE_FILE, target / LIVE_FILE)


@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_restored_copied_and_cloned_no_name_is_used_twice_and_nothing_is_lost(
    tmp_path: Path, seed: int, machine: Callable[[str], None]
) -> None:
    chance, world = random.Random(seed), World(tmp_path)
    places, backups = [tmp_path / "a", tmp_path / "b"], list[Path]()
    world.session(places[0])
    for step in range(12):
        path = chance.choice([place for place in places if place.exists()])
        machine(f"machine of {path.name}")
        match chance.choice(("session", "session", "backup", "restore", "restore live", "seal", "clone")):
            case "session":
                world.session(path, chance.randint(1, 6))
            case "backup":
                backups.append(tmp_path / f"backup{step}")
                copy(path, backups[-1])
            case "restore" if backups:
                copy(chance.choice(backups), path)
            case "restore live" if backups:
                copy_live(chance.choice(backups), path)
            case "seal":
                world.day += 1
                world.seal(path)
            case "clone":
                copy(*(places if chance.random() < 0.5 or not places[1].exists() else reversed(places)))
        if chance.random() < 0.5:
            world.session(path, chance.randint(0, 4))


def test_the_harness_catches_an_epoch_that_is_not_new_at_every_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "fresh_epoch", lambda: "0" * 16)
    world, path, backup = World(tmp_path), tmp_path / "store", tmp_path / "backup"
    world.session(path)
    copy(path, backup)
    world.session(path)
    copy(backup, path)
    with pytest.raises(AssertionError, match="names two samples"):
        world.session(path)


def test_the_whole_directory_copied_back_over_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "TOUCHED_NS", 0)  # a file system may give the new file the number of the old one
    world, path, backup = World(tmp_path), tmp_path / "store", tmp_path / "backup"
    world.session(path)
    copy(path, backup)
    world.session(path)
    copy(backup, path)
    world.session(path)
    (event,) = events(path, "identity")
    assert (event.reason, "restored, copied" in event.text) == ("copied", True)
    assert len(world.named) == 15
    assert len({epoch for epoch, _ in world.named}) == 3


def test_a_directory_copied_back_into_the_same_files_long_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`cp` writes into the files that are there: only the time of the change tells."""
    world, path, backup = World(tmp_path), tmp_path / "store", tmp_path / "backup"
    world.session(path)
    copy(path, backup)
    world.session(path)
    for name in (LIVE_FILE, "lock"):
        (path / name).write_bytes((backup / name).read_bytes())
    monkeypatch.setattr(identity, "TOUCHED_NS", 0)
    world.session(path)
    assert [event.reason for event in events(path, "identity")] == ["copied"]
    assert len(world.named) == 15


def test_the_live_database_alone_restored_while_sealed_days_are_newer(tmp_path: Path) -> None:
    world, path, backup = World(tmp_path), tmp_path / "store", tmp_path / "backup"
    world.session(path)
    copy(path, backup)
    world.session(path)
    world.day += 1
    world.seal(path)
    world.session(path)
    newest = max(seq for _, seq in world.named)
    copy_live(backup, path)
    world.session(path, 1)
    (event,) = events(path, "identity")
    assert event.reason == "restored"
    assert f"ends at sample 5, {newest} is known" in event.text
    assert max(seq for _, seq in world.named) == newest + 1
    assert len(contents(path)) == 11, "5 of them stand in the database and in the part"
    world.seal(path)
    with closing(sqlite3.connect(path / LIVE_FILE)) as connection:
        assert connection.execute("SELECT count(*) FROM samples").fetchone() == (1,)


def test_a_database_restored_without_its_log_is_not_merged_with_the_one_left_there(tmp_path: Path) -> None:
    world, path, backup = World(tmp_path), tmp_path / "store", tmp_path / "backup"
    world.session(path)
    copy(path, backup)
    world.session(path)
    store = Store.open(path, clock=SteppedClock(), site="lab")
    store.append([ping(500, rtt_ns=5)])
    assert store.flush(10.0)
    image = tmp_path / "killed"
    shutil.copytree(path, image)
    assert store.close(10.0)
    log = (image / f"{LIVE_FILE}-wal").read_bytes()
    assert log
    assert identity.log_fits(image / LIVE_FILE)
    copy_live(backup, image)
    assert not identity.log_fits(image / LIVE_FILE)
    store = Store.open(image, clock=SteppedClock(), site="lab")
    store.append([ping(600, rtt_ns=6)])
    assert store.close(10.0)
    assert sorted(contents(image)) == [6, *range(1_000_001, 1_000_006)]
    (damaged,) = events(image, "damaged")
    assert "restored without its log" in damaged.text
    assert (image / "damaged" / f"{LIVE_FILE}-wal").read_bytes() == log


def test_the_live_database_deleted(tmp_path: Path) -> None:
    world, path = World(tmp_path), tmp_path / "store"
    world.session(path)
    world.day += 1
    world.seal(path)
    world.session(path, 3)
    (path / LIVE_FILE).unlink()
    store = Store.open(path, clock=SteppedClock(), site="lab")
    store.append([ping(90_000, rtt_ns=1)])
    assert store.close(10.0)
    assert contents(path)[1][1] == 9
    assert len(contents(path)) == 6
    (event,) = events(path, "identity")
    assert (event.reason, "sample 9 is the next" in event.text) == ("missing", True)
    assert [gap.reason for gap in events(path, "gap")] == ["damaged"]


def branches(path: Path) -> list[tuple[int, str | None]]:
    with closing(sqlite3.connect(path / LIVE_FILE)) as connection:
        return connection.execute("SELECT first_seq, branch FROM epochs ORDER BY first_seq").fetchall()


def test_a_clone_on_another_machine_is_told_apart_in_the_sinks(tmp_path: Path, machine: Callable[[str], None]) -> None:
    world, path, clone = World(tmp_path), tmp_path / "store", tmp_path / "clone"
    world.session(path)
    copy(path, clone)
    world.session(path)
    machine("two")
    world.session(clone)
    world.session(clone)
    (event,) = events(clone, "identity")
    assert event.reason == "moved"
    before, *after = branches(clone)
    assert before[1] is None
    assert {branch for _, branch in after} == {branches(clone)[1][1]}
    assert f"branch={after[0][1]}" in event.text
    assert {branch for _, branch in branches(path)} == {None}
    (clone / LIVE_FILE).write_bytes(b"garbage" * 1000)
    Store.open(clone, clock=SteppedClock(), site="lab").close(10.0)
    assert branches(clone)[-1][1] == after[0][1], "a fresh database after damage keeps apart what was apart"
    Store.open(clone, clock=SteppedClock(), site="its own").close(10.0)
    assert branches(clone)[-1][1] is None


def test_a_cursor_beyond_what_is_there_raises_the_numbers(tmp_path: Path) -> None:
    world, path = World(tmp_path), tmp_path / "store"
    world.session(path)
    with closing(sqlite3.connect(path / LIVE_FILE, isolation_level=None)) as connection:
        connection.execute("INSERT INTO cursors VALUES ('central', 900)")
    world.session(path, 1)
    assert max(seq for _, seq in world.named) == 901
    assert [event.reason for event in events(path, "identity")] == ["restored"]


def test_nothing_is_said_of_a_store_that_was_left_here(tmp_path: Path) -> None:
    world, path = World(tmp_path), tmp_path / "store"
    for _ in range(3):
        world.session(path)
    assert events(path, "identity") == []
    assert [seq for _, seq in sorted(world.named, key=lambda name: name[1])] == list(range(1, 16))


# pure parts

History = list[tuple[int, str]]


@st.composite
def histories(draw: st.DrawFn) -> Iterator[tuple[History, History]]:
    """Two stores that were one: epochs in common, then their own."""
    numbers = st.lists(st.integers(1, 6), max_size=4)

    def grown(start: int, lengths: list[int], name: str) -> tuple[History, int]:
        epochs = []
        for number, length in enumerate(lengths):
            epochs.append((start, f"{name}{number}"))
            start += length
        return epochs, start

    common, end = grown(1, draw(numbers), "c")
    ours, theirs = (grown(end, [*draw(numbers), 9], name) for name in ("a", "b"))
    return common + ours[0], common + theirs[0]


@given(histories(), st.integers(0, 40))
def test_what_two_histories_share_equals_what_stepping_through_them_says(
    both: tuple[History, History], through: int
) -> None:
    ours, theirs = both
    shared = 0
    for seq in range(1, through + 1):
        one, other = ([epoch for first, epoch in epochs if first <= seq][-1:] for epochs in both)
        if one and one == other:
            shared = seq
    assert shared_through(ours, theirs, through) == shared


def test_epochs_of_a_range_of_numbers() -> None:
    epochs = [(1, "a"), (10, "b"), (20, "c")]
    assert within(epochs, 1, 9) == ((1, "a"),)
    assert within(epochs, 9, 10) == ((1, "a"), (10, "b"))
    assert within(epochs, 15, 15) == ((10, "b"),)
    assert within(epochs, 25, 99) == ((20, "c"),)
    assert shared_through(epochs, [(1, "a"), (6, "x")], 8) == 5
    assert shared_through(epochs, [(30, "x")], 40) == 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a;", "a;", True),
        ("a;", "b;", False),
        (";", "b;", True),
        ("a;1", "a;2", False),
        ("a;1,2", "a;2,3", True),
        ("a;1", "a;", True),
        ("", "a;1", True),
    ],
)
def test_machines_are_told_apart_only_by_what_is_known(one: str, other: str, same: bool) -> None:
    assert same_machine(one, other) is same_machine(other, one) is same


def test_what_tells_a_machine(tmp_path: Path) -> None:
    for name, address, hardware in (("eth0", "02:00", True), ("veth1", "06:00", False), ("eth1", "01:00", True)):
        device = tmp_path / "net" / name
        device.mkdir(parents=True)
        (device / "address").write_text(f"{address}\n")
        if hardware:
            (device / "device").mkdir()
    (tmp_path / "id").write_text("0123\n")
    assert this_machine(tmp_path / "id", tmp_path / "net") == "0123;01:00,02:00"
    assert this_machine(tmp_path / "none", tmp_path / "none") == ";"


def test_the_numbers_go_on_beyond_everything_that_is_known() -> None:
    left = Left(10, "m;", None, "lab", 0)
    assert judge(left, Evidence(10, False, False), "m;", "lab", "e" * 16).reason is None
    assert judge(left, Evidence(50, False, False), "m;", "lab", "e" * 16).next_seq == 51
    assert judge(left, Evidence(50, False, False), "other;", "lab", "e" * 16).next_seq == 51
    assert judge(left, Evidence(0, True, False), "m;", "lab", "e" * 16).next_seq == 11


@pytest.mark.parametrize("record", [{}, {"witness": 5}, {"witness": {"newest_seq": 1 << 70}}, {"witness": {"x": 1}}])
def test_a_witness_that_is_garbage_knows_nothing(record: dict[str, object]) -> None:
    assert Witness.decode(record) == Witness()
