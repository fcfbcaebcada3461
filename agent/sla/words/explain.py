"""A contract in plain language, clause by clause, for a sales person and a customer to read the same thing. Pure.

The same contract and circuit give the same words. Clauses are numbered by their place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from agent.sla.terms.contract import Contract, Objective
from agent.sla.words import explain_credit, explain_rights, explain_terms
from agent.sla.words.clauses import Clause, Detail, Section, sentence
from agent.sla.words.explain_promise import promise
from agent.sla.words.explain_statistic import counted_time, made
from probes.core.model import Circuit

SCHEMA: Final = "linkwitness.contract-in-words/1"


def explain(contract: Contract, circuit: Circuit | None = None) -> tuple[Section, ...]:
    """Sections in the order in which a contract is read; those without a clause are left out.

    circuit: whose rate, charge and probes are named; without it, those of the contract's service.
    """
    sections = (
        _section("Parties and service", [explain_terms.parties(contract), *explain_terms.service(contract, circuit)]),
        _section("Measurement", explain_terms.measurement(contract, circuit)),
        _section("What is promised", (_objective(item, contract, circuit) for item in contract.objectives)),
        _section("Which time counts", explain_terms.time(contract)),
        _section("What is taken out", explain_terms.exclusions(contract)),
        _section("Outages", explain_terms.outages(contract) if explain_terms.about_outages(contract) else ()),
        _section("Credits", explain_credit.credits(contract, circuit)),
        _section("Claims", explain_rights.claims(contract, circuit)),
        _section("Repeated failure", explain_rights.chronic(contract)),
        _section("Notes", [Clause("Notes", (sentence(contract.notes),))] if contract.notes else ()),
    )
    return tuple(section for section in sections if section.clauses)


def _section(heading: str, clauses: Iterable[Clause]) -> Section:
    return Section(heading, tuple(clauses))


def _objective(objective: Objective, contract: Contract, circuit: Circuit | None) -> Clause:
    details = (
        Detail("How it is measured", made(objective, contract)),
        Detail("What counts", counted_time(objective, contract)),
    )
    return Clause(
        objective.id,
        promise(objective, contract, circuit),
        objective.text,
        details=tuple(detail for detail in details if detail.sentences),
    )


def as_values(contract: Contract, sections: Iterable[Section]) -> Mapping[str, object]:
    """For JSON: every clause with its number."""
    return {
        "schema": SCHEMA,
        "contract": contract.id,
        "version": contract.version,
        "title": contract.title,
        "digest": contract.digest,
        "sections": [
            {
                "number": str(place),
                "heading": section.heading,
                "clauses": [
                    {
                        "number": f"{place}.{index}",
                        "title": clause.title,
                        "quote": clause.quote,
                        "sentences": list(clause.sentences),
                        "details": [
                            {"label": detail.label, "sentences": list(detail.sentences)} for detail in clause.details
                        ],
                        "table": None
                        if clause.table is None
                        else {"head": list(clause.table.head), "rows": [list(row) for row in clause.table.rows]},
                        "examples": list(clause.examples),
                    }
                    for index, clause in enumerate(section.clauses, 1)
                ],
            }
            for place, section in enumerate(sections, 1)
        ],
    }
