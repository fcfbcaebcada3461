"""Names looked up within a deadline. The C library's look-up cannot be cut: with name servers that do not answer it
takes 5 s for each try of each of them (resolv.conf(5)), so it is made by a thread that may be left behind.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Final

from probes.core.clock import MILLISECOND, SECOND

_LOOK_S: Final = 50 * MILLISECOND / SECOND
"""How soon it is noticed that nobody waits any more."""


class _Lookup:
    """One look-up under way or done: addresses, or what went wrong."""

    def __init__(self, host: str, port: int) -> None:
        self.name = (host, port)
        self.done = threading.Event()
        self.addresses: list[str] = []
        self.error: OSError | None = None
        threading.Thread(target=self._run, name=f"look-up {host}", daemon=True).start()

    def _run(self) -> None:
        try:
            found = socket.getaddrinfo(*self.name, type=socket.SOCK_STREAM)
            self.addresses = list(dict.fromkeys(str(item[4][0]) for item in found))
        except (OSError, UnicodeError) as error:  # the latter: a label of no or more than 63 octets
            self.error = error if isinstance(error, OSError) else socket.gaierror(socket.EAI_NONAME, str(error))
        self.done.set()


class Resolver:
    """Of one server's name. At most one look-up is under way, however often it is asked meanwhile."""

    def __init__(self) -> None:
        self._pending: _Lookup | None = None

    def addresses(self, host: str, port: int, given_up: Callable[[], bool]) -> list[str]:
        """Addresses of the host, in the order of preference. given_up: nobody waits any more.

        Raises socket.gaierror, also once it is given up; the next call then waits for the same look-up.
        """
        lookup = self._pending
        if lookup is None or lookup.name != (host, port):
            lookup = self._pending = _Lookup(host, port)
        while not lookup.done.wait(_LOOK_S):
            if given_up():
                raise socket.gaierror(socket.EAI_AGAIN, "no name server has answered in time")
        self._pending = None
        if lookup.error is not None:
            raise lookup.error
        return lookup.addresses
