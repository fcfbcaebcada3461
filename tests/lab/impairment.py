"""What happens to each frame of one direction of the emulated link. Pure: `now` and the seed come in as arguments.

Every frame draws the same number of random values whatever the settings, so that a seed gives the same fates to the
same frames when only a delay is changed.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, fields, replace
from enum import IntEnum

SECOND = 1_000_000_000
BITS_PER_OCTET = 8


class Reason(IntEnum):
    """Why a frame was dropped. NONE for one that was not."""

    NONE = 0
    RANDOM = 1
    EVERY = 2
    PERIOD = 3
    OUTAGE = 4
    QUEUE = 5
    SEND_ERROR = 6
    SHUTDOWN = 7


REORDERED = 1
"""flag: held longer on purpose, so that later frames overtake it"""
CORRUPTED = 2
"""flag: one bit of the last octet was flipped"""
EXEMPT = 4
"""flag: neighbour discovery, ARP and the like, passed at once"""


@dataclass(frozen=True, slots=True)
class Impairment:
    """Settings of one direction. Ratios 0..1; `..._every` n means each n-th frame since the setting; 0 is off."""

    delay_ns: int = 0
    jitter_ns: int = 0
    """each frame waits a uniform 0..jitter_ns beyond delay_ns"""
    ordered: bool = True
    """jitter never lets a frame overtake an earlier one"""
    loss: float = 0.0
    loss_every: int = 0
    loss_periods: tuple[tuple[int, int, float], ...] = ()
    """(start_ns, end_ns, ratio), UTC, half-open"""
    outages: tuple[tuple[int, int], ...] = ()
    """(start_ns, end_ns), UTC, half-open: every frame that arrives is dropped"""
    duplicate: float = 0.0
    duplicate_every: int = 0
    duplicate_delay_ns: int = 0
    """the copy follows the frame by this much"""
    reorder: float = 0.0
    reorder_every: int = 0
    reorder_delay_ns: int = 20_000_000
    """extra hold of a frame chosen to be overtaken"""
    corrupt: float = 0.0
    corrupt_every: int = 0
    rate_bps: int = 0
    """serialisation rate over whole Ethernet frames without preamble and FCS; 0 is unlimited"""
    queue_bytes: int = 100_000
    """frames that find more than this waiting for the rate are dropped"""

    def changed(self, changes: dict[str, object]) -> Impairment:
        """With these settings replaced. Raises ValueError for a name that is none."""
        known = {item.name for item in fields(self)}
        if unknown := set(changes) - known:
            raise ValueError(f"no such impairment: {', '.join(sorted(unknown))}")
        listed = {name: _tuples(value) for name, value in changes.items()}
        return replace(self, **listed)  # type: ignore[arg-type]


def _tuples(value: object) -> object:
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value


def _every(impairment: Impairment) -> tuple[int, ...]:
    link = impairment
    return (link.loss_every, link.duplicate_every, link.reorder_every, link.corrupt_every)


@dataclass(frozen=True, slots=True)
class Release:
    """One frame to send: when, and with which flags. `copy` 0 is the frame itself, 1 its duplicate."""

    due_ns: int
    flags: int
    copy: int


@dataclass(frozen=True, slots=True)
class Fate:
    """Either a reason to drop, or the releases of the frame and its copies."""

    reason: Reason = Reason.NONE
    releases: tuple[Release, ...] = ()


@dataclass(slots=True)
class Direction:
    """The state one direction needs beside its settings."""

    seed: str
    impairment: Impairment = field(default_factory=Impairment)
    _random: random.Random = field(init=False)
    _count: int = 0
    _last_due_ns: int = 0
    _line_free_ns: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def set(self, impairment: Impairment) -> None:
        """From now on. Where an n-th frame is chosen anew, counting starts anew."""
        if _every(impairment) != _every(self.impairment):
            self._count = 0
        self.impairment = impairment

    def decide(self, arrival_ns: int, size: int) -> Fate:
        """Fate of a frame of `size` octets that arrived at `arrival_ns`."""
        link = self.impairment
        lose, period, double, overtake, damage, wait = (self._random.random() for _ in range(6))
        self._count += 1
        if reason := self._loss(arrival_ns, lose, period):
            return Fate(reason)
        start = max(arrival_ns, self._line_free_ns)
        if link.rate_bps:
            if (start - arrival_ns) * link.rate_bps > link.queue_bytes * BITS_PER_OCTET * SECOND:
                return Fate(Reason.QUEUE)
            start += size * BITS_PER_OCTET * SECOND // link.rate_bps
            self._line_free_ns = start
        else:
            start = arrival_ns
        due = start + link.delay_ns + int(wait * link.jitter_ns)
        flags = CORRUPTED if self._chosen(damage, link.corrupt, link.corrupt_every) else 0
        if self._chosen(overtake, link.reorder, link.reorder_every):
            due += link.reorder_delay_ns
            flags |= REORDERED
        elif link.ordered:
            due = self._last_due_ns = max(due, self._last_due_ns)
        releases = [Release(due, flags, 0)]
        if self._chosen(double, link.duplicate, link.duplicate_every):
            releases.append(Release(due + link.duplicate_delay_ns, flags, 1))
        return Fate(releases=tuple(releases))

    def _loss(self, arrival_ns: int, lose: float, period: float) -> Reason:
        link = self.impairment
        if any(start <= arrival_ns < end for start, end in link.outages):
            return Reason.OUTAGE
        if any(start <= arrival_ns < end and period < ratio for start, end, ratio in link.loss_periods):
            return Reason.PERIOD
        if link.loss_every and self._count % link.loss_every == 0:
            return Reason.EVERY
        return Reason.RANDOM if lose < link.loss else Reason.NONE

    def _chosen(self, drawn: float, ratio: float, every: int) -> bool:
        return drawn < ratio or bool(every and self._count % every == 0)
