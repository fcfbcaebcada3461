"""Joining outages with tickets: against a second implementation that walks instant by instant, and what must hold."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sla.faults import joining
from agent.sla.faults.joining import first_of, incident_id, incidents_of
from agent.sla.terms.incidents import Attribution, ClockTerms, Incident, Pause, Responsible, Stamp, Ticket
from agent.sla.time.spans import NOWHERE, Spans

NOW = 60
TOLERANCE = 4
Found = set[tuple[frozenset[str], frozenset[int], int, int | None, int | None, int]]


def spans(text: str, letter: str) -> Spans:
    return Spans.of((at, at + 1) for at, found in enumerate(text) if found == letter)


def joined(text: str, tickets: list[Ticket], clock: ClockTerms) -> tuple[Incident, ...]:
    return incidents_of(
        "c1", spans(text, "D"), spans(text, "?"), spans(text, "D"), tickets, clock,
        dt_ns=1, n=2, now_ns=NOW, tolerance_ns=TOLERANCE,
    )  # fmt: skip


def summary(found: tuple[Incident, ...]) -> Found:
    return {
        (
            frozenset(ticket.id for ticket in item.tickets),
            frozenset(at for start, end in item.down for at in range(start, end)),
            item.start_ns,
            item.end_ns,
            item.repair.contract_ns,
            item.repair.paused_ns,
        )
        for item in found
    }


# The second implementation: plain lists of instants, sets merged until nothing changes.


def naive_outages(text: str, bridge: int) -> list[tuple[list[int], bool]]:
    runs: list[list[int]] = []
    for at, letter in enumerate(text):
        if letter != "D":
            continue
        gap = text[runs[-1][-1] + 1 : at] if runs else ""
        if runs and len(gap) <= bridge and set(gap) <= {"?"}:
            runs[-1].append(at)
        else:
            runs.append([at])
    return [(run, set(text[run[-1] + 1 :]) <= {"?"}) for run in runs]


def naive_reach(ticket: Ticket) -> tuple[int, int | None]:
    start = ticket.stamps.get(Stamp.FAULT, min(ticket.stamps.values()))
    for stamp in (Stamp.RESTORED, Stamp.CONFIRMED):
        if stamp in ticket.stamps:
            return start, max(start, ticket.stamps[stamp])
    return start, None


def naive_distance(outage: tuple[list[int], bool], start: int, end: int) -> int:
    run, ongoing = outage
    first, last = run[0], 10**6 if ongoing else run[-1] + 1
    return max(0, first - end, start - last)


def naive_about(ticket: Ticket, outages: list[tuple[list[int], bool]]) -> set[int]:
    start, end = naive_reach(ticket)
    if end is not None:
        inside = {place for place, item in enumerate(outages) if naive_distance(item, start, end) == 0}
        if inside:
            return inside
    near = min(
        ((naive_distance(item, start, start if end is None else end), place) for place, item in enumerate(outages)),
        default=(TOLERANCE + 1, 0),
    )
    if near[0] > TOLERANCE:
        return set()
    found = {near[1]}
    if end is None:
        for place in range(near[1] + 1, len(outages)):
            begin = outages[place][0][0]
            if begin - (outages[place - 1][0][-1] + 1) > TOLERANCE or begin > ticket.stamps.get(Stamp.CLOSED, 10**6):
                break
            found.add(place)
    return found


def naive_clock(stamps: dict[Stamp, int], tickets: list[Ticket], clock: ClockTerms) -> tuple[int | None, int]:
    starts = [stamps[stamp] for stamp in (clock.start, *([Stamp.TICKET] if clock.earlier else [])) if stamp in stamps]
    if not starts or clock.stop not in stamps:
        return None, 0
    running = paused = 0
    for at in range(min(starts), stamps[clock.stop]):
        stands = any(
            pause.start_ns <= at < (10**6 if pause.end_ns is None else pause.end_ns)
            for ticket in tickets
            for pause in ticket.pauses
            if clock.pauses is None or pause.reason in clock.pauses
        )
        if stands and (clock.pause_cap_ns is None or paused < clock.pause_cap_ns):
            paused += 1
        else:
            running += 1
    return running, paused


def naive(text: str, tickets: list[Ticket], clock: ClockTerms) -> Found:
    outages = naive_outages(text, clock.bridge_ns)
    groups = [({place}, set[str]()) for place in range(len(outages))]
    by_id = {ticket.id: ticket for ticket in tickets}
    loose = []
    for ticket in tickets:
        about = naive_about(ticket, outages)
        if about:
            groups.append((about, {ticket.id}))
        else:
            loose.append(ticket)
    for ticket in loose:
        start, end = naive_reach(ticket)
        mine = set(range(start, (start if end is None else end) + 1))
        others = {
            other.id
            for other in loose
            if mine & set(range(naive_reach(other)[0], (naive_reach(other)[1] or naive_reach(other)[0]) + 1))
        }
        groups.append((set(), others | {ticket.id}))
    changed = True
    while changed:
        changed = False
        for one in groups:
            for other in groups:
                if one is not other and (one[0] & other[0] or one[1] & other[1]):
                    one[0].update(other[0])
                    one[1].update(other[1])
                    groups.remove(other)
                    changed = True
                    break
            if changed:
                break
    return {
        naive_incident([outages[i] for i in sorted(places)], [by_id[n] for n in names], clock)
        for places, names in groups
    }


def naive_incident(
    outages: list[tuple[list[int], bool]], tickets: list[Ticket], clock: ClockTerms
) -> tuple[frozenset[str], frozenset[int], int, int | None, int | None, int]:
    ongoing = any(item[1] for item in outages)
    stamps: dict[Stamp, int] = {}
    if outages:
        stamps[Stamp.FAULT] = outages[0][0][0]
        if outages[0][0][0] + 2 <= NOW:
            stamps[Stamp.DETECTED] = outages[0][0][0] + 2
        if not ongoing:
            stamps[Stamp.RESTORED] = outages[-1][0][-1] + 1
    for stamp in Stamp:
        given = sorted(ticket.stamps[stamp] for ticket in tickets if stamp in ticket.stamps)
        if given:
            early = stamp in (Stamp.FAULT, Stamp.DETECTED, Stamp.TICKET, Stamp.RESPONSE)
            stamps[stamp] = given[0] if early else given[-1]
    contract, paused = naive_clock(stamps, tickets, clock)
    reaches = [naive_reach(ticket) for ticket in tickets]
    start = min([item[0][0] for item in outages] + [reach[0] for reach in reaches])
    ends = [item[0][-1] + 1 for item in outages] + [reach[1] for reach in reaches if reach[1] is not None]
    if not outages and not ends:
        ends = [ticket.stamps[Stamp.CLOSED] for ticket in tickets if Stamp.CLOSED in ticket.stamps]
    end = None if ongoing or not ends else max(start, *ends)
    return (
        frozenset(ticket.id for ticket in tickets),
        frozenset(at for item in outages for at in item[0]),
        start,
        end,
        contract,
        paused,
    )


def drawn(seed: int) -> tuple[str, list[Ticket], ClockTerms]:
    dice = random.Random(seed)
    text = ""
    while len(text) < NOW:
        text += dice.choice("UUD?") * dice.randint(1, 7)
    tickets = []
    for number in range(dice.randint(0, 4)):
        at = dice.randrange(NOW - 2)
        stamps = {dice.choice((Stamp.FAULT, Stamp.TICKET, Stamp.DETECTED)): at}
        for stamp in (Stamp.RESTORED, Stamp.CONFIRMED, Stamp.CLOSED):
            if dice.random() < 0.4:
                at = min(NOW - 1, at + dice.randrange(8))
                stamps[stamp] = at
        pauses = []
        for _ in range(dice.randint(0, 2)):
            begin = dice.randrange(NOW - 1)
            end = None if dice.random() < 0.2 else begin + dice.randint(1, 9)
            pauses.append(Pause(begin, end, dice.choice(("access", "power"))))
        tickets.append(Ticket(f"T{number}", ("c1",), stamps, number, tuple(pauses)))
    clock = ClockTerms(
        dice.choice((Stamp.FAULT, Stamp.DETECTED, Stamp.TICKET)),
        dice.choice((Stamp.RESTORED, Stamp.CONFIRMED)),
        dice.random() < 0.3,
        dice.choice((None, (), ("access",))),
        dice.choice((None, 0, 3)),
        dice.choice((0, 2, 5)),
    )
    return text[:NOW], tickets, clock


def disagreements(seeds: range) -> int:
    return sum(summary(joined(*drawn(seed))) != naive(*drawn(seed)) for seed in seeds)


def test_a_walk_by_instants_finds_the_same_incidents() -> None:
    for seed in range(6000):
        text, tickets, clock = drawn(seed)
        assert summary(joined(text, tickets, clock)) == naive(text, tickets, clock), seed


def test_the_walk_catches_bridging_over_time_that_was_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "_all", lambda unknown, start, end: True)  # noqa: ARG005
    assert disagreements(range(200)) > 20


def test_the_walk_catches_a_cap_that_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "first_of", lambda spans, ns: spans)  # noqa: ARG005
    assert disagreements(range(400)) > 5


seeds = st.integers(0, 10**9)


@given(seeds)
def test_down_time_is_conserved(seed: int) -> None:
    text, tickets, clock = drawn(seed)
    found = joined(text, tickets, clock)
    assert sum(item.down_ns for item in found) == text.count("D")
    assert list(Spans.of(pair for item in found for pair in item.down)) == list(spans(text, "D"))


@given(seeds)
def test_a_clock_is_never_negative_and_pauses_only_take_off(seed: int) -> None:
    text, tickets, clock = drawn(seed)
    bare = {item.id: item for item in joined(text, [replace(ticket, pauses=()) for ticket in tickets], clock)}
    for item in joined(text, tickets, clock):
        if item.repair.contract_ns is None:
            assert bare[item.id].repair.contract_ns is None
            continue
        assert item.repair.contract_ns >= 0
        assert item.repair.contract_ns + item.repair.paused_ns == bare[item.id].repair.contract_ns
        if clock.pause_cap_ns is not None:
            assert item.repair.paused_ns <= clock.pause_cap_ns


@given(seeds, st.randoms(use_true_random=False))
def test_the_order_of_tickets_and_outages_does_not_matter(seed: int, dice: random.Random) -> None:
    text, tickets, clock = drawn(seed)
    before = joined(text, tickets, clock)
    dice.shuffle(tickets)
    after = joined(text, tickets, clock)
    assert [(item.id, summary((item,))) for item in after] == [(item.id, summary((item,))) for item in before]


@given(seeds)
def test_every_ticket_of_the_circuit_is_in_one_incident(seed: int) -> None:
    text, tickets, clock = drawn(seed)
    strangers = [replace(ticket, id=f"X{ticket.id}", circuits=("c2",)) for ticket in tickets]
    found = joined(text, [*tickets, *strangers], clock)
    assert sorted(ticket.id for item in found for ticket in item.tickets) == sorted(ticket.id for ticket in tickets)
    assert len({item.id for item in found}) == len(found)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 8))), st.integers(0, 60))
def test_the_first_so_many_ns(pairs: list[tuple[int, int]], ns: int) -> None:
    whole = Spans.of((start, start + length) for start, length in pairs)
    instants = [at for start, end in whole for at in range(start, end)]
    assert [at for start, end in first_of(whole, ns) for at in range(start, end)] == instants[:ns]


def test_an_id_stays_when_a_ticket_comes() -> None:
    at = 1_790_000_000 * 10**9
    down = Spans.of([(at, at + 600 * 10**9)])
    alone = incidents_of("c1", down, NOWHERE, down, [], ClockTerms(), dt_ns=10**10, now_ns=at * 2)
    ticket = Ticket("T1", ("c1",), {Stamp.TICKET: at - 60 * 10**9}, at)
    both = incidents_of("c1", down, NOWHERE, down, [ticket], ClockTerms(), dt_ns=10**10, now_ns=at * 2)
    assert alone[0].id == both[0].id == "c1-20260921T141320Z"
    assert (alone[0].basis, both[0].basis) == ("measured", "both")
    assert incident_id("c1", at + 5_000_000) == "c1-20260921T141320.005Z"


def test_a_ticket_for_two_circuits_gives_each_its_own_incident() -> None:
    ticket = Ticket("T1", ("c1", "c2"), {Stamp.TICKET: 5}, 5)
    found = [
        incidents_of(name, NOWHERE, NOWHERE, NOWHERE, [ticket], ClockTerms(), dt_ns=1, now_ns=9)[0].id
        for name in ("c1", "c2")
    ]
    assert found == ["T1/c1", "T1/c2"]


def test_what_is_entered_or_happens_later_is_not_known_yet() -> None:
    ticket = Ticket("T1", ("c1",), {Stamp.TICKET: 5, Stamp.RESTORED: 50}, 10, (Pause(40, 45, "power"),))
    found = incidents_of("c1", NOWHERE, NOWHERE, NOWHERE, [ticket], ClockTerms(), dt_ns=1, now_ns=20)
    assert found[0].end_ns is None
    assert found[0].tickets[0].pauses == ()
    assert not incidents_of("c1", NOWHERE, NOWHERE, NOWHERE, [ticket], ClockTerms(), dt_ns=1, now_ns=9)


def test_attributions_of_two_tickets_stand_one_behind_the_other() -> None:
    tickets = [
        Ticket(f"T{number}", ("c1",), {Stamp.TICKET: 5}, number, attribution=Attribution(party, f"p{number}", ("why",)))
        for number, party in enumerate((Responsible.PROVIDER, Responsible.CUSTOMER))
    ]
    found = incidents_of("c1", NOWHERE, NOWHERE, NOWHERE, tickets, ClockTerms(), dt_ns=1, now_ns=9)
    assert len(found) == 1
    attribution = found[0].attribution
    assert (attribution.party, attribution.by) == (Responsible.CUSTOMER, "p1")
    assert attribution.before is not None
    assert (attribution.before.party, attribution.before.by) == (Responsible.PROVIDER, "p0")
