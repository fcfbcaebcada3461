"""What is known right now: the newest sample of every probe and the newest verdict of every circuit. Thread-safe."""

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import chain, repeat
from operator import attrgetter

from agent.sla.verdict import Verdict
from probes.core.block import SampleBlock
from probes.core.model import OneWay, Sample

Key = tuple[str, str]
FRESH = 10_000
_NAMES = tuple(item.name for item in fields(Sample))
_values = attrgetter(*_NAMES)
_LET_GO = tuple(_NAMES.index(name) for name in ("packets", "histogram"))
_ONE_WAY = tuple(_NAMES.index(name) for name in ("forward", "backward"))


@dataclass(frozen=True, slots=True)
class LiveRow:
    """One probe of one circuit as the terminal shows it."""

    circuit: str
    probe: str
    kind: str
    sample: Sample | None
    """newest sample; None before the first interval is over"""
    refused: str | None
    """why this probe does not run"""
    verdicts: tuple[Verdict, ...]
    """of the circuit, all objectives; empty while there is none"""
    judged: bool
    """False where the circuit has no contract"""
    next_run_ns: int | None = None
    """UTC of the next run of a flow probe; None for a stream"""
    running: bool = False
    """a flow probe's run is in progress"""


@dataclass(frozen=True, slots=True)
class Totals:
    """What was recorded since the start."""

    samples: int
    packets: int


class Live:
    """Collects samples and verdicts as they come; `rows` is what to draw."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._newest: dict[Key, tuple[Sequence[Sample], int]] = {}
        """where the newest sample of each probe stands"""
        self._verdicts: dict[str, tuple[Verdict, ...]] = {}
        self._fresh: deque[Sequence[Sample]] = deque()
        self._waiting = 0
        """samples in `_fresh`"""
        self._samples = 0
        self._packets = 0

    def take(self, samples: Sequence[Sample]) -> None:
        """The packets themselves are let go: the store has them."""
        if isinstance(samples, SampleBlock):
            light: Sequence[Sample] = samples.light()
            keys = [series[:2] for series in samples.series]
            packets = int(samples.column("sent").sum())
        else:
            light = [_light(sample) for sample in samples]
            keys = [(sample.circuit, sample.probe) for sample in samples]
            packets = sum(sample.counts.sent for sample in samples if sample.counts)
        with self._lock:
            self._newest.update(zip(keys, zip(repeat(light), range(len(light)), strict=False), strict=True))
            self._fresh.append(light)
            self._waiting += len(light)
            while self._waiting - len(self._fresh[0]) >= FRESH:
                self._waiting -= len(self._fresh.popleft())
            self._samples += len(light)
            self._packets += packets

    def fresh(self) -> Iterator[Sample]:
        """Samples since the last call, oldest first; the newest FRESH of them at least."""
        with self._lock:
            several, self._fresh, self._waiting = self._fresh, deque(), 0
        return chain.from_iterable(several)

    def judge(self, circuit: str, verdicts: Sequence[Verdict]) -> None:
        with self._lock:
            self._verdicts[circuit] = tuple(verdicts)

    def forget(self, circuits: Iterable[str]) -> None:
        gone = set(circuits)
        with self._lock:
            self._newest = {key: place for key, place in self._newest.items() if key[0] not in gone}
            self._verdicts = {circuit: verdicts for circuit, verdicts in self._verdicts.items() if circuit not in gone}

    def newest(self, key: Key) -> Sample | None:
        with self._lock:
            found = self._newest.get(key)
            if found is None:
                return None
            samples, number = found
            sample = samples[number]
            if isinstance(samples, SampleBlock):  # who looks on asks every second: made once
                self._newest[key] = ([sample], 0)
            return sample

    def verdicts(self, circuit: str) -> tuple[Verdict, ...]:
        with self._lock:
            return self._verdicts.get(circuit, ())

    def totals(self) -> Totals:
        with self._lock:
            return Totals(self._samples, self._packets)


def _light(sample: Sample) -> Sample:
    """Without its arrays. Called for every sample: a fifth of what dataclasses.replace takes."""
    values = list(_values(sample))
    for place in _LET_GO:
        values[place] = None
    for place in _ONE_WAY:
        one = values[place]
        if isinstance(one, OneWay) and one.histogram is not None:
            values[place] = replace(one, histogram=None)
    return Sample(*values)
