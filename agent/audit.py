"""Many circuits judged at once: a process for each core, verdicts in the order asked for, equal to those one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.allocation import keep_freed
from agent.crew import Crew, cores
from agent.recorded import Recorded, fate_in
from agent.sla.judge import Reading, judge_by
from agent.sla.samples.columns import SampleColumns
from agent.sla.samples.needs import SPARE
from agent.sla.samples.shared_fate import FINAL_NS, Witness
from agent.sla.terms.contract import Contract
from agent.sla.time.calendar import parse
from agent.sla.verdict import Verdict
from agent.store import StoreReader
from probes.core.clock import SECOND
from probes.core.errors import LocalError
from probes.core.model import Circuit

FEW: Final = 8
"""Circuits that are judged sooner one by one than processes are started."""
MOST: Final = 16
"""Processes, however many cores there are: each may take 250 MB."""
KEPT: Final = 128 * 1024 * 1024
"""Freed memory that each process keeps for its next circuit, in octets."""

Pair = tuple[Circuit, Contract]


@dataclass(frozen=True, slots=True)
class Brief:
    """What is the same for all circuits. period: text such as 2026-10; None judges now. told_by: witnesses of shared
    fate; span_ns: interval of the samples."""

    store: Path
    now_ns: int
    period: str | None = None
    told_by: tuple[Witness, ...] = ()
    span_ns: int = 10 * SECOND


class Bench:
    """Judges circuits of one store, one after the other. Close it."""

    def __init__(self, brief: Brief) -> None:
        self._brief = brief
        self._reader = StoreReader.open(brief.store)
        self._recorded = Recorded(self._reader)
        self._fate = fate_in(self._reader, brief.told_by, brief.span_ns)
        self._since: dict[str, int] = {}
        for item in self._reader.series():
            self._since[item.circuit] = min(item.first_ns, self._since.get(item.circuit, item.first_ns))

    def close(self) -> None:
        self._reader.close()

    def judged(self, circuit: Circuit, contract: Contract) -> tuple[Verdict, ...]:
        """Raises LocalError."""
        brief = self._brief
        chosen = None if brief.period is None else parse(brief.period, contract.time_zone)
        if chosen is not None and chosen.start_ns > brief.now_ns:
            text = f"{chosen.label} has not begun in {contract.time_zone}"
            raise LocalError(text, hint="name a past period, or none")

        def read(reading: Reading) -> SampleColumns:
            return self._reader.read(
                reading.circuit,
                reading.probe,
                reading.columns,
                reading.start_ns,
                reading.end_ns,
                reading.kind,
                spare=SPARE,
                summed=True,
            )

        return judge_by(
            read,
            contract,
            circuit,
            now_ns=brief.now_ns,
            window=chosen,
            measured_since_ns=self._since.get(circuit.id),
            gaps=lambda start, end: self._recorded.gaps(circuit.id, start, end),
            shared=lambda series: self._fate.of(series, brief.now_ns - FINAL_NS),
        ).verdicts


def judge_many(brief: Brief, pairs: Sequence[Pair], workers: int | None = None) -> Iterator[tuple[Verdict, ...]]:
    """The verdicts of each pair, in their order. Raises LocalError where one cannot be judged.

    workers: processes; None takes one for each core, and none for a few circuits.
    """
    if workers is None:
        workers = min(cores(), MOST) if len(pairs) > FEW else 0
    if workers <= 1:
        bench = Bench(brief)
        try:
            for circuit, contract in pairs:
                yield bench.judged(circuit, contract)
        finally:
            bench.close()
        return
    contracts = {_name(contract): contract for _, contract in pairs}
    with Crew[tuple[Circuit, str], tuple[Verdict, ...]](prepared, (brief, contracts), min(workers, len(pairs))) as crew:
        yield from crew.answers([(circuit, _name(contract)) for circuit, contract in pairs])


def prepared(brief: Brief, contracts: Mapping[str, Contract]) -> Callable[[tuple[Circuit, str]], tuple[Verdict, ...]]:
    """What a process answers with."""
    keep_freed(KEPT)
    bench = Bench(brief)
    return lambda asked: bench.judged(asked[0], contracts[asked[1]])


def _name(contract: Contract) -> str:
    return f"{contract.id} {contract.version} {contract.digest}"
