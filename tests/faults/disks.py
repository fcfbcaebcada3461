"""What a disk does to the store, made by hand: it fills up, it turns read-only, and back."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.faults.injection import store_paths, traced

_BLOCK: Final = bytes(4096)


def fill(place: Path) -> None:
    """Not an octet more fits."""
    descriptor = os.open(place / "filler", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        with contextlib.suppress(OSError):
            while os.write(descriptor, _BLOCK):
                pass
    finally:
        os.close(descriptor)


def empty(place: Path) -> None:
    (place / "filler").unlink()


def remount(place: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(place)], check=True, timeout=20)


def mount_of(path: Path) -> Path:
    """The file system it lies on."""
    return next(parent for parent in path.parents if parent.is_mount())


@contextlib.contextmanager
def writes_refused(task: int, store: Path, *, follow: bool) -> Iterator[None]:
    """What a file system that the kernel made read-only answers to those who have files open (`remount` cannot do it:
    it waits for them to close)."""
    rule = "pwrite64,ftruncate,fdatasync,fsync,fallocate,unlink,rename,mkdir:error=EROFS"
    calls = rule.partition(":")[0]
    with traced(
        task, Path(f"{mount_of(store)}.strace"), rule=rule, paths=store_paths(store), calls=calls, follow=follow
    ):  # fmt: skip
        yield


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Something that keeps the store from writing. words: what the agent says of it; reason: of the gap it leaves."""

    name: str
    words: str
    reason: str
    begin: Callable[[Path], None]
    end: Callable[[Path], None]


FULL: Final = Obstacle("full", "full|No space left", "disk full", fill, empty)
READ_ONLY: Final = Obstacle(
    "read-only", "readonly|[Rr]ead-only", "read-only",
    lambda place: remount(place, "ro"), lambda place: remount(place, "rw"),
)  # fmt: skip


@contextlib.contextmanager
def obstructed(obstacle: Obstacle, place: Path) -> Iterator[None]:
    """While nobody has a file open there for writing, if it is to be read-only."""
    obstacle.begin(place)
    try:
        yield
    finally:
        obstacle.end(place)


@contextlib.contextmanager
def obstructed_now(obstacle: Obstacle, store: Path, task: int, *, follow: bool = False) -> Iterator[None]:
    """Under a process (follow) or thread that has the store open;"""
    if obstacle is READ_ONLY:
        with writes_refused(task, store, follow=follow):
            yield
    else:
        with obstructed(obstacle, mount_of(store)):
            yield
