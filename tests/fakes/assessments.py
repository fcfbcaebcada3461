"""Assessments made by hand for tests of reports: a small one, and a month as circuits really have them.

A fake: verdicts and incidents are written down, not judged, so that a report is tested on what it is given.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction

import numpy as np

from agent.sla.assessment import Assessment, RepairFigures
from agent.sla.exclusion.exclusions import Entry, Exclusion, ExclusionKind, Ruling, Standing
from agent.sla.samples.columns import SampleColumns
from agent.sla.samples.histograms import Histograms
from agent.sla.terms.contract import (
    Contract,
    Coverage,
    Measurement,
    Metric,
    Objective,
    Party,
    Service,
    Statistic,
    StatisticType,
    Target,
    Window,
)
from agent.sla.terms.incidents import Attribution, Incident, Pause, Repair, Responsible, Stamp, Ticket
from agent.sla.terms.money import Money
from agent.sla.terms.remedies import ChronicRule, CreditBasis, CreditTerms, Deadline
from agent.sla.terms.settlement import ChronicFinding, Claim, CreditLine, Settlement
from agent.sla.time.calendar import WindowInstants, parse, parse_instant, windows_within
from agent.sla.time.spans import Spans
from agent.sla.verdict import Budget, EvidenceValue, Verdict, VerdictState
from probes.core.model import Circuit, ProbeSetting, SampleState
from probes.metrics.histogram import bucket_of
from tests.fakes.contracts import series

SECOND, MINUTE, HOUR, DAY, MS = 10**9, 60 * 10**9, 3600 * 10**9, 86400 * 10**9, 10**6
ZONE = "Europe/Berlin"
OCTOBER = parse("2026-10", ZONE)
"""745 hours: on the 25th the clock is set back."""
AS_OF = parse_instant("2026-11-03T09:00:00Z")
SHA = "0123456789abcdef" * 4

CIRCUIT = Circuit(
    "ACME-AMS-0042",
    "198.51.100.7",
    customer="ACME",
    provider="ExampleTel",
    site="ams-edge-01",
    committed_rate_bps=100_000_000,
    probes=(ProbeSetting("icmp", "icmp", {"every": SECOND}),),
    contract="gold-ethernet",
    monthly_charge="480.00 EUR",
)


def at(text: str) -> int:
    """`10-12 14:03:20` of 2026, UTC."""
    return parse_instant(f"2026-{text.replace(' ', 'T')}Z")


def objective(
    identity: str, metric: Metric, kind: StatisticType, target: Fraction, written: str, **more: object
) -> Objective:
    statistic = Statistic(kind, p=more.pop("p", None))  # type: ignore[arg-type]
    values = {"coverage": Coverage(Fraction(95, 100))} | more
    return Objective(identity, metric, statistic, Target(target, written), **values)  # type: ignore[arg-type]


AVAILABILITY = objective(
    "availability",
    Metric.AVAILABILITY,
    StatisticType.AVAILABILITY_MEF,
    Fraction(9995, 10000),
    "99.95 %",
    text="Schedule 2, 1.1: the service is available for at least 99.95 % of each calendar month.",
)
DELAY = objective(
    "delay",
    Metric.RTT,
    StatisticType.MEAN,
    Fraction(14 * MS),
    "14ms",
    only_available_time=True,
    text="Schedule 2, 1.2: monthly mean round-trip delay at most 14 ms.",
)
DELAY_P99 = objective(
    "delay-p99",
    Metric.RTT,
    StatisticType.PERCENTILE,
    Fraction(20 * MS),
    "20ms",
    p=Fraction(99, 100),
    text="Schedule 2, 1.2: 99 % of packets within 20 ms.",
)
JITTER = objective(
    "delay-variation",
    Metric.JITTER,
    StatisticType.MEAN,
    Fraction(3 * MS),
    "3ms",
    text="Schedule 2, 1.3: inter-frame delay variation at most 3 ms.",
)
LOSS = objective(
    "loss",
    Metric.LOSS,
    StatisticType.RATIO,
    Fraction(1, 1000),
    "0.1 %",
    only_available_time=True,
    text="Schedule 2, 1.4: frame loss ratio at most 0.1 %.",
)
LOSS_DAY = objective(
    "loss-day",
    Metric.LOSS,
    StatisticType.RATIO,
    Fraction(1, 100),
    "1 %",
    window=Window("day"),
    text="Schedule 2, 1.5: on no day more than 1 %.",
)
RATE = objective(
    "rate",
    Metric.THROUGHPUT,
    StatisticType.MINIMUM,
    Fraction(90_000_000),
    "90 Mbit/s",
    text="Schedule 2, 1.6: every capacity test reaches 90 Mbit/s.",
)
REPAIR = objective(
    "repair",
    Metric.OUTAGE,
    StatisticType.MTTR,
    Fraction(4 * HOUR),
    "4h",
    text="Schedule 3, 2: the mean time to repair in a month is at most four hours.",
)

CONTRACT = Contract(
    id="gold-ethernet",
    version="2026-01",
    provider=Party("provider", "provider", "ExampleTel"),
    customer=Party("customer", "customer", "ACME Corporation"),
    time_zone=ZONE,
    objectives=(AVAILABILITY, DELAY, DELAY_P99, JITTER, LOSS, LOSS_DAY, RATE, REPAIR),
    valid_from=date(2026, 1, 1),
    valid_to=date(2028, 12, 31),
    title="Gold Ethernet, point to point, metro",
    digest=SHA,
    exclusions_digest=SHA[::-1],
    service=Service("e-line", "gold", ("AMS", "FRA"), Money(Decimal("480.00"), "EUR"), 100_000_000),
    measurement=Measurement(method="ICMP echo, 10 packets in 10 s, 56 octets", point_a="AMS", point_b="FRA"),
)


def verdict(
    item: Objective,
    state: VerdictState,
    value: Fraction | None,
    best: Fraction | None = None,
    worst: Fraction | None = None,
    *,
    window: WindowInstants = OCTOBER,
    coverage: Fraction = Fraction(1),
    budget: Budget | None = None,
    probe: str = "icmp",
    sentence: str = "",
    evidence: dict[str, EvidenceValue] | None = None,
    circuit: str = CIRCUIT.id,
    **more: object,
) -> Verdict:
    """A verdict with the evidence every verdict has."""
    measured = int(coverage * window.length_ns)
    missing = window.length_ns - measured
    usual: dict[str, EvidenceValue] = {
        "probe": probe,
        "kind": probe,
        "judged_from_ns": window.start_ns,
        "judged_to_ns": window.end_ns,
        "measured_ns": measured,
        "excluded_ns": 0,
        "not_measured": ({"reason": "agent stopped", "ns": missing},) if missing else (),
        "time_zone_rules": "2026b 01234567",
    }
    return Verdict(
        "gold-ethernet", circuit, item, window, state, value, best if best is not None else value,
        worst if worst is not None else value, item.target.value, coverage, coverage,
        bool(more.pop("estimated", False)), sentence, usual | (evidence or {}), budget, **more,
    )  # type: ignore[arg-type] # fmt: skip


def incident(
    identity: str, start: int, end: int | None, party: Responsible = Responsible.PROVIDER, **more: object
) -> Incident:
    """Measured from start to end, all of it counted."""
    spans = Spans.of([(start, end if end is not None else AS_OF)])
    measured = None if end is None else end - start
    values: dict[str, object] = {
        "basis": "measured",
        "down": spans,
        "counted": spans,
        "attribution": Attribution(party, "evidence", ("near end and gateway answered all the time",)),
        "repair": Repair(measured, measured, 0, start, end),
        "stamps": {Stamp.FAULT: start} | ({Stamp.RESTORED: end} if end is not None else {}),
    } | more
    return Incident(identity, CIRCUIT.id, start, end, **values)  # type: ignore[arg-type]


NO_REPAIR = RepairFigures(0, None, None, None, None)
NOTHING_OWED = Settlement((), Money(Decimal("0.00"), "EUR"), Money(Decimal("480.00"), "EUR"))


def assessment(
    *verdicts: Verdict,
    incidents: tuple[Incident, ...] = (),
    ruling: Ruling | None = None,
    settlement: Settlement = NOTHING_OWED,
    contract: Contract = CONTRACT,
    period: WindowInstants = OCTOBER,
    as_of_ns: int = AS_OF,
    repair: RepairFigures = NO_REPAIR,
) -> Assessment:
    return Assessment(
        contract,
        CIRCUIT,
        period,
        as_of_ns,
        verdicts,
        incidents,
        repair,
        ruling or Ruling(),
        settlement,
        OCTOBER.start_ns - 90 * DAY,
    )


def month_columns(
    down: Spans, gap: Spans, lossy: Spans, *, seed: int = 7, packets: int = 10, window: WindowInstants = OCTOBER
) -> SampleColumns:
    """Samples of 10 s over the window: about 10 ms, a hump in the working day, spikes, loss where it is lossy, nothing
    in the gap, no answer where it is down."""
    random = np.random.default_rng(seed)
    start = np.arange(window.start_ns, window.end_ns, 10 * SECOND, dtype=np.int64)
    start = start[~gap.touches(start, start + 10 * SECOND)]
    rows = len(start)
    hour = (start // HOUR + 2) % 24
    busy = np.clip(1 - np.abs(hour - 14) / 6, 0, 1)
    base = 9.6 + 1.4 * busy + 0.8 * np.sin(start / (9 * DAY))
    delays = (base[:, None] + random.gamma(1.2, 0.35 + 0.9 * busy[:, None], (rows, packets))) * MS
    spikes = random.random((rows, packets)) < 0.00002
    delays[spikes] += random.pareto(1.6, int(spikes.sum())) * 12 * MS
    evening = lossy.holds(start)
    delays[evening] += random.gamma(2.0, 6 * MS, (int(evening.sum()), packets))
    rtt = np.minimum(delays, 2_900 * MS).astype(np.int64)
    lost_each = random.random((rows, packets)) < np.where(evening, 0.034, 0.00004)[:, None]
    lost_each |= down.holds(start)[:, None]
    lost = lost_each.sum(axis=1)
    got = packets - lost
    rtt_kept = np.where(lost_each, np.int64(0), rtt)
    absent = np.iinfo(np.int64).min
    some = got > 0
    smallest = np.where(lost_each, np.iinfo(np.int64).max, rtt).min(axis=1)
    bucket = np.where(lost_each, -1, bucket_of(rtt))
    bucket.sort(axis=1)
    flat, row = bucket.ravel(), np.repeat(np.arange(rows), packets)
    kept = flat >= 0
    flat, row = flat[kept], row[kept]
    first = np.concatenate(([True], (flat[1:] != flat[:-1]) | (row[1:] != row[:-1])))
    edges = np.append(np.flatnonzero(first), len(flat))
    sizes = np.bincount(row[first], minlength=rows)
    return SampleColumns(
        circuit=CIRCUIT.id,
        probe="icmp",
        kind="icmp",
        start_ns=start,
        span_ns=np.full(rows, 10 * SECOND, np.int64),
        state=np.where(some, SampleState.OK.code, SampleState.NO_REPLY.code).astype(np.int64),
        sent=np.full(rows, packets, np.int64),
        lost=lost.astype(np.int64),
        not_sent=np.zeros(rows, np.int64),
        rtt_count=got.astype(np.int64),
        rtt_sum_ns=np.where(some, rtt_kept.sum(axis=1), absent),
        rtt_min_ns=np.where(some, smallest, absent),
        rtt_max_ns=np.where(some, rtt_kept.max(axis=1), absent),
        histogram=Histograms.by_size(flat[first], np.diff(edges).astype(np.int64), sizes.astype(np.int64), some),
    )


OUTAGES = (
    (at("10-06 08:14:20"), at("10-06 08:51:40")),
    (at("10-14 22:03:10"), at("10-14 22:09:00")),
    (at("10-25 00:40:00"), at("10-25 01:55:30")),
)
"""The third lies over the hour that Berlin runs through twice."""
GAP = (at("10-19 03:12:00"), at("10-19 07:40:00"))
LOSSY = (at("10-21 17:30:00"), at("10-21 20:10:00"))
MAINTENANCE = (at("10-28 23:00:00"), at("10-29 03:00:00"))
"""In Berlin 00:00 to 04:00 of the 29th."""
IN_MAINTENANCE = (at("10-29 00:10:00"), at("10-29 00:42:00"))


def real_month() -> tuple[Assessment, SampleColumns]:
    """October 2026 in Berlin: three outages and one in maintenance, an evening of loss, an agent that stood still."""
    down = Spans.of([*OUTAGES, IN_MAINTENANCE])
    columns = month_columns(down, Spans.of([GAP]), Spans.of([LOSSY]))
    return _month(columns), columns


def _month(columns: SampleColumns) -> Assessment:
    maintenance = Spans.of([MAINTENANCE])
    counted_ns = OCTOBER.length_ns - 4 * HOUR
    down_ns = sum(end - start for start, end in OUTAGES)
    gap_ns = GAP[1] - GAP[0]
    measured_ns = counted_ns - gap_ns
    allowed = Fraction(5, 10000) * counted_ns
    time: dict[str, EvidenceValue] = {
        "measured_ns": measured_ns,
        "excluded_ns": 4 * HOUR,
        "not_measured": (
            {"reason": "agent stopped", "ns": gap_ns - 20 * MINUTE},
            {"reason": "without a record", "ns": 20 * MINUTE},
        ),
    }
    sent, lost = int(columns.column("sent").sum()), 961
    share = Fraction(measured_ns, counted_ns)

    def found(
        item: Objective, state: VerdictState, value: Fraction, best: Fraction, worst: Fraction | None, **more: object
    ) -> Verdict:
        base = verdict(item, state, value, best, worst, coverage=share, **more)  # type: ignore[arg-type]
        evidence = {**time, **{key: value for key, value in base.evidence.items() if key not in time}}
        return replace(base, worst=worst, evidence=evidence)

    up = Fraction(measured_ns - down_ns, measured_ns)
    verdicts = [
        found(
            AVAILABILITY,
            VerdictState.BREACHED,
            up,
            Fraction(counted_ns - down_ns, counted_ns),
            Fraction(measured_ns - down_ns, counted_ns),
            budget=Budget(allowed, Fraction(down_ns), "time down", None, "1 h 58 min 40 s of 22 min 13.8 s used"),
            sentence="availability 99.73 % of 30 d 16 h measured in 2026-10 (target 99.95 %): 1 h 58 min "
            "down in 3 outages, 22 min 13 s allowed; 4 h excluded: upgrade of the metro ring (CHG-20261028)",
            evidence={
                "intervals_up": (measured_ns - down_ns) // (10 * SECOND),
                "intervals_down": down_ns // (10 * SECOND),
            },
        ),
        found(
            DELAY,
            VerdictState.MET,
            Fraction(11_412_773),
            Fraction(11_300_000),
            Fraction(11_930_000),
            sentence="round-trip time mean 11.413 ms",
        ),
        found(
            DELAY_P99,
            VerdictState.MET,
            Fraction(17_850_368),
            Fraction(17_600_000),
            None,
            estimated=True,
            sentence="round-trip time p99 17.850 ms: estimated, at best 17.600 ms",
        ),
        found(JITTER, VerdictState.MET, Fraction(812_345, 1), Fraction(800_000), Fraction(900_000)),
        found(
            LOSS,
            VerdictState.MET,
            Fraction(lost, sent),
            Fraction(lost, sent + 16000),
            Fraction(lost + 16000, sent + 16000),
            estimated=True,
            evidence={"sent": sent, "lost": lost},
        ),
    ]
    days = windows_within(CONTRACT, Window("day"), OCTOBER)
    for number, day in enumerate(days):
        bad = number == 20
        share_lost = Fraction(33, 10000) if bad else Fraction((number * 7) % 5, 86_400)
        if number == 24:
            share_lost = Fraction(41, 1000)
        state = VerdictState.BREACHED if share_lost > Fraction(1, 100) else VerdictState.MET
        verdicts.append(verdict(LOSS_DAY, state, share_lost, window=day))
    verdicts.append(
        verdict(
            RATE,
            VerdictState.INCONCLUSIVE,
            None,
            None,
            None,
            coverage=Fraction(0),
            probe="throughput",
            sentence="throughput minimum: no verdict for 2026-10: nothing was measured by probe throughput",
        )
    )
    verdicts.append(
        verdict(
            REPAIR,
            VerdictState.MET,
            Fraction(3 * HOUR + 7 * MINUTE + 12 * SECOND),
            sentence="mean time to repair 3 h 7 min 12 s over 2026-10 (target 4h)",
        )
    )
    return assessment(
        *verdicts,
        incidents=_month_incidents(maintenance),
        ruling=_month_ruling(maintenance),
        settlement=_month_settlement(),
        repair=RepairFigures(4, 11232 * SECOND, 2267 * SECOND, 650_000 * SECOND, 652_267 * SECOND),
    )


def _month_incidents(maintenance: Spans) -> tuple[Incident, ...]:
    (first, second, third), quiet = OUTAGES, IN_MAINTENANCE
    ticket = Ticket(
        "T-88121",
        (CIRCUIT.id,),
        {Stamp.TICKET: first[0] + 11 * MINUTE, Stamp.CLOSED: first[1] + 5 * HOUR},
        first[0] + 11 * MINUTE,
        (Pause(first[0] + 15 * MINUTE, first[0] + 27 * MINUTE, "customer_unavailable", "call log 7731"),),
        "P1",
        "fibre cut at Frankfurt-Griesheim",
        ("ExampleTel INC0099123", "ACME 2026-1187"),
        None,
        "splice done by 10:49",
    )
    night = Ticket(
        "T-88394",
        (CIRCUIT.id,),
        {Stamp.TICKET: third[0] + 20 * MINUTE, Stamp.CONFIRMED: third[1] + 40 * MINUTE},
        third[0] + 20 * MINUTE,
        (),
        "P1",
        "line card",
        ("ExampleTel INC0100877",),
    )
    return (
        incident(
            "ACME-AMS-0042/2026-10-06T08:14:20Z",
            *first,
            basis="both",
            tickets=(ticket,),
            repair=Repair(
                24 * MINUTE + 10 * SECOND, first[1] - first[0], 12 * MINUTE, first[0] + 11 * MINUTE, first[1]
            ),
            stamps={
                Stamp.FAULT: first[0],
                Stamp.DETECTED: first[0] + 30 * SECOND,
                Stamp.TICKET: first[0] + 11 * MINUTE,
                Stamp.RESTORED: first[1],
                Stamp.CLOSED: first[1] + 5 * HOUR,
            },
            attribution=Attribution(
                Responsible.PROVIDER,
                "evidence",
                ("near end and gateway answered all the time", "two more circuits of ExampleTel failed"),
                "ExampleTel: the cut was made by a third party digging",
                None,
            ),
        ),
        incident(
            "ACME-AMS-0042/2026-10-14T22:03:10Z",
            *second,
            Responsible.UNKNOWN,
            attribution=Attribution(Responsible.UNKNOWN, "evidence", ("no probe of the far end answered",)),
        ),
        incident(
            "ACME-AMS-0042/2026-10-25T00:40:00Z",
            *third,
            basis="both",
            tickets=(night,),
            repair=Repair(
                third[1] + 40 * MINUTE - third[0] - 20 * MINUTE,
                third[1] - third[0],
                0,
                third[0] + 20 * MINUTE,
                third[1] + 40 * MINUTE,
            ),
            attribution=Attribution(
                Responsible.PROVIDER,
                "j.doe (ExampleTel)",
                ("line card replaced, RFO-5512",),
                "",
                Attribution(Responsible.UNKNOWN, "evidence", ("no probe of the far end answered",)),
            ),
        ),
        incident(
            "ACME-AMS-0042/2026-10-29T00:10:00Z",
            *quiet,
            counted=Spans.of([quiet]) - maintenance,
            repair=Repair(0, quiet[1] - quiet[0], 0, *quiet),
        ),
    )


def _month_ruling(maintenance: Spans) -> Ruling:
    planned = Exclusion(
        "CHG-20261028",
        *MAINTENANCE,
        "upgrade of the metro ring",
        at("10-15 09:00:00"),
        "m.acme (ACME)",
        kind=ExclusionKind.MAINTENANCE,
        notified_ns=at("10-14 15:30:00"),
        source="notice",
        evidence="maintnote 3312",
    )
    late = Exclusion(
        "CHG-20261014",
        at("10-14 22:00:00"),
        at("10-14 22:30:00"),
        "emergency work on the access switch",
        at("10-15 07:12:00"),
        kind=ExclusionKind.EMERGENCY_MAINTENANCE,
    )
    taken = Entry(planned, Standing.APPLIED, maintenance, 4 * HOUR, "4 h taken out as announced")
    return Ruling((Entry(late, Standing.UNCONFIRMED), taken), maintenance)


def _month_settlement() -> Settlement:
    band = CreditTerms(
        "availability-credit",
        CreditBasis.BAND,
        "availability",
        text="Schedule 4, 1: 10 % below 99.95 %, 25 % below 99.5 %.",
    )
    each = CreditTerms("each-outage", CreditBasis.PER_EVENT, automatic=True)
    return Settlement(
        (
            CreditLine(
                band,
                "availability",
                OCTOBER,
                ("99.7319 % lies in the band from 99.5 % to 99.95 %: 10 %", "10 % of 480.00 EUR = 48.00 EUR"),
                Fraction(48),
                Money(Decimal("48.00"), "EUR"),
                "",
                Claim("open", date(2026, 11, 30)),
            ),
            CreditLine(
                each,
                "ACME-AMS-0042/2026-10-25T00:40:00Z",
                OCTOBER,
                (
                    "1 h 15 min 30 s lies in the band from 5 min to 4 h: 5 %",
                    "5 % of 480.00 EUR = 24.00 EUR",
                    "credits of a month are at most 15 % of the charge: 24.00 EUR are left of 72.00 EUR",
                ),
                Fraction(24),
                Money(Decimal("24.00"), "EUR"),
                "cap per month, 15 % of the charge",
                Claim("automatic"),
            ),
        ),
        Money(Decimal("72.00"), "EUR"),
        Money(Decimal("480.00"), "EUR"),
        (
            ChronicFinding(
                ChronicRule("three-in-thirty", "terminate", 3, 30 * MINUTE, rolling_ns=30 * DAY, exercise=Deadline(30)),
                False,
                "2 outages of 30 min or longer in any 30 days; 3 are needed",
                ("ACME-AMS-0042/2026-10-06T08:14:20Z", "ACME-AMS-0042/2026-10-25T00:40:00Z"),
            ),
        ),
        notes=("rounded half up to 2 places",),
    )


def small() -> tuple[Assessment, SampleColumns]:
    """One day, two objectives, one outage of five minutes: small enough to read whole."""
    day = parse("2026-10-05", ZONE)
    out = (day.start_ns + 10 * HOUR, day.start_ns + 10 * HOUR + 5 * MINUTE)
    letters = "." * 3600 + "H" * 30 + "." * 10 + "5" + "." * 4999
    columns = replace(series(day.start_ns, letters, 11 * MS), circuit=CIRCUIT.id)
    down = 5 * MINUTE
    daily = replace(AVAILABILITY, window=Window("day"))
    delay = replace(DELAY, window=Window("day"))
    verdicts = (
        verdict(
            daily,
            VerdictState.BREACHED,
            1 - Fraction(down, DAY),
            window=day,
            budget=Budget(Fraction(5, 10000) * DAY, Fraction(down), "time down"),
            sentence="availability 99.65 % of 1 d measured in 2026-10-05 (Europe/Berlin) (target 99.95 %): 5 min down",
            evidence={"intervals_up": 8610, "intervals_down": 30},
        ),
        verdict(delay, VerdictState.MET, Fraction(11_412_773), window=day, sentence="round-trip time mean 11.413 ms"),
    )
    terms = CreditTerms("availability-credit", CreditBasis.BAND, "availability")
    line = CreditLine(
        terms,
        "availability",
        day,
        ("99.65 % lies in the band below 99.95 %: 10 %", "10 % of 480.00 EUR = 48.00 EUR"),
        Fraction(48),
        Money(Decimal("48.00"), "EUR"),
        "",
        Claim("open", date(2026, 11, 30)),
    )
    settlement = Settlement((line,), Money(Decimal("48.00"), "EUR"), Money(Decimal("480.00"), "EUR"))
    return (
        assessment(
            *verdicts,
            incidents=(incident("ACME-AMS-0042/2026-10-05T08:00:00Z", *out),),
            settlement=settlement,
            period=day,
            contract=replace(CONTRACT, objectives=(daily, delay)),
            repair=RepairFigures(1, down, down, DAY - down, DAY),
        ),
        columns,
    )
