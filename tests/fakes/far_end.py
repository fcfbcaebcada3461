"""A STAMP reflector of the fake network: a clock of its own, fates by the packet's turn."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from tests.fakes import stamp_octets
from tests.fakes.network import FakeNetwork, Reply, Sent
from tests.fakes.stamp_octets import PTP

MS = 1_000_000


@dataclass
class Way:
    """What happens to the n-th packet of a stream in one direction."""

    delay_ns: Callable[[int], int]
    lost: Callable[[int], bool] = lambda _: False
    twice: Callable[[int], bool] = lambda _: False


@dataclass
class FarEnd:
    """`fate` is a FakeNetwork's. Error estimate 0x8601: S=1, 2^6 units of 2^-32 s = 15 ns."""

    network: FakeNetwork
    forward: Way = field(default_factory=lambda: Way(lambda _: 3 * MS))
    backward: Way = field(default_factory=lambda: Way(lambda _: 7 * MS))
    residence_ns: int = 2 * MS
    offset_ns: int = 0
    """its clock less ours"""
    apart: bool = False
    """its clock goes on where ours is set"""
    steps: list[tuple[int, int]] = field(default_factory=list)
    """(monotonic ns, by how much) its clock is set"""
    error: int = 0x8601
    stateful: bool = True
    extensions: bool = True
    """it knows TLVs"""
    stamp_lag_ns: int = 0
    """the kernel sends so much later than T3 says"""
    key: bytes | None = None
    ttl: int = 57
    dscp: int = 46
    turns: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    first_number: int = 0
    requests: list[Sent] = field(default_factory=list)
    lost_forward: int = 0
    lost_backward: int = 0
    arrivals: dict[int, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    """(arrived, left) of the requests of each stream, monotonic ns, in order of arrival"""

    def fate(self, sent: Sent) -> list[Reply]:
        turn = self.turns[sent.stream]
        self.turns[sent.stream] += 1
        self.requests.append(sent)
        if self.forward.lost(turn):
            self.lost_forward += 1
            return []
        replies = []
        for copy in range(2 if self.forward.twice(turn) else 1):
            arrives = sent.at_ns + self.forward.delay_ns(turn) + copy * 50_000
            leaves = arrives + self.residence_ns
            insort(self.arrivals[sent.stream], (arrives, leaves))
            data = partial(self._reply, sent, arrives, leaves)
            if self.backward.lost(turn):
                self.lost_backward += 1 if copy == 0 else 0
                continue
            for again in range(2 if self.backward.twice(turn) else 1):
                after = leaves + self.backward.delay_ns(turn) + again * 50_000 - sent.at_ns
                replies.append(Reply(after, data=data, dscp=34))
        return replies

    def _word(self, monotonic_ns: int) -> int:
        network = self.network
        clock_ns = network.unset_at(monotonic_ns) if self.apart else network.wall_at(monotonic_ns)
        clock_ns += self.offset_ns + sum(by_ns for at_ns, by_ns in self.steps if at_ns <= monotonic_ns)
        return stamp_octets.word(clock_ns, ptp=bool(self.error & PTP))

    def _reply(self, sent: Sent, arrives: int, leaves: int) -> bytes:
        count = bisect_left(self.arrivals[sent.stream], (arrives, leaves))
        return stamp_octets.reply(
            sent.data, number=(count + self.first_number) % 2**32 if self.stateful else None, t2=self._word(arrives),
            t3=self._word(leaves - self.stamp_lag_ns), error=self.error, ttl=self.ttl, dscp=self.dscp, count=count + 1,
            before=self._follow_up(sent, count, leaves), key=self.key, extensions=self.extensions,
        )  # fmt: skip

    def restart(self) -> None:
        """All counters begin at 0 again."""
        self.arrivals.clear()

    def _follow_up(self, sent: Sent, count: int, leaves: int) -> tuple[int, int] | None:
        """Number and true departure of the reply before, if that has left."""
        if not count or not self.stateful:
            return None
        left = self.arrivals[sent.stream][count - 1][1]
        return ((count - 1 + self.first_number) % 2**32, self._word(left)) if left <= leaves else None
