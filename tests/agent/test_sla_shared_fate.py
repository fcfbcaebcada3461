"""All circuits of one agent failing at once are held against none of them; one that fails alone answers for it.

One letter is one interval of 10 s of 10 packets: `.` answered, `H` all lost, a digit so many lost, `?` nothing there.
"""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from agent.cli.main import run
from agent.recorded import Recorded, fate_in
from agent.sla.judge import judge_by
from agent.sla.samples import shared_fate
from agent.sla.samples.causes import SHARED_FATE
from agent.sla.samples.columns import SampleColumns
from agent.sla.samples.shared_fate import SharedFate, Witness, suspects, witnesses
from agent.sla.terms.contract import Contract, Metric, Window
from agent.sla.time.calendar import parse_instant
from agent.sla.time.spans import Spans
from agent.sla.verdict import Verdict, VerdictState
from agent.store import Store, StoreReader
from probes.core.clock import SystemClock
from probes.core.model import Circuit, Counts, Delay, ProbeSetting, Sample, SampleState
from tests.fakes.columns import SECOND, SPAN, columns, packets
from tests.fakes.contracts import HOUR, ICMP, MS, contract, objective, series
from tests.faults.counts import count

T0 = parse_instant("2026-11-03T00:00:00Z")
LONG = 360
ROLLING = Window(None, LONG * SPAN)
NOW = T0 + LONG * SPAN + 30 * SECOND
UP = objective(Metric.AVAILABILITY, "0.999", window=ROLLING)
LOSS = objective(Metric.LOSS, "0.001", window=ROLLING)
DELAY = objective(Metric.RTT, 20 * MS, window=ROLLING)
SIGNED = contract(UP, LOSS, DELAY)
RATE = ProbeSetting("throughput", "throughput", {"every": HOUR})


def circuit(number: int, target: str | None = None, signed: str | None = "test") -> Circuit:
    return Circuit(f"c{number}", target or f"192.0.2.{number + 1}", probes=(ICMP,), contract=signed)


class Site:
    """Circuits of one agent with what was measured on them, and how often they were read for the sake of others."""

    def __init__(
        self,
        texts: Mapping[str, str],
        circuits: Sequence[Circuit],
        signed: Contract = SIGNED,
        discovered: Sequence[str] = (),
    ) -> None:
        self.data = {name: series(T0, text + "." * 3) for name, text in texts.items()}
        self.circuits, self.signed = circuits, signed
        self.reads: list[tuple[str, int, int]] = []
        told_by = witnesses(circuits, {"test": signed}, discovered)
        self.fate = SharedFate(told_by, self._read, SPAN)

    def _read(self, witness: Witness, start_ns: int, end_ns: int) -> SampleColumns:
        self.reads.append((witness.circuit, start_ns, end_ns))
        return self.data[witness.circuit].between(start_ns, end_ns)

    def judged(self, name: str, now_ns: int = NOW) -> tuple[Verdict, ...]:
        chosen = next(item for item in self.circuits if item.id == name)
        return judge_by(
            lambda reading: self.data[name].between(reading.start_ns, min(reading.end_ns, now_ns)), self.signed, chosen,
            now_ns=now_ns, measured_since_ns=T0 - HOUR, shared=lambda data: self.fate.of(data, now_ns - 60 * SECOND),
        ).verdicts  # fmt: skip

    def breached(self) -> list[str]:
        return [verdict.sentence for item in self.circuits for verdict in self.judged(item.id)
                if verdict.state is VerdictState.BREACHED]  # fmt: skip


def over(text: str, at: int, piece: str) -> str:
    return text[:at] + piece + text[at + len(piece) :]


FINE = "." * LONG
FIVE = [circuit(number) for number in range(5)]


def test_an_uplink_cut_is_a_breach_of_no_customer() -> None:
    # It begins and ends within an interval: every circuit loses another part of the first and the last.
    texts = {f"c{k}": over(FINE, 100, f"{k}HHHHHHHHH{4 - k}") for k in range(5)}
    site = Site(texts, FIVE)
    assert site.breached() == []
    up, loss, _ = site.judged("c3")
    assert (up.evidence["intervals_down"], up.evidence["intervals_unknown"]) == (0, 11)
    assert (up.best, up.worst) == (1, Fraction(LONG - 11, LONG))
    assert {"reason": SHARED_FATE, "ns": 9 * SPAN} in loss.evidence["not_measured"]
    assert f"{SHARED_FATE} 1 min" in up.sentence
    assert loss.value == 0


def test_without_it_every_customer_would_have_one() -> None:
    """The harness catches the bug it is for."""
    texts = {f"c{k}": over(FINE, 100, "HHHHHHHHH") for k in range(5)}
    site = Site(texts, FIVE)
    site.fate = SharedFate((), site._read, SPAN)
    assert len(site.breached()) == 2 * 5
    assert len(Site(texts, FIVE, replace(SIGNED, shared_fate="count")).breached()) == 2 * 5


def test_one_that_fails_alone_counts_whole() -> None:
    texts = {f"c{k}": FINE for k in range(5)} | {"c2": over(FINE, 100, "H" * 30)}
    site = Site(texts, FIVE)
    up, loss, _ = site.judged("c2")
    assert (up.state, up.value) == (VerdictState.BREACHED, Fraction(LONG - 30, LONG))
    assert loss.value == Fraction(30, LONG)
    assert len(site.reads) <= 2, "the first other circuit that answers refutes it"
    site.judged("c0")
    assert len(site.reads) <= 2, "a circuit without failures asks nobody"


def test_all_but_one_is_not_all() -> None:
    texts = {f"c{k}": over(FINE, 100, "H" * 30) for k in range(4)} | {"c4": FINE}
    assert len(Site(texts, FIVE).breached()) == 2 * 4


def test_an_anchor_is_any_further_circuit_that_answers() -> None:
    texts = {f"c{k}": over(FINE, 100, "H" * 30) for k in range(5)}
    anchor = circuit(9, signed=None)
    site = Site(texts | {"c9": FINE}, [*FIVE, anchor])
    assert sum(verdict.state is VerdictState.BREACHED for verdict in site.judged("c0")) == 2
    silent = Site(texts | {"c9": over(FINE, 100, "H" * 30)}, [*FIVE, anchor])
    assert not any(verdict.state is VerdictState.BREACHED for verdict in silent.judged("c0"))
    absent = Site(texts | {"c9": over(FINE, 90, "?" * 60)}, [*FIVE, anchor])
    assert not any(verdict.state is VerdictState.BREACHED for verdict in absent.judged("c0")), "it says nothing"


@pytest.mark.parametrize("target", ["127.0.0.1", "::1", "localhost", "0.0.0.0"])
def test_this_host_itself_is_no_witness(target: str) -> None:
    texts = {f"c{k}": over(FINE, 100, "H" * 30) for k in range(5)} | {"c9": FINE}
    site = Site(texts, [*FIVE, circuit(9, target, None)])
    assert not any(verdict.state is VerdictState.BREACHED for verdict in site.judged("c0"))


def test_the_gateway_found_on_this_host_is_no_witness_but_a_wrong_one_would_be() -> None:
    texts = {f"c{k}": over(FINE, 100, "H" * 30) for k in range(5)} | {"c9": FINE}
    gateway = [*FIVE, circuit(9, signed=None)]
    assert not any(v.state is VerdictState.BREACHED for v in Site(texts, gateway, discovered=["c9"]).judged("c0"))
    assert any(v.state is VerdictState.BREACHED for v in Site(texts, gateway).judged("c0"))


def test_two_targets_are_too_few_and_one_target_thrice_is_one() -> None:
    texts = {f"c{k}": over(FINE, 100, "H" * 30) for k in range(3)}
    assert Site(texts, FIVE[:2]).fate._told_by == ()
    assert len(Site({k: texts[k] for k in ("c0", "c1")}, FIVE[:2]).breached()) == 2 * 2
    same = [circuit(k, "192.0.2.7") for k in range(3)]
    assert len(Site(texts, same).breached()) == 2 * 3
    assert Site(texts, FIVE[:3]).breached() == []


def test_at_an_instant_with_too_few_measured_targets_nothing_is_excused() -> None:
    texts = {f"c{k}": over(FINE, 100, "H" * 30) for k in range(2)}
    texts |= {f"c{k}": over(FINE, 95, "?" * 50) for k in range(2, 5)}
    assert len(Site(texts, FIVE).breached()) == 2 * 2


def test_light_loss_of_all_is_the_network_s() -> None:
    """A tenth of the packets or less is not a failure, and one circuit's heavier loss is its own."""
    texts = {f"c{k}": over(FINE, 100, "1" * 60) for k in range(5)}
    assert len(Site(texts, FIVE).breached()) == 5


def test_congestion_of_the_uplink_is_unknown_too() -> None:
    texts = {f"c{k}": over(FINE, 100, "3" * 60) for k in range(5)}
    assert Site(texts, FIVE).breached() == []


def test_capacity_runs_of_that_time_are_missing_data() -> None:
    texts = {f"c{k}": over(FINE, 100, "H" * 30) for k in range(5)}
    rate = objective(Metric.THROUGHPUT, 95 * 10**6, window=ROLLING)
    signed = contract(UP, rate)
    site = Site(texts, [replace(item, probes=(ICMP, RATE)) for item in FIVE], signed)
    row = {"start_ns": T0 + 110 * SPAN, "forward_bps": 3, "backward_bps": 3}
    runs = columns([row], probe="throughput", kind="throughput")
    data = {"icmp": site.data["c0"], "throughput": runs}
    _, verdict = judge_by(
        lambda reading: data[reading.probe], signed, site.circuits[0], now_ns=NOW, measured_since_ns=T0,
        shared=lambda data: site.fate.of(data, NOW),
    ).verdicts  # fmt: skip
    assert verdict.value is None


def naive(texts: Mapping[str, str]) -> set[int]:
    """Intervals in which every measured circuit lost more than a tenth, and they are three or more."""
    found = set()
    for k in range(LONG):
        letters = [text[k] for text in texts.values() if text[k] != "?"]
        lost = [10 if letter == "H" else int(letter) if letter.isdigit() else 0 for letter in letters]
        if len(lost) >= 3 and all(item > 1 for item in lost):
            found.add(k)
    return found


def random_texts(seed: int, circuits: int) -> dict[str, str]:
    chance = random.Random(seed)
    texts = {}
    common = [(chance.randrange(LONG), chance.randint(1, 40)) for _ in range(chance.randint(0, 3))]
    for number in range(circuits):
        text = "".join(chance.choice("......1.2?") for _ in range(LONG))
        own = [(chance.randrange(LONG), chance.randint(1, 20)) for _ in range(chance.randint(0, 2))]
        for at, length in common + own:
            text = over(text, at, "".join(chance.choice("HHHH9?") for _ in range(length)))[:LONG]
        texts[f"c{number}"] = text
    return texts


@pytest.mark.timeout(7200)
def test_what_is_shared_agrees_with_a_loop_over_the_intervals(figure: Callable[[str], None]) -> None:
    sites = count("FATES", 60, 5_000)
    for seed in range(sites):
        texts = random_texts(seed, 4)
        site = Site(texts, FIVE[:4])
        expected = naive(texts)
        for name, text in texts.items():
            own = {k for k in expected if text[k] != "?"}
            found = site.fate.of({"icmp": site.data[name].between(T0, T0 + LONG * SPAN)}, NOW)
            got = {k for k in range(LONG) if found.holds(np.array([T0 + k * SPAN]))[0]}
            assert got == own, (seed, name)
    figure(f"shared fate: {sites:,} sites of 4 circuits, {sites * LONG:,} intervals as a loop finds them")


@pytest.mark.timeout(7200)
def test_when_all_fail_at_once_there_is_no_breach_however_they_were_cut(figure: Callable[[str], None]) -> None:
    """Only common failures, of any length and number, with edges that hit every circuit differently."""
    sites = count("FATES", 60, 5_000)
    for seed in range(sites):
        chance = random.Random(seed)
        texts = {f"c{k}": FINE for k in range(5)}
        for at in sorted(chance.sample(range(0, LONG - 45, 45), chance.randint(1, 4))):
            length = chance.randint(1, 40)
            for name, text in texts.items():
                edges = chance.choice(".123456789"), chance.choice(".123456789")
                texts[name] = over(text, at, f"{edges[0]}{'H' * length}{edges[1]}")
        assert Site(texts, FIVE).breached() == [], seed
    figure(f"all circuits fail at once: {sites:,} sites of 5 circuits, 0 breaches")


def test_what_was_examined_once_is_not_read_again_and_growing_day_by_day_changes_nothing() -> None:
    texts = random_texts(7, 5)
    texts = {name: over(text, 100, "H" * 100) for name, text in texts.items()}
    site, fresh = Site(texts, FIVE), Site(texts, FIVE)
    for now in range(NOW - LONG * SPAN + 60 * SPAN, NOW + 1, 10 * SPAN):
        for item in FIVE:
            seen = {"icmp": site.data[item.id].between(T0, now - 30 * SECOND)}
            found = site.fate.of(seen, now - 60 * SECOND)
            fresh.fate = SharedFate(site.fate._told_by, fresh._read, SPAN)
            assert list(found) == list(fresh.fate.of(seen, now - 60 * SECOND)), now
    read, naively = (sum(end - start for _, start, end in each.reads) for each in (site, fresh))
    assert read < 3 * 5 * LONG * SPAN, "each settled interval once of each witness, and a tail that is not settled"
    assert read < naively / 5


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_fate, "PIECES", 10)
    site = Site({f"c{k}": ".H" * (LONG // 2) for k in range(5)}, FIVE)
    for item in FIVE:
        assert len(site.fate.of({"icmp": site.data[item.id]}, NOW)) == LONG // 2
    assert len(site.fate._examined) <= LONG // 2


def test_a_single_attempt_refutes_the_interval_it_was_made_in() -> None:
    tcp = Circuit("t", "192.0.2.50", probes=(ProbeSetting("tcp", "tcp", {"every": 30 * SECOND}),))
    told_by = witnesses([*FIVE[:3], tcp], {"test": SIGNED})
    assert [item.stands_for_ns for item in told_by] == [0, 0, 0, 30 * SECOND]
    rows = [packets(T0 + k * 30 * SECOND, 1, int(k != 40), span_ns=3 * MS) for k in range(120)]
    data = {name: series(T0, over(FINE, 100, "H" * 40)) for name in ("c0", "c1", "c2")}
    data["t"] = columns(rows, probe="tcp", kind="tcp")
    fate = SharedFate(told_by, lambda witness, start, end: data[witness.circuit].between(start, end), SPAN)
    found = fate.of({"icmp": data["c0"]}, NOW)
    expected = Spans.of([(T0 + 100 * SPAN, T0 + 140 * SPAN)]) - Spans.of([(T0 + 120 * SPAN, T0 + 121 * SPAN)])
    assert list(found) == list(expected)


def test_nothing_failed_nothing_suspected() -> None:
    assert len(suspects({"icmp": series(T0, FINE)}, SPAN)) == 0
    assert len(suspects({}, SPAN)) == 0


# --- through the store and the command -------------------------------------------------------------------------------

CONFIG = """
site: test
store: {path: store}
contracts: contracts
circuits:
  - {name: c0, target: 192.0.2.10, contract: basic, probes: [{kind: icmp}]}
  - {name: c1, target: 192.0.2.11, contract: basic, probes: [{kind: icmp}]}
  - {name: c2, target: 192.0.2.12, probes: [{kind: icmp}]}
"""
PROMISES = """
id: basic
version: "1"
provider: P
customer: C
time_zone: UTC
window: {calendar: day}
objectives:
  - {id: loss, metric: loss, target: 1 %}
  - {id: up, metric: availability, target: 99.9 %}
"""


def sample(name: str, number: int, lost: int) -> Sample:
    got = 10 - lost
    delay = Delay(got, got * 10**7, 10**7, 10**7, 10**7, 10**7, 10**7, 0) if got else None
    state = SampleState.OK if got else SampleState.NO_REPLY
    counts = Counts(sent=10, received=got, lost=lost)
    return Sample(name, "icmp", "icmp", T0 + number * SPAN, SPAN, state, counts, delay)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A day of three circuits, all cut for ten minutes; c0 alone for half an hour more."""
    (tmp_path / "agent.yaml").write_text(CONFIG)
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts" / "basic.yaml").write_text(PROMISES)
    store = Store.open(tmp_path / "store", clock=SystemClock(), site="test")
    for number in range(-9, 8649):
        store.append([sample(name, number, 10 if 1000 <= number < 1060 else 0) for name in ("c1", "c2")])
        store.append([sample("c0", number, 10 if 1000 <= number < 1060 or 3000 <= number < 3180 else 0)])
        if number % 3000 == 0:
            assert store.flush(30.0)
    assert store.flush(30.0)
    store.close(30.0)
    return tmp_path


def test_check_counts_a_circuit_s_own_failures_only(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["-c", str(home / "agent.yaml"), "--now", "2026-11-05T00:00:00Z", "--window", "2026-11-03"]
    assert run(["check", "c1", *arguments]) == 0
    assert "2 met" in capsys.readouterr().out
    assert run(["check", "c0", *arguments, "--format", "table"]) == 2
    said = " ".join(capsys.readouterr().out.split())
    assert "30 min down in 1 outage" in said
    assert "all circuits failed at once 10 min" in said
    (home / "contracts" / "basic.yaml").write_text(PROMISES + "shared_fate: count\n")
    assert run(["check", "c1", *arguments]) == 2
    assert "10 min down in 1 outage" in capsys.readouterr().out


def test_the_agent_judges_alike(home: Path) -> None:
    from agent import contract_files
    from agent.config import load
    from agent.judging import judge_stored

    config = load(home / "agent.yaml")
    contracts = contract_files.load(config.contracts)
    with StoreReader.open(home / "store") as reader:
        fate = fate_in(reader, witnesses(config.circuits, contracts), SPAN)
        now = T0 + 8000 * SPAN
        for item, down in ((config.circuits[0], 180), (config.circuits[1], 0)):
            found = judge_stored(
                reader, item, contracts["basic"], now_ns=now, recorded=Recorded(reader), fate=fate
            )  # fmt: skip
            assert found[1].evidence["intervals_down"] == down


def test_check_shows_excluded_time_with_its_reasons(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["-c", str(home / "agent.yaml"), "--now", "2026-11-05T00:00:00Z", "--window", "2026-11-03"]
    ledger = home / "contracts" / "exclusions" / "basic.yaml"
    ledger.parent.mkdir()
    # The outage of c0 alone: half an hour from the 3000th interval on.
    entry = "- {id: CHG-7, start: 2026-11-03T08:20:00Z, end: 2026-11-03T08:50:00Z, reason: new fibre, entered_at: "
    ledger.write_text(f"exclusions:\n{entry}2026-11-01T00:00:00Z" + "}\n")
    assert run(["check", "c0", *arguments, "--format", "table"]) == 0
    assert "30 min excluded: new fibre (CHG-7)" in " ".join(capsys.readouterr().out.split())
    ledger.write_text(f"exclusions:\n{entry}2026-11-04T00:00:00Z" + "}\n")
    assert run(["check", "c0", *arguments, "--json"]) == 2
    (loss, up) = json.loads(capsys.readouterr().out)["verdicts"]
    assert "1 exclusion not applied: CHG-7 (entered after its start and confirmed by nobody)" in up["sentence"]
    (found,) = loss["evidence"]["exclusions"]
    assert (found["id"], found["retroactive"], found["reason"]) == ("CHG-7", True, "new fibre")
    assert (loss["evidence"]["excluded_ns"], len(loss["evidence"]["exclusions_sha256"])) == (0, 64)
    ledger.write_text(f'exclusions:\n{entry}2026-11-04T00:00:00Z, confirmed_by: "J. Smith"' + "}\n")
    assert run(["check", "c0", *arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdicts"][1]["evidence"]["excluded_ns"] == 1800 * SECOND
