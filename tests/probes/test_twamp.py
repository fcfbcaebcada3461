"""Kind twamp over real sockets: a scripted server, a reflector of the test's own, the engine and the command."""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from probes.core import catalog
from probes.core.catalog import FlowTarget, StreamKind
from probes.core.clock import MILLISECOND, SECOND, SystemClock
from probes.core.model import Sample, SampleState
from probes.engine.loop import Engine
from probes.engine.streams import StreamSpec
from probes.wire import twamp_control as tc
from tests.fakes import plain_stamp
from tests.fakes.twamp_server import CLOSE, ScriptedServer, willing

SIZE = 60


class Reflector:
    """Answers test packets as RFC 5357 section 4.2.1 says, with stamps of a clock that is two hours ahead."""

    AHEAD_NS = 7200 * SECOND

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self.sizes: set[int] = set()
        self.senders: set[int] = set()
        self._thread = threading.Thread(target=self._answer, daemon=True)
        self._thread.start()

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join(5)
        self._socket.close()

    def _answer(self) -> None:
        number = 0
        while True:
            data, sender = self._socket.recvfrom(2048)
            if not data:
                return
            self.sizes.add(len(data))
            self.senders.add(sender[1])
            sequence, stamp, error, _ = plain_stamp.parse_request(data, False) or (0, 0, 0, 0)
            now = plain_stamp.ntp(time.time_ns() + self.AHEAD_NS)
            reply = plain_stamp.reply(number, now, 0x8101, 0, now, (sequence, stamp, error), 64, False)
            self._socket.sendto(reply[:41] + b"\x5a" * (len(data) - 41), sender)
            number += 1


@pytest.fixture
def reflector() -> Iterator[Reflector]:
    made = Reflector()
    yield made
    made.close()


def kind() -> StreamKind:
    found = catalog.load("twamp")
    assert isinstance(found, StreamKind)
    return found


def test_the_kind() -> None:
    parameters = {parameter.name: parameter for parameter in kind().parameters}
    assert parameters["port"].default == 862
    assert parameters["size"].minimum == kind().codec().minimum_size == 44
    assert (parameters["size"].minimum or 0) - tc.SENDER_HEADER >= tc.LEAST_PADDING
    assert kind().arrange is not None
    assert kind().sessions


def test_packets_go_to_the_port_that_was_agreed_from_the_port_that_was_told(reflector: Reflector) -> None:
    clock, samples = SystemClock(), list[Sample]()
    engine = Engine(clock=clock, report=samples.extend)
    engine.start()
    spec = StreamSpec(
        circuit="c", probe="twamp", kind="twamp", address="127.0.0.1", host="server.example", every_ns=5 * MILLISECOND,
        timeout_ns=5 * SECOND, size=SIZE, limit=20,
    )  # fmt: skip
    with ScriptedServer(willing(reflector.port, tc.StopSessions)) as server:
        local_port = engine.local_port(spec, ())
        assert engine.local_port(spec, ()) == local_port
        assert engine.local_port(spec, (local_port,)) != local_port
        target = FlowTarget("c", "twamp", "server.example", "127.0.0.1")
        arrange = kind().arrange
        assert arrange is not None
        parameters = {"port": server.port, "size": SIZE, "timeout": SECOND}
        session = arrange(target, parameters, local_port, clock)
        assert not isinstance(session, catalog.Declined)
        assert engine.add([replace(spec, port=session.port, local_port=local_port)]) == {}
        deadline = clock.monotonic() + 30 * SECOND
        while not engine.done() and clock.monotonic() < deadline:
            time.sleep(0.02)  # real packets over loopback
        session.close()
        engine.close()
    assert isinstance(server.heard[1], tc.RequestSession)
    assert server.heard[1].sender_port == local_port
    assert reflector.senders == {local_port}
    assert reflector.sizes == {SIZE}
    sent, received = (sum(getattr(s.counts, name) for s in samples if s.counts) for name in ("sent", "received"))
    assert (sent, received) == (20, 20)
    assert {sample.state for sample in samples} <= {SampleState.OK, SampleState.IMPAIRED}, "a host under load says so"
    residence = [sample.residence for sample in samples if sample.residence]
    assert sum(part.count for part in residence) == 20
    assert all(sample.forward is not None and sample.backward is not None for sample in samples)
    lost = sum((sample.forward.lost or 0) + (sample.backward.lost or 0) for sample in samples)  # type: ignore[union-attr]
    assert lost == 0


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "agent.cli.main", "probe", "twamp", "127.0.0.1", "-i", "10ms", *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_measures(reflector: Reflector) -> None:
    with ScriptedServer(willing(reflector.port, tc.StopSessions)) as server:
        done = command("-p", str(server.port), "-c", "5", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["counts"]["received"] == 5
    assert isinstance(server.heard[-1], tc.StopSessions)


def test_the_command_says_why_a_server_declines() -> None:
    with ScriptedServer([tc.encode(tc.Greeting(2))]) as server:
        done = command("-p", str(server.port), "-c", "5")
    assert done.returncode == 1
    assert "the server offers no unauthenticated mode, only authenticated" in done.stderr
    assert "hint: permit unauthenticated (open) mode" in done.stderr


def test_the_command_ends_with_its_session(reflector: Reflector) -> None:
    with ScriptedServer(willing(reflector.port, CLOSE)) as server:
        done = command("-p", str(server.port), "-c", "100000")
    assert done.returncode == 1
    assert "closed the control connection while running" in done.stderr
    assert "100000 sent" not in done.stdout
