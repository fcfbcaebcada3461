"""A process that seals, releases or retires and kills itself before its n-th step towards the disk.

`python -m tests.fakes.killed_sealer STORE STEP [early]`: prints the number of steps when it came through. Steps are
every fsync, rename, unlink, directory made or removed, Parquet file written, and SQLite commit of the release.
`early`: the seeded bug, rows leave the live database before their files have a manifest.
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.config.settings import StoreSettings
from agent.store import Store, livefile
from agent.store.records import Retired
from agent.store.sealed import manifest, parquet, process, sealing
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


def seal_here(path: Path, *, before_day: int, now_ns: int, **_more: object) -> str | None:
    """What the process does, without the process."""
    part = sealing.seal_next(path, before_day=before_day, now_ns=now_ns)
    return None if part is None else part.name


def main() -> None:
    path, fatal, early = Path(sys.argv[1]), int(sys.argv[2]), "early" in sys.argv[3:]
    store = Store.open(path, clock=SystemClock(), site="lab")
    steps = Steps(fatal)
    for place, name in (
        (os, "fsync"), (Path, "rename"), (Path, "unlink"), (Path, "mkdir"), (shutil, "rmtree"), (parquet, "write"),
        (livefile.LiveFile, "release"),
    ):  # fmt: skip
        setattr(place, name, steps.counted(getattr(place, name)))
    process.seal_one = seal_here
    Store.retire = lambda *_values, **_more: Retired(0, 0, True)  # packets leave only once they are sealed
    if early:
        honest = manifest.write

        def write(directory: Path, part: manifest.Part) -> None:
            store.release(part)
            honest(directory, part)

        manifest.write = write
    policy = StoreSettings(path, keep_packets_ns=0, keep_samples_ns=KEPT_NS, seal_after_ns=0)
    Keeper(path, store, SystemClock(), lambda _kind, _text: None).work(policy)
    print(steps.done, flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
