"""Ad-hoc stream probe: the daemon's engine with one stream, a line per packet, a summary."""

from __future__ import annotations

import json
import queue
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from agent.cli import probe_summary
from agent.cli.request import Request
from agent.config import SecretSource
from probes.core.arrays import ABSENT
from probes.core.catalog import Declined, FlowTarget, Session, StreamKind
from probes.core.clock import MILLISECOND, SECOND, Clock
from probes.core.errors import LocalError
from probes.core.model import PacketState, Sample
from probes.core.units import format_duration
from probes.engine.loop import Engine
from probes.engine.streams import PacketEvents, StreamSpec, spec_of

_LOOK_EVERY_S: Final = 0.05
_WAITING_BATCHES: Final = 1000
_FAREWELL_S: Final = 0.5
"""After Ctrl-C: how long replies in flight are waited for."""
_STALLED: Final = 30 * SECOND


def run(request: Request, clock: Clock) -> int:
    """Measure until the count is reached or Ctrl-C; returns the exit code. Raises LocalError."""
    samples: list[Sample] = []
    outcomes = _Outcomes()
    write = _silent if request.quiet or request.as_json else _Writer(request).write
    began = clock.monotonic()
    engine = Engine(clock=clock, report=samples.extend, drain_ns=50 * MILLISECOND, observe=outcomes.put)
    interrupted = False
    session: Session | None = None
    lost: str | None = None
    engine.start()
    try:
        spec, session = _agreed(request, engine, clock)
        for error in engine.add([spec]).values():
            raise error
        if not request.as_json:
            print(_heading(request, spec), flush=True)
        while not engine.done():
            outcomes.show(write)
            if session is not None and (lost := session.ended()) is not None:
                print(f"linkwitness: {lost}", file=sys.stderr)
                break
            if clock.monotonic() - engine.progress() > _STALLED:
                raise LocalError("the engine has stopped working", hint="this is a fault of linkwitness: report it")
    except KeyboardInterrupt:
        interrupted = True
    finally:
        engine.close(_FAREWELL_S)
        if session is not None:
            session.close()
    outcomes.show(write)
    ended = clock.monotonic()
    if outcomes.dropped:
        said = f"{outcomes.dropped} packets are counted but have no line: the terminal was too slow"
        print(said, file=sys.stderr)
    total = probe_summary.totals(samples)
    if request.as_json:
        found = probe_summary.document(request, total, ended - began, interrupted=interrupted)
        print(json.dumps(found, ensure_ascii=False))
    else:
        print("\n".join(["", *probe_summary.lines(request, total, ended - began)]))
    return 130 if interrupted else 0 if total.counts.received and lost is None else 1


def _spec(request: Request) -> StreamSpec:
    """Reads the secrets among the parameters. Raises LocalError."""
    parameters = {
        f"{name}_ns" if name in ("every", "timeout") else name: _plain(value)
        for name, value in request.parameters.items()
        if value is not None
    }
    return spec_of(
        parameters,
        circuit=request.target,
        probe=request.kind.name,
        kind=request.kind.name,
        address=request.address,
        host=request.target,
        source=request.source,
        interface=request.interface,
        dscp=request.dscp,
        limit=request.count,
    )


def _plain(value: object) -> object:
    return value.read().reveal().encode() if isinstance(value, SecretSource) else value


def _agreed(request: Request, engine: Engine, clock: Clock) -> tuple[StreamSpec, Session | None]:
    """The stream, and the session it runs in where its kind has one. Raises LocalError when the far end declines."""
    spec, kind = _spec(request), request.kind
    if not isinstance(kind, StreamKind) or kind.arrange is None:
        return spec, None
    local_port = engine.local_port(spec, ())
    target = FlowTarget(
        spec.circuit, spec.probe, spec.host, spec.address, spec.source, spec.interface, spec.dscp
    )  # fmt: skip
    parameters = {"port": spec.port, "size": spec.size, "timeout": spec.timeout_ns}
    found = kind.arrange(target, parameters, local_port, clock)
    if isinstance(found, Declined):
        raise LocalError(found.reason, hint=found.hint)
    return replace(spec, port=found.port, local_port=local_port), found


def _heading(request: Request, spec: StreamSpec) -> str:
    parts = [f"{request.kind.name} {request.target} ({request.address})"]
    parts += [f"port {spec.port}"] if spec.port else []
    parts.append(f"{spec.size} octets every {format_duration(spec.every_ns)}")
    parts.append(f"timeout {format_duration(spec.timeout_ns)}")
    parts += [f"DSCP {spec.dscp}"] if spec.dscp else []
    return ", ".join(parts)


class _Outcomes:
    """From the engine's thread to this one, bounded: a slow terminal must not hold up the measurement."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[PacketEvents] = queue.Queue(_WAITING_BATCHES)
        self.dropped = 0

    def put(self, events: PacketEvents) -> None:
        try:
            self._waiting.put_nowait(events)
        except queue.Full:
            self.dropped += len(events)

    def show(self, write: Callable[[PacketEvents], None]) -> None:
        """Wait a moment for outcomes, then write all there are."""
        try:
            write(self._waiting.get(timeout=_LOOK_EVERY_S))
            while True:
                write(self._waiting.get_nowait())
        except queue.Empty:
            return


class _Writer:
    """One line per outcome, as ping does."""

    def __init__(self, request: Request) -> None:
        timeout = request.integer("timeout")
        self._timeout = "in time" if timeout is None else f"within {format_duration(timeout)}"
        self._address = request.address

    def write(self, events: PacketEvents) -> None:
        columns = zip(
            events.sequence.tolist(), events.state.tolist(), events.rtt_ns.tolist(), events.duplicate.tolist(),
            events.ttl.tolist(), events.source, events.reason, events.forward_ns.tolist(),
            events.backward_ns.tolist(), strict=True,
        )  # fmt: skip
        for sequence, state, rtt_ns, duplicate, ttl, source, reason, forward_ns, backward_ns in columns:
            line = self._line(sequence, PacketState(state), rtt_ns, duplicate, ttl, source or self._address, reason)
            print(line + _one_way("forward", forward_ns) + _one_way("backward", backward_ns))
        sys.stdout.flush()

    def _line(
        self, sequence: int, state: PacketState, rtt_ns: int, duplicate: bool, ttl: int, source: str, reason: str | None
    ) -> str:
        hops = f" ttl={ttl}" if ttl >= 0 else ""
        if duplicate:
            return f"duplicate from {source}: seq={sequence}{hops}"
        if state is PacketState.ANSWERED:
            return f"reply from {source}: seq={sequence}{hops} time={rtt_ns / 1e6:.3f} ms"
        if state is PacketState.LATE:
            return f"late reply from {source}: seq={sequence}{hops} time={rtt_ns / 1e6:.3f} ms, counted as lost"
        if state is PacketState.REJECTED:
            return f"rejected: seq={sequence} {reason or f'by {source}'}"
        if state is PacketState.NOT_SENT:
            return f"not sent: seq={sequence} {reason or ''}".rstrip()
        return f"no reply {self._timeout}: seq={sequence}"


def _one_way(name: str, delay_ns: int) -> str:
    return "" if delay_ns == ABSENT else f" {name}={delay_ns / 1e6:.3f} ms"


def _silent(_: PacketEvents) -> None:
    pass
