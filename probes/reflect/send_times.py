"""When replies really left: the kernel's transmit stamps, brought back to the sessions that asked for them.

A stamp is asked for packet by packet (control message SO_TIMESTAMPING), so a reflector that nobody asks has none. The
kernel numbers the packets it was asked for from 0 on (SOF_TIMESTAMPING_OPT_ID) and puts the stamps on the error queue.
"""

from __future__ import annotations

import socket
import struct
from typing import Final

from probes.core.clock import SECOND
from probes.engine import control
from probes.engine.mmsg import ERROR_QUEUE, MessageRows, drain
from probes.reflect.stamp_sessions import Session

AWAITED: Final = 1024
"""Packets whose stamps may be under way; a network card that gives none costs no more than this."""
_RX_SOFTWARE, _SOFTWARE, _OPT_ID, _OPT_TSONLY = 8, 16, 128, 2048
_FLAGS: Final = _RX_SOFTWARE | _SOFTWARE | _OPT_ID | _OPT_TSONLY
_ROWS: Final = 16
_CONTROL: Final = 256
_MOST_BATCHES: Final = 64
_STAMPS: Final = (socket.SOL_SOCKET, control.SO_TIMESTAMPING)
_ERRORS: Final = ((socket.IPPROTO_IP, control.IP_RECVERR), (socket.IPPROTO_IPV6, control.IPV6_RECVERR))
_ORIGIN_TIMESTAMPING: Final = 4
_EXTENDED: Final = struct.Struct("=4xB7xI")
"""origin and data of struct sock_extended_err"""
_TIMESPEC: Final = struct.Struct("=qq")


class SendTimes:
    """Of one socket; used by one thread."""

    def __init__(self, endpoint: socket.socket) -> None:
        self._endpoint = endpoint
        self._rows = MessageRows(_ROWS, 64, _CONTROL)
        self._awaited: list[tuple[int, Session, int] | None] = [None] * AWAITED
        self._next = 0
        self._open = False
        endpoint.setsockopt(socket.SOL_SOCKET, control.SO_TIMESTAMPING, _FLAGS)

    def expect(self, session: Session, number: int) -> None:
        """The next packet that was sent with a demand for a stamp was reply `number` of the session."""
        self._awaited[self._next % AWAITED] = (self._next, session, number)
        self._next = (self._next + 1) & 0xFFFFFFFF
        self._open = True

    def collect(self) -> None:
        """Tell the sessions what has come."""
        if not self._open:
            return
        descriptor = self._endpoint.fileno()
        for _ in range(_MOST_BATCHES):
            count = drain(self._rows, descriptor, ERROR_QUEUE)
            for row, length in enumerate(self._rows.received_control(count).tolist()):
                self._take(self._rows.control[row, :length].tobytes())
            if count < _ROWS:
                break

    def restart(self) -> None:
        """A packet was refused and may have taken a number: what is under way is given up, counting begins anew."""
        self.collect()
        if self._open:
            self._endpoint.setsockopt(socket.SOL_SOCKET, control.SO_TIMESTAMPING, _FLAGS & ~_OPT_ID)
            self._endpoint.setsockopt(socket.SOL_SOCKET, control.SO_TIMESTAMPING, _FLAGS)
            self._awaited = [None] * AWAITED
            self._next = 0
            self._open = False

    def _take(self, ancillary: bytes) -> None:
        said = dict(control.messages(ancillary))
        about = next((said[kind] for kind in _ERRORS if kind in said), b"")
        if _STAMPS not in said or len(about) < _EXTENDED.size:
            return
        origin, number = _EXTENDED.unpack_from(about)
        awaited = self._awaited[number % AWAITED]
        if origin != _ORIGIN_TIMESTAMPING or awaited is None or awaited[0] != number:
            return
        seconds, rest = _TIMESPEC.unpack_from(said[_STAMPS])
        self._awaited[number % AWAITED] = None
        awaited[1].left(awaited[2], seconds * SECOND + rest)
