"""A contract judged over an emulated month: what is promised, excluded and owed follows from the emulator's log alone.

The month is fifteen minutes by default; LINKWITNESS_LAB_MONTH_MINUTES makes it another length. The second reading in
here knows packets, five-second bins and the clauses of the contract, and nothing of the code that judges.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from math import gcd
from pathlib import Path
from typing import Any

import pytest

from agent import contract_files
from agent.cli.court import convene
from agent.cli.sources import StoreSource
from agent.config import load
from agent.sla.assessment import Assessment
from agent.sla.time.calendar import resolve
from agent.sla.time.period import SETTLING_NS
from agent.sla.verdict import Verdict
from agent.store import StoreReader
from agent.written import Written
from probes.core.model import SampleState
from tests.lab.emulator_log import RoundTrips
from tests.lab.namespaces import Lab, end

MINUTES = float(os.environ.get("LINKWITNESS_LAB_MONTH_MINUTES", "15"))
SECOND = 1_000_000_000
SPAN = 5 * SECOND
LEAD = 30 * SECOND
"""from the start of the agent to that of the month"""
RUN_OF = 2
"""bins in a row that change the state, as the contract says"""
LOSSY_RATIO = 0.2
OURS = slice(4, 24)
"""octets of the payload that a reply repeats: stream, sequence, nonce"""
EDGE = 2
"""packets that may fall on the other side of an instant: the link sees them a little after the agent stamps them"""
DEDUCTIBLE_S, STEP_S, STEP_PRICE = 20, 10, Decimal("1.50")
DISTURBANCES = ("gap", "suspend", "clock_step")

pytestmark = [pytest.mark.root, pytest.mark.serial, pytest.mark.timeout(60 * MINUTES + 300)]

AGENT = """site: lab
interval: 5s
store: {{path: store}}
contracts: contracts
circuits:
  - name: lab
    provider: Emulator
    target: {target}
    contract: month
    monthly_charge: "1000.00 EUR"
    labels: {{carrier_id: EMU-1}}
    probes:
      - {{kind: udp, every: 100ms, port: 8620, timeout: 1s}}
"""
CONTRACT = """id: month
version: "1"
provider: Emulator
customer: Lab
time_zone: UTC
shared_fate: count
window: {{fixed: {length}s, anchor: {anchor}}}
coverage: {{minimum: 50 %}}
exclusions:
  - {{kind: maintenance, notice: 30s, evidence: true, approval: customer}}
objectives:
  - {{id: up, metric: availability, statistic: {{type: availability_mef, n: {run}, c: 50 %}}, target: 99 %}}
  - {{id: loss, metric: loss, target: 1 %}}
credits:
  currency: EUR
  terms:
    - id: downtime
      basis: per_unit
      unit: {{step: {step}s, started: true, deductible: {deductible}s, each_incident: false}}
      price: "{price} EUR"
"""
NOTICE = """BEGIN:VCALENDAR
BEGIN:VEVENT
SUMMARY:Work on the emulator
DTSTART:{start:%Y%m%dT%H%M%SZ}
DTEND:{end:%Y%m%dT%H%M%SZ}
DTSTAMP:{sent:%Y%m%dT%H%M%SZ}
UID:month@lab
SEQUENCE:0
X-MAINTNOTE-PROVIDER:Emulator
X-MAINTNOTE-ACCOUNT:1
X-MAINTNOTE-MAINTENANCE-ID:EMU-CHG-1
X-MAINTNOTE-IMPACT:OUTAGE
X-MAINTNOTE-OBJECT-ID:EMU-1
X-MAINTNOTE-STATUS:CONFIRMED
END:VEVENT
END:VCALENDAR
"""

Span = tuple[int, int]


@dataclass(frozen=True)
class Plan:
    """What happens in the month, UTC ns on whole bins. overrun: the outage that goes on after the announced end."""

    start_ns: int
    length_ns: int
    anchor: date
    plain: Span
    maintenance: Span
    overrun: Span
    lossy: Span
    last: Span

    @property
    def end_ns(self) -> int:
        return self.start_ns + self.length_ns

    @staticmethod
    def of(now_ns: int) -> Plan:
        """A month that begins soon: the number of bins in it is chosen so that some date in the past, from whose
        midnight on months follow each other, makes one begin just then."""
        bins = next(count for count in range(int(12 * MINUTES), 0, -1) if gcd(count, 86400 // 5) == 1)
        length, start = bins * SPAN, (now_ns + LEAD) // SPAN * SPAN + SPAN
        anchor = datetime.fromtimestamp(start // SECOND, UTC).date()
        while (start // SECOND - int(datetime(anchor.year, anchor.month, anchor.day, tzinfo=UTC).timestamp())) % (
            length // SECOND
        ):
            anchor -= timedelta(days=1)

        def part(first: float, last: float) -> Span:
            return start + int(first * bins) * SPAN, start + int(last * bins) * SPAN

        maintenance = part(0.30, 0.42)
        return Plan(
            start, length, anchor, part(0.10, 0.15), maintenance,
            (maintenance[1] - 4 * SPAN, maintenance[1] + 5 * SPAN), part(0.58, 0.70), part(0.84, 0.88),
        )  # fmt: skip

    @property
    def judged_ns(self) -> int:
        """The state of the last bins is settled by those after them, and a sample takes its time to be kept."""
        return self.end_ns + 3 * SPAN + SETTLING_NS

    def impairments(self) -> dict[str, object]:
        """For both directions."""
        return {"outages": [self.plain, self.overrun, self.last]}


@dataclass
class Truth:
    """The month as its packets tell it, in bins from its start. Unknown bins are taken as the worst and as the best.

    down: bins that are down, whatever the unknown ones were; perhaps: those that may be.
    """

    trips: RoundTrips
    plan: Plan
    unknown: set[int] = field(default_factory=set)

    @property
    def bins(self) -> range:
        return range(self.plan.start_ns, self.plan.end_ns, SPAN)

    def states(self, doubtful_is_high: bool) -> list[bool]:
        """Up or down, bin by bin: the state changes at the first bin of RUN_OF in a row."""
        around = [*self.bins, *(self.plan.end_ns + SPAN * step for step in range(RUN_OF))]
        high = []
        for at in around:
            packets = self.trips.between(at, at + SPAN)
            doubt = at in self.unknown
            high.append(doubtful_is_high if doubt else bool(len(packets)) and packets.lost * 2 > len(packets))
        up, found = True, []
        for place in range(len(self.bins)):
            run = high[place : place + RUN_OF]
            if up and all(run):
                up = False
            elif not up and not any(run):
                up = True
            found.append(up)
        return found

    def counted(self) -> list[bool]:
        """Which bins are not excluded."""
        start, finish = self.plan.maintenance
        return [not start <= at < finish for at in self.bins]

    def down_s(self, doubtful_is_high: bool) -> int:
        """Downtime that counts, in seconds."""
        pairs = zip(self.states(doubtful_is_high), self.counted(), strict=True)
        return sum(5 for up, counts in pairs if counts and not up)

    def availability(self, doubtful_is_high: bool) -> Fraction:
        counted = sum(self.counted())
        return 1 - Fraction(self.down_s(doubtful_is_high) // 5, counted)

    def outages(self) -> list[Span]:
        """Stretches of bins that are down."""
        found: list[Span] = []
        for at, up in zip(self.bins, self.states(False), strict=True):
            if not up:
                found = [*found[:-1], (found[-1][0], at + SPAN)] if found and found[-1][1] == at else \
                    [*found, (at, at + SPAN)]  # fmt: skip
        return found

    def loss(self) -> tuple[int, int]:
        """Packets lost and sent in the bins that count and are known."""
        lost = sent = 0
        for at, counts in zip(self.bins, self.counted(), strict=True):
            if counts and at not in self.unknown:
                packets = self.trips.between(at, at + SPAN)
                lost, sent = lost + packets.lost, sent + len(packets)
        return lost, sent

    def credit(self, doubtful_is_high: bool) -> Decimal:
        """A price for each started step of the downtime beyond the deductible."""
        over = max(0, self.down_s(doubtful_is_high) - DEDUCTIBLE_S)
        return -(-over // STEP_S) * STEP_PRICE


@dataclass
class Month:
    """What is left when it is over."""

    config: Path
    plan: Plan
    truth: Truth
    assessment: Assessment
    disturbed: list[int]

    @property
    def exact(self) -> bool:
        return not self.truth.unknown

    def verdict(self, objective: str) -> Verdict:
        return next(item for item in self.assessment.verdicts if item.objective.id == objective)


def as_text(at_ns: int) -> str:
    return f"{datetime.fromtimestamp(at_ns // SECOND, UTC):%Y-%m-%dT%H:%M:%SZ}"


def linkwitness(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "agent.cli.main", *map(str, words)]


def written(folder: Path, target: str, plan: Plan) -> Path:
    (folder / "contracts").mkdir()
    (folder / "contracts" / "month.yaml").write_text(
        CONTRACT.format(
            length=plan.length_ns // SECOND, anchor=plan.anchor, run=RUN_OF, step=STEP_S, deductible=DEDUCTIBLE_S,
            price=STEP_PRICE,
        )
    )  # fmt: skip
    config = folder / "agent.yaml"
    config.write_text(AGENT.format(target=target))
    return config


def announce(lab: Lab, folder: Path, config: Path, plan: Plan) -> None:
    """The notice of the work, as the provider sends it, and the customer's word for it; both before it begins."""

    def moment(at_ns: int) -> datetime:
        return datetime.fromtimestamp(at_ns // SECOND, UTC)

    start, finish = plan.maintenance
    path = folder / "notice.ics"
    path.write_text(NOTICE.format(start=moment(start), end=moment(finish), sent=moment(time.time_ns())))
    lab.near.run(linkwitness("maintenance", "import", path, "-c", config))
    lab.near.run(
        linkwitness("maintenance", "confirm", "EMU-CHG-1", "--by", "J. Smith", "--role", "customer", "-c", config)
    )


def run_the_month(lab: Lab, config: Path, folder: Path, plan: Plan) -> None:
    with (folder / "agent.log").open("wb") as log:
        reflector = lab.far.popen(linkwitness("reflect", "--listen", lab.far.ipv4, "--allow", "198.51.100.0/24"))
        agent = lab.near.popen(linkwitness("run", "-c", config, "--output", "lines"), stdout=log, stderr=log)
        lab.link.set(
            forward=plan.impairments() | {"loss_periods": [(*plan.lossy, LOSSY_RATIO)]}, backward=plan.impairments()
        )
        announce(lab, folder, config, plan)
        while time.time_ns() < plan.judged_ns:
            time.sleep(1)
            assert agent.poll() is None, (folder / "agent.log").read_text("utf-8", "replace")
        agent.send_signal(signal.SIGINT)
        assert agent.wait(60) == 0
        end(reflector)


def assessed(config_path: Path, plan: Plan) -> Assessment:
    config = load(config_path)
    contracts = contract_files.load(config.contracts)
    contract = contracts["month"]
    period = resolve(contract, contract.objectives[0].window, plan.start_ns)
    assert (period.start_ns, period.end_ns) == (plan.start_ns, plan.end_ns)
    with StoreSource(config.store.path) as source:
        court = convene(source, config, contracts, Written.load(config.contracts), plan.judged_ns)
        return court.assess(contract, config.circuits[0], period)[0]


def unmeasured(store: Path, plan: Plan) -> set[int]:
    """Bins of which the agent itself says that it did not measure them, or not properly."""
    good = [state.code for state in SampleState if state.measured]
    with StoreReader.open(store) as reader:
        columns = reader.read("lab", "udp", (), plan.start_ns, plan.end_ns)
    rows = zip(columns.start_ns.tolist(), columns.span_ns.tolist(), columns.state.tolist(), strict=True)
    known = {start for start, span, state in rows if span == SPAN and state in good}
    return set(range(plan.start_ns, plan.end_ns, SPAN)) - known


def disturbances(store: Path) -> list[int]:
    """When this host itself was in trouble, as the agent recorded it."""
    with StoreReader.open(store) as reader:
        return [event.at_ns for event in reader.events() if event.kind in DISTURBANCES]


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("month")
    both = {"delay_ns": 20_000_000, "jitter_ns": 2_000_000}
    lab = Lab(folder, forward=both, backward=both)
    try:
        plan = Plan.of(time.time_ns())
        config = written(folder, lab.far.ipv4, plan)
        run_the_month(lab, config, folder, plan)
        trips = lab.log().udp(8620, OURS)
        store = folder / "store"
        truth = Truth(trips, plan, unmeasured(store, plan))
        yield Month(config, plan, truth, assessed(config, plan), disturbances(store))
    finally:
        lab.close()


def test_only_what_the_host_itself_disturbed_is_unknown(month: Month) -> None:
    near = {at // SPAN * SPAN + step * SPAN for at in month.disturbed for step in (-1, 0, 1)}
    assert month.truth.unknown <= near
    assert len(month.truth.unknown) * 4 <= len(month.truth.bins)


def test_availability_is_that_of_the_log(month: Month) -> None:
    verdict = month.verdict("up")
    best, worst = month.truth.availability(False), month.truth.availability(True)
    if month.exact:
        assert verdict.value == verdict.best == verdict.worst == best
    else:
        assert verdict.worst is not None
        assert verdict.best is not None
        assert verdict.worst <= worst <= best <= verdict.best
    assert verdict.state == "breached"


def test_exactly_the_announced_time_is_excluded(month: Month) -> None:
    start, finish = month.plan.maintenance
    (entry,) = month.assessment.ruling.entries
    assert (entry.exclusion.id, entry.applied_ns) == ("EMU-CHG-1", finish - start)
    assert list(month.assessment.ruling.time) == [(start, finish)]
    for objective in ("up", "loss"):
        assert month.verdict(objective).evidence["excluded_ns"] == finish - start


def test_loss_is_that_of_the_packets_in_the_log(month: Month) -> None:
    verdict = month.verdict("loss")
    lost, sent = month.truth.loss()
    edges = 2 + 2 + 2 * len(month.truth.unknown)
    assert abs(int(verdict.evidence["sent"]) - sent) <= edges * EDGE  # type: ignore[call-overload]
    assert abs(int(verdict.evidence["lost"]) - lost) <= edges * EDGE  # type: ignore[call-overload]
    assert verdict.value == Fraction(int(verdict.evidence["lost"]), int(verdict.evidence["sent"]))  # type: ignore[call-overload]


def test_the_incidents_are_the_outages_of_the_log(month: Month) -> None:
    found = [(item.start_ns, item.end_ns) for item in month.assessment.incidents]
    outages = month.truth.outages()
    assert len(outages) == 3
    if month.exact:
        assert found == outages
        counted = [item.counted_ns for item in month.assessment.incidents]
        start, finish = month.plan.maintenance
        assert counted == [
            sum(SPAN for at in range(first, last, SPAN) if not start <= at < finish) for first, last in outages
        ]
    else:
        known = [at for at in outages if not any(at[0] - SPAN <= bin_ < at[1] + SPAN for bin_ in month.truth.unknown)]
        assert set(known) <= set(found)


def test_the_credit_follows_from_the_downtime_of_the_log(month: Month) -> None:
    total = month.assessment.settlement.total
    assert total is not None
    assert total.currency == "EUR"
    least, most = month.truth.credit(False), month.truth.credit(True)
    assert least > 0
    if month.exact:
        assert total.amount == least == most
    else:
        assert least <= total.amount <= most


def test_the_report_of_the_day_tells_the_same(month: Month) -> None:
    day = as_text(month.plan.end_ns - 1)[:10]
    words = linkwitness("report", "lab", "-c", month.config, "--window", day, "--now", as_text(month.plan.judged_ns),
                        "--format", "json")  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)["content"]
    told = [(item["start"]["ns"], item["end"]["ns"]) for item in content["incidents"]]
    assert told == [
        (item.start_ns, item.end_ns) for item in month.assessment.incidents if as_text(item.end_ns or 0) >= day
    ]
    if as_text(month.plan.maintenance[0]) >= day:
        (excluded,) = content["exclusions"]
        assert int(excluded["taken"]["exact"]["exact"]) == month.plan.maintenance[1] - month.plan.maintenance[0]


def test_the_second_reading_catches_a_bin_that_the_log_does_not_know(month: Month) -> None:
    """One bin more in which everything is lost, beside an outage, and the two no longer agree."""
    first = month.truth.outages()[0][0] - SPAN
    fate = month.truth.trips.fate.copy()
    fate[(month.truth.trips.sent_ns >= first) & (month.truth.trips.sent_ns < first + SPAN)] = "forward"
    other = replace(month, truth=replace(month.truth, trips=replace(month.truth.trips, fate=fate)))
    for agrees in (test_availability_is_that_of_the_log, test_the_incidents_are_the_outages_of_the_log):
        with pytest.raises(AssertionError):
            agrees(other)
