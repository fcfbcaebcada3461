"""`probe udp` and `probe icmp` on loopback through the real engine, as a user types them."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from probes.core.clock import SystemClock
from probes.reflect.echo import EchoReflector
from tests.agent.cli.commands import finish, linkwitness, running

REPLY = re.compile(r"reply from 127\.0\.0\.1: seq=(\d+) (ttl=\d+ )?time=\d+\.\d{3} ms")


@pytest.fixture
def reflector() -> Iterator[int]:
    """Our echo reflector on a port of its own."""
    serving = EchoReflector("127.0.0.1", 0, allow=["127.0.0.0/8"], clock=SystemClock())
    serving.start()
    yield serving.port
    serving.close()


@contextmanager
def peer(answer: Callable[[socket.socket, bytes, object], None]) -> Iterator[int]:
    """A UDP peer with manners of its own; `answer` is called for every datagram."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(0.1)
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                try:
                    data, source = server.recvfrom(2048)
                except TimeoutError:
                    continue
                answer(server, data, source)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        ended.set()
        thread.join()


def udp(port: int, *arguments: object) -> tuple[int, list[str]]:
    done = linkwitness("probe", "udp", "127.0.0.1", "-p", port, *arguments)
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def test_udp_replies_and_summary(reflector: int) -> None:
    code, said = udp(reflector, "-c", 5, "-i", "50ms", "-s", 200, "--dscp", "EF")
    assert code == 0
    assert said[0] == (
        f"udp 127.0.0.1 (127.0.0.1), port {reflector}, 200 octets every 50ms, timeout 3s, DSCP 46"
    )  # fmt: skip
    replies = [REPLY.fullmatch(line) for line in said[1:6]]
    assert [match and match[1] for match in replies] == ["0", "1", "2", "3", "4"]
    assert said[7].startswith("--- 127.0.0.1 udp: 5 sent in ")
    assert said[8] == "received 5, lost 0 (0 %), duplicates 0, reordered 0 (RFC 4737)"
    assert re.fullmatch(r"rtt min/mean/p50/p95/p99/max/stddev = (\d+\.\d{3}/){6}\d+\.\d{3} ms", said[9])
    assert "(RFC 3393, 4 pairs)" in said[10]
    assert said[11].startswith("stamps: ")


def test_udp_as_json(reflector: int) -> None:
    code, said = udp(reflector, "-c", 3, "-i", "20ms", "--json")
    found = json.loads("\n".join(said))
    assert (code, len(said)) == (0, 1)
    assert found["schema"] == "linkwitness.probe/1"
    assert found["counts"] | {"reordered": 0} == {
        "sent": 3, "received": 3, "lost": 0, "late": 0, "duplicate": 0, "reordered": 0, "corrupt": 0, "not_sent": 0,
    }  # fmt: skip
    assert found["rtt"]["count"] == 3
    assert found["rtt"]["min_ns"] <= found["rtt"]["p50_ns"] <= found["rtt"]["max_ns"]
    assert found["jitter"]["ipdv"]["pairs"] == 2
    assert found["parameters"]["every_ns"] == 20_000_000
    assert found["interrupted"] is False


def test_quiet_shows_the_summary_only(reflector: int) -> None:
    _, said = udp(reflector, "-c", 2, "-i", "20ms", "-q")
    assert not any(line.startswith("reply") for line in said)
    assert said[2].startswith("--- 127.0.0.1 udp: 2 sent")


def test_nobody_listens_is_rejected_and_missed() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    code, said = udp(port, "-c", 2, "-i", "20ms", "-w", "300ms")
    assert code == 1
    assert "port unreachable" in said[1]
    assert any("received 0, lost 2 (100 %)" in line for line in said)


def test_silence_is_missed() -> None:
    """Lost at the timeout of 1 s, though the engine is stopped before the time for late replies is over."""
    with peer(lambda *_: None) as port:
        code, said = udp(port, "-c", 2, "-i", "20ms", "-w", "1s")
    assert code == 1
    assert said[1:3] == ["no reply within 1s: seq=0", "no reply within 1s: seq=1"]
    assert said[5] == "received 0, lost 2 (100 %), duplicates 0, reordered 0 (RFC 4737)"


def test_interrupted_with_packets_in_flight_calls_them_neither_lost_nor_answered() -> None:
    with peer(lambda *_: None) as port, running("probe", "udp", "127.0.0.1", "-p", port, "-w", "30s") as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        code, output, _ = finish(process)
    assert code == 130
    assert "received 0, lost 0 (–)" in output
    assert "note: stopped with packets in flight" in output


def test_copies_are_shown_and_counted() -> None:
    def twice(server: socket.socket, data: bytes, source: object) -> None:
        server.sendto(data, source)
        server.sendto(data, source)

    with peer(twice) as port:
        code, said = udp(port, "-c", 2, "-i", "100ms")
    assert code == 0
    assert sum(line.startswith("duplicate from 127.0.0.1: seq=") for line in said) == 2
    assert any("received 2, lost 0 (0 %), duplicates 2," in line for line in said)


def test_late_is_lost_and_said_to_be_late() -> None:
    """The peer keeps every datagram until the next one comes, 400 ms later; the timeout is 200 ms."""
    held: list[tuple[bytes, object]] = []

    def hold(server: socket.socket, data: bytes, source: object) -> None:
        for earlier in held:
            server.sendto(*earlier)
        held[:] = [(data, source)]

    with peer(hold) as port:
        code, said = udp(port, "-c", 2, "-i", "300ms", "-w", "200ms")
    assert code == 1
    assert "no reply within 200ms: seq=0" in said
    assert any(line.startswith("late reply from 127.0.0.1: seq=0") for line in said)
    assert any("received 0, lost 2 (100 %) of which late 1" in line for line in said)


def test_interrupted_still_sums_up(reflector: int) -> None:
    with running("probe", "udp", "127.0.0.1", "-p", reflector, "-i", "20ms") as process:
        assert process.stdout is not None
        while "seq=3" not in process.stdout.readline():
            pass
        code, output, errors = finish(process)
    assert code == 130
    assert errors == ""
    found = re.search(r"received (\d+), lost (\d+) ", output)
    assert found is not None
    assert int(found[1]) >= 4
    assert found[2] == "0"


def test_interrupted_json_is_one_object(reflector: int) -> None:
    with running("probe", "udp", "127.0.0.1", "-p", reflector, "-i", "20ms", "--json") as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(3.0)  # long enough to be under way on a busy host
        code, output, _ = finish(process)
    assert code == 130
    assert json.loads(output)["interrupted"] is True


def test_a_source_this_host_has_not_is_told() -> None:
    done = linkwitness("probe", "udp", "127.0.0.1", "-p", 9, "-S", "203.0.113.9", "-c", 1)
    assert done.returncode == 1
    assert "203.0.113.9" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.root
@pytest.mark.parametrize(("family", "address"), [("-4", "127.0.0.1"), ("-6", "::1")])
def test_icmp_on_loopback(family: str, address: str) -> None:
    done = linkwitness("probe", "icmp", address, family, "-c", 3, "-i", "50ms")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"icmp {address} ({address}), 56 octets every 50ms")
    assert f"reply from {address}: seq=2" in done.stdout
    assert "received 3, lost 0 (0 %)" in done.stdout
    assert "stamps: kernel" in done.stdout
