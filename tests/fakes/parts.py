"""Stand-ins for the parts a watch is made of: they do nothing by themselves and remember what they were told."""

import threading
from collections.abc import Container, Iterable, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime

from agent.schedule import Work
from probes.core.errors import LocalError, ResolutionError
from probes.engine.streams import Key, StreamSpec


class FakeEngine:
    """Streams by key as they run now; `refusals` says which are not taken, and why."""

    def __init__(self) -> None:
        self.running: dict[Key, StreamSpec] = {}
        self.refusals: dict[Key, LocalError] = {}
        self.marks: list[tuple[str, str | None]] = []
        self.log: list[tuple[str, Key]] = []
        self.impaired: dict[Key, str] = {}
        """streams whose last interval does not count"""

    def add(self, specs: Sequence[StreamSpec]) -> dict[Key, LocalError]:
        refused = {}
        for spec in specs:
            if spec.key in self.refusals:
                refused[spec.key] = self.refusals[spec.key]
                continue
            assert spec.key not in self.running, f"{spec.key} was added twice"
            self.running[spec.key] = spec
            self.log.append(("add", spec.key))
        return refused

    def remove(self, keys: Sequence[Key], impaired: str | None = None) -> None:
        for key in keys:
            if self.running.pop(key, None) is not None:
                self.log.append(("remove", key))
                if impaired is not None:
                    self.impaired[key] = impaired

    def local_port(self, spec: StreamSpec, avoid: Container[int]) -> int:
        if spec.key in self.refusals:
            raise self.refusals[spec.key]
        return next(port for port in range(40_000, 41_000) if port not in avoid)

    def mark(self, circuit: str, reason: str | None) -> None:
        self.marks.append((circuit, reason))


class FakeResolver:
    """Futures that the test settles. Every question is remembered."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int | None, str | None]] = []
        self.futures: list[Future[str]] = []
        self.known: dict[str, str] = {}

    def lookup(self, host: str, family: int | None, keep: str | None = None) -> Future[str]:
        self.asked.append((host, family, keep))
        future: Future[str] = Future()
        if host in self.known:
            future.set_result(self.known[host])
        self.futures.append(future)
        return future

    def answer(self, address: str) -> None:
        self.futures[-1].set_result(address)

    def fail(self, message: str) -> None:
        self.futures[-1].set_exception(ResolutionError(message))


class FakeSchedule:
    """Work by id; `fire` does a due run in a thread of its own unless told otherwise."""

    def __init__(self) -> None:
        self.works: dict[str, Work] = {}
        self.wanted: list[str] = []
        """runs asked for beside the rhythm"""

    def add(self, work: Work) -> None:
        self.works[work.id] = work

    def remove(self, ids: Iterable[str]) -> None:
        for identity in ids:
            self.works.pop(identity, None)

    def next_runs(self) -> dict[str, datetime]:
        return {identity: datetime(2026, 11, 1, tzinfo=UTC) for identity in self.works}

    def run_now(self, identity: str) -> None:
        self.wanted.append(identity)

    def fire(self, identity: str) -> None:
        self.works[identity].call()

    def fire_aside(self, identity: str) -> threading.Thread:
        thread = threading.Thread(target=self.works[identity].call)
        thread.start()
        return thread
