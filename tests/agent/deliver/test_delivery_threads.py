"""Delivery as the agent runs it, threads and all, on a clock whose waits are short: the books balance afterwards."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from agent.config import SecretSource, SinkSettings
from agent.deliver import Delivery
from agent.deliver.line import LineEncoder
from agent.deliver.worker import POLL_NS, SinkWorker
from agent.store import EventRecord, Store, StoreReader
from probes.core.arrays import Histogram
from probes.core.clock import MILLISECOND, SECOND, SystemClock
from tests.fakes.line_parser import parse
from tests.fakes.samples import ping, some_packets
from tests.fakes.scripted_server import INFLUX_1, INFLUX_2, Answer, Misbehaviour, Request, Script, ScriptedServer

VICTORIA = {"X-Server-Hostname": "vm"}
PATIENCE_S = 60.0
OK = Answer(204)


class ShortClock(SystemClock):
    """Waits a millisecond for everything, and remembers how long it was asked to wait."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def wait(self, event: threading.Event, timeout_ns: int) -> bool:
        self.asked.append(timeout_ns)
        return super().wait(event, min(timeout_ns, MILLISECOND))

    def pauses(self) -> int:
        """Waits because of trouble; looking for new samples is none."""
        return sum(1 for wait_ns in self.asked if wait_ns != POLL_NS)


@pytest.fixture
def clock() -> ShortClock:
    return ShortClock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path / "store", clock=SystemClock(), site="lab")
    yield opened
    opened.close(10)


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("s3cr3t-token")
    path.chmod(0o600)
    return path


@pytest.fixture
def serve() -> Iterator[Callable[..., ScriptedServer]]:
    with ExitStack() as stack:
        yield lambda script, reads=INFLUX_1: stack.enter_context(ScriptedServer(script, reads=reads))


@pytest.fixture
def deliver(store: Store, tmp_path: Path, clock: ShortClock) -> Iterator[Callable[..., Delivery]]:
    """Starts a delivery; those not closed by the test are closed at its end."""
    opened: list[Delivery] = []

    def start(*sinks: SinkSettings) -> Delivery:
        opened.append(Delivery(sinks, store, tmp_path / "store", {}, "lab", clock))
        opened[-1].start()
        return opened[-1]

    yield start
    for delivery in opened:
        delivery.close(0)


def sink(server: ScriptedServer, name: str = "central", **more: Any) -> SinkSettings:
    values: dict[str, Any] = {"database": "sla", "bucket": "sla", "org": "isp", "batch": 10, "timeout_ns": 5 * SECOND}
    return SinkSettings(name, server.url, **{"api": "v1", **values, **more})


def append(store: Store, first: int, count: int) -> None:
    store.append([ping(number) for number in range(first, first + count)])
    assert store.flush(10)


def lines(path: Path) -> list[str]:
    with StoreReader.open(path / "store") as reader:
        return [LineEncoder("lab", {}).encode(item.sample, text=True) for item in reader.after(0, 100_000)]


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        threading.Event().wait(0.005)


def delivered(store: Store, newest: int, *sinks: str) -> None:
    until(lambda: all(store.cursor(name) >= newest for name in sinks or ("central",)), "not delivered")


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_requests_are_what_the_servers_expect(
    store: Store, deliver: Callable[..., Delivery], serve: Callable[..., ScriptedServer], token: Path, encoding: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("agent.deliver.sink._is_this_host", lambda _url: encoding == "identity")
    append(store, 0, 25)
    one, two = serve([OK]), serve([OK], INFLUX_2)
    secret = SecretSource(file=token)
    deliver(sink(one, "one", retention_policy="a b&c", token=secret), sink(two, "two", api="v2", token=secret))
    delivered(store, 25, "one", "two")
    paths = {"one": "/write?db=sla&precision=ns&rp=a+b%26c", "two": "/api/v2/write?org=isp&bucket=sla&precision=ns"}
    for server, path in ((one, paths["one"]), (two, paths["two"])):
        assert [len(request.lines) for request in server.writes] == [10, 10, 5]
        for request in server.writes:
            assert request.path == path
            assert request.headers["content-encoding"] == encoding
            assert request.headers["authorization"] == "Token s3cr3t-token"
            assert all(parse(line).tags["site"] == "lab" for line in request.lines)
        assert not any("authorization" in request.headers for request in server.asked if request.method == "GET")


def test_name_and_password(
    store: Store, deliver: Callable[..., Delivery], serve: Callable[..., ScriptedServer], token: Path
) -> None:
    append(store, 0, 1)
    server = serve([OK])
    deliver(sink(server, username="björn", password=SecretSource(file=token)))
    delivered(store, 1)
    assert server.writes[0].headers["authorization"] == "Basic YmrDtnJuOnMzY3IzdC10b2tlbg=="


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_every_sample_once_through_every_kind_of_trouble(
    store: Store, tmp_path: Path, clock: ShortClock, deliver: Callable[..., Delivery],
    serve: Callable[..., ScriptedServer], api: str, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level(logging.DEBUG)
    trouble = [
        Answer(503, {"Retry-After": "99999999999"}), OK, Misbehaviour("cut"), Answer(429, {"Retry-After": "-1"}),
        Answer(401), Misbehaviour("half"), Answer(413), Answer(308, {"Location": "http://127.0.0.1:9/"}), OK,
        Misbehaviour("stall"), Answer(500), Answer(403), Answer(404), Misbehaviour("drip"), OK,
    ]  # fmt: skip
    server = serve(trouble, INFLUX_1 if api == "v1" else INFLUX_2)
    append(store, 0, 40)
    delivery = deliver(sink(server, api=api, timeout_ns=200 * MILLISECOND))
    for first in range(40, 200, 40):
        append(store, first, 40)
    delivered(store, 200)
    delivery.close()
    assert set(server.stored) == set(lines(tmp_path)), "nothing lost, nothing of its own"
    repeated = [line for line, count in Counter(server.stored).items() if count > 1]
    assert len(repeated) <= 20, "only what was stored and not acknowledged is sent again"
    assert delivery.status()[0].parked == 0
    assert len(server.writes) <= clock.pauses() + 200 // 10 + 20 + len(trouble), "a request for each pause, no more"
    with StoreReader.open(tmp_path / "store") as reader:
        changes = [event.text for event in reader.events(kind="sink")]
    assert 2 <= len(changes) <= 2 * len(trouble)


def test_trouble_that_lasts_is_one_event_and_no_storm(
    store: Store, tmp_path: Path, clock: ShortClock, deliver: Callable[..., Delivery],
    serve: Callable[..., ScriptedServer], caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level(logging.INFO, "agent.deliver")
    append(store, 0, 10)
    server = serve([*[Answer(503)] * 30, OK])
    delivery = deliver(sink(server))
    delivered(store, 10)
    until(lambda: delivery.status()[0].state == "ok", "not ok again")
    delivery.close()
    assert clock.pauses() == 30
    with StoreReader.open(tmp_path / "store") as reader:
        assert [event.text for event in reader.events(kind="sink")] == [
            "sink central: ok",
            "sink central: waiting: HTTP 503",
        ]
    assert len([record for record in caplog.records if record.name.startswith("agent.deliver")]) == 2


def test_no_samples_no_writes(
    clock: ShortClock, deliver: Callable[..., Delivery], serve: Callable[..., ScriptedServer]
) -> None:
    server = serve([OK])
    delivery = deliver(sink(server))
    until(lambda: len(clock.asked) > 3, "does not look for samples")
    status = delivery.status()[0]
    delivery.close()
    assert (status.state, status.lag, status.cursor, status.written, status.words) == ("idle", 0, 0, 0, "")
    assert server.asked == []


def test_delivery_without_sinks(deliver: Callable[..., Delivery]) -> None:
    delivery = deliver()
    assert delivery.status() == []
    delivery.close()


def ends(work: Callable[[], None]) -> bool:
    """True when it comes back long before the minutes that the server would take."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(30)
    return not thread.is_alive()


def test_closing_cuts_a_write_that_the_server_does_not_answer(
    store: Store, tmp_path: Path, deliver: Callable[..., Delivery], serve: Callable[..., ScriptedServer]
) -> None:
    append(store, 0, 10)
    server = serve([Misbehaviour("stall"), OK])
    delivery = deliver(sink(server, timeout_ns=300 * SECOND))
    until(lambda: len(server.writes) == 1, "nothing was sent")
    assert ends(lambda: delivery.close(0.1))
    assert not delivery._workers[0]._thread.is_alive()
    assert store.cursor("central") == 0
    deliver(sink(server))
    delivered(store, 10)
    assert sorted(server.stored) == sorted(lines(tmp_path))


def test_closing_cuts_a_server_that_does_not_even_say_what_it_is(
    store: Store, deliver: Callable[..., Delivery]
) -> None:
    append(store, 0, 10)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        delivery = deliver(SinkSettings("central", url, "v1", database="sla", timeout_ns=300 * SECOND))
        channel, _ = listener.accept()
        assert ends(lambda: delivery.close(0.1))
        channel.close()
    assert not delivery._workers[0]._thread.is_alive()


def test_what_was_appended_last_is_sent_before_the_end(
    store: Store, tmp_path: Path, deliver: Callable[..., Delivery], serve: Callable[..., ScriptedServer]
) -> None:
    append(store, 0, 5)
    server = serve([OK])
    delivery = deliver(sink(server))
    delivered(store, 5)
    store.append([ping(number) for number in range(5, 30)])
    delivery.close(PATIENCE_S)
    assert sorted(server.stored) == sorted(lines(tmp_path))
    assert len(server.stored) == 30


def test_sink_removed_and_added_again_gets_everything_again_under_the_same_stamps(
    store: Store, tmp_path: Path, deliver: Callable[..., Delivery], serve: Callable[..., ScriptedServer]
) -> None:
    append(store, 0, 20)
    server, other = serve([OK]), serve([OK])
    deliver(sink(server, "a"), sink(other, "b")).close(PATIENCE_S)
    deliver(sink(other, "b")).close(PATIENCE_S)
    with StoreReader.open(tmp_path / "store") as reader:
        assert reader.cursors() == {"b": 20}
    deliver(sink(server, "a"), sink(other, "b"))
    delivered(store, 20, "a", "b")
    assert Counter(server.stored) == Counter(lines(tmp_path) * 2)
    assert Counter(other.stored) == Counter(lines(tmp_path))


def test_one_dead_sink_does_not_hold_up_the_other(
    store: Store, tmp_path: Path, deliver: Callable[..., Delivery], serve: Callable[..., ScriptedServer]
) -> None:
    dead, alive = serve([Misbehaviour("stall")]), serve([OK])
    append(store, 0, 50)
    delivery = deliver(sink(dead, "dead", timeout_ns=300 * SECOND), sink(alive, "alive"))
    delivered(store, 50, "alive")
    assert sorted(alive.stored) == sorted(lines(tmp_path))
    assert [status.cursor for status in delivery.status() if status.name == "dead"] == [0]


@pytest.mark.parametrize(
    ("reads", "histograms", "sent"),
    [
        (INFLUX_1, None, True), (INFLUX_1, True, True), (INFLUX_1, False, False),
        (VICTORIA, None, False), (VICTORIA, True, True), (VICTORIA, False, False),
    ],
)  # fmt: skip
def test_texts_go_to_servers_that_keep_them_unless_told_otherwise(
    store: Store, deliver: Callable[..., Delivery], serve: Callable[..., ScriptedServer],
    reads: dict[str, str], histograms: bool | None, sent: bool,
) -> None:  # fmt: skip
    store.append([ping(0, histogram=Histogram.from_text("1:2;5:8"))])
    assert store.flush(10)
    server = serve([OK], reads)
    deliver(sink(server, histograms=histograms))
    delivered(store, 1)
    fields = parse(server.stored[0]).fields
    assert ("histogram" in fields) is sent
    assert ("remote" in fields) is sent
    assert fields["sent"] == 10


def test_no_more_than_a_batch_is_in_memory(
    store: Store, deliver: Callable[..., Delivery], serve: Callable[..., ScriptedServer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    asked: list[int] = []
    after = StoreReader.after_batch

    def watched(reader: StoreReader, seq: int, limit: int) -> Any:
        asked.append(limit)
        return after(reader, seq, limit)

    monkeypatch.setattr(StoreReader, "after_batch", watched)
    store.append([ping(number, packets=some_packets(1000)) for number in range(400)])
    assert store.flush(10)
    server = serve([OK])
    deliver(sink(server, batch=16))
    delivered(store, 400)
    assert set(asked) == {16}
    assert max(len(request.lines) for request in server.writes) == 16


def test_token_that_no_header_can_carry_is_said_and_asked_for_rarely(
    store: Store, deliver: Callable[..., Delivery], serve: Callable[..., ScriptedServer], token: Path,
    clock: ShortClock,
) -> None:  # fmt: skip
    token.write_text("s3cr3t-\u20ac")
    append(store, 0, 5)
    servers = serve([OK]), serve([OK], INFLUX_2)
    secret = SecretSource(file=token)
    delivery = deliver(sink(servers[0], "one", token=secret), sink(servers[1], "two", api="v2", token=secret))
    until(lambda: all(status.state == "held" for status in delivery.status()), "not held")
    for status in delivery.status():
        assert (
            status.words == f"the token in file {token} has letters beyond ASCII (hint: copy it again from the server)"
        )
    assert min(clock.asked) >= 30 * SECOND
    token.write_text("s3cr3t")
    delivered(store, 5, "one", "two")


def test_unexpected_failure_is_tried_again_ever_more_rarely(
    store: Store, deliver: Callable[..., Delivery], serve: Callable[..., ScriptedServer], clock: ShortClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    append(store, 0, 5)
    monkeypatch.setattr(SinkWorker, "_step", lambda _: 1 // 0)
    monkeypatch.setattr("agent.deliver.worker.random.random", lambda: 1.0)
    delivery = deliver(sink(serve([OK])))
    until(lambda: len(clock.asked) >= 8, "gave up")
    delivery.close()
    assert [wait_ns // SECOND for wait_ns in clock.asked[:8]] == [1, 2, 4, 8, 16, 32, 64, 128]
    assert delivery.status()[0].words == "ZeroDivisionError: integer division or modulo by zero"


def test_refused_lines_are_logged_by_reason_not_one_by_one(
    store: Store, tmp_path: Path, deliver: Callable[..., Delivery], serve: Callable[..., ScriptedServer],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    append(store, 0, 40)
    bad = set(lines(tmp_path)[5:25])

    def judge(request: Request) -> Answer:
        return OK if bad.isdisjoint(request.lines) else Answer(422, body=b'{"message":"conflict"}')

    script: Script = judge
    delivery = deliver(sink(serve(script), batch=40))
    delivered(store, 40)
    delivery.close(PATIENCE_S)
    assert delivery.status()[0].parked == 20
    words = [record.getMessage() for record in caplog.records if "refuses" in record.getMessage()]
    assert words == ["sink central refuses 20 samples for good: HTTP 422: conflict"]


def test_the_books_catch_a_cursor_that_moves_before_the_acknowledgement(
    store: Store, tmp_path: Path, deliver: Callable[..., Delivery], serve: Callable[..., ScriptedServer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    offer = SinkWorker._offer

    def hasty(worker: SinkWorker, consignment: Any) -> Any:
        store.advance("central", consignment.following)
        return offer(worker, consignment)

    monkeypatch.setattr(SinkWorker, "_offer", hasty)
    append(store, 0, 40)
    server = serve([OK, Answer(503), OK])
    deliver(sink(server))
    delivered(store, 40)
    assert set(server.stored) != set(lines(tmp_path))


def test_events_of_the_store_are_as_the_sink_tells_them(
    store: Store, tmp_path: Path, deliver: Callable[..., Delivery], serve: Callable[..., ScriptedServer]
) -> None:
    append(store, 0, 5)
    delivery = deliver(sink(serve([Answer(403, body=b'{"error":"no right"}')])))
    until(lambda: delivery.status()[0].state == "held", "not held")
    delivery.close()
    assert store.flush(10)
    with StoreReader.open(tmp_path / "store") as reader:
        [event] = reader.events(kind="sink")
    assert isinstance(event, EventRecord)
    assert (event.text, event.reason) == ("sink central: held: HTTP 403: no right", "HTTP 403: no right")


def test_trouble_of_the_last_run_is_over_once_the_server_takes_something(
    store: Store, tmp_path: Path, deliver: Callable[..., Delivery], serve: Callable[..., ScriptedServer]
) -> None:
    store.event(EventRecord("sink", 1, "sink central: waiting: away", reason="away"))
    store.event(EventRecord("sink", 2, "sink central-2: ok"))
    server = serve([OK])
    for first in (0, 5):
        append(store, first, 5)
        delivery = deliver(sink(server))
        delivered(store, first + 5)
        until(lambda running=delivery: running.status()[0].state == "ok", "not ok")
        delivery.close()
    assert store.flush(10)
    with StoreReader.open(tmp_path / "store") as reader:
        told = [event.text for event in reader.events(kind="sink")]
    assert told == ["sink central: ok", "sink central-2: ok", "sink central: waiting: away"], "told once"
