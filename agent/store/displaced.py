"""A store that was moved or deleted under the running agent: found within a second, said, and set right.

SQLite goes on writing into the file it has open, whatever stands under its name. A file that was deleted so holds all
that was kept, but nobody will read it once the agent has ended: its content is copied to where it belongs. A file that
was moved is somewhere else, whole: a fresh one is started.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final

PAGES: Final = 1024
"""Pages copied between two signs of life."""
_UNFINISHED: Final = ".unfinished"
DELETED: Final = "deleted"
MOVED_AWAY: Final = "moved away"


class Hold:
    """Remembers which file was opened under a name. O_PATH: closing it drops no lock of SQLite's."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)

    def displaced(self) -> str | None:
        """DELETED or MOVED_AWAY where another file, or none, has the name now; what cannot be seen tells nothing."""
        own = os.fstat(self._descriptor)
        try:
            found = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return MOVED_AWAY if own.st_nlink else DELETED
        except OSError:
            return None
        if (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino):
            return None
        return MOVED_AWAY if own.st_nlink else DELETED

    def close(self) -> None:
        """Forget the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def rescue(connection: sqlite3.Connection, target: Path, alive: Callable[[], None]) -> None:
    """Copy all that the connection sees to `target`, durably, whole or not at all. Raises sqlite3.Error, OSError."""
    unfinished = target.with_name(f"{target.name}{_UNFINISHED}")
    unfinished.unlink(missing_ok=True)
    try:
        with contextlib.closing(sqlite3.connect(unfinished, isolation_level=None)) as copy:
            connection.backup(copy, pages=PAGES, progress=lambda *_: alive())
            copy.execute("PRAGMA journal_mode = DELETE")
        descriptor = os.open(unfinished, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        unfinished.rename(target)
    finally:
        unfinished.unlink(missing_ok=True)


def abandon(connection: sqlite3.Connection) -> None:
    """Never close it: SQLite would remove the log by its name, which now is that of another database."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
