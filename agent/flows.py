"""Flow probes under watch: each run resolved, measured, recorded; runs that load a circuit mark what they overlap."""

import hashlib
import ipaddress
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from agent.schedule import Schedule, Work
from agent.store import RunRecord, RunState
from probes.core.catalog import FlowKind, FlowTarget
from probes.core.clock import SECOND, Clock
from probes.core.errors import LocalError
from probes.core.model import Circuit, Counts, ProbeSetting, Sample, SampleState
from probes.engine.resolve import Resolver

log = logging.getLogger(__name__)

Key = tuple[str, str]
"""(circuit, probe)"""

LOOKUP_TIMEOUT_S = 5.0
FIRST_FLOW_SPREAD_NS = 5 * SECOND
FIRST_EXCLUSIVE_NS = 8 * SECOND
"""An exclusive run that never happened before waits until the streams have a first undisturbed interval's start."""
COSTLY_APART_NS = 2 * SECOND
"""First runs of kinds that cost much begin so far apart."""
REMOVED = "no longer configured"
STOPPING = "the agent is stopping"


class _Cut(Exception):  # noqa: N818 # it ends a run, nothing went wrong
    """Raised inside a run that nobody wants any more."""


@dataclass(slots=True)
class _Flow:
    circuit: Circuit
    setting: ProbeSetting
    kind: FlowKind
    address: str | None = None
    """numeric address found last"""
    ended: str | None = None
    """why its runs are no longer wanted"""
    running_ns: int | None = None
    """when the run in progress was due, UTC; None when none is"""

    @property
    def key(self) -> Key:
        return self.circuit.id, self.setting.name

    @property
    def id(self) -> str:
        return f"{self.circuit.id}/{self.setting.name}"


class Flows:
    """All flow probes of the agent. Thread-safe; `mark` tells the engine that a circuit is under load."""

    def __init__(
        self,
        *,
        schedule: Schedule,
        resolver: Resolver,
        clock: Clock,
        mark: Callable[[str, str | None], None],
        record: Callable[[Sequence[Sample]], None],
        ran: Callable[[RunRecord], None],
    ) -> None:
        self._schedule, self._resolver, self._clock = schedule, resolver, clock
        self._mark, self._record, self._ran = mark, record, ran
        self._lock = threading.Lock()
        self._flows: dict[Key, _Flow] = {}
        self._loaded: dict[str, int] = {}
        self._last_load: dict[str, int] = {}

    def add(self, circuit: Circuit, setting: ProbeSetting, kind: FlowKind, last_run_ns: int | None) -> None:
        """Run this probe in its rhythm; last_run_ns (UTC) of the run before, so that a restart keeps the rhythm."""
        flow = _Flow(circuit, setting, kind)
        every = setting.parameters.get("every")
        with self._lock:
            costly = sum(other.kind.single for other in self._flows.values()) if kind.single else 0
            self._flows[flow.key] = flow
        self._schedule.add(
            Work(
                flow.id,
                call=lambda: self._run(flow),
                every_ns=every if isinstance(every, int) and setting.schedule is None else None,
                cron=setting.schedule,
                first_after_ns=self._first_after(flow, every, last_run_ns) + costly * COSTLY_APART_NS,
                run_class="exclusive" if kind.exclusive else "normal",
                skipped=lambda reason: self._skipped(flow, reason),
                keys=lambda: (f"circuit {circuit.id}", f"remote {self._lock_address(flow)}"),
            )
        )

    def remove(self, circuit: str) -> None:
        """Forget the probes of this circuit; a run in progress is cut short or its outcome dropped."""
        with self._lock:
            gone = [flow for flow in self._flows.values() if flow.circuit.id == circuit]
            for flow in gone:
                flow.ended = REMOVED
                del self._flows[flow.key]
            self._last_load.pop(circuit, None)
        self._schedule.remove([flow.id for flow in gone])

    def next_runs(self) -> dict[Key, datetime]:
        """When each probe runs next."""
        due = self._schedule.next_runs()
        with self._lock:
            return {key: due[flow.id] for key, flow in self._flows.items() if flow.id in due}

    def run_now(self, key: Key) -> None:
        """Begin a run of this probe soon, beside its rhythm. Unknown probes are ignored."""
        self._schedule.run_now(f"{key[0]}/{key[1]}")

    def running(self) -> set[Key]:
        """Probes whose run is in progress."""
        with self._lock:
            return {key for key, flow in self._flows.items() if flow.running_ns is not None}

    def stop(self) -> None:
        """No further run is begun; runs that can be cut short end."""
        with self._lock:
            for flow in self._flows.values():
                flow.ended = STOPPING

    def finish(self) -> None:
        """After `stop`: record the runs that have not ended. Nothing is handed on from here on."""
        with self._lock:
            open_runs = [(flow, flow.running_ns) for flow in self._flows.values() if flow.running_ns is not None]
            self._flows.clear()
            for flow, _ in open_runs:
                flow.running_ns = None
        for flow, begun in open_runs:
            self._tell(flow, RunState.FAILED, begun or 0, reason=f"cut short: {STOPPING}")

    def _first_after(self, flow: _Flow, every: object, last_run_ns: int | None) -> int:
        spread = int.from_bytes(hashlib.blake2b(flow.id.encode(), digest_size=4).digest(), "big") / 2**32
        soon = int(spread * FIRST_FLOW_SPREAD_NS) + (FIRST_EXCLUSIVE_NS if flow.kind.exclusive else 0)
        if not flow.kind.exclusive or last_run_ns is None or not isinstance(every, int):
            return soon
        return max(soon, min(every, last_run_ns + every - self._clock.wall()))

    def _lock_address(self, flow: _Flow) -> str:
        try:
            return self._address(flow)
        except LocalError:
            return flow.circuit.target

    def _address(self, flow: _Flow) -> str:
        """Looked up for every run. Of several addresses the one used before is kept while the name has it."""
        target, family = flow.circuit.target, flow.circuit.family
        if is_numeric(target):
            return target
        try:
            flow.address = self._resolver.lookup(target, family, flow.address).result(LOOKUP_TIMEOUT_S)
        except TimeoutError:
            raise LocalError(f"{target} was not resolved within {LOOKUP_TIMEOUT_S:g} s") from None
        return flow.address

    def _run(self, flow: _Flow) -> None:
        """One due run, whatever becomes of it recorded once: here, or by `finish` if that came first."""
        due = self._clock.wall()
        with self._lock:
            if flow.ended is not None:
                return
            flow.running_ns = due
        state, started, reason, sample = RunState.FAILED, None, None, None
        try:
            sample, started = self._measure(flow, due)
            state, reason = (RunState.FAILED if started is None else RunState.RAN), sample.reason
        except _Cut:
            reason = f"cut short: {flow.ended}"
        except Exception as error:
            log.exception("%s failed", flow.id)
            reason = f"internal error: {error}"
        with self._lock:
            wanted, flow.running_ns = flow.running_ns is not None, None
        if not wanted:
            return
        if sample is not None and flow.ended != REMOVED:
            self._record([sample])
        self._tell(flow, state, due, started, reason)

    def _measure(self, flow: _Flow, due_ns: int) -> tuple[Sample, int | None]:
        """The sample, and when it was begun (UTC): None when there was no address to measure."""
        circuit, setting, begun = flow.circuit, flow.setting, self._clock.monotonic()
        try:
            address = self._address(flow)
        except LocalError as error:
            span = max(1, self._clock.monotonic() - begun)
            counts = Counts(not_sent=1)
            reason = error.message
            return Sample(*flow.key, flow.kind.name, due_ns, span, SampleState.INVALID, counts, reason=reason), None
        dscp = setting.parameters.get("dscp")
        target = FlowTarget(
            circuit.id, setting.name, circuit.target, address, circuit.source, circuit.interface,
            dscp if isinstance(dscp, int) else circuit.dscp,
        )  # fmt: skip
        begun, begun_wall = self._clock.monotonic(), self._clock.wall()

        def heed(*_: object) -> None:
            if flow.ended is not None:
                raise _Cut

        parameters: Mapping[str, object] = {**setting.parameters, "progress": heed}
        if flow.kind.exclusive:
            return self._measure_alone(flow, target, parameters), begun_wall
        sample = flow.kind.measure(target, parameters, self._clock)
        if self._was_loaded(circuit.id, begun) and sample.state.measured:
            sample = replace(sample, state=SampleState.IMPAIRED, reason="throughput run on this circuit")
        return sample, begun_wall

    def _measure_alone(self, flow: _Flow, target: FlowTarget, parameters: Mapping[str, object]) -> Sample:
        with self._lock:
            self._loaded[target.circuit] = self._loaded.get(target.circuit, 0) + 1
            self._mark(target.circuit, f"{flow.kind.name} run on this circuit")
        try:
            return flow.kind.measure(target, parameters, self._clock)
        finally:
            with self._lock:
                self._last_load[target.circuit] = self._clock.monotonic()
                self._loaded[target.circuit] -= 1
                if not self._loaded[target.circuit]:
                    del self._loaded[target.circuit]
                    self._mark(target.circuit, None)

    def _was_loaded(self, circuit: str, begun_ns: int) -> bool:
        with self._lock:
            return circuit in self._loaded or self._last_load.get(circuit, -1) >= begun_ns

    def _skipped(self, flow: _Flow, reason: str) -> None:
        if flow.ended == REMOVED:
            return
        log.info("%s: run skipped: %s", flow.id, reason)
        self._tell(flow, RunState.SKIPPED, self._clock.wall(), reason=reason)

    def _tell(
        self, flow: _Flow, state: RunState, due_ns: int, started_ns: int | None = None, reason: str | None = None
    ) -> None:
        circuit, probe = flow.key
        self._ran(RunRecord(circuit, probe, flow.kind.name, state, due_ns, started_ns, reason))


def is_numeric(target: str) -> bool:
    """True for an address, which needs no look-up."""
    try:
        ipaddress.ip_address(target)
    except ValueError:
        return False
    return True
