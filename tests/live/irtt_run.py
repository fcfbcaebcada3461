"""irtt (Debian package irtt) between the hosts of a lab, and what it says of its packets, beside what the log says."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from probes.core.arrays import ABSENT
from tests.lab.emulator_log import EmulatorLog
from tests.lab.namespaces import Lab, end
from tests.lab.stamp_lab import Ways, ways

PORT = 2112
TOKEN_AND_NUMBER = slice(4, 16)
"""of an irtt header: 3 octets of magic, flags, 8 of connection token, 4 of packet number; its reply repeats both"""
FLAGS = 3
OPEN, CLOSE = 1, 4


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """What a prober says of the packets it sent, in their order; arrays (n,) in ns, ABSENT where no reply came.

    ipdv_ns: mean of |IPDV| forward, backward and of the round trip. lost: forward, backward, and of those of which the
    prober cannot tell the direction.
    """

    forward_ns: np.ndarray
    backward_ns: np.ndarray
    rtt_ns: np.ndarray
    ipdv_ns: tuple[float, float, float]
    lost: tuple[int, int, int]

    def __len__(self) -> int:
        return len(self.rtt_ns)

    def answered(self) -> np.ndarray:
        return self.rtt_ns != ABSENT

    def delays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Forward, backward and round trip of the answered packets."""
        kept = self.answered()
        return self.forward_ns[kept], self.backward_ns[kept], self.rtt_ns[kept]


@contextmanager
def server(lab: Lab) -> Iterator[None]:
    """On the far host, IPv4 and IPv6. Clients knock until it listens."""
    listen = f"{lab.far.ipv4}:{PORT},[{lab.far.ipv6}]:{PORT}"
    process = lab.far.popen(["irtt", "server", "-b", listen], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        end(process)


def client(lab: Lab, family: int, output: Path, *, count: int, every_ms: int, size: int) -> subprocess.Popen[str]:
    """Started on the near host; `size` is the UDP payload. Its losses make it knock up to ten times."""
    words = ["irtt", "client", "-Q", "-i", f"{every_ms}ms", "-d", f"{count * every_ms}ms", "-l", str(size)]
    words += ["--wait=1s", f"--timeouts={','.join(['400ms'] * 10)}", "-o", str(output)]
    target = lab.far.address(family)
    where = f"[{target}]:{PORT}" if family == 6 else f"{target}:{PORT}"
    return lab.near.popen([*words, where], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def read(output: Path) -> Told:
    """Its delays packet by packet, its own mean of IPDV, its losses by direction."""
    said = json.loads(output.read_text("utf-8"))
    trips, stats = said["round_trips"], said["stats"]
    fates = [trip["lost"] for trip in trips]
    assert set(fates) <= {"false", "true", "true_up", "true_down"}, set(fates)
    assert [trip["seqno"] for trip in trips] == list(range(len(trips)))
    return Told(
        forward_ns=_delays(trips, "send"),
        backward_ns=_delays(trips, "receive"),
        rtt_ns=_delays(trips, "rtt"),
        ipdv_ns=tuple(float(stats[f"ipdv_{name}"]["mean"]) for name in ("send", "receive", "round_trip")),
        lost=(fates.count("true_up"), fates.count("true_down"), fates.count("true")),
    )


def _delays(trips: list[Mapping[str, Any]], name: str) -> np.ndarray:
    return np.array([trip["delay"].get(name, ABSENT) for trip in trips], np.int64)


def truth(log: EmulatorLog, family: int) -> Ways:
    """What the log says of irtt's packets; the ones that open and close its session apart."""
    flags = log.frames["payload"][:, FLAGS]
    ours = np.isin(log.frames["source_port"], [PORT]) | np.isin(log.frames["destination_port"], [PORT])
    echoes = EmulatorLog(log.frames[ours & (flags & (OPEN | CLOSE) == 0)])
    return ways(echoes, family, port=PORT, asked=TOKEN_AND_NUMBER, echoed=TOKEN_AND_NUMBER)
