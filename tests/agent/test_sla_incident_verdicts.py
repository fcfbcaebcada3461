"""Promises on outages from samples and tickets to the verdict."""

from __future__ import annotations

from typing import Any

from agent.sla.judge import Judgement, Record, judge_by
from agent.sla.samples.columns import SampleColumns
from agent.sla.terms.contract import Contract, Metric, Statistic, StatisticType
from agent.sla.terms.incidents import ClockTerms, Stamp, Ticket
from agent.sla.time.calendar import parse
from agent.sla.verdict import NO_EVENTS, VerdictState
from tests.fakes.columns import SPAN
from tests.fakes.contracts import CIRCUIT, contract, objective, series

DAY = parse("2026-10-05", "UTC")
MINUTE = 60 * 10**9
LATER = DAY.end_ns + 40 * 1440 * MINUTE
TICKET = ClockTerms(Stamp.TICKET, Stamp.RESTORED)
UP = objective(Metric.AVAILABILITY, "0.5")


def outages(kind: StatisticType, target: int, **more: Any) -> Any:
    return objective(Metric.OUTAGE, target, Statistic(kind, **more))


def judged(text: str, asked: Contract, tickets: tuple[Ticket, ...] = (), now_ns: int = LATER) -> Judgement:
    samples = series(DAY.start_ns - 360 * SPAN, text)

    def read(reading: Any) -> SampleColumns:
        return samples.between(reading.start_ns, reading.end_ns)

    return judge_by(
        read, asked, CIRCUIT, now_ns=now_ns, window=DAY, measured_since_ns=DAY.start_ns - 360 * SPAN,
        record=Record(tickets),
    )  # fmt: skip


def test_an_outage_over_midnight_is_repaired_on_the_day_it_began() -> None:
    """An hour before the day all is well; down from 23:50 to 00:20: 30 min, of which 10 are the day's."""
    text = "." * 360 + "." * (8640 - 60) + "H" * 180 + "." * 600
    found = judged(text, contract(UP, outages(StatisticType.MTTR, 20 * MINUTE), outages(StatisticType.TOTAL, 0)))
    up, mttr, total = found.verdicts
    assert up.state is VerdictState.MET
    assert (mttr.value, mttr.best, mttr.worst) == (30 * MINUTE,) * 3
    assert mttr.state is VerdictState.BREACHED
    assert total.value == 10 * MINUTE
    (incident,) = found.incidents
    assert incident.stamps[Stamp.RESTORED] == DAY.end_ns + 20 * MINUTE


def test_an_outage_is_not_lengthened_by_what_was_not_read() -> None:
    """Samples end while the circuit is down: down for 10 min at least, nobody knows how long."""
    text = "." * 360 + "." * (8640 - 60) + "H" * 60
    (_, mttr) = judged(text, contract(UP, outages(StatisticType.MTTR, 20 * MINUTE))).verdicts
    assert (mttr.value, mttr.best, mttr.worst) == (10 * MINUTE, 10 * MINUTE, None)


def test_tickets_alone_make_incidents_where_no_availability_is_promised() -> None:
    stamps = {Stamp.TICKET: DAY.start_ns + 60 * MINUTE, Stamp.RESTORED: DAY.start_ns + 360 * MINUTE}
    ticket = Ticket("T1", (CIRCUIT.id,), stamps, DAY.start_ns + 61 * MINUTE)
    asked = contract(outages(StatisticType.MTTR, 240 * MINUTE), clock=TICKET)
    (mttr,) = judged("." * 9600, asked, (ticket,)).verdicts
    assert (mttr.value, mttr.state) == (300 * MINUTE, VerdictState.BREACHED)
    (none,) = judged("." * 9600, asked).verdicts
    assert (none.state, none.remark) == (VerdictState.MET, NO_EVENTS)


def test_a_day_that_nobody_measured_keeps_no_promise_on_outages() -> None:
    asked = contract(UP, outages(StatisticType.COUNT, 0), outages(StatisticType.MTTR, 20 * MINUTE))
    for text in ("." * 300, "?" * 9600):
        found = judged(text, asked).verdicts[1:]
        assert [item.state for item in found] == [VerdictState.INCONCLUSIVE, VerdictState.INCONCLUSIVE], text[:1]
        assert [item.remark for item in found] == ["", ""]
