"""Octets of STAMP packets: CPU per packet to write, sign, read and verify them, beside the same one by one.

`python -m benchmarks.stamp_wire`: batches of 1, 16 and 1,000. `struct` and `hmac.digest` of the standard library, one
packet at a time, stand beside us. The limit of signing is a keyed SHA-256 alone: copy of two hash objects, two updates
and two digests in a bare loop. Both sides are measured in turn, CPU time of this process, median of the rounds.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import statistics
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from probes.wire import ntp_time, stamp, stamp_auth

SECRET = bytes(range(32))
SIZE = stamp.AUTHENTICATED_SIZE
NOW_NS = 1_790_000_000 * 10**9
_REQUEST = struct.Struct(">I12xQHH68x16x")


def bare_hash(count: int) -> Callable[[], object]:
    """What no implementation on hashlib can do without."""
    inner, outer, message = hashlib.sha256(bytes(64)), hashlib.sha256(bytes(64)), bytes(SIZE - 16)

    def run() -> None:
        for _ in range(count):
            first, second = inner.copy(), outer.copy()
            first.update(message)
            second.update(first.digest())
            second.digest()

    return run


def cpu_us(call: Callable[[], object], packets: int, least_s: float = 0.02) -> float:
    """Per packet; repeated until the clock can tell."""
    calls, begin = 0, time.process_time()
    while (spent := time.process_time() - begin) < least_s:
        call()
        calls += 1
    return spent / calls / packets * 1e6


def measured(count: int, rounds: int) -> None:
    key = stamp_auth.Key(SECRET)
    sequence, times = np.arange(count), NOW_NS + np.arange(count) * 1000
    out, length = np.zeros((count, SIZE), np.uint8), np.full(count, SIZE)
    words = ntp_time.to_ntp(times)
    stamp.write_requests(out, sequence=sequence, stamp=words, error=0x8587, ssid=1, authenticated=True)
    stamp_auth.sign(out, key)
    packets = [row.tobytes() for row in out]
    numbers, stamps = sequence.tolist(), words.tolist()

    def write_each() -> None:
        for number, word in zip(numbers, stamps, strict=True):
            _REQUEST.pack(number, word, 0x8587, 1)

    def sign_each() -> None:
        for packet in packets:
            hmac.digest(SECRET, packet[:96], "sha256")[:16]

    def verify_each() -> None:
        for packet in packets:
            hmac.compare_digest(hmac.digest(SECRET, packet[:96], "sha256")[:16], packet[96:])

    def read_each() -> None:
        for packet in packets:
            _REQUEST.unpack(packet)

    ways: tuple[tuple[str, Callable[[], object], Callable[[], object]], ...] = (
        (
            "write",
            lambda: stamp.write_requests(
                out, sequence=sequence, stamp=words, error=0x8587, ssid=1, authenticated=True
            ),
            write_each,
        ),
        ("read", lambda: stamp.read_requests(out, length, authenticated=True), read_each),
        ("sign", lambda: stamp_auth.sign(out, key), sign_each),
        ("verify", lambda: stamp_auth.verify(out, length, key), verify_each),
        ("sign, of which hash", lambda: stamp_auth.sign(out, key), bare_hash(count)),
    )  # fmt: skip
    for name, ours, theirs in ways:
        pairs = [(cpu_us(ours, count), cpu_us(theirs, count)) for _ in range(rounds)]
        mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(mine / other for mine, other in pairs)
        print(f"batch of {count}, {name}: {mine:.2f} us a packet, one by one {other:.2f} us, ratio {ratio:.2f}")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=9)
    rounds = options.parse_args().rounds
    for count in (1, 16, 1000):
        measured(count, rounds)


if __name__ == "__main__":
    main()
