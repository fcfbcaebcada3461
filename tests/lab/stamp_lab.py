"""STAMP on a lab: a plain reflector on the far host, and what the link's log says of each direction."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from tests.lab.emulator_log import EmulatorLog, LogError, reordered
from tests.lab.namespaces import Lab, LabError, end
from tests.lab.record import Action, Way
from tests.lab.reported import Reported

PORT = 862
SYNCHRONISED = {"synchronised": True, "estimated_error_ns": 1000, "maximum_error_ns": 500_000}
"""What the engine is told of its clock. Both hosts run on the same one: one-way delays are true to the stamp."""
ERROR = 0x8E61
"""S = 1, 97 * 2^14 units of 2^-32 s: 0.37 ms"""
UNSYNCHRONISED = ERROR & 0x7FFF


@contextmanager
def stamp_reflector(
    lab: Lab, *, offset_ns: int = 0, error: int = ERROR, environment: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Over IPv4 and IPv6; offset_ns is what its clock is wrong by; environment: added to this process's."""
    process = lab.far.python(
        "-m", "tests.lab.stamp_answer", str(PORT), str(offset_ns), str(error), lab.far.ipv4, lab.far.ipv6,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | (environment or {}),
    )  # fmt: skip
    try:
        assert process.stdout is not None
        if not process.stdout.readline().startswith("ready"):
            raise LabError(f"the reflector did not start: {process.communicate(timeout=5)[1]}")
        yield
    finally:
        end(process)


@dataclass(frozen=True, slots=True, eq=False)
class Ways:
    """Requests of one stream in order of arrival at the link's near end; arrays (n,), -1 where there is no value.

    forward_ns, backward_ns: time on the link of the request that came first, and of the reply that came first; rtt_ns:
    from the request's arrival at the link to the reply's departure, less the time between them at the far host.
    """

    forward_ns: np.ndarray
    backward_ns: np.ndarray
    rtt_ns: np.ndarray
    lost_forward: np.ndarray
    lost_backward: np.ndarray
    duplicates: int
    reordered: int

    def __len__(self) -> int:
        return len(self.forward_ns)


def ways(
    log: EmulatorLog, family: int, *, port: int = PORT,
    asked: slice = slice(0, 12), echoed: slice = slice(24, 36),
) -> Ways:  # fmt: skip
    """Matched by what a reply repeats of its request: octets `asked` of the one are octets `echoed` of the other.

    STAMP: sequence and T1 (RFC 8762 section 4.3).
    """
    chosen = log.select(family=family)
    requests = chosen.select(way=Way.FORWARD, protocol="udp", destination_port=port).frames
    replies = chosen.select(way=Way.BACKWARD, protocol="udp", source_port=port).frames
    originals = requests[requests["action"] != Action.COPIED]
    originals = originals[np.argsort(originals["arrival_ns"], kind="stable")]
    place = {row["payload"][asked].tobytes(): number for number, row in enumerate(originals)}
    if len(place) != len(originals):
        raise LogError("two requests cannot be told apart")
    n = len(originals)
    left, back, sent_back, arrived_back = (np.full(n, -1, np.int64) for _ in range(4))
    answered, copies = np.zeros(n, bool), 0
    for row in requests[requests["action"] == Action.PASSED]:
        left[place[row["payload"][asked].tobytes()]] = row["departure_ns"]
    for row in replies:
        number = place[row["payload"][echoed].tobytes()]
        answered[number] = True
        if row["action"] == Action.DROPPED:
            continue
        copies += int(back[number] >= 0)
        if back[number] < 0 or row["departure_ns"] < back[number]:
            back[number], sent_back[number] = row["departure_ns"], row["arrival_ns"]
            arrived_back[number] = row["departure_ns"]
    known = back >= 0
    sent = originals["arrival_ns"].astype(np.int64)
    order = np.flatnonzero(known)[np.argsort(arrived_back[known], kind="stable")]
    return Ways(
        forward_ns=np.where(left >= 0, left - sent, -1),
        backward_ns=np.where(known, back - sent_back, -1),
        rtt_ns=np.where(known, (left - sent) + (back - sent_back), -1),
        lost_forward=originals["action"] == Action.DROPPED,
        lost_backward=answered & ~known,
        duplicates=copies,
        reordered=reordered(order),
    )


def column(reported: Reported, name: str) -> np.ndarray:
    """forward_ns or backward_ns of every packet, in order of sending."""
    parts = [np.array(sample["packets"][name], np.int64) for sample in reported.samples if sample["packets"]]
    return np.concatenate(parts)


def lost(reported: Reported, way: str) -> int:
    """Packets lost in one direction over all samples, every one of which must know."""
    values = [sample[way]["lost"] for sample in reported.samples if sample["counts"]["sent"]]
    assert None not in values, values
    return sum(values)
