"""Path probes under watch: a path that changes is an event; a stream that changes its state has its path traced.

Samples are handed over by whoever measures and looked at once a second elsewhere: nothing here happens in the engine's
thread but an append.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from agent.path_history import PathHistory
from probes.core.block import SampleBlock
from probes.core.clock import SECOND, Clock
from probes.core.model import Circuit, Sample, SampleState

log = logging.getLogger(__name__)

Key = tuple[str, str]
"""(circuit, probe)"""

KIND: Final = "path"
CHANGED: Final = "path_changed"
"""Event kind: hops of a path are others than before."""
REST_NS: Final = 60 * SECOND
"""Between two runs of a circuit that a change of state asks for."""
AT_ONCE: Final = 3
"""Runs in progress from which on those asked for wait: the schedule's own want a turn as well."""
INBOX: Final = 4096
"""Batches of samples that may wait for a look."""


class Paths:
    """Thread-safe. `event` is told (kind, text, circuit), `run_now` begins a run soon, `running` names those begun."""

    def __init__(
        self,
        clock: Clock,
        *,
        event: Callable[[str, str, str], None],
        run_now: Callable[[Key], None],
        running: Callable[[], set[Key]],
    ) -> None:
        self._clock, self._event, self._run_now, self._running = clock, event, run_now, running
        self._lock = threading.Lock()
        self._inbox: deque[Sequence[Sample]] = deque(maxlen=INBOX)
        self._probes: dict[str, tuple[str, ...]] = {}
        """path probes by circuit"""
        self._histories: dict[Key, PathHistory] = {}
        self._states: dict[Key, SampleState] = {}
        """last measured state of each stream of those circuits"""
        self._wanted: dict[str, str] = {}
        """circuits whose path is to be traced, with why, oldest first"""
        self._begun_ns: dict[str, int] = {}
        self.dropped = 0
        """batches nobody looked at, for want of room"""

    def add(self, circuits: Iterable[Circuit], known: Mapping[Key, Sample]) -> None:
        """Watch the paths of these; known: the newest sample with a path of each probe."""
        with self._lock:
            for circuit in circuits:
                names = tuple(setting.name for setting in circuit.probes if setting.kind == KIND)
                if not names:
                    continue
                self._probes[circuit.id] = names
                for name in names:
                    history = self._histories[circuit.id, name] = PathHistory()
                    before = known.get((circuit.id, name))
                    if before is not None and before.path is not None:
                        history.take(before.path, before.remote)

    def remove(self, circuits: Iterable[str]) -> None:
        with self._lock:
            for circuit in circuits:
                self._probes.pop(circuit, None)
                self._wanted.pop(circuit, None)
                self._begun_ns.pop(circuit, None)
                for kept in (self._histories, self._states):
                    for key in [key for key in kept if key[0] == circuit]:
                        del kept[key]

    def take(self, samples: Sequence[Sample]) -> None:
        """From any thread; returns at once."""
        if not self._probes:
            return
        if len(self._inbox) == INBOX:
            self.dropped += 1
        self._inbox.append(samples)

    def tend(self) -> None:
        """Look at what came, tell changes, begin runs. Called once a second."""
        self.look()
        for key in self._due():
            self._run_now(key)

    def look(self) -> None:
        """Look at what came, tell changes."""
        events: list[tuple[str, str]] = []
        with self._lock:
            for _ in range(len(self._inbox)):
                samples = self._inbox.popleft()
                if isinstance(samples, SampleBlock):
                    for (circuit, probe, _), state in zip(samples.series, samples.states(), strict=True):
                        self._compare((circuit, probe), state)
                    continue
                for sample in samples:
                    if sample.circuit in self._probes:
                        self._look(sample, events)
        for circuit, text in events:
            log.info("%s", text)
            self._event(CHANGED, text, circuit)

    def _look(self, sample: Sample, events: list[tuple[str, str]]) -> None:
        key = (sample.circuit, sample.probe)
        if sample.kind == KIND:
            history = self._histories.get(key)
            change = history.take(sample.path, sample.remote) if history is not None and sample.path else None
            if change is not None:
                events.append((sample.circuit, f"{sample.circuit}/{sample.probe}: {change}"))
        elif sample.rate is None:
            self._compare(key, sample.state)

    def _compare(self, key: Key, state: SampleState) -> None:
        """Of a stream; where its state has changed, its circuit's path is wanted."""
        if not state.measured or key[0] not in self._probes:
            return
        before = self._states.get(key)
        self._states[key] = state
        if before is not None and before is not state:
            self._wanted.setdefault(key[0], f"{key[1]} was {before}, is {state}")

    def _due(self) -> list[Key]:
        """Path probes to run now: of circuits that have rested, as far as there is room."""
        if not self._wanted:
            return []
        running = {key for key in self._running() if key in self._histories}
        now = self._clock.monotonic()
        due: list[Key] = []
        with self._lock:
            for circuit, why in list(self._wanted.items()):
                keys = [(circuit, name) for name in self._probes[circuit]]
                begun = self._begun_ns.get(circuit)
                if (begun is not None and now - begun < REST_NS) or running.intersection(keys):
                    continue
                if len(running) + len(due) >= AT_ONCE:
                    break
                del self._wanted[circuit]
                self._begun_ns[circuit] = now
                due += keys
                log.info("%s: its path is traced, as %s", circuit, why)
        return due
