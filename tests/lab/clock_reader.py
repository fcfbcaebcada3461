"""`python -m tests.lab.clock_reader`: what every clock of this process says, one JSON object for each line of input.

`send` puts a datagram into each of its sockets; `read` reads what lies in them: stamps of their coming, one list for
each kind of stamp, and of their leaving.
"""

from __future__ import annotations

import ctypes
import json
import socket
import struct
import sys
import time

TIMESTAMP, TIMESTAMPNS, TIMESTAMPING = 29, 35, 37
SOFTWARE = 2 | 8 | 16 | 2048
KINDS = {"timestamp": (TIMESTAMP, 1), "timestampns": (TIMESTAMPNS, 1), "timestamping": (TIMESTAMPING, SOFTWARE)}
FRACTION = {TIMESTAMP: 1000, TIMESTAMPNS: 1, TIMESTAMPING: 1}
SECOND = 1_000_000_000

_libc = ctypes.CDLL(None)


def pair(name: str, *arguments: object) -> tuple[int, int]:
    """What a function of the C library writes into a timespec or timeval."""
    two = (ctypes.c_long * 2)()
    getattr(_libc, name)(*(two if argument is None else argument for argument in arguments))
    return int(two[0]), int(two[1])


def clocks() -> dict[str, int]:
    """In ns."""
    seconds, microseconds = pair("gettimeofday", None, ctypes.c_void_p())
    whole, rest = pair("timespec_get", None, ctypes.c_int(1))
    return {
        "time_ns": time.time_ns(),
        "clock_gettime": time.clock_gettime_ns(time.CLOCK_REALTIME),
        "coarse": time.clock_gettime_ns(5),
        "time": _libc.time(None) * SECOND,
        "gettimeofday": seconds * SECOND + microseconds * 1000,
        "timespec_get": whole * SECOND + rest,
        "monotonic": time.monotonic_ns(),
        "boot": time.clock_gettime_ns(time.CLOCK_BOOTTIME),
    }


def opened(option: int, value: int) -> socket.socket:
    endpoint = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    endpoint.bind(("127.0.0.1", 0))
    endpoint.setsockopt(socket.SOL_SOCKET, option, value)
    endpoint.setblocking(False)
    return endpoint


def stamps(endpoint: socket.socket, flags: int) -> list[int]:
    found = []
    while True:
        try:
            _, controls, *_ = endpoint.recvmsg(256, 512, flags)
        except BlockingIOError:
            return found
        for level, kind, data in controls:
            if level == socket.SOL_SOCKET and kind in FRACTION:
                seconds, rest = struct.unpack_from("qq", data)
                found.append(seconds * SECOND + rest * FRACTION[kind])


def main() -> None:
    _libc.time.restype = ctypes.c_long
    endpoints = {name: opened(*option) for name, option in KINDS.items()}
    for line in sys.stdin:
        said: dict[str, object] = {"clocks": clocks()}
        if line.strip() == "send":
            for endpoint in endpoints.values():
                endpoint.sendto(b"now", endpoint.getsockname())
        else:
            said["stamps"] = {name: stamps(endpoint, 0) for name, endpoint in endpoints.items()}
            said["left"] = stamps(endpoints["timestamping"], socket.MSG_ERRQUEUE)
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
