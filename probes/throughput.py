"""TCP throughput, forward and backward, against the linkwitness responder (`linkwitness reflect`).

The receiver's count is the truth: TCP payload octets that arrived in a window of time, by the receiver's monotonic
clock, never what the sender handed to its kernel. Each direction runs for `duration`; its beginning, the lesser of a
tenth of it and 1 s, is left out (slow start). So forward_ns and backward_ns are about 4.5 s of a 5 s run, and exact.

A responder that is busy with somebody else's test is no loss: the sample is `invalid`, reason "remote busy".
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NoReturn

from probes.core.catalog import FlowKind, FlowTarget, Metric, Parameter
from probes.core.clock import SECOND, Clock
from probes.core.errors import LocalError, PacketError
from probes.core.model import Counts, Quality, Rate, Sample, SampleState, StampSource
from probes.core.units import format_duration
from probes.engine.bulk import Progress, RateWindow, Stop, discard, hear, pace, receive, say, send
from probes.engine.connection import Attempt, Outcome, connection_info, open_connection
from probes.wire import throughput as wire
from probes.wire.throughput import Accept, Cause, Direction, End, Hello, Join, Message, Ready, Refuse, Result

PORT: Final = 8621
_DIRECTIONS: Final = {"forward": Direction.FORWARD, "backward": Direction.BACKWARD, "both": Direction.BOTH}
_STATES: Final = {
    Outcome.REJECTED: SampleState.REJECTED,
    Outcome.SILENT: SampleState.NO_REPLY,
    Outcome.LOCAL: SampleState.INVALID,
}
_LONGEST_OMISSION: Final = SECOND
_FAREWELL: Final = SECOND // 5


class _RunError(Exception):
    """The run cannot go on; carries the state and the reason of the sample."""

    def __init__(self, state: SampleState, reason: str) -> None:
        super().__init__(reason)
        self.state = state
        self.reason = reason


@dataclass(frozen=True, slots=True)
class _Plan:
    port: int
    directions: Direction
    duration_ns: int
    timeout_ns: int
    streams: int
    rate_bps: int
    limit_bytes: int
    progress: Callable[[str, int, int], None] | None

    @property
    def omit_ns(self) -> int:
        return min(self.duration_ns // 10, _LONGEST_OMISSION)

    @property
    def patience_ns(self) -> int:
        """Longest possible time of the whole run."""
        parts = len(self.directions.parts)
        return 2 * self.timeout_ns + parts * (self.duration_ns + 3 * self.timeout_ns)


def _plan(parameters: Mapping[str, object]) -> _Plan:
    values = {parameter.name: parameter.default for parameter in PROBE.parameters} | dict(parameters)

    def integer(name: str) -> int:
        value = values[name]
        if value is None:
            return 0
        if not isinstance(value, int):
            raise TypeError(f"{name} is an integer")
        return value

    progress = values.get("progress")
    return _Plan(
        port=integer("port"),
        directions=_DIRECTIONS[str(values["direction"])],
        duration_ns=integer("duration"),
        timeout_ns=integer("timeout"),
        streams=integer("streams"),
        rate_bps=integer("limit"),
        limit_bytes=integer("limit_bytes"),
        progress=progress if callable(progress) else None,
    )


def measure(target: FlowTarget, parameters: Mapping[str, object], clock: Clock) -> Sample:
    """One run, both directions one after the other; ends by (duration + 3 timeouts) for each, and 2 timeouts.

    `parameters` may hold `progress`, called about five times a second with (direction, ns, octets so far); what it
    raises ends the run at once and is passed on.
    """
    run = _Run(target, _plan(parameters), clock)
    return run.sample()


class _Run:
    def __init__(self, target: FlowTarget, plan: _Plan, clock: Clock) -> None:
        self._target = target
        self._plan = plan
        self._clock = clock
        self._nonce = secrets.randbits(64)
        self._rate = Rate(streams=plan.streams)
        self._phases: list[tuple[str, int]] = []
        self._begin = clock.monotonic()
        self._deadline = self._begin + plan.patience_ns

    def sample(self) -> Sample:
        started_ns = self._clock.wall()
        state, reason = SampleState.OK, None
        try:
            self._session()
        except _RunError as failure:
            state, reason = failure.state, failure.reason
        except LocalError as error:
            state, reason = SampleState.INVALID, str(error)
        counts = Counts(sent=1, lost=1)
        if state is SampleState.OK:
            counts = Counts(sent=1, received=1)
        elif state is SampleState.INVALID:
            counts = Counts(not_sent=1)
        known = any(value is not None for value in (self._rate.forward_bytes, self._rate.backward_bytes))
        return Sample(
            circuit=self._target.circuit,
            probe=self._target.probe,
            kind=PROBE.name,
            start_ns=started_ns,
            span_ns=max(1, self._clock.monotonic() - self._begin),
            state=state,
            counts=counts,
            rate=self._rate if known else None,
            remote=self._target.address,
            quality=Quality(stamps=StampSource.USER),
            reason=reason,
            phases=tuple(self._phases),
        )

    def _session(self) -> None:
        attempt = self._connect("")
        self._phases.append(("connect", attempt.elapsed_ns))
        if attempt.info is not None and attempt.info.rtt_ns:
            self._phases.append(("kernel_rtt", attempt.info.rtt_ns))
        assert attempt.socket is not None
        with attempt.socket as control:
            patience = _FAREWELL
            try:
                token = self._handshake(control)
                for direction in self._plan.directions.parts:
                    self._direction(control, token, direction)
                patience = self._plan.timeout_ns
            finally:
                # The responder closes when it is free again; our next run shall not find it busy with this one.
                with contextlib.suppress(OSError):
                    control.shutdown(socket.SHUT_WR)
                hear(control, self._by(patience), self._clock)

    def _handshake(self, control: socket.socket) -> bytes:
        plan = self._plan
        hello = Hello(
            self._nonce, plan.directions, plan.streams, plan.duration_ns, plan.omit_ns, self._target.dscp,
            plan.rate_bps, plan.limit_bytes,
        )  # fmt: skip
        if not say(control, hello):
            self._gone("before it answered")
        answer = self._answer(control, "to the request for a test")
        if isinstance(answer, Refuse) and answer.nonce == self._nonce:
            _refused(answer)
        if not isinstance(answer, Accept) or answer.nonce != self._nonce:
            self._confused()
        return answer.token

    def _direction(self, control: socket.socket, token: bytes, direction: Direction) -> None:
        name = direction.name.lower()
        progress = self._plan.progress
        tell: Progress | None = None if progress is None else functools.partial(progress, name)
        with self._streams(token, direction) as streams:
            ready = self._answer(control, f"to the connections of the {name} direction")
            if ready != Ready(self._nonce, direction):
                self._confused()
            if direction is Direction.FORWARD:
                self._forward(control, streams, tell)
            else:
                self._backward(control, streams, tell)

    @contextlib.contextmanager
    def _streams(self, token: bytes, direction: Direction) -> Iterator[list[socket.socket]]:
        streams: list[socket.socket] = []
        try:
            for number in range(self._plan.streams):
                stream = self._connect(f"{direction.name.lower()}: ").socket
                assert stream is not None
                streams.append(stream)
                if direction is Direction.FORWARD and self._plan.rate_bps:
                    pace(stream, self._plan.rate_bps // self._plan.streams)
                if not say(stream, Join(token, direction, number)):
                    self._gone("while the data connections were opened")
            yield streams
        finally:
            discard(streams)

    def _forward(self, control: socket.socket, streams: list[socket.socket], tell: Progress | None) -> None:
        plan = self._plan
        until = self._by(plan.duration_ns + plan.timeout_ns)
        stop, sent = send(streams, control, self._clock, until_ns=until, limit=plan.limit_bytes, progress=tell)
        infos = [info for info in map(connection_info, streams) if info is not None]
        answer = self._answer(
            control, f"after {sent} octets forward" if stop is not Stop.COMPLETE else "in time, forward"
        )
        if not isinstance(answer, Result) or (answer.nonce, answer.direction) != (self._nonce, Direction.FORWARD):
            self._confused()
        if answer.total_bytes > sent or answer.bytes > answer.total_bytes:
            raise _RunError(SampleState.INVALID, "the responder reports more octets than were sent")
        self._keep("forward", answer.bytes, answer.window_ns, sum(info.retransmits for info in infos), answer.end)
        self._loaded_rtt("forward", max((info.rtt_ns for info in infos), default=0))
        self._finish("forward", answer.end, answer.window_ns)

    def _backward(self, control: socket.socket, streams: list[socket.socket], tell: Progress | None) -> None:
        window = RateWindow(self._plan.omit_ns, self._plan.duration_ns)
        first_by = self._by(self._plan.timeout_ns)
        stop = receive(streams, control, window, self._clock, first_by_ns=first_by, progress=tell)
        if stop is Stop.SILENT:
            raise _RunError(SampleState.NO_REPLY, "backward: no data came")
        end = {Stop.COMPLETE: End.COMPLETE, Stop.EXHAUSTED: End.EXHAUSTED}.get(stop, End.BROKEN)
        self._keep("backward", window.octets, window.ns, None, End.BROKEN)
        if end is End.BROKEN:
            self._gone(f"after {window.total} octets backward")
        if not say(control, wire.Stop(self._nonce, Direction.BACKWARD)):
            self._gone(f"after {window.total} octets backward")
        answer = self._answer(control, f"after {window.total} octets backward")
        if not isinstance(answer, Result) or (answer.nonce, answer.direction) != (self._nonce, Direction.BACKWARD):
            self._confused()
        end = answer.end if answer.end is not End.COMPLETE and end is End.EXHAUSTED else end
        self._keep("backward", window.octets, window.ns, answer.retransmits, end)
        self._loaded_rtt("backward", answer.rtt_ns)
        self._finish("backward", end, window.ns)

    def _keep(self, name: str, octets: int, window_ns: int, retransmits: int | None, end: End) -> None:
        """Note what was received; a rate only for a window that was not broken off by a fault."""
        if not window_ns:
            return
        changes: dict[str, int | None] = {
            f"{name}_bytes": octets,
            f"{name}_ns": window_ns,
            f"{name}_retransmits": retransmits,
        }
        if end in (End.COMPLETE, End.EXHAUSTED, End.CAPPED):
            changes[f"{name}_bps"] = octets * 8 * SECOND // window_ns
        self._rate = dataclasses.replace(self._rate, **changes)  # type: ignore[arg-type]  # names are Rate's own

    def _finish(self, name: str, end: End, window_ns: int) -> None:
        if end is End.BROKEN:
            raise _RunError(SampleState.REJECTED, f"{name}: a data connection was reset")
        if end is End.SILENT:
            raise _RunError(SampleState.NO_REPLY, f"{name}: no data arrived at the responder")
        if not window_ns:
            omitted = format_duration(self._plan.omit_ns)
            raise _RunError(
                SampleState.INVALID,
                f"{name}: the limit of octets was reached within the first {omitted}, which are not counted"
                " (hint: raise limit_bytes)",
            )

    def _loaded_rtt(self, name: str, rtt_ns: int) -> None:
        if rtt_ns:
            self._phases.append((f"{name}_loaded_rtt", rtt_ns))

    def _connect(self, prefix: str) -> Attempt:
        timeout = min(self._plan.timeout_ns, max(0, self._deadline - self._clock.monotonic()))
        attempt = open_connection(self._target, self._plan.port, timeout, self._clock)
        if attempt.outcome is not Outcome.CONNECTED:
            raise _RunError(_STATES[attempt.outcome], f"{prefix}{attempt.reason}")
        return attempt

    def _by(self, ns: int) -> int:
        return min(self._deadline, self._clock.monotonic() + ns)

    def _answer(self, control: socket.socket, when: str) -> Message:
        data = hear(control, self._by(self._plan.timeout_ns), self._clock)
        if data is None:
            raise _RunError(SampleState.NO_REPLY, f"the responder at {self._target.address} did not answer {when}")
        if len(data) < wire.SIZE:
            self._gone(f"and did not answer {when}")
        try:
            return wire.decode(data)
        except PacketError as error:
            raise _RunError(SampleState.INVALID, f"{self._target.address} port {self._plan.port}: {error}") from None

    def _gone(self, when: str) -> NoReturn:
        raise _RunError(SampleState.REJECTED, f"the responder at {self._target.address} closed the connection {when}")

    def _confused(self) -> NoReturn:
        raise _RunError(SampleState.INVALID, f"the responder at {self._target.address} answers out of turn")


def _refused(answer: Refuse) -> NoReturn:
    if answer.cause is Cause.BUSY:
        raise _RunError(SampleState.INVALID, "remote busy")
    limits = {
        Cause.DURATION: f"tests longer than {format_duration(answer.maximum)}",
        Cause.STREAMS: f"more than {answer.maximum} streams",
        Cause.BYTES: f"more than {answer.maximum} octets",
    }
    raise _RunError(SampleState.INVALID, f"the responder refuses {limits[answer.cause]}")


PROBE: Final = FlowKind(
    name="throughput",
    summary="TCP throughput forward and backward, against a linkwitness responder",
    parameters=(
        Parameter("port", "port", PORT, "port of the responder", minimum=1, maximum=65535, option="-p"),
        Parameter("every", "duration", 3600 * SECOND, "time between runs", minimum=10 * SECOND, option="-i"),
        Parameter(
            "duration",
            "duration",
            5 * SECOND,
            "time for each direction; the first tenth, 1 s at most, is not counted",
            minimum=SECOND // 5,
            maximum=wire.MAXIMUM_DURATION_NS,
            option="-d",
        ),
        Parameter("direction", "choice", "both", "which way data flows", choices=("both", "forward", "backward")),
        Parameter("limit", "rate", None, "send no faster than this, each direction", minimum=8_000, option="-b"),
        Parameter("limit_bytes", "size", None, "end a direction after so much data", minimum=1_000_000),
        Parameter(
            "streams", "integer", 1, "parallel connections", minimum=1, maximum=wire.MAXIMUM_STREAMS, option="-P"
        ),
        Parameter(
            "timeout",
            "duration",
            3 * SECOND,
            "longest wait for each answer of the responder",
            minimum=SECOND // 10,
            maximum=60 * SECOND,
            option="-w",
        ),
    ),
    metrics=(
        Metric("forward_bps", "bit/s", "TCP payload received by the responder in its window (layer 4 goodput)"),
        Metric("backward_bps", "bit/s", "TCP payload received by this host in its window (layer 4 goodput)"),
        Metric("retransmits", "1", "segments the sender of a direction sent again (tcpi_total_retrans)"),
        Metric("kernel_rtt", "ns", "phase: round trip of the control connection's handshake, before the load"),
        Metric("loaded_rtt", "ns", "phase: smoothed round trip of the data connections at the end, under the load"),
    ),
    measure=measure,
    exclusive=True,
)
