"""The contracts of config/contracts: each loads, fits its sample circuits, is explained without a hole, and pays."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from agent import contract_files
from agent.cli.contract_lint import look
from agent.config import load
from agent.config.settings import AgentConfig
from agent.sla.credit.credits import settle
from agent.sla.judge import judge
from agent.sla.sampling.adequacy import concerns
from agent.sla.terms.contract import Contract, JitterDefinition, Metric, StatisticType
from agent.sla.terms.remedies import CreditBasis, CreditTerms
from agent.sla.time.calendar import windows_ending_in
from agent.sla.verdict import Verdict, VerdictState
from agent.sla.words.explain import as_values, explain
from agent.sla.words.explain_price import example, within
from probes.core.model import Circuit
from tests.fakes import contracts as fakes

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "config" / "contracts"
CONTRACTS = contract_files.load(EXAMPLES)
OF_THIS_HOST = {"lan-gateway", "loopback", "loopback-tcp", "loopback-throughput"}
MODELLED = sorted(set(CONTRACTS) - OF_THIS_HOST - {"gold-ethernet"})

DAY = 86_400 * 10**9
ICMP = "{kind: icmp, every: 1s, size: 56, timeout: 3s}"
QUICK = "{kind: icmp, every: 1s, size: 56, timeout: 2s}"
SLOW = "{kind: icmp, every: 5s, size: 56, timeout: 3s}"
UDP = "{kind: udp, every: 200ms, size: 200, timeout: 3s}"
HOURLY = "{kind: throughput, every: 6h, duration: 5s}"
PROBES = {
    "access-mttr": [ICMP, HOURLY],
    "circuit-performance": [QUICK],
    "cloud-interconnect": ["{kind: icmp, every: 1s, timeout: 1s}"],
    "dsl-business": [ICMP, HOURLY],
    "fabric-percent": ["{kind: udp, every: 100ms, timeout: 2s}"],
    "gold-ethernet": [ICMP, "{kind: throughput, every: 1d, duration: 5s}"],
    "loopback-throughput": [HOURLY],
    "ip-class-0": ["{kind: udp, every: 200ms, size: 200, dscp: EF, timeout: 3s}"],
    "metro-ethernet": ["{kind: udp, every: 100ms, size: 200, dscp: EF, timeout: 1s}"],
    "outage-hours": [QUICK],
    "private-ip-gold": ["{kind: udp, every: 200ms, size: 200, dscp: AF31, timeout: 3s}"],
    "service-desk": [ICMP],
    "wavelength": ["{kind: udp, every: 100ms, timeout: 2s}"],
}
"""Schedules that fit; one packet a second for all others."""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> AgentConfig:
    """A circuit for each contract, in samples of one second."""
    path = tmp_path_factory.mktemp("examples") / "agent.yaml"
    circuits = []
    for name, contract in sorted(CONTRACTS.items()):
        members = [member for item in contract.objectives if item.scope is not None for member in item.scope.members]
        probes = PROBES.get(name, [ICMP])
        circuits += [
            f"  - name: {circuit}\n    target: {name}.example.net\n    committed_rate: 50Mbit/s\n    contract: {name}\n"
            f"    probes: [{', '.join(probes)}]\n"
            for circuit in members or [name]
        ]
    path.write_text(f"interval: 1s\nstore: {{path: store}}\ncontracts: {EXAMPLES}\ncircuits:\n{''.join(circuits)}")
    return load(path)


def test_there_are_enough_and_each_names_what_it_is_shaped_after() -> None:
    assert len(MODELLED) >= 12
    assert all(CONTRACTS[name].models for name in MODELLED)
    assert len({CONTRACTS[name].models for name in MODELLED}) == len(MODELLED)
    assert all((EXAMPLES / f"{identity}.yaml").is_file() for identity in CONTRACTS)


@pytest.mark.parametrize("name", sorted(set(CONTRACTS) - OF_THIS_HOST))
def test_sample_circuits_can_show_what_is_promised(name: str, config: AgentConfig) -> None:
    circuit = next(item for item in config.circuits if item.contract == name)
    errors = [item.message for item in concerns(CONTRACTS[name], circuit, config.span_ns) if item.severity == "error"]
    assert errors == []


def test_the_same_circuits_by_the_command(config: AgentConfig) -> None:
    found = look(None, config)
    assert found.good, "\n".join(found.lines())
    assert found.files == len(CONTRACTS)
    assert not found.unbound


def test_a_schedule_too_slow_is_found_among_them(config: AgentConfig) -> None:
    """The check above can fail: with one packet in five minutes, nearly all of them do."""
    failing = set()
    for circuit in config.circuits:
        contract = CONTRACTS[str(circuit.contract)]
        slow = [
            type(probe)(probe.name, probe.kind, {**probe.parameters, "every": 300 * 10**9}) for probe in circuit.probes
        ]
        found = concerns(contract, type(circuit)(circuit.id, "192.0.2.1", probes=tuple(slow)), config.span_ns)
        failing |= {contract.id} if any(item.severity == "error" for item in found) else set()
    assert len(failing) >= 15


@pytest.mark.parametrize("name", sorted(CONTRACTS))
def test_every_clause_has_its_words(name: str, config: AgentConfig) -> None:
    circuit = next(item for item in config.circuits if item.contract == name)
    for known in (None, circuit):
        values = json.loads(json.dumps(as_values(CONTRACTS[name], explain(CONTRACTS[name], known))))
        for section in values["sections"]:
            assert section["clauses"], section["heading"]
            for clause in section["clauses"]:
                texts = [*clause["sentences"], *clause["examples"]]
                texts += [text for detail in clause["details"] for text in detail["sentences"]]
                assert clause["sentences"], clause
                assert all(re.search(r"[.:]$", text) for text in texts), texts
                assert not any(re.search(r"None|Fraction|  | ,|\.\.|\(\)", text) for text in texts), texts


def statistics(contract: Contract) -> set[StatisticType]:
    return {item.statistic.type for item in contract.objectives}


def test_between_them_they_use_every_metric_statistic_basis_and_window() -> None:
    """Every family that published contracts use, so that each of them is judged somewhere."""
    every = CONTRACTS.values()
    objectives = [item for contract in every for item in contract.objectives]
    assert {item.metric for item in objectives} == set(Metric)
    assert set().union(*map(statistics, every)) >= set(StatisticType) - {StatisticType.MTTF}
    assert {item.statistic.definition for item in objectives if item.metric is Metric.JITTER} == set(JitterDefinition)
    assert {terms.basis for contract in every for terms in contract.credits} == set(CreditBasis)
    windows = {item.window.calendar for item in objectives}
    assert windows >= {"day", "month", "quarter", "contract_year", "billing_month", None}
    assert {contract.month_basis for contract in every} == {"calendar", "fixed_720h"}
    assert {contract.measurement.record for contract in every} == {"ours", "theirs", "agreed"}
    assert {rule.right for contract in every for rule in contract.chronic} == {
        "terminate", "reroute", "extra_credit", "escalate",
    }  # fmt: skip
    assert any(item.scope is not None for item in objectives)
    assert {contract.stacking for contract in every} == {"sum", "highest", "same_cause_highest"}


def banded() -> list[tuple[str, CreditTerms]]:
    """Credits by the value of an objective that has a window ending in a month of the contract."""
    return [
        (name, terms)
        for name, contract in sorted(CONTRACTS.items())
        for terms in contract.credits
        if terms.basis is CreditBasis.BAND
    ]


@pytest.mark.parametrize(("name", "terms"), banded(), ids=lambda item: item if isinstance(item, str) else item.id)
def test_the_credit_note_pays_what_the_explanation_says(name: str, terms: CreditTerms) -> None:
    """The first example of a clause, as a verdict: the line of the credit note has the same amount."""
    clauses = [c for section in explain(CONTRACTS[name]) for c in section.clauses if c.title == terms.id]
    said = re.fullmatch(r"At (.+) the customer gets (?:.* = )?(.+)\.", clauses[0].examples[0])
    assert said is not None
    assert paid(CONTRACTS[name], terms) == said[2]


def test_another_price_is_seen_by_the_test_above() -> None:
    contract = CONTRACTS["private-ip-gold"]
    terms = contract.credits[0]
    dearer = replace(terms, bands=tuple(replace(band, price=terms.bands[0].price) for band in terms.bands))
    # 5 % of 640.00 GBP; 25 % of it.
    assert (paid(contract, terms), paid(contract, dearer)) == ("32.00 GBP", "160.00 GBP")


def paid(contract: Contract, terms: CreditTerms) -> str:
    """The amount on the credit note for a value in the mildest band."""
    objective = contract.objective(terms.objective or "")
    assert objective is not None
    rising = objective.comparison == "min"
    order = list(reversed(terms.bands)) if rising else list(terms.bands)
    value = within(order[0], objective.unit, order[1] if len(order) > 1 else None)
    month = example(contract, None).month
    window = windows_ending_in(contract, objective, month)[-1:] or (month,)
    target = objective.target.value * (contract.service.cir_bps or 1 if objective.target.of_committed_rate else 1)
    verdict = Verdict(contract.id, "C-1", objective, window[0], VerdictState.BREACHED, value, value, value, target,
                      Fraction(1), Fraction(1), False, "", {})  # fmt: skip
    alone = replace(contract, credits=(replace(terms, caps=()),), credit_caps=())
    charge = None if contract.service.monthly_charge else "1000.00 EUR"  # of examples where nothing is known
    settlement = settle(
        alone, Circuit("C-1", "192.0.2.1", monthly_charge=charge), month, (verdict,), (), as_of_ns=month.end_ns + DAY
    )
    assert settlement.obstacle == ""
    (line,) = settlement.lines
    return str(line.amount)


@pytest.mark.parametrize("name", MODELLED)
def test_each_is_judged(name: str, config: AgentConfig) -> None:
    """Three hours of a month with an outage of 30 minutes: every objective has a verdict, and a broken one says so."""
    contract, circuit = CONTRACTS[name], next(item for item in config.circuits if item.contract == name)
    month = example(contract, None).month
    minutes = 180
    series = {}
    for probe in circuit.probes:
        letters = "." * (6 * 90) + "H" * (6 * 30) + "." * (6 * 60)
        columns = fakes.series(month.start_ns, letters[: 6 * minutes], probe=probe.name)
        series[probe.name] = columns if probe.kind != "throughput" else fakes.runs(
            [(month.start_ns, 48_000_000, 47_000_000)], probe=probe.name
        )  # fmt: skip
    now = month.start_ns + minutes * 60 * 10**9
    verdicts = judge(contract, circuit, series, now_ns=now, measured_since_ns=month.start_ns)
    assert [verdict.objective.id for verdict in verdicts] == [item.id for item in contract.objectives]
    assert all(verdict.sentence for verdict in verdicts)
    for verdict in verdicts:
        if verdict.objective.metric is Metric.AVAILABILITY and verdict.objective.target.value == 1:
            assert verdict.state is VerdictState.BREACHED, verdict.sentence
