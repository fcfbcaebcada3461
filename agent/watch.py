"""Circuits under watch: turns configured probes into streams and scheduled flows, and keeps names resolved.

A circuit whose name cannot be resolved, whose probe this host may not send, or whose far end does not agree to a
session (agent.negotiations) is `invalid` with the reason; nothing else is touched. None of that ever happens in the
engine's thread.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from datetime import datetime

from agent.config import SecretSource
from agent.flows import Flows, Key, is_numeric
from agent.negotiations import Negotiations
from agent.paths import KIND as PATH
from agent.paths import Paths
from agent.schedule import Schedule
from agent.store import RunRecord
from probes.core import catalog
from probes.core.catalog import Arrange, Declined, StreamKind
from probes.core.clock import SECOND, Clock
from probes.core.errors import LocalError
from probes.core.model import Circuit, ProbeSetting, Sample, SampleState
from probes.engine.loop import Engine
from probes.engine.resolve import Resolver
from probes.engine.streams import StreamSpec, spec_of

RETRY_NS = 30 * SECOND
"""How long a failed name or a refused stream rests before it is tried again."""
REFRESH_NS = 300 * SECOND
"""How often a name that is in use is looked up again."""


@dataclass(slots=True)
class _Stream:
    circuit: Circuit
    setting: ProbeSetting
    absent_ns: int
    """UTC from when on its not running is not recorded yet"""
    address: str | None = None
    """numeric address in use; None while the stream does not run"""
    reason: str | None = None
    """why it does not run"""
    due_ns: int = 0
    """monotonic time of the next look-up"""
    lookup: Future[str] | None = None
    arrange: Arrange | None = None
    """what the far end must agree to first"""
    wanted: StreamSpec | None = None
    """while that is being negotiated: the stream that is to run"""
    renew_ns: int = 0
    """monotonic time before which a silent far end is not asked for a new session"""

    @property
    def absent(self) -> bool:
        return self.address is None and self.reason is not None


class Watch:
    """All circuits being measured. Thread-safe; `record` receives every sample that is not the engine's own.

    event: told (kind, text) or (kind, text, circuit). known_paths: the newest sample kept of these path probes.

    One lock is held while the engine is told, so that its streams are always those listed here. The engine calls
    nothing here, and no look-up is waited for under the lock.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        schedule: Schedule,
        resolver: Resolver,
        clock: Clock,
        span_ns: int,
        record: Callable[[Sequence[Sample]], None],
        ran: Callable[[RunRecord], None],
        event: Callable[..., None],
        known_paths: Callable[[Iterable[Key]], Mapping[Key, Sample]] = lambda _: {},
    ) -> None:
        self._engine, self._resolver, self._clock, self._span_ns = engine, resolver, clock, span_ns
        self._record, self._event, self._known_paths = record, event, known_paths
        self._flows = Flows(
            schedule=schedule, resolver=resolver, clock=clock, mark=engine.mark, record=record, ran=ran
        )  # fmt: skip
        self._paths = Paths(clock, event=event, run_now=self._flows.run_now, running=self._flows.running)
        self._negotiations = Negotiations(engine, clock)
        self._lock = threading.Lock()
        self._streams: dict[Key, _Stream] = {}
        self._told_ns = clock.wall() // span_ns * span_ns
        self._progress = clock.monotonic()

    def add(self, circuits: Iterable[Circuit], last_runs: Mapping[Key, int]) -> None:
        """Start measuring. last_runs: wall ns of the last run of each flow, so that a restart keeps their rhythm."""
        circuits = tuple(circuits)
        traced = [(circuit.id, probe.name) for circuit in circuits for probe in circuit.probes if probe.kind == PATH]
        self._paths.add(circuits, self._known_paths(traced) if traced else {})
        for circuit in circuits:
            for setting in circuit.probes:
                kind = catalog.load(setting.kind)
                if isinstance(kind, StreamKind):
                    with self._lock:
                        entry = _Stream(circuit, setting, self._clock.wall(), arrange=kind.arrange)
                        self._streams[circuit.id, setting.name] = entry
                else:
                    self._flows.add(circuit, setting, kind, last_runs.get((circuit.id, setting.name)))
        self.tend()

    def remove(self, circuits: Iterable[str]) -> None:
        """Stop measuring these; open intervals are closed and kept."""
        gone = set(circuits)
        self._paths.remove(gone)
        for circuit in gone:
            self._flows.remove(circuit)
        with self._lock:
            streams = {key: entry for key, entry in self._streams.items() if key[0] in gone}
            for key in streams:
                del self._streams[key]
            self._engine.remove(list(streams))
            for key in streams:
                self._negotiations.close(key)
            absences = self._absences(streams, self._clock.wall())
        if absences:
            self._record(absences)

    def refused(self) -> dict[Key, str]:
        """Streams that do not run now, with the reason."""
        with self._lock:
            return {key: entry.reason for key, entry in self._streams.items() if entry.absent and entry.reason}

    def hear(self, samples: Sequence[Sample]) -> None:
        """Every sample that is kept, the engine's too: what they say about paths. From any thread; returns at once."""
        self._paths.take(samples)

    def next_runs(self) -> dict[Key, datetime]:
        """When each flow probe runs next."""
        return self._flows.next_runs()

    def running(self) -> set[Key]:
        """Flow probes whose run is in progress."""
        return self._flows.running()

    def progress(self) -> int:
        """Monotonic ns of the last tend() that came to its end."""
        return self._progress

    def stop(self) -> None:
        """Begin no further run and cut short those in progress. Streams go on until the engine is closed."""
        self._flows.stop()

    def finish(self) -> None:
        """Record what has not ended yet: flow runs, and the time in which streams did not run."""
        self._flows.finish()
        self._paths.look()
        with self._lock:
            self._engine.remove([key for key, entry in self._streams.items() if entry.arrange is not None])
            self._negotiations.close_all()
            absences = self._absences(self._streams, self._clock.wall())
            self._streams.clear()
        if absences:
            self._record(absences)

    def tend(self) -> None:
        """Record what did not run in an interval that is over, look up and negotiate what is due, start what is ready.

        Called once a second; never waits for a look-up or a far end.
        """
        now, wall = self._clock.monotonic(), self._clock.wall()
        with self._lock:
            absences = self._absences_of_interval(wall)
            ready: list[tuple[Key, _Stream, StreamSpec]] = []
            for key, entry in self._streams.items():
                spec = self._due(key, entry, now, wall)
                if spec is not None:
                    ready.append((key, entry, spec))
            absences += self._start(ready, now, wall)
        if absences:
            self._record(absences)
        self._paths.tend()
        self._progress = now

    def _absences_of_interval(self, wall_ns: int) -> list[Sample]:
        """One INVALID sample per stream that does not run, once an interval is over."""
        end = wall_ns // self._span_ns * self._span_ns
        if end == self._told_ns:
            return []
        stepped_back, self._told_ns = end < self._told_ns, end
        return [] if stepped_back else self._absences(self._streams, end)

    def _absences(self, streams: Mapping[Key, _Stream], end_ns: int) -> list[Sample]:
        """INVALID samples for what is not recorded yet before end_ns, cut at the ends of intervals."""
        # What the clock jumped over did not happen: no further back than the last tend() by the monotonic clock.
        known_ns = self._clock.wall() - (self._clock.monotonic() - self._progress)
        samples = []
        for (circuit, probe), entry in streams.items():
            if not entry.absent:
                continue
            begin = max(entry.absent_ns, known_ns // self._span_ns * self._span_ns)
            while begin < end_ns:
                end = min(end_ns, (begin // self._span_ns + 1) * self._span_ns)
                kind, reason = entry.setting.kind, entry.reason
                samples.append(Sample(circuit, probe, kind, begin, end - begin, SampleState.INVALID, reason=reason))
                begin = end
            entry.absent_ns = end_ns
        return samples

    def _due(self, key: Key, entry: _Stream, now: int, wall: int) -> StreamSpec | None:
        """The stream as it is to run from now on, where that is new."""
        address = self._due_address(entry, now)
        try:
            spec = None if address is None or address == entry.address else _spec(entry, address)
        except LocalError as unreadable:  # a secret
            self._engine.remove([key])
            self._negotiations.close(key)
            self._rest(entry, str(unreadable), now, wall)
            return None
        return spec if entry.arrange is None else self._agreed(key, entry, spec, now, wall)

    def _agreed(self, key: Key, entry: _Stream, spec: StreamSpec | None, now: int, wall: int) -> StreamSpec | None:
        """The same of a stream that needs a session; `spec`: what is to be negotiated from now on."""
        if entry.address is not None and (reason := self._negotiations.ended(key)) is not None:
            self._engine.remove([key], reason)
            self._rest(entry, reason, now, wall)
        if entry.address is not None and spec is not None:
            reason = f"{entry.circuit.target} is now {spec.address}, was {entry.address}"
            self._event("address_changed", f"{key[0]}/{key[1]}: {reason}")
            self._engine.remove([key])
            self._rest(entry, reason, now, wall)
        try:
            if entry.address is not None and now >= entry.renew_ns and self._negotiations.unheard(key):
                spec, entry.renew_ns = _spec(entry, entry.address), now + RETRY_NS
            if spec is not None and entry.arrange is not None:
                self._negotiations.begin(spec, entry.arrange)
                entry.wanted = spec
            found = self._negotiations.agreed(entry.wanted) if entry.wanted is not None else None
        except LocalError as error:
            found = Declined(str(error))
        if not isinstance(found, Declined):
            return found
        entry.wanted = None
        if entry.address is not None and found.unheard:
            return None  # the stream goes on: whether this is an outage, its packets show
        self._engine.remove([key], str(found))
        self._rest(entry, str(found), now, wall)
        return None

    def _rest(self, entry: _Stream, reason: str, now: int, wall: int) -> None:
        """The stream does not run, and is tried again after a while."""
        if entry.address is not None:
            entry.absent_ns = wall
        entry.address, entry.reason, entry.due_ns, entry.wanted = None, reason, now + RETRY_NS, None

    def _due_address(self, entry: _Stream, now: int) -> str | None:
        """The address to use from now on, where one is known; a look-up is begun where one is due."""
        if entry.lookup is not None:
            return self._take_lookup(entry, now) if entry.lookup.done() else None
        if now < entry.due_ns:
            return None
        if is_numeric(entry.circuit.target):
            entry.due_ns = now + RETRY_NS
            return entry.circuit.target
        entry.lookup = self._resolver.lookup(entry.circuit.target, entry.circuit.family, entry.address)
        return self._take_lookup(entry, now) if entry.lookup.done() else None

    def _take_lookup(self, entry: _Stream, now: int) -> str | None:
        lookup, entry.lookup = entry.lookup, None
        try:
            address = lookup.result(timeout=0) if lookup is not None else None
        except (LocalError, CancelledError) as error:
            entry.due_ns = now + RETRY_NS
            if entry.address is None:
                entry.reason = str(error) or "the look-up was cancelled"
            return None
        entry.due_ns = now + REFRESH_NS
        return address

    def _start(self, ready: Sequence[tuple[Key, _Stream, StreamSpec]], now: int, wall: int) -> list[Sample]:
        """Start or move these streams; returns what is to be recorded about those that did not run until now."""
        if not ready:
            return []
        moved = [(key, entry, spec) for key, entry, spec in ready if entry.address is not None]
        for key, entry, spec in moved:
            if spec.address != entry.address:
                text = f"{key[0]}/{key[1]}: {entry.circuit.target} is now {spec.address}, was {entry.address}"
                self._event("address_changed", text)
        self._engine.remove([key for key, _, _ in moved])
        refused = self._engine.add([spec for _, _, spec in ready])
        absences: list[Sample] = []
        for key, entry, spec in ready:
            error = refused.get(key)
            if error is None:
                absences += self._absences({key: entry}, wall)
                entry.address, entry.reason, entry.wanted = spec.address, None, None
                continue
            self._negotiations.close(key)
            self._rest(entry, str(error), now, wall)
        return absences


def _spec(entry: _Stream, address: str) -> StreamSpec:
    """Reads the secrets of the probe. Raises LocalError."""
    circuit, setting = entry.circuit, entry.setting
    parameters = {
        f"{name}_ns" if name in ("every", "timeout") else name: _plain(value)
        for name, value in setting.parameters.items()
    }
    parameters.setdefault("dscp", circuit.dscp)
    return spec_of(
        parameters,
        circuit=circuit.id,
        probe=setting.name,
        kind=setting.kind,
        address=address,
        host=circuit.target,
        source=circuit.source,
        interface=circuit.interface,
    )


def _plain(value: object) -> object:
    return value.read().reveal().encode() if isinstance(value, SecretSource) else value
