"""`linkwitness store status|verify|seal` as an operator meets it: words, JSON, exit codes, errors with hints."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from agent.cli import main
from agent.config.settings import StoreSettings
from agent.report import store_days
from agent.report.terminal import print_grid
from agent.store import EventRecord, Store, StoreReader
from agent.store.records import GAP, DayStatus
from agent.store.sealed.manifest import FOLDER, day_text
from probes.core.model import Counts, Rate, Sample, SampleState
from probes.metrics.histogram import build
from tests.agent.cli.commands import linkwitness
from tests.fakes.samples import START, SteppedClock, ping, some_packets
from tests.fakes.sealed import DAY, release_all, seal_all

GOLDEN = Path(__file__).parents[2] / "golden"
FIRST_DAY = START // DAY
SECOND = 10**9


def fill(path: Path) -> None:
    """Two sealed days and a live one, of a stream, a stream with texts that must be escaped, and a capacity run."""
    store = Store.open(path, clock=SteppedClock(), site="lab")
    for day in range(3):
        at = day * 8640
        store.append([
            ping(at + n, histogram=build(np.full(10, 10**7 + n)), packets=some_packets(n), rtt_ns=10**7 + n)
            for n in range(4)
        ])  # fmt: skip
        store.append([
            ping(at + n, circuit="ACME, 2", probe="p=1", reason='why "so" \\ x', state=SampleState.NO_REPLY,
                 counts=Counts(sent=10, lost=10), delay=None, variation=None)
            for n in range(3)
        ])  # fmt: skip
        rate = Rate(10**8, None, 5 * 10**7, None, 5 * SECOND, None, streams=2)
        store.append([Sample("ACME-1", "tp", "throughput", START + day * DAY, 5 * SECOND, SampleState.OK, rate=rate)])
    assert store.flush(10.0)
    release_all(store, seal_all(path, FIRST_DAY + 2))
    assert store.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "store"
    fill(path)
    return path


@pytest.fixture
def store_path(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "store")
    return tmp_path / "store"


def run(*arguments: object) -> int:
    return main.run(["store", *map(str, arguments)])


def in_words(text: str, path: Path) -> str:
    """Without what differs from machine to machine."""
    text = text.replace(str(path), "STORE")
    return re.sub(r"\d+(\.\d+)? (B|[KMGT]iB)", "SIZE", text)


def compare(name: str, text: str) -> None:
    golden = GOLDEN / name
    if os.environ.get("REWRITE_EXPECTED"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


def test_status_in_words(store_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("status", "--store", store_path) == 0
    shown = re.sub(r"SIZE +\d+\.\d+", "SIZE  NUMBER", in_words(capsys.readouterr().out, store_path))
    compare("store-status.txt", "\n".join(line.rstrip() for line in shown.splitlines()) + "\n")


def test_status_as_json(store_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("status", "--store", store_path, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "linkwitness.store-days/2"
    assert (document["circuits"], document["probes"], document["samples"], document["sealed_samples"]) == (2, 3, 24, 16)
    assert [day["date"] for day in document["days"]] == [day_text(FIRST_DAY + n) for n in range(3)]
    assert [(day["live"], day["sealed"], day["packets"]) for day in document["days"]] == [
        (0, 8, True), (0, 8, True), (8, 0, False),
    ]  # fmt: skip
    assert (document["policy"], document["next"], document["gaps"], document["imports"]) == (None, [], [], [])
    assert document["running"] is False


def test_the_policy_and_what_leaves_next(store_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "agent.yaml"
    config.write_text(
        f"site: lab\nstore: {{path: {store_path}, keep_packets: 30000d, keep_samples: 40000d, keep_bytes: 1GB}}\n"
        "circuits: [{name: a, target: 127.0.0.1, probes: [{kind: icmp}]}]\n"
    )
    assert run("status", "-c", config) == 0
    shown = capsys.readouterr().out
    assert "policy: days are sealed after 2d, packets leave after 30000d, samples after 40000d; at most" in shown
    assert f"next: {day_text(FIRST_DAY + 2)}: sealed" in shown
    assert f"next: {day_text(FIRST_DAY)}: packets leave from {day_text(FIRST_DAY + 30_001)}T00:00:00" in shown
    assert run("status", "-c", config, "--json") == 0
    following = json.loads(capsys.readouterr().out)["next"]
    assert [item["what"] for item in following] == ["sealed", "packets leave", "samples leave"]


def test_the_oldest_day_leaves_first() -> None:
    policy = StoreSettings(Path(), keep_packets_ns=3 * DAY, keep_samples_ns=9 * DAY)
    days = [
        DayStatus("2026-01-01", 0, 5, 9, 1, packets=False),
        DayStatus("2026-01-02", 0, 5, 9, 1, packets=True),
        DayStatus("2026-01-03", 5, 0, 0, 0, packets=False),
    ]
    midnight = 1_767_225_600 * SECOND
    assert store_days.departures(days, policy) == [
        store_days.Departure("sealed", "2026-01-03", midnight + 5 * DAY),
        store_days.Departure("packets leave", "2026-01-02", midnight + 5 * DAY),
        store_days.Departure("samples leave", "2026-01-01", midnight + 10 * DAY),
    ]
    assert store_days.departures([], policy) == []


def test_gaps_are_listed_newest_first_and_many_are_counted(
    store_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with StoreReader.open(store_path) as reader:
        status, days = reader.status(), reader.days()
    gap = EventRecord(GAP, START, "process 7 ended without a clean stop", START + SECOND, "crashed")
    gaps = [dataclasses.replace(gap, at_ns=START + n * SECOND, end_ns=START + (n + 1) * SECOND) for n in range(12)]
    found = store_days.Days(START, status, days, gaps[::-1], [], None)
    print_grid(store_days.grid(found))
    shown = capsys.readouterr().out
    assert shown.count("crashed: process 7") == 10
    assert "... and 2 earlier gaps: --json lists them" in shown
    assert len(store_days.document(found)["gaps"]) == 12


def test_a_whole_store_is_told_so(store_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("verify", "--store", store_path) == 0
    compare("store-verify.txt", in_words(capsys.readouterr().out, store_path))
    assert run("verify", "--store", store_path, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "linkwitness.store-verified/2"
    assert document["ok"] is True
    assert (document["parts"], document["files"], document["sealed_samples"], document["live_samples"]) == (2, 8, 16, 8)
    assert (document["first_seq"], document["last_seq"], document["missing"], document["findings"]) == (1, 24, [], [])


def test_damage_is_named_and_set_aside(store_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    part = store_path / FOLDER / f"{day_text(FIRST_DAY)}.1"
    file = next(part.glob("samples.*"))
    file.write_bytes(file.read_bytes()[:-1])
    (part / "notes.txt").touch()
    assert run("verify", "--store", store_path, "--json") == 1
    document = json.loads(capsys.readouterr().out)
    assert [item["file"] for item in document["findings"]] == [str(file), str(part / "notes.txt")]
    assert document["ok"] is False
    assert run("export", "--store", store_path) == 1
    said = capsys.readouterr().err
    assert f"error: sealed file {file} is damaged" in said
    assert "hint:" in said
    assert "store verify --set-aside" in said
    assert run("verify", "--store", store_path, "--set-aside") == 0
    said = capsys.readouterr()
    assert "moved into damaged/; its 8 samples cannot be read" in said.err
    assert said.out.endswith("whole\n")
    assert (store_path / "damaged" / part.name / file.name).exists()
    assert run("status", "--store", store_path) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"moved aside as damaged: {part.name}" in shown
    assert "gap 2026-09-21T14:13:20.000Z to" in shown
    assert run("export", "--store", store_path) == 0


def test_a_stranger_among_the_sealed_days_is_a_finding(store_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    part = store_path / FOLDER / f"{day_text(FIRST_DAY)}.1"
    part.rename(part.with_name("keep"))
    assert run("verify", "--store", store_path) == 1
    assert f"its manifest is that of {part.name}" in capsys.readouterr().out
    assert run("export", "--store", store_path) == 1
    assert f"it was named {part.name}" in capsys.readouterr().err


def test_cursors_and_seqs_that_cannot_be_are_findings(store_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(store_path / "live.sqlite")) as connection:
        connection.execute("INSERT INTO cursors VALUES ('central', 99)")
        connection.execute("DELETE FROM samples WHERE seq = 20")
        connection.commit()
    assert run("verify", "--store", store_path) == 1
    shown = capsys.readouterr().out
    assert "the position of sink central is 99; samples end at 24" in shown
    assert "samples 20 to 20, 1 in number, are neither live nor sealed" in shown


def test_sealing_by_hand(store_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    day = day_text(FIRST_DAY + 2)
    tomorrow = "2999-01-01"
    assert run("seal", "--store", store_path, "--until", tomorrow) == 2
    assert "only days that are over" in capsys.readouterr().err
    assert run("seal", "--store", store_path, "--until", day) == 0
    assert capsys.readouterr().out.startswith(f"{day}.1: 8 samples sealed in ")
    assert run("verify", "--store", store_path) == 0


def test_what_writes_is_refused_while_an_agent_runs(store_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    running = Store.open(store_path, clock=SteppedClock(), site="lab")
    try:
        for command in (("seal",), ("verify", "--set-aside"), ("import", "/dev/null")):
            assert run(*command, "--store", store_path) == 1
            said = capsys.readouterr().err
            assert f"is in use by process {os.getpid()}" in said
            assert "hint: stop that one first" in said
        for command in (("status",), ("verify",), ("export",)):
            assert run(*command, "--store", store_path) == 0
    finally:
        running.close()


@pytest.mark.parametrize("command", [("status",), ("verify",), ("seal",), ("export",)])
def test_there_is_no_store(tmp_path: Path, command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*command, "--store", tmp_path / "none") == 1
    said = capsys.readouterr()
    assert said.err.startswith(f"error: there is no store at {tmp_path / 'none'}\nhint: ")
    assert said.out == ""
    assert not (tmp_path / "none").exists()


def test_a_store_of_a_newer_version_is_left_alone(store_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(store_path / "live.sqlite")) as connection:
        connection.execute("PRAGMA user_version = 99")
    content = (store_path / "live.sqlite").read_bytes()
    for command in (("status",), ("verify",), ("seal",), ("export",), ("import", "/dev/null")):
        assert run(*command, "--store", store_path) == 1, command
        assert "99; this linkwitness knows versions up to" in capsys.readouterr().err
    assert (store_path / "live.sqlite").read_bytes() == content


def test_a_live_database_that_is_damaged_is_named(store_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    live = store_path / "live.sqlite"
    content = bytearray(live.read_bytes())
    content[4096 : 12 * 4096] = bytes(11 * 4096)
    live.write_bytes(content)
    assert run("verify", "--store", store_path) == 1
    assert f"damaged: {live}: " in capsys.readouterr().out
    live.write_bytes(b"no database" * 1000)
    assert run("verify", "--store", store_path) == 1
    assert f"damaged: {live}: " in capsys.readouterr().out


@pytest.mark.root
def test_a_user_who_may_not_read_is_told(store_path: Path) -> None:
    for path in (store_path, *store_path.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    for path in (store_path.parent, store_path.parent.parent):
        path.chmod(0o711)
    through = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    for command in (("status",), ("verify",), ("export",)):
        done = linkwitness("store", *command, "--store", store_path, through=through)
        assert (done.returncode, done.stdout) == (1, ""), done.stderr
        assert "hint: may this user read" in done.stderr
    done = linkwitness("store", "seal", "--store", store_path, through=through)
    assert done.returncode == 1
    assert "hint:" in done.stderr
    assert "Traceback" not in done.stderr


CONTRACT = """
id: daily
version: "1"
title: Loss of a day
provider: ExampleTel
customer: ACME
time_zone: UTC
valid_from: 2026-01-01
valid_to: 2028-12-31
window: {calendar: day}
coverage: {minimum: 95 %}
objectives:
  - {id: loss-day, text: "At most 1 % of a day.", metric: loss, target: 1 %, kind: icmp}
"""


@pytest.fixture
def judged(tmp_path: Path) -> Path:
    """Configuration of a circuit with three whole days of ten minutes' samples, without loss; two of them sealed."""
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts" / "daily.yaml").write_text(CONTRACT)
    store = Store.open(tmp_path / "store", clock=SteppedClock(), site="lab")
    midnight = FIRST_DAY * DAY
    whole = ping(0, circuit="ACME", counts=Counts(sent=600, received=600), variation=None)
    starts = (midnight + n * 600 * SECOND for n in range(3 * 144))
    store.append([dataclasses.replace(whole, start_ns=start, span_ns=600 * SECOND) for start in starts])
    assert store.flush(10.0)
    release_all(store, seal_all(tmp_path / "store", FIRST_DAY + 2))
    assert store.close()
    config = tmp_path / "agent.yaml"
    config.write_text(
        f"site: lab\nstore: {{path: {tmp_path / 'store'}}}\ncontracts: contracts\n"
        "circuits: [{name: ACME, target: 127.0.0.1, contract: daily, probes: [{kind: icmp, every: 1s}]}]\n"
    )
    return config


def verdict(config: Path, day: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    capsys.readouterr()
    code = main.run(["check", "ACME", "-c", str(config), "--window", day, "--format", "plugin"])
    return code, capsys.readouterr().out.splitlines()[0]


def test_a_damaged_day_is_never_judged_by_what_is_left(judged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = judged.parent / "store"
    days = [day_text(FIRST_DAY + n) for n in range(3)]
    assert [verdict(judged, day, capsys)[0] for day in days] == [0, 0, 0]
    for what, expected in (("samples", (0, False)), ("columns", (3, True))):  # the verdict comes from the columns alone
        file = next((path / FOLDER / f"{days[1]}.1").glob(f"{what}.*"))
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
        code, line = verdict(judged, days[1], capsys)
        assert (code, str(file) in line) == expected, line
        assert run("verify", "--store", path) == 1
    assert [verdict(judged, day, capsys)[0] for day in (days[0], days[2])] == [0, 0]
    assert run("verify", "--store", path, "--set-aside") == 0
    code, line = verdict(judged, days[1], capsys)
    assert code == 3, line
    assert "damaged" not in line
    assert [verdict(judged, day, capsys)[0] for day in (days[0], days[2])] == [0, 0]
