"""Circuits under watch: turns configured probes into streams and scheduled flows, and keeps names resolved.

A circuit whose name cannot be resolved, or whose probe this host may not send, is `invalid` with the reason; nothing
else is touched. No lookup ever happens in the engine's thread.
"""

import hashlib
import ipaddress
import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace

from agent.schedule import Schedule, Work
from agent.store.records import RunRecord, RunState
from probes.core import catalog
from probes.core.catalog import FlowKind, FlowTarget, StreamKind
from probes.core.clock import SECOND, Clock
from probes.core.errors import LocalError
from probes.core.model import Circuit, Counts, ProbeSetting, Sample, SampleState
from probes.engine.loop import Engine
from probes.engine.resolve import Resolver
from probes.engine.streams import StreamSpec

log = logging.getLogger(__name__)

Key = tuple[str, str]
"""(circuit, probe)"""

RETRY_NS = 30 * SECOND
"""How long a failed name or a refused stream rests before it is tried again."""
REFRESH_NS = 300 * SECOND
"""How often a name that is in use is looked up again."""
LOOKUP_TIMEOUT_S = 5.0
FIRST_FLOW_SPREAD_NS = 5 * SECOND
FIRST_EXCLUSIVE_NS = 8 * SECOND
"""An exclusive run that never happened before waits until the streams have a first undisturbed interval's start."""


@dataclass(slots=True)
class _Stream:
    circuit: Circuit
    setting: ProbeSetting
    address: str | None = None
    """numeric address in use; None while the stream does not run"""
    reason: str | None = None
    """why it does not run"""
    due_ns: int = 0
    """monotonic time of the next look-up"""
    lookup: Future[str] | None = None


class Watch:
    """All circuits being measured. Thread-safe; `record` receives every sample that is not the engine's own."""

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
        event: Callable[[str, str], None],
    ) -> None:
        self._engine, self._schedule, self._resolver = engine, schedule, resolver
        self._clock, self._span_ns = clock, span_ns
        self._record, self._ran, self._event = record, ran, event
        self._lock = threading.RLock()
        self._streams: dict[Key, _Stream] = {}
        self._flows: dict[str, list[str]] = {}
        self._loaded: dict[str, int] = {}
        self._last_load: dict[str, int] = {}
        self._invalid_since = clock.wall() // span_ns * span_ns

    def add(self, circuits: Iterable[Circuit], last_runs: Mapping[Key, int]) -> None:
        """Start measuring. last_runs: wall ns of the last run of each flow, so that a restart keeps their rhythm."""
        for circuit in circuits:
            for setting in circuit.probes:
                kind = catalog.load(setting.kind)
                if isinstance(kind, StreamKind):
                    with self._lock:
                        self._streams[circuit.id, setting.name] = _Stream(circuit, setting)
                else:
                    self._add_flow(circuit, setting, kind, last_runs.get((circuit.id, setting.name)))
        self.tend()

    def remove(self, circuits: Iterable[str]) -> None:
        """Stop measuring these; open intervals are closed and kept."""
        for circuit in circuits:
            self._schedule.remove(self._flows.pop(circuit, []))
            with self._lock:
                keys = [key for key in self._streams if key[0] == circuit]
                for key in keys:
                    del self._streams[key]
            self._engine.remove(keys)

    def refused(self) -> dict[Key, str]:
        """Streams that do not run now, with the reason."""
        with self._lock:
            return {key: entry.reason for key, entry in self._streams.items() if entry.address is None and entry.reason}

    def tend(self) -> None:
        """Look up what is due, start what is ready. Called once a second; never waits for a look-up."""
        now = self._clock.monotonic()
        ready: list[tuple[Key, str]] = []
        with self._lock:
            for key, entry in self._streams.items():
                if entry.lookup is not None:
                    if entry.lookup.done():
                        self._take_lookup(key, entry, ready, now)
                elif now >= entry.due_ns:
                    ready.extend(self._begin(key, entry, now))
        self._start(ready, now)

    def report_absent(self) -> None:
        """One INVALID sample per stream that does not run, for the interval that ended. Called once per interval."""
        end = self._clock.wall() // self._span_ns * self._span_ns
        start, self._invalid_since = self._invalid_since, end
        if end <= start:
            return
        span = min(end - start, self._span_ns)
        absent = [
            Sample(key[0], key[1], entry.setting.kind, end - span, span, SampleState.INVALID, reason=entry.reason)
            for key, entry in list(self._streams.items())
            if entry.address is None and entry.reason is not None
        ]
        if absent:
            self._record(absent)

    def _begin(self, key: Key, entry: _Stream, now: int) -> list[tuple[Key, str]]:
        if _is_numeric(entry.circuit.target):
            entry.due_ns = now + RETRY_NS
            return [(key, entry.circuit.target)] if entry.address is None else []
        entry.lookup = self._resolver.lookup(entry.circuit.target, entry.circuit.family)
        return []

    def _take_lookup(self, key: Key, entry: _Stream, ready: list[tuple[Key, str]], now: int) -> None:
        lookup, entry.lookup = entry.lookup, None
        try:
            address = lookup.result(timeout=0) if lookup else ""
        except LocalError as error:
            entry.due_ns = now + RETRY_NS
            if entry.address is None:
                entry.reason = str(error.message)
            return
        entry.due_ns = now + REFRESH_NS
        if address != entry.address:
            ready.append((key, address))

    def _start(self, ready: Sequence[tuple[Key, str]], now: int) -> None:
        if not ready:
            return
        with self._lock:
            present = [(key, address) for key, address in ready if key in self._streams]
            moved = [key for key, _ in present if self._streams[key].address is not None]
            specs = [self._spec(self._streams[key], address) for key, address in present]
        for key in moved:
            self._event("address_changed", f"{key[0]}: {self._streams[key].circuit.target} has a new address")
        self._engine.remove(moved)
        refused = self._engine.add(specs)
        with self._lock:
            for key, address in present:
                entry = self._streams[key]
                error = refused.get(key)
                entry.address = None if error else address
                entry.reason = str(error) if error else None
                if error:
                    entry.due_ns = now + RETRY_NS

    def _spec(self, entry: _Stream, address: str) -> StreamSpec:
        circuit, setting = entry.circuit, entry.setting
        parameters = {
            f"{name}_ns" if name in ("every", "timeout") else name: value for name, value in setting.parameters.items()
        }
        parameters.setdefault("dscp", circuit.dscp)
        return StreamSpec(
            circuit=circuit.id,
            probe=setting.name,
            kind=setting.kind,
            address=address,
            host=circuit.target,
            source=circuit.source,
            interface=circuit.interface,
            **parameters,  # type: ignore[arg-type] # checked against the kind's Parameters when configured
        )

    def _add_flow(self, circuit: Circuit, setting: ProbeSetting, kind: FlowKind, last_run_ns: int | None) -> None:
        identity = f"{circuit.id}/{setting.name}"
        every = setting.parameters.get("every")
        self._flows.setdefault(circuit.id, []).append(identity)
        self._schedule.add(
            Work(
                identity,
                call=lambda: self._run_flow(circuit, setting, kind),
                every_ns=every if isinstance(every, int) and setting.schedule is None else None,
                cron=setting.schedule,
                first_after_ns=self._first_after(identity, kind, every, last_run_ns),
                run_class="exclusive" if kind.exclusive else "normal",
                skipped=lambda reason: self._skipped(circuit.id, setting, reason),
                keys=lambda: (f"circuit {circuit.id}", f"remote {self._lock_address(circuit)}"),
            )
        )

    def _first_after(self, identity: str, kind: FlowKind, every: object, last_run_ns: int | None) -> int:
        spread = int.from_bytes(hashlib.blake2b(identity.encode(), digest_size=4).digest(), "big") / 2**32
        soon = int(spread * FIRST_FLOW_SPREAD_NS) + (FIRST_EXCLUSIVE_NS if kind.exclusive else 0)
        if not kind.exclusive or last_run_ns is None or not isinstance(every, int):
            return soon
        return max(soon, min(every, last_run_ns + every - self._clock.wall()))

    def _lock_address(self, circuit: Circuit) -> str:
        try:
            return self._address(circuit)
        except LocalError:
            return circuit.target

    def _address(self, circuit: Circuit) -> str:
        if _is_numeric(circuit.target):
            return circuit.target
        try:
            return self._resolver.lookup(circuit.target, circuit.family).result(LOOKUP_TIMEOUT_S)
        except TimeoutError:
            raise LocalError(f"{circuit.target} was not resolved within {LOOKUP_TIMEOUT_S:g} s") from None

    def _run_flow(self, circuit: Circuit, setting: ProbeSetting, kind: FlowKind) -> None:
        started, key = self._clock.wall(), (circuit.id, setting.name)
        try:
            address = self._address(circuit)
        except LocalError as error:
            self._record([_invalid(key, kind.name, started, error.message)])
            self._ran(RunRecord(circuit.id, setting.name, kind.name, RunState.FAILED, started, reason=error.message))
            return
        dscp = setting.parameters.get("dscp")
        target = FlowTarget(
            circuit.id, setting.name, circuit.target, address, circuit.source, circuit.interface,
            dscp if isinstance(dscp, int) else circuit.dscp,
        )  # fmt: skip
        begun, begun_wall = self._clock.monotonic(), self._clock.wall()
        if kind.exclusive:
            sample = self._run_exclusive(target, setting, kind)
        else:
            sample = kind.measure(target, setting.parameters, self._clock)
            if self._was_loaded(circuit.id, begun) and sample.state.measured:
                sample = replace(sample, state=SampleState.IMPAIRED, reason="throughput run on this circuit")
        self._record([sample])
        self._ran(RunRecord(circuit.id, setting.name, kind.name, RunState.RAN, started, begun_wall, sample.reason))

    def _run_exclusive(self, target: FlowTarget, setting: ProbeSetting, kind: FlowKind) -> Sample:
        with self._lock:
            self._loaded[target.circuit] = self._loaded.get(target.circuit, 0) + 1
        self._engine.mark(target.circuit, f"{kind.name} run on this circuit")
        try:
            return kind.measure(target, setting.parameters, self._clock)
        finally:
            with self._lock:
                self._loaded[target.circuit] -= 1
                self._last_load[target.circuit] = self._clock.monotonic()
                if not self._loaded[target.circuit]:
                    self._engine.mark(target.circuit, None)

    def _was_loaded(self, circuit: str, begun_ns: int) -> bool:
        with self._lock:
            return bool(self._loaded.get(circuit)) or self._last_load.get(circuit, -1) >= begun_ns

    def _skipped(self, circuit: str, setting: ProbeSetting, reason: str) -> None:
        log.info("%s/%s: run skipped: %s", circuit, setting.name, reason)
        now = self._clock.wall()
        self._ran(RunRecord(circuit, setting.name, setting.kind, RunState.SKIPPED, now, reason=reason))


def _invalid(key: Key, kind: str, start_ns: int, reason: str) -> Sample:
    return Sample(key[0], key[1], kind, start_ns, 0, SampleState.INVALID, Counts(not_sent=1), reason=reason)


def _is_numeric(target: str) -> bool:
    try:
        ipaddress.ip_address(target)
    except ValueError:
        return False
    return True
