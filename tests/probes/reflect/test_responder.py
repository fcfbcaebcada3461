"""The responder against friends, strangers, the slow, the silent and the loud."""

import contextlib
import ipaddress
import os
import socket
import struct
import threading
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.core.clock import MILLISECOND, SECOND, SystemClock
from probes.core.errors import LocalError
from probes.reflect import responder as module
from probes.reflect import session as session_module
from probes.reflect.admission import AllowList, SourceRate, source_of
from probes.reflect.responder import ANSWERED, DROPPED, Responder
from probes.wire import throughput as wire
from probes.wire.throughput import Accept, Cause, Direction, End, Hello, Join, Ready, Refuse, Result

CLOCK = SystemClock()
HELLO = Hello(7, Direction.FORWARD, 1, SECOND, 0)


@contextlib.contextmanager
def responder(**settings: object) -> Iterator[Responder]:
    settings = {"allow": ["127.0.0.0/8"], "clock": CLOCK} | settings
    server = Responder("127.0.0.1", 0, **settings)  # type: ignore[arg-type]
    server.start()
    try:
        yield server
    finally:
        server.close()


def balanced(counters: Mapping[str, int]) -> bool:
    return counters["in"] == sum(counters[name] for name in (*ANSWERED, *DROPPED, "open"))


def settled(server: Responder, **expected: int) -> Mapping[str, int]:
    """Counters once they hold what is expected; fails when they do not within ten seconds."""
    pause = threading.Event()
    for _ in range(1000):
        counters = server.counters()
        assert balanced(counters)
        if counters["open"] == 0 and all(counters[name] == value for name, value in expected.items()):
            return counters
        pause.wait(0.01)
    raise AssertionError(f"{dict(server.counters())}, expected {expected}")


def connect(server: Responder, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=8, source_address=(source, 0))


def exchange(connection: socket.socket, message: wire.Message) -> wire.Message:
    connection.sendall(wire.encode(message))
    return answer(connection)


def answer(connection: socket.socket) -> wire.Message:
    data = b""
    while len(data) < wire.SIZE:
        part = connection.recv(wire.SIZE - len(data))
        assert part, "closed"
        data += part
    return wire.decode(data)


def is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_connect_and_close_is_counted_apart_so_a_tcp_probe_may_target_it() -> None:
    with responder() as server:
        for reset in (False, True):
            connection = connect(server)
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("=ii", 1, 0))
            connection.close()
        settled(server, answered_connect_only=2)


def test_a_whole_forward_test_by_hand() -> None:
    with responder() as server, connect(server) as control:
        accepted = exchange(control, HELLO)
        assert isinstance(accepted, Accept)
        with connect(server) as stream:
            stream.sendall(wire.encode(Join(accepted.token, Direction.FORWARD, 0)))
            assert answer(control) == Ready(7, Direction.FORWARD)
            stream.sendall(bytes(300_000))
            stream.shutdown(socket.SHUT_WR)
            result = answer(control)
        assert isinstance(result, Result)
        assert (result.end, result.total_bytes) == (End.EXHAUSTED, 300_000)
        assert result.bytes <= result.total_bytes
        counters = settled(server, answered_test=1, answered_stream=1, tests_completed=1, received_bytes=300_000)
        assert counters["tests_cut_short"] == 0


def test_one_test_at_a_time_others_are_told_busy() -> None:
    with responder() as server, connect(server) as first, connect(server) as second:
        assert isinstance(exchange(first, HELLO), Accept)
        assert exchange(second, Hello(8, Direction.BACKWARD, 1, SECOND, 0)) == Refuse(8, Cause.BUSY)
        assert is_closed(second)
        first.close()
        settled(server, tests_cut_short=1, answered_busy=1)
        with connect(server) as third:
            assert isinstance(exchange(third, HELLO), Accept)


def test_limits_are_named() -> None:
    with responder(maximum_duration_s=2, maximum_bytes=1000) as server:
        with connect(server) as long:
            assert exchange(long, Hello(1, Direction.BOTH, 1, 3 * SECOND, 0)) == Refuse(1, Cause.DURATION, 2 * SECOND)
        with connect(server) as large:
            hello = Hello(2, Direction.BOTH, 1, SECOND, 0, limit_bytes=1001)
            assert exchange(large, hello) == Refuse(2, Cause.BYTES, 1000)
        settled(server, answered_refused=2)


def test_cap_on_octets_ends_a_direction() -> None:
    with responder(maximum_bytes=200_000) as server, connect(server) as control:
        accepted = exchange(control, HELLO)
        assert isinstance(accepted, Accept)
        with connect(server) as stream:
            stream.sendall(wire.encode(Join(accepted.token, Direction.FORWARD, 0)))
            assert answer(control) == Ready(7, Direction.FORWARD)
            with contextlib.suppress(OSError):
                stream.sendall(bytes(50_000_000))
            result = answer(control)
        assert isinstance(result, Result)
        assert result.end is End.CAPPED
        assert 200_000 <= result.total_bytes <= 200_000 + 8 * 2**20


def test_strangers_get_nothing() -> None:
    with responder(allow=["127.0.0.0/31"]) as server, connect(server, "127.0.0.9") as stranger:
        assert is_closed(stranger)
        with connect(server) as friend:
            assert isinstance(exchange(friend, HELLO), Accept)
        settled(server, dropped_source=1, answered_test=1)


def test_the_source_rate_is_bounded_and_others_are_not_hurt() -> None:
    with responder(rate_per_source=3) as server:
        crowd = [connect(server, "127.0.0.2") for _ in range(30)]
        with connect(server, "127.0.0.3") as other:
            assert isinstance(exchange(other, HELLO), Accept)
        for connection in crowd:
            connection.close()
        counters = settled(server, answered_test=1, **{"in": 31})
        assert counters["dropped_rate"] >= 30 - 2 * 3 - 3 * 5


def test_silence_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SILENCE", 150 * MILLISECOND)
    with responder() as server, connect(server) as silent:
        assert is_closed(silent)
        settled(server, dropped_silent=1)


def test_slow_loris_does_not_prolong_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SILENCE", 300 * MILLISECOND)
    with responder() as server, connect(server) as loris:
        pause = threading.Event()
        with contextlib.suppress(OSError):
            for octet in wire.encode(HELLO):
                loris.sendall(bytes((octet,)))
                pause.wait(0.02)
        assert is_closed(loris)
        settled(server, dropped_malformed=1, answered_test=0)


def test_a_crowd_of_silent_connections_does_not_keep_others_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SILENCE", 500 * MILLISECOND)
    with responder(rate_per_source=1000) as server:
        crowd = [connect(server, "127.0.0.2") for _ in range(120)]
        settled(server, dropped_full=120 - 64, dropped_silent=64)
        with connect(server) as friend:
            assert isinstance(exchange(friend, HELLO), Accept)
        for connection in crowd:
            connection.close()


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n" + 64 * b"\r\n",
        b"\x16\x03\x01" + bytes(200),
        wire.encode(Ready(1, Direction.FORWARD)),
        wire.encode(HELLO)[:40] + b"\xff" + wire.encode(HELLO)[41:],
        bytes(64),
    ],
)
def test_garbage_is_dropped_without_an_answer(garbage: bytes) -> None:
    with responder() as server, connect(server) as rude:
        rude.sendall(garbage)
        assert is_closed(rude)
        settled(server, dropped_malformed=1)


def test_a_thousand_random_messages_leave_it_answering_and_balanced() -> None:
    with responder(rate_per_source=100_000) as server:
        for number in range(1000):
            with contextlib.suppress(OSError), connect(server) as rude:
                header = b"LWTP\x01" + bytes((number % 9, 0, 0)) if number % 2 else b""
                rude.sendall((header + os.urandom(100))[: 1 + number % 90])
        settled(server, **{"in": 1000})
        with connect(server) as friend:
            message = exchange(friend, HELLO)
        assert isinstance(message, Accept | Refuse)


def test_a_join_needs_the_token_the_direction_and_a_free_number() -> None:
    hello = Hello(7, Direction.FORWARD, 2, SECOND, 0)
    with responder() as server, connect(server) as control:
        accepted = exchange(control, hello)
        assert isinstance(accepted, Accept)
        wrong = [
            Join(bytes(16), Direction.FORWARD, 0),
            Join(accepted.token, Direction.BACKWARD, 0),
            Join(accepted.token, Direction.FORWARD, 2),
        ]
        for message in wrong:
            with connect(server) as intruder:
                intruder.sendall(wire.encode(message))
                assert is_closed(intruder)
        with connect(server) as stream:
            stream.sendall(wire.encode(Join(accepted.token, Direction.FORWARD, 1)))
            settled(server, answered_stream=1)
            with connect(server) as twin:
                twin.sendall(wire.encode(Join(accepted.token, Direction.FORWARD, 1)))
                assert is_closed(twin)
            settled(server, dropped_token=4, answered_stream=1)


def test_an_initiator_that_never_joins_or_never_sends_frees_the_responder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "PATIENCE", 200 * MILLISECOND)
    with responder() as server:
        with connect(server) as idle:
            assert isinstance(exchange(idle, HELLO), Accept)
            assert is_closed(idle)
        settled(server, tests_cut_short=1)
        with connect(server) as control:
            accepted = exchange(control, HELLO)
            assert isinstance(accepted, Accept)
            with connect(server) as mute:
                mute.sendall(wire.encode(Join(accepted.token, Direction.FORWARD, 0)))
                assert answer(control) == Ready(7, Direction.FORWARD)
                result = answer(control)
                assert isinstance(result, Result)
                assert (result.end, result.total_bytes, result.window_ns) == (End.SILENT, 0, 0)


def test_an_initiator_that_never_says_stop_is_not_sent_data_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "PATIENCE", 300 * MILLISECOND)
    with responder() as server, connect(server) as control:
        accepted = exchange(control, Hello(7, Direction.BACKWARD, 1, 200 * MILLISECOND, 0))
        assert isinstance(accepted, Accept)
        with connect(server) as greedy:
            greedy.sendall(wire.encode(Join(accepted.token, Direction.BACKWARD, 0)))
            assert answer(control) == Ready(7, Direction.BACKWARD)
            with contextlib.suppress(OSError):
                while greedy.recv(1 << 20):
                    pass
        settled(server, tests_cut_short=1)


def test_close_cuts_a_test_short_and_threads_end() -> None:
    before = set(threading.enumerate())
    with responder() as server, connect(server) as control, connect(server) as undecided:
        assert isinstance(exchange(control, HELLO), Accept)
        pause = threading.Event()
        while server.counters()["open"] != 1:
            pause.wait(0.01)
        server.close()
        assert is_closed(control)
        assert is_closed(undecided)
        counters = settled(server, dropped_closing=1, tests_cut_short=1)
        assert counters["in"] == 2
    assert set(threading.enumerate()) <= before, "threads of other tests may have ended meanwhile"


def test_dual_stack_socket_sees_ipv4_sources_as_ipv4() -> None:
    server = Responder("[::]", 0, allow=["127.0.0.1/32"], clock=CLOCK)
    server.start()
    try:
        with connect(server) as friend:
            assert isinstance(exchange(friend, HELLO), Accept)
        with socket.create_connection(("::1", server.port), timeout=8) as stranger:
            assert is_closed(stranger)
        settled(server, answered_test=1, dropped_source=1)
    finally:
        server.close()


def test_local_faults_are_errors_with_a_hint() -> None:
    with responder() as server:
        second = Responder("127.0.0.1", server.port, allow=["127.0.0.1/32"], clock=CLOCK)
        with pytest.raises(LocalError, match=r"Address already in use.*another responder"):
            second.start()
        second.close()
    with pytest.raises(LocalError, match="is not an address to listen on"):
        Responder("nowhere", 0, allow=["127.0.0.1/32"], clock=CLOCK).start()
    with pytest.raises(LocalError, match="allow-list of the reflector is empty"):
        Responder("127.0.0.1", 0, allow=[], clock=CLOCK)
    with pytest.raises(LocalError, match=r"10.0.0.1/8 has host bits set"):
        Responder("127.0.0.1", 0, allow=["10.0.0.1/8"], clock=CLOCK)


def test_allow_list_and_sources() -> None:
    allowed = AllowList(["192.0.2.0/24", "2001:db8::/32"])
    for address, expected in (
        ("192.0.2.9", True),
        ("192.0.3.9", False),
        ("::ffff:192.0.2.9", True),
        ("2001:db8::1", True),
    ):
        assert (source_of((address, 1)) in allowed) is expected
    assert source_of(("fe80::1%eth0", 1, 0, 2)) == ipaddress.ip_address("fe80::1")


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 10**9)), max_size=200))
def test_source_rate_never_admits_more_than_burst_and_rate(arrivals: list[tuple[int, int]]) -> None:
    limiter = SourceRate(rate=5, burst=10)
    now, admitted = 0, {0: 0, 1: 0, 2: 0}
    for source, gap in arrivals:
        now += gap
        if limiter.admit(ipaddress.ip_address(f"192.0.2.{source}"), now):
            admitted[source] += 1
        assert admitted[source] <= 10 + now * 5 // SECOND


def test_source_rate_table_does_not_grow_and_keys_ipv6_by_64_bits() -> None:
    limiter = SourceRate(rate=1, burst=1)
    one = ipaddress.IPv6Address("2001:db8::1")
    assert limiter.admit(one, 0)
    assert not limiter.admit(one + 5, 0)
    for number in range(5000):
        limiter.admit(ipaddress.IPv4Address(number), 0)
    assert len(limiter._buckets) == 1024
