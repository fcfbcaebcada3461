"""Who answers for an outage: what the sentences say, and what is read of the neighbours for them."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agent.sla.faults.joining import EVIDENCE, incidents_of
from agent.sla.faults.responsibility import AROUND_NS, Neighbour, Surroundings, attribute
from agent.sla.samples.causes import Gap
from agent.sla.samples.columns import SampleColumns
from agent.sla.terms.incidents import Attribution, ClockTerms, Incident, Responsible
from agent.sla.time.spans import NOWHERE, Spans
from agent.surroundings import MOST, surroundings_of
from probes.core.clock import SECOND
from probes.core.model import Circuit, ProbeSetting
from tests.fakes.columns import SPAN
from tests.fakes.contracts import series

DAY = 1_790_035_200 * SECOND
ICMP = (ProbeSetting("icmp", "icmp", {"every": SECOND}),)
DOWN = Spans.of([(DAY + 30 * SPAN, DAY + 60 * SPAN)])
WHOLE = Spans.of([(DAY, DAY + 120 * SPAN)])


def incident(down: Spans = DOWN) -> Incident:
    return incidents_of("c1", down, NOWHERE, down, [], ClockTerms(), dt_ns=SPAN, now_ns=DAY + 1000 * SPAN)[0]


def neighbour(name: str, failed: Spans = NOWHERE, provider: str = "P", site: str = "", target: str = "") -> Neighbour:
    return Neighbour(name, target or name, provider, site, failed, WHOLE - failed)


def told(around: Surroundings, what: Incident | None = None) -> tuple[Responsible, str]:
    found = attribute(what or incident(), around)
    return found.party, " ".join(found.reasons)


def test_what_is_not_known_is_said() -> None:
    party, text = told(Surroundings())
    assert party is Responsible.UNKNOWN
    for sentence in (
        "Nobody can say who answers for it: nothing else was measured at that time.",
        "The interface that the circuit leaves by is not configured, so that its carrier is not watched.",
        "No near end is configured.",
        "No gateway is watched.",
        "No far end is configured.",
        "No other circuit is measured by this agent.",
        "The path was not recorded.",
        "This agent measured without a gap around it.",
    ):
        assert sentence in text
    assert "No record of the carrier of interface eth0." in told(Surroundings(interface="eth0"))[1]


def test_paths_and_gaps_are_told_where_there_are_any() -> None:
    gap = ("agent stopped", DAY + 61 * SPAN, DAY + 70 * SPAN)
    _, text = told(Surroundings(path_before="a b c", gaps=(gap, ("x", DAY + 600 * SPAN, DAY + 601 * SPAN))))
    assert "Path before: a b c; after: not recorded." in text
    assert "This agent did not measure from 2026-09-22 00:10:10 UTC to 2026-09-22 00:11:40 UTC: agent stopped." in text


def test_shared_fate_names_provider_and_site() -> None:
    others = (neighbour("c2", DOWN, "P", "AMS"), neighbour("c3", DOWN, "Q", "AMS"), neighbour("c4", provider="R"))
    party, text = told(Surroundings(provider="P", site="AMS", target="c1", others=others))
    assert party is Responsible.UNKNOWN
    assert "circuits of different providers failed at the same time" in text
    assert "They all end at AMS." in text
    assert (
        "2 other circuits failed at the same time: c2, c3 (1 of them of the same provider, P; 2 of them at the same"
        in text
    )


def test_a_circuit_to_the_same_target_is_no_witness_when_it_fails() -> None:
    others = (neighbour("c2", DOWN, "P", target="far"), neighbour("c3", provider="Q"))
    party, text = told(Surroundings(provider="P", target="far", others=others))
    assert party is Responsible.PROVIDER
    assert "other circuits of this agent stayed well" in text


def test_half_of_the_outage_is_together() -> None:
    """Down for 300 s. A neighbour that failed for 150 s of it failed with it, one that failed for 140 s did not."""
    for seconds, party in ((150, Responsible.AGENT), (140, Responsible.PROVIDER)):
        partly = Spans.of([(DAY + 30 * SPAN, DAY + 30 * SPAN + seconds * SECOND)])
        assert told(Surroundings(near_end=neighbour("edge", partly)))[0] is party


def test_many_names_are_cut_short() -> None:
    others = tuple(neighbour(f"c{number}") for number in range(9))
    assert "9 other circuits stayed well: c0, c1, c2, c3 and 5 more." in told(Surroundings(others=others))[1]


def test_an_entry_stands_before_the_evidence_however_often_it_was_replaced() -> None:
    first = Attribution(Responsible.UNKNOWN, EVIDENCE, disputed="noc: no")
    second = Attribution(Responsible.PROVIDER, "anna", ("cut",), before=first)
    third = Attribution(Responsible.CUSTOMER, "bert", ("power",), disputed="anna: no", before=second)
    found = attribute(replace(incident(), attribution=third), Surroundings(near_end=neighbour("edge", DOWN)))
    assert (found.party, found.by, found.disputed) == (Responsible.CUSTOMER, "bert", "anna: no")
    assert found.before is not None
    assert found.before.before is not None
    evidence = found.before.before
    assert (evidence.party, evidence.by, evidence.disputed) == (Responsible.AGENT, EVIDENCE, "noc: no")


@given(st.integers(0, 10**9))
def test_evidence_never_blames_the_customer_or_a_third_party_and_always_gives_a_reason(seed: int) -> None:
    dice = random.Random(seed)

    def any_neighbour(name: str) -> Neighbour:
        failed = dice.choice((NOWHERE, DOWN, WHOLE))
        well = dice.choice((NOWHERE, WHOLE - failed))
        return Neighbour(name, dice.choice(("x", "y", "c1")), dice.choice("PQ"), dice.choice(("", "AMS")), failed, well)

    def perhaps(name: str) -> Neighbour | None:
        return any_neighbour(name) if dice.random() < 0.5 else None

    around = Surroundings(
        "P", "AMS", "c1", perhaps("near"), perhaps("far"), perhaps("gateway"), dice.choice(("", "eth0")),
        dice.choice((None, NOWHERE, DOWN)), tuple(any_neighbour(f"n{index}") for index in range(dice.randint(0, 4))),
    )  # fmt: skip
    found = attribute(incident(), around)
    assert found.party in (Responsible.PROVIDER, Responsible.AGENT, Responsible.UNKNOWN)
    assert found.by == EVIDENCE
    assert found.reasons
    assert all(reason.endswith(".") for reason in found.reasons)
    shuffled = list(around.others)
    dice.shuffle(shuffled)
    assert attribute(incident(), replace(around, others=tuple(shuffled))).party is found.party


class FakeSamples:
    """Samples of circuits by letters, one for 10 s; remembers what was asked for."""

    def __init__(self, **texts: str) -> None:
        self.texts = texts
        self.asked: list[tuple[str, int, int]] = []

    def read(self, circuit: str, reading: Any) -> SampleColumns:
        self.asked.append((circuit, reading.start_ns, reading.end_ns))
        return series(DAY, self.texts.get(circuit, "?")).between(reading.start_ns, reading.end_ns)

    def gaps(self, circuit: str, start_ns: int, end_ns: int) -> list[Gap]:  # noqa: ARG002
        return [Gap(start_ns, start_ns + 1, "stopped"), Gap(start_ns, start_ns, "run skipped", "tcp")]

    def carrier_down(self, interface: str, start_ns: int, end_ns: int) -> Spans:
        return Spans.of([(start_ns, end_ns)]) if interface == "eth1" else NOWHERE


def circuit(name: str, target: str = "", **more: Any) -> Circuit:
    return Circuit(name, target or f"192.0.2.{name[1:]}", probes=ICMP, **more)


def test_neighbours_are_read_around_the_outages_only() -> None:
    good, bad = "." * 120, "." * 30 + "H" * 30 + "." * 60
    source = FakeSamples(c1=bad, c2=bad, c3=good, edge=good)
    circuits = (
        circuit("c1", provider="P", site="AMS", near_end="edge", far_end="gone", interface="eth0"),
        circuit("c2", provider="P"),
        circuit("c3", provider="Q"),
        circuit("edge", "192.0.2.200"),
        circuit("self", "127.0.0.1"),
        circuit("gateway", "192.0.2.1"),
        circuit("resolver", "192.0.2.53"),
    )
    found = surroundings_of(
        source, circuits[0], circuits, DOWN, discovered={"gateway": "gateway", "resolver": "resolver"}
    )
    assert [item.circuit for item in found.others] == ["c2", "c3"]
    assert found.near_end is not None
    assert found.far_end is None
    assert found.gateway is not None
    assert found.gateway.circuit == "gateway"
    assert list(found.others[0].failed) == list(DOWN)
    assert list(found.others[1].failed) == []
    assert found.near_end.well.length_ns == DOWN.length_ns + 2 * AROUND_NS
    assert found.gaps == (("stopped", DAY + 30 * SPAN - AROUND_NS, DAY + 30 * SPAN - AROUND_NS + 1),)
    assert found.carrier_down is not None
    assert {name for name, _, _ in source.asked} == {"c2", "c3", "edge", "gateway"}
    for _, start, end in source.asked:
        assert (start, end) == (DAY + 30 * SPAN - AROUND_NS, DAY + 60 * SPAN + AROUND_NS)
    assert attribute(incident(), found).party is Responsible.PROVIDER


def test_without_an_outage_nothing_is_read() -> None:
    source = FakeSamples()
    found = surroundings_of(source, circuit("c1", interface="eth1"), (circuit("c2"),), NOWHERE)
    assert source.asked == []
    assert found.carrier_down is None


def test_no_more_than_so_many_neighbours_are_read_the_like_ones_first() -> None:
    circuits = [circuit(f"c{number:03}", f"198.51.100.{number}", provider="Q") for number in range(MOST + 20)]
    circuits.append(circuit("z999", "203.0.113.9", provider="P"))
    source = FakeSamples()
    found = surroundings_of(source, circuit("c1", provider="P"), circuits, DOWN)
    assert len(found.others) == MOST
    assert found.others[0].circuit == "z999"


def test_an_attempt_stands_for_the_time_until_the_next() -> None:
    every = ProbeSetting("tcp", "tcp", {"every": 30 * SECOND})
    source = FakeSamples(c2="H.......")
    other = Circuit("c2", "192.0.2.2", probes=(every,))
    found = surroundings_of(source, circuit("c1"), (other,), Spans.of([(DAY + 15 * SECOND, DAY + 16 * SECOND)]))
    assert source.asked == [("c2", DAY + 15 * SECOND - AROUND_NS - 30 * SECOND, DAY + 16 * SECOND + AROUND_NS)]
    assert list(found.others[0].failed) == [(DAY, DAY + 30 * SECOND)]
