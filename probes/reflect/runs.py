"""Requests of one batch that differ in nothing but their numbers and their times, turned into replies as one.

A burst of one sender looks so: the same addresses and ancillary data, the same length, error estimate and SSID, and no
extension but padding. An array operation costs as much for one row as for sixty-four, so short runs are not worth it
(docs/decisions/0016-bursts-are-answered-as-one.md).

What a run has in common is kept, as the octets of as many rows as there are: whether the next run is the same is then
told by comparing memory, which is much cheaper than to compare arrays. Replies leave from the rows the requests
came in, by message headers of their own, which change only where the kind of request does.
"""

from __future__ import annotations

import itertools
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from probes.engine import control
from probes.engine.mmsg import MessageRows
from probes.reflect.flows import Flow
from probes.wire.ntp_time import halves
from probes.wire.stamp_answer import PTP, UNAUTHENTICATED
from probes.wire.stamp_tlv import EXTRA_PADDING

FEWEST: Final = 6
"""rows from which on answering as one is cheaper"""
WORTH_LEARNING: Final = 16
"""the same where what they have in common is new"""
KINDS: Final = 64
_MISSED: Final = 1000
"""runs of kinds for which there was no room, after which the table is filled anew"""
_STRETCHES: Final = 256
"""of rows whose views are kept"""
_HEADER_SIZE: Final = 64
_HEADER_WORDS: Final = 8
_SAID_BY_KERNEL: Final = [1, 5, 6, 7]
"""words of struct mmsghdr: octets of the socket address and of control data, flags, octets of the datagram"""
_STAMPED_WORDS: Final = 8
"""of the control message with the receive stamp, which comes first"""
_STAMP_HEADER: Final = control.message(socket.SOL_SOCKET, control.SO_TIMESTAMPING, bytes(48))[: control.HEADER]
_SAID: Final = slice(3, 6)
"""of a request in words of 4 octets: error estimate and SSID, then what a reply has for T2"""
_NO_T2: Final = bytes(8)
_ERROR_AND_SSID: Final = struct.Struct(">HH")
_EXTENSION: Final = struct.Struct(">xBH")
_EXTENDED: Final = UNAUTHENTICATED.size + _EXTENSION.size
"""octets from which on there can be an extension"""


@dataclass(frozen=True, slots=True)
class Kind:
    """What the requests of a run have in common."""

    flow: Flow
    length: int
    """octets of each"""
    error: int
    """estimate, of the sender's clock"""
    ssid: int
    ptp: bool
    """their time stamps are truncated PTPv2"""
    padding: bool
    """as an extension, whose flags are to be cleared"""
    names: bytes
    headers: bytes
    ancillary: bytes
    said: bytes
    extensions: bytes
    """socket addresses, struct mmsghdr, ancillary data behind the receive stamp, octets 12 to 23, and the head of an
    extension where the length leaves room for one: of all rows, if such requests were in them"""


class Stretch:
    """Views of rows first..end-1, which cost more to make than many an operation on them."""

    def __init__(self, rows: MessageRows, first: int, end: int) -> None:
        data, words = rows.data[first:end], rows.control[first:end].view(np.int64)
        octets, fields = data.view(np.uint32), data.view(">u4")
        self.headers = rows.headers[first * _HEADER_SIZE : end * _HEADER_SIZE]
        self.names = rows.names[first:end].reshape(-1).data
        self.seconds, self.rest = words[:, 2], words[:, 3]
        self.ancillary = words[:, _STAMPED_WORDS:]
        self.said, self.extensions = octets[:, _SAID], octets[:, UNAUTHENTICATED.size // 4]
        self.extension_flags = rows.data[first:end, UNAUTHENTICATED.size]
        self.asked, self.echoed = octets[:, 0:3], octets[:, 6:9]
        self.number, self.error_and_ssid, self.received, self.received_fraction = (fields[:, at] for at in (0, 3, 4, 5))
        self.echoed_rest = np.ndarray((end - first,), ">u8", data, 36, (rows.width,))
        self.count = np.arange(end - first)

    def fits(self, kind: Kind, first: int) -> bool:
        """Whether all rows, which begin at `first`, are of the kind.

        The same ancillary data behind the place of the receive stamp, and the same length of all of it, leave no more
        and no less than a receive stamp before it.
        """
        return (
            kind.headers.startswith(self.headers, first * _HEADER_SIZE)
            and kind.names.startswith(self.names)
            and kind.ancillary.startswith(self.ancillary.tobytes())
            and kind.said.startswith(self.said.tobytes())
            and (not kind.extensions or kind.extensions.startswith(self.extensions.tobytes()))
        )

    def write(self, kind: Kind, number: int | None, error: int) -> None:
        """Turn requests of the kind into replies but for T3. number: of the first of them, None for the sender's own;
        error: our estimate."""
        self.echoed[...] = self.asked
        if number is not None:
            self.number[...] = self.count + number
        self.error_and_ssid[...] = error << 16 | kind.ssid
        self.received[...], self.received_fraction[...] = halves(self.seconds, self.rest, ptp=kind.ptp)
        self.echoed_rest[...] = kind.error << 48 | kind.flow.ttl << 24
        if kind.padding:
            self.extension_flags[...] = 0


class Runs:
    """Of the rows that a socket receives into, whose control data begin with the kernel's receive stamp."""

    def __init__(self, rows: MessageRows) -> None:
        self._rows = rows
        self._headers = np.frombuffer(rows.headers, np.int64).reshape(-1, _HEADER_WORDS)
        self._tails = self._headers[:, 5:8]
        self._names = rows.names.view(np.int32)
        self._ancillary = rows.control.view(np.int64)[:, _STAMPED_WORDS:]
        self._said = rows.data.view(np.uint32)[:, _SAID]
        self.left = np.ndarray((rows.rows,), ">u8", rows.data, UNAUTHENTICATED.stamp, (rows.width,))
        """T3 of each row"""
        self.replies = replies = MessageRows(rows.rows, 8, rows.control_width)
        """how the rows are sent, where they are of the last kind"""
        replies.vector_start[:], replies.name_pointer[:] = rows.vector_start, rows.name_pointer
        replies.control_pointer[:] = replies.control_pointer[0]
        self._stretches: dict[tuple[int, int], Stretch] = {}
        self._kinds: dict[tuple[bytes, ...], Kind] = {}
        self._missed = 0
        self._last: Kind | None = None

    def of_all(self, count: int) -> Kind | None:
        """The kind of all of the first `count` rows, where it is that of the last run or known."""
        kind = self._last
        return kind if kind is not None and self.stretch(0, count).fits(kind, 0) else self.known(0, count)

    def split(self, count: int) -> Iterator[tuple[int, int, Kind | None]]:
        """First and end of runs of FEWEST rows or more that look alike, in order, and their kind where it is known."""
        for first, end in self._alike(0, count, self._names):
            kind = self.known(first, end)
            if kind is not None:
                yield first, end, kind
                continue
            for inner, its_end in self._alike(first, end, self._tails, self._ancillary, self._said):
                yield inner, its_end, self.known(inner, its_end)

    def known(self, first: int, end: int) -> Kind | None:
        """The kind of rows that look alike, where there was a run of it before."""
        kind = self._kinds.get(self._looks(first))
        if kind is None or not self.stretch(first, end).fits(kind, first):
            return None
        if kind is not self._last:
            self._prepare(kind)
        return kind

    def learned(self, first: int, end: int, flow: Flow) -> Kind | None:
        """The kind of rows that look alike, of this flow, which was not known before; None where they are not plain
        requests and have to be read one by one, or are too few to make a full table forget another kind."""
        if len(self._kinds) >= KINDS:
            self._missed += 1
            if end - first < WORTH_LEARNING and self._missed < _MISSED:
                return None
            self._kinds.clear()
            self._missed = 0
        kind = self._kind_of(first, end, flow)
        if kind is None or not self.stretch(first, end).fits(kind, first):
            return None
        self._kinds[self._looks(first)] = kind
        self._prepare(kind)
        return kind

    def stretch(self, first: int, end: int) -> Stretch:
        """Rows first..end-1."""
        stretch = self._stretches.get((first, end))
        if stretch is None:
            if len(self._stretches) >= _STRETCHES:
                self._stretches.clear()
            stretch = self._stretches[first, end] = Stretch(self._rows, first, end)
        return stretch

    def _alike(self, first: int, end: int, *parts: NDArray[Any]) -> list[tuple[int, int]]:
        """First and end of runs of FEWEST rows or more, of rows first..end-1, that are equal in these parts of them."""
        changed = np.zeros(end - first - 1, np.bool_)
        for octets in parts:
            changed |= (octets[first + 1 : end] != octets[first : end - 1]).any(1)
        if end - first - np.count_nonzero(changed) < FEWEST:
            return []
        edges = [first, *(np.flatnonzero(changed) + (first + 1)).tolist(), end]
        return [(first, end) for first, end in itertools.pairwise(edges) if end - first >= FEWEST]

    def _looks(self, row: int) -> tuple[bytes, ...]:
        """What a kind is found by."""
        seen = (self._names[row], self._tails[row], self._ancillary[row], self._said[row])
        return tuple(octets.tobytes() for octets in seen)

    def _kind_of(self, row: int, end: int, flow: Flow) -> Kind | None:
        rows, said = self._rows, self._said[row].tobytes()
        control_length, _, length = self._tails[row].tolist()
        stamped = control_length >= 8 * _STAMPED_WORDS
        if said[4:] != _NO_T2 or not stamped or rows.control[row, : control.HEADER].tobytes() != _STAMP_HEADER:
            return None
        at = UNAUTHENTICATED.size
        extension = rows.data[row, at : at + _EXTENSION.size].tobytes() if length >= _EXTENDED else b""
        type_, size = _EXTENSION.unpack(extension) if extension else (0, 0)
        padding = type_ == EXTRA_PADDING and size == length - _EXTENDED
        if type_ and not padding:
            return None
        rows.control[row:end, control_length:] = 0  # left there by others
        headers = self._headers.copy()
        headers[:, _SAID_BY_KERNEL] = headers[row, _SAID_BY_KERNEL]
        error, ssid = _ERROR_AND_SSID.unpack_from(said)
        return Kind(
            flow, length, error, ssid, error & PTP != 0, padding,
            names=rows.names[row].tobytes() * rows.rows, headers=headers.tobytes(), said=said * rows.rows,
            ancillary=self._ancillary[row].tobytes() * rows.rows, extensions=extension * rows.rows,
        )  # fmt: skip

    def _prepare(self, kind: Kind) -> None:
        replies, ancillary = self.replies, kind.flow.usual
        replies.vector_length[:] = kind.length
        replies.control[0, : len(ancillary)] = np.frombuffer(ancillary, np.uint8)
        replies.control_length[:] = len(ancillary)
        self._last = kind
