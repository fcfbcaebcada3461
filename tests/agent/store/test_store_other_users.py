"""Who may read: other users beside the daemon and after it, root without leaving files the daemon cannot open."""

import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from agent.store import Store, StoreReader
from agent.store.records import LIVE_FILE
from probes.core.clock import SystemClock
from probes.core.errors import LocalError
from tests.fakes.samples import ping

NOBODY, DAEMON = 65534, 1


def as_user(user: int, function: Callable[[Path], object], path: Path) -> object:
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
    try:
        return function(path)
    except LocalError as error:
        return str(error)


def run_as(user: int, function: Callable[[Path], object], path: Path) -> object:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(as_user, user, function, path).result(timeout=60)


def count(path: Path) -> int:
    with StoreReader.open(path) as reader:
        return reader.status().rows + 0 * len(reader.after(0, 10))


def keep_ten(path: Path) -> bool:
    store = Store.open(path, clock=SystemClock(), site="lab")
    store.append([ping(n) for n in range(10)])
    return store.flush(10.0) and store.close(10.0)


@pytest.fixture
def shared() -> Iterator[Path]:
    place = Path(tempfile.mkdtemp(prefix="lw-store-"))
    place.chmod(0o755)
    path = place / "store"
    path.mkdir(mode=0o755)
    os.chown(path, DAEMON, DAEMON)
    yield path
    shutil.rmtree(place)


@pytest.mark.root
def test_another_user_reads_beside_the_daemon_and_after_a_clean_stop(shared: Path) -> None:
    store = Store.open(shared, clock=SystemClock(), site="lab")
    store.append([ping(n) for n in range(10)])
    assert store.flush(10.0)
    assert run_as(NOBODY, count, shared) == 10
    assert store.close(10.0)
    assert not (shared / f"{LIVE_FILE}-wal").exists()
    assert run_as(NOBODY, count, shared) == 10


@pytest.mark.root
def test_root_looking_in_does_not_lock_the_daemon_out(shared: Path) -> None:
    assert run_as(DAEMON, keep_ten, shared) is True
    assert count(shared) == 10
    assert {entry.stat().st_uid for entry in shared.iterdir()} == {DAEMON}
    assert run_as(DAEMON, keep_ten, shared) is True


@pytest.mark.root
def test_a_user_who_may_not_look_is_told(shared: Path) -> None:
    assert run_as(DAEMON, keep_ten, shared) is True
    shared.chmod(0o700)
    assert "cannot be read" in str(run_as(NOBODY, count, shared))
