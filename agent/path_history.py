"""How a path compares with the ones before: what changed, in words. Pure.

Positions are compared, not lists: a hop that is silent now or was silent before is compatible with anything. A
position that goes to and fro between the same addresses is a load balancer's, and is told no more.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Final

from probes.core.model import Path

REMEMBERED: Final = 8
"""Runs after which an address or a length is forgotten."""
BALANCED: Final = 3
"""Changes among the runs remembered from which on a return to a known value is no news."""
_MOST_HOPS: Final = 64


def _remembered() -> deque[Hashable]:
    return deque(maxlen=REMEMBERED)


@dataclass(slots=True)
class PathHistory:
    """What was seen of the path of one probe."""

    last: Path | None = None
    remote: str | None = None
    _hops: dict[int, deque[Hashable]] = field(default_factory=dict)
    _length: deque[Hashable] = field(default_factory=_remembered)

    def take(self, path: Path, remote: str | None) -> str | None:
        """Remember this path; what is different from before, None where nothing is."""
        if self.last is not None and self.last.protocol != path.protocol:
            self.__init__()  # type: ignore[misc] # another flow has another path
        before, changes = self.last, self._changes(path, remote)
        self.last, self.remote = path, remote
        if before is None or not changes:
            return None
        return "; ".join([*changes, f"before: {in_a_row(before)}", f"now: {in_a_row(path)}"])

    def _changes(self, path: Path, remote: str | None) -> list[str]:
        said = []
        if self.last is not None and self.remote != remote:
            said.append(f"the target is now {remote}, was {self.remote}")
            self._hops.clear()
            self._length.clear()
        for hop in path.hops[:_MOST_HOPS]:
            if hop.address is None:
                continue
            seen = self._hops.setdefault(hop.ttl, _remembered())
            was = seen[-1] if seen else None
            if _is_news(seen, hop.address):
                said.append(f"hop {hop.ttl} is now {hop.address}, was {was}")
        if path.reached:
            had = self._length[-1] if self._length else None
            if _is_news(self._length, len(path.hops)):
                said.append(f"{len(path.hops)} hops, were {had}")
        return said


def in_a_row(path: Path) -> str:
    """`10.0.0.1 * 192.0.2.7`: who answered at hop 1, 2, ...; `...` where the target was not reached."""
    shown = [hop.address or "*" for hop in path.hops[:_MOST_HOPS]]
    while shown and shown[-1] == "*":
        shown.pop()
    return " ".join(shown if path.reached else [*shown, "..."])


def _is_news(seen: deque[Hashable], value: Hashable) -> bool:
    """Remembers the value; True where it differs from the last one and is no alternative of a load balancer."""
    known = list(seen)
    seen.append(value)
    if not known or known[-1] == value:
        return False
    return not (value in known and _turns([*known, value]) > BALANCED)


def _turns(values: Sequence[Hashable]) -> int:
    return sum(one != other for one, other in itertools.pairwise(values))
