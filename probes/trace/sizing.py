"""The largest packet that gets through whole: RFC 1191 and RFC 8201 where routers say so, else by search. Pure.

The search is that of RFC 4821 and RFC 8899: only an answer of the target proves a size, and a size counts as vanished
after TRIES packets without a word. What a router says may only make the size smaller, and never smaller than what got
through or the least every link must carry (68 octets in IPv4, RFC 791; 1280 in IPv6, RFC 8200 section 5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from probes.core.clock import MILLISECOND

TRIES: Final = 3
PAUSE: Final = 1100 * MILLISECOND
"""Before the third packet of a size: a router or target that was asked too often may speak again."""
PATIENCE: Final = 200 * MILLISECOND
"""A try lasts so long, or four round trips."""
STEPS: Final = 24
"""Sizes tried at most."""
LEAST: Final = {4: 68, 6: 1280}
_USUAL: Final = (9000, 1500, 1492, 1480, 1476, 1460, 1450, 1420, 1400, 1280, 576)
"""Sizes that links really have: the first guesses after a packet has vanished."""


@dataclass(slots=True)
class SizeSearch:
    """Ask `next`, tell `sent`, `arrived`, `refused`, `limited`. `now`: monotonic ns; sizes: octets of IP packets."""

    family: int
    low: int
    """gets through, as far as is known"""
    high: int
    """may get through"""
    rtt_ns: int
    timeout_ns: int
    limited_answers: bool = False
    """the target answers with errors, of which hosts send few"""
    hole: int | None = None
    """smallest size that vanished without a word"""
    proven: int = 0
    """largest size that the target answered"""
    dead: bool = False
    """not even the smallest size is answered any more"""
    _size: int = 0
    _tries: int = 0
    _since_ns: int = 0
    _steps: int = 0
    _searching: bool = False
    """no router told the size: halve what is left"""

    def __post_init__(self) -> None:
        self.low = min(self.low, self.high)
        self._size = self.high

    @property
    def done(self) -> bool:
        return self.dead or self.proven >= self.high or self._steps >= STEPS

    def next(self, now: int) -> int | None:
        """The size to send now; None for none yet, or none any more."""
        if self.done or now < self.wake():
            return None
        if self._tries >= TRIES:
            self._vanished()
            return None if self.done else self._size
        return self._size

    def wake(self) -> int:
        """When `next` may say something else."""
        return self._since_ns + (self._wait() if self._tries else 0)

    def sent(self, now: int) -> None:
        self._tries += 1
        self._since_ns = now

    def arrived(self, size: int) -> None:
        """The target answered a packet of this size."""
        self.proven = max(self.proven, size)
        self.low = max(self.low, size)
        if self.hole is not None and size >= self.hole:  # it was loss, not size
            self.hole = None
        if size >= self._size:
            self._choose()

    def refused(self, size: int, mtu: int | None) -> None:
        """A router says that this size is too big for it, and how much it takes."""
        if size > self.high:
            return
        fits = mtu is not None and max(LEAST[self.family], self.low) <= mtu < size
        self.high = mtu if fits and mtu is not None else max(self.low, size - 1)
        if self.hole is not None and self.hole > self.high:
            self.hole = None
        self._searching = not fits
        self._choose()

    def limited(self, size: int) -> None:
        """This host does not send that much in one packet."""
        self.high = max(self.low, min(self.high, size - 1))
        self._choose()

    def _wait(self) -> int:
        brief = min(self.timeout_ns, max(PATIENCE, 4 * self.rtt_ns))
        pause = self._tries == TRIES - 1 and (self.limited_answers or not self._searching)
        return max(brief, PAUSE) if pause else brief

    def _vanished(self) -> None:
        if self._size <= self.low:
            self.dead = True
            return
        self.hole = self._size if self.hole is None else min(self.hole, self._size)
        self.high = self._size - 1
        self._searching = True
        if self.proven:
            self._choose()
        else:
            self._begin(self.low)  # does the target answer at all?

    def _choose(self) -> None:
        """What is proven, if it is all there is; else the middle, or a usual size near it."""
        if self.done:
            return
        low, high = self.low, self.high
        if not self._searching or low >= high:
            self._begin(high)
            return
        usual = [size for size in _USUAL if low < size <= high]
        middle = (low + high + 1) // 2
        self._begin(usual[len(usual) // 2] if usual else middle)

    def _begin(self, size: int) -> None:
        self._size, self._tries, self._since_ns = size, 0, 0
        self._steps += 1
