"""Random small months: the whole assessment against plain loops over seconds, exact to the nanosecond and the cent."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

import agent.sla.credit.credit_caps
import agent.sla.downtime.timeline
import agent.sla.judge
from agent.assessing import Court
from agent.sla.assessment import Assessment
from agent.sla.docket import Reading
from agent.sla.samples.columns import SampleColumns
from agent.sla.samples.shared_fate import SharedFate
from agent.sla.terms.contract import Contract, Coverage, Metric, Service, Statistic, StatisticType, Window
from agent.sla.terms.excluded import Exclusion, ExclusionKind, ExclusionTerms
from agent.sla.terms.incidents import Attribution, ClockTerms, Pause, Responsible, Stamp, Ticket
from agent.sla.terms.money import Money
from agent.sla.terms.remedies import Band, Cap, ChronicRule, CreditBasis, CreditTerms, CreditUnit, Price
from agent.sla.time.calendar import WindowInstants, window_at
from agent.sla.time.spans import Spans
from agent.written import Written
from probes.core.model import Circuit
from tests.fakes.columns import SECOND
from tests.fakes.contracts import CIRCUIT, contract, objective, series
from tests.fakes.naively import Credit, Found, Month, Out, Paper, Terms, assess
from tests.faults.counts import count

ANCHOR = date(2026, 10, 5)
T0 = window_at(Window("day"), "UTC", 1_791_158_400 * SECOND).start_ns
PER_CENT = Fraction(1, 100)


@dataclass
class Rows:
    """A source of samples over one series."""

    columns: SampleColumns

    def since(self, circuit: str) -> int | None:  # noqa: ARG002 # there is one
        return int(self.columns.start_ns[0]) if len(self.columns) else None

    def read(self, circuit: str, reading: Reading) -> SampleColumns:  # noqa: ARG002
        return self.columns.between(reading.start_ns, reading.end_ns)

    def gaps(self, *_: object) -> Sequence[Any]:
        return ()

    def packets(self, circuit: str) -> None:  # noqa: ARG002
        return None

    def carrier_down(self, *_: object) -> Spans | None:
        return None


def at(second: int) -> int:
    return T0 + second * SECOND


def percent(value: int) -> Price:
    return Price("percent", value * PER_CENT, text=f"{value} %")


def credit_terms(place: int, item: Credit) -> CreditTerms:
    basis = {
        "band": CreditBasis.BAND, "minutes": CreditBasis.PER_UNIT, "each": CreditBasis.PER_UNIT,
        "event": CreditBasis.PER_EVENT, "share": CreditBasis.PROPORTIONAL,
    }[item.how]  # fmt: skip
    scale = SECOND if item.how == "event" else 1
    bands = tuple(
        Band(None if low is None else low * scale, None if high is None else high * scale, percent(price))
        for low, high, price in item.bands
    )
    caps = [Cap("month", percent(item.cap_month))] if item.cap_month is not None else []
    caps += [Cap("incident", percent(item.cap_incident))] if item.cap_incident is not None else []
    unit = CreditUnit(
        Fraction(item.step * SECOND), item.started, Fraction(item.free * SECOND), each_incident=item.how == "each"
    )
    return CreditTerms(
        f"t{place}",
        basis,
        objective=None if item.how in ("each", "event") else "up",
        bands=bands,
        unit=unit if item.how in ("minutes", "each", "share") else None,
        price=percent(item.percent) if item.how in ("minutes", "each") else None,
        caps=tuple(caps),
        minimum_outage_ns=item.least * SECOND if item.how in ("each", "event") else 0,
    )


def exclusion(item: Out) -> Exclusion:
    return Exclusion(
        item.id, at(item.start), at(item.end), "work", at(item.entered), "both" if item.confirmed else "",
        kind=ExclusionKind(item.kind), proposed=item.proposed,
        notified_ns=None if item.notified is None else at(item.notified),
    )  # fmt: skip


def ticket(item: Paper) -> Ticket:
    attribution = None
    if item.party or item.disputed:
        party = Responsible(item.party or "unknown")
        attribution = Attribution(party, "noc", ("seen",), disputed="other: no" if item.disputed else "")
    return Ticket(
        item.id, ("c1",), {Stamp(name): at(second) for name, second in item.stamps.items()}, at(item.entered),
        tuple(Pause(at(start), None if end is None else at(end), reason) for start, end, reason in item.pauses),
        attribution=attribution,
    )  # fmt: skip


def signed(month: Month) -> Contract:
    window = Window(None, fixed_ns=month.length * SECOND, anchor=ANCHOR)
    of_outages = {"metric": Metric.OUTAGE, "window": window}
    up = objective(
        Metric.AVAILABILITY, str(month.target),
        Statistic(StatisticType.AVAILABILITY_MEF, dt_ns=month.dt * SECOND, n=month.n, c=month.c),
        id="up", window=window, coverage=Coverage(Fraction(9, 10), unknown=month.unknown),  # type: ignore[arg-type]
    )  # fmt: skip
    loss = objective(Metric.LOSS, "0.01", id="loss", window=window, only_available_time=True)
    times = [
        objective(target=3600 * SECOND, statistic=Statistic(kind), id=kind.value, **of_outages)  # type: ignore[arg-type]
        for kind in (StatisticType.COUNT, StatisticType.TOTAL, StatisticType.MTTR)
    ]
    number, least, within = month.chronic
    return contract(
        up, loss, *times,
        service=Service(monthly_charge=Money(Decimal(month.charge), "EUR")),
        currency="EUR",
        shared_fate="count",
        exclusions=tuple(exclusion(item) for item in month.outs),
        exclusion_terms=tuple(
            ExclusionTerms(
                ExclusionKind(item.kind), notice_ns=item.notice * SECOND,
                allowance_ns=None if item.allowance is None else item.allowance * SECOND,
                effect="numerator_only" if item.credited else "both",
            )
            for item in month.terms
        ),
        clock=ClockTerms(
            Stamp(month.start), Stamp(month.stop), pauses=month.reasons, bridge_ns=month.bridge * SECOND,
            pause_cap_ns=None if month.pause_cap is None else month.pause_cap * SECOND,
        ),
        credits=tuple(credit_terms(place, item) for place, item in enumerate(month.credits)),
        credit_caps=() if month.cap_all is None else (Cap("month", percent(month.cap_all)),),
        stacking=month.stacking,
        chronic=(ChronicRule("again", "escalate", number, least * SECOND, rolling_ns=within * SECOND),),
    )  # fmt: skip


def court(month: Month, *, now: int | None = None) -> Court:
    columns = series(at(-10 * month.before), month.rows)
    circuit = replace(CIRCUIT, probes=CIRCUIT.probes[:1])
    written = Written(tickets=tuple(ticket(item) for item in month.papers))
    fate = SharedFate((), lambda *_: columns, 10 * SECOND)
    return Court(Rows(columns), {circuit.id: circuit}, written, fate, at(month.now if now is None else now))


def period_of(month: Month) -> WindowInstants:
    return window_at(Window(None, fixed_ns=month.length * SECOND, anchor=ANCHOR), "UTC", T0)


def judged(month: Month) -> Assessment:
    circuit: Circuit = court(month).circuits["c1"]
    return court(month).assess(signed(month), circuit, period_of(month))[0]


def differences(month: Month) -> list[str]:
    """What the assessment says otherwise than the loops."""
    found = judged(month)
    of = {item.objective.id: item for item in found.verdicts}
    recorded = "x" in month.rows  # which is a record of why it is missing: an estimate may decide
    plain = assess(month, of["up"].state.value if recorded else "")
    pairs: list[tuple[str, object, object]] = [
        ("value", plain.value, of["up"].value),
        ("best", plain.best, of["up"].best),
        ("worst", plain.worst, of["up"].worst),
        ("state", plain.state, of["up"].state.value),
        ("loss", plain.loss, of["loss"].value),
        ("outages", _told(month, plain), [(*_ends(item), item.counted_ns) for item in found.incidents]),
        ("count", Fraction(plain.count), of["count"].value),
        ("total", Fraction(plain.total * SECOND), of["total"].value),
        ("mttr", None if plain.mttr is None else plain.mttr * SECOND, of["mttr"].value),
        ("chronic", plain.chronic, found.settlement.chronic[0].met),
    ]
    theirs = [
        (int(item.terms.id[1:]), item.exact, item.amount.exact)
        for item in found.settlement.lines
        if item.exact and item.terms.id.startswith("t")
    ]
    pairs.append(("lines", list(plain.lines), theirs))
    total = found.settlement.total
    pairs.append(("money", sum((owed for *_, owed in plain.lines), Fraction(0)), total.exact if total else Fraction(0)))
    return [f"{name}: {mine} by the loops, {other}" for name, mine, other in pairs if mine != other]


def _ends(item: Any) -> tuple[int, int | None]:
    return item.start_ns, item.end_ns


def _told(month: Month, plain: Found) -> list[tuple[int, int | None, int]]:
    """Outages that touch the window."""
    return [
        (at(item.start), None if item.end is None else at(item.end), item.counted * SECOND)
        for item in plain.outages
        if item.start < month.length and (item.end is None or item.end > 0)
    ]


def random_month(seed: int) -> Month:
    """About half of all months have an outage over an edge, gaps, tickets, exclusions."""
    draw = random.Random(seed)
    dt = draw.choice((10, 10, 20, 60))
    length = draw.choice((1800, 3600, 7200)) if draw.random() < 0.97 else draw.choice((86_400, 172_800))
    before, after = draw.choice((0, 12, 60)), draw.choice((0, 0, 30, 90))
    rows = list("." * (before + length // 10 + after))
    for _ in range(draw.choice((0, 1, 1, 2, 3, 4))):
        _put(draw, rows, draw.choice("HHHH?x8"), draw.choice((1, 3, 6, 20, 60)))
    for _ in range(draw.choice((0, 0, 3, 8))):
        _put(draw, rows, draw.choice("1368"), draw.choice((1, 2, 4)))
    if rows[0] == "?":
        rows[0] = "."
    now = length + 10 * after + draw.choice((0, 60, 4000))
    outs = tuple(_out(draw, number, length, now) for number in range(draw.choice((0, 0, 1, 2, 3))))
    terms: tuple[Terms, ...] = ()
    if draw.random() < 0.4:
        terms = (Terms("maintenance", draw.choice((0, 0, 600)), draw.choice((None, 300, 900)), draw.random() < 0.4),)
        terms += draw.choice(((), (Terms("customer"),), (Terms("force_majeure", credited=True),)))
    papers = tuple(_paper(draw, number, rows, before, length, now) for number in range(draw.choice((0, 0, 1, 2))))
    bands = ((Fraction(9, 10), None, 10), (Fraction(1, 2), Fraction(9, 10), 25), (None, Fraction(1, 2), 50))
    lengths = ((Fraction(30), Fraction(300), 5), (Fraction(300), None, 7))
    cap = draw.choice((None, None, 10, 33))
    every = (
        Credit("band", bands, cap_month=cap),
        Credit("minutes", (), draw.choice((60, 300)), draw.random() < 0.5, draw.choice((0, 90)), cap_month=cap),
        Credit("each", (), 60, draw.random() < 0.5, 0, 1, draw.choice((0, 120)), None, draw.choice((None, 3))),
        Credit("event", lengths, least=draw.choice((0, 60)), cap_month=cap, cap_incident=draw.choice((None, 6))),
        Credit("share", free=draw.choice((0, 60))),
    )  # fmt: skip
    return Month(
        "".join(rows), before, length, now, dt,
        draw.choice((1, 2, 3, 6)), draw.choice((Fraction(1, 2), Fraction(1, 5))),
        draw.choice((Fraction(1), Fraction(99, 100), Fraction(9, 10))),
        draw.choice(("bounds", "bounds", "bounds", "up", "down")),
        outs, terms, papers,
        start=draw.choice(("fault", "fault", "ticket")), stop=draw.choice(("restored", "closed")),
        reasons=draw.choice((None, ("access",))), pause_cap=draw.choice((None, 200)),
        bridge=draw.choice((0, 60, 1800)),
        credits=tuple(draw.sample(every, draw.choice((1, 2, 3)))),
        stacking=draw.choice(("sum", "sum", "highest")),
        cap_all=draw.choice((None, None, 20)),
        charge=draw.choice((480, 333, 1)),
        chronic=(draw.choice((1, 2, 3)), draw.choice((0, 60, 300)), draw.choice((600, 3600))),
    )  # fmt: skip


def _put(draw: random.Random, rows: list[str], letter: str, most: int) -> None:
    begin = draw.randrange(len(rows))
    for place in range(begin, min(len(rows), begin + draw.randint(1, most))):
        rows[place] = letter


def _out(draw: random.Random, number: int, length: int, now: int) -> Out:
    start = draw.randint(-300, length)
    return Out(
        f"X{number}", start, start + draw.choice((1, 60, 305, 1200)),
        draw.choice((start - 700, start + 60, now + 1)), draw.random() < 0.6, draw.random() < 0.3,
        draw.choice(("maintenance", "maintenance", "customer", "force_majeure")),
        draw.choice((None, start - 600, start - 599)),
    )  # fmt: skip


def _paper(draw: random.Random, number: int, rows: Sequence[str], before: int, length: int, now: int) -> Paper:
    downs = [10 * (place - before) for place, letter in enumerate(rows) if letter == "H"]
    begin = max(-10 * before, draw.choice(downs or [draw.randint(0, length - 1)]) + draw.choice((-70, 0, 35)))
    begin = min(begin, now)
    stamps = {"ticket": begin}
    if draw.random() < 0.5:
        stamps["fault"] = begin - draw.choice((0, 20))
    end = begin
    for name in ("restored", "confirmed", "closed"):
        end += draw.choice((0, 45, 400))
        if draw.random() < 0.7 and end <= now:
            stamps[name] = end
    pauses = ()
    if draw.random() < 0.5:
        stop = draw.choice((None, begin + 130))
        pauses = ((begin + draw.choice((0, 30)), stop, draw.choice(("access", "other"))),)
    return Paper(
        f"TT-{number}", stamps, draw.choice((end, end + 10, now + 1)) if end <= now else now, pauses,
        draw.choice(("", "", "provider", "customer", "third_party", "agent")), draw.random() < 0.15,
    )  # fmt: skip


def failures(seeds: range) -> Iterator[tuple[int, list[str]]]:
    for seed in seeds:
        month = random_month(seed)
        told = differences(month)
        if told:
            yield seed, told


MONTHS = 1000
PARTS = 4


@pytest.mark.parametrize("part", range(PARTS))
def test_every_month_is_what_the_loops_say(part: int) -> None:
    number = count("ASSESSMENTS", MONTHS, 20_000) // PARTS
    assert next(failures(range(part * 1_000_000, part * 1_000_000 + number)), None) is None


def _late(whole: Any) -> Any:
    """The second half of every exclusion is forgotten."""

    def ruled(*args: Any, **named: Any) -> Any:
        found = whole(*args, **named)
        return replace(found, time=Spans.of((start, (start + end) // 2) for start, end in found.time))

    return ruled


def test_the_loops_find_seeded_bugs(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as bug:  # exclusions that end too early
        bug.setattr(agent.sla.judge, "rule", _late(agent.sla.judge.rule))
        assert _first(range(100))[1]
    with monkeypatch.context() as bug:  # caps without memory: each line may take all of it
        bug.setattr(agent.sla.credit.credit_caps._Pool, "room", property(lambda pool: pool.limit))
        assert any(line.startswith("money") for line in _first(range(400))[1])
    with monkeypatch.context() as bug:  # one interval of hysteresis too few
        usual = agent.sla.downtime.timeline.machine_of
        bug.setattr(agent.sla.downtime.timeline, "machine_of", lambda how: (max(1, usual(how)[0] - 1), usual(how)[1]))
        assert any(line.startswith("value") for _, lines in failures(range(100)) for line in lines)


def _first(seeds: range) -> tuple[int, list[str]]:
    return next(failures(seeds), (-1, []))
