"""System calls that fail or take long because strace says so, in a process that is running."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

CALLS: Final = (
    "openat", "pread64", "pwrite64", "fdatasync", "fsync", "ftruncate", "fallocate", "unlink", "rename", "mkdir",
    "fcntl",
)  # fmt: skip
PATIENCE_S: Final = 20.0
_LINE: Final = re.compile(r"(\d+) +(\w+)\(")


def store_paths(store: Path) -> list[Path]:
    """Everything that a store may touch."""
    names = ("live.sqlite", "live.sqlite-wal", "live.sqlite-shm", "lock", "reserve", "damaged")
    return [store, *(store / name for name in names)]


@contextlib.contextmanager
def traced(
    task: int, log: Path, *, rule: str | None = None, paths: Sequence[Path] = (), calls: str = ",".join(CALLS),
    follow: bool = True, more: Sequence[str] = (),
) -> Iterator[None]:  # fmt: skip
    """Attach to a process (follow) or to one thread: calls on these paths are noted and `rule` is injected. more:
    options of strace.

    Detaches at the end; the process goes on without faults.
    """
    command = ["strace", "-qqq", *(["-f"] if follow else []), "-o", str(log), "-e", f"trace={calls}", *more]
    for path in paths:
        command += ["-P", str(path)]
    if rule:
        command += ["-e", f"inject={rule}"]
    tracer = subprocess.Popen([*command, "-p", str(task)], stderr=subprocess.PIPE, text=True)
    try:
        _await_attached(task, tracer, follow)
        yield
    finally:
        _end(tracer)


def _end(tracer: subprocess.Popen[str]) -> None:
    """It ends with what it traces; while that runs it is told to detach. A dead tracer detaches as well."""
    for word, seconds in ((None, 0.2), (signal.SIGINT, 2.0), (signal.SIGKILL, PATIENCE_S)):
        if word is not None:
            tracer.send_signal(word)
        with contextlib.suppress(subprocess.TimeoutExpired):
            tracer.communicate(timeout=seconds)
            return


def _await_attached(task: int, tracer: subprocess.Popen[str], follow: bool) -> None:
    deadline = time.monotonic() + PATIENCE_S
    listed = Path(f"/proc/{task}/task") if follow else Path("/proc/self/task")
    while True:
        tasks = list(listed.iterdir()) if follow else [listed / str(task)]
        if all("TracerPid:\t0\n" not in (path / "status").read_text("ascii") for path in tasks):
            return
        assert tracer.poll() is None, tracer.communicate()[1]
        assert time.monotonic() < deadline, "strace does not attach"
        time.sleep(0.002)


def counted(log: Path) -> Counter[str]:
    """Call -> how often the thread that made it most often made it: strace counts for each thread."""
    by_thread: Counter[tuple[str, str]] = Counter()
    for line in log.read_text("utf-8", "replace").splitlines():
        if found := _LINE.match(line):
            by_thread[found[2], found[1]] += 1
    most: Counter[str] = Counter()
    for (call, _thread), times in by_thread.items():
        most[call] = max(most[call], times)
    return most


def injected(log: Path) -> int:
    """How many calls were made to fail."""
    return log.read_text("utf-8", "replace").count("(INJECTED)") if log.exists() else 0
