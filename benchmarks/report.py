"""What a report costs: `python benchmarks/report.py [DIRECTORY]`.

A month of one circuit at 10 s (259,200 samples, 2.6 million packets, with histograms) out of a store whose days but the
last are sealed, judged by a contract of eight objectives with credits, and written as the report for the customer.
Beside it reading alone: the same rows and columns, nothing done with them. Wall time of this process after start-up,
median of seven; the limits are 1 s and 500 kB.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from agent import contract_files
from agent.assessing import Court
from agent.cli.sources import StoreSource
from agent.report.statement import Statement, as_csv, as_json, build, html, text
from agent.sla.docket import Reading, docket_over, readings
from agent.sla.samples.columns import SampleColumns
from agent.sla.samples.shared_fate import COLUMNS, SharedFate, witnesses
from agent.sla.time.calendar import WindowInstants
from agent.written import Written
from benchmarks.sealed import DAYS, FIRST_DAY, fill, seal
from probes.core.clock import SECOND
from probes.core.model import Circuit, ProbeSetting

DAY_NS = 86400 * SECOND
RUNS = 7
CONTRACT = """
id: gold
version: "1"
provider: P
customer: C
time_zone: UTC
window: {rolling: 30d}
coverage: {minimum: 90 %}
objectives:
  - {id: availability, metric: availability, statistic: {type: availability_mef, dt: 10s, n: 3}, target: 99.95 %}
  - {id: delay, metric: rtt, statistic: {type: mean}, target: 25ms, only_available_time: true}
  - {id: delay-p99, metric: rtt, statistic: {type: percentile, p: 99}, target: 30ms, only_available_time: true}
  - {id: variation, metric: jitter, statistic: {type: percentile, p: 99, definition: pdv}, target: 9ms}
  - {id: jitter, metric: jitter, statistic: {type: mean}, target: 3ms, only_available_time: true}
  - {id: loss, metric: loss, target: 1 %, only_available_time: true}
  - {id: loss-day, metric: loss, target: 2 %, window: {calendar: day}}
  - {id: mos, metric: mos, statistic: {type: mean}, target: "4.0"}
credits:
  currency: EUR
  terms:
    - {id: availability-credit, objective: availability, basis: band, bands: [{to: 99.95 %, credit: 10 %}]}
"""


def main() -> None:
    """Build the store, report, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", nargs="?", type=Path, help="where to put the store; a temporary one if left out")
    parser.add_argument("--keep", action="store_true", help="use the store that is there, and leave it")
    chosen = parser.parse_args()
    root = Path(chosen.directory or tempfile.mkdtemp(prefix="lw-report-"))
    try:
        if not (chosen.keep and (root / "store").exists()):
            root.mkdir(parents=True, exist_ok=True)
            fill(root / "store", 2, DAYS)
            seal(root / "store", DAYS - 1)
        figures(root / "store")
    finally:
        if not chosen.keep:
            shutil.rmtree(root, ignore_errors=True)


def figures(path: Path) -> None:
    """Measure each part, and the whole."""
    contract = contract_files.parse(CONTRACT, "gold.yaml")
    probe = ProbeSetting("icmp", "icmp", {"every": SECOND, "timeout": 3 * SECOND})
    circuits = [
        Circuit(f"circuit-{n:03}", f"192.0.2.{n + 1}", probes=(probe,), contract="gold", monthly_charge="480.00 EUR")
        for n in range(2)
    ]
    start, end = FIRST_DAY * DAY_NS, (FIRST_DAY + DAYS) * DAY_NS
    period = WindowInstants(start, end, "30 days", "UTC")
    with StoreSource(path) as samples:
        fate = SharedFate(
            witnesses(circuits, {"gold": contract}, ()),
            lambda item, first, last: samples.read(
                item.circuit, Reading(item.probe, item.kind, COLUMNS, first, last, item.circuit)
            ),
            10 * SECOND,
        )
        court = Court(samples, {item.id: item for item in circuits}, Written(), fate, end + 60 * SECOND)

        def assessed() -> Mapping[str, SampleColumns]:
            return court.assess(contract, circuits[0], period)[1]

        def read_only() -> None:
            for item in readings(
                contract, circuits[0], docket_over(contract, period, court.now_ns), now_ns=court.now_ns
            ):
                samples.read(item.circuit, item)

        def reported() -> Statement:
            assessment, series = court.assess(contract, circuits[0], period)
            return build(assessment, series, software="linkwitness", audience="customer")

        statement = reported()
        page = html(statement)
        rows = sum(item.rows for item in statement.content.provenance.series)
        reading, judged = timed(read_only), timed(assessed)
        made = timed(reported)
        forms = {form.__name__: timed(lambda form=form: form(statement)) for form in (html, text, as_json, as_csv)}
    print(f"{rows} rows read, {statement.content.tally.results} results")
    print(f"reading alone {reading:.0f} ms; read and judged {judged:.0f} ms; statement with its hashes {made:.0f} ms")
    told = ", ".join(f"{name} {ms:.0f} ms" for name, ms in forms.items())
    print(f"written: {told}")
    whole = made + forms["html"]
    print(f"from the store to the page: {whole:.0f} ms, {whole / reading:.1f} times reading alone; limit 1000 ms")
    sizes = {"html": page, "text": text(statement), "json": as_json(statement), "csv": as_csv(statement)}
    told = ", ".join(f"{name} {len(body.encode()) // 1000} kB" for name, body in sizes.items())
    print(f"sizes: {told}; limit 500 kB")


def timed(work: Callable[[], object]) -> float:
    """Median of RUNS in ms of wall time."""
    found = []
    for _ in range(RUNS):
        begin = time.perf_counter()
        work()
        found.append((time.perf_counter() - begin) * 1000)
    return statistics.median(found)


if __name__ == "__main__":
    main()
