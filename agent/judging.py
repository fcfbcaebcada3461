"""Runs the judge over the store for circuits with a contract, at a pace that leaves the host to the probes."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from agent.sla.columns import SampleColumns
from agent.sla.contract import Contract
from agent.sla.judge import Reading, judge_by
from agent.sla.verdict import Verdict
from agent.store import StoreReader
from probes.core.clock import SECOND, Clock
from probes.core.errors import LocalError
from probes.core.model import Circuit

log = logging.getLogger(__name__)

SHARE = 20
"""After a circuit took t to judge, it rests at least SHARE * t: judging stays below 1/SHARE of one core."""
REST_NS = 5 * SECOND


class Judging:
    """Judges circuits in turn. Not thread-safe: one housekeeping job calls it."""

    def __init__(
        self,
        store_path: Path,
        clock: Clock,
        taken: Callable[[str, Sequence[Verdict]], None],
    ) -> None:
        self._path, self._clock, self._taken = store_path, clock, taken
        self._reader: StoreReader | None = None
        self._due: dict[str, int] = {}
        self._pairs: dict[str, tuple[Circuit, Contract]] = {}

    def set(self, circuits: Sequence[Circuit], contracts: Mapping[str, Contract]) -> None:
        """The circuits to judge; those without a known contract are left out."""
        pairs = {
            item.id: (item, contracts[item.contract])
            for item in circuits
            if item.contract and item.contract in contracts
        }
        self._due = {identity: self._due.get(identity, 0) for identity in pairs}
        self._pairs = pairs

    def advance(self, budget_ns: int) -> None:
        """Judge circuits that are due, longest waiting first, until the budget is spent."""
        begin = self._clock.monotonic()
        due = sorted((at, identity) for identity, at in self._due.items() if at <= begin)
        for _, identity in due:
            started = self._clock.monotonic()
            if started - begin > budget_ns:
                return
            self._judge_one(identity)
            spent = self._clock.monotonic() - started
            self._due[identity] = started + max(REST_NS, SHARE * spent)

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _judge_one(self, identity: str) -> None:
        pair = self._pairs.get(identity)
        if pair is None:
            return
        try:
            if self._reader is None:
                self._reader = StoreReader.open(self._path)
            verdicts = judge_stored(self._reader, *pair, now_ns=self._clock.wall())
        except LocalError as error:
            log.warning("%s was not judged: %s", identity, error)
            return
        self._taken(identity, verdicts)


def judge_stored(reader: StoreReader, circuit: Circuit, contract: Contract, *, now_ns: int) -> tuple[Verdict, ...]:
    """The circuit's verdicts at `now` from the local store."""

    def read(reading: Reading) -> SampleColumns:
        return reader.read(circuit.id, reading.probe, reading.columns, reading.start_ns, reading.end_ns)

    since = min((series.first_ns for series in reader.series() if series.circuit == circuit.id), default=None)
    return judge_by(read, contract, circuit, now_ns=now_ns, measured_since_ns=since)
