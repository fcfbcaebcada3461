"""The manifests of a store as a reader keeps them, and what it does about damaged files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from agent.store.sealed import manifest
from agent.store.sealed.manifest import DamagedSeal, Part
from agent.store.sealed.reading import Identity, SealedDays

Answer = TypeVar("Answer")

_CHECKED: Final = 100_000
"""Files remembered as whole: those of two years of a hundred circuits."""

_TRIES: Final = 5
"""Looks at the manifests during one answer: each follows a file that retention has just removed."""


class SealedParts:
    """Not safe from several threads. damaged: by path, what was left out."""

    def __init__(self, store: Path, *, ignore_damaged: bool = False) -> None:
        self.damaged: dict[Path, DamagedSeal] = {}
        self._store, self._ignore_damaged = store, ignore_damaged
        self._checked: set[Identity] = set()
        self._known: dict[str, tuple[tuple[int, int, int], Part]] = {}

    def current(self, about: str | None = None) -> list[Part]:
        """Every part, by day and number. Raises DamagedSeal, LocalError, OSError.

        about: the one part that is asked about: others whose manifest is damaged are passed over.
        """
        known, found = self._known, []
        self._known = {}
        names = manifest.names(self._store)
        for damage in manifest.displaced(self._store, names) if about is None else ():
            self._leave_out(damage)
        for name in names:
            try:
                part = self._load(name, known.get(name))
            except FileNotFoundError:
                continue
            except DamagedSeal as damage:
                if about in (None, name):
                    self._leave_out(damage)
                continue
            found.append(part)
        return found

    def _load(self, name: str, known: tuple[tuple[int, int, int], Part] | None) -> Part:
        path = manifest.path_of(self._store, name)
        status = path.stat() if path.exists() else None
        identity = (0, 0, 0) if status is None else (status.st_ino, status.st_mtime_ns, status.st_size)
        part = known[1] if known is not None and known[0] == identity else manifest.load(self._store, name)
        self._known[name] = (identity, part)
        return part

    def read(self, answer: Callable[[SealedDays], Answer], about: str | None = None) -> Answer:
        """The answer over all parts, or over those that can be read where damage is ignored. about: as in `current`."""
        days = self._days(about)
        tries = 0
        while True:
            try:
                return answer(days)
            except FileNotFoundError as error:
                tries += 1
                path = Path(error.filename)
                days = self._days(about)
                left = days.without(path)
                if left is not None:
                    self._leave_out(DamagedSeal(path, "it is missing"))
                    days = left
                elif tries >= _TRIES:
                    raise
            except DamagedSeal as damage:
                self._leave_out(damage)
                left = days.without(damage.path)
                if left is None:
                    raise
                days = left

    def _days(self, about: str | None) -> SealedDays:
        if len(self._checked) > _CHECKED:
            self._checked.clear()
        days = SealedDays(self._store, self.current(about), self._checked)
        for path in self.damaged:
            days = days.without(path) or days
        return days

    def _leave_out(self, damage: DamagedSeal) -> None:
        if not self._ignore_damaged:
            raise damage
        self.damaged[damage.path] = damage
