"""A second way to work out credits, as a clerk would: month by month on one sheet; and random contracts to try."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import ROUND_DOWN, Decimal, localcontext
from fractions import Fraction
from itertools import pairwise

from agent.sla.terms.contract import Contract, Metric, Objective, Party, Statistic, StatisticType, Target, Window
from agent.sla.terms.incidents import Incident
from agent.sla.terms.money import MODES, Money, Rounding
from agent.sla.terms.remedies import Band, Cap, CreditBasis, CreditTerms, CreditUnit, Price
from agent.sla.time import calendar
from agent.sla.time.calendar import WindowInstants
from agent.sla.time.spans import Spans
from agent.sla.verdict import DOWNTIME, Budget, Verdict, VerdictState
from probes.core.model import Circuit

HOUR = 3600 * 10**9
DAY = 24 * HOUR
MS = 10**6
ZERO = Fraction(0)


@dataclass
class Sheet:
    """Everything a settlement is made of."""

    contract: Contract
    circuit: Circuit
    period: WindowInstants
    verdicts: tuple[Verdict, ...]
    incidents: tuple[Incident, ...]
    as_of_ns: int
    paid: Money


Row = tuple[str, str, Fraction]
"""Terms, subject, amount."""


def note(sheet: Sheet) -> list[Row]:
    """Amounts by terms and subject, in time."""
    months = [calendar.parse(label, "Europe/Berlin") for label in _labels(sheet.period)]
    rows: list[tuple[WindowInstants, int, CreditTerms, str, Fraction, str]] = []
    for month in months:
        for number, terms in enumerate(sheet.contract.credits):
            of_month = _rows(sheet, terms, month)
            of_month = _trim(of_month, sheet, month, terms)
            if terms.minimum and sum(amount for _, amount, _ in of_month) < Fraction(terms.minimum.amount):
                of_month = []
            rows += [(month, number, terms, subject, amount, one) for subject, amount, one in of_month]
    rows = _stack(sheet.contract, rows)
    return _pay(sheet, rows)


def _labels(period: WindowInstants) -> list[str]:
    first = period.first or date.min
    return [f"{first.year}-{first.month + more:02d}" for more in range(3 if period.unit == "quarter" else 1)]


def _part(sheet: Sheet, month: WindowInstants) -> Fraction:
    """Days of the month in which the contract was valid, one by one."""
    first, days, valid = month.first or date.min, 0, 0
    day = first
    while (day.year, day.month) == (first.year, first.month):
        days += 1
        begun = sheet.contract.service_start is None or day >= sheet.contract.service_start
        ended = sheet.contract.valid_to is not None and day > sheet.contract.valid_to
        valid += begun and not ended
        day += timedelta(days=1)
    return Fraction(valid, days)


def _price(sheet: Sheet, price: Price, basis: str, month: WindowInstants, *, pro_rata: bool) -> Fraction:
    charge = Fraction(Decimal((sheet.circuit.monthly_charge or "0 EUR").split()[0]))
    days = ((month.first or date.min) + timedelta(days=31)).replace(day=1) - (month.first or date.min)
    day = {"30": charge / 30, "days_in_month": charge / days.days, "365": charge * 12 / 365}[basis]
    return {
        "amount": Fraction(price.money.amount) if price.money else ZERO,
        "percent": price.value * charge * (_part(sheet, month) if pro_rata else 1),
        "fraction": price.value * charge,
        "mrc_days": price.value * day,
        "mrc_hours": price.value * day / 24,
    }[price.kind]


def _count(unit: CreditUnit, value: Fraction) -> int:
    """Units one after the other."""
    rest, units = value - unit.deductible, 0
    while rest >= unit.step or (unit.started and rest > 0):
        units, rest = units + 1, rest - unit.step
    return units


def _in_band(terms: CreditTerms, value: Fraction) -> Price | None:
    for band in terms.bands:
        low = band.low is None or (value > band.low if band.upper_inclusive else value >= band.low)
        high = band.high is None or (value <= band.high if band.upper_inclusive else value < band.high)
        if low and high:
            return band.price
    return None


def _rows(sheet: Sheet, terms: CreditTerms, month: WindowInstants) -> list[tuple[str, Fraction, str]]:
    """(subject, amount, the one incident it is about) of one term in one month, before caps."""

    def price(of: Price | None) -> Fraction:
        return ZERO if of is None else _price(sheet, of, terms.day_basis, month, pro_rata=terms.pro_rata)

    counted = sorted(
        ((item, item.counted.length_ns) for item in sheet.incidents if item.counted.length_ns),
        key=lambda pair: pair[0].start_ns,
    )
    counted = [pair for pair in counted if pair[1] >= terms.minimum_outage_ns]
    begin, end = _valid(sheet, month)
    here = [(item, ns) for item, ns in counted if begin <= item.start_ns < end]
    if terms.basis is CreditBasis.PER_EVENT:
        rows = [(item.id, price(_in_band(terms, Fraction(ns))), item.id) for item, ns in here]
        return [row for row in rows if row[1]]
    if terms.objective is None:
        assert terms.unit is not None
        if terms.unit.each_incident:
            rows = [(item.id, _count(terms.unit, Fraction(ns)) * price(terms.price), item.id) for item, ns in here]
            return [row for row in rows if row[1]]
        parts = [(item, sum(max(0, min(e, end) - max(s, begin)) for s, e in item.counted))
                 for item, _ in counted]  # fmt: skip
        parts = [(item, ns) for item, ns in parts if ns]
        down = Fraction(sum(ns for _, ns in parts))
        one = parts[0][0].id if len(parts) == 1 else ""
        if terms.basis is CreditBasis.PROPORTIONAL:
            charge = _price(sheet, Price("percent", Fraction(1)), "30", month, pro_rata=terms.pro_rata)
            amount = (
                charge * min(Fraction(1), max(ZERO, down - terms.unit.deductible) / (end - begin))
                if end > begin
                else ZERO
            )
        else:
            amount = _count(terms.unit, down) * price(terms.price)
        return [("outages", amount, one)] if amount else []
    rows = []
    for verdict in sheet.verdicts:
        if verdict.objective.id != terms.objective or verdict.window != month:
            continue
        if verdict.state is not VerdictState.BREACHED or verdict.value is None or verdict.target is None:
            continue
        bad = (
            verdict.target - verdict.value if verdict.objective.comparison == "min" else verdict.value - verdict.target
        )
        value = {
            CreditBasis.BAND: verdict.value,
            CreditBasis.EXCESS_ABSOLUTE: bad,
            CreditBasis.EXCESS_RELATIVE: bad / verdict.target,
        }[terms.basis]
        amount = _count(terms.unit, value) * price(terms.price) if terms.unit else price(_in_band(terms, value))
        touching = [item for item, _ in counted if len(item.counted.within(month.start_ns, month.end_ns))]
        if terms.objective == "delay":
            touching = []  # no outage makes a delay
        if amount:
            rows.append((verdict.objective.id, amount, touching[0].id if len(touching) == 1 else ""))
    return rows


def _valid(sheet: Sheet, month: WindowInstants) -> tuple[int, int]:
    """Instants of the month in which the contract was valid, from day to day."""
    start, end, contract = month.start_ns, month.end_ns, sheet.contract
    if contract.service_start is not None:
        start = max(start, calendar.parse(str(contract.service_start), "Europe/Berlin").start_ns)
    if contract.valid_to is not None:
        end = min(end, calendar.parse(str(contract.valid_to), "Europe/Berlin").end_ns)
    return (start, end) if start < end else (0, 0)


def _trim(
    rows: list[tuple[str, Fraction, str]], sheet: Sheet, month: WindowInstants, terms: CreditTerms
) -> list[tuple[str, Fraction, str]]:
    """The term's own caps: per incident and per month, line after line."""
    left = [(cap.per, _price(sheet, cap.price, terms.day_basis, month, pro_rata=terms.pro_rata)) for cap in terms.caps]
    taken: dict[tuple[int, str], Fraction] = {}
    found = []
    for subject, amount, one in rows:
        for number, (per, limit) in enumerate(left):
            if per == "incident" and not one:
                continue
            group = (number, one if per == "incident" else "")
            amount = min(amount, limit - taken.get(group, ZERO))
        for number, (per, _) in enumerate(left):
            group = (number, one if per == "incident" else "")
            taken[group] = taken.get(group, ZERO) + amount
        found.append((subject, amount, one))
    return found


Rows = list[tuple[WindowInstants, int, CreditTerms, str, Fraction, str]]


def _stack(contract: Contract, rows: Rows) -> Rows:
    if contract.stacking == "sum":
        return rows
    found = []
    for row in rows:
        month, number, terms = row[0], row[1], row[2]

        def together(of: CreditTerms, within: WindowInstants = month) -> Fraction:
            return sum((other[4] for other in rows if other[0] == within and other[2] is of), ZERO)

        rivals = [
            other for place, other in enumerate(contract.credits)
            if contract.stacking == "highest" or _cause(other) == _cause(terms) or place == number
        ]  # fmt: skip
        best = max(rivals, key=together)  # the first of equals
        found.append(row if best is terms else (*row[:4], ZERO, row[5]))
    return found


def _cause(terms: CreditTerms) -> str:
    return terms.cause or ("downtime" if terms.objective in (None, "availability") else terms.objective or "")


def _pay(sheet: Sheet, rows: Rows) -> list[Row]:
    """The caps over all terms, then whole cents."""
    places = sheet.contract.rounding.places
    year_left = {cap: None for cap in sheet.contract.credit_caps if cap.per == "year"}
    year_paid = Fraction(sheet.paid.amount)
    month_used: dict[int, Fraction] = {}
    year_used, found, exact_rows = ZERO, [], []
    for month, _, terms, subject, amount, one in rows:
        for cap in sheet.contract.credit_caps:
            whole = all(item.pro_rata for item in sheet.contract.credits)
            if cap.per == "month":
                limit = _price(sheet, cap.price, "30", month, pro_rata=whole)
                amount = min(amount, limit - month_used.get(month.start_ns, ZERO))
            elif cap in year_left:
                limit = _price(sheet, cap.price, "30", month, pro_rata=False)
                amount = min(amount, max(ZERO, limit - year_paid - year_used))
        month_used[month.start_ns] = month_used.get(month.start_ns, ZERO) + amount
        year_used += amount
        exact_rows.append((month, terms, subject, amount, one))
    rounded: list[tuple[WindowInstants, CreditTerms, str, Fraction, str]] = []
    for month, terms, subject, amount, one in exact_rows:
        cents = _rounded(amount, sheet.contract.rounding)
        room = _room(sheet, rounded, month, terms, one)
        if room is not None and cents > room:
            with localcontext(prec=60):
                least = min(room, amount)
                exact = Decimal(least.numerator) / Decimal(least.denominator)
                cents = Fraction(exact.quantize(Decimal(1).scaleb(-places), ROUND_DOWN))
        rounded.append((month, terms, subject, cents, one))
        found.append((terms.id, subject, cents))
    return found


def _room(
    sheet: Sheet,
    before: list[tuple[WindowInstants, CreditTerms, str, Fraction, str]],
    month: WindowInstants,
    terms: CreditTerms,
    one: str,
) -> Fraction | None:
    rooms = []
    for cap in terms.caps:
        if cap.per == "incident" and not one:
            continue
        limit = _price(sheet, cap.price, terms.day_basis, month, pro_rata=terms.pro_rata)
        rooms.append(limit - sum((row[3] for row in before if row[0] == month and row[1] is terms
                                  and (cap.per != "incident" or row[4] == one)), ZERO))  # fmt: skip
    for cap in sheet.contract.credit_caps:
        year = cap.per == "year"
        whole = not year and all(item.pro_rata for item in sheet.contract.credits)
        limit = _price(sheet, cap.price, "30", month, pro_rata=whole)
        used = sum((row[3] for row in before if year or row[0] == month), ZERO)
        rooms.append(limit - used - (Fraction(sheet.paid.amount) if year else ZERO))
    return max(ZERO, min(rooms)) if rooms else None


def _rounded(amount: Fraction, rounding: Rounding) -> Fraction:
    with localcontext(prec=80):
        exact = Decimal(amount.numerator) / Decimal(amount.denominator)
        return Fraction(exact.quantize(Decimal(1).scaleb(-rounding.places), MODES[rounding.mode]))


# Random contracts.


def _a_price(dice: random.Random) -> Price:
    return dice.choice(
        (
            lambda: Price("percent", Fraction(dice.randrange(1, 120), 100)),
            lambda: Price("mrc_days", Fraction(dice.randrange(1, 8), 2)),
            lambda: Price("mrc_hours", Fraction(dice.randrange(1, 30))),
            lambda: Price("fraction", Fraction(1, dice.choice((30, 720, 7)))),
            lambda: Price("amount", ZERO, Money(Decimal(dice.randrange(1, 90_000)) / 100, "EUR")),
        )
    )()


def _bands(dice: random.Random, edges: Sequence[Fraction]) -> tuple[Band, ...]:
    """Ascending, open at both ends, each with a price."""
    upper = dice.random() < 0.3
    limits: list[Fraction | None] = [None, *edges, None]
    return tuple(Band(low, high, _a_price(dice), upper) for low, high in pairwise(limits))


def _edges(dice: random.Random, scale: Fraction) -> list[Fraction]:
    return sorted({scale * dice.randrange(1, 100) / 100 for _ in range(dice.randrange(1, 4))})


OBJECTIVES = (
    Objective("availability", Metric.AVAILABILITY, Statistic(StatisticType.AVAILABILITY_MEF),
              Target(Fraction(999, 1000), "99.9 %"), Window("month")),
    Objective("delay", Metric.RTT, Statistic(StatisticType.MEAN), Target(Fraction(20 * MS), "20ms"), Window("month")),
)  # fmt: skip


def _terms(dice: random.Random, number: int) -> CreditTerms:
    basis = dice.choice(list(CreditBasis))
    objective = dice.choice(OBJECTIVES)
    common = {
        "id": f"t{number}",
        "basis": basis,
        "caps": tuple(Cap(dice.choice(("incident", "month")), _a_price(dice)) for _ in range(dice.randrange(3))),
        "day_basis": dice.choice(("30", "days_in_month", "365")),
        "minimum": dice.choice((None, None, Money(Decimal(dice.randrange(1, 3000)) / 100, "EUR"))),
        "pro_rata": dice.random() < 0.8,
        "cause": dice.choice(("", "", "a")),
    }
    unit = CreditUnit(
        Fraction(dice.choice((HOUR, DAY, 600 * 10**9))),
        dice.random() < 0.5,
        Fraction(dice.choice((0, 0, 2 * HOUR, 3 * HOUR + 7))),
        dice.random() < 0.5,
    )
    match basis:
        case CreditBasis.BAND:
            scale = Fraction(999, 1000) if objective.id == "availability" else Fraction(200 * MS)
            common |= {"objective": objective.id, "bands": _bands(dice, _edges(dice, scale))}
        case CreditBasis.EXCESS_ABSOLUTE:
            scale = Fraction(1) if objective.id == "availability" else Fraction(100 * MS)
            common |= {"objective": objective.id, "bands": _bands(dice, _edges(dice, scale))}
            if dice.random() < 0.4:
                step = CreditUnit(scale / 40, dice.random() < 0.5, scale / 200)
                common |= {"bands": (), "unit": step, "price": _a_price(dice)}
        case CreditBasis.EXCESS_RELATIVE:
            common |= {"objective": objective.id, "bands": _bands(dice, _edges(dice, Fraction(3)))}
        case CreditBasis.PER_UNIT:
            common |= {"unit": unit, "price": _a_price(dice), "minimum_outage_ns": dice.choice((0, 0, HOUR))}
        case CreditBasis.PER_EVENT:
            common |= {
                "bands": _bands(dice, _edges(dice, Fraction(12 * HOUR))),
                "minimum_outage_ns": dice.choice((0, HOUR)),
            }
        case CreditBasis.PROPORTIONAL:
            common |= {"unit": replace(unit, each_incident=False)}
    return CreditTerms(**common)  # type: ignore[arg-type]


def _verdicts(dice: random.Random, months: Sequence[WindowInstants]) -> tuple[Verdict, ...]:
    found = []
    for month in months:
        for objective in OBJECTIVES:
            if objective.id == "availability":
                value = Fraction(dice.choice((995, 999, 1000, dice.randrange(1001))), 1000)
            else:
                value = Fraction(dice.choice((20 * MS, 20 * MS + 1, dice.randrange(200 * MS))))
            met = objective.meets(value, objective.target.value)
            state = VerdictState.MET if met else VerdictState.BREACHED
            if dice.random() < 0.1:
                state = VerdictState.INCONCLUSIVE
            found.append(verdict(objective, month, value, state))
    return tuple(found)


def verdict(
    objective: Objective, window: WindowInstants, value: Fraction, state: VerdictState, **more: object
) -> Verdict:
    """Measured whole; of an availability with the time down that it means."""
    given: dict[str, object] = {
        "contract": "c", "circuit": "c1", "objective": objective, "window": window, "state": state, "value": value,
        "best": value, "worst": value, "target": objective.target.value, "coverage": Fraction(1),
        "window_coverage": Fraction(1), "estimated": False, "sentence": "", "evidence": {},
    }  # fmt: skip
    if objective.metric is Metric.AVAILABILITY:
        down = (1 - value) * window.length_ns
        given["budget"] = Budget((1 - objective.target.value) * window.length_ns, down, DOWNTIME)
    return Verdict(**{**given, **more})  # type: ignore[arg-type]


def outage(name: str, start_ns: int, end_ns: int, counted: Sequence[tuple[int, int]] | None = None) -> Incident:
    whole = Spans.of([(start_ns, end_ns)])
    return Incident(name, "c1", start_ns, end_ns, "measured", whole, whole if counted is None else Spans.of(counted))


def a_sheet(dice: random.Random) -> Sheet:
    period = calendar.parse(dice.choice(("2026-02", "2026-03", "2026-10", "2026-Q4")), "Europe/Berlin")
    months = [calendar.parse(label, "Europe/Berlin") for label in _labels(period)]
    party = Party("p", "provider")
    first = period.first or date.min
    contract = Contract(
        "c", "1", party, party, "Europe/Berlin", OBJECTIVES,
        valid_to=dice.choice((None, None, first + timedelta(days=dice.randrange(40)))),
        service_start=dice.choice((None, None, first + timedelta(days=dice.randrange(27)))),
        credits=tuple(_terms(dice, number) for number in range(dice.randrange(1, 5))),
        credit_caps=tuple(Cap(per, _a_price(dice)) for per in ("month", "year") if dice.random() < 0.4),
        stacking=dice.choice(("sum", "sum", "highest", "same_cause_highest")),
        rounding=Rounding(dice.choice((0, 2, 2, 3)), dice.choice(list(MODES))),
        currency="EUR",
    )  # fmt: skip
    incidents = []
    for number in range(dice.randrange(6)):
        begin = period.start_ns - 10 * HOUR + dice.randrange(period.length_ns)
        length = dice.choice((HOUR, 4 * HOUR, dice.randrange(1, 20 * HOUR)))
        counted = None
        if dice.random() < 0.4:  # a part of it, or all of it, is excluded
            counted = [(begin + length // 3, begin + 2 * length // 3)] if dice.random() < 0.6 else []
        incidents.append(outage(f"i{number}", begin, begin + length, counted))
    circuit = Circuit("c1", "192.0.2.9", monthly_charge=f"{dice.randrange(1, 900_000) / 100:.2f} EUR")
    paid = Money(Decimal(dice.choice((0, 0, 50))), "EUR")
    return Sheet(contract, circuit, period, _verdicts(dice, months), tuple(incidents), period.end_ns + DAY, paid)


Settle = Callable[[Sheet], list[Row]]
