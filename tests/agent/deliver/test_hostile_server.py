"""Delivery against a server that refuses, stalls, lies and breaks: nothing lost, nothing spun, no secret given away.

The worker is stepped by hand, so that no test waits for a pause: what it would have waited is asserted instead. After
every step, each sample up to the durable cursor must be in the server or parked with a reason.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from agent.config import SecretSource, SinkSettings
from agent.deliver.answer import LONGEST_WAIT_NS
from agent.deliver.line import LineEncoder
from agent.deliver.worker import SinkWorker
from agent.store import Store, StoreReader
from probes.core.clock import MILLISECOND, SECOND, SystemClock
from tests.fakes.samples import ping
from tests.fakes.scripted_server import (
    INFLUX_1,
    INFLUX_2,
    Action,
    Answer,
    Misbehaviour,
    Request,
    Script,
    ScriptedServer,
)

SECRET = "s3cr3t-token"
SAMPLES = 60
BATCH = 20
OK = Answer(204)


@dataclass
class Bench:
    """One sink, one store with SAMPLES samples, and what became of every step."""

    store: Store
    path: Path
    worker: SinkWorker
    server: ScriptedServer
    waits: list[int] = field(default_factory=list)

    def lines(self) -> dict[int, str]:
        encoder = LineEncoder("lab", {})
        with StoreReader.open(self.path) as reader:
            return {item.seq: encoder.encode(item.sample, text=True) for item in reader.after(0, 10_000)}

    def parked(self) -> dict[int, str]:
        assert self.store.flush(10)
        with StoreReader.open(self.path) as reader:
            return {item.seq: item.reason for item in reader.parked("central")}

    def step(self) -> int:
        wait_ns = self.worker._step()
        cursor, safe = self.store.cursor("central"), set(self.server.stored)
        lost = [seq for seq, line in self.lines().items() if seq <= cursor and line not in safe]
        assert set(lost) <= self.parked().keys(), f"cursor {cursor} is beyond what the server has: {lost}"
        if wait_ns:
            self.waits.append(wait_ns)
        return wait_ns

    def drain(self, steps: int = 40) -> None:
        """Step until everything is through."""
        for _ in range(steps):
            self.step()
            if self.store.cursor("central") >= SAMPLES:
                return
        raise AssertionError(f"stuck at {self.store.cursor('central')}: {self.worker.status}")

    def arrived_once_in_effect(self) -> None:
        assert set(self.server.stored) == set(self.lines().values())


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path / "store", clock=SystemClock(), site="lab")
    opened.append([ping(number) for number in range(SAMPLES)])
    assert opened.flush(10)
    yield opened
    opened.close(10)


@pytest.fixture
def bench(store: Store, tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Builds a bench on a script; api v1 or v2."""
    secret = tmp_path / "token"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    opened: list[Bench] = []

    def build(script: Script, api: str = "v1", batch: int = BATCH, timeout_ns: int = 5 * SECOND) -> Bench:
        server = ScriptedServer(script, reads=INFLUX_1 if api == "v1" else INFLUX_2)
        server.__enter__()
        settings = SinkSettings(
            "central", server.url, api, org="isp", bucket="sla", database="sla", token=SecretSource(file=secret),
            batch=batch, timeout_ns=timeout_ns,
        )  # fmt: skip
        worker = SinkWorker(settings, store, tmp_path / "store", LineEncoder("lab", {}), SystemClock())
        opened.append(Bench(store, tmp_path / "store", worker, server))
        return opened[-1]

    yield build
    for item in opened:
        item.worker._sink.close()
        item.worker._reader.close()
        item.server.__exit__()


@pytest.mark.parametrize("api", ["v1", "v2"])
@pytest.mark.parametrize(
    "trouble",
    [Answer(status) for status in (401, 403, 404, 408, 429, 500, 502, 503, 504)],
    ids=lambda action: str(action.status),
)  # fmt: skip
def test_trouble_keeps_everything_and_waits(bench: Callable[..., Bench], trouble: Answer, api: str) -> None:
    told = replace(trouble, body=b'{"error":"because"}')
    rig = bench([told, told, told, OK], api)
    for _ in range(3):
        assert rig.step() >= MILLISECOND
        assert rig.store.cursor("central") == 0
        assert f"HTTP {trouble.status}: because" in rig.worker.status.words
        assert rig.worker.status.state == ("held" if trouble.status < 429 else "waiting")
    assert len(rig.server.writes) == 3, "one request for each wait"
    rig.drain()
    rig.arrived_once_in_effect()
    assert rig.parked() == {}
    assert len(rig.server.writes) == 3 + SAMPLES // BATCH
    assert rig.worker.status.words == ""


@pytest.mark.parametrize("api", ["v1", "v2"])
@pytest.mark.parametrize(
    ("written", "lowest", "highest"),
    [
        ("30", 30 * SECOND, 30 * SECOND), ("0", SECOND, SECOND), ("-5", SECOND, SECOND),
        ("99999999999999999999999", LONGEST_WAIT_NS, LONGEST_WAIT_NS), ("301", LONGEST_WAIT_NS, LONGEST_WAIT_NS),
        ("--5", MILLISECOND, SECOND), ("+-5", MILLISECOND, SECOND), ("-", MILLISECOND, SECOND),
        ("1e9", MILLISECOND, SECOND), ("soon", MILLISECOND, SECOND), ("", MILLISECOND, SECOND),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MILLISECOND, SECOND), ("\u00b2", MILLISECOND, SECOND),
        ("5, 7", MILLISECOND, SECOND), ("NaN", MILLISECOND, SECOND),
    ],
)  # fmt: skip
def test_retry_after_however_absurd(
    bench: Callable[..., Bench], written: str, lowest: int, highest: int, api: str
) -> None:
    rig = bench([Answer(429, {"Retry-After": written}), OK], api)
    assert lowest <= rig.step() <= highest
    rig.drain()
    rig.arrived_once_in_effect()


@pytest.mark.parametrize("api", ["v1", "v2"])
@pytest.mark.parametrize("kind", ["stall", "drip", "endless", "cut", "half"])
def test_exchange_that_does_not_end_as_it_should(bench: Callable[..., Bench], kind: str, api: str) -> None:
    # An endless body belongs to a 400: its first octets already say that the lines are refused, so that is bisected.
    rig = bench([Misbehaviour(kind), OK], api, timeout_ns=300 * MILLISECOND)
    rig.step()
    rig.drain()
    rig.arrived_once_in_effect()
    assert rig.parked() == {}
    assert len(rig.server.writes) <= 3 + SAMPLES // BATCH


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_redirect_is_not_followed_and_carries_nothing_away(bench: Callable[..., Bench], api: str) -> None:
    with ScriptedServer([OK]) as elsewhere:
        for status in (301, 302, 303, 307, 308):
            rig = bench([Answer(status, {"Location": f"{elsewhere.url}/steal"})], api)
            assert rig.step() >= SECOND
            assert rig.worker.status.state == "held"
        assert elsewhere.asked == []
    assert rig.store.cursor("central") == 0


@pytest.mark.parametrize("api", ["v1", "v2"])
@pytest.mark.parametrize(("status", "partial"), [(400, True), (400, False), (422, True)])
@pytest.mark.parametrize("bad", [{3}, {1, 2}, {20}, {19, 20, 21, 60}, set(range(1, 21))], ids=str)
def test_bad_lines_are_parked_with_the_reason_and_the_rest_delivered(
    bench: Callable[..., Bench], bad: set[int], status: int, partial: bool, api: str
) -> None:
    rig = bench(lambda request: refuse(rig, request, bad, Answer(status, body=b'{"error":"conflict"}'), partial), api)
    rig.drain()
    parked = rig.parked()
    assert parked.keys() == bad
    assert set(parked.values()) == {f"HTTP {status}: conflict"}
    assert set(rig.server.stored) == {line for seq, line in rig.lines().items() if seq not in bad}
    assert len(rig.server.writes) <= SAMPLES // BATCH + len(bad) * 12 + 2


def refuse(rig: Bench, request: Request, bad: set[int], answer: Answer, partial: bool) -> Action:
    """Refuse requests with a bad line; `partial` stores the good ones, as InfluxDB 1 does."""
    refused = {line for seq, line in rig.lines().items() if seq in bad}
    if refused.isdisjoint(request.lines):
        return OK
    if partial:
        rig.server.stored.extend(line for line in request.lines if line not in refused)
    return answer


@pytest.mark.parametrize("api", ["v1", "v2"])
@pytest.mark.parametrize("status", [400, 413, 422])
def test_server_that_refuses_everything_gets_nothing_parked(bench: Callable[..., Bench], status: int, api: str) -> None:
    rig = bench([Answer(status, body=b"no")], api)
    assert rig.step() >= SECOND
    assert rig.parked() == {}
    assert rig.store.cursor("central") == 0
    assert rig.worker.status.state == "held"
    assert len(rig.server.writes) < 20


@pytest.mark.parametrize("api", ["v1", "v2"])
@pytest.mark.parametrize("most", [1, 3, 7])
def test_too_large_is_halved(bench: Callable[..., Bench], most: int, api: str) -> None:
    rig = bench(lambda request: OK if len(request.lines) <= most else Answer(413), api)
    rig.drain(SAMPLES)
    rig.arrived_once_in_effect()
    assert rig.parked() == {}
    assert len(rig.server.writes) <= 2 * SAMPLES


def test_random_trouble_ends_with_every_sample_once(bench: Callable[..., Bench]) -> None:
    actions: list[Action] = [
        Answer(500), OK, Misbehaviour("cut"), Answer(429, {"Retry-After": "1"}), Answer(413), Misbehaviour("half"),
        Answer(400), Answer(503), OK, Answer(401), Misbehaviour("cut"), OK,
    ]  # fmt: skip
    rig = bench([*actions, OK], batch=7)
    rig.drain(80)
    rig.arrived_once_in_effect()
    assert rig.parked() == {}


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_secret_is_told_to_the_sink_only(
    bench: Callable[..., Bench], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], api: str
) -> None:
    caplog.set_level(logging.DEBUG)
    troubles = [
        Answer(401),
        Answer(302, {"Location": f"http://127.0.0.1:1/{SECRET}"}),
        Misbehaviour("cut"),
        Answer(500),
    ]
    rig = bench([*troubles, OK], api)
    for _ in troubles:
        rig.step()
        shown = [repr(rig.worker.status), repr(rig.worker._settings), repr(vars(rig.worker._sink)), *capfd.readouterr()]
        assert not any(SECRET in text for text in shown)
    rig.drain()
    assert all(SECRET in request.headers["authorization"] for request in rig.server.writes)
    assert SECRET not in caplog.text
    with StoreReader.open(rig.path) as reader:
        assert not any(SECRET in f"{event.text} {event.reason}" for event in reader.events())


def test_five_hundred_for_one_line_does_not_hold_up_the_others(bench: Callable[..., Bench]) -> None:
    # InfluxDB answers 500, not 400, to some points that it will never take (telegraf issue 8571).
    rig = bench(lambda request: refuse(rig, request, {30}, Answer(500, body=b'{"error":"too old"}'), False))
    rig.drain()
    assert rig.parked() == {30: "HTTP 500: too old"}
    assert set(rig.server.stored) == {line for seq, line in rig.lines().items() if seq != 30}
    assert len(rig.waits) >= 4, "a server in passing trouble is given time first"


def test_five_hundred_for_everything_parks_nothing(bench: Callable[..., Bench]) -> None:
    rig = bench([Answer(500, body=b'{"error":"retention policy not found: x"}')] * 60 + [OK])
    for _ in range(12):
        assert rig.step() >= MILLISECOND
    assert rig.parked() == {}
    assert rig.store.cursor("central") == 0
    rig.drain(60)
    rig.arrived_once_in_effect()


def test_newest_samples_go_first_in_every_backlog(bench: Callable[..., Bench]) -> None:
    rig = bench([OK], batch=2)
    rig.drain(100)
    for count in (60, 120):
        rig.store.append([ping(number) for number in range(count, count + 60)])
        assert rig.store.flush(10)
        before = len(rig.server.stored)
        newest = rig.lines()[max(rig.lines())]
        while newest not in rig.server.stored:
            assert rig.step() == 0
        assert len(rig.server.stored) - before <= 4, "a backlog of 60 has 30 batches; the newest is in the second"
        while rig.store.cursor("central") < max(rig.lines()):
            assert rig.step() == 0
        assert len(rig.server.stored) - before == 60, "nothing twice"
    rig.arrived_once_in_effect()


def test_unexpected_failure_does_not_end_the_delivery(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = bench([OK])
    step, turns = rig.worker._step, iter([True, True])

    def troubled() -> int:
        if next(turns, False):
            raise ZeroDivisionError("nobody thought of this")
        return step()

    waits: list[int] = []

    def wait(_event: object, timeout_ns: int) -> bool:
        waits.append(timeout_ns)
        if rig.store.cursor("central") >= SAMPLES:
            rig.worker.stop(0)
        return False

    monkeypatch.setattr(rig.worker, "_step", troubled)
    monkeypatch.setattr(rig.worker._clock, "wait", wait)
    rig.worker._run()
    rig.arrived_once_in_effect()
    assert all(wait_ns >= SECOND for wait_ns in waits[:2])


def test_stopping_does_not_wait_for_a_long_search(bench: Callable[..., Bench]) -> None:
    def refuse_and_stop(_request: Request) -> Action:
        rig.worker.stop(30)
        return Answer(400)

    rig = bench(refuse_and_stop, batch=60)
    rig.worker._run()
    assert len(rig.server.writes) == 1
    assert rig.parked() == {}


def test_the_bench_catches_a_cursor_that_moves_before_the_acknowledgement(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    send = SinkWorker._send_oldest

    def hasty(worker: SinkWorker, cursor: int) -> object:
        worker._store.advance("central", worker._reader.after(cursor, worker._limit)[-1].seq)
        return send(worker, cursor)

    monkeypatch.setattr(SinkWorker, "_send_oldest", hasty)
    with pytest.raises(AssertionError, match="beyond what the server has"):
        bench([Answer(503), OK]).drain()


def test_status_tells_lag_age_and_rate(bench: Callable[..., Bench]) -> None:
    rig = bench([Answer(503, body=b"away"), OK])
    rig.step()
    waiting = rig.worker.status
    assert (waiting.lag, waiting.written, waiting.rate) == (SAMPLES, 0, None)
    assert waiting.lag_ns is not None
    assert waiting.lag_ns >= 60 * SECOND
    text = (
        r"central \(InfluxDB 1.6.7\): waiting, 60 samples behind, the oldest from .* ago, 0 delivered; HTTP 503: away"
    )
    assert re.fullmatch(text, str(waiting))
    rig.drain()
    rig.step()
    done = rig.worker.status
    assert (done.lag, done.lag_ns, done.written, done.state) == (0, None, SAMPLES, "ok")
    assert done.rate is not None
    assert done.rate > 0
    assert str(done) == "central (InfluxDB 1.6.7): ok, up to date, 60 delivered"


def test_five_hundred_at_the_head_of_a_backlog_is_found_although_the_newest_samples_pass(
    bench: Callable[..., Bench],
) -> None:
    # Killed while it creates a shard, InfluxDB 1.6 answers 500 to every write to that shard from then on.
    broken = {1, 2, 3}
    rig = bench(
        lambda request: refuse(rig, request, broken, Answer(500, body=b'{"error":"[shard 16]"}'), False), batch=5
    )
    for number in range(SAMPLES, SAMPLES + 60, 3):
        rig.store.append([ping(number + more) for more in range(3)])
        assert rig.store.flush(10)
        rig.step()
    assert rig.parked() == dict.fromkeys(broken, "HTTP 500: [shard 16]")
    assert rig.waits, "a server in passing trouble is given time first"
    for _ in range(60):
        rig.step()
    assert set(rig.server.stored) == {line for seq, line in rig.lines().items() if seq not in broken}
