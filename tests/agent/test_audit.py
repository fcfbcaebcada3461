"""Many circuits judged by several processes: the verdicts of one by one, byte for byte, whatever becomes of them."""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import agent.audit
from agent import contract_files
from agent.audit import FEW, Bench, Brief, judge_many
from agent.crew import Crew
from agent.report.document import check_document
from agent.sla.samples.shared_fate import witnesses
from agent.sla.terms.contract import Contract
from agent.sla.verdict import Verdict
from agent.store import Store
from agent.store.sealed.sealing import seal_next
from probes.core.clock import SECOND, SystemClock
from probes.core.errors import LocalError
from probes.core.model import Circuit, Counts, Delay, ProbeSetting, Sample, SampleState
from probes.metrics.histogram import build
from tests.fakes.samples import ping

START = 20_718 * 86_400 * SECOND
ROWS, CIRCUITS = 360, 12
NOW = START + 86_400 * SECOND + 3600 * SECOND
ICMP = ProbeSetting("icmp", "icmp", {"every": SECOND, "timeout": 3 * SECOND})
TEXT = """
id: gold
version: "1"
provider: P
customer: C
time_zone: UTC
window: {rolling: 2d}
coverage: {minimum: 1 %}
objectives:
  - {id: up, metric: availability, statistic: {type: availability_mef, dt: 10s, n: 3}, target: 99.95 %}
  - {id: mean, metric: rtt, statistic: {type: mean}, target: 25ms, only_available_time: true}
  - {id: p95, metric: rtt, statistic: {type: percentile, p: 95}, target: 25ms, only_available_time: true}
  - {id: pdv, metric: jitter, statistic: {type: percentile, p: 99, definition: pdv}, target: 9ms}
  - {id: loss, metric: loss, target: 1 %, only_available_time: true}
"""


def drawn(number: int) -> list[Sample]:
    """Two stretches of one circuit, in two days, by its own seed: outages, gaps, impaired time, lost packets."""
    chance = random.Random(number)
    found = []
    for begin in (START, START + 86_400 * SECOND):
        down = chance.randrange(ROWS)
        for row in range(ROWS):
            if chance.random() < 0.02 or (number == 5 and begin > START):
                continue
            lost = 10 if down <= row < down + 12 else int(chance.random() < 0.1) * chance.randrange(10)
            got = 10 - lost
            delay = 12_000_000 + chance.randrange(20_000_000)
            sample = ping(
                0, circuit=f"c{number:02}", rtt_ns=delay, start_ns=begin + row * 10 * SECOND,
                counts=Counts(10, got, lost), histogram=build(np.full(got, delay)) if got else None,
                state=SampleState.IMPAIRED if chance.random() < 0.01 else SampleState.OK,
            )  # fmt: skip
            if not got:
                sample = replace(sample, delay=None, variation=None)
            elif chance.random() < 0.01 and number % 2:
                sample = replace(sample, histogram=None, delay=Delay(got, got * delay, *[delay] * 5, 0))
            found.append(sample)
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of some circuits: one day sealed, one live."""
    path = tmp_path_factory.mktemp("audit") / "store"
    store = Store.open(path, clock=SystemClock(), site="lab")
    for number in range(CIRCUITS):
        store.append(drawn(number))
        assert store.flush(20.0)
    part = seal_next(path, before_day=START // (86_400 * SECOND) + 1, now_ns=NOW)
    assert part is not None
    assert store.release(part) == part.rows
    store.close(10.0)
    return path


def circuit(number: int) -> Circuit:
    return Circuit(f"c{number:02}", f"192.0.2.{number + 1}", probes=(ICMP,), contract="gold")


@pytest.fixture(scope="module")
def terms() -> Contract:
    return contract_files.parse(TEXT, "gold.yaml")


@pytest.fixture(scope="module")
def pairs(terms: Contract) -> list[tuple[Circuit, Contract]]:
    return [(circuit(number), terms) for number in range(CIRCUITS)]


@pytest.fixture(scope="module")
def brief(place: Path, pairs: list[tuple[Circuit, Contract]], terms: Contract) -> Brief:
    return Brief(place, NOW, told_by=witnesses([one for one, _ in pairs], {"gold": terms}))


def octets(verdicts: Sequence[Sequence[Verdict]]) -> list[bytes]:
    """The published form of each circuit's verdicts."""
    return [
        json.dumps(check_document(list(one), now_ns=NOW, source="s", code=0, line="-"), ensure_ascii=False).encode()
        for one in verdicts
    ]


@pytest.fixture(scope="module")
def one_by_one(brief: Brief, pairs: list[tuple[Circuit, Contract]]) -> list[bytes]:
    return octets(list(judge_many(brief, pairs, workers=1)))


def test_two_processes_say_what_one_says(
    brief: Brief, pairs: list[tuple[Circuit, Contract]], one_by_one: list[bytes]
) -> None:
    assert len(set(one_by_one)) == CIRCUITS
    assert octets(list(judge_many(brief, pairs, workers=2))) == one_by_one


def test_the_order_asked_for_is_kept(
    brief: Brief, pairs: list[tuple[Circuit, Contract]], one_by_one: list[bytes]
) -> None:
    turned = octets(list(judge_many(brief, pairs[::-1], workers=2)))
    assert turned == one_by_one[::-1]


def test_a_process_killed_changes_nothing(
    brief: Brief, pairs: list[tuple[Circuit, Contract]], one_by_one: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    crews: list[Crew[object, object]] = []
    begin = Crew.__enter__
    monkeypatch.setattr(Crew, "__enter__", lambda crew: (crews.append(crew), begin(crew))[1])
    found, killed = [], 0
    for number, verdicts in enumerate(judge_many(brief, pairs * 3, workers=2)):
        found.append(verdicts)
        if number in (1, 4):
            os.kill(crews[0].pids[0], signal.SIGKILL)
            killed += 1
    assert octets(found) == one_by_one * 3
    assert killed == 2
    assert crews[0].started > 2


def test_a_changed_sample_would_be_found(
    brief: Brief, pairs: list[tuple[Circuit, Contract]], one_by_one: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    judge_by = agent.audit.judge_by

    def tampering(read, *rest, **more):
        def changed(reading):
            columns = read(reading)
            lost = columns.lost.copy()
            lost[np.flatnonzero(columns.state == 0)[7]] += 1
            return replace(columns, lost=lost)

        return judge_by(changed, *rest, **more)

    monkeypatch.setattr(agent.audit, "judge_by", tampering)
    assert octets(list(judge_many(brief, pairs[:1], workers=1))) != one_by_one[:1]


def test_all_columns_read_change_nothing(
    brief: Brief, pairs: list[tuple[Circuit, Contract]], one_by_one: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent.audit, "SPARE", ())
    assert octets(list(judge_many(brief, pairs, workers=1))) == one_by_one


def test_an_error_comes_at_its_place(brief: Brief, pairs: list[tuple[Circuit, Contract]]) -> None:
    early = replace(brief, period="2031-01")
    for workers in (1, 2):
        with pytest.raises(LocalError, match="has not begun"):
            list(judge_many(early, pairs, workers=workers))


def test_a_few_circuits_need_no_processes(
    brief: Brief, pairs: list[tuple[Circuit, Contract]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent.audit, "Crew", None)
    assert len(list(judge_many(brief, pairs[:FEW]))) == FEW


def test_a_bench_remembers_nothing_of_a_circuit(brief: Brief, pairs: list[tuple[Circuit, Contract]]) -> None:
    bench = Bench(brief)
    try:
        first = [bench.judged(*pair) for pair in pairs]
        again = [bench.judged(*pair) for pair in reversed(pairs)]
    finally:
        bench.close()
    assert octets(first) == octets(again[::-1])
