"""sendmmsg(2) and recvmmsg(2) straight from numpy arrays: no Python object per packet. 64-bit Linux.

The kernel's structures (struct mmsghdr 64 octets, struct iovec 16) are rows of aligned structured arrays that hold the
absolute addresses of the rows of other arrays, so a system call needs no preparation but the counts.
"""

from __future__ import annotations

import ctypes
import errno
from typing import Final

import numpy as np

from probes.core.arrays import Int64
from probes.core.errors import LocalError
from probes.engine.address import NAME_SIZE

DONT_WAIT: Final = 0x40
TRUNCATED_LENGTH: Final = 0x20
"""MSG_TRUNC: the length given is the packet's, even where the row is shorter"""
WAIT_FOR_ONE: Final = 0x10000
ERROR_QUEUE: Final = 0x2000

_MESSAGE: Final = np.dtype(
    {
        "names": ["name", "name_length", "vector", "vectors", "control", "control_length", "flags", "length"],
        "formats": ["u8", "u4", "u8", "u8", "u8", "u8", "u4", "u4"],
        "offsets": [0, 8, 16, 24, 32, 40, 48, 56],
        "itemsize": 64,
    }
)
_VECTOR: Final = np.dtype([("start", "u8"), ("length", "u8")])

_libc = ctypes.CDLL(None, use_errno=True)
_libc.sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)
_libc.recvmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)

_PR_SET_TIMERSLACK: Final = 29


def sharpen_timers() -> None:
    """Timer slack of this thread from 50 us to 1 ns: it would be added to the lateness of every wake-up (prctl(2))."""
    _libc.prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(1), 0, 0, 0)


class MessageRows:
    """`rows` messages: data (rows, width), names (rows, NAME_SIZE), control (rows, control_width), all octets."""

    def __init__(self, rows: int, width: int, control_width: int) -> None:
        if ctypes.sizeof(ctypes.c_void_p) != 8:
            raise LocalError("the packet engine needs a 64-bit system")
        width = (width + 7) & ~7
        self.rows, self.width, self.control_width = rows, width, control_width
        self.data = np.zeros((rows, width), np.uint8)
        self.names = np.zeros((rows, NAME_SIZE), np.uint8)
        self.control = np.zeros((rows, control_width), np.uint8)
        self._vectors = np.zeros(rows, _VECTOR)
        self._messages = np.zeros(rows, _MESSAGE)
        each = np.arange(rows, dtype=np.uint64)
        self._vectors["start"] = self.data.ctypes.data + each * np.uint64(width)
        self._vectors["length"] = width
        self._messages["name"] = self.names.ctypes.data + each * np.uint64(NAME_SIZE)
        self._messages["name_length"] = NAME_SIZE
        self._messages["vector"] = self._vectors.ctypes.data + each * np.uint64(_VECTOR.itemsize)
        self._messages["vectors"] = 1
        self._messages["control"] = self.control.ctypes.data + each * np.uint64(control_width)
        self._messages["control_length"] = control_width
        self._base = self._messages.ctypes.data
        self.headers = self._messages.view(np.uint8).data
        self.vectors = self._vectors.view(np.uint8).data
        """struct mmsghdr after struct mmsghdr, 64 octets each, and their struct iovec, 16 octets each: for code that
        takes rows one by one"""
        # Views of the fields, made once: looking a field up costs more than a system call's share of a packet.
        self.vector_start = self._vectors["start"]
        self.vector_length = self._vectors["length"]
        self.name_pointer = self._messages["name"]
        self.name_length = self._messages["name_length"]
        self.control_pointer = self._messages["control"]
        self.control_length = self._messages["control_length"]
        self._length = self._messages["length"]

    def send(self, descriptor: int, first: int, end: int) -> int:
        """Hand rows first..end-1 to the kernel; how many it took, or minus the errno that stopped the first one."""
        done: int = _libc.sendmmsg(descriptor, self._base + 64 * first, end - first, DONT_WAIT)
        return done if done >= 0 else -ctypes.get_errno()

    def receive(self, descriptor: int, flags: int) -> int:
        """Fill rows from 0 on; how many were filled, or minus the errno."""
        self.control_length[:] = self.control_width
        self.name_length[:] = NAME_SIZE
        return self.refill(descriptor, flags)

    def refill(self, descriptor: int, flags: int) -> int:
        """The same where name_length and control_length of every row already say how much room there is."""
        done: int = _libc.recvmmsg(descriptor, self._base, self.rows, flags, None)
        return done if done >= 0 else -ctypes.get_errno()

    def received(self, count: int) -> Int64:
        """Octets of the first `count` messages."""
        return self._length[:count].astype(np.int64)

    def received_control(self, count: int) -> Int64:
        """Octets of ancillary data of the first `count` messages."""
        return self.control_length[:count].astype(np.int64)


def drain(rows: MessageRows, descriptor: int, flags: int, attempts: int = 8) -> int:
    """One batch without waiting; 0 when nothing is there.

    An error of an earlier packet that the socket still holds is consumed by the call that meets it (socket(7),
    SO_ERROR), hence the attempts. Raises OSError when the socket itself is broken.
    """
    for _ in range(attempts):
        count = rows.receive(descriptor, flags | DONT_WAIT)
        if count >= 0:
            return count
        if -count == errno.EAGAIN:
            return 0
        if -count in (errno.EBADF, errno.ENOTSOCK, errno.EFAULT):
            raise OSError(-count, "recvmmsg")
    return 0
