"""What judging needs on the command line: samples, circuits, contracts, and what is written beside them."""

from __future__ import annotations

from collections.abc import Mapping

from agent.assessing import Court
from agent.cli.sources import Source
from agent.config import AgentConfig
from agent.sla.docket import Reading
from agent.sla.samples.shared_fate import COLUMNS, SharedFate, witnesses
from agent.sla.terms.contract import Contract
from agent.written import Written


def convene(
    samples: Source, config: AgentConfig, contracts: Mapping[str, Contract], written: Written, now_ns: int
) -> Court:
    """Every circuit of the site is a witness of shared fate, whichever are judged."""
    fate = SharedFate(
        witnesses(config.circuits, contracts, config.discover),
        lambda witness, start, end: samples.read(
            witness.circuit, Reading(witness.probe, witness.kind, COLUMNS, start, end, witness.circuit)
        ),
        config.span_ns,
    )
    return Court(samples, {circuit.id: circuit for circuit in config.circuits}, written, fate, now_ns, config.discover)
