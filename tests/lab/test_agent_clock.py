"""`linkwitness run` while its clock is set: forward, back, and back again over time that is in the store already.

All that a user reads follows from the link's log: every packet once, none lost that was not, no outage; the time
without a measurement has its reason.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.sla.time.period import SETTLING_NS
from agent.store import StoreReader
from agent.store.records import EventRecord, StoredSample
from probes.core.model import PacketState, SampleState
from tests.fakes.kept import rows_in
from tests.lab.namespaces import Lab, end
from tests.lab.reported import MS, SECOND, truth
from tests.lab.stamp_lab import ways
from tests.lab.wall import WallClock

pytestmark = [pytest.mark.root, pytest.mark.serial]

STEPS = (90 * SECOND, -90 * SECOND, -2 * SECOND)
"""The last one goes back to what was measured before it: those seconds are in the store already."""
BETWEEN_S = 3.3
SEQUENCE, SENDER_SEQUENCE = slice(0, 4), slice(48, 52)
"""octets of signed packets, RFC 8762 sections 4.2.2 and 4.3.2"""
WINDOW_S = 120
PATIENCE_S = 60.0

AGENT = """site: lab
interval: 1s
store: {{path: store}}
contracts: contracts
circuits:
  - name: lab
    provider: Emulator
    target: {target}
    contract: lab
    probes:
      - {{kind: icmp, every: 50ms, timeout: 400ms}}
      - {{kind: stamp, every: 50ms, timeout: 400ms, key: {{file: stamp-key}}}}
"""
CONTRACT = f"""id: lab
version: "1"
provider: Emulator
customer: lab
time_zone: UTC
window: {{rolling: {WINDOW_S}s}}
coverage: {{minimum: 1 %}}
objectives:
  - {{id: latency, metric: rtt, statistic: {{type: mean}}, target: 100ms}}
  - {{id: loss, metric: loss, target: 50 %}}
  - {{id: availability, metric: availability, statistic: {{type: availability_mef, n: 2, c: 50 %}}, target: 99 %}}
"""


def linkwitness(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "agent.cli.main", *map(str, words)]


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def reflecting(lab: Lab, key: Path) -> Iterator[None]:
    """`linkwitness reflect` on the far host, which takes no request twice; its clock is the machine's."""
    words = linkwitness("reflect", "--listen", lab.far.ipv4, "--allow", "198.51.100.0/24", "--key-file", key)
    process = lab.far.popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        assert process.stdout is not None
        while "Ctrl-C" not in (line := process.stdout.readline()):
            assert line, "it did not start"
        yield
    finally:
        end(process)


@dataclass
class Kept:
    """What is left after the run."""

    lab: Lab
    wall: WallClock
    config: Path
    said: str
    samples: list[StoredSample]
    events: list[EventRecord]
    gaps: list[EventRecord]

    def of(self, probe: str) -> list[StoredSample]:
        """In the order in which they were kept."""
        return [item for item in self.samples if item.sample.probe == probe]

    def states(self, probe: str) -> np.ndarray:
        """PacketState of every packet, in order of sending."""
        starts = np.array([item.sample.start_ns for item in self.of(probe)], np.int64)
        with StoreReader.open(self.config.parent / "store") as reader:
            found = reader.packets_of("lab", probe, starts)
        return np.concatenate([packets.state for packets in found if packets is not None])

    def check(self) -> dict[str, Any]:
        """The verdicts over all of it, as a user asks for them after the last instant any sample claims."""
        last = max(item.sample.start_ns + item.sample.span_ns for item in self.samples)
        now = f"{np.datetime64(last + SETTLING_NS + 10 * SECOND, 'ns')}Z"
        done = self.lab.near.run(linkwitness("check", "lab", "-c", self.config, "--now", now, "--json"), check=False)
        assert done.returncode in (0, 3), done.stdout + done.stderr
        return {verdict["objective"]: verdict for verdict in json.loads(done.stdout)["verdicts"]}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, clock_shim: Path) -> Iterator[Kept]:
    folder = tmp_path_factory.mktemp("clock")
    lossy = {"delay_ns": 15 * MS, "loss": 0.06}
    lab = Lab(folder, forward=lossy, backward=lossy, seed="agent-clock")
    try:
        key = folder / "stamp-key"
        key.touch(0o600)
        key.write_text("0123456789abcdef0123456789abcdef\n")
        (folder / "contracts").mkdir()
        (folder / "contracts" / "lab.yaml").write_text(CONTRACT)
        config = folder / "agent.yaml"
        config.write_text(AGENT.format(target=lab.far.ipv4))
        wall, store = WallClock(clock_shim, folder / "wall"), folder / "store"
        said = run(lab, wall, config, folder / "agent.log")
        with StoreReader.open(store) as reader:
            events = list(reversed(reader.events()))
            yield Kept(lab, wall, config, said, reader.after(0, 10_000), events, reader.gaps())
    finally:
        lab.close()


def run(lab: Lab, wall: WallClock, config: Path, log: Path) -> str:
    """The agent measures, its clock is set three times; what it said. The link is whole at the end: what is under way
    when the agent stops is in no sample."""
    with reflecting(lab, config.parent / "stamp-key"), log.open("wb") as output:
        agent = lab.near.popen(
            linkwitness("run", "-c", config, "--output", "lines"),
            stdout=output, stderr=output, env=os.environ | wall.environment,
        )  # fmt: skip
        until(lambda: rows_in(config.parent / "store") >= 4)
        for by_ns in STEPS:
            wall.step(by_ns)
            wall.hold(BETWEEN_S)
        lab.link.set(forward={"loss": 0.0}, backward={"loss": 0.0})
        time.sleep(1.0)
        agent.send_signal(signal.SIGINT)
        assert agent.wait(60) == 0
    return log.read_text("utf-8", "replace")


def lost(kept: Kept, probe: str) -> list[bool]:
    """Of every packet on the link, whether its reply never came back."""
    log = kept.lab.log()
    if probe == "icmp":
        return (truth(log, "icmp4").rtt_ns < 0).tolist()
    return (ways(log, 4, asked=SEQUENCE, echoed=SENDER_SEQUENCE).rtt_ns < 0).tolist()


@pytest.mark.parametrize("probe", ["icmp", "stamp"])
def test_every_packet_is_in_the_store_once_and_lost_where_the_log_says(
    kept: Kept, probe: str, figure: Callable[[str], None]
) -> None:
    known, states = lost(kept, probe), kept.states(probe)
    states = states[states != PacketState.NOT_SENT]
    missing = len(known) - len(states)
    assert 0 <= missing <= 3, "but for those under way at the stop"
    assert (states != PacketState.ANSWERED).tolist() == known[: len(states)]
    assert sum(known) > 10
    assert not any(known[len(states) :])
    samples = [item.sample for item in kept.of(probe)]
    assert sum(sample.counts.sent for sample in samples) == len(states)
    assert sum(sample.counts.lost for sample in samples) == sum(known)
    assert sum(sample.counts.late + sample.counts.reordered for sample in samples) == 0
    silent = [sample for sample in samples if sample.state not in (SampleState.OK, SampleState.IMPAIRED)]
    assert all(sample.counts.sent <= 2 for sample in silent), "the rest of a second, cut short by a step"
    figure(
        f"clock set +90 s, -90 s, -2 s under an agent, {probe}: {len(states)} packets kept, {sum(known)} lost as logged"
    )


@pytest.mark.parametrize("probe", ["icmp", "stamp"])
def test_no_round_trip_is_spoilt(kept: Kept, probe: str) -> None:
    delays = [item.sample.delay for item in kept.of(probe) if item.sample.delay is not None]
    assert len(delays) >= 12
    assert min(delay.minimum_ns for delay in delays) >= 30 * MS
    assert max(delay.maximum_ns for delay in delays) < 400 * MS
    assert np.median([delay.p50_ns for delay in delays]) < 31 * MS


def test_what_was_reported_is_kept_and_read_back(kept: Kept) -> None:
    """Also samples of the same instant as one that is kept already: they lie 1 ns beside it."""
    said = re.search(r"Kept (\d+) samples of (\d+) packets", kept.said)
    assert said is not None
    assert int(said[1]) == len(kept.samples)
    assert int(said[2]) == sum(item.sample.counts.sent for item in kept.samples)
    assert "dropped" not in kept.said
    for probe in ("icmp", "stamp"):
        starts = [item.sample.start_ns for item in kept.of(probe)]
        assert len(set(starts)) == len(starts)
        assert sum(start % SECOND == 1 for start in starts) >= 1
        with StoreReader.open(kept.config.parent / "store") as reader:
            columns = reader.read("lab", probe, ("sent", "lost"), min(starts), max(starts) + 1)
        assert columns.start_ns.tolist() == sorted(starts)
        assert int(columns.column("sent").sum()) == sum(item.sample.counts.sent for item in kept.of(probe))


def test_samples_end_at_each_step_and_go_on_by_the_new_clock(kept: Kept) -> None:
    for probe in ("icmp", "stamp"):
        spans = [(item.sample.start_ns, item.sample.start_ns + item.sample.span_ns) for item in kept.of(probe)]
        between = [later[0] - earlier[1] for earlier, later in pairwise(spans)]
        # The rest of a second in which nothing was due has no sample.
        assert [gap for gap in between if abs(gap) > 1] == pytest.approx(STEPS, abs=60 * MS)


def test_each_step_is_recorded_with_its_size_and_its_time_has_a_reason(kept: Kept) -> None:
    steps = [event for event in kept.events if event.kind == "clock_step" and event.end_ns is not None]
    forward, back, again = steps
    assert [event.reason for event in steps] == ["clock set forward", "clock set back", "clock set back"]
    for event, by_ns, change in zip(steps, STEPS, kept.wall.changes, strict=True):
        assert event.end_ns is not None
        assert event.end_ns - event.at_ns == pytest.approx(abs(by_ns), abs=5 * MS)
        noticed = event.end_ns if by_ns > 0 else event.at_ns
        assert 0 <= noticed - (change.at_ns + change.offset_ns) < 2 * SECOND
    gaps = {(gap.reason, gap.at_ns, gap.end_ns) for gap in kept.gaps if gap.reason in {step.reason for step in steps}}
    assert gaps == {
        # The clock went back into the time it had skipped: from there on there are samples.
        (forward.reason, forward.at_ns, back.at_ns),
        (back.reason, back.at_ns, back.end_ns),
        (again.reason, again.at_ns, again.end_ns),
    }
    assert "clock was set forward by 1m30s" in kept.said
    assert "clock was set back by 1m30s" in kept.said
    assert "clock was set back by 2s" in kept.said


def test_the_verdict_knows_no_outage_and_why_time_was_not_measured(kept: Kept) -> None:
    verdicts = kept.check()
    counts = [item.sample.counts for item in kept.of("stamp") if item.sample.state.measured]
    sent, missing = sum(count.sent for count in counts), sum(count.lost for count in counts)
    loss = verdicts["loss"]
    assert (loss["evidence"]["sent"], loss["evidence"]["lost"]) == (sent, missing)
    assert Fraction(loss["value_exact"]) == Fraction(missing, sent)
    assert 30 * MS <= verdicts["latency"]["value"] < 60 * MS
    availability = verdicts["availability"]
    assert availability["value"] == availability["best"] == 1
    assert availability["evidence"]["intervals_down"] == 0
    assert availability["evidence"]["outages"] == []
    for verdict in verdicts.values():
        reasons = {gap["reason"] for gap in verdict["evidence"]["not_measured"]}
        assert {"clock set forward", "measured twice, clock set back"} <= reasons
