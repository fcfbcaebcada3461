"""Why time was not measured: the agent's own records, samples that do not count, and what nobody recorded. Pure.

Missing time with a record is our own failure, which says nothing about the circuit: the contract's coverage decides
whether the rest may stand for it. Missing time without one may be anything, a sample taken away included: it decides
nothing, and no verdict rests on its absence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from agent.sla.samples.columns import SampleColumns
from agent.sla.samples.measured import feeds_verdict, held
from agent.sla.samples.texts import Texts
from agent.sla.time.spans import NOWHERE, Spans
from agent.sla.words.wording import spoken
from probes.core.clock import SECOND
from probes.core.model import SampleState

BESIDE_NS: Final = 30 * SECOND
"""A gap takes with it what had been measured and was not kept yet, and the time until the streams run again."""
BEFORE: Final = "before the first sample"
SHARED_FATE: Final = "all circuits failed at once"
UNRECORDED: Final = "without a record"
_WORDS: Final = {
    "stopped": "agent stopped",
    "crashed": "agent crashed",
    "frozen": "agent frozen",
    "overflow": "store could not keep up",
    "read-only": "disk read-only",
    "damaged": "store damaged",
    "restored": "store restored",
    "clock set back": "measured twice, clock set back",
}
"""What a reason of the store is called in a sentence, where it does not speak for itself."""


@dataclass(frozen=True, slots=True)
class Gap:
    """This agent measured or kept nothing in [start_ns, end_ns), UTC ns; reason as recorded.

    probe: the one it is about, None for all. A run that did not take place begins and ends when it was due.
    """

    start_ns: int
    end_ns: int
    reason: str
    probe: str | None = None

    def taken(self, after_ns: int) -> tuple[int, int]:
        """The time it explains; a run that did not take place, until the next one is due."""
        if self.probe is not None:
            return self.start_ns, self.end_ns + after_ns
        return self.start_ns - BESIDE_NS, self.end_ns + max(after_ns, BESIDE_NS)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is known about this agent beside its samples: its gaps, and when all its circuits failed at once."""

    gaps: tuple[Gap, ...] = ()
    shared: Spans = NOWHERE

    def of(self, probe: str) -> Circumstances:
        """Those that concern this probe."""
        return replace(self, gaps=tuple(gap for gap in self.gaps if gap.probe in (None, probe)))

    def recorded(self, after_ns: int = 0) -> Spans:
        """All time there is a record for, and after_ns after each gap: until the first attempt is due."""
        return Spans.of(gap.taken(after_ns) for gap in self.gaps) | self.shared


NOTHING_KNOWN: Final = Circumstances()


@dataclass(frozen=True, slots=True)
class Cause:
    """So much time was not measured for this reason."""

    reason: str
    ns: int


def causes(missing: Spans, columns: SampleColumns, known: Circumstances, stands_for_ns: int) -> tuple[Cause, ...]:
    """Each ns of `missing` under one reason, longest first, what has no record last; nothing for no time."""
    if not len(missing):
        return ()
    exact = _by_reason(known.gaps, lambda gap: (gap.start_ns, gap.end_ns))
    beside = _by_reason(known.gaps, lambda gap: gap.taken(stands_for_ns))
    impaired = columns.state == SampleState.IMPAIRED.code
    claims = [
        (SHARED_FATE, known.shared),
        *exact,
        *_by_row(columns, stands_for_ns),
        ("host in trouble or loading the circuit", held(columns, impaired, stands_for_ns)),
        ("nothing could be sent or kept", held(columns, ~impaired & ~feeds_verdict(columns), stands_for_ns)),
        *beside,
    ]
    taken: dict[str, int] = {}
    for reason, spans in claims:
        part = missing & spans
        if len(part):
            taken[reason] = taken.get(reason, 0) + part.length_ns
            missing = missing - part
    found = [Cause(reason, ns) for reason, ns in taken.items()]
    found.sort(key=lambda cause: -cause.ns)
    return (*found, *((Cause(UNRECORDED, missing.length_ns),) if len(missing) else ()))


def _by_row(columns: SampleColumns, stands_for_ns: int) -> list[tuple[str, Spans]]:
    """Rows that say nothing of the direction asked for, by why."""
    if columns.withheld is None:
        return []
    told = Texts.of(columns.withheld)
    return [
        (word, held(columns, told.code == code, stands_for_ns))
        for code, word in enumerate(told.words, 1)
        if (told.code == code).any()
    ]


def _by_reason(gaps: Iterable[Gap], extent: Callable[[Gap], tuple[int, int]]) -> list[tuple[str, Spans]]:
    pairs: dict[str, list[tuple[int, int]]] = {}
    for gap in gaps:
        pairs.setdefault(_WORDS.get(gap.reason, gap.reason), []).append(extent(gap))
    return [(reason, Spans.of(each)) for reason, each in pairs.items()]


def told(found: Sequence[Cause]) -> str:
    """`2 h 10 min not measured: agent stopped 1 h 50 min, disk full 20 min`."""
    total = sum(cause.ns for cause in found)
    return f"{spoken(total)} not measured: {', '.join(f'{cause.reason} {spoken(cause.ns)}' for cause in found)}"


def evidence(found: Sequence[Cause]) -> tuple[Mapping[str, int | str], ...]:
    return tuple({"reason": cause.reason, "ns": cause.ns} for cause in found)
