"""A store, its delivery and a strict server that misbehaves as told; and the books afterwards, value by value."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

from agent.config import SecretSource, SinkSettings
from agent.deliver import Delivery, SinkStatus
from agent.deliver.worker import POLL_NS
from agent.sla.samples.columns import INTEGER_COLUMNS
from agent.store import Store, StoreReader
from probes.core.arrays import ABSENT
from probes.core.clock import MILLISECOND, SECOND, SystemClock
from tests.fakes.line_parser import Value, parse
from tests.fakes.point_server import Dialect, PointServer
from tests.fakes.scripted_server import Answer
from tests.fakes.series import sample_series
from tests.fakes.short_clock import ShortClock

SECRET: Final = "s3cr3t-token-0123456789"
PATIENCE_S = 60.0
MEASUREMENTS: Final = {"icmp": "ping", "udp": "udp_echo", "tcp": "net_response", "throughput": "throughput"}
Journal = list[tuple[str, object]]
Place = tuple[str, str, str, int]
"""Of a sample in a database: measurement, circuit, probe, ns."""


def expected(path: Path, *, text: bool = True) -> dict[Place, dict[str, Value]]:
    """What the store has, as a database must have it: integers and histogram of each sample."""
    found: dict[Place, dict[str, Value]] = {}
    with StoreReader.open(path) as reader:
        for item in reader.series():
            columns = reader.read(item.circuit, item.probe, (*INTEGER_COLUMNS, "histogram"), 0, 2**62)
            rows = {name: columns.column(name).tolist() for name in INTEGER_COLUMNS}
            for row, start in enumerate(rows["start_ns"]):
                fields: dict[str, Value] = {
                    name: values[row] for name, values in rows.items() if values[row] != ABSENT and name != "start_ns"
                }
                histogram = None if columns.histogram is None else columns.histogram[row]
                if histogram is not None and text:
                    fields["histogram"] = histogram.to_text()
                found[MEASUREMENTS[item.kind], item.circuit, item.probe, start] = fields
    return found


@dataclass
class Books:
    """What is wrong: lost (not in the database), strange (only there), wrong (another value), twice."""

    samples: int
    lost: list[object] = field(default_factory=list)
    strange: list[object] = field(default_factory=list)
    wrong: list[object] = field(default_factory=list)
    twice: list[object] = field(default_factory=list)
    sent_again: int = 0

    @property
    def balanced(self) -> bool:
        return not (self.lost or self.strange or self.wrong or self.twice)

    def __str__(self) -> str:
        found = {name: getattr(self, name)[:3] for name in ("lost", "strange", "wrong", "twice") if getattr(self, name)}
        return f"{self.samples} samples, {found or 'each once'}, {self.sent_again} sent again"


def books(path: Path, server: PointServer, *, without: Collection[Place] = ()) -> Books:
    """Compare the store with the database. without: samples that are parked."""
    wanted = {key: value for key, value in expected(path).items() if key not in without}
    found = Books(len(wanted), sent_again=server.again.total())
    there: dict[Place, dict[str, Value]] = {}
    for (measurement, tags, time_ns), fields in server.points.items():
        named = dict(tags)
        key = (measurement, named["circuit"], named["probe"], time_ns)
        if key in there:
            found.twice.append(key)
        there[key] = fields
    found.lost = [key for key in wanted if key not in there]
    found.strange = [key for key in there if key not in wanted]
    names = {*INTEGER_COLUMNS, "histogram"}
    for key in wanted.keys() & there.keys():
        back = {name: value for name, value in there[key].items() if name in names}
        if back != wanted[key]:
            differing = {name for name in back.keys() | wanted[key].keys() if back.get(name) != wanted[key].get(name)}
            found.wrong.append((key, differing))
    found.wrong += server.changed
    return found


class Rig:
    """A context manager. Samples are appended by `feed`; `run` starts the delivery; `settle` waits for the end."""

    def __init__(
        self, home: Path, *, dialect: Dialect = "2.x", batch: int = 20, timeout_ns: int = 5 * SECOND, **more: Any
    ) -> None:
        self.path = home / "store"
        self.journal: Journal = []
        self.clock = ShortClock(POLL_NS, self.journal)
        self.secret = home / "token"
        self.dialect: Dialect = dialect
        self._batch, self._timeout_ns, self._more = batch, timeout_ns, more
        self._stack = ExitStack()
        self._samples = sample_series(1 << 40)
        self.delivery: Delivery | None = None
        home.mkdir(exist_ok=True)
        self.secret.write_text(SECRET)
        self.secret.chmod(0o600)

    def __enter__(self) -> Rig:
        self.store = Store.open(self.path, clock=SystemClock(), site="lab")
        return self

    def __exit__(self, *_: object) -> None:
        if self.delivery is not None:
            self.delivery.close(0)
        self._stack.close()
        self.store.close(10)

    def serve(self, faults: Iterable[Any] = (), **more: Any) -> PointServer:
        values = {"dialect": self.dialect, "token": SECRET, "journal": self.journal}
        return self._stack.enter_context(PointServer(faults, **{**values, **more}))

    def sink(self, url: str, name: str = "central", **more: Any) -> SinkSettings:
        values: dict[str, Any] = {
            "database": "sla", "bucket": "sla", "org": "isp", "batch": self._batch, "timeout_ns": self._timeout_ns,
            "token": SecretSource(file=self.secret), **self._more, **more,
        }  # fmt: skip
        return SinkSettings(name, url, "v1" if self.dialect == "1.x" else "v2", **values)

    def feed(self, count: int) -> None:
        """Samples go on where those before ended."""
        self.store.append(list(islice(self._samples, count)))
        assert self.store.flush(30)

    def run(self, *sinks: SinkSettings) -> Delivery:
        self.delivery = Delivery(sinks, self.store, self.path, {}, "lab", self.clock)
        self.delivery.start()
        return self.delivery

    def status(self) -> SinkStatus:
        assert self.delivery is not None
        return self.delivery.status()[0]

    def settle(self, *names: str) -> None:
        """Until every sink has everything."""
        assert self.store.flush(30)
        with StoreReader.open(self.path) as reader:
            newest = reader.status().newest_seq
        until(
            lambda: all(self.store.cursor(name) >= newest for name in names or ("central",)),
            lambda: f"not delivered: {self.status()}",
        )

    def events(self) -> list[str]:
        assert self.store.flush(30)
        with StoreReader.open(self.path) as reader:
            return [event.text for event in reader.events(kind="sink")]

    def parked(self, sink: str = "central") -> dict[Place, str]:
        """What is parked -> words of the server."""
        assert self.store.flush(30)
        found = {}
        with StoreReader.open(self.path) as reader:
            for line in reader.parked(sink, 1_000_000):
                point = parse(line.line)
                place = (point.measurement, point.tags["circuit"], point.tags["probe"], point.time_ns)
                assert place not in found, "parked twice"
                found[place] = line.reason
        return found

    def pauses(self) -> list[int]:
        return [int(str(value)) for what, value in self.journal if what == "wait"]


def until(condition: Callable[[], bool], what: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(what())
        threading.Event().wait(0.005)


def impatient(journal: Journal) -> list[str]:
    """Where a request followed one that had failed without a pause between, or with a shorter one than asked for.

    What ends a search is no such failure: a refusal (400, 413, 422) may be followed at once.
    """
    found, owed = [], 0
    for number, (what, value) in enumerate(journal):
        if what == "wait":
            owed = 0 if int(str(value)) >= owed else owed
            continue
        if owed:
            found.append(f"entry {number}: a request although {owed / 1e9:g} s were to go by first")
        owed = _owed(value)
    return found


def _owed(answer: object) -> int:
    if not isinstance(answer, Answer):
        return 0 if getattr(answer, "kind", "") in ("endless", "two answers") else MILLISECOND
    if answer.status < 300 or answer.status in (400, 413, 422):
        return 0
    return MILLISECOND
