"""Stores of four releases: the first two, this one, one to come. Newer software brings a file up; older refuses it."""

import dataclasses
import hashlib
import multiprocessing
import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from agent.store import Store, StoreReader, header, schema
from agent.store.livefile import LiveFile
from agent.store.records import LIVE_FILE, Owner
from agent.store.rows import OWN_COLUMNS
from agent.store.sealed import manifest, offline
from agent.store.sealed.sealing import seal_next
from probes.core.clock import SystemClock
from probes.core.errors import LocalError
from tests.fakes import store_of_version_1, store_of_version_2
from tests.fakes.samples import START, SteppedClock, ping, plain, stamped, traced
from tests.fakes.sealed import FAR, release_all, seal_all, told

NEWER = schema.SCHEMA_VERSION + 1
SAMPLES_OF_1 = ", ".join(("series", "seq", *OWN_COLUMNS))


def digests(path: Path) -> dict[str, str]:
    """SHA-256 of every file of the store, by name."""
    return {
        str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }


def tables(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Columns of every table and index, without the wording of the statements that made them."""
    with closing(sqlite3.connect(f"{(path / LIVE_FILE).as_uri()}?mode=ro", uri=True)) as connection:
        names = connection.execute("SELECT type, name FROM sqlite_master ORDER BY name").fetchall()
        return {
            name: connection.execute(f"PRAGMA {kind}_info({name})").fetchall()
            for kind, name in names
            if not name.startswith("sqlite_")
        }


def rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """All rows of the tables of version 1 but the one that every commit rewrites, in the columns that it had."""
    with closing(sqlite3.connect(f"{(path / LIVE_FILE).as_uri()}?mode=ro", uri=True)) as connection:
        return {
            table: connection.execute(f"SELECT {'*' if table != 'samples' else SAMPLES_OF_1} FROM {table}").fetchall()
            for table in ("series", "samples", "packets", "runs", "events", "cursors", "parked")
        }


@pytest.fixture
def oldest(tmp_path: Path) -> Path:
    path = tmp_path / "oldest"
    store_of_version_1.write(path)
    return path


@pytest.fixture(params=[1, 2])
def older(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "older"
    {1: store_of_version_1, 2: store_of_version_2}[request.param].write(path)
    return path


def version_of(path: Path) -> int:
    head = header.read(path / LIVE_FILE)
    assert head is not None
    return head.version


def current(path: Path, *, killed: bool = False) -> Path:
    """A store of this release with a sealed day; killed: as it is on disk while the agent runs."""
    place = path.with_name(f"{path.name}.running") if killed else path
    store = Store.open(place, clock=SteppedClock(), site="lab")
    store.append([ping(n) for n in range(4)])
    assert store.flush(10.0)
    seal_all(place)
    store.append([ping(9_000_000)])
    assert store.flush(10.0)
    if killed:
        shutil.copytree(place, path)
    assert store.close(10.0)
    return path


def newer_release(path: Path) -> None:
    """What a release to come would do: another table, another version."""
    with closing(sqlite3.connect(path / LIVE_FILE, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.execute("CREATE TABLE receipts(id INTEGER PRIMARY KEY, data BLOB)")
        connection.execute("INSERT INTO receipts VALUES (1, x'00ff')")
        connection.execute(f"PRAGMA user_version = {NEWER}")
        connection.execute("COMMIT")


def test_a_store_of_an_older_release_is_brought_up_with_all_it_has(older: Path, tmp_path: Path) -> None:
    before = rows(older)
    store = Store.open(older, clock=SteppedClock(), site="lab")
    store.append([ping(100), stamped(100, [5, -3], [7, 8])])
    assert store.flush(10.0)
    with StoreReader.open(older) as reader:
        assert reader.status().schema_version == schema.SCHEMA_VERSION
        assert [item.seq for item in reader.after(0, 100)] == [1, 2, 3, 4, 5, 6, 7, 8]
        assert all(item.sample.forward is item.sample.path is None for item in reader.after(0, 7))
        assert reader.events(kind="identity") == []
        assert reader.cursors() == {"central": 4}
    assert store.close(10.0)
    after = rows(older)
    assert {table: found[: len(before[table])] for table, found in after.items() if table != "series"} == {
        table: found for table, found in before.items() if table != "series"
    }
    with closing(sqlite3.connect(older / LIVE_FILE)) as connection:
        epochs = connection.execute("SELECT first_seq, epoch FROM epochs").fetchall()
    assert epochs[0] == (1, store_of_version_1.EPOCH)
    assert epochs[1][0] == 7
    fresh = tmp_path / "fresh"
    assert Store.open(fresh, clock=SteppedClock(), site="lab").close(10.0)
    assert tables(older) == tables(fresh)


def test_days_sealed_by_an_older_release_are_read_beside_new_ones(tmp_path: Path) -> None:
    """A sealed file without the columns of version 3, one with them, and live rows: one series."""
    path, day = tmp_path / "store", 8640
    store = Store.open(path, clock=SteppedClock(), site="lab")
    samples = [ping(0), ping(1), stamped(day, [5, -3], [7, 8]), ping(day + 2), stamped(day + 1, [1], [2])]
    samples += [ping(2 * day), stamped(2 * day, [9, 9], [9, -9]), traced(day // 60, "192.0.2.1", None)]
    one_series = [dataclasses.replace(sample, probe="p", kind="k") for sample in samples[:5]]
    store.append([*samples, *one_series])
    assert store.flush(10.0)
    with StoreReader.open(path) as reader:
        before = told(reader)
        assert release_all(store, seal_all(path, START // (86_400 * 10**9) + 2)) > 0
        parts = [manifest.load(path, name) for name in manifest.names(path)]
        files = [file for file in parts[0].files if file.what == manifest.SAMPLES]
        assert [file.groups for file in files] == [()], "no column that no sample of this day needs"
        assert told(reader) == before
        for name in manifest.names(path)[:1]:  # as version 2 wrote it
            part = dataclasses.replace(manifest.load(path, name), store_schema=2)
            assert b"groups" not in manifest.encode(part)
            body = manifest.encode(part).partition(b"\n")[0].replace(b'"version": 4', b'"version": 2')
            signed = body + b"\n" + hashlib.sha256(body).hexdigest().encode() + b"\n"
            manifest.path_of(path, name).write_bytes(signed)
        assert told(reader) == before
        kept = [plain(item.sample) for item in reader.samples("ACME-1", "p", 0, 2**62)]
        assert kept == [plain(sample) for sample in sorted(one_series, key=lambda sample: sample.start_ns)]
    assert store.close(10.0)


def test_only_the_writer_brings_a_store_up(older: Path) -> None:
    before = digests(older)
    with pytest.raises(LocalError, match=r"store version [12]; this linkwitness reads version 3") as refused:
        StoreReader.open(older)
    assert "the agent brings the store up" in (refused.value.hint or "")
    assert digests(older) == before


def statements(found: int) -> int:
    """Statements of the migration from that version, with BEGIN, the two PRAGMAs and COMMIT."""
    return sum(len(schema.MIGRATIONS[version]) for version in schema.MIGRATIONS if version >= found) + 4


def bring_up_and_die(path: Path, at: int) -> None:
    """Open as the agent does; SIGKILL before the at-th statement of the migration."""
    seen = 0
    original = schema.bring_up

    def bring_up(connection: sqlite3.Connection, where: Path) -> None:
        def count(statement: str) -> None:
            nonlocal seen
            if statement.startswith("PRAGMA user_version") and "=" not in statement:
                return
            if seen == at:
                os.kill(os.getpid(), signal.SIGKILL)
            seen += 1

        connection.set_trace_callback(count)
        original(connection, where)
        os.kill(os.getpid(), signal.SIGKILL)

    schema.bring_up = bring_up
    LiveFile.open(path / LIVE_FILE, owner=Owner(1, "boot", 1), site="lab")


def test_killed_at_every_statement_of_the_migration_the_store_is_old_or_new_and_whole(
    oldest: Path, tmp_path: Path
) -> None:
    """From version 1, so that every statement there is is among them."""
    context = multiprocessing.get_context("fork")
    before, found = rows(oldest), []
    total = statements(1)
    for at in range(total + 1):
        path = tmp_path / str(at)
        shutil.copytree(oldest, path)
        process = context.Process(target=bring_up_and_die, args=(path, at))
        process.start()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
        found.append(version_of(path))
        assert rows(path) == before
        with closing(sqlite3.connect(path / LIVE_FILE)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        store = Store.open(path, clock=SteppedClock(), site="lab")
        assert store.close(10.0)
        assert {table: len(kept) for table, kept in rows(path).items()} == {
            table: len(kept) + (3 if table == "events" else 0) for table, kept in before.items()
        }
        shutil.rmtree(path)
    assert found == [1] * total + [3]


def openers(path: Path) -> list[Callable[[], object]]:
    """Everything of this release that opens a store."""
    clock = SystemClock()
    return [
        lambda: Store.open(path, clock=clock, site="lab"),
        lambda: StoreReader.open(path),
        lambda: seal_next(path, before_day=FAR, now_ns=1),
        lambda: offline.opened(path, clock).__enter__(),
    ]


@pytest.mark.parametrize("killed", [False, True])
def test_a_store_of_a_newer_release_is_refused_and_every_byte_left(tmp_path: Path, killed: bool) -> None:
    path = current(tmp_path / "store", killed=killed)
    if killed:
        with closing(sqlite3.connect(path / LIVE_FILE)) as holder:  # the newer version stands in the log alone
            holder.execute("SELECT id FROM meta").fetchone()
            newer_release(path)
            shutil.copytree(path, tmp_path / "image")
        path = tmp_path / "image"
        assert int.from_bytes((path / LIVE_FILE).read_bytes()[60:64], "big") < NEWER
        assert (path / f"{LIVE_FILE}-wal").stat().st_size > 0
    else:
        newer_release(path)
    before = digests(path)
    for opener in openers(path):
        with pytest.raises(LocalError, match=f"version {NEWER}; this linkwitness knows versions up to 3") as refused:
            opener()
        assert "nothing was changed" in (refused.value.hint or "")
        assert digests(path) == before


def test_a_day_sealed_by_a_newer_release_keeps_an_older_agent_out_as_well(tmp_path: Path) -> None:
    path = current(tmp_path / "store")
    (name,) = manifest.names(path)
    file = manifest.path_of(path, name)
    body = file.read_bytes().partition(b"\n")[0].replace(b'"version": 4', b'"version": 7')
    file.write_bytes(body + b"\n" + hashlib.sha256(body).hexdigest().encode() + b"\n")
    before = digests(path)
    with pytest.raises(LocalError, match="has version 7; this linkwitness knows versions up to 4"):
        Store.open(path, clock=SteppedClock(), site="lab")
    with pytest.raises(LocalError, match="has version 7"), StoreReader.open(path) as reader:
        reader.series()
    assert digests(path) == {**before, **{k: v for k, v in digests(path).items() if k.endswith(("-shm", "-wal"))}}


def test_after_the_newer_release_has_gone_back_to_its_store_all_is_there(tmp_path: Path) -> None:
    """Downgraded by mistake, refused, upgraded again: the newer release finds what it left."""
    path = current(tmp_path / "store")
    before = rows(path)
    newer_release(path)
    with pytest.raises(LocalError):
        Store.open(path, clock=SteppedClock(), site="lab")
    with closing(sqlite3.connect(path / LIVE_FILE)) as connection:
        assert connection.execute("SELECT data FROM receipts").fetchone() == (b"\x00\xff",)
        assert connection.execute("PRAGMA user_version").fetchone() == (NEWER,)
    assert rows(path) == before


def test_the_header_is_read_as_sqlite_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    assert header.read(path) is None
    path.write_bytes(b"garbage" * 100)
    assert header.read(path) is None
    path.unlink()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("CREATE TABLE a(b)")
        for version in (1, 5, 70_000):
            connection.execute(f"PRAGMA user_version = {version}")
            connection.execute(f"PRAGMA application_id = {version + 1}")
            assert header.read(path) == header.Header(version, version + 1)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert header.read(path) == header.Header(70_000, 70_001)
        connection.execute("BEGIN")
        connection.execute("PRAGMA user_version = 9")
        assert header.read(path) == header.Header(70_000, 70_001)
        connection.execute("COMMIT")
        assert header.read(path) == header.Header(9, 70_001)
        (log := path.with_name("a.sqlite-wal")).write_bytes(log.read_bytes()[:40])
        assert header.read(path) == header.Header(70_000, 70_001)
