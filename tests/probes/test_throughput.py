"""Throughput probe against the responder and against everything a responder can do wrong."""

import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.core import catalog
from probes.core.catalog import FlowTarget
from probes.core.clock import MILLISECOND, SECOND, SystemClock
from probes.core.model import Counts, Sample, SampleState
from probes.engine.bulk import RateWindow
from probes.reflect.responder import Responder
from probes.throughput import PROBE
from probes.wire import throughput as wire
from probes.wire.throughput import Accept, Cause, Direction, End, Hello, Join, Ready, Refuse, Result
from tests.probes.two_hosts import two_hosts

CLOCK = SystemClock()
TARGET = FlowTarget(circuit="C1", probe="throughput", host="localhost", address="127.0.0.1")
QUICK = {"duration": 400 * MILLISECOND, "timeout": SECOND}


def measure(port: int, target: FlowTarget = TARGET, **parameters: object) -> Sample:
    return PROBE.measure(target, QUICK | {"port": port} | parameters, CLOCK)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    server = Responder("127.0.0.1", 0, allow=["127.0.0.0/8"], clock=CLOCK)
    server.start()
    yield server.port
    server.close()


def test_the_catalogue_finds_it_and_runs_it_alone() -> None:
    assert catalog.load("throughput") is PROBE
    assert PROBE.exclusive


@pytest.mark.parametrize("streams", [1, 3])
def test_both_directions(port: int, streams: int) -> None:
    sample = measure(port, streams=streams)
    assert (sample.state, sample.reason, sample.counts) == (SampleState.OK, None, Counts(sent=1, received=1))
    rate = sample.rate
    assert rate is not None
    assert (rate.streams, rate.layer) == (streams, "tcp payload")
    for bps, octets, ns, again in (
        (rate.forward_bps, rate.forward_bytes, rate.forward_ns, rate.forward_retransmits),
        (rate.backward_bps, rate.backward_bytes, rate.backward_ns, rate.backward_retransmits),
    ):
        assert bps is not None
        assert octets is not None
        assert ns is not None
        assert again is not None
        assert bps == octets * 8 * SECOND // ns
        assert ns >= 100 * MILLISECOND  # nominally 360 ms: the edges are readings, and the machine is noisy
        assert bps > 10_000_000
    assert {"connect", "kernel_rtt"} <= set(dict(sample.phases))
    assert sample.delay is None
    assert sample.span_ns >= 800 * MILLISECOND


@pytest.mark.parametrize(("direction", "absent"), [("forward", "backward"), ("backward", "forward")])
def test_one_direction_leaves_the_other_absent(port: int, direction: str, absent: str) -> None:
    rate = measure(port, direction=direction).rate
    assert rate is not None
    assert getattr(rate, f"{direction}_bps") is not None
    assert getattr(rate, f"{absent}_bps") is None
    assert getattr(rate, f"{absent}_bytes") is None


def test_rate_limit_is_kept(port: int) -> None:
    rate = measure(port, limit=40_000_000, streams=2, duration=SECOND).rate
    assert rate is not None
    for bps in (rate.forward_bps, rate.backward_bps):
        assert bps is not None
        assert 20_000_000 < bps < 48_000_000


def test_limit_of_octets_ends_a_direction_early() -> None:
    server = Responder("127.0.0.1", 0, allow=["127.0.0.0/8"], clock=CLOCK)
    server.start()
    sample = measure(server.port, limit=40_000_000, limit_bytes=2_000_000, duration=3 * SECOND)
    counters = server.counters()
    server.close()
    assert sample.state is SampleState.OK
    assert sample.rate is not None
    assert sample.rate.forward_bps is not None
    assert sample.span_ns < 3 * SECOND
    assert (counters["received_bytes"], counters["sent_bytes"]) == (2_000_000, 2_000_000)


def test_limit_reached_before_anything_counts_is_our_own_mistake(port: int) -> None:
    sample = measure(port, limit_bytes=1_000_000, limit=80_000_000, duration=5 * SECOND)
    assert (sample.state, sample.counts, sample.rate) == (SampleState.INVALID, Counts(not_sent=1), None)
    assert sample.reason == (
        "forward: the limit of octets was reached within the first 500ms, which are not counted"
        " (hint: raise limit_bytes)"
    )


def test_progress_is_told_and_may_end_the_run(port: int) -> None:
    seen: list[tuple[str, int, int]] = []
    measure(port, progress=lambda *told: seen.append(told), duration=SECOND)
    assert {name for name, _, _ in seen} == {"forward", "backward"}
    for name in ("forward", "backward"):
        octets = [count for told, _, count in seen if told == name]
        assert octets == sorted(octets)

    def refuse(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(port, progress=refuse, duration=SECOND)


def test_runs_one_after_the_other_never_find_the_responder_busy_with_the_last() -> None:
    server = Responder("127.0.0.1", 0, allow=["127.0.0.0/8"], rate_per_source=1000, clock=CLOCK)
    server.start()
    states = [measure(server.port, duration=20 * MILLISECOND).state for _ in range(20)]
    server.close()
    assert states == [SampleState.OK] * 20


def test_busy_is_no_loss(port: int) -> None:
    started = threading.Event()
    first: list[Sample] = []
    thread = threading.Thread(
        target=lambda: first.append(measure(port, progress=lambda *_: started.set(), duration=SECOND))
    )
    thread.start()
    assert started.wait(10)
    second = measure(port)
    thread.join(20)
    assert (second.state, second.reason, second.counts) == (SampleState.INVALID, "remote busy", Counts(not_sent=1))
    assert first[0].state is SampleState.OK


def test_duration_over_the_responders_maximum_is_named() -> None:
    server = Responder("127.0.0.1", 0, allow=["127.0.0.0/8"], maximum_duration_s=1, clock=CLOCK)
    server.start()
    sample = measure(server.port, duration=2 * SECOND)
    server.close()
    assert (sample.state, sample.reason) == (SampleState.INVALID, "the responder refuses tests longer than 1s")


def test_refused_and_stranger_are_rejected() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        closed = probe.getsockname()[1]
    sample = measure(closed)
    assert (sample.state, sample.reason) == (SampleState.REJECTED, "connection refused by 127.0.0.1")
    assert sample.counts == Counts(sent=1, lost=1)
    server = Responder("127.0.0.1", 0, allow=["192.0.2.0/24"], clock=CLOCK)
    server.start()
    stranger = measure(server.port)
    server.close()
    assert stranger.state is SampleState.REJECTED
    assert stranger.reason is not None
    assert stranger.reason.startswith("the responder at 127.0.0.1 closed the connection")


SERVER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from probes.core.clock import SystemClock
from probes.reflect.responder import Responder
server = Responder("127.0.0.1", 0, allow=["127.0.0.0/8"], clock=SystemClock())
server.start()
print(server.port, flush=True)
time.sleep(60)
"""


@contextlib.contextmanager
def other_process() -> Iterator[tuple[subprocess.Popen[str], int]]:
    root = str(Path(__file__).parents[2])
    with subprocess.Popen([sys.executable, "-c", SERVER, root], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_responder_killed_in_the_middle_gives_the_truthful_part(direction: str) -> None:
    with other_process() as (process, port):

        def kill(name: str, ns: int, _: int) -> None:
            if name == direction and ns > 500 * MILLISECOND:
                process.kill()

        sample = measure(port, progress=kill, duration=2 * SECOND, direction=direction)
    assert (sample.state, sample.counts) == (SampleState.REJECTED, Counts(sent=1, lost=1))
    assert sample.reason is not None
    assert sample.reason.startswith("the responder at 127.0.0.1 closed the connection")
    if direction == "forward":  # only the responder knew what arrived
        assert sample.rate is None
    else:
        assert sample.rate is not None
        assert sample.rate.backward_bps is None
        assert sample.rate.backward_bytes is not None
        assert sample.rate.backward_bytes > 0


def test_second_direction_lost_keeps_the_first() -> None:
    with other_process() as (process, port):

        def kill(name: str, *_: object) -> None:
            if name == "backward":
                process.kill()

        sample = measure(port, progress=kill, duration=SECOND)
    assert sample.state is SampleState.REJECTED
    assert sample.rate is not None
    assert sample.rate.forward_bps is not None
    assert sample.rate.backward_bps is None


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_responder_frozen_in_the_middle_ends_by_the_deadline(direction: str) -> None:
    with other_process() as (process, port):

        def freeze(name: str, ns: int, _: int) -> None:
            if name == direction and ns > 200 * MILLISECOND:
                os.kill(process.pid, signal.SIGSTOP)

        sample = measure(port, progress=freeze, direction=direction, duration=SECOND, timeout=500 * MILLISECOND)
    assert (sample.state, sample.counts) == (SampleState.NO_REPLY, Counts(sent=1, lost=1))
    assert sample.reason is not None
    assert "did not answer" in sample.reason
    assert sample.span_ns < 2 * 500 * MILLISECOND + SECOND + 3 * 500 * MILLISECOND + 3 * SECOND
    if direction == "backward":
        assert sample.rate is not None
        assert sample.rate.backward_bps is None


Script = Callable[[socket.socket, socket.socket, Hello], None]


def against(script: Script, **parameters: object) -> Sample:
    """Measure against a responder that does as scripted: (listener, control connection, the HELLO it got)."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)

        def serve() -> None:
            control, _ = listener.accept()
            control.settimeout(5)
            with control, contextlib.suppress(OSError):
                hello = wire.decode(control.recv(64, socket.MSG_WAITALL))
                assert isinstance(hello, Hello)
                script(listener, control, hello)

        thread = threading.Thread(target=serve)
        thread.start()
        sample = measure(listener.getsockname()[1], **({"timeout": 300 * MILLISECOND} | parameters))
        thread.join(10)
        return sample


def accept_stream(listener: socket.socket, control: socket.socket, hello: Hello) -> socket.socket:
    control.sendall(wire.encode(Accept(hello.nonce, bytes(16))))
    stream, _ = listener.accept()
    stream.settimeout(5)
    assert isinstance(wire.decode(stream.recv(64, socket.MSG_WAITALL)), Join)
    return stream


def wait_closed(control: socket.socket) -> None:
    while control.recv(64):
        pass


def liar(claim: int) -> Script:
    def script(listener: socket.socket, control: socket.socket, hello: Hello) -> None:
        with accept_stream(listener, control, hello) as stream:
            control.sendall(wire.encode(Ready(hello.nonce, Direction.FORWARD)))
            stream.recv(100)
            result = Result(hello.nonce, Direction.FORWARD, End.COMPLETE, claim, SECOND, claim, 0, 0)
            control.sendall(wire.encode(result))
            wait_closed(control)

    return script


def out_of_turn(listener: socket.socket, control: socket.socket, hello: Hello) -> None:
    with accept_stream(listener, control, hello):
        control.sendall(wire.encode(Ready(hello.nonce, Direction.BACKWARD)))
        wait_closed(control)


def never_sends(listener: socket.socket, control: socket.socket, hello: Hello) -> None:
    with accept_stream(listener, control, hello):
        control.sendall(wire.encode(Ready(hello.nonce, Direction.BACKWARD)))
        wait_closed(control)


CLOSED = "the responder at 127.0.0.1 closed the connection "
MISBEHAVIOUR: list[tuple[Script, dict[str, object], SampleState, str]] = [
    (lambda _, control, __: wait_closed(control), {}, SampleState.NO_REPLY,
     "the responder at 127.0.0.1 did not answer to the request for a test"),
    (lambda _, control, __: control.close(), {}, SampleState.REJECTED,
     CLOSED + "and did not answer to the request for a test"),
    (lambda _, control, __: control.sendall(b"SSH-2.0-OpenSSH_9.2p1\r\n" * 3), {}, SampleState.INVALID,
     "not a message of the throughput protocol"),
    (lambda _, control, __: control.sendall(b"LWTP\x07" + bytes(59)), {}, SampleState.INVALID,
     "throughput protocol version 7, this is version 1"),
    (lambda _, control, hello: control.sendall(wire.encode(Accept(hello.nonce ^ 1, bytes(16)))), {},
     SampleState.INVALID, "the responder at 127.0.0.1 answers out of turn"),
    (lambda _, control, hello: control.sendall(wire.encode(Refuse(hello.nonce, Cause.BUSY))), {},
     SampleState.INVALID, "remote busy"),
    (liar(2**60), {"direction": "forward"}, SampleState.INVALID, "the responder reports more octets than were sent"),
    (out_of_turn, {"direction": "forward"}, SampleState.INVALID, "the responder at 127.0.0.1 answers out of turn"),
    (never_sends, {"direction": "backward"}, SampleState.NO_REPLY, "backward: no data came"),
]  # fmt: skip


@pytest.mark.parametrize(("script", "parameters", "state", "text"), MISBEHAVIOUR)
def test_what_a_responder_can_do_wrong(
    script: Script, parameters: dict[str, object], state: SampleState, text: str
) -> None:
    sample = against(script, **parameters)
    assert sample.state is state
    assert sample.reason is not None
    assert sample.reason.endswith(text)
    assert sample.rate is None


marks = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 10**7)), max_size=60)


@given(marks, st.integers(0, 900), st.integers(1, 1000))
def test_window_counts_what_arrives_between_its_edges(
    readings: list[tuple[int, int]], omit: int, duration: int
) -> None:
    """Against a plain second reckoning: sums over the readings after the opening one, up to the closing one."""
    omit = min(omit, duration - 1)
    window = RateWindow(omit, duration)
    times: list[tuple[int, int]] = []
    now = 0
    for gap, octets in readings:
        now += gap
        times.append((now, octets))
        if window.feed(now, octets):
            break
    window.close(now)
    with_data = [index for index, (_, octets) in enumerate(times) if octets]
    if not with_data:
        assert (window.ns, window.octets) == (0, 0)
        return
    first = times[with_data[0]][0]
    started = with_data[0]
    opening = next((i for i in range(started, len(times)) if times[i][0] >= first + omit), None)
    closing = next((i for i in range(started, len(times)) if times[i][0] >= first + duration), len(times) - 1)
    if opening is None:
        assert (window.ns, window.octets) == (0, 0)
        return
    assert window.ns == times[closing][0] - times[opening][0]
    assert window.octets == sum(octets for _, octets in times[opening + 1 : closing + 1])


@pytest.mark.root
@pytest.mark.serial
def test_agrees_with_the_rate_of_a_shaped_link_each_way() -> None:
    with two_hosts() as hosts:
        for namespace, link, rate in ((hosts.near, "n0", "20mbit"), (hosts.far, "f0", "8mbit")):
            subprocess.run(
                ["tc", "-n", namespace, *f"qdisc add dev {link} root tbf rate {rate} burst 16kb latency 50ms".split()],
                check=True,
                timeout=10,
            )
        server = Responder("10.77.0.2", 0, allow=["10.77.0.0/24"], clock=CLOCK)
        hosts.far_does(server.start)
        target = dataclasses.replace(TARGET, address="10.77.0.2")
        sample = hosts.near_does(lambda: measure(server.port, target, duration=3 * SECOND))
        server.close()
    assert sample.state is SampleState.OK, sample.reason
    assert sample.rate is not None
    # 1448 of the 1514 octets of a frame that the shaper counts are TCP payload.
    for bps, shaped in ((sample.rate.forward_bps, 20_000_000), (sample.rate.backward_bps, 8_000_000)):
        assert bps is not None
        assert 0.90 < bps / (shaped * 1448 / 1514) < 1.03


@pytest.mark.root
def test_nobody_there_is_no_reply_by_the_deadline_and_no_route_is_ours() -> None:
    with two_hosts() as hosts:
        hosts.ip("route add 10.98.0.0/24 via 10.77.0.2")
        hosts.ip("route add blackhole 10.98.0.0/24", at=hosts.far)
        away = dataclasses.replace(TARGET, address="10.98.0.1")
        lost = hosts.near_does(lambda: measure(8621, away, timeout=200 * MILLISECOND))
        nowhere = dataclasses.replace(TARGET, address="10.99.0.1")
        own = hosts.near_does(lambda: measure(8621, nowhere))
    assert (lost.state, lost.counts) == (SampleState.NO_REPLY, Counts(sent=1, lost=1))
    assert lost.span_ns < 2 * SECOND
    assert (own.state, own.counts) == (SampleState.INVALID, Counts(not_sent=1))
    assert own.reason == "this host has no route to 10.99.0.1"
