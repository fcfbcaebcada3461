"""Runs streams of the engine in this process to their limits and hands back what it reported."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from probes.core.clock import MILLISECOND, SystemClock
from probes.core.model import PacketState, Sample
from probes.engine.loop import Engine
from probes.engine.streams import StreamSpec


def run_engine(specs: Sequence[StreamSpec], *, within_s: float = 60) -> dict[str, list[Sample]]:
    """Samples by probe. Every stream needs a limit; none may be refused."""
    samples: list[Sample] = []
    engine = Engine(clock=SystemClock(), report=samples.extend)
    engine.start()
    refused = engine.add(specs)
    assert not refused, refused
    pause = threading.Event()
    for _ in range(round(within_s / 0.05)):
        if engine.done():
            break
        pause.wait(0.05)
    done = engine.done()
    engine.close()
    assert done, "the engine did not end its streams"
    found: dict[str, list[Sample]] = {}
    for sample in sorted(samples, key=lambda sample: sample.start_ns):
        found.setdefault(sample.probe, []).append(sample)
    return found


def total(samples: Sequence[Sample], name: str) -> int:
    """One count over all samples."""
    return sum(getattr(sample.counts, name) for sample in samples if sample.counts)


def rtt_ms(samples: Sequence[Sample]) -> np.ndarray:
    """Round trips of the answered packets."""
    parts = [s.packets.rtt_ns[s.packets.state == PacketState.ANSWERED] for s in samples if s.packets is not None]
    return np.concatenate(parts) / MILLISECOND
