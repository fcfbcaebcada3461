"""A STAMP reflector of the fake network, octet by octet with struct: a clock of its own, fates by the packet's turn."""

from __future__ import annotations

import hashlib
import hmac
import struct
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from tests.fakes.network import FakeNetwork, Reply, Sent

MS = 1_000_000
EPOCH = 2_208_988_800
SYNCHRONISED = 0x8000
PTP = 0x4000


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
        seconds, rest = divmod(self.network.wall_at(monotonic_ns) + self.offset_ns, 10**9)
        if self.error & PTP:
            return seconds << 32 | rest
        return ((seconds + EPOCH) << 32 | ((rest << 32) + 500_000_000) // 10**9) & (1 << 64) - 1

    def _reply(self, sent: Sent, arrives: int, leaves: int) -> bytes:
        base = 44 if self.key is None else 112
        sequence, stamp, error, ssid = self._request(sent.data)
        count = bisect_left(self.arrivals[sent.stream], (arrives, leaves))
        number = (count + self.first_number) % 2**32 if self.stateful else sequence
        t2, t3 = self._word(arrives), self._word(leaves - self.stamp_lag_ns)
        out = bytearray(len(sent.data))
        if self.key is None:
            struct.pack_into(
                ">IQHHQIQHHB", out, 0, number, t3, self.error, ssid, t2, sequence, stamp, error, 0, self.ttl
            )
        else:
            struct.pack_into(
                ">I12xQHH4xQ8xI12xQH6xB", out, 0, number, t3, self.error, ssid, t2, sequence, stamp, error, self.ttl
            )
            out[96:112] = hmac.new(self.key, bytes(out[:96]), hashlib.sha256).digest()[:16]
        if self.extensions:
            self._extend(out, sent, base, count, leaves)
        return bytes(out)

    def _request(self, data: bytes) -> tuple[int, int, int, int]:
        if self.key is None:
            return struct.unpack_from(">IQHH", data)
        assert hmac.compare_digest(data[96:112], hmac.new(self.key, data[:96], hashlib.sha256).digest()[:16])
        return struct.unpack_from(">I12xQHH", data)

    def restart(self) -> None:
        """All counters begin at 0 again."""
        self.arrivals.clear()

    def _follow_up(self, sent: Sent, count: int, leaves: int) -> tuple[int, int] | None:
        """Number and true departure of the reply before, if that has left."""
        if not count or not self.stateful:
            return None
        left = self.arrivals[sent.stream][count - 1][1]
        return ((count - 1 + self.first_number) % 2**32, self._word(left)) if left <= leaves else None

    def _extend(self, out: bytearray, sent: Sent, base: int, count: int, leaves: int) -> None:
        out[base:] = sent.data[base:]
        at = base
        while at + 4 <= len(out):
            kind, size = out[at + 1], int.from_bytes(out[at + 2 : at + 4], "big")
            if not kind:
                break
            assert out[at] == 0x80
            out[at] = 0
            if kind == 7 and (before := self._follow_up(sent, count, leaves)) is not None:
                struct.pack_into(">IQB", out, at + 4, *before, 2)
            if kind == 4:
                word = int.from_bytes(out[at + 4 : at + 6], "big")
                struct.pack_into(">H", out, at + 4, word | self.dscp << 4)
            if kind == 5:
                struct.pack_into(">II", out, at + 8, count + 1, count + 1)
            if kind == 3:
                out[at + 4 : at + 8] = bytes((1, 2, 1, 2))
            if kind == 8:
                assert self.key is not None
                signed = bytes(out[:4]) + bytes(out[base:at])
                out[at + 4 : at + 20] = hmac.new(self.key, signed, hashlib.sha256).digest()[:16]
            at += 4 + size
