"""A disk that takes five seconds for every sync: probes leave as punctually as ever, commits grow, nothing is lost."""

from __future__ import annotations

import contextlib
import statistics
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from agent.store import Store, StoreReader
from probes.core.clock import MILLISECOND, SECOND, SystemClock
from probes.core.model import Sample
from probes.engine.loop import Engine
from probes.engine.streams import StreamSpec
from probes.reflect.echo import EchoReflector
from tests.faults.injection import traced

SYNC_S: Final = 5
STREAMS: Final = 40
LATE_NS: Final = 100 * MILLISECOND
TRACED: Final = "fdatasync,fsync,sendmmsg"


@dataclass
class Sends:
    """Samples by which packets are judged: how late the middle one of each interval left, how late the latest."""

    samples: list[Sample] = field(default_factory=list)

    def median_ms(self) -> float:
        return statistics.median(sample.quality.lateness_p50_ns or 0 for sample in self.samples) / MILLISECOND

    def p99_ms(self) -> float:
        return float(np.percentile([sample.quality.lateness_max_ns or 0 for sample in self.samples], 99)) / MILLISECOND

    def late(self) -> float:
        """Share of intervals whose latest packet left more than LATE_NS after it was due."""
        return sum((sample.quality.lateness_max_ns or 0) > LATE_NS for sample in self.samples) / len(self.samples)

    def __str__(self) -> str:
        return f"{self.median_ms():.2f} ms p50, {self.p99_ms():.2f} ms p99 of {len(self.samples)} intervals"


@contextlib.contextmanager
def measuring(keep: Callable[[Sequence[Sample]], None]) -> Iterator[Engine]:
    """An engine that probes over loopback."""
    clock = SystemClock()
    reflector = EchoReflector("127.0.0.1", 0, allow=["127.0.0.0/8"], clock=clock)
    reflector.start()
    engine = Engine(clock=clock, report=keep, span_ns=SECOND)
    spec = {"kind": "udp", "address": "127.0.0.1", "host": "here", "port": reflector.port}
    refused = engine.add(
        [StreamSpec(f"C{n}", "udp", every_ns=100 * MILLISECOND, timeout_ns=SECOND, **spec) for n in range(STREAMS)]
    )
    assert not refused
    engine.start()
    try:
        yield engine
    finally:
        engine.close()
        reflector.close()


def sends(store: Store, seconds: float, place: Path, thread: int | None, rule: str) -> tuple[Sends, float]:
    """What leaves in so many seconds while this thread suffers from the rule; and samples in a commit."""
    found, kept = Sends(), threading.Event()

    def keep(samples: Sequence[Sample]) -> None:
        found.samples += samples
        store.append(samples)

    before = store.counters()
    with measuring(keep) as engine, contextlib.ExitStack() as stack:
        task = thread if thread is not None else engine._thread.native_id  # type: ignore[union-attr] # it is started
        assert task is not None
        if rule:
            stack.enter_context(traced(task, place / "strace.log", rule=rule, calls=TRACED, follow=False))
        kept.wait(seconds)
    assert store.flush(60.0)
    after = store.counters()
    return found, (after["committed"] - before["committed"]) / (after["commits"] - before["commits"])


@pytest.mark.root("strace")
@pytest.mark.serial
def test_a_sync_of_five_seconds_delays_no_probe(tmp_path: Path, figure: Callable[[str], None]) -> None:
    store = Store.open(tmp_path / "store", clock=SystemClock(), site="lab")
    writer = store._thread.native_id
    plain, usual = sends(store, 5.0, tmp_path, writer, "")
    slow, grown = sends(store, 2.2 * SYNC_S, tmp_path, writer, f"fdatasync:delay_enter={SYNC_S * 1_000_000}")
    with StoreReader.open(tmp_path / "store") as reader:
        rows = reader.status().rows
    assert store.close(30.0)
    figure(
        f"fdatasync of {SYNC_S} s: packets leave {slow} late; without: {plain}; {grown:.0f} samples a commit instead "
        f"of {usual:.0f}; {len(plain.samples) + len(slow.samples) - rows} samples lost"
    )
    assert rows == len(plain.samples) + len(slow.samples)
    assert slow.median_ms() < plain.median_ms() + 5
    assert slow.late() < plain.late() + 0.05
    assert grown > 2 * usual


@pytest.mark.root("strace")
@pytest.mark.serial
def test_the_harness_catches_a_delay_of_the_probes(tmp_path: Path) -> None:
    """The thread that sends is held up for 200 ms every tenth time."""
    store = Store.open(tmp_path / "store", clock=SystemClock(), site="lab")
    found, _ = sends(store, 4.0, tmp_path, None, "sendmmsg:delay_enter=200000:when=5+10")
    assert store.close(30.0)
    assert found.late() > 0.3
