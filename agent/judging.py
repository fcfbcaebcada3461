"""Runs the judge over the store for circuits with a contract, at a pace that leaves the host to the probes."""

import logging
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from agent.recorded import Recorded, fate_in
from agent.sla.judge import NO_RECORD, Reading, Record, judge_by
from agent.sla.samples.columns import SampleColumns
from agent.sla.samples.feeds import mismatches
from agent.sla.samples.needs import SPARE
from agent.sla.samples.shared_fate import FINAL_NS, SharedFate, Witness, witnesses
from agent.sla.terms.contract import Contract
from agent.sla.verdict import Verdict
from agent.store import StoreReader
from agent.written import Written, seen_of
from probes.core.clock import MILLISECOND, SECOND, Clock
from probes.core.errors import LocalError
from probes.core.model import Circuit

log = logging.getLogger(__name__)

SHARE = 20
"""After judging for t, whatever the circuits, nothing is judged for SHARE * t: at most 1/SHARE of one core."""
FIRST_SHARE = 3
"""The same while circuits have no verdict yet: after a start people wait for it."""
TURN_NS = 50 * MILLISECOND
"""How long one turn goes on taking up circuits; the last one taken up is judged to its end."""
_NEVER = ((-1, -1),)
REST_NS = 5 * SECOND
"""A circuit is not judged more often."""


class Judging:
    """Judges circuits in turn, longest waiting first. `advance` is called once a second by one job; `set` by anyone."""

    def __init__(
        self,
        store_path: Path,
        clock: Clock,
        taken: Callable[[str, Sequence[Verdict]], None],
    ) -> None:
        self._path, self._clock, self._taken = store_path, clock, taken
        self._reader: StoreReader | None = None
        self._lock = threading.Lock()
        self._due: dict[str, int] = {}
        self._pairs: dict[str, tuple[Circuit, Contract]] = {}
        self._failures: dict[str, str] = {}
        self._rest_until = 0
        self._recorded: Recorded | None = None
        self._told_by: tuple[Witness, ...] = ()
        self._span_ns = 10 * SECOND
        self._fate: SharedFate | None = None
        self._record = NO_RECORD
        self._ledgers: Path | None = None
        self._ledgers_seen: tuple[tuple[int, int], ...] = _NEVER
        self._circuits: dict[str, Circuit] = {}

    def set(
        self,
        circuits: Sequence[Circuit],
        contracts: Mapping[str, Contract],
        *,
        discovered: Collection[str] = (),
        span_ns: int = 10 * SECOND,
        ledgers: Path | None = None,
    ) -> None:
        """The circuits to judge; those without a known contract are left out, those that changed come first.

        discovered: circuits whose target was found on this host. span_ns: interval of the samples. ledgers: directory
        of what is written beside the contracts, read again whenever it changes.
        """
        pairs = {
            item.id: (item, contracts[item.contract])
            for item in circuits
            if item.contract and item.contract in contracts
        }
        with self._lock:
            self._due = {
                identity: self._due.get(identity, 0) if pair == self._pairs.get(identity) else 0
                for identity, pair in pairs.items()
            }
            self._pairs = pairs
            self._failures = {}
            self._told_by, self._span_ns = witnesses(circuits, contracts, discovered), span_ns
            self._fate = None
            self._ledgers = ledgers
            self._ledgers_seen = _NEVER
            self._circuits = {circuit.id: circuit for circuit in circuits}

    def advance(self) -> None:
        """Judge what is due, if judging has not had its share of time yet."""
        begin = self._clock.monotonic()
        if begin < self._rest_until:
            return
        self._read_ledgers()
        with self._lock:
            due = sorted((at, identity) for identity, at in self._due.items() if at <= begin)
        for _, identity in due:
            self._judge_one(identity)
            if self._clock.monotonic() - begin > TURN_NS:
                break
        if due:
            end = self._clock.monotonic()
            self._rest_until = end + (FIRST_SHARE if due[0][0] == 0 else SHARE) * (end - begin)

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = self._recorded = self._fate = None

    def _read_ledgers(self) -> None:
        """Tickets and events as they stand; a ledger that is not whole leaves those that were known."""
        with self._lock:
            directory, seen = self._ledgers, self._ledgers_seen
        if directory is None:
            return
        now = seen_of(directory)
        if now == seen:
            return
        try:
            written = Written.load(directory)
        except LocalError as error:
            log.error("judging goes on without what is new: %s", error.message)
        else:
            self._record = Record(written.tickets, written.events)
        with self._lock:
            self._ledgers_seen = now

    def _judge_one(self, identity: str) -> None:
        with self._lock:
            pair = self._pairs.get(identity)
        if pair is None:
            return
        verdicts: Sequence[Verdict] | None = None
        try:
            reader, recorded, fate = self._sources()
            verdicts = judge_stored(
                reader, *pair, now_ns=self._clock.wall(), recorded=recorded, fate=fate, record=self._record,
                others=self._circuits,
            )  # fmt: skip
        except Exception as error:  # one circuit that cannot be judged must not keep the others from it
            self._tell_failure(identity, error)
        with self._lock:
            if self._pairs.get(identity) != pair:
                return  # it was changed or removed meanwhile: this verdict is of the past
            self._due[identity] = self._clock.monotonic() + REST_NS
        if verdicts is not None:
            self._failures.pop(identity, None)
            self._taken(identity, verdicts)

    def _sources(self) -> tuple[StoreReader, Recorded, SharedFate]:
        if self._reader is None or self._recorded is None:
            self._reader = StoreReader.open(self._path)
            self._recorded = Recorded(self._reader)
            self._fate = None
        with self._lock:
            if self._fate is None:
                self._fate = fate_in(self._reader, self._told_by, self._span_ns)
            return self._reader, self._recorded, self._fate

    def _tell_failure(self, identity: str, error: Exception) -> None:
        """Once, not every time."""
        if self._failures.get(identity) != str(error):
            self._failures[identity] = str(error)
            log.error("%s was not judged: %s", identity, error, exc_info=not isinstance(error, LocalError))


def judge_stored(
    reader: StoreReader,
    circuit: Circuit,
    contract: Contract,
    *,
    now_ns: int,
    recorded: Recorded,
    fate: SharedFate,
    record: Record = NO_RECORD,
    others: Mapping[str, Circuit] | None = None,
) -> tuple[Verdict, ...]:
    """The circuit's verdicts at `now` from the local store."""

    def read(reading: Reading) -> SampleColumns:
        return reader.read(
            reading.circuit, reading.probe, reading.columns, reading.start_ns, reading.end_ns, spare=SPARE, summed=True
        )

    first: dict[str, int] = {}
    for series in reader.series():
        first[series.circuit] = min(series.first_ns, first.get(series.circuit, series.first_ns))
    return judge_by(
        read,
        contract,
        circuit,
        now_ns=now_ns,
        measured_since_ns=first.get(circuit.id),
        gaps=lambda start, end: recorded.gaps(circuit.id, start, end),
        shared=lambda samples: fate.of(samples, now_ns - FINAL_NS),
        others=others,
        since=first.get,
        record=record,
    ).verdicts


def unfit(circuits: Sequence[Circuit], contracts: Mapping[str, Contract], span_ns: int) -> Iterator[str]:
    """What keeps circuits from being judged by their contracts, one sentence each."""
    for circuit in circuits:
        if circuit.contract is None:
            continue
        contract = contracts.get(circuit.contract)
        if contract is None:
            yield f"circuit {circuit.id} is not judged: there is no contract {circuit.contract}"
            continue
        for sentence in mismatches(contract, circuit, span_ns):
            yield f"circuit {circuit.id}, contract {contract.id}: {sentence}"
    bound = {(circuit.contract, circuit.id) for circuit in circuits}
    for contract in contracts.values():
        for item in (entry for entry in contract.exclusions if entry.source == "ledger"):
            for name in sorted(name for name in item.circuits if (contract.id, name) not in bound):
                yield f"exclusion {item.id} is for {name}, which is no circuit of contract {contract.id}"
