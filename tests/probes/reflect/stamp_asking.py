"""Requests for a STAMP reflector, and a reflector in this process that answers them."""

from __future__ import annotations

import hashlib
import hmac
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from probes.core.clock import SystemClock
from probes.reflect.stamp import DROPPED, StampReflector

CLOCK = SystemClock()
KEY = b"a key of 20 octets !"
EVERYBODY = ("127.0.0.0/8", "::1/128")


def plain(number: int = 1, *, ssid: int = 0, error: int = 0x0101, stamp: int = 1 << 40, more: bytes = b"") -> bytes:
    """An unauthenticated request, and TLVs."""
    return struct.pack(">IQHH28x", number, stamp, error, ssid) + more


def signed(
    number: int = 1,
    *,
    key: bytes = KEY,
    ssid: int = 0,
    error: int = 0x0101,
    stamp: int | None = None,
    more: bytes = b"",
) -> bytes:
    """An authenticated request, T1 now unless given, and TLVs."""
    stamp = now() if stamp is None else stamp
    base = struct.pack(">I12xQHH68x", number, stamp, error, ssid)
    return base + hmac.new(key, base, hashlib.sha256).digest()[:16] + more


def now(ahead_s: float = 0) -> int:
    """NTP word."""
    return int((time.time() + ahead_s + 2_208_988_800) * 2**32) & (1 << 64) - 1


def tlv(kind: int, value: bytes, flags: int = 0x80) -> bytes:
    return struct.pack(">BBH", flags, kind, len(value)) + value


@contextmanager
def reflecting(listen: str = "::", port: int = 0, **settings: Any) -> Iterator[StampReflector]:
    reflector = StampReflector(listen, port, **{"allow": EVERYBODY, "clock": CLOCK, "gather_ns": 0} | settings)
    reflector.start()
    try:
        yield reflector
    finally:
        reflector.close()


@contextmanager
def asker(address: str = "127.0.0.1", port: int = 0) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as mine:
        mine.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        mine.bind((address, port))
        mine.settimeout(10)
        yield mine


def asked(mine: socket.socket, request: bytes, reflector: StampReflector, to: str = "127.0.0.1") -> bytes:
    """The reply."""
    mine.sendto(request, (to, reflector.port))
    return mine.recv(70_000)


def settled(reflector: StampReflector, count: int) -> Mapping[str, int]:
    """Counters once `count` datagrams are in them; they always add up."""
    for _ in range(20_000):
        counters = reflector.counters()
        assert counters["in"] == counters["answered"] + sum(counters[name] for name in DROPPED), counters
        if counters["in"] >= count:
            return counters
        time.sleep(0.001)
    raise AssertionError(f"only {reflector.counters()}")


def silent(mine: socket.socket) -> bool:
    mine.setblocking(False)
    try:
        mine.recv(100)
    except BlockingIOError:
        return True
    finally:
        mine.settimeout(10)
    return False
