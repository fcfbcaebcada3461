"""Entries of the store's directory that cannot be what their names say: a directory called `reserve`, a file called
`sealed`, a log that is a socket. They are moved into `damaged/` as they are, and the start goes on."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from agent.store.directory import DAMAGED_FOLDER, LOCK_FILE, PARTS, RESERVE_FILE, set_aside
from agent.store.records import LIVE_FILE
from agent.store.sealed.manifest import FOLDER

_FILES: Final = (*(LIVE_FILE + part for part in PARTS), RESERVE_FILE, f"{FOLDER}/{LOCK_FILE}")
_FOLDERS: Final = (FOLDER,)


def clear_lock(store: Path) -> list[str]:
    """Make way for the lock, which comes before everything else; returns what was moved. Raises OSError."""
    return _clear(store, (LOCK_FILE,), stat.S_ISREG)


def clear(store: Path) -> list[str]:
    """Move aside what cannot be what its name says; returns the names it has in `damaged/`. Raises OSError."""
    _clear_damaged(store / DAMAGED_FOLDER)
    return [*_clear(store, _FOLDERS, stat.S_ISDIR), *_clear(store, _FILES, stat.S_ISREG)]


def _clear(store: Path, names: tuple[str, ...], fits: Callable[[int], bool]) -> list[str]:
    wrong = [store / name for name in names if not _fits(store / name, fits)]
    if not wrong:
        return []
    _clear_damaged(store / DAMAGED_FOLDER)
    return set_aside(store, wrong)


def _clear_damaged(folder: Path) -> None:
    if not _fits(folder, stat.S_ISDIR):
        folder.rename(_free(folder))


def _fits(path: Path, fits: Callable[[int], bool]) -> bool:
    """Nothing, and what cannot be looked at, fits as well. A link fits by what it leads to; one that leads round in a
    circle fits nothing."""
    try:
        return fits(path.stat().st_mode)
    except FileNotFoundError:
        return True
    except OSError:
        return not path.is_symlink()


def _free(path: Path) -> Path:
    number = 1
    while os.path.lexists(path.with_name(f"{path.name}-{number}")):
        number += 1
    return path.with_name(f"{path.name}-{number}")
