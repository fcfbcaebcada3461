"""From a source of samples to everything both parties must agree on for one circuit and one period."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from agent.claim_files import granted_before, of_contract
from agent.sla.assessment import Assessment
from agent.sla.case import PacketReader
from agent.sla.credit.credits import settle
from agent.sla.credit.prices import month_of, year_of
from agent.sla.docket import Docket, Reading, Sitting, docket_over
from agent.sla.faults.repair import figures
from agent.sla.faults.responsibility import attribute
from agent.sla.judge import Judgement, Record, judge_by
from agent.sla.samples.causes import Gap
from agent.sla.samples.columns import SampleColumns
from agent.sla.samples.shared_fate import FINAL_NS, SharedFate
from agent.sla.terms.contract import Contract
from agent.sla.terms.incidents import Incident
from agent.sla.terms.settlement import Claim, Paid
from agent.sla.time.calendar import WindowInstants, previous
from agent.sla.time.spans import Spans
from agent.surroundings import surroundings_of
from agent.written import Written
from probes.core.model import Circuit


class Samples(Protocol):
    """Where samples come from: the local store, or a database they were delivered to."""

    def since(self, circuit: str) -> int | None:
        """Start of the circuit's first sample ever, UTC ns; None where there is none."""

    def read(self, circuit: str, reading: Reading) -> SampleColumns:
        """Columns the judge asked for."""

    def gaps(self, circuit: str, start_ns: int, end_ns: int) -> Sequence[Gap]:
        """What the agent recorded that it did not measure in [start_ns, end_ns)."""

    def packets(self, circuit: str) -> PacketReader | None:
        """Reads packets of that circuit's samples; None where the source has none."""

    def carrier_down(self, interface: str, start_ns: int, end_ns: int) -> Spans | None:
        """When the interface had no carrier; None where nothing watched it."""


@dataclass(frozen=True, slots=True, eq=False)
class Court:
    """Everything that is the same for all circuits that are judged together.

    circuits: all of the site, by id; discovered: those whose target this host found. written: beside the contracts.
    fate: when all of them failed at once.
    """

    samples: Samples
    circuits: Mapping[str, Circuit]
    written: Written
    fate: SharedFate
    now_ns: int
    discovered: Mapping[str, str] | Collection[str] = ()

    def judgement(
        self, contract: Contract, circuit: Circuit, docket: Docket, *, incidents_from_ns: int | None = None
    ) -> Judgement:
        """Verdicts of the docket with the incidents they rest on."""
        return judge_by(
            lambda reading: self.samples.read(reading.circuit, reading),
            contract,
            circuit,
            now_ns=self.now_ns,
            docket=docket,
            measured_since_ns=self.samples.since(circuit.id),
            gaps=lambda start, end: self.samples.gaps(circuit.id, start, end),
            shared=lambda series: self.fate.of(series, self.now_ns - FINAL_NS),
            others=self.circuits,
            since=self.samples.since,
            record=Record(self.written.tickets, self.written.events, lambda found: self._attributed(circuit, found)),
            packets=self.samples.packets(circuit.id),
            incidents_from_ns=incidents_from_ns,
        )

    def assess(
        self, contract: Contract, circuit: Circuit, period: WindowInstants
    ) -> tuple[Assessment, Mapping[str, SampleColumns]]:
        """The period judged and settled, with the samples of the circuit that were read for it."""
        return self._assess(contract, circuit, period, self._paid_before(contract, circuit, period))

    def _assess(
        self, contract: Contract, circuit: Circuit, period: WindowInstants, paid: Sequence[Paid]
    ) -> tuple[Assessment, Mapping[str, SampleColumns]]:
        docket = docket_over(contract, period, self.now_ns)
        before = _earlier(contract, docket)
        begin = min([period.start_ns, period.end_ns - _longest_look_back(contract)])
        found = self.judgement(contract, circuit, (*docket, *before), incidents_from_ns=begin)
        verdicts, earlier = found.verdicts[: len(docket)], found.verdicts[len(docket) :]
        inside = tuple(item for item in found.incidents if _touches(item, period))
        ago = tuple(item for item in found.incidents if item not in inside)
        settlement = settle(
            contract,
            circuit,
            period,
            verdicts,
            inside,
            as_of_ns=self.now_ns,
            earlier=earlier,
            earlier_incidents=ago,
            paid=paid,
            filed=of_contract(self.written.claims, contract.id),
        )
        end_ns = max(period.start_ns, min(period.end_ns, self.now_ns))
        elapsed = Spans.of([(period.start_ns, end_ns)])
        up = elapsed - found.down - found.unknown - found.ruling.time  # unknown is never up
        assessment = Assessment(
            contract=contract,
            circuit=circuit,
            period=period,
            as_of_ns=self.now_ns,
            verdicts=verdicts,
            incidents=inside,
            repair=figures(
                inside,
                period.start_ns,
                end_ns,
                up.length_ns,
                clock=contract.clock,
                out=found.ruling.time | found.ruling.up,
            ),
            ruling=found.ruling.within(period.start_ns, period.end_ns),
            settlement=settlement,
            first_sample_ns=self.samples.since(circuit.id),
        )
        return assessment, found.series

    def _paid_before(self, contract: Contract, circuit: Circuit, period: WindowInstants) -> tuple[Paid, ...]:
        """What was granted before, where the contract caps the year or itself, and what the earlier months come to in
        lines whose claim was accepted as it was made, that nobody answered, or that need none. A rejected claim, or one
        made too late, pays nothing."""
        capped = [cap.per for terms in contract.credits for cap in terms.caps] + [
            cap.per for cap in contract.credit_caps
        ]
        month = month_of(contract, period.start_ns)
        if not {"year", "contract"}.intersection(capped) or month.start_ns != period.start_ns:
            return ()
        year = year_of(contract, month.end_ns - 1)
        first_ns = year.start_ns if "contract" not in capped else 0
        since = self.samples.since(circuit.id)
        months = []
        while since is not None:
            month = previous(month)
            if month.end_ns <= max(since, first_ns):
                break
            months.append(month)
        unnamed: list[Paid] = []
        for month in reversed(months):
            before = (*granted_before(self.written.claims, contract, circuit.id, month), *unnamed)
            year_ns = year_of(contract, month.end_ns - 1).start_ns
            for line in self._assess(contract, circuit, month, before)[0].settlement.lines:
                if line.amount.amount and _still_pays(line.claim):
                    unnamed.append(Paid(line.amount, line.terms.id, year_ns))
        return (*granted_before(self.written.claims, contract, circuit.id, period), *unnamed)

    def _attributed(self, circuit: Circuit, found: tuple[Incident, ...]) -> tuple[Incident, ...]:
        """Incidents with their party, by what stood around them."""
        around = surroundings_of(
            self.samples,
            circuit,
            tuple(self.circuits.values()),
            Spans.of(pair for item in found for pair in item.down),
            discovered=self.discovered,
        )
        return tuple(replace(item, attribution=attribute(item, around)) for item in found)


_UNANSWERED: Final = ("automatic", "not_due", "open", "filed")
"""States of a claim that may still be paid, or are paid without being asked for."""


def _still_pays(claim: Claim | None) -> bool:
    """The line pays what it says: no other sum was granted, and nobody turned it down."""
    return claim is None or claim.state in _UNANSWERED or (claim.state == "accepted" and claim.granted is None)


def _earlier(contract: Contract, docket: Docket) -> Docket:
    """Windows before those of the docket that chronic rules count as missed or kept."""
    found: list[Sitting] = []
    for chronic in contract.chronic:
        count = max(chronic.missed_windows or 0, chronic.missed_of or 0)
        sittings = [item for item in docket if item.objective.id == chronic.objective]
        if not sittings or count < 2:
            continue
        window = sittings[0].window
        for _ in range(count - 1):
            window = previous(window)
            found.append(Sitting(sittings[0].objective, window))
    return tuple(dict.fromkeys(found))


def _longest_look_back(contract: Contract) -> int:
    """ns before the end of a period in which outages may count for a chronic rule."""
    longest = {"day": 1, "week": 7, "month": 31, "billing_month": 31, "quarter": 92, "year": 366, "contract_year": 366}
    found = [0]
    for chronic in contract.chronic:
        found.append(chronic.rolling_ns or 0)
        found.append(longest.get(chronic.calendar or "", 0) * 86400 * 10**9)
    return max(found)


def _touches(incident: Incident, period: WindowInstants) -> bool:
    return incident.start_ns < period.end_ns and (incident.end_ns is None or incident.end_ns > period.start_ns)
