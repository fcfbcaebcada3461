"""Beside the delivery: each sink is tried at the start, requests of the operator are taken up, state is shown.

One thread of its own: a server that does not answer holds up neither the delivery nor the measuring.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from agent.config import SinkSettings
from agent.deliver import parked, requests
from agent.deliver.examination import Remark, remarks
from agent.deliver.requests import Done, Request
from agent.deliver.status import SinkStatus
from agent.deliver.trial import attempt
from agent.deliver.worker import CLOSE_S as CLOSE_DELIVERY_S
from agent.deliver.worker import Delivery
from agent.store import EventRecord, Store, StoreReader, sink_state
from probes.core.clock import SECOND, Clock
from probes.core.errors import LocalError
from probes.core.model import Circuit

log = logging.getLogger(__name__)

CHECK_EVENT: Final = "sink_check"
"""Event kind: what was found wrong with a sink when the agent started."""
STATE_SCHEMA: Final = "linkwitness.sinks-live/1"
KNOWN_NS: Final = 86_400 * SECOND
"""What was found within this time is not recorded again."""
DAILY_NS: Final = 86_400 * SECOND
AGAIN_NS: Final = 60 * SECOND
LOOK_NS: Final = SECOND
CLOSE_S: Final = 0.2
STATE_EVERY_NS: Final = 5 * SECOND


class AttendedDelivery(Delivery):
    """Delivery as the agent runs it: with a SinkCare beside it."""

    def __init__(
        self,
        sinks: Sequence[SinkSettings],
        store: Store,
        store_path: Path,
        circuits: Mapping[str, Circuit],
        site: str,
        clock: Clock,
    ) -> None:
        super().__init__(sinks, store, store_path, circuits, site, clock)
        self._care = SinkCare(sinks, store, store_path, clock, self.status)

    def start(self) -> None:
        super().start()
        self._care.start()

    def close(self, timeout_s: float = CLOSE_DELIVERY_S) -> None:
        self._care.close(min(CLOSE_S, timeout_s))
        super().close(timeout_s)

    def troubles(self) -> list[str]:
        """What the trials of the sinks found wrong, one sentence each."""
        return self._care.troubles()


class SinkCare:
    """status: how the delivery stands."""

    def __init__(
        self,
        sinks: Sequence[SinkSettings],
        store: Store,
        path: Path,
        clock: Clock,
        status: Callable[[], Sequence[SinkStatus]],
    ) -> None:
        self._sinks = {settings.name: settings for settings in sinks}
        self._store, self._path, self._clock, self._status = store, path, clock, status
        self._stop = threading.Event()
        self._found: dict[str, tuple[Remark, ...]] = {}
        self._tried: dict[str, int] = {}
        """monotonic ns of the last trial"""
        self._open: set[str] = set()
        """sinks that took no samples when they were tried"""
        self._shown_at: int | None = None
        self._thread = threading.Thread(target=self._run, name="sink-care", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """A trial under way is left alone: it ends by itself, and touches nothing but its server."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def troubles(self) -> list[str]:
        """What the trials found wrong, one sentence each."""
        return [
            f"sink {name}: {item.text}"
            for name, found in dict(self._found).items()
            for item in found
            if item.state != "ok"
        ]

    def _run(self) -> None:
        while not self._stop.is_set():
            self._guard(self._attend)
            name = self._due()
            if name is not None:
                self._tried[name] = self._clock.monotonic()
                self._guard(lambda name=name: self._try(name))  # type: ignore[misc] # the name of this turn
            else:
                self._clock.wait(self._stop, LOOK_NS)

    def _due(self) -> str | None:
        """A sink to try: at the start, once a day, and after trouble as soon as it takes samples again."""
        now = self._clock.monotonic()
        well = {item.name for item in self._status() if item.state in ("ok", "idle")}
        for name in self._sinks:
            at = self._tried.get(name)
            wait_ns = AGAIN_NS if name in self._open and name in well else DAILY_NS
            if at is None or now - at >= wait_ns:
                return name
        return None

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # whatever it is, the next request must find somebody
            expected = isinstance(error, LocalError | OSError)
            log.error("care of the sinks: %s: %s", type(error).__name__, error, exc_info=not expected)

    def _try(self, name: str) -> None:
        trial = attempt(self._sinks[name], self._clock)
        if self._stop.is_set():
            return
        now_ns = self._clock.wall()
        with StoreReader(self._path, ignore_damaged=True) as reader:
            known = {event.text for event in reader.events(now_ns - KNOWN_NS, kind=CHECK_EVENT)}
            oldest_ns = sink_state.oldest_lacking(reader, name, self._store.cursor(name))
        self._found[name] = tuple(remarks(trial, oldest_ns))
        if trial.obstacle is None:
            self._open.discard(name)
        else:
            self._open.add(name)
        for item in self._found[name]:
            text = f"sink {name}: {item.text}"
            if item.state != "ok" and text not in known:
                log.warning("%s (%s)", text, item.remedy)
                self._store.event(EventRecord(CHECK_EVENT, now_ns, text, reason=item.remedy or None))

    def _attend(self) -> None:
        now = self._clock.monotonic()
        if self._shown_at is None or now - self._shown_at >= STATE_EVERY_NS:
            self._shown_at = now
            self._show()
        for request in requests.waiting(self._path, self._clock.wall()):
            requests.answer(self._path, request, self._serve(request))

    def _serve(self, request: Request) -> Done:
        settings = self._sinks.get(request.sink)
        log.info("asked for: %s of sink %s", request.action, request.sink)
        try:
            with StoreReader(self._path) as reader:
                if request.action == "drop":
                    gone = parked.drop(request.sink, reader, self._store, self._clock.wall(), request.reason)
                    return self._kept(Done(f"{gone} parked lines dropped", gone))
                if settings is None:
                    return Done(f"the running agent has no sink {request.sink!r}", failed=True)
                found = parked.retry(settings, reader, self._store, self._clock.wall(), self._stop.is_set)
                return self._kept(Done(str(found), found.accepted, failed=bool(found.left)))
        except LocalError as error:
            return Done(str(error), failed=True)

    def _kept(self, done: Done) -> Done:
        return done if self._store.flush(10.0) else Done(f"{done.text}; not durable yet", done.count, done.failed)

    def _show(self) -> None:
        """For `sink status`: what the store does not tell. Not worth a sync: a new one follows."""
        document = {
            "schema": STATE_SCHEMA,
            "pid": os.getpid(),
            "at_ns": self._clock.wall(),
            "sinks": {
                item.name: {
                    "server": item.server,
                    "state": item.state,
                    "words": item.words,
                    "rate": item.rate,
                    "findings": [asdict(found) for found in self._found.get(item.name, ())],
                }
                for item in self._status()
            },
        }
        sink_state.publish(self._path, document)
