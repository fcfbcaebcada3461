"""Talk to the service manager: sd_notify(3), the watchdog, sockets it opened. Silent when not run by systemd."""

import os
import socket
from collections.abc import Mapping

MICROSECONDS = 1_000
FIRST_DESCRIPTOR = 3
"""of the sockets that systemd passes (sd_listen_fds(3))"""


def passed_datagram_socket(environment: Mapping[str, str] | None = None) -> socket.socket | None:
    """The UDP socket that a .socket unit opened for this process; None where there is none."""
    source = os.environ if environment is None else environment
    count = source.get("LISTEN_FDS", "")
    if source.get("LISTEN_PID") != str(os.getpid()) or not count.isdecimal():
        return None
    for descriptor in range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + min(int(count), 16)):
        passed = socket.socket(fileno=os.dup(descriptor))
        if passed.type == socket.SOCK_DGRAM and passed.family in (socket.AF_INET, socket.AF_INET6):
            return passed
        passed.close()
    return None


class Notifier:
    """Sends state lines to NOTIFY_SOCKET. A service manager that does not listen is never an error."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        source = os.environ if environment is None else environment
        self._address = source.get("NOTIFY_SOCKET", "")
        self._watchdog = self._watchdog_ns(source)

    @property
    def active(self) -> bool:
        return bool(self._address)

    @property
    def watchdog_ns(self) -> int | None:
        """The time within which systemd wants a sign of life, or None when it does not watch this process."""
        return self._watchdog

    def ready(self, status: str) -> None:
        self._send(f"READY=1\nSTATUS={_one_line(status)}")

    def status(self, text: str) -> None:
        self._send(f"STATUS={_one_line(text)}")

    def reloading(self, monotonic_ns: int) -> None:
        """Follow with ready() when the reload is over."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={monotonic_ns // MICROSECONDS}")

    def stopping(self, status: str) -> None:
        self._send(f"STOPPING=1\nSTATUS={_one_line(status)}")

    def alive(self) -> None:
        """Feed the watchdog. Call only when the agent made progress."""
        self._send("WATCHDOG=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            try:
                channel.setblocking(False)
                channel.sendto(text.encode("utf-8"), address)
            except OSError:
                return

    @staticmethod
    def _watchdog_ns(source: Mapping[str, str]) -> int | None:
        period, owner = source.get("WATCHDOG_USEC", ""), source.get("WATCHDOG_PID", "")
        if not period.isdecimal() or (owner and owner != str(os.getpid())):
            return None
        return int(period) * MICROSECONDS or None


def _one_line(text: str) -> str:
    return " ".join(text.split())
