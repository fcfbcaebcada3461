"""Which objectives are judged in which windows, and what must be read for them."""

from dataclasses import replace
from fractions import Fraction

from agent.sla.docket import docket_at, docket_over, extent_of, readings, wants_incidents
from agent.sla.terms.contract import Metric, Scope, Statistic, StatisticType, Window
from agent.sla.terms.remedies import ChronicRule
from agent.sla.time.calendar import parse, parse_instant
from probes.core.clock import SECOND
from probes.core.model import Circuit, ProbeSetting
from tests.fakes.contracts import contract, objective

CIRCUIT = Circuit("C-1", "192.0.2.7", probes=(ProbeSetting("icmp", "icmp", {"every": SECOND, "timeout": SECOND}),))
HOUR = 3600 * SECOND
AFTER = parse_instant("2026-11-05T00:00:00Z")


def labels(docket: object) -> list[str]:
    return [f"{item.objective.id} {item.window.label}" for item in docket]  # type: ignore[attr-defined]


def test_a_month_holds_each_of_its_days() -> None:
    promise = contract(
        objective(Metric.LOSS, "0.01", id="day", window=Window("day")),
        objective(Metric.LOSS, "0.01", id="month", window=Window("month")),
    )
    found = labels(docket_over(promise, parse("2026-10", "UTC"), AFTER))
    assert found == [*(f"day 2026-10-{day:02}" for day in range(1, 32)), "month 2026-10"]


def test_what_has_not_begun_is_not_judged() -> None:
    promise = contract(objective(Metric.LOSS, "0.01", id="day", window=Window("day")))
    found = labels(docket_over(promise, parse("2026-10", "UTC"), parse_instant("2026-10-03T12:00:00Z")))
    assert found == ["day 2026-10-01", "day 2026-10-02", "day 2026-10-03"]


def test_a_window_longer_than_the_period_is_judged_as_a_whole() -> None:
    promise = contract(objective(Metric.LOSS, "0.01", id="year", window=Window("year")))
    assert labels(docket_over(promise, parse("2026-10", "UTC"), AFTER)) == ["year 2026"]


def test_a_rolling_window_ends_where_samples_have_settled() -> None:
    promise = contract(objective(Metric.LOSS, "0.01", id="last", window=Window(None, 24 * HOUR)))
    now = parse_instant("2026-10-03T12:00:00Z")
    (sitting,) = docket_over(promise, parse("2026-10", "UTC"), now)
    assert sitting.window.end_ns == now - 30 * SECOND
    (past,) = docket_over(promise, parse("2026-10", "UTC"), AFTER)
    assert past.window.end_ns == parse_instant("2026-11-01T00:00:00Z")


def test_the_contract_begins_and_ends_the_docket() -> None:
    promise = replace(
        contract(objective(Metric.LOSS, "0.01", id="day", window=Window("day"))),
        valid_from=parse("2026-10-30", "UTC").first,
    )
    assert labels(docket_over(promise, parse("2026-10", "UTC"), AFTER)) == ["day 2026-10-30", "day 2026-10-31"]


def test_outages_are_looked_for_where_something_hangs_on_them() -> None:
    up = objective(Metric.AVAILABILITY, "0.99", id="up")
    assert not wants_incidents(contract(up))
    assert wants_incidents(contract(up, objective(Metric.OUTAGE, "2", Statistic(StatisticType.COUNT), id="count")))
    assert wants_incidents(replace(contract(up), chronic=(ChronicRule("three", "terminate", count=3),)))


def test_one_reading_for_all_objectives_of_a_probe_reaches_back_for_the_state() -> None:
    promise = contract(
        objective(Metric.AVAILABILITY, "0.99", Statistic(StatisticType.AVAILABILITY_MEF, dt_ns=10 * SECOND), id="up"),
        objective(Metric.LOSS, "0.01", id="loss"),
    )
    docket = docket_at(promise, AFTER)
    (reading,) = readings(promise, CIRCUIT, docket, now_ns=AFTER)
    start, end = extent_of(docket, AFTER)
    assert reading.start_ns == start - 24 * HOUR - 3 * 10 * SECOND
    assert (reading.end_ns, reading.circuit) == (end, "C-1")
    assert {"sent", "lost", "not_sent", "late"} <= set(reading.columns)


def test_circuits_of_a_scope_are_read_as_well() -> None:
    scope = Scope(("C-1", "C-2", "C-3"), "worst")
    promise = contract(objective(Metric.LOSS, Fraction(1, 100), id="all", scope=scope))
    others = {"C-2": replace(CIRCUIT, id="C-2")}
    found = readings(promise, CIRCUIT, docket_at(promise, AFTER), now_ns=AFTER, others=others)
    assert [item.circuit for item in found] == ["C-1", "C-2"]
