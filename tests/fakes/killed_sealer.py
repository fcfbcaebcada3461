"""A process that seals, releases or retires and kills itself before its n-th step towards the disk.

`run` does it in a process forked from one that has loaded everything; it answers with the number of steps when it came
through. Steps are every fsync, rename, unlink, directory made or removed, Parquet file written, and SQLite commit of
the release. Seeded bugs: `early`, rows leave the live database before their files have a manifest; `unowed`, they leave
without a note of the sinks that lack them.
"""

import os
import shutil
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from agent.config.settings import StoreSettings
from agent.store import Store, livefile, owing, writer
from agent.store.records import Retired
from agent.store.sealed import manifest, parquet, process, sealing, slices
from agent.store.sealed.keeper import Keeper
from probes.core.clock import SystemClock

KEPT_NS = 1 << 62


class Steps:
    """Counts steps and kills this process before the one asked for."""

    def __init__(self, fatal: int) -> None:
        self.fatal, self.done = fatal, 0

    def counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **more: Any) -> Any:
            if self.done == self.fatal:
                os.kill(os.getpid(), signal.SIGKILL)
            self.done += 1
            return call(*args, **more)

        return step


def seal_here(path: Path, *, timeout_s: float, stop: object, **what: int) -> str | None:  # noqa: ARG001 # the process'
    """What the process does, without the process."""
    part = sealing.seal_next(path, **what)
    return None if part is None else part.name


def run(path: Path, fatal: int, sliced: bool, bug: str | None, answer: Connection) -> None:
    """One pass of the keeper. sliced: parts of a day, because the live database is too large."""
    store = Store.open(path, clock=SystemClock(), site="lab")
    steps = Steps(fatal)
    if bug == "unowed":
        owing.note = lambda *_values: None
    for place, name in (
        (os, "fsync"), (Path, "rename"), (Path, "unlink"), (Path, "mkdir"), (shutil, "rmtree"), (parquet, "write"),
        (livefile.LiveFile, "release"),
    ):  # fmt: skip
        setattr(place, name, steps.counted(getattr(place, name)))
    process.seal_one = seal_here
    slices.MOST_ROWS, writer.LEAVING_ROWS = 26, 15
    Store.retire = lambda *_values, **_more: Retired(0, 0, True)  # packets leave only once they are sealed
    if bug == "early":
        honest = manifest.write

        def write(directory: Path, part: manifest.Part) -> None:
            store.release(part)
            honest(directory, part)

        manifest.write = write
    bounds = {"seal_after_ns": KEPT_NS, "live_bytes": 1} if sliced else {"seal_after_ns": 0}
    policy = StoreSettings(path, keep_packets_ns=0, keep_samples_ns=KEPT_NS, **bounds)
    Keeper(path, store, SystemClock(), lambda _kind, _text: None).work(policy)
    answer.send(steps.done)
    os._exit(0)
