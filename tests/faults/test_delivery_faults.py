"""Every fault of a server, then its end: each sample is in the database exactly once, value by value.

The server is a stand-in that keeps points as InfluxDB does; it misbehaves by script and is well afterwards. Waits are
short here: how long they were to be is in the journal, and so is every request.
"""

from __future__ import annotations

import logging
import random
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import pytest

from agent.deliver import http, requests
from agent.deliver.answer import LONGEST_WAIT_NS, Reply
from agent.deliver.answer import Answer as Meaning
from agent.deliver.backoff import HOLD_NS
from agent.deliver.batch import PIECE, Batches
from agent.deliver.care import SinkCare
from agent.deliver.http import MAXIMUM_BODY, Response, Transport
from agent.deliver.influx_v2 import V2Writer
from agent.deliver.sink import Sink
from probes.core.clock import MILLISECOND, SECOND, SystemClock
from tests.fakes.point_server import Dialect, PointServer
from tests.fakes.scripted_server import Action, Answer, Misbehaviour, Request, ScriptedServer
from tests.faults.counts import count
from tests.faults.delivery_rig import SECRET, Books, Rig, books, impatient, until

TLS: Final = Path(__file__).parents[1] / "fakes" / "tls"
CUTS: Final = count("CUTS", 20, 1000)
SIDE_BY_SIDE: Final = 4
DEADLINE_NS: Final = 250 * MILLISECOND
Figure = Callable[[str], None]


@pytest.fixture(autouse=True)
def no_secret(tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """After each of these tests: the token is in no log, no output and no file but its own."""
    caplog.set_level(logging.DEBUG)
    yield
    assert leaks(tmp_path, caplog.text, *capfd.readouterr()) == []


def leaks(home: Path, *texts: str) -> list[str]:
    """Where the token is, and should not be."""
    found = [f"output: {text[:200]}" for text in texts if SECRET in text]
    for path in home.rglob("*"):
        if path.is_file() and path.name != "token" and SECRET.encode() in path.read_bytes():
            found.append(str(path))
    return found


@dataclass(frozen=True)
class Case:
    """A fault and what it may cost. writes: requests that carried samples; pauses: waits because of trouble."""

    name: str
    books: Books
    writes: int
    pauses: list[int]
    asked: int
    impatient: list[str]
    parked: int
    words: list[str]


def suffer(home: Path, faults: Sequence[Action], dialect: Dialect = "2.x", **more: Any) -> Case:
    """Forty samples through the faults, forty more meanwhile, until the server has everything."""
    with Rig(home, dialect=dialect, **more) as rig:
        server = rig.serve(faults)
        rig.feed(40)
        rig.run(rig.sink(server.url))
        rig.feed(40)
        rig.settle()
        until(lambda: rig.status().state == "ok" or not rig.events(), lambda: f"not ok again: {rig.status()}")
        assert rig.delivery is not None
        rig.delivery.close(5)
        assert not server.faults, "every fault was met"
        return Case(
            home.name, books(rig.path, server), len(server.writes), rig.pauses(), len(server.asked),
            impatient(rig.journal), len(rig.parked()), rig.events(),
        )  # fmt: skip


def side_by_side(home: Path, cases: dict[str, Callable[[Path], Case]]) -> list[Case]:
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        return list(pool.map(lambda item: item[1](home / item[0].replace("/", "-")), cases.items()))


def assert_delivered(cases: Sequence[Case]) -> None:
    assert [f"{case.name}: {case.books}" for case in cases if not case.books.balanced] == []
    assert [f"{case.name}: {text}" for case in cases for text in case.impatient] == []
    assert [f"{case.name}: {case.parked} parked" for case in cases if case.parked] == []


def summary(what: str, cases: Sequence[Case]) -> str:
    samples, again = sum(case.books.samples for case in cases), sum(case.books.sent_again for case in cases)
    return (
        f"delivery, {what}: {len(cases)} faults, {samples} samples, 0 lost, 0 twice, 0 parked, {again} sent again; "
        f"{sum(case.writes for case in cases)} writes, {sum(len(case.pauses) for case in cases)} waits"
    )


BATCHES: Final = 2 * 40 // 20 + 2
"""Requests that forty and forty samples take, with room for where one batch ends early."""


def test_statuses(tmp_path: Path, figure: Figure) -> None:
    told = b'{"code":"busy","message":"because"}'
    codes = (200, 202, 401, 403, 404, 405, 408, 410, 429, 500, 501, 502, 503, 504, 507, 511)
    cases = {
        f"{dialect} {code}": lambda home, code=code, dialect=dialect: suffer(
            home, [Answer(code, body=told)] * 3, dialect
        )
        for code in codes
        for dialect in ("1.x", "2.x", "3.x")
    }
    found = side_by_side(tmp_path, cases)
    assert_delivered(found)
    for case in found:
        assert len(case.pauses) == 3, (case.name, case.pauses)
        assert case.writes <= 3 + BATCHES, (case.name, case.writes)
        # A server that is busy, or wants another token, is asked only once what it is.
        once = 2 if case.name.partition(" ")[2] not in ("200", "202", "404", "405", "408", "410") else 2 * 4
        assert case.asked - case.writes <= once, (case.name, case.asked, case.writes)
        assert any(": because" in text for text in case.words)
        if case.name.endswith(("401", "403")):
            assert min(case.pauses) >= HOLD_NS
    figure(summary("statuses", found))


def test_retry_after_however_absurd(tmp_path: Path, figure: Figure) -> None:
    date = {"Date": "Mon, 23 Nov 2026 00:00:00 GMT"}
    written = {
        "30": 30, "0": 1, "-5": 1, "99999999999999999999999": 300, "301": 300, "1e99": None, "NaN": None, "soon": None,
        "": None, "5, 7": None, "0x10": None, "\u00b2": None, "Fri, 31 Dec 9999 23:59:59 GMT": 300,
        "Thu, 01 Jan 1970 00:00:00 GMT": 1, "Mon, 23 Nov 2026 00:02:00 GMT": 120, "Mon, 99 Nov 2026": None,
        "9" * 60_000: 300,
    }  # fmt: skip
    cases = {
        f"{code} {number}": lambda home, code=code, text=text: suffer(
            home, [Answer(code, date | {"Retry-After": text})] * 2
        )
        for code in (429, 503)
        for number, text in enumerate(written)
    }
    found = side_by_side(tmp_path, cases)
    assert_delivered(found)
    for case, seconds in zip(found, [*written.values()] * 2, strict=True):
        assert len(case.pauses) == 2, case.name
        if seconds is None:
            assert max(case.pauses) <= 2 * SECOND, "as if nothing had been said"
        else:
            assert case.pauses == [seconds * SECOND] * 2, case.name
            assert SECOND <= seconds * SECOND <= LONGEST_WAIT_NS
    figure(summary("Retry-After", found))


STALLS: Final = (
    "stall", "stall in status", "stall in headers", "stall in body", "stall in chunk", "drip", "drip in body",
    "drip in chunk size", "endless headers", "endless header", "endless continue", "endless busy",
    "endless to the end",
)  # fmt: skip
BREAKS: Final = (
    "nothing", "reset", "cut", "half", "half in headers", "lie", "negative", "bomb", "no gzip", "garbage",
    "other protocol", "alert of TLS", "no such version", "no such status", "zeros",
)  # fmt: skip


@pytest.fixture
def exchanges(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Every exchange: ns it took, octets of the body that were kept."""
    found: list[tuple[int, int]] = []
    request = Transport.request

    def watched(transport: Transport, *positional: Any, **named: Any) -> Response:
        begin, kept = http_clock(), 0
        try:
            response = request(transport, *positional, **named)
            kept = len(response.data)
            return response
        finally:
            found.append((http_clock() - begin, kept))

    monkeypatch.setattr(Transport, "request", watched)
    return found


def http_clock() -> int:
    import time

    return time.monotonic_ns()


def test_answers_that_stall_drip_or_never_end(tmp_path: Path, figure: Figure, exchanges: list[tuple[int, int]]) -> None:
    cases = {
        f"{kind} {keeps}": lambda home, kind=kind, keeps=keeps: suffer(
            home, [Misbehaviour(kind, keeps)] * 2, timeout_ns=DEADLINE_NS
        )
        for kind in STALLS
        for keeps in (False, True)
    }
    found = side_by_side(tmp_path, cases)
    assert_delivered(found)
    for case in found:
        assert 2 <= len(case.pauses) <= 3, (case.name, case.pauses)
        assert case.writes <= 3 + BATCHES, case.name
    assert max(kept for _, kept in exchanges) <= MAXIMUM_BODY
    cut = [took - DEADLINE_NS for took, _ in exchanges if took >= DEADLINE_NS]
    assert len(cut) >= 2 * 2 * 9
    assert median(cut) <= SECOND
    figure(
        f"{summary('stalls', found)}; deadline {DEADLINE_NS / 1e9:g} s: worker free {median(cut) / 1e6:.0f} ms after "
        f"it (median of {len(cut)}, longest {max(cut) / 1e6:.0f} ms); longest body kept "
        f"{max(kept for _, kept in exchanges)} octets"
    )


def test_answers_that_break_off_or_are_none(tmp_path: Path, figure: Figure, exchanges: list[tuple[int, int]]) -> None:
    cases = {
        f"{kind} {keeps} {dialect}": lambda home, kind=kind, keeps=keeps, dialect=dialect: suffer(
            home, [Misbehaviour(kind, keeps)] * 3, dialect
        )
        for kind in BREAKS
        for keeps in (False, True)
        for dialect in ("1.x", "2.x")
    }
    found = side_by_side(tmp_path, cases)
    assert_delivered(found)
    for case in found:
        assert 3 <= len(case.pauses) <= 4, (case.name, case.pauses)
    assert max(kept for _, kept in exchanges) <= MAXIMUM_BODY
    figure(summary("broken answers", found))


def test_a_second_answer_is_never_taken_for_the_next_request(tmp_path: Path) -> None:
    # A proxy out of step: one 204 too many must not acknowledge what comes next.
    case = suffer(tmp_path / "case", [Misbehaviour("two answers", keeps=True), Misbehaviour("nothing", keeps=False)])
    assert_delivered([case])


def test_refusals_that_are_none_of_the_lines_fault_park_nothing(tmp_path: Path, figure: Figure) -> None:
    everything = 4 + 2 * 8
    cases = {
        f"{code} {dialect}": lambda home, code=code, dialect=dialect: suffer(
            home, [Answer(code, body=b'{"error":"no"}')] * everything, dialect
        )
        for code in (400, 413, 422)
        for dialect in ("1.x", "2.x", "3.x")
    }
    found = side_by_side(tmp_path, cases)
    assert_delivered(found)
    figure(summary("refusals of everything", found))


@pytest.mark.parametrize("dialect", ["1.x", "2.x", "3.x"])
@pytest.mark.parametrize("trouble", ["conflict", "too old", "500"])
def test_bad_points_are_parked_in_the_servers_words_and_all_others_delivered(
    tmp_path: Path, figure: Figure, dialect: Dialect, trouble: str
) -> None:
    with Rig(tmp_path / "rig", dialect=dialect, batch=200) as rig:
        server = rig.serve()
        rig.feed(1000)
        if trouble == "conflict":
            server.types["net_response", "rtt_p99_ns"] = "float"
        elif trouble == "too old":
            server.from_ns = 1_793_000_000 * SECOND + 300 * 10 * SECOND // 4
        else:
            server.trouble = lambda request: (
                Answer(500, body=b'{"error":"[shard 16]"}')
                if any(" 17930005" in line for line in request.lines)
                else None
            )
        rig.run(rig.sink(server.url))
        rig.settle()
        parked, writes = rig.parked(), len(server.writes)
        found = books(rig.path, server, without=parked)
        missing = books(rig.path, server).lost
    words = {"conflict": "field type conflict", "too old": "beyond retention", "500": "HTTP 500: [shard 16]"}
    assert found.balanced, str(found)
    assert parked
    assert len(missing) == len(parked) or trouble == "conflict", "only what the database does not have is parked"
    assert all(words[trouble] in text for text in parked.values())
    if trouble != "500":
        assert writes <= 5 + 16 * 4, "what the server tells makes the search short"
    figure(
        f"delivery, bad points ({trouble}, InfluxDB {dialect}): {len(parked)} of 1000 parked with the reason, "
        f"{found.samples} good ones delivered, 0 lost, {writes} writes for 5 batches"
    )


def test_one_bad_point_holds_up_nobody(tmp_path: Path, figure: Figure) -> None:
    """Worst case: a full batch, a server that tells nothing. Requests until everything else is there are counted."""
    with Rig(tmp_path / "rig", batch=5000) as rig:
        server = rig.serve()
        bad: list[str] = []

        def silent(request: Request) -> Action | None:
            bad[:] = bad or [request.lines[len(request.lines) // 3]]
            return Answer(400) if bad[0] in request.lines else None

        server.trouble = silent
        rig.feed(5000)
        rig.run(rig.sink(server.url))
        rig.settle()
        writes, parked = len(server.writes), rig.parked()
        assert books(rig.path, server, without=parked).balanced
    assert len(parked) == 1
    assert writes <= 40, "at 250 ms a request: 10 s"
    figure(f"delivery, one bad point in 5000 that the server does not name: parked after {writes} writes at most")


def test_a_long_search_leaves_turns_to_others(tmp_path: Path) -> None:
    """Bad points all over a backlog, nothing told: the newest samples are not held up by the search."""
    with Rig(tmp_path / "rig", batch=100) as rig:
        server = rig.serve()
        server.trouble = lambda request: (
            Answer(400) if any(int(line[-10:-9]) % 2 and int(line.rpartition(" ")[2]) < limit for line in request.lines)
            else None
        )  # fmt: skip
        limit = 1_793_000_000 * SECOND + 250 * 10 * SECOND
        rig.feed(1200)
        rig.run(rig.sink(server.url))
        newest = 1_793_000_000 * SECOND + 123_456_789 + 299 * 10 * SECOND
        until(lambda: any(key[2] == newest for key in server.points), lambda: f"held up: {rig.status()}")
        before = len(server.writes)
    assert before <= 3 * (PIECE + 30)


def test_too_large_is_halved_and_remembered(tmp_path: Path, figure: Figure) -> None:
    with Rig(tmp_path / "rig", batch=400) as rig:
        server = rig.serve()
        server.most_lines = 30
        rig.feed(2000)
        rig.run(rig.sink(server.url))
        rig.settle()
        refused = sum(1 for what, value in rig.journal if isinstance(value, Answer) and value.status == 413)
        found = books(rig.path, server)
        assert rig.parked() == {}
    assert found.balanced, str(found)
    assert refused <= 4 + 1, "400, 200, 100, 50; then it is known"
    figure(f"delivery, 413 above 30 lines: found after {refused} refusals, {found}, {len(server.writes)} writes")


@dataclass(frozen=True)
class Trap:
    """A server of somebody else: it must be asked nothing that carries the token."""

    server: ScriptedServer

    def told(self) -> list[str]:
        return [str(request.headers) for request in self.server.asked if SECRET in str(request.headers)]


@pytest.fixture
def trap() -> Iterator[Trap]:
    with ScriptedServer([Answer()]) as server:
        yield Trap(server)


def redirected(tmp_path: Path, trap: Trap) -> list[Case]:
    cases = {}
    for status in (300, 301, 302, 303, 305, 307, 308):
        for where in (
            f"{trap.server.url}/api/v2/write?bucket=sla",
            "/elsewhere",
            "//127.0.0.2:1/x",
            "javascript:1",
            "",
        ):
            fault = Answer(status, {"Location": where})
            cases[f"{status} {len(cases)}"] = lambda home, fault=fault: suffer(home, [fault] * 2)
    return side_by_side(tmp_path, cases)


def test_redirects_are_refused_and_carry_the_token_nowhere(tmp_path: Path, figure: Figure, trap: Trap) -> None:
    found = redirected(tmp_path, trap)
    assert_delivered(found)
    assert all(min(case.pauses) >= HOLD_NS for case in found)
    assert trap.server.asked == []
    figure(f"{summary('redirects', found)}; 0 octets of the token sent elsewhere")


@pytest.mark.parametrize(
    ("certificate", "ca", "words"),
    [
        ("wrong-name.pem", "ca.pem", "127.0.0.1"), ("expired.pem", "ca.pem", "expired"),
        ("good.pem", "other-ca.pem", "verify failed"), ("good.pem", None, "verify failed"),
        (None, "ca.pem", "127.0.0.1"),
    ],
)  # fmt: skip
def test_doubtful_tls_is_told_nothing_and_loses_nothing(
    tmp_path: Path, figure: Figure, certificate: str | None, ca: str | None, words: str
) -> None:
    with Rig(tmp_path / "rig", timeout_ns=SECOND) as rig:
        rig.feed(40)
        trusted = TLS / (ca or "ca.pem")
        with PointServer(certificate=TLS / certificate if certificate else None) as doubtful:
            url = f"https://127.0.0.1:{doubtful.port}"
            first = rig.run(rig.sink(url, ca_file=TLS / ca if ca else None))
            until(lambda: len(rig.pauses()) >= 4, lambda: str(rig.status()))
            told = [request for request in doubtful.asked if request.method in ("GET", "POST")]
            assert told == []
            assert words in rig.status().words, rig.status().words
            first.close(0)
            tries, port = len(rig.pauses()), doubtful.port
        well = rig.serve(certificate=TLS / "good.pem", port=port)
        rig.run(rig.sink(url, ca_file=TLS / "ca.pem"))
        rig.settle()
        found = books(rig.path, well)
    assert found.balanced, str(found)
    assert trusted.exists()
    figure(f"delivery, TLS ({certificate or 'none'}, trusting {ca}): 0 octets told in {tries} tries; then {found}")


def test_proxies_of_the_environment_are_not_used(tmp_path: Path, trap: Trap, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "ftp_proxy"):
        monkeypatch.setenv(name, trap.server.url)
        monkeypatch.setenv(name.upper(), trap.server.url)
    monkeypatch.setenv("no_proxy", "")
    assert_delivered([suffer(tmp_path / dialect, [Answer(503)], dialect) for dialect in ("1.x", "2.x")])
    assert trap.server.asked == []


def test_nobody_there_for_a_while(tmp_path: Path) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        with Rig(tmp_path / "rig") as rig:
            rig.feed(40)
            rig.run(rig.sink(f"http://127.0.0.1:{port}"))
            until(lambda: len(rig.pauses()) >= 5, lambda: str(rig.status()))
            assert "Connection refused" in rig.status().words
            reserved.close()
            server = rig.serve(port=port)
            rig.settle()
            assert books(rig.path, server).balanced
        events = [text for text in rig_events(rig) if "cannot be reached" in text]
    assert len(events) <= 1, "said once, not with every try"


def rig_events(rig: Rig) -> list[str]:
    from agent.store import StoreReader

    with StoreReader.open(rig.path) as reader:
        return [event.text for event in reader.events(kind="sink")]


class CuttingRelay:
    """Between the agent and its server: passes octets on, and cuts connections after a random number of them."""

    def __init__(self, port: int, cuts: int, seed: int) -> None:
        self.cuts, self._port, self._chance = cuts, port, random.Random(seed)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        _begin(self._serve)

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            budget = [1 << 40, 1 << 40]
            if self.cuts > 0:
                # An exchange is two small questions with answers, then samples: some of all of it is cut.
                side = self._chance.randint(0, 1)
                budget[side] = int(2 ** self._chance.uniform(0, (12, 9)[side]))
            server = socket.create_connection(("127.0.0.1", self._port))
            left = [1]
            _begin(self._pass, client, server, budget[0], left)
            _begin(self._pass, server, client, budget[1], left)

    def _pass(self, source: socket.socket, target: socket.socket, budget: int, left: list[int]) -> None:
        try:
            while data := source.recv(min(budget, 65_536)):
                target.sendall(data)
                budget -= len(data)
                if budget <= 0:
                    if left:
                        left.clear()
                        self.cuts -= 1
                    break
        except OSError:
            pass
        for channel in (source, target):
            try:
                channel.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


def _begin(work: Callable[..., None], *values: object) -> None:
    threading.Thread(target=work, args=values, daemon=True).start()


def cut_at_random(home: Path, cuts: int, seed: int) -> tuple[Books, int, int]:
    """Samples keep coming until so many connections were cut; the books, the cuts, the writes."""
    with Rig(home, batch=10, timeout_ns=10 * SECOND) as rig:
        server = rig.serve()
        with closing(CuttingRelay(server.port, cuts, seed)) as relay:
            rig.run(rig.sink(f"http://127.0.0.1:{relay.port}"))
            fed = 0
            while relay.cuts > 0:
                if fed - rig.store.cursor("central") < 100:
                    rig.feed(20)
                    fed += 20
                threading.Event().wait(0.002)
            rig.settle()
            assert rig.delivery is not None
            rig.delivery.close(5)
        assert rig.parked() == {}
        return books(rig.path, server), cuts - relay.cuts, len(server.writes)


def test_random_cuts(tmp_path: Path, figure: Figure) -> None:
    found, cuts, writes = cut_at_random(tmp_path / "rig", CUTS, 1)
    assert found.balanced, str(found)
    assert cuts >= CUTS
    figure(f"delivery, random cuts: {cuts} connections cut, {found}, 0 lost, 0 twice, {writes} whole requests arrived")


def test_no_tool_and_no_traceback_tells_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """no_secret looks afterwards through logs, tracebacks, output, database, state and requests."""
    with Rig(tmp_path / "rig") as rig:
        server = rig.serve()
        server.trouble = lambda _request: Answer(403, body=b'{"message":"not you"}')
        settings = rig.sink(server.url)
        rig.store.cursor("central")
        rig.store.park("central", 1, "ping,circuit=a lost=1i 1", "HTTP 400: no")
        rig.feed(20)
        care = SinkCare([settings], rig.store, rig.path, SystemClock(), lambda: [])
        care.start()
        asked = requests.ask(rig.path, "retry", "central", SystemClock().wall())
        done: list[requests.Done] = []
        until(lambda: bool(done.append(found) if (found := requests.answer_to(rig.path, asked)) else done), lambda: "")
        care.close(5)
        assert done[0].failed
        monkeypatch.setattr(V2Writer, "write", lambda *_: 1 // 0)
        rig.run(settings)
        until(lambda: "ZeroDivisionError" in rig.status().words, lambda: str(rig.status()))
        shown = [repr(item) for item in (done, care.troubles(), rig.status(), settings, vars(care), rig.events())]
        assert leaks(tmp_path / "nowhere", *shown) == []
        assert any(SECRET in str(request.headers) for request in server.writes), "told to its own server only"
        assert not any(SECRET in str(request.headers) for request in server.asked if request.path.startswith("/ping"))


# The harness catches what it is for.


def test_it_catches_a_sink_that_acknowledges_what_the_server_did_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Sink.write

    def hasty(sink: Sink, lines: str) -> Reply:
        reply = write(sink, lines)
        return Reply(Meaning.WRITTEN) if reply.answer is Meaning.RETRY else reply

    monkeypatch.setattr(Sink, "write", hasty)
    for number, fault in enumerate((Answer(503), Misbehaviour("nothing"), Misbehaviour("garbage"))):
        case = suffer(tmp_path / str(number), [fault] * 2)
        with pytest.raises(AssertionError, match="lost"):
            assert_delivered([case])
    assert not cut_at_random(tmp_path / "cuts", 20, 1)[0].balanced


def test_it_catches_a_redirect_that_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trap: Trap) -> None:
    exchange = Transport._exchange

    def obedient(transport: Transport, method: str, path: str, body: Any, headers: Any, limit: int) -> Response:
        response = exchange(transport, method, path, body, headers, limit)
        if 300 <= response.status <= 399 and response.headers.get("Location", "").startswith("http"):
            other = Transport(response.headers["Location"], timeout_ns=SECOND)
            return exchange(other, method, "/", body, headers, limit)
        return response

    monkeypatch.setattr(http.Transport, "_exchange", obedient)
    with pytest.raises(AssertionError):
        assert_delivered(redirected(tmp_path, trap))
    assert trap.told()


def test_it_catches_a_worker_that_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.deliver.backoff.Backoff.wait_ns", lambda *_: MILLISECOND)
    case = suffer(tmp_path / "case", [Answer(429, {"Retry-After": "30"})] * 2)
    assert case.pauses != [30 * SECOND] * 2
    held = suffer(tmp_path / "held", [Answer(401)] * 2)
    assert min(held.pauses) < HOLD_NS


def test_it_catches_a_batch_that_is_never_halved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def whole(_batches: Batches, lines: Sequence[Any], write: Callable[[str], Reply], *_rest: object) -> Any:
        from agent.deliver.batch import Outcome

        reply = write("\n".join(line.text for line in lines))
        return Outcome(len(lines) if reply.answer is Meaning.WRITTEN else 0, (), Reply(Meaning.HOLD))

    monkeypatch.setattr(Batches, "deliver", whole)
    monkeypatch.setattr("tests.faults.delivery_rig.PATIENCE_S", 2.0)
    with Rig(tmp_path / "rig", batch=400) as rig:
        server = rig.serve()
        server.most_lines = 30
        rig.feed(400)
        rig.run(rig.sink(server.url))
        with pytest.raises(AssertionError, match="not delivered"):
            rig.settle()


def test_it_catches_a_value_that_changed_on_the_way(tmp_path: Path) -> None:
    with Rig(tmp_path / "rig") as rig:
        server = rig.serve()
        rig.feed(40)
        rig.run(rig.sink(server.url))
        rig.settle()
        assert books(rig.path, server).balanced
        key = next(key for key in server.points if "rtt_p50_ns" in server.points[key])
        server.points[key]["rtt_p50_ns"] = int(server.points[key]["rtt_p50_ns"]) + 1
        assert [wrong[1] for wrong in books(rig.path, server).wrong] == [{"rtt_p50_ns"}]
        server.points.pop(next(iter(server.points)))
        assert len(books(rig.path, server).lost) == 1


def test_it_catches_a_token_in_the_log(tmp_path: Path) -> None:
    (tmp_path / "trace").write_text(f"Authorization: Token {SECRET}")
    assert leaks(tmp_path, f"...{SECRET}...", "fine") == [f"output: ...{SECRET}...", str(tmp_path / "trace")]
    (tmp_path / "trace").unlink()
