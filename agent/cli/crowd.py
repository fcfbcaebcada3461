"""`check` of many circuits: a process for each core, each with the store open for itself, in the order asked for."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from agent.allocation import keep_freed
from agent.audit import FEW, KEPT, MOST
from agent.cli.progress import Progress
from agent.cli.sources import LOCAL, open_source
from agent.config import AgentConfig
from agent.crew import Crew, cores
from agent.sla.terms.contract import Contract
from agent.sla.verdict import Verdict
from agent.written import Written
from probes.core.model import Circuit

Asked = tuple[str, str]
"""Circuit and contract by their ids."""
Told = tuple[tuple[Verdict, ...], str]
"""Verdicts, and what is to be said beside them on standard error."""


def is_crowd(pairs: Sequence[tuple[Circuit, Contract]], source: str) -> bool:
    """Whether processes are worth their start."""
    return source == LOCAL and len(pairs) > FEW and cores() > 1


def judged_all(
    config: AgentConfig,
    contracts: Mapping[str, Contract],
    written: Written,
    source: tuple[str, Path | None],
    pairs: Sequence[tuple[Circuit, Contract]],
    period: str | None,
    now_ns: int,
) -> Iterator[tuple[Verdict, ...]]:
    """Verdicts of each pair as check.judged gives them. Raises LocalError where one cannot be judged."""
    told = (config, contracts, written, source, period, now_ns)
    asked = [(circuit.id, contract.id) for circuit, contract in pairs]
    with Progress("judging") as shown, Crew[Asked, Told](prepared, told, min(cores(), MOST, len(pairs))) as crew:
        for number, (verdicts, notes) in enumerate(crew.answers(asked), 1):
            shown.show(f"{number} of {len(asked)} circuits")
            sys.stderr.write(notes)
            yield verdicts


def prepared(
    config: AgentConfig,
    contracts: Mapping[str, Contract],
    written: Written,
    source: tuple[str, Path | None],
    period: str | None,
    now_ns: int,
) -> Callable[[Asked], Told]:
    """What a process answers with."""
    from agent.cli.check import judged
    from agent.cli.court import convene

    keep_freed(KEPT)
    court = convene(open_source(config, *source), config, contracts, written, now_ns)
    circuits = {circuit.id: circuit for circuit in config.circuits}

    def answer(asked: Asked) -> Told:
        with contextlib.redirect_stderr(io.StringIO()) as notes:
            verdicts = judged(court, circuits[asked[0]], contracts[asked[1]], period)
        return tuple(verdicts), notes.getvalue()

    return answer
