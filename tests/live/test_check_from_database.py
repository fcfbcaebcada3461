"""The same contract over the local store and over InfluxDB gives the same verdicts, number by number."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from agent.cli.main import run
from agent.config import load
from agent.deliver.line import LineEncoder
from agent.deliver.sink import Sink
from agent.sla.time.calendar import parse_instant
from agent.store import Store, StoreReader
from probes.core.clock import SECOND, SystemClock
from probes.core.model import Counts, Delay, Rate, Sample, SampleState, Variation
from probes.metrics import histogram
from tests.live.servers import InfluxDB1

pytestmark = pytest.mark.live("influxdb")

START = parse_instant("2026-11-02T23:00:00Z")
LENGTH = 720
CONTRACT = """
id: broad
version: "1"
provider: P
customer: C
time_zone: Europe/Berlin
window: {calendar: day}
coverage: {minimum: 5 %}
objectives:
  - {id: up, metric: availability, target: 99 %}
  - {id: delay, metric: rtt, statistic: {type: mean}, target: 20ms, only_available_time: true}
  - {id: p95, metric: rtt, statistic: {type: percentile, p: 95}, target: 21ms}
  - {id: p99, metric: rtt, statistic: {type: percentile, p: 99.9}, target: 21ms}
  - {id: pdv, metric: jitter, statistic: {type: percentile, p: 95, definition: pdv}, target: 5ms}
  - {id: ipdv, metric: jitter, target: 3ms}
  - {id: rtp, metric: jitter, statistic: {type: mean, definition: rfc3550}, target: 3ms}
  - {id: loss, metric: loss, target: 1 %}
  - {id: rate, metric: throughput, statistic: {type: minimum}, target: 90 % of committed_rate}
"""


def config(url: str) -> str:
    return f"""
site: test
store: {{path: store}}
contracts: contracts
sinks:
  - {{name: central, url: "{url}", api: v1, database: sla}}
circuits:
  - name: alpha-1
    target: 192.0.2.10
    committed_rate: 100Mbit/s
    contract: broad
    probes: [{{kind: icmp}}, {{kind: throughput, every: 1h}}]
"""


def samples() -> Iterator[Sample]:
    """Two hours with an outage, some loss, a hole, impaired intervals, and capacity runs."""
    chance = np.random.default_rng(20261103)
    for number in range(LENGTH):
        if 300 <= number < 310:
            continue
        lost = 10 if 100 <= number < 106 else int(chance.integers(0, 3) == 0)
        delays = chance.integers(10_000_000, 22_000_000, 10 - lost)
        state = SampleState.IMPAIRED if number % 97 == 50 else SampleState.OK if lost < 10 else SampleState.NO_REPLY
        yield Sample(
            "alpha-1", "icmp", "icmp", START + number * 10 * SECOND, 10 * SECOND, state,
            Counts(sent=10, received=10 - lost, lost=lost), *_delays(delays),
            histogram=histogram.build(delays) if len(delays) else None,
        )  # fmt: skip
    for hour in range(2):
        rate = Rate(96_000_000 + hour, 91_000_000 + hour, 10**7, 10**7, SECOND, SECOND)
        yield Sample(
            "alpha-1", "throughput", "throughput", START + hour * 3600 * SECOND + 7, 10 * SECOND, SampleState.OK,
            rate=rate,
        )  # fmt: skip


def _delays(delays: np.ndarray) -> tuple[object, ...]:
    if not len(delays):
        return (None, None)
    steps = np.abs(np.diff(delays))
    low, high = int(delays.min()), int(delays.max())
    ranks = [int(np.sort(delays)[-(-len(delays) * p // 100) - 1]) for p in (50, 95, 99)]
    delay = Delay(len(delays), int(delays.sum()), low, high, *ranks, int(delays.std()))
    return delay, Variation(len(steps), int(steps.sum()), int(steps.max()), high - low, int(steps.mean()))


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    with InfluxDB1() as server:
        server.create("sla")
        (tmp_path / "contracts").mkdir()
        (tmp_path / "contracts" / "broad.yaml").write_text(CONTRACT)
        (tmp_path / "agent.yaml").write_text(config(server.url))
        store = Store.open(tmp_path / "store", clock=SystemClock(), site="test")
        for sample in samples():
            store.append([sample])
        assert store.flush(30.0)
        store.close(30.0)
        deliver(tmp_path)
        yield tmp_path


def deliver(directory: Path) -> None:
    settings = load(directory / "agent.yaml")
    sink = Sink(settings.sinks[0])
    encoder = LineEncoder(settings.site, {circuit.id: circuit for circuit in settings.circuits})
    with StoreReader.open(directory / "store") as reader:
        lines = [encoder.encode(item.sample, text=True) for item in reader.after(0, 10_000)]
    reply = sink.write("\n".join(lines))
    assert reply.answer.name == "WRITTEN", reply
    sink.close()


@pytest.mark.parametrize(("now", "state"), [("2026-11-03T01:00:00Z", "open"), ("2026-11-04T00:00:00Z", "closed")])
def test_store_and_database_give_the_same_verdicts(
    home: Path, capsys: pytest.CaptureFixture[str], now: str, state: str
) -> None:
    answers = []
    for source in ("store", "influxdb", "central"):
        words = ["--now", now, "--window", "2026-11-03", "--json", "--from", source]
        run(["check", "-c", str(home / "agent.yaml"), *words])
        answers.append(json.loads(capsys.readouterr().out))
    stored, read_back, named = answers
    assert len(stored["verdicts"]) == 9
    assert all(item["value"] is not None for item in stored["verdicts"])
    assert stored["verdicts"] == read_back["verdicts"] == named["verdicts"]
    assert stored["exit_code"] == read_back["exit_code"]
    by_id = {item["objective"]: item for item in stored["verdicts"]}
    assert by_id["up"]["evidence"]["intervals_down"] == 6
    assert by_id["rate"]["value"] == 91_000_000
    # Most of the closed day has neither samples nor a record of why: only what is proven is decided.
    assert {item["state"] for item in stored["verdicts"]} <= (
        {"on_track", "at_risk", "breached"} if state == "open" else {"met", "breached", "inconclusive"}
    )
