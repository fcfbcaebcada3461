"""Contract files: strict YAML to Contract, every mistake at once with file, line and column."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from zoneinfo import available_timezones

from agent import exclusion_files
from agent.config.notation import as_line, as_word
from agent.config.reading import listed
from agent.document import (
    Contradiction,
    Document,
    DocumentError,
    Field,
    Items,
    Model,
    Problem,
    Reads,
    as_duration,
    read,
    require,
    schema,
    shown,
)
from agent.document.tree import MAXIMUM_SIZE
from agent.sla.contract import (
    CalendarUnit,
    Contract,
    Coverage,
    Direction,
    JitterDefinition,
    Metric,
    Objective,
    Party,
    SharedFatePolicy,
    Statistic,
    StatisticType,
    Window,
)
from agent.sla.targets import parse_target
from agent.sla.zones import zone
from probes.core import catalog
from probes.core.clock import MILLISECOND, SECOND
from probes.core.errors import LocalError
from probes.core.units import parse_percent

_DAY: Final = 86400 * SECOND
_SUFFIXES: Final = (".yaml", ".yml")

_STATISTICS: Final[dict[Metric, tuple[StatisticType, ...]]] = {
    Metric.RTT: (StatisticType.MEAN, StatisticType.PERCENTILE),
    Metric.JITTER: (StatisticType.MEAN, StatisticType.PERCENTILE),
    Metric.LOSS: (StatisticType.RATIO,),
    Metric.THROUGHPUT: (StatisticType.MINIMUM, StatisticType.MEAN, StatisticType.PERCENTILE),
    Metric.AVAILABILITY: (StatisticType.AVAILABILITY_MEF,),
}
_USUAL: Final = {
    Metric.JITTER: StatisticType.MEAN,
    Metric.LOSS: StatisticType.RATIO,
    Metric.AVAILABILITY: StatisticType.AVAILABILITY_MEF,
}
"""Statistic of a metric that needs none to be named."""
_JITTER: Final[dict[StatisticType, tuple[str, ...]]] = {
    StatisticType.MEAN: ("ipdv", "rfc3550"),
    StatisticType.PERCENTILE: ("pdv", "rfc3550"),
}


def _as_percent(*, below_100: bool = False) -> Reads:
    def take(value: object) -> Fraction:
        if isinstance(value, int | float) and not isinstance(value, bool):
            meant = f"{Fraction(str(value)) * 100} %" if 0 < value < 1 else "90 %"
            raise LocalError(f"{shown(value)} has no unit: write a percentage such as {meant}")
        if not isinstance(value, str):
            raise LocalError(f"must be a percentage such as 90 %, not {shown(value)}")
        ratio = parse_percent(value)
        if ratio > 1 or (below_100 and ratio == 1) or ratio.denominator > 10**8:
            raise LocalError(f"{shown(value)} is not allowed (allowed: 0 % to {'below ' if below_100 else ''}100 %)")
        return ratio

    return Reads(take, {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*%\s*$", "examples": ["90 %"]}, _percent_text)


def _percent_text(ratio: Fraction) -> str:
    return f"{float(ratio * 100):g} %"


def _as_percentile() -> Reads:
    def take(value: object) -> Fraction:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise LocalError(f"must be a number above 0 and below 100, such as 95 or 99.9, not {shown(value)}")
        p = Fraction(str(value)) / 100
        if not 0 < p < 1:
            raise LocalError(f"{shown(value)} is not a percentile: it lies above 0 and below 100")
        return p

    bounds = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 100, "examples": [95, 99.9]}
    return Reads(take, bounds, lambda p: float(p * 100))


def _as_zone() -> Reads:
    def take(value: object) -> str:
        if isinstance(value, str) and value in available_timezones():
            return zone(value).name
        near = difflib.get_close_matches(str(value), available_timezones(), 1)
        guess = f" (did you mean {near[0]}?)" if near else ""
        raise LocalError(f"there is no time zone {shown(value)}{guess}: write it like Europe/Berlin or UTC")

    return Reads(take, {"type": "string", "examples": ["Europe/Berlin", "UTC"]})


def _as_date() -> Reads:
    def take(value: object) -> date:
        try:
            if isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
                return date.fromisoformat(value)
        except ValueError:
            pass  # no such day: told below
        raise LocalError(f"{shown(value)} is not a date: write it like 2026-10-31")

    return Reads(take, {"type": "string", "format": "date"}, date.isoformat)


def _as_kind() -> Reads:
    def take(value: object) -> str:
        if value in catalog.names():
            return str(value)
        raise LocalError(f"there is no kind of probe {shown(value)} (allowed: {', '.join(catalog.names())})")

    return Reads(take, {"type": "string"})


def _as_target() -> Reads:
    def take(value: object) -> str:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise LocalError(f"must be a value with its unit, not {shown(value)}")
        return value if isinstance(value, str) else f"{value}"

    return Reads(take, {"type": "string", "examples": ["99.9 %", "30ms", "95Mbit/s", "90 % of committed_rate"]})


class _Window(Model):
    """`{calendar: month}` in the contract's time zone, or `{rolling: 30d}`."""

    calendar: CalendarUnit | None = None
    rolling: Annotated[int | None, as_duration(60 * SECOND, 366 * _DAY)] = None

    def contradictions(self) -> Iterator[Contradiction]:
        if (self.calendar is None) == (self.rolling is None):
            yield (), "a window is either `calendar: day|month|quarter|year` or `rolling: 30d`"

    def built(self) -> Window:
        return Window(self.calendar, self.rolling)


class _Coverage(Model):
    minimum: Annotated[Fraction, _as_percent()]


class _Statistic(Model):
    type: Literal["mean", "percentile", "ratio", "minimum", "availability_mef"]
    p: Annotated[Fraction | None, _as_percentile()] = None
    definition: Literal["ipdv", "rfc3550", "pdv"] | None = None
    direction: Direction | None = None
    dt: Annotated[int | None, as_duration(100 * MILLISECOND, 3600 * SECOND)] = None
    n: Annotated[int | None, Field(ge=1, le=1000)] = None
    c: Annotated[Fraction | None, _as_percent(below_100=True)] = None

    def built(self) -> Statistic:
        plain = Statistic(StatisticType(self.type))
        return Statistic(
            plain.type,
            self.p,
            JitterDefinition(self.definition) if self.definition else plain.definition,
            self.direction or plain.direction,
            self.dt,
            self.n or plain.n,
            plain.c if self.c is None else self.c,
        )


class _Objective(Model):
    id: Annotated[str, as_word("the name of an objective")]
    text: Annotated[str, as_line(500)] = ""
    metric: Literal["rtt", "jitter", "loss", "throughput", "availability"]
    statistic: _Statistic | None = None
    target: Annotated[str, _as_target()]
    window: _Window | None = None
    coverage: _Coverage | None = None
    min_samples: Annotated[int | None, Field(ge=1, le=10**9)] = None
    only_available_time: bool = False
    probe: Annotated[str | None, as_word("the name of a probe")] = None
    kind: Annotated[str | None, _as_kind()] = None

    def contradictions(self) -> Iterator[Contradiction]:
        metric = Metric(self.metric)
        yield from _unfit_statistic(metric, self.statistic)
        if self.probe is not None and self.kind is not None:
            yield ("kind",), "give `probe` or `kind`, not both"
        if self.only_available_time and metric is Metric.AVAILABILITY:
            yield ("only_available_time",), "availability itself cannot be limited to available time"

    def built(self, window: _Window | None, coverage: _Coverage | None) -> Objective:
        metric = Metric(self.metric)
        own_window, own_coverage = self.window or window, self.coverage or coverage
        return Objective(
            id=self.id,
            metric=metric,
            statistic=self.statistic.built() if self.statistic else Statistic(_USUAL[metric]),
            target=parse_target(metric, self.target),
            window=own_window.built() if own_window else Window(),
            coverage=Coverage(own_coverage.minimum) if own_coverage else Coverage(),
            min_samples=self.min_samples,
            only_available_time=self.only_available_time,
            probe=self.probe,
            kind=self.kind,
            text=self.text,
        )


class ContractFile(Model):
    """A contract as written."""

    id: Annotated[str, as_word("the name of a contract")]
    version: Annotated[str, as_line()]
    title: Annotated[str, as_line(200)] = ""
    provider: Annotated[str, as_line()]
    customer: Annotated[str, as_line()]
    time_zone: Annotated[str, _as_zone()]
    valid_from: Annotated[date | None, _as_date()] = None
    valid_to: Annotated[date | None, _as_date()] = None
    window: _Window | None = None
    coverage: _Coverage | None = None
    shared_fate: SharedFatePolicy = "unknown"
    objectives: Annotated[Items[_Objective], Field(min_length=1, max_length=1000)]

    def contradictions(self) -> Iterator[Contradiction]:
        if self.valid_from and self.valid_to and self.valid_from > self.valid_to:
            yield ("valid_to",), f"the contract ends before it starts ({self.valid_from})"
        seen: set[str] = set()
        for index, objective in enumerate(self.objectives):
            if objective.id in seen:
                yield ("objectives", index, "id"), f"there is an objective {objective.id!r} already"
            seen.add(objective.id)
        if not any(objective.metric == Metric.AVAILABILITY.value for objective in self.objectives):
            for index, objective in enumerate(self.objectives):
                if objective.only_available_time:
                    message = "available time is not defined: the contract has no objective on availability"
                    yield ("objectives", index, "only_available_time"), message

    def built(self, digest: str) -> Contract:
        return Contract(
            id=self.id,
            version=self.version,
            provider=Party(self.provider, "provider"),
            customer=Party(self.customer, "customer"),
            time_zone=self.time_zone,
            objectives=tuple(item.built(self.window, self.coverage) for item in self.objectives),
            valid_from=self.valid_from,
            valid_to=self.valid_to,
            title=self.title,
            digest=digest,
            shared_fate=self.shared_fate,
        )


def parse(text: str, file: str) -> Contract:
    """One contract. Raises DocumentError with every problem of the text."""
    return _checked(read(text, file)).built(hashlib.sha256(text.encode()).hexdigest())


def load(directory: Path) -> dict[str, Contract]:
    """All contracts (`*.yaml`, `*.yml`) of a directory by id, each with its ledger; none where it does not exist.

    Raises DocumentError with every problem of all files, LocalError for a file that cannot be read.
    """
    found: dict[str, tuple[Contract, Document]] = {}
    problems: list[Problem] = []
    for path in (item for item in listed(directory) or () if item.suffix in _SUFFIXES):
        content = _content(path)
        document = read(content, str(path))
        try:
            contract = _checked(document).built(hashlib.sha256(content).hexdigest())
        except DocumentError as error:
            problems.extend(error.problems)
            continue
        if contract.id != path.stem:
            message = f"the file of this contract must be named {contract.id}.yaml: circuits find it by that name"
            problems.append(document.problem(("id",), message))
        elif contract.id in found:
            first = found[contract.id][1].position(("id",))
            problems.append(document.problem(("id",), f"the contract {contract.id!r} is defined already in {first}"))
        else:
            found[contract.id] = (contract, document)
    names = {path.stem for path in listed(directory) or () if path.suffix in _SUFFIXES}
    ledgers, wrong = exclusion_files.load(directory, names)
    if problems or wrong:
        raise DocumentError([*problems, *wrong])
    return {identity: _with(contract, ledgers.get(identity)) for identity, (contract, _) in found.items()}


def _with(contract: Contract, ledger: exclusion_files.Ledger | None) -> Contract:
    if ledger is None:
        return contract
    return replace(contract, exclusions=ledger.entries, exclusions_digest=ledger.digest)


def _checked(document: Document) -> ContractFile:
    return require(document, ContractFile, _wrong_targets(document))


def _wrong_targets(document: Document) -> Iterator[Problem]:
    """Targets that do not fit their metric, found even where another key of the objective is wrong too."""
    objectives = document.at(("objectives",))
    for index in range(len(objectives) if isinstance(objectives, list) else 0):
        path = ("objectives", index)
        metric, target = document.at((*path, "metric")), document.at((*path, "target"))
        if metric not in list(Metric) or isinstance(target, bool) or not isinstance(target, int | float | str):
            continue
        try:
            parse_target(Metric(str(metric)), str(target))
        except LocalError as error:
            yield document.problem((*path, "target"), f"{error.message}: {error.hint}" if error.hint else error.message)


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(MAXIMUM_SIZE + 1)
    except OSError as error:
        raise LocalError(f"cannot read {path}: {error.strerror}", hint="check the path and its permissions") from None


def json_schema() -> dict[str, Any]:
    """JSON Schema of a contract file, for editors."""
    return schema(ContractFile)


def _unfit_statistic(metric: Metric, statistic: _Statistic | None) -> Iterator[Contradiction]:
    """What is wrong between a metric and its statistic."""
    allowed = _STATISTICS[metric]
    names = ", ".join(allowed)
    if statistic is None:
        if metric not in _USUAL:
            yield (), f"an objective on {metric} needs its `statistic: {{type: ...}}` (allowed: {names})"
        return
    kind = StatisticType(statistic.type)
    if kind not in allowed:
        yield ("statistic", "type"), f"{metric} has no statistic {kind.value!r} (allowed: {names})"
        return
    if kind is StatisticType.PERCENTILE and statistic.p is None:
        yield ("statistic",), "a percentile needs `p`, such as `p: 95`"
    if metric is Metric.JITTER:
        yield from _unfit_definition(kind, statistic.definition)
    fits = {
        "p": kind is StatisticType.PERCENTILE,
        "definition": metric is Metric.JITTER,
        "direction": metric is Metric.THROUGHPUT,
        "dt": metric is Metric.AVAILABILITY,
        "n": metric is Metric.AVAILABILITY,
        "c": metric is Metric.AVAILABILITY,
    }
    for key, fit in fits.items():
        if getattr(statistic, key) is not None and not fit:
            yield ("statistic", key), f"`{key}` has no meaning for {metric} as {kind.value}"


def _unfit_definition(kind: StatisticType, definition: str | None) -> Iterator[Contradiction]:
    allowed = _JITTER[kind]
    if definition is None:
        if kind is StatisticType.PERCENTILE:
            yield ("statistic",), f"a percentile of jitter needs its `definition` (allowed: {', '.join(allowed)})"
    elif definition not in allowed:
        message = f"the samples do not keep the {kind.value} of {definition} (allowed: {', '.join(allowed)})"
        yield ("statistic", "definition"), message
