"""The store's directory: who holds it, what was moved aside, the space kept in reserve."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from agent.store import identity, schema
from agent.store.identity import Witness
from agent.store.records import LIVE_FILE, Owner
from agent.store.sealed import manifest
from agent.store.sealed.manifest import DamagedSeal
from probes.core.errors import LocalError

LOCK_FILE: Final = "lock"
DAMAGED_FOLDER: Final = "damaged"
RESERVE_FILE: Final = "reserve"
_RESERVE_BYTES: Final = 1 << 20
_LABEL: Final = 65_536
"""Bytes of the lock file that are read: a label has 512."""
PARTS: Final = ("", "-wal", "-shm")
"""What a database consists of: suffixes of its file names."""
_FINAL: Final = (
    errno.EACCES, errno.EPERM, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG,
    errno.ENOTSUP,
)  # fmt: skip


class DiskTrouble(LocalError):  # noqa: N818 # a state of the disk
    """No space, read-only, I/O error, no descriptors left: another try may do better. number: of the system's error."""

    def __init__(self, message: str, *, hint: str = "", number: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.errno = number


class Directory:
    """An exclusive hold on a store's directory; the kernel drops it with the process, however that ends."""

    def __init__(self, path: Path, descriptor: int, owner: Owner) -> None:
        self.path = path
        self.live = path / LIVE_FILE
        self.witness = Witness.decode(_label(path))
        """what the last session left in the lock file"""
        self._lock, self._owner = descriptor, owner

    @staticmethod
    def claim(path: Path, owner: Owner) -> Directory:
        """Create and lock the directory. Raises LocalError naming the process that holds it, or what forbids it;
        DiskTrouble where that may pass.
        """
        try:
            path.mkdir(mode=0o750, parents=True, exist_ok=True)
            descriptor = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o640)
        except OSError as error:
            text = f"the store {path} cannot be used: {error.strerror}"
            if error.errno not in _FINAL:
                raise DiskTrouble(text, hint="is the disk full, failing or read-only?", number=error.errno) from None
            raise LocalError(
                text, hint="give `store.path` a directory this user can write, or start as a user who can"
            ) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise _refusal(path, error) from None
        try:
            check_versions(path)
            directory = Directory(path, descriptor, owner)
            directory.sign(directory.witness)
        except BaseException:
            os.close(descriptor)
            raise
        return directory

    def sign(self, witness: Witness) -> None:
        """Say in the lock file who holds the directory and what is known of the database."""
        label = {"pid": self._owner.pid, "boot_id": self._owner.boot_id, "started_ns": self._owner.started_ns}
        with contextlib.suppress(OSError):  # a failing disk: the lock holds, only its label is old
            data = identity.record(label, witness)
            os.ftruncate(self._lock, os.pwrite(self._lock, data, 0))

    def bear_witness(self, newest_seq: int) -> None:
        """Note in the lock file that the database is this file, and how far it has got."""
        with contextlib.suppress(OSError):
            self.witness = self.witness.seeing(self.live, newest_seq)
            self.sign(self.witness)

    def holds(self) -> bool:
        """Whether what is locked still is the lock file of this directory."""
        try:
            found, own = (self.path / LOCK_FILE).stat(), os.fstat(self._lock)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino)

    def release(self) -> None:
        """Let the next process in."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def move_aside(self, now_ns: int) -> str:
        """Put the live database with its -wal and -shm into `damaged/`; returns the new name. Raises OSError."""
        target = self.path / DAMAGED_FOLDER
        target.mkdir(mode=0o750, exist_ok=True)
        stamp = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC).strftime("%Y%m%dT%H%M%SZ")
        name, number = f"live-{stamp}.sqlite", 1
        while (target / name).exists():
            number += 1
            name = f"live-{stamp}-{number}.sqlite"
        self.live.rename(target / name)  # first: a log without its database is found again and belongs to the newest
        self._move_logs(target / name)
        return name

    def move_leftovers(self) -> str | None:
        """End a move that was cut off; returns the name of what was moved, None where nothing was left."""
        logs = [Path(f"{self.live}{part}") for part in PARTS[1:]]
        if self.live.exists() or not any(path.exists() for path in logs):
            return None
        names = [name for name in damaged_files(self.path) if (self.path / DAMAGED_FOLDER / name).is_file()]
        if not names:
            return None
        newest = max(names, key=lambda name: (self.path / DAMAGED_FOLDER / name).stat().st_ctime_ns)
        self._move_logs(self.path / DAMAGED_FOLDER / newest)
        return newest

    def _move_logs(self, moved: Path) -> None:
        for part in PARTS[1:]:
            with contextlib.suppress(FileNotFoundError):
                Path(f"{self.live}{part}").rename(f"{moved}{part}")
        _sync(moved.parent)
        _sync(self.path)

    def sync(self) -> None:
        """Make the names of the files durable, and that of the directory. Raises OSError."""
        _sync(self.path)
        with contextlib.suppress(PermissionError):
            _sync(self.path.parent)

    def keep_reserve(self) -> None:
        """Hold 1 MiB back, so that a full disk still takes the record of what it cost."""
        path = self.path / RESERVE_FILE
        with contextlib.suppress(OSError):
            if path.exists() and path.stat().st_size == _RESERVE_BYTES:
                return
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o640)
            try:
                os.posix_fallocate(descriptor, 0, _RESERVE_BYTES)
            finally:
                os.close(descriptor)

    def spend_reserve(self) -> bool:
        """Give the reserve back to the file system; False where there is none."""
        with contextlib.suppress(OSError):
            (self.path / RESERVE_FILE).unlink()
            return True
        return False


def set_aside(store: Path, found: Sequence[Path]) -> list[str]:
    """Move damaged files or directories of the store into `damaged/`; returns their names there. Raises OSError."""
    target = store / DAMAGED_FOLDER
    target.mkdir(mode=0o750, exist_ok=True)
    names = []
    for path in found:
        name, number = path.name, 1
        while os.path.lexists(target / name):
            number += 1
            name = f"{path.name}-{number}"
        with contextlib.suppress(FileNotFoundError):
            path.rename(target / name)
            names.append(name)
    _sync(target)
    return names


def check_versions(path: Path) -> None:
    """Raises LocalError for a store of a newer linkwitness, before a byte of it changes."""
    with contextlib.suppress(OSError):
        schema.check_file(path / LIVE_FILE)
        for name in manifest.names(path)[-1:]:
            with contextlib.suppress(DamagedSeal):
                manifest.load(path, name)


def owner_of(path: Path) -> Owner | None:
    """Who last claimed the directory; None where nobody did or it may not be read."""
    record = _label(path)
    try:
        return Owner(int(record["pid"]), str(record["boot_id"]), int(record["started_ns"]))
    except (ValueError, KeyError, TypeError):
        return None


def _label(path: Path) -> dict[str, Any]:
    try:
        found = json.loads((path / LOCK_FILE).read_bytes()[:_LABEL])
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def held(path: Path) -> bool:
    """Whether a process holds the directory now. Asks the kernel's list: trying the lock could refuse a daemon."""
    return _holder(path) is not None


def _holder(path: Path) -> int | None:
    """Process that holds the lock by the kernel's list; 0 for one of another namespace of processes."""
    try:
        inode = str((path / LOCK_FILE).stat().st_ino)
        locks = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for field in (line.split() for line in locks):
        if field[1] == "FLOCK" and field[3] == "WRITE" and field[5].rpartition(":")[2] == inode:
            return int(field[4])
    return None


def damaged_files(path: Path) -> tuple[str, ...]:
    """Names of the databases and sealed days that were moved aside."""
    try:
        found = list((path / DAMAGED_FOLDER).iterdir())
        return tuple(sorted(entry.name for entry in found if entry.suffix == ".sqlite" or entry.is_dir()))
    except OSError:
        return ()


def _refusal(path: Path, error: OSError) -> LocalError:
    if error.errno not in (errno.EAGAIN, errno.EACCES):
        return LocalError(
            f"the store {path} cannot be locked: {error.strerror}", hint="keep the store on a local file system"
        )
    holder = _holder(path)
    who = f"process {holder}" if holder else "another process"
    return LocalError(
        f"the store {path} is in use by {who}", hint="stop that one first, or give this one its own `store.path`"
    )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
