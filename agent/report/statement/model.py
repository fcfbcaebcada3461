"""The statement both parties sign: every number of a report, exact and as printed. Types only. Pure.

What stands in Content is the same for both parties; its SHA-256 proves that. Only the summary and the order differ.
The JSON form of a report is this tree, name by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from agent.report.statement.rows import (
    ChronicRow,
    CreditNote,
    DisputeRow,
    ExclusionRow,
    Fact,
    Figure,
    IncidentRow,
    Instant,
    PartyRow,
    RepairRow,
    Stretch,
    TimeAccount,
    WindowRow,
)

Audience = Literal["provider", "customer"]
State = Literal["met", "breached", "inconclusive", "on_track", "at_risk", "unmeasurable"]


@dataclass(frozen=True, slots=True)
class Header:
    """What the report is about. facts: class, ends, rates, charge, who measures, as the contract states them."""

    contract: str
    version: str
    title: str
    circuit: str
    period: WindowRow
    as_of: Instant
    first_sample: Instant | None
    parties: tuple[PartyRow, ...]
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class Tally:
    """How many results are in which state."""

    results: int
    met: int
    breached: int
    inconclusive: int
    on_track: int
    at_risk: int
    unmeasurable: int


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """What the target allows. share: used / allowed, null where nothing is allowed. projection: the value of the whole
    window if it goes on as it went, while it is open."""

    of: str
    allowed: Figure
    used: Figure
    left: Figure
    projection: Figure | None
    share: Fraction | None
    text: str


@dataclass(frozen=True, slots=True)
class Result:
    """One promise in one window. margin: how far on the good side of the target, negative beyond it. best, worst: the
    value if all that was not measured had been good, or bad."""

    objective: str
    metric: str
    name: str
    clause: str
    state: State
    state_text: str
    estimated: bool
    remark: str
    comparison: Literal["max", "min"]
    target: Figure
    target_text: str
    value: Figure
    best: Figure
    worst: Figure
    margin: Figure
    coverage: Figure
    coverage_asked: Figure
    window: WindowRow
    budget: BudgetRow | None
    probe: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Trend:
    """Values over the period for a small drawing: of each window, or of each day for orientation only."""

    objective: str
    of: Literal["windows", "days"]
    points: tuple[Fraction | None, ...]
    target: Fraction | None


@dataclass(frozen=True, slots=True)
class BucketRow:
    """Packets of one bucket of the drawing; percentiles of round-trip time in ns, null without answers."""

    start_ns: int
    sent: int
    lost: int
    answered: int
    p0_ns: int | None
    p5_ns: int | None
    p25_ns: int | None
    p50_ns: int | None
    p75_ns: int | None
    p95_ns: int | None
    p100_ns: int | None


@dataclass(frozen=True, slots=True)
class ClockChange:
    """The zone moves its clocks."""

    at_ns: int
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Round-trip time, loss and availability over the period on one axis.

    based_on: histograms give every percentile; extremes are smallest, largest and mean (in p50_ns) of the samples,
    where no histograms are kept. until_ns: measured up to here in an open period.
    """

    circuit: str
    probe: str
    kind: str
    time_zone: str
    start_ns: int
    end_ns: int
    until_ns: int
    bucket_ns: int
    based_on: Literal["histograms", "extremes"]
    scale: Literal["log", "linear"]
    buckets: tuple[BucketRow, ...]
    down: tuple[Stretch, ...]
    excluded: tuple[Stretch, ...]
    unknown: tuple[Stretch, ...]
    clock_changes: tuple[ClockChange, ...]


@dataclass(frozen=True, slots=True)
class Method:
    """How one number came about: definition with its standard, the rule in a formula, the exact numbers it rests on."""

    objective: str
    window: str
    name: str
    definition: str
    formula: str
    inputs: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class SeriesPrint:
    """The samples of one probe that were used. used_for: judging, or drawing only."""

    circuit: str
    probe: str
    kind: str
    used_for: Literal["judging", "drawing"]
    rows: int
    first: Instant | None
    end: Instant | None
    columns: tuple[str, ...]
    sha256: str


@dataclass(frozen=True, slots=True)
class Digest:
    """SHA-256 of a file that the report rests on; the empty text where there is no such file."""

    of: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Provenance:
    """By which one sees that two reports rest on the same data, terms and rules."""

    software: str
    time_zone_rules: str
    data_sha256: str
    series: tuple[SeriesPrint, ...]
    digests: tuple[Digest, ...]


@dataclass(frozen=True, slots=True)
class Content:
    """Everything both parties see alike."""

    header: Header
    tally: Tally
    results: tuple[Result, ...]
    trends: tuple[Trend, ...]
    time: tuple[TimeAccount, ...]
    exclusions: tuple[ExclusionRow, ...]
    incidents: tuple[IncidentRow, ...]
    repair: RepairRow
    credit: CreditNote
    chronic: tuple[ChronicRow, ...]
    disputes: tuple[DisputeRow, ...]
    chart: Chart | None
    methods: tuple[Method, ...]
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class Summary:
    """The first thing one reads, for one audience. tone: of the worst there is."""

    headline: str
    sentences: tuple[str, ...]
    tone: Literal["good", "bad", "warn", "unknown"]


Section = Literal[
    "results", "credit", "chart", "incidents", "exclusions", "time", "chronic", "disputes", "signatures", "methods",
    "provenance",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Statement:
    """A report for one audience. content_sha256: of the canonical JSON of `content`, the same for both audiences.
    command: what makes this very report again. source: where the samples were read."""

    audience: Audience
    summary: Summary
    sections: tuple[Section, ...]
    content: Content
    content_sha256: str
    command: str
    source: str
