"""STAMP and TWAMP-Light reflector: the far end of the stamp probe, and of routers that measure towards this host.

RFC 8762 (unauthenticated and authenticated, stateful or stateless), RFC 8972 (TLVs, SSID), RFC 5357 appendix I.

Order of the guards: the kernel lets in only datagrams long enough to be a request, so a flood of runts costs no
wake-up; then the allow-list, what could make a loop (privileged port, our own port, our own, group and broadcast
addresses), the size, the rate of the source, the HMAC, the shape of a reply, replay. A reply has the request's length,
goes to where it came from, from the address it was sent to, with its DSCP. There is never more than one.

Every datagram that passed the kernel's filter is counted under `in` and under exactly one other name, so at any moment
in = answered + the sum of dropped_*.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Mapping, Sequence, Set
from typing import Final

from probes.core.clock import SECOND, Clock
from probes.engine.mmsg import sharpen_timers
from probes.reflect.admission import Address, AllowList, SourceRate
from probes.reflect.answering import GATHER_NS, Answering
from probes.reflect.flows import Flows
from probes.reflect.stamp_socket import WAKE_S, adopt, dropped_by_kernel, open_endpoint
from probes.wire.stamp import AUTHENTICATED_SIZE, SHORTEST_REQUEST
from probes.wire.stamp_auth import Key

log = logging.getLogger(__name__)

DROPPED: Final = (
    "dropped_source", "dropped_port", "dropped_address", "dropped_size", "dropped_rate", "dropped_unauthenticated",
    "dropped_hmac", "dropped_reply", "dropped_replay", "dropped_error",
)  # fmt: skip
BESIDE: Final = ("sessions", "sessions_evicted", "kernel_dropped")
"""shown with the counters, but no datagrams of `in`"""
RATE_PER_SOURCE: Final = 20_000
TELL_NS: Final = 60 * SECOND
"""at most one line about drops in so long"""


class StampReflector:
    """Listens on `listen` (numeric; "::" takes IPv4 too) and UDP `port` (0: any) once started."""

    def __init__(
        self, listen: str, port: int, *, allow: Sequence[str], clock: Clock, key: bytes | None = None,
        unauthenticated: Sequence[str] = (), stateful: bool = True, reply_dscp: Set[int] = frozenset(),
        rate_per_source: int = RATE_PER_SOURCE, gather_ns: int = GATHER_NS,
    ) -> None:  # fmt: skip
        """key: answer only what is signed with it, but for the networks of `unauthenticated`. reply_dscp: code points
        that a sender may ask for in a reply. Raises LocalError for a wrong network or a short key."""
        self._listen, self._port = listen.strip("[]"), port
        self._allow = AllowList(allow)
        self._key = None if key is None else Key(key)
        self._plain = AllowList(unauthenticated) if unauthenticated else None
        self._stateful, self._reply_dscp = stateful, reply_dscp
        self._rate = SourceRate(rate_per_source, 2 * rate_per_source)
        self._clock, self._gather_ns = clock, gather_ns
        self._lock = threading.Lock()
        self._counters = dict.fromkeys(("in", "answered", *DROPPED), 0)
        self._told_ns = clock.monotonic() - TELL_NS
        self._untold = 0
        self._kernel_dropped = 0
        self._endpoint: socket.socket | None = None
        self._answering: Answering | None = None
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()

    @property
    def port(self) -> int:
        """The port in use; what was asked for before start()."""
        return self._port

    def counters(self) -> Mapping[str, int]:
        """Since the start: in = answered + the sum of dropped_*; beside that BESIDE."""
        with self._lock:
            found = dict(self._counters)
            if self._endpoint is not None and self._endpoint.fileno() >= 0:
                self._kernel_dropped += (dropped_by_kernel(self._endpoint) - self._kernel_dropped) & 0xFFFFFFFF
        sessions = None if self._answering is None else self._answering.sessions
        found["sessions"] = 0 if sessions is None else len(sessions)
        found["sessions_evicted"] = 0 if sessions is None else sessions.evicted
        found["kernel_dropped"] = self._kernel_dropped
        return found

    def start(self, passed: socket.socket | None = None) -> None:
        """passed: a bound socket to use instead of opening one. Raises LocalError when the address cannot be had."""
        only_signed = self._key is not None and self._plain is None
        shortest = AUTHENTICATED_SIZE if only_signed else SHORTEST_REQUEST
        if passed is not None:
            adopt(passed, shortest)
        endpoint = passed or open_endpoint(self._listen, self._port, shortest)
        self._endpoint, self._port = endpoint, endpoint.getsockname()[1]
        self._answering = Answering(
            endpoint, Flows(endpoint.family, self._port, self._allow, self._is_plain), self._rate, self._clock,
            key=self._key, stateful=self._stateful, reply_dscp=self._reply_dscp, gather_ns=self._gather_ns,
        )  # fmt: skip
        self._thread = threading.Thread(
            target=self._serve, args=(self._answering,), name="stamp-reflector", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop answering; returns when the thread has ended and all it took in is counted."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(2 + WAKE_S)
        if self._endpoint is not None:
            self.counters()
            self._endpoint.close()

    def _is_plain(self, source: Address) -> bool:
        """Whether this source needs no key."""
        return self._key is None or (self._plain is not None and source in self._plain)

    def _serve(self, answering: Answering) -> None:
        sharpen_timers()
        while not self._closing.is_set():
            try:
                tally = answering.turn()
            except OSError as error:
                log.error("STAMP on port %d is no longer answered: %s", self._port, error)
                return
            if tally:
                self._count(tally)

    def _count(self, tally: Mapping[str, int]) -> None:
        with self._lock:
            for name, number in tally.items():
                self._counters[name] += number
        self._untold += tally["in"] - tally.get("answered", 0)
        if self._untold and (now := self._clock.monotonic()) - self._told_ns >= TELL_NS:
            log.warning("STAMP on port %d: %d requests dropped since the last line", self._port, self._untold)
            self._told_ns, self._untold = now, 0
