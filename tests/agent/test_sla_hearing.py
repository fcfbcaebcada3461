"""From samples, tickets and exclusions to verdicts: what the parts of a judgement do to each other."""

from dataclasses import replace
from fractions import Fraction

import pytest

from agent.sla.credit.credit_lines import excused
from agent.sla.docket import docket_over
from agent.sla.exclusion.exclusions import Exclusion, ExclusionKind, ExclusionTerms
from agent.sla.judge import Judgement, Record, hear, material
from agent.sla.terms.contract import Metric, Priority, Scope, Service, Statistic, StatisticType
from agent.sla.terms.incidents import Attribution, ClockTerms, Responsible, Stamp, Ticket
from agent.sla.time.calendar import parse, parse_instant
from agent.sla.time.hours import Daily, Hours
from agent.sla.verdict import Verdict, VerdictState
from tests.fakes.columns import SECOND, SPAN
from tests.fakes.contracts import CIRCUIT, HOUR, contract, objective, series

DAY = parse("2026-10-05", "UTC")
T0 = DAY.start_ns
AFTER = T0 + 48 * HOUR
ROWS = 24 * 360
MEF = Statistic(StatisticType.AVAILABILITY_MEF, dt_ns=SPAN)
UP = objective(Metric.AVAILABILITY, "0.999", MEF, id="up")
"""Of a day 86.4 s may be down: eight intervals of 10 s."""


def day(*outages: tuple[int, int]) -> str:
    """A day of samples; from one to before the other all packets are lost."""
    letters = ["."] * ROWS
    for begin, end in outages:
        letters[begin:end] = "H" * (end - begin)
    return "".join(letters)


def heard(promise, text: str, record: Record | None = None, others=None, **circuit: object) -> Judgement:  # type: ignore[no-untyped-def]
    own = material(promise, replace(CIRCUIT, **circuit), {"icmp": series(T0, text)}, now_ns=AFTER)  # type: ignore[arg-type]
    known = {
        name: material(promise, replace(CIRCUIT, id=name), {"icmp": series(T0, rows)}, now_ns=AFTER)
        for name, rows in (others or {}).items()
    }
    docket = docket_over(promise, DAY, AFTER)
    extent = (DAY.start_ns, DAY.end_ns)
    return hear(promise, own, docket, now_ns=AFTER, others=known, record=record or Record(), extent=extent)


def ticket(begin: int, end: int, attribution: Attribution | None = None) -> Ticket:
    stamps = {Stamp.TICKET: T0 + begin * SPAN, Stamp.RESTORED: T0 + end * SPAN}
    return Ticket("TT-1", ("c1",), stamps, entered_ns=T0 + end * SPAN, attribution=attribution)


def test_an_outage_becomes_an_incident_with_its_seconds() -> None:
    found = heard(contract(UP), day((100, 130)))
    (incident,) = found.incidents
    assert (incident.start_ns, incident.end_ns) == (T0 + 100 * SPAN, T0 + 130 * SPAN)
    assert (incident.down_ns, incident.counted_ns) == (300 * SECOND, 300 * SECOND)
    (verdict,) = found.verdicts
    assert (verdict.state, verdict.value) == (VerdictState.BREACHED, 1 - Fraction(30, ROWS))


def test_what_is_excluded_is_in_the_incident_and_does_not_count() -> None:
    window = Exclusion("CHG-1", T0 + 90 * SPAN, T0 + 120 * SPAN, "planned work", T0 - HOUR, "both")
    found = heard(replace(contract(UP), exclusions=(window,)), day((100, 125)))
    (incident,) = found.incidents
    assert (incident.down_ns, incident.counted_ns) == (250 * SECOND, 50 * SECOND)
    assert found.verdicts[0].state is VerdictState.MET


def test_an_entry_that_lays_an_outage_at_the_customers_door_excludes_it() -> None:
    mine = Attribution(Responsible.CUSTOMER, "noc@example.net", ("power off at the customer's site",))
    plain = heard(contract(UP), day((100, 130)), Record(tickets=(ticket(100, 130),)))
    theirs = heard(contract(UP), day((100, 130)), Record(tickets=(ticket(100, 130, mine),)))
    assert plain.verdicts[0].state is VerdictState.BREACHED
    assert theirs.verdicts[0].state is VerdictState.MET
    assert "fault of the customer" in theirs.verdicts[0].sentence
    assert [item.exclusion.source for item in theirs.ruling.entries] == ["ticket"]


def test_what_is_disputed_excludes_nothing_and_is_said() -> None:
    mine = Attribution(Responsible.CUSTOMER, "noc@example.net", ("power off",), disputed="customer: it was on")
    (verdict,) = heard(contract(UP), day((100, 130)), Record(tickets=(ticket(100, 130, mine),))).verdicts
    assert (verdict.state, verdict.remark) == (VerdictState.BREACHED, "disputed")


def test_a_ticket_that_is_closed_hours_later_excludes_its_own_outage_alone() -> None:
    mine = Attribution(Responsible.CUSTOMER, "noc@example.net", ("power off",))
    stamps = {Stamp.FAULT: T0 + 100 * SPAN, Stamp.RESTORED: T0 + 130 * SPAN, Stamp.CLOSED: T0 + 5000 * SPAN}
    late = Ticket("TT-1", ("c1",), stamps, entered_ns=T0 + 5000 * SPAN, attribution=mine)
    (verdict,) = heard(contract(UP), day((100, 130), (1000, 1030)), Record(tickets=(late,))).verdicts
    assert (verdict.state, verdict.value) == (VerdictState.BREACHED, 1 - Fraction(30, ROWS - 30))


def test_an_entry_of_later_is_not_known_yet() -> None:
    mine = Attribution(Responsible.CUSTOMER, "noc@example.net", ("power off",))
    later = replace(ticket(100, 130, mine), entered_ns=AFTER + 1)
    found = heard(contract(UP), day((100, 130)), Record(tickets=(later,)))
    assert (found.verdicts[0].state, found.verdicts[0].remark) == (VerdictState.BREACHED, "")
    assert (found.ruling.entries, found.incidents[0].basis) == ((), "measured")


def test_a_third_party_is_excused_by_the_terms_alone_and_delay_by_no_outage() -> None:
    terms = (ExclusionTerms(ExclusionKind.MAINTENANCE),)
    for party, remark in ((Responsible.THIRD_PARTY, ""), (Responsible.CUSTOMER, "excused")):
        entry = Attribution(party, "noc@example.net", ("the duct was cut",))
        delay = objective(Metric.RTT, 1)
        promise = contract(UP, delay, exclusion_terms=terms)
        up, slow = heard(promise, day((100, 130)), Record(tickets=(ticket(100, 130, entry),))).verdicts
        assert (up.state, up.remark) == (VerdictState.BREACHED, remark)
        assert (slow.state, slow.remark) == (VerdictState.BREACHED, "")


@pytest.mark.parametrize("names", [("A", "B"), ("B", "A")])
def test_tickets_that_name_several_parties_excuse_their_own_part_alone(names: tuple[str, str]) -> None:
    """Of 300 s the first 100 were the customer's, the rest the provider's: the names of the tickets decide nothing."""
    parts = ((Responsible.CUSTOMER, 100, 110), (Responsible.PROVIDER, 109, 130))
    tickets = tuple(
        Ticket(name, ("c1",), {Stamp.FAULT: T0 + begin * SPAN, Stamp.RESTORED: T0 + end * SPAN}, T0 + 130 * SPAN,
               attribution=Attribution(party, "noc", ("seen",)))
        for name, (party, begin, end) in zip(names, parts, strict=True)
    )  # fmt: skip
    found = heard(contract(UP), day((100, 130)), Record(tickets=tickets))
    assert (found.verdicts[0].state, found.verdicts[0].remark) == (VerdictState.BREACHED, "")
    assert found.verdicts[0].value == 1 - Fraction(20, ROWS - 10)
    assert not excused(found.incidents[0])


def test_evidence_alone_never_excludes() -> None:
    guess = Attribution(Responsible.CUSTOMER, "evidence", ("the near end was down as well",))
    record = Record(attribute=lambda found: tuple(replace(item, attribution=guess) for item in found))
    found = heard(contract(UP), day((100, 130)), record)
    assert found.incidents[0].attribution is guess
    assert found.verdicts[0].state is VerdictState.BREACHED
    assert found.verdicts[0].remark == ""


def test_time_outside_the_service_hours_does_not_count() -> None:
    office = Hours((Daily(frozenset(range(7)), 8 * 60, 18 * 60),), "UTC", text="daily 08:00-18:00 UTC")
    promise = contract(replace(UP, hours=office))
    night = heard(promise, day((100, 130))).verdicts[0]
    assert night.state is VerdictState.MET
    assert night.evidence["service_hours"] == "daily 08:00-18:00 UTC"
    assert night.evidence["excluded_ns"] == 14 * HOUR
    noon = heard(promise, day((12 * 360, 12 * 360 + 30))).verdicts[0]
    assert noon.value == 1 - Fraction(30, 10 * 360)


def test_the_worst_of_several_circuits_decides() -> None:
    promise = contract(replace(UP, scope=Scope(("c1", "c2"), "worst")))
    (verdict,) = heard(promise, day(), others={"c2": day((100, 130))}).verdicts
    assert (verdict.state, verdict.value) == (VerdictState.BREACHED, 1 - Fraction(30, ROWS))
    assert verdict.evidence["circuits"] == ("c1", "c2")


def test_of_redundant_circuits_one_is_enough() -> None:
    promise = contract(replace(UP, scope=Scope(("c1", "c2"), "at_least", k=1)))
    apart = heard(promise, day((100, 130)), others={"c2": day((200, 230))}).verdicts[0]
    both = heard(promise, day((100, 130)), others={"c2": day((110, 140))}).verdicts[0]
    assert (apart.state, apart.value) == (VerdictState.MET, Fraction(1))
    assert (both.state, both.value) == (VerdictState.BREACHED, 1 - Fraction(20, ROWS))


def test_a_circuit_that_is_not_known_gives_no_verdict() -> None:
    promise = contract(replace(UP, scope=Scope(("c1", "elsewhere"), "worst")))
    (verdict,) = heard(promise, day()).verdicts
    assert verdict.state is VerdictState.INCONCLUSIVE
    assert "does not know the circuit elsewhere" in verdict.sentence


def test_objectives_on_outages_and_on_availability_tell_one_story() -> None:
    count = objective(Metric.OUTAGE, 1, Statistic(StatisticType.COUNT), id="count")
    repair = objective(Metric.OUTAGE, 3600 * SECOND, Statistic(StatisticType.MTTR), id="repair")
    promise = contract(UP, count, repair)
    found = heard(promise, day((100, 130), (1000, 1012)))
    values = {item.objective.id: (item.state, item.value) for item in found.verdicts}
    assert values["count"] == (VerdictState.BREACHED, 2)
    assert values["repair"] == (VerdictState.MET, Fraction(210 * SECOND))
    assert values["up"] == (VerdictState.BREACHED, 1 - Fraction(42, ROWS))


BY_TICKET = ClockTerms(start=Stamp.TICKET)


def repair_of(text: str, *tickets: Ticket, clock: ClockTerms = BY_TICKET, **how: object) -> Verdict:
    repair = objective(Metric.OUTAGE, 3600 * SECOND, Statistic(StatisticType.MTTR, **how), id="repair")  # type: ignore[arg-type]
    return heard(contract(UP, repair, clock=clock), text, Record(tickets=tickets)).verdicts[1]


def test_outages_that_nobody_opened_a_ticket_for_have_no_repair_time_and_that_is_said() -> None:
    three = day((100, 130), (1000, 1030), (2000, 2030))
    none = repair_of(three)
    assert (none.state, none.value, none.remark) == (VerdictState.INCONCLUSIVE, None, "")
    assert "3 outages have no repair time: no ticket starts the clock" in none.sentence
    some = repair_of(three, ticket(105, 130))
    assert (some.state, some.value, some.worst) == (VerdictState.MET, Fraction(250 * SECOND), None)
    assert some.estimated
    assert "2 outages have no repair time" in some.sentence
    assert some.evidence["outages_without_repair_time"] == 2
    short = repair_of(three, minimum_ns=600 * SECOND)
    assert (short.state, short.remark) == (VerdictState.MET, "no_events")


def test_outages_without_a_priority_are_told_where_priorities_matter() -> None:
    urgent = objective(Metric.OUTAGE, HOUR, Statistic(StatisticType.MTTR), id="repair", severities=("P1",))
    verdict = heard(contract(UP, urgent), day((100, 130)), Record()).verdicts[1]
    assert (verdict.state, verdict.remark) == (VerdictState.MET, "no_events")
    assert "no outage; 1 outage without a ticket that gives a priority" in verdict.sentence


def test_a_priority_goes_by_the_name_that_the_contract_gives_it() -> None:
    urgent = objective(Metric.OUTAGE, HOUR, Statistic(StatisticType.MTTR), id="repair", severities=("P1",))
    named = Service(priorities=(Priority("P1", ("Critical", "1")), Priority("P2", ("major",))))
    for written, value in (("critical", 300 * SECOND), ("1", 300 * SECOND), ("P1", 300 * SECOND), ("Major", None)):
        record = Record(tickets=(replace(ticket(100, 130), priority=written),))
        found = heard(contract(UP, urgent, service=named), day((100, 130)), record)
        assert found.verdicts[1].value == value, written
    assert found.incidents[0].priority == "P2"


def test_a_clock_that_tickets_stop_never_runs_on_for_an_outage_without_one() -> None:
    closed = ClockTerms(stop=Stamp.CLOSED)
    found = repair_of(day((100, 130)), clock=closed)
    assert (found.state, found.value) == (VerdictState.INCONCLUSIVE, None)
    assert "no ticket stops the clock" in found.sentence


def test_what_is_excluded_after_the_window_is_off_the_clock_too() -> None:
    midnight = DAY.end_ns
    stamps = {Stamp.FAULT: midnight - HOUR, Stamp.RESTORED: midnight + 3 * HOUR}
    open_ticket = Ticket("TT-1", ("c1",), stamps, entered_ns=AFTER)
    night = Exclusion("CHG-1", midnight + HOUR, midnight + 2 * HOUR, "planned work", T0, "both")
    repair = objective(Metric.OUTAGE, 3600 * SECOND, Statistic(StatisticType.MTTR), id="repair")
    promise = contract(UP, repair, exclusions=(night,))
    found = heard(promise, day((ROWS - 360, ROWS)), Record(tickets=(open_ticket,)))
    assert found.verdicts[1].value == Fraction(3 * HOUR)


def test_no_outage_is_no_repair_time() -> None:
    repair = objective(Metric.OUTAGE, 3600 * SECOND, Statistic(StatisticType.MTTR), id="repair")
    found = {item.objective.id: item for item in heard(contract(UP, repair), day()).verdicts}
    assert (found["repair"].state, found["repair"].remark) == (VerdictState.MET, "no_events")


def test_the_moment_of_the_first_sample_is_kept_apart() -> None:
    late = parse_instant("2026-10-05T12:00:00Z")
    own = material(contract(UP), CIRCUIT, {"icmp": series(late, "." * 4320)}, now_ns=AFTER, measured_since_ns=late)
    found = hear(contract(UP), own, docket_over(contract(UP), DAY, AFTER), now_ns=AFTER)
    assert found.verdicts[0].state is VerdictState.INCONCLUSIVE
