"""Who measures, which time counts, what is taken out of it, and how long an outage lasts, in plain language. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from agent.sla.exclusion.exclusions import ExclusionKind, ExclusionTerms
from agent.sla.samples.feeds import feed
from agent.sla.terms.contract import Contract, Metric, Objective, StatisticType
from agent.sla.terms.incidents import Stamp
from agent.sla.time.hours import Hours
from agent.sla.words.clauses import Clause, Table, day, length, listed, rate, sentence
from agent.sla.words.wording import plural
from probes.core.model import Circuit, ProbeSetting
from probes.core.units import DSCP_NAMES

_RECORDS: Final = {
    "ours": "The record of this measurement is final",
    "theirs": "The other side's record is final; this measurement is shown beside it, with the difference",
    "agreed": "A record that both sides agree on is final; this measurement is shown beside it, with the difference",
}
_TIES: Final = {
    "ours": "Where two records differ, that of this measurement counts",
    "theirs": "Where two records differ, that of the other side counts",
    "mean": "Where two records differ, the mean of both counts",
    "better": "Where two records differ, the one that is better for the customer counts",
    "worse": "Where two records differ, the one that is worse for the customer counts",
}
_PATHS: Final = {
    "round_trip": "What is measured is the way there and back",
    "forward": "What is measured is the way there",
    "backward": "What is measured is the way back",
    "both": "What is measured is the way there and the way back, each for itself",
}
_STAMPS: Final = {
    Stamp.FAULT: "the beginning of the fault as measured",
    Stamp.DETECTED: "the moment the fault was detected",
    Stamp.TICKET: "the opening of the ticket",
    Stamp.RESPONSE: "the first response to the ticket",
    Stamp.RESTORED: "the restoration of service (as measured, where no ticket says it)",
    Stamp.CONFIRMED: "the customer's confirmation that the service works",
    Stamp.CLOSED: "the closing of the ticket",
}
_KINDS: Final = {
    ExclusionKind.MAINTENANCE: "Planned maintenance",
    ExclusionKind.EMERGENCY_MAINTENANCE: "Emergency maintenance",
    ExclusionKind.CUSTOMER: "Time for which the customer is responsible",
    ExclusionKind.THIRD_PARTY: "Time for which a third party is responsible",
    ExclusionKind.FORCE_MAJEURE: "Force majeure",
    ExclusionKind.ACCESS_REFUSED: "Time in which access to the site was refused",
    ExclusionKind.SUSPENSION: "Suspension of the service",
    ExclusionKind.NO_TICKET: "Time without a ticket of the customer",
}


def code_point(dscp: int) -> str:
    """`EF (46)`, or the number where it has no name."""
    name = next((name for name, number in DSCP_NAMES.items() if number == dscp), "")
    return f"{name} ({dscp})" if name else str(dscp)


def measurement(contract: Contract, circuit: Circuit | None) -> Iterator[Clause]:
    """Who measures what between which points."""
    terms = contract.measurement
    how = [_RECORDS[terms.record]]
    if terms.tie is not None:
        how.append(_TIES[terms.tie])
    if terms.sources:
        how.append(f"Measured by {listed(terms.sources)}")
    if terms.method:
        how.append(f"Method: {terms.method}")
    if terms.point_a or terms.point_b or any(_is_directed(item) for item in contract.objectives):
        how.append(f"Measured from {terms.point_a or 'the measuring host'} (A) to {terms.point_b or 'the target'} (B)")
    if terms.path is not None:
        how.append(_PATHS[terms.path])
    packet = [f"{terms.packet_size} octets"] if terms.packet_size is not None else []
    packet += [f"code point {code_point(terms.dscp)}"] if terms.dscp is not None else []
    if packet:
        how.append(f"The packets have {listed(packet)}")
    if terms.timeout_ns is not None:
        how.append(f"A packet without an answer after {length(terms.timeout_ns)} is lost")
    if terms.interval_ns is not None:
        how.append(f"One packet is sent in {length(terms.interval_ns)}")
    if terms.note:
        how.append(terms.note)
    yield Clause("Whose record is final", tuple(sentence(text) for text in how))
    if circuit is not None:
        probes = [probe for probe in _feeding(contract, circuit) if probe is not None]
        text = [sentence(_probe(probe, circuit)) for probe in probes]
        yield Clause(
            f"Probes of circuit {circuit.id}",
            tuple(text) or ("No probe of this circuit measures what this contract is about.",),
        )


def _is_directed(objective: Objective) -> bool:
    """Whether its words name a point."""
    return objective.statistic.direction in ("forward", "backward")


def _feeding(contract: Contract, circuit: Circuit) -> tuple[ProbeSetting | None, ...]:
    """Probes that feed an objective, once each, in the contract's order."""
    found = {probe.name: probe for item in contract.objectives if (probe := feed(item, circuit)) is not None}
    return tuple(found.values())


def _probe(probe: ProbeSetting, circuit: Circuit) -> str:
    """Kind, pace, size and marking of one probe, and what it is sent to."""
    values, every = probe.parameters, probe.parameters.get("every")
    name = probe.kind if probe.name == probe.kind else f"{probe.name} ({probe.kind})"
    text = f"{name} to {circuit.target}"
    if probe.schedule is not None:
        text += f", by the timetable “{probe.schedule}” in UTC"
    elif isinstance(every, int):
        text += f", every {length(every)}"
    if isinstance(size := values.get("size"), int):
        text += f", {size} octets"
    if isinstance(timeout := values.get("timeout"), int):
        text += f", time-out {length(timeout)}"
    dscp = values.get("dscp")
    return f"{text}, code point {code_point(dscp if isinstance(dscp, int) else circuit.dscp)}"


def time(contract: Contract) -> Iterator[Clause]:
    """Zone, service hours, months, missing data, shared fate."""
    zone = [
        f"Days, months and years begin at midnight in {contract.time_zone}",
        "Where a clock change makes a day or a month an hour shorter or longer, it counts as it was",
        "Of a window that the contract is valid for only in part, only that part counts",
    ]
    if contract.month_basis == "fixed_720h":
        zone.append("For availability, every month is taken as 720 h, whatever its length")
    yield Clause("Time zone", tuple(sentence(text) for text in zone))
    if contract.hours is not None:
        yield Clause("Service hours", tuple(_hours(contract.hours, contract)))
    missing = [
        "Time that nobody measured is neither up nor down: the verdict says what it would be at best and at worst"
        if all(item.coverage.unknown == "bounds" for item in contract.objectives)
        else "What time counts that nobody measured, each promise says for itself",
        {
            "unknown": "Where everything this agent watches fails at once, the agent's own site may be at fault: that "
            "time counts as not measured",
            "count": "Where everything this agent watches fails at once, each circuit is held to account all the same",
        }[contract.shared_fate],
    ]
    yield Clause("What was not measured", tuple(sentence(text) for text in missing))


def _hours(hours: Hours, contract: Contract) -> Iterator[str]:
    yield sentence(f"Where a promise names no other time, only {hours.text or 'the service hours'} count")
    if hours.holidays == "include":
        yield "Holidays count like any other day."
        return
    dates = sorted(hours.dates or contract.holidays)
    if dates:
        what = "do not count" if hours.holidays == "exclude" else "are all that counts"
        yield f"These holidays {what}: {listed(day(date) for date in dates)}."


def exclusions(contract: Contract) -> Iterator[Clause]:
    """What can be taken out, and what it takes to do so."""
    by = "by an entry that a person confirmed"
    if any(terms.standing for terms in contract.exclusion_terms):
        by = "where this contract says so itself, or " + by
    yield Clause(
        "What can be excluded",
        (
            f"Time is excluded only {by}; the measurement itself excludes nothing.",
            "An entry made after its own start is shown as such, and holds only once somebody confirmed it by name.",
            "Time that several entries exclude is excluded once.",
            *(() if contract.exclusion_terms else ("Every confirmed entry holds, of whatever kind.",)),
            *(("No other kinds of time are excluded than the following.",) if contract.exclusion_terms else ()),
        ),
    )
    for terms in contract.exclusion_terms:
        yield Clause(_KINDS[terms.kind], tuple(_exclusion(terms)))


def _exclusion(terms: ExclusionTerms) -> Iterator[str]:
    if terms.standing and terms.hours is not None:
        yield f"The time {terms.hours.text or 'of its hours'} is excluded by itself: it needs neither notice nor entry."
    elif terms.notice_ns:
        yield f"It takes a notice at least {length(terms.notice_ns)} before it begins; later, and the time counts."
    else:
        yield "It needs no notice in advance."
    if terms.hours is not None and not terms.standing:
        yield f"Only the time {terms.hours.text or 'of its hours'} can be excluded."
    if terms.allowance_ns is not None:
        per = terms.per.replace("_", " ")
        yield f"At most {length(terms.allowance_ns)} are excluded in a {per}; what goes beyond counts again."
    if terms.evidence:
        yield "An entry without evidence does not hold."
    if terms.approval:
        yield f"It must have been confirmed by the {terms.approval.replace('_', ' ')}."
    if terms.effect == "numerator_only":
        yield "The time counts as up and stays in the total."
    else:
        yield "The time leaves the total as well: it is neither up nor down."
    if terms.overlap == "provider_wins":
        yield "Where the provider is at fault at the same time, the time counts as down."
    else:
        yield "Where another cause falls into the same time, the time stays excluded."


def about_outages(contract: Contract) -> bool:
    """Whether anything of the contract rests on single outages."""
    return bool(
        contract.chronic
        or any(item.metric is Metric.OUTAGE for item in contract.objectives)
        or any(item.statistic.type is StatisticType.AVAILABILITY_OUTAGE for item in contract.objectives)
        or any(terms.objective is None for terms in contract.credits)
    )


def outages(contract: Contract) -> Iterator[Clause]:
    """What one outage is, and the clock of its repair."""
    machine = contract.availability()
    found = (
        [
            f"An outage is what objective {machine.id} finds, joined with the tickets about it; where the two differ, "
            "both times are shown"
        ]
        if machine is not None
        else ["An outage is what a ticket says: this contract has no promise on availability that would find one"]
    )
    if contract.clock.bridge_ns and machine is not None:
        found.append(
            f"Two outages with at most {length(contract.clock.bridge_ns)} of unmeasured time between them are one"
        )
    found.append("Who is responsible is said with the evidence; whoever disputes it enters so, and both views stay")
    yield Clause("What an outage is", tuple(sentence(text) for text in found))
    yield Clause("The repair clock", tuple(sentence(text) for text in _clock(contract)))


def _clock(contract: Contract) -> Iterator[str]:
    terms = contract.clock
    start = _STAMPS[terms.start]
    if terms.earlier and terms.start is not Stamp.TICKET:
        start += f" or {_STAMPS[Stamp.TICKET]}, whichever is earlier"
    yield f"It runs from {start}{',' if ',' in start else ''} to {_STAMPS[terms.stop]}"
    cap = f", for at most {length(terms.pause_cap_ns)} of an outage" if terms.pause_cap_ns is not None else ""
    if terms.pauses is None:
        yield f"It stops for every pause that is entered with its reason{cap}"
    elif terms.pauses:
        yield f"It stops for: {listed(reason.replace('_', ' ') for reason in terms.pauses)}{cap}; for nothing else"
    else:
        yield "Nothing stops it"
    yield "The measured duration is shown beside it, with the difference"


def service(contract: Contract, circuit: Circuit | None) -> Iterator[Clause]:
    """What was bought."""
    bought = contract.service
    what = [f"The provider calls the service {bought.id}"] if bought.id else []
    if bought.kind or bought.service_class:
        named = " ".join(
            word for word in (bought.kind, bought.service_class and f"class {bought.service_class}") if word
        )
        what.append(f"The service is {named}")
    if bought.endpoints:
        what.append(f"It connects {listed(bought.endpoints)}")
    layer = f", counted at {bought.layer}" if bought.layer else ""
    if bought.cir_bps is not None:
        what.append(f"Its committed rate (CIR) is {rate(bought.cir_bps)}{layer}")
    if bought.eir_bps:
        what.append(f"Its excess rate (EIR), without a promise, is {rate(bought.eir_bps)}")
    if circuit is not None:
        where = f" at {circuit.site}" if circuit.site else ""
        what.append(f"Circuit {circuit.id}{where}, measured to {circuit.target}")
        if circuit.committed_rate_bps is not None and circuit.committed_rate_bps != bought.cir_bps:
            what.append(f"The committed rate of this circuit is {rate(circuit.committed_rate_bps)}")
    if bought.redundancy is not None:
        members = listed(bought.redundancy.members)
        what.append(
            f"It consists of {members}; it is up while at least {plural(bought.redundancy.k, 'circuit')} of them "
            f"{'is' if bought.redundancy.k == 1 else 'are'} up (MEF 10.4 section 8.8.11)"
        )
    if circuit is not None and circuit.monthly_charge:
        what.append(f"The monthly charge of circuit {circuit.id} is {circuit.monthly_charge}")
    elif bought.monthly_charge is not None:
        what.append(f"The monthly charge is {bought.monthly_charge}, for a circuit that has none of its own")
    if what:
        yield Clause("What was bought", tuple(sentence(text) for text in what))
    if bought.priorities:
        rows = tuple((item.name, ", ".join(item.also), item.text) for item in bought.priorities)
        told = "A priority of a ticket or an event is one of these, whatever it is called there."
        yield Clause("Priorities", (told,), table=Table(("priority", "also called", "meaning"), rows))


def parties(contract: Contract) -> Clause:
    """Who signed, and from when to when."""
    provider, customer = contract.provider, contract.customer
    text = [f"{provider.name or provider.id} provides, {customer.name or customer.id} buys"]
    text += [f"{other.name or other.id} takes part as {other.role.replace('_', ' ')}" for other in contract.others]
    if contract.valid_from and contract.valid_to:
        text.append(f"Valid from {day(contract.valid_from)} to {day(contract.valid_to)}, both days included")
    elif contract.valid_from:
        text.append(f"Valid from {day(contract.valid_from)} on, without an end")
    elif contract.valid_to:
        text.append(f"Valid until {day(contract.valid_to)}, this day included")
    else:
        text.append("Valid without a first and a last day")
    if contract.service_start is not None:
        text.append(f"The service started on {day(contract.service_start)}: contract years begin on that day")
    if contract.models:
        text.append(f"Shaped after {contract.models}")
    return Clause("Parties and time", tuple(sentence(item) for item in text), table=_contacts(contract))


def _contacts(contract: Contract) -> Table | None:
    rows = tuple(
        (party.name or party.id, party.role.replace("_", " "), ", ".join(party.contacts))
        for party in (contract.provider, contract.customer, *contract.others)
        if party.contacts
    )
    return Table(("party", "role", "contacts"), rows) if rows else None
