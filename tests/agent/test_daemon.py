"""The daemon as its users meet it: a real process on loopback, told by signals, heard by its words and its store."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

import agent.daemon
from agent.cli.run import last_words
from agent.daemon import Daemon
from agent.notify import Notifier
from agent.overview import Overview
from agent.store import RunState
from probes.core.clock import SECOND, SystemClock
from probes.core.model import Sample
from tests.agent.running import (
    COMMAND,
    PATIENCE_S,
    Agent,
    circuit,
    free_ports,
    reflector,
    tcp,
    udp,
    write,
)
from tests.probes.reflect.stamp_asking import plain

pytestmark = pytest.mark.timeout(180)

CONTRACT = """id: quick
version: "1"
provider: here
customer: here
time_zone: UTC
window: {rolling: 1h}
coverage: {minimum: 0 %}
objectives:
  - {id: loss, metric: loss, target: 50 %}
"""


@pytest.fixture
def ports() -> list[int]:
    return free_ports(3)


class Manager:
    """What the service manager hears on its socket."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._socket.settimeout(PATIENCE_S)
        self.heard: list[str] = []

    @property
    def environment(self) -> dict[str, str]:
        return {"NOTIFY_SOCKET": str(self.path), "WATCHDOG_USEC": "60000000"}

    def next(self, beginning: str) -> str:
        """Waits for the next message of this kind."""
        while True:
            message = self._socket.recv(4096).decode()
            self.heard.append(message)
            if message.startswith(beginning):
                return message

    def drain(self) -> list[str]:
        """What has been said until now."""
        found = []
        while select.select([self._socket], [], [], 0)[0]:
            found.append(self._socket.recv(4096).decode())
        return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path)
    yield made
    made.close()


# start, work, stop


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_measures_stores_judges_and_stops_with_its_last_words(tmp_path: Path, ports: list[int], number: int) -> None:
    config = write(
        tmp_path / "a", [circuit("c", udp(ports[0]), tcp(ports[1]), contract="quick")], reflector=reflector(*ports[:2])
    )
    (tmp_path / "a" / "contracts" / "quick.yaml").write_text(CONTRACT)
    with Agent(config) as run:
        run.line(r"^\S+Z c/udp ok rtt mean [0-9.]+ p95 .* lost 0/[0-9]+", count=2)
        run.line(r"c/tcp ok rtt")
        run.line(r"c verdict (on_track|met): ")
        assert run.end(number) == 0, run.text
        totals = re.search(r"Kept (\d+) samples of (\d+) packets in this run;", run.text)
        assert totals is not None
        assert f"the store {run.store} holds {totals[1]} samples" in run.text
        with run.reader() as reader:
            series = {item.probe: item.rows for item in reader.series()}
            assert sum(series.values()) == int(totals[1])
            assert series["udp"] >= 3
            columns = reader.read("c", "udp", ("sent", "lost"), 0, 2**62)
            assert columns.column("lost").sum() == 0
            kinds = [event.kind for event in reader.events()]
            assert kinds[0] == "stop"
            assert "start" in kinds
            assert not any(event.kind == "gap" for event in reader.events())
    assert "Traceback" not in run.text


def test_without_circuits_it_answers_others_and_says_so(tmp_path: Path, ports: list[int]) -> None:
    with Agent(write(tmp_path / "a", [], reflector=reflector(*ports[:2]))) as run:
        run.line("no circuits are configured: nothing is measured")
        assert run.end() == 0


def test_stamp_is_answered_and_what_was_counted_is_kept(tmp_path: Path, ports: list[int]) -> None:
    settings = reflector(*ports[:2]) | {"stamp_port": ports[2]}
    with Agent(write(tmp_path / "a", [], reflector=settings)) as run:
        run.line("no circuits are configured")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine:
            mine.settimeout(10)
            for size in (44, 20, 44):
                mine.sendto(plain()[:size], ("127.0.0.1", ports[2]))
            assert [len(mine.recv(2000)) for _ in range(2)] == [44, 44]
        assert run.end() == 0
        with run.reader() as reader:
            (text,) = [event.text for event in reader.events() if event.kind == "reflector"]
    assert text == "STAMP: in 3, answered 2, dropped_size 1, sessions 1"


def test_json_lines_are_documents_and_nothing_else(tmp_path: Path, ports: list[int]) -> None:
    config = write(tmp_path / "a", [circuit("c", udp(ports[0]))], reflector=reflector(*ports[:2]))
    with Agent(config, "--output", "json") as run:
        run.line('"circuit":"c"', count=2)
        assert run.end() == 0
        documents = [json.loads(line) for line in run.out]
    assert {document["schema"] for document in documents} == {"linkwitness.sample/1"}
    assert documents[0]["counts"]["lost"] == 0
    assert documents[0]["rtt"]["count"] == documents[0]["counts"]["received"]


@pytest.mark.parametrize(("level", "shown"), [("info", True), ("error", False)])
def test_log_level_is_heeded(tmp_path: Path, level: str, shown: bool) -> None:
    with Agent(write(tmp_path / "a", [circuit("c", udp(9))], log_level=level)) as run:
        run.line("c/udp (no_reply|rejected)")
        assert run.end() == 0
        assert any("measuring 1 circuits, 1 probes" in line for line in run.said) is shown


def silent_server() -> socket.socket:
    """Takes connections and never answers."""
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(16)
    return server


def busy(tmp_path: Path, ports: list[int], sink: socket.socket) -> Path:
    """A capacity run that would take a minute, and a sink that does not answer."""
    url = f"http://127.0.0.1:{sink.getsockname()[1]}"
    capacity = {"kind": "throughput", "port": ports[1], "every": "10m", "duration": "60s", "direction": "forward"}
    return write(
        tmp_path / "a",
        [circuit("c", udp(ports[0])), circuit("load", capacity)],
        reflector=reflector(*ports[:2]),
        sinks=[{"name": "dead", "url": url, "api": "v1", "database": "x", "timeout": "60s"}],
    )


def wait_for_load(run: Agent) -> None:
    """The run that loads the circuit is under way once nothing but the end of it is missing: it first comes at 8 s."""
    run.line(r"c/udp ok", count=15)


def test_a_run_in_progress_and_a_dead_sink_do_not_hold_up_the_stop(tmp_path: Path, ports: list[int]) -> None:
    with silent_server() as sink, Agent(busy(tmp_path, ports, sink)) as run:
        wait_for_load(run)
        run.send(signal.SIGTERM)
        assert run.process.wait(20) == 0, run.text
        run.ended()
        assert re.search(r"Sink dead: [0-9]+ samples not yet delivered", run.text)
        with run.reader() as reader:
            (record,) = reader.runs("load")
            assert (record.state, record.reason) == (RunState.FAILED, "cut short: the agent is stopping")
            assert reader.events()[0].kind == "stop"
    assert "Traceback" not in run.text


def test_a_second_interrupt_leaves_at_once(tmp_path: Path, ports: list[int]) -> None:
    with silent_server() as sink, Agent(busy(tmp_path, ports, sink)) as run:
        run.line(r"c/udp ok", count=3)
        run.send(signal.SIGINT)
        run.line("stopping: storing what was measured")
        run.send(signal.SIGINT)
        assert run.ended() == 130
        assert not any(line.startswith("Stopped.") for line in run.said)
        with run.reader() as reader:
            assert reader.series(), "what was measured before is there"


# what goes wrong at the start


def test_a_second_agent_on_the_store_names_the_first(tmp_path: Path, ports: list[int]) -> None:
    config = write(tmp_path / "a", [circuit("c", udp(ports[0]))])
    with Agent(config) as run:
        run.line("measuring 1 circuits")
        again = subprocess.run((*COMMAND, "run", "-c", config), capture_output=True, text=True, timeout=60, check=False)
        assert again.returncode == 1
        assert f"{run.process.pid}" in again.stderr
        assert again.stderr.startswith("error: ")
        assert "Traceback" not in again.stderr
        assert run.end() == 0


def test_a_store_that_cannot_be_written_is_a_plain_error(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").touch()
    config = write(tmp_path / "a", [circuit("c", udp(9))], store={"path": "file/store"})
    done = subprocess.run((*COMMAND, "run", "-c", config), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert str(tmp_path / "a" / "file") in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_configuration_it_says_where_one_is(tmp_path: Path) -> None:
    done = subprocess.run(
        (*COMMAND, "run", "-c", "nowhere.yaml"), capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "error: there is no configuration at nowhere.yaml"
    assert done.stderr.splitlines()[1].startswith("hint: name one with -c FILE")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "agent.yaml").touch()
    here = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    if not Path("/etc/linkwitness/agent.yaml").exists():
        done = subprocess.run(
            (*COMMAND, "run"), capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path, env=here
        )  # fmt: skip
        assert "linkwitness run -c config/agent.yaml" in done.stderr


def test_a_port_in_use_is_told_and_the_rest_runs(tmp_path: Path, ports: list[int]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", ports[0]))
        config = write(tmp_path / "a", [circuit("c", tcp(ports[1]))], reflector=reflector(*ports[:2]))
        with Agent(config) as run:
            (told,) = run.line("UDP echo does not answer")
            assert str(ports[0]) in told
            run.line("c/tcp ok")
            assert run.end() == 0


def test_a_contract_that_does_not_fit_is_told(tmp_path: Path) -> None:
    only_tcp = circuit("c", {"kind": "throughput", "port": 9, "every": "1h"}, contract="quick")
    config = write(tmp_path / "a", [only_tcp])
    (tmp_path / "a" / "contracts" / "quick.yaml").write_text(CONTRACT)
    with Agent(config) as run:
        run.line("circuit c, contract quick: objective loss: the circuit has no probe of kind stamp or")
        assert run.end() == 0


# reload


def test_a_reload_disturbs_nobody_it_does_not_name(tmp_path: Path, ports: list[int]) -> None:
    before = [circuit(name, udp(ports[0])) for name in ("kept", "changed", "removed")]
    after = [
        circuit("kept", udp(ports[0]), customer="ACME"), circuit("changed", udp(ports[0], "200ms")),
        circuit("added", udp(ports[0])),
    ]  # fmt: skip
    config = write(tmp_path / "a", before, reflector=reflector(*ports[:2]))
    with Agent(config) as run:
        run.line("kept/udp ok", count=3)
        write(tmp_path / "a", after, reflector=reflector(*ports[:2]))
        run.send(signal.SIGHUP)
        run.line("configuration reloaded: 1 circuits added, 1 removed, 1 started anew")
        told = len(run.out)
        run.line("kept/udp ok", after=told, count=3)
        run.line("changed/udp ok", after=told, count=2)
        run.line("added/udp ok", after=told, count=2)
        assert run.end() == 0, run.text
        with run.reader() as reader:
            kept = reader.read("kept", "udp", ("sent", "lost", "not_sent"), 0, 2**62)
            ends = kept.start_ns + kept.span_ns
            assert ends[:-1].tolist() == kept.start_ns[1:].tolist(), "a gap in a circuit nobody touched"
            assert set(kept.span_ns[1:-1].tolist()) == {SECOND}
            assert kept.column("sent")[1:-1].tolist() == pytest.approx([10] * (len(kept) - 2), abs=1)
            assert kept.column("lost").sum() == kept.column("not_sent").sum() == 0
            changed = reader.read("changed", "udp", ("sent", "lost"), 0, 2**62)
            assert changed.column("lost").sum() == 0, "a reload reads as loss"
            assert set(changed.column("sent").tolist()) & {5}
            last = {item.circuit: item.last_ns for item in reader.series()}
            assert last["removed"] < last["kept"]
            assert "added" in last
            assert [event.kind for event in reader.events(kind="reload")] == ["reload"]
    assert "Traceback" not in run.text


def test_a_broken_file_changes_nothing_and_every_mistake_is_named(tmp_path: Path, ports: list[int]) -> None:
    config = write(tmp_path / "a", [circuit("c", udp(ports[0]))], reflector=reflector(*ports[:2]))
    with Agent(config) as run:
        run.line("c/udp ok", count=2)
        config.write_text(config.read_text().replace("100ms", "5").replace("name: c", "nmae: c"))
        run.send(signal.SIGHUP)
        run.line("configuration refused, the old one stays in force")
        run.line(r"agent\.yaml:\d+:\d+: .*nmae")
        run.line(r"agent\.yaml:\d+:\d+: .*5 has no unit")
        told = len(run.out)
        run.line("c/udp ok", after=told, count=3)
        assert run.end() == 0
        with run.reader() as reader:
            (event,) = reader.events(kind="reload_refused")
            assert "nmae" in event.text
            columns = reader.read("c", "udp", (), 0, 2**62)
            assert (columns.start_ns + columns.span_ns)[:-1].tolist() == columns.start_ns[1:].tolist()


# the service manager


def test_the_service_manager_hears_every_state_in_its_order(tmp_path: Path, ports: list[int], manager: Manager) -> None:
    config = write(tmp_path / "a", [circuit("c", udp(ports[0]))], reflector=reflector(*ports[:2]))
    with Agent(config, environment=manager.environment) as run:
        ready = manager.next("READY=1")
        assert manager.heard == [ready], "nothing is told before it measures"
        assert "STATUS=1 circuits, 1 probes; 0 samples since the start" in ready
        for _ in range(3):
            manager.next("WATCHDOG=1")
        manager.next("STATUS=1 circuits")
        run.send(signal.SIGHUP)
        reloading = manager.next("RELOADING=1\n")
        assert int(reloading.partition("MONOTONIC_USEC=")[2]) > 0
        manager.next("READY=1")
        run.send(signal.SIGTERM)
        manager.next("STOPPING=1")
        assert run.ended() == 0
        assert run.out == [], "under a service manager the journal gets notices only"


class StillView:
    """Looks on without a word; `overviews` counts."""

    gone = False

    def __init__(self) -> None:
        self.shown = threading.Semaphore(0)
        self.latest: Overview | None = None

    def started(self, overview: Overview) -> None:
        self.latest = overview

    def refresh(self, overview: Callable[[], Overview], fresh: Iterable[Sample]) -> None:  # noqa: ARG002 # a view
        self.latest = overview()
        self.shown.release()

    def notice(self, text: str) -> None: ...
    def warn(self, text: str) -> None: ...


class BrokenView(StillView):
    def refresh(self, overview: Callable[[], Overview], fresh: Iterable[Sample]) -> None:
        super().refresh(overview, fresh)
        raise ValueError("nothing can be drawn")


@pytest.fixture
def inside(tmp_path: Path, ports: list[int], manager: Manager) -> Iterator[Callable[[StillView], Any]]:
    """A daemon in a thread of the test, for faults that can only be put in from inside."""
    running: list[tuple[Daemon, threading.Thread]] = []
    results: list[object] = []

    def begin(view: StillView) -> Daemon:
        config = write(tmp_path / "a", [circuit("c", udp(ports[0]))], reflector=reflector(*ports[:2]))
        daemon = Daemon(config, clock=SystemClock(), view=view, notifier=Notifier(manager.environment))
        thread = threading.Thread(target=lambda: results.append(daemon.run()))
        running.append((daemon, thread))
        thread.start()
        manager.next("READY=1")
        return daemon

    yield begin
    for daemon, thread in running:
        daemon.stop()
        thread.join(30)
        assert not thread.is_alive()
        assert len(results) == len(running), "it did not end in order"


@pytest.mark.parametrize("part", ["_engine", "_store", "_schedule", "_watch"])
def test_the_watchdog_starves_when_a_part_stands_still(
    inside: Callable[[StillView], Any], manager: Manager, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent.daemon, "STALLED_NS", 5 * SECOND)
    view = StillView()
    daemon = inside(view)
    manager.next("WATCHDOG=1")
    now = daemon._clock.monotonic()
    monkeypatch.setattr(getattr(daemon, part), "progress", lambda: now - 60 * SECOND)
    assert view.shown.acquire(timeout=PATIENCE_S)
    assert view.shown.acquire(timeout=PATIENCE_S)
    manager.drain()
    for _ in range(3):
        assert view.shown.acquire(timeout=PATIENCE_S)
    assert not [message for message in manager.drain() if message.startswith("WATCHDOG")]
    assert view.latest is not None
    assert any(trouble.startswith("no progress: ") for trouble in view.latest.troubles)


def test_what_cannot_be_drawn_does_not_stop_the_measuring(
    inside: Callable[[StillView], Any], manager: Manager, caplog: pytest.LogCaptureFixture
) -> None:
    view = BrokenView()
    inside(view)
    for _ in range(3):
        manager.next("WATCHDOG=1")
        assert view.shown.acquire(timeout=PATIENCE_S)
    assert [record.message for record in caplog.records].count("the view failed") == 1


# whoever reads what it prints


def test_a_reader_that_goes_does_not_end_it(tmp_path: Path, ports: list[int]) -> None:
    config = write(tmp_path / "a", [circuit("c", udp(ports[0]))], reflector=reflector(*ports[:2]))
    reading, writing = os.pipe()
    os.close(reading)
    with Agent(config, "--output", "lines", stdout=writing) as run:
        os.close(writing)
        run.line("standard output: nothing is shown any more: Broken pipe; measuring goes on")
        wait_for_rows(run, 4)
        assert run.end() == 0, run.text
        assert run.said[-3].startswith("Stopped. Kept ")


def test_a_standard_output_that_was_never_open_is_no_obstacle(tmp_path: Path, ports: list[int]) -> None:
    config = write(tmp_path / "a", [circuit("c", udp(ports[0]))], reflector=reflector(*ports[:2]))
    with Agent(config, through=("sh", "-c", 'exec "$@" >&-', "sh")) as run:
        run.line("measuring 1 circuits")
        assert run.end() == 0, run.text
        assert "Traceback" not in run.text


def wait_for_rows(run: Agent, rows: int) -> None:
    """Until so many samples more are stored."""
    with run.reader() as reader:
        first = sum(item.rows for item in reader.series())
        clock = SystemClock()
        deadline = clock.monotonic() + int(PATIENCE_S * SECOND)
        while sum(item.rows for item in reader.series()) < first + rows:
            assert clock.monotonic() < deadline, run.text
            clock.sleep_until(clock.monotonic() + SECOND // 10)


def test_a_pipe_that_nobody_reads_holds_up_neither_the_engine_nor_the_watchdog(
    tmp_path: Path, ports: list[int], manager: Manager
) -> None:
    circuits = [circuit(f"c{number}", udp(ports[0])) for number in range(20)]
    config = write(tmp_path / "a", circuits, reflector=reflector(*ports[:2]))
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    with Agent(config, "--output", "json", stdout=writing, environment=manager.environment) as run:
        os.close(writing)
        manager.next("READY=1")
        wait_for_rows(run, 40)
        for _ in range(6):
            manager.next("WATCHDOG=1")
        wait_for_rows(run, 40)
        assert run.end(signal.SIGTERM) == 0, run.text
        with run.reader() as reader:
            columns = reader.read("c7", "udp", ("sent", "lost", "not_sent"), 0, 2**62)
            assert (columns.start_ns + columns.span_ns)[:-1].tolist() == columns.start_ns[1:].tolist()
            assert columns.column("lost").sum() == 0
    assert 0 < len(os.read(reading, 1 << 20)) <= 4096
    os.close(reading)


def test_a_terminal_that_hangs_up_ends_it_in_order(tmp_path: Path, ports: list[int]) -> None:
    config = write(tmp_path / "a", [circuit("c", udp(ports[0]))], reflector=reflector(*ports[:2]))
    master, slave = pty.openpty()
    with Agent(config, stdout=slave, environment={"TERM": "xterm", "COLUMNS": "100", "LINES": "30"}) as run:
        os.close(slave)
        seen = b""
        while b"LATENCY" not in seen:
            seen += os.read(master, 4096)
        os.close(master)
        assert run.ended() == 0
        with run.reader() as reader:
            assert reader.events()[0].kind == "stop"


def test_last_words_do_not_hide_what_was_lost(tmp_path: Path) -> None:
    from agent.live import Totals
    from agent.overview import Kept
    from agent.store import Store, StoreReader

    store = Store.open(tmp_path / "store", clock=SystemClock(), site="here")
    store.close()
    with StoreReader.open(tmp_path / "store") as reader:
        text = last_words(Kept(Totals(10, 100), reader.status(), lost=3), Path("agent.yaml"))
    assert "Kept 7 samples of 100 packets" in text
    assert "3 samples could not be kept" in text
