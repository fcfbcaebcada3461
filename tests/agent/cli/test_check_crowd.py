"""`check` of many circuits in several processes prints what it prints in one, byte for byte."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from agent.cli import crowd
from agent.cli.main import run
from agent.store import Store
from probes.core.clock import SECOND, SystemClock
from probes.core.model import Counts
from tests.fakes.samples import ping

START = 20_718 * 86_400 * SECOND
CIRCUITS = 12
CONFIG = """
site: test
store: {path: store}
contracts: contracts
circuits:
"""
PROMISES = """
id: basic
version: "1"
provider: P
customer: C
time_zone: UTC
window: {calendar: day}
coverage: {minimum: 1 %}
objectives:
  - {id: loss, metric: loss, target: 1 %}
  - {id: up, metric: availability, target: 99.9 %}
  - {id: month, metric: rtt, statistic: {type: mean}, target: 20ms, window: {rolling: 7d}}
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Some circuits, each with an outage of its own."""
    probes = "contract: basic, probes: [{kind: icmp}]"
    lines = [f"  - {{name: c{number:02}, target: 192.0.2.{number + 1}, {probes}}}" for number in range(CIRCUITS)]
    (tmp_path / "agent.yaml").write_text(CONFIG + "\n".join(lines) + "\n")
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts" / "basic.yaml").write_text(PROMISES)
    store = Store.open(tmp_path / "store", clock=SystemClock(), site="test")
    for number in range(CIRCUITS):
        rows = []
        for row in range(200):
            sample = ping(0, circuit=f"c{number:02}", start_ns=START + row * 10 * SECOND, rtt_ns=12_000_000 + number)
            if number * 7 <= row < number * 8:
                sample = dataclasses.replace(sample, counts=Counts(10, 0, 10), delay=None, variation=None)
            rows.append(sample)
        store.append(rows)
    assert store.flush(30.0)
    store.close(30.0)
    return tmp_path


@pytest.mark.parametrize("period", [[], ["--window", "2026-09-22"]], ids=["now", "day"])
def test_the_same_to_the_byte(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, period: list[str]
) -> None:
    arguments = ["check", "-c", str(home / "agent.yaml"), "--now", "2026-09-22T23:00:00Z", *period, "--json"]
    said = []
    for processes in (2, 1):
        monkeypatch.setattr(crowd, "cores", lambda count=processes: count)
        code = run(arguments)
        found = capsys.readouterr()
        said.append((code, found.out, found.err))
    assert said[0] == said[1]
    assert said[0][0] != 3, said[0]
    assert all(f'"c{number:02}"' in said[0][1] for number in range(CIRCUITS))


def test_processes_are_for_many_circuits_of_a_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd, "cores", lambda: 2)
    many = [(None, None)] * 9
    assert crowd.is_crowd(many, "store")
    assert not crowd.is_crowd(many[:8], "store")
    assert not crowd.is_crowd(many, "influxdb")
