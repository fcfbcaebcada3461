"""The truth about an emulated link: what its log says happened to every frame.

Arrays are numpy; times are UTC ns. `EmulatorLog.frames` has one row a frame (and one more for each copy), decoded from
the frame's own first octets. `audit` compares the log with the kernel's counters, which know nothing of it.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.lab.impairment import EXEMPT, Reason
from tests.lab.record import DTYPE, HEAD, LAYOUT, MAGIC, Action, Way

RAW = np.dtype(DTYPE)
PAYLOAD = 56
ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
ECHO_REQUEST = {ICMP: 8, ICMP6: 128}
ECHO_REPLY = {ICMP: 0, ICMP6: 129}
NAMES = {"icmp": (ICMP, ICMP6), "udp": (UDP,), "tcp": (TCP,)}

IDENTITY = slice(4, 48)
"""What tells packets of a flow apart: the payload, less the first word, which our reflector changes in its reply."""

DECODED = np.dtype(
    [(name, kind) for name, _, kind in ((n, None, k) for n, k in DTYPE) if name != "head"]
    + [
        ("family", "u1"),  # 4, 6, or 0 for what is not IP
        ("protocol", "u1"),
        ("source", "(16,)u1"),  # IPv4: first 4 octets
        ("destination", "(16,)u1"),
        ("source_port", "<u2"),  # UDP, TCP
        ("destination_port", "<u2"),
        ("icmp_type", "u1"),
        ("icmp_code", "u1"),
        ("identifier", "<u2"),  # ICMP echo
        ("sequence", "<u2"),
        ("payload", f"({PAYLOAD},)u1"),  # first octets after the ICMP or UDP header, zero where the frame is shorter
        ("payload_length", "<u4"),
    ]
)

Frames = np.ndarray[tuple[int], np.dtype[np.void]]


class LogError(Exception):
    """The log contradicts itself or the kernel's counters."""


def decode(raw: Frames) -> Frames:
    """Rows of the file to rows with the packet's own fields, sorted by frame number, a frame before its copy."""
    rows = np.zeros(len(raw), DECODED)
    for name in RAW.names or ():
        if name != "head":
            rows[name] = raw[name]
    head = raw["head"]
    ether = head[:, 12].astype(np.uint16) << 8 | head[:, 13]
    for family, kind, minimum in ((4, 0x0800, 34), (6, 0x86DD, 54)):
        chosen = np.flatnonzero((ether == kind) & (raw["length"] >= minimum))
        _decode_ip(rows, head, chosen, family)
    return rows[np.lexsort((rows["action"], rows["number"]))]


def _decode_ip(rows: Frames, head: np.ndarray, chosen: np.ndarray, family: int) -> None:
    octets = head[chosen]
    if family == 4:
        offset = 14 + 4 * (octets[:, 14] & 15).astype(np.int64)
        total = octets[:, 16].astype(np.int64) << 8 | octets[:, 17]
        end = 14 + total
        protocol, width, first = octets[:, 23], 4, 26
    else:
        offset = np.full(len(chosen), 54)
        end = 54 + (octets[:, 18].astype(np.int64) << 8 | octets[:, 19])
        protocol, width, first = octets[:, 20], 16, 22
    part = rows[chosen]
    part["family"], part["protocol"] = family, protocol
    part["source"][:, :width] = octets[:, first : first + width]
    part["destination"][:, :width] = octets[:, first + width : first + 2 * width]
    columns = np.minimum(offset[:, None] + np.arange(8 + PAYLOAD), HEAD - 1)
    there = offset[:, None] + np.arange(8 + PAYLOAD) < np.minimum(end, HEAD)[:, None]
    after = np.where(there, np.take_along_axis(octets, columns, axis=1), 0).astype(np.uint16)
    words = after[:, 0:8:2] << 8 | after[:, 1:8:2]
    icmp = np.isin(protocol, NAMES["icmp"])
    ports = np.isin(protocol, (UDP, TCP))
    part["icmp_type"], part["icmp_code"] = np.where(icmp, after[:, 0], 0), np.where(icmp, after[:, 1], 0)
    part["identifier"], part["sequence"] = np.where(icmp, words[:, 2], 0), np.where(icmp, words[:, 3], 0)
    part["source_port"], part["destination_port"] = np.where(ports, words[:, 0], 0), np.where(ports, words[:, 1], 0)
    part["payload"] = after[:, 8:]
    part["payload_length"] = np.maximum(end - offset - 8, 0)
    rows[chosen] = part


def reordered(sequence: np.ndarray) -> int:
    """RFC 4737 section 3.3: packets, in order of arrival, whose sequence is below the next expected."""
    if not len(sequence):
        return 0
    highest = np.maximum.accumulate(sequence)
    return int((sequence[1:] < highest[:-1]).sum())


@dataclass(frozen=True, slots=True, eq=False)
class RoundTrips:
    """Requests of one flow in order of arrival at the link's near end, each with what became of it; arrays (n,).

    rtt_ns: first reply's departure to the near host minus the request's arrival from it: what the near host saw, less
    its own stack; -1 where no reply left. fate: `answered`, `forward` (request dropped), `backward` (all replies
    dropped), `unanswered` (request delivered, nothing came back). copies: replies that left, beyond the first.
    `reordered`: RFC 4737 count over first replies in order of leaving.
    """

    sent_ns: np.ndarray
    reply_ns: np.ndarray
    rtt_ns: np.ndarray
    fate: np.ndarray
    copies: np.ndarray
    sequence: np.ndarray
    """ICMP sequence number, 0 for UDP"""
    payload: np.ndarray
    reordered: int

    def __len__(self) -> int:
        return len(self.sent_ns)

    @property
    def answered(self) -> int:
        return int((self.fate == "answered").sum())

    @property
    def lost(self) -> int:
        return len(self) - self.answered

    @property
    def duplicates(self) -> int:
        return int(self.copies.sum())

    def between(self, start_ns: int, end_ns: int) -> RoundTrips:
        """Requests that arrived in [start_ns, end_ns); `reordered` is counted anew within them."""
        kept = (self.sent_ns >= start_ns) & (self.sent_ns < end_ns)
        replied = np.flatnonzero(kept & (self.rtt_ns >= 0))
        order = replied[np.argsort(self.reply_ns[replied], kind="stable")]
        columns = (self.sent_ns, self.reply_ns, self.rtt_ns, self.fate, self.copies, self.sequence, self.payload)
        return RoundTrips(*(column[kept] for column in columns), reordered=reordered(order))


class EmulatorLog:
    """Rows of a log, whole or chosen from. Every question is answered from the rows at hand."""

    def __init__(self, frames: Frames) -> None:
        self.frames = frames

    @staticmethod
    def read(path: Path) -> EmulatorLog:
        """The log as far as it is written. Raises LogError for a file that is not one, or a torn one."""
        data = path.read_bytes()
        if not data.startswith(MAGIC) or (len(data) - len(MAGIC)) % LAYOUT.size:
            raise LogError(f"{path} is not a whole emulator log")
        log = EmulatorLog(decode(np.frombuffer(data, RAW, offset=len(MAGIC))))
        log.check()
        return log

    def __len__(self) -> int:
        return len(self.frames)

    def check(self) -> None:
        """Raises LogError unless every frame has one fate, and sane times."""
        rows = self.frames
        first = rows[rows["action"] != Action.COPIED]
        numbers, counts = np.unique(first["number"], return_counts=True)
        if (counts > 1).any():
            raise LogError(f"frame {numbers[counts > 1][0]} has two fates")
        orphans = np.setdiff1d(rows["number"][rows["action"] == Action.COPIED], numbers)
        if len(orphans):
            raise LogError(f"a copy of frame {orphans[0]} has no original")
        if ((rows["action"] == Action.DROPPED) != (rows["reason"] != Reason.NONE)).any():
            raise LogError("a dropped frame without a reason, or a reason without a drop")
        left = rows[rows["action"] != Action.DROPPED]
        early = left["departure_ns"] < np.maximum(left["due_ns"], left["arrival_ns"])
        if early.any() or (left["released_ns"] < left["departure_ns"]).any():
            raise LogError(f"frame {left['number'][early][:1]} left before it was due")

    def audit(self, received: Sequence[int], sent: Sequence[int]) -> None:
        """Compare with the kernel's counters of frames received from, and sent towards, each Way's end.

        received[way]: frames the kernel took in from the interface that `way` starts at; sent[way]: frames it put
        out on the one `way` leads to. The rows must be a whole log. Raises LogError naming the difference.
        """
        for way in Way:
            rows = self.frames[self.frames["direction"] == way]
            arrived = int((rows["action"] != Action.COPIED).sum())
            left = int((rows["action"] != Action.DROPPED).sum())
            if arrived != received[way]:
                raise LogError(f"{way.name.lower()}: {received[way]} frames arrived, the log knows {arrived}")
            if left != sent[way]:
                raise LogError(f"{way.name.lower()}: {sent[way]} frames left, the log says {left}")

    def select(
        self,
        *,
        way: Way | None = None,
        protocol: str | None = None,
        family: int | None = None,
        source: str | None = None,
        destination: str | None = None,
        source_port: int | None = None,
        destination_port: int | None = None,
        icmp: str | None = None,
        identifier: int | None = None,
        start_ns: int | None = None,
        end_ns: int | None = None,
    ) -> EmulatorLog:
        """Rows that meet every condition given. icmp: `request` or `reply`; times: arrival in [start_ns, end_ns)."""
        rows = self.frames
        kept = np.ones(len(rows), bool)
        exact = {
            "direction": way,
            "family": family,
            "source_port": source_port,
            "destination_port": destination_port,
            "identifier": identifier,
        }
        for name, value in exact.items():
            if value is not None:
                kept &= rows[name] == value
        if protocol is not None:
            kept &= np.isin(rows["protocol"], NAMES[protocol])
        for name, address in (("source", source), ("destination", destination)):
            if address is not None:
                packed = ipaddress.ip_address(address).packed
                kept &= (rows[name] == np.frombuffer(packed.ljust(16, b"\0"), np.uint8)).all(axis=1)
                kept &= rows["family"] == (4 if len(packed) == 4 else 6)
        if icmp is not None:
            types = ECHO_REQUEST if icmp == "request" else ECHO_REPLY
            kept &= np.logical_or.reduce([(rows["protocol"] == p) & (rows["icmp_type"] == t) for p, t in types.items()])
        if start_ns is not None:
            kept &= rows["arrival_ns"] >= start_ns
        if end_ns is not None:
            kept &= rows["arrival_ns"] < end_ns
        return EmulatorLog(rows[kept])

    @property
    def arrived(self) -> int:
        """Frames the link was given."""
        return int((self.frames["action"] != Action.COPIED).sum())

    @property
    def passed(self) -> int:
        """Frames that left the link, their copies not counted."""
        return int((self.frames["action"] == Action.PASSED).sum())

    @property
    def copies(self) -> int:
        """Duplicates the link made."""
        return int((self.frames["action"] == Action.COPIED).sum())

    def lost(self, way: Way | None = None) -> int:
        """Frames dropped, in one direction or both."""
        rows = self.frames[self.frames["action"] == Action.DROPPED]
        return len(rows) if way is None else int((rows["direction"] == way).sum())

    def reasons(self) -> dict[str, int]:
        """Drops by reason."""
        dropped = self.frames["reason"][self.frames["action"] == Action.DROPPED]
        return {Reason(code).name.lower(): count for code, count in Counter(dropped.tolist()).items()}

    def added_ns(self) -> np.ndarray:
        """True hold of each frame that left: departure minus arrival."""
        left = self.frames[self.frames["action"] == Action.PASSED]
        return (left["departure_ns"] - left["arrival_ns"]).astype(np.int64)

    def reordered(self) -> int:
        """RFC 4737 count by order of departure against order of arrival, copies apart."""
        left = self.frames[(self.frames["action"] == Action.PASSED) & (self.frames["flags"] & EXEMPT == 0)]
        order = np.argsort(left["departure_ns"], kind="stable")
        return reordered(left["number"][order].astype(np.int64))

    def echo(self, key: slice = IDENTITY) -> RoundTrips:
        """ICMP echo requests that went forward, matched with their replies by identifier, sequence and payload[key]."""
        requests = self.select(way=Way.FORWARD, protocol="icmp", icmp="request")
        replies = self.select(way=Way.BACKWARD, protocol="icmp", icmp="reply")
        return _match(requests.frames, replies.frames, ("identifier", "sequence"), ("identifier", "sequence"), key)

    def udp(self, port: int, key: slice = IDENTITY) -> RoundTrips:
        """Datagrams that went forward to `port`, matched with the answers from it by client port and payload[key]."""
        requests = self.select(way=Way.FORWARD, protocol="udp", destination_port=port)
        replies = self.select(way=Way.BACKWARD, protocol="udp", source_port=port)
        return _match(requests.frames, replies.frames, ("source_port",), ("destination_port",), key)


def _keys(rows: Frames, names: tuple[str, ...], key: slice) -> list[bytes]:
    parts = [rows[name].astype("<u2").view(np.uint8).reshape(-1, 2) for name in names]
    whole = np.ascontiguousarray(np.hstack([*parts, rows["payload"][:, key]]))
    return [row.tobytes() for row in whole]


def _match(
    requests: Frames, replies: Frames, request_names: tuple[str, ...], reply_names: tuple[str, ...], key: slice
) -> RoundTrips:
    originals = requests[requests["action"] != Action.COPIED]
    originals = originals[np.argsort(originals["arrival_ns"], kind="stable")]
    keys = _keys(originals, request_names, key)
    place = {value: index for index, value in enumerate(keys)}
    if len(place) != len(keys):
        raise LogError("two requests cannot be told apart: choose a longer key")
    first = np.full(len(keys), np.iinfo(np.int64).max)
    answers, seen = np.zeros(len(keys), np.int64), np.zeros(len(keys), bool)
    for value, row in zip(_keys(replies, reply_names, key), replies, strict=True):
        index = place.get(value)
        if index is None:
            continue
        seen[index] = True
        if row["action"] != Action.DROPPED:
            answers[index] += 1
            first[index] = min(first[index], int(row["departure_ns"]))
    sent = originals["arrival_ns"].astype(np.int64)
    gone = originals["action"] == Action.DROPPED
    fate = np.select([answers > 0, gone, seen], ["answered", "forward", "backward"], "unanswered")
    arrived = np.flatnonzero(answers)
    order = arrived[np.argsort(first[arrived], kind="stable")]
    return RoundTrips(
        sent_ns=sent,
        reply_ns=np.where(answers > 0, first, -1),
        rtt_ns=np.where(answers > 0, first - sent, -1),
        fate=fate,
        copies=np.maximum(answers - 1, 0),
        sequence=originals["sequence"].astype(np.int64),
        payload=originals["payload"].copy(),
        reordered=reordered(order),
    )
