"""What is known right now: the newest sample of every probe and the newest verdict of every circuit. Thread-safe."""

import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from operator import attrgetter

from agent.sla.verdict import Verdict
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
        self._newest: dict[Key, Sample] = {}
        self._verdicts: dict[str, tuple[Verdict, ...]] = {}
        self._fresh: deque[Sample] = deque(maxlen=FRESH)
        self._samples = 0
        self._packets = 0

    def take(self, samples: Iterable[Sample]) -> None:
        """The packets themselves are let go: the store has them."""
        light = [_light(sample) for sample in samples]
        with self._lock:
            for sample in light:
                self._newest[sample.circuit, sample.probe] = sample
                self._fresh.append(sample)
                self._samples += 1
                self._packets += sample.counts.sent if sample.counts else 0

    def fresh(self) -> list[Sample]:
        """Samples since the last call, oldest first; at most FRESH, then the oldest are not shown."""
        with self._lock:
            samples = list(self._fresh)
            self._fresh.clear()
        return samples

    def judge(self, circuit: str, verdicts: Sequence[Verdict]) -> None:
        with self._lock:
            self._verdicts[circuit] = tuple(verdicts)

    def forget(self, circuits: Iterable[str]) -> None:
        gone = set(circuits)
        with self._lock:
            self._newest = {key: sample for key, sample in self._newest.items() if key[0] not in gone}
            self._verdicts = {circuit: verdicts for circuit, verdicts in self._verdicts.items() if circuit not in gone}

    def newest(self, key: Key) -> Sample | None:
        with self._lock:
            return self._newest.get(key)

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
