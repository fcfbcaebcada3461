"""The whole agent on the lab: measured, stored, delivered to two databases, judged; all of it follows from the log.

Ten minutes by default, because a circuit is judged over time; LINKWITNESS_LAB_MINUTES makes it another length.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.sla.samples.columns import INTEGER_COLUMNS, SampleColumns
from agent.sla.time.period import SETTLING_NS
from agent.store import StoreReader
from probes.core.model import SampleState
from tests.lab.emulator_log import RoundTrips
from tests.lab.namespaces import Lab, end
from tests.live.servers import InfluxDB1, VictoriaMetrics

MINUTES = float(os.environ.get("LINKWITNESS_LAB_MINUTES", "10"))
SECOND = 1_000_000_000
SPAN = 5 * SECOND
DELAY_MS = 20
OUTAGE_S = 30
LOSSY_S = 60
LOSSY_RATIO = 0.2
RUN_OF = 2
"""intervals in a row that change the availability state, as the contract says"""
EVERY_S = 0.1
OURS = slice(4, 24)
"""octets of the payload that a reply repeats: stream, sequence, nonce"""
EDGE = 2
"""packets that may fall on the other side of an instant: the link sees them a little after the agent stamps them"""

pytestmark = [
    pytest.mark.root,
    pytest.mark.live("influxdb", "victoria-metrics", "curl"),
    pytest.mark.serial,
    pytest.mark.timeout(60 * MINUTES + 240),
]

AGENT = """site: lab
interval: 5s
store: {{path: store}}
contracts: contracts
sinks:
  - {{name: influx, url: "{influx}", api: auto, database: sla}}
  - {{name: victoria, url: "{victoria}", api: v2, org: lab, bucket: sla}}
circuits:
  - name: lab
    provider: Emulator
    target: {target}
    contract: lab
    probes:
      - {{kind: udp, every: 100ms, port: 8620, timeout: 1s}}
      - {{kind: icmp, every: 100ms, timeout: 1s}}
      - {{kind: tcp, every: 5s, port: 8621, timeout: 1s}}
      - {{kind: throughput, every: {run_every}s, port: 8621, duration: 2s, direction: both}}
"""

CONTRACT = """id: lab
version: "1"
provider: Emulator
customer: lab
time_zone: UTC
window: {{rolling: {window}s}}
coverage: {{minimum: 60 %}}
objectives:
  - {{id: latency, metric: rtt, statistic: {{type: mean}}, target: 100ms}}
  - {{id: latency-p95, metric: rtt, statistic: {{type: percentile, p: 95}}, target: 10ms}}
  - {{id: jitter, metric: jitter, statistic: {{type: mean, definition: ipdv}}, target: 25ms}}
  - {{id: loss, metric: loss, target: 1 %}}
  - {{id: throughput, metric: throughput, statistic: {{type: minimum, direction: worst}}, target: 1Mbit/s}}
  - {{id: availability, metric: availability, statistic: {{type: availability_mef, n: 2, c: 50 %}}, target: 99 %}}
"""
STATES = {
    "latency": "met", "latency-p95": "breached", "jitter": "met", "loss": "breached", "throughput": "met",
    "availability": "breached",
}  # fmt: skip


@dataclass
class Day:
    """What is left after the agent's run."""

    config: Path
    trips: RoundTrips
    start_ns: int
    end_ns: int
    outage: tuple[int, int]
    last_words: str

    def stored(self, probe: str) -> SampleColumns:
        with StoreReader.open(self.config.parent / "store") as reader:
            return reader.read("lab", probe, (*INTEGER_COLUMNS, "histogram"), self.start_ns, self.end_ns)

    def disturbances(self) -> list[int]:
        """When this host itself was in trouble, as the agent recorded it."""
        with StoreReader.open(self.config.parent / "store") as reader:
            return [event.at_ns for event in reader.events() if event.kind in DISTURBANCES]


DISTURBANCES = ("gap", "suspend", "clock_step")
"""events of a host in trouble: a busy machine may stand still for a second"""


def linkwitness(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "agent.cli.main", *map(str, words)]


def written(folder: Path, lab: Lab, influx: InfluxDB1, victoria: VictoriaMetrics, window_s: int) -> Path:
    (folder / "contracts").mkdir()
    (folder / "contracts" / "lab.yaml").write_text(CONTRACT.format(window=window_s))
    config = folder / "agent.yaml"
    config.write_text(
        AGENT.format(influx=influx.url, victoria=victoria.url, target=lab.far.ipv4, run_every=int(12 * MINUTES))
    )
    return config


def run_the_day(lab: Lab, config: Path, folder: Path) -> tuple[tuple[int, int], str]:
    """The agent runs, the link has its outage and its lossy minute; the outage, and what the agent said at the end."""
    total = 60 * MINUTES
    with (folder / "agent.log").open("wb") as log:
        reflector = lab.far.popen(linkwitness("reflect", "--listen", lab.far.ipv4, "--allow", "198.51.100.0/24"))
        agent = lab.near.popen(linkwitness("run", "-c", config, "--output", "lines"), stdout=log, stderr=log)
        time.sleep(0.3 * total)
        outage = lab.link.outage_at_second(1, OUTAGE_S)
        time.sleep(0.3 * total)
        lossy = {"loss": LOSSY_RATIO}
        lab.link.set(forward=lossy)
        time.sleep(LOSSY_S)
        lab.link.set(forward={"loss": 0.0})
        time.sleep(0.4 * total - LOSSY_S)
        agent.send_signal(signal.SIGINT)
        assert agent.wait(60) == 0
        end(reflector)
    return outage, (folder / "agent.log").read_text("utf-8", "replace")


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("day")
    both = {"delay_ns": DELAY_MS * 1_000_000, "jitter_ns": 2_000_000}
    lab = Lab(folder, forward=both, backward=both)
    try:
        enter = lab.near.enter([])
        with InfluxDB1(enter) as influx, VictoriaMetrics(enter) as victoria:
            influx.create("sla")
            window_s = int(60 * MINUTES * 0.9) // 5 * 5 - 15
            config = written(folder, lab, influx, victoria, window_s)
            outage, said = run_the_day(lab, config, folder)
            log = lab.log()
            with StoreReader.open(folder / "store") as reader:
                last = reader.read("lab", "udp", (), 0, 2**62)
            # The last interval is a part of one; the one before it may lack packets that were still under way.
            end_ns = int(last.start_ns[-2])
            yield (
                lab,
                influx,
                victoria,
                Day(config, log.udp(8620, OURS), end_ns - window_s * SECOND, end_ns, outage, said),
            )
    finally:
        lab.close()


def check(day: tuple[Lab, Any, Any, Day], source: str) -> dict[str, Any]:
    lab, _, _, kept = day
    # A rolling window ends where samples have settled.
    now = f"{np.datetime64(kept.end_ns + SETTLING_NS, 'ns')}Z"
    words = linkwitness("check", "lab", "-c", kept.config, "--from", source, "--now", now, "--json")
    done = lab.near.run(words, check=False)
    assert done.returncode == 2, done.stderr + done.stdout
    document = json.loads(done.stdout)
    return {verdict["objective"]: verdict for verdict in document["verdicts"]}


def measured_bins(columns: SampleColumns) -> list[int]:
    """Starts of the intervals that may be judged."""
    good = [state.code for state in SampleState if state.measured]
    return [int(start) for start, state in zip(columns.start_ns, columns.state, strict=True) if state in good]


def in_measured(trips: RoundTrips, columns: SampleColumns) -> RoundTrips:
    """Round trips that began within samples that may be judged."""
    good = np.isin(columns.state, [state.code for state in SampleState if state.measured])
    starts, ends = columns.start_ns[good], (columns.start_ns + columns.span_ns)[good]
    place = np.searchsorted(starts, trips.sent_ns, side="right") - 1
    chosen = (place >= 0) & (trips.sent_ns < ends[place])
    rows = (trips.sent_ns, trips.reply_ns, trips.rtt_ns, trips.fate, trips.copies, trips.sequence, trips.payload)
    return RoundTrips(*(row[chosen] for row in rows), reordered=0)


def test_every_packet_is_in_the_store_once_and_lost_where_the_log_says(day: Any) -> None:
    kept: Day = day[3]
    columns, trips = kept.stored("udp"), kept.trips.between(kept.start_ns, kept.end_ns)
    assert abs(int(columns.column("sent").sum()) - len(trips)) <= EDGE
    assert int(columns.column("lost").sum()) == trips.lost
    # A host that stood still for a moment skipped packets: it says so, and nobody lost them.
    expected = round((kept.end_ns - kept.start_ns) / (EVERY_S * SECOND))
    accounted = int(columns.column("sent").sum()) + int(columns.column("not_sent").sum())
    assert abs(accounted - expected) <= EDGE


def test_samples_lie_on_the_grid_without_a_gap(day: Any) -> None:
    kept: Day = day[3]
    columns = kept.stored("udp")
    assert columns.start_ns[0] == kept.start_ns
    assert (columns.start_ns[1:] == (columns.start_ns + columns.span_ns)[:-1]).all()
    whole = columns.start_ns[columns.span_ns == SPAN]
    assert (whole % SPAN == 0).all()
    assert len(whole) >= len(columns) - 2 * len(kept.disturbances())


def test_the_outage_is_seen_in_its_intervals_and_nowhere_else(day: Any) -> None:
    kept: Day = day[3]
    columns = kept.stored("udp")
    silent = columns.start_ns[columns.column("received") == 0].tolist()
    inside = [start for start in range(kept.start_ns, kept.end_ns, SPAN)
              if kept.outage[0] <= start and start + SPAN <= kept.outage[1]]  # fmt: skip
    assert silent == inside


def test_only_intervals_with_a_throughput_run_are_impaired(day: Any) -> None:
    kept: Day = day[3]
    columns = kept.stored("udp")
    runs = kept.stored("throughput")
    impaired = set(columns.start_ns[columns.state == SampleState.IMPAIRED.code].tolist())
    loaded: set[int] = set()
    for start, span in zip(runs.start_ns.tolist(), runs.span_ns.tolist(), strict=True):
        loaded |= set(range(start // SPAN * SPAN, start + span, SPAN))
    assert len(runs) >= 1
    assert impaired >= loaded & set(columns.start_ns.tolist())
    excused = loaded | {at_ns // SPAN * SPAN for at_ns in kept.disturbances()}
    neighbours = {start + shift for start in excused for shift in (-SPAN, 0, SPAN)}
    assert {start // SPAN * SPAN for start in impaired} <= neighbours


def test_the_verdicts_follow_from_the_log(day: Any) -> None:
    kept: Day = day[3]
    verdicts = check(day, "store")
    assert {name: verdict["state"] for name, verdict in verdicts.items()} == STATES
    trips = in_measured(kept.trips, kept.stored("udp"))
    loss = verdicts["loss"]
    assert abs(Fraction(loss["value_exact"]) - Fraction(trips.lost, len(trips))) < Fraction(EDGE, len(trips))
    answered = trips.rtt_ns[trips.fate == "answered"]
    assert verdicts["latency"]["value"] == pytest.approx(answered.mean(), abs=200_000)
    rank = -(-95 * len(answered) // 100) - 1
    assert verdicts["latency-p95"]["value"] == pytest.approx(np.sort(answered)[rank], abs=200_000, rel=0.008)


def test_the_availability_verdict_is_that_of_a_plain_reading_of_the_log(day: Any) -> None:
    kept: Day = day[3]
    measured = set(measured_bins(kept.stored("udp")))
    down = high = 0
    bins = range(kept.start_ns, kept.end_ns, SPAN)
    for start in bins:
        trips = kept.trips.between(start, start + SPAN)
        high = high + 1 if start in measured and trips.lost * 2 > len(trips) else 0
        # The state changes at the first interval of the run that changes it.
        down += RUN_OF if high == RUN_OF else int(high > RUN_OF)
    verdict = check(day, "store")["availability"]
    assert OUTAGE_S // 5 - 1 <= down <= OUTAGE_S // 5 + 1
    best, worst = Fraction(verdict["best_exact"]), Fraction(verdict["worst_exact"])
    assert worst <= 1 - Fraction(down, len(bins)) <= best


def test_influxdb_gives_the_same_verdicts_number_by_number(day: Any) -> None:
    assert check(day, "influx") == check(day, "store")


def test_both_databases_have_every_sample_once(day: Any) -> None:
    _, influx, victoria, kept = day
    names = {"udp": "udp_echo", "icmp": "ping", "tcp": "net_response", "throughput": "throughput"}
    with StoreReader.open(kept.config.parent / "store") as reader:
        rows = {item.kind: item.rows for item in reader.series()}
        assert all(sink.lag == 0 and sink.parked == 0 for sink in reader.status().sinks)
    assert set(rows) == set(names)
    for kind, count in rows.items():
        (series,) = influx.query("sla", f'SELECT count("state") FROM "{names[kind]}"')
        assert series["values"][0][1] == count
        exported = victoria.shown(f"{names[kind]}_state", count)
        assert len(exported["timestamps"]) == len(set(exported["timestamps"])) == count


def test_the_agent_said_what_it_kept_and_where(day: Any) -> None:
    kept: Day = day[3]
    assert f"the store {kept.config.parent / 'store'} holds" in kept.last_words
    assert "Traceback" not in kept.last_words


def test_the_comparison_catches_a_loss_the_log_does_not_know(day: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: Day = day[3]
    stored = kept.stored

    def forgetful(probe: str) -> SampleColumns:
        columns = stored(probe)
        columns.column("lost")[-1] += 1
        return columns

    monkeypatch.setattr(kept, "stored", forgetful)
    with pytest.raises(AssertionError):
        test_every_packet_is_in_the_store_once_and_lost_where_the_log_says(day)
