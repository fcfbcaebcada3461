"""`linkwitness store export` and `import`: out to other tools, and back in, byte for byte."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.cli import main
from agent.deliver.line import LineEncoder
from agent.deliver.line_reader import ForeignLine, LineFault, LineReader, SampleBuilder
from agent.sla.samples.columns import INTEGER_COLUMNS
from agent.store import Store, StoreReader
from agent.store.export import COLUMNS
from probes.core.errors import LocalError
from probes.core.model import Counts, Rate, Sample, SampleState
from probes.metrics.histogram import build
from tests.agent.cli.commands import COMMAND, finish, running
from tests.fakes import line_parser
from tests.fakes.samples import MAXIMUM, START, SteppedClock, names, ping, plain, samples, some_packets
from tests.fakes.sealed import DAY, release_all, seal_all

SECOND = 10**9
SITE = "lab, 1"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sealed days and a live one: a stream, texts that must be escaped, a capacity run, and a connection."""
    path = tmp_path_factory.mktemp("made") / "store"
    store = Store.open(path, clock=SteppedClock(), site=SITE)
    for day in range(3):
        at = day * 8640
        store.append([
            ping(at + n, histogram=build(np.full(10, 10**7 + n)), packets=some_packets(n), rtt_ns=10**7 + n)
            for n in range(30)
        ])  # fmt: skip
        store.append([
            ping(at + n, circuit="ACME, 2", probe="p=1", reason='why "so" \\ x', state=SampleState.NO_REPLY,
                 counts=Counts(sent=10, lost=10), delay=None, variation=None)
            for n in range(20)
        ])  # fmt: skip
        rate = Rate(10**8, None, 5 * 10**7, None, 5 * SECOND, None, streams=2)
        store.append([
            Sample("ACME-1", "tp", "throughput", START + day * DAY, 5 * SECOND, SampleState.OK, rate=rate),
            dataclasses.replace(ping(at, circuit="T", probe="tcp"), kind="tcp", phases=(("connect", 7),)),
        ])  # fmt: skip
    assert store.flush(10.0)
    release_all(store, seal_all(path, START // DAY + 2))
    assert store.close()
    return path


def run(*arguments: object) -> int:
    return main.run(["store", *map(str, arguments)])


@pytest.fixture(scope="module")
def lines(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lines") / "all.lines"
    assert run("export", "--store", made, "--format", "lines", "-o", path) == 0
    return path


def kept(path: Path) -> dict[tuple[str, str, str], list[Sample]]:
    with StoreReader.open(path) as reader:
        return {
            (series.circuit, series.probe, series.kind): [
                plain(item.sample) for item in reader.samples(series.circuit, series.probe, -MAXIMUM, MAXIMUM, 1 << 40)
            ]
            for series in reader.series()
        }


def imported(store: Path) -> list[tuple[object, ...]]:
    with StoreReader.open(store) as reader:
        return [(event.circuit, event.count, event.at_ns, event.reason) for event in reader.events(kind="imported")]


# export


def test_csv_has_every_column_of_every_sample(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("export", "--store", made) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert tuple(rows[0]) == COLUMNS
    expected = [sample for of in kept(made).values() for sample in of]
    assert len(rows) == len(expected)
    for row, sample in zip(rows, expected, strict=True):
        assert (row["circuit"], row["probe"], row["kind"]) == (sample.circuit, sample.probe, sample.kind)
        assert int(row["start_ns"]) == sample.start_ns
        assert (row["state"], row["stamps"]) == (str(sample.state), str(sample.quality.stamps))
        assert row["sent"] == ("" if sample.counts is None else str(sample.counts.sent))
        assert row["rtt_p95_ns"] == ("" if sample.delay is None else str(sample.delay.p95_ns))
        assert row["reason"] == (sample.reason or "")
    assert rows[0]["start"] == "2026-09-21T14:13:20.000000000Z"
    assert {row["histogram"] for row in rows} == {"", build(np.full(10, 10**7)).to_text()}
    assert {row["phases"] for row in rows} == {"", '[["connect",7]]'}


def test_lines_are_those_that_a_sink_gets(made: Path, lines: Path) -> None:
    encoder = LineEncoder(SITE, {})
    with StoreReader.open(made) as reader:
        expected = [
            encoder.encode(item.sample, text=True)
            for key in dict.fromkeys((series.circuit, series.probe) for series in reader.series())
            for item in reader.samples(*key, -MAXIMUM, MAXIMUM, 1 << 40)
        ]
    assert lines.read_text().splitlines() == expected


def test_parquet_has_words_times_and_the_same_integers(made: Path, tmp_path: Path) -> None:
    path = tmp_path / "all.parquet"
    assert run("export", "--store", made, "--format", "parquet", "-o", path) == 0
    schema = "SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM read_parquet(?))"
    types = dict(duckdb.execute(schema, [str(path)]).fetchall())
    assert tuple(types) == COLUMNS
    assert (types["start"], types["clock_synchronised"], types["load"]) == ("TIMESTAMP_NS", "BOOLEAN", "DOUBLE")
    names = [name for name in INTEGER_COLUMNS if name != "state"]
    assert {types[name] for name in names} == {"BIGINT"}
    found = duckdb.execute(
        f"SELECT circuit, probe, {', '.join(names)}, epoch_ns(start), state FROM read_parquet(?)", [str(path)]
    ).fetchall()
    assert run("export", "--store", made, "-o", tmp_path / "all.csv") == 0
    text = io.StringIO((tmp_path / "all.csv").read_text())
    for row, other in zip(found, csv.DictReader(text), strict=True):
        assert [other["circuit"], other["probe"]] == list(row[:2])
        assert [other[name] for name in names] == ["" if value is None else str(value) for value in row[2:-2]]
        assert (str(row[-2]), row[-1]) == (other["start_ns"], other["state"])
    assert sorted(item.name for item in tmp_path.iterdir()) == ["all.csv", "all.parquet"]


def test_an_empty_selection_is_an_empty_file(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    late = ("--from", "2099-01-01")
    for form, size in (("csv", 1), ("lines", 0)):
        assert run("export", "--store", made, "--format", form, *late) == 0
        assert len(capsys.readouterr().out.splitlines()) == size
    assert run("export", "--store", made, "--format", "parquet", *late, "-o", tmp_path / "none.parquet") == 0
    assert duckdb.execute("SELECT count(*) FROM read_parquet(?)", [str(tmp_path / "none.parquet")]).fetchone() == (0,)


def test_circuits_and_times_select(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ("--circuit", "ACME, 2", "--from", "2026-09-22", "--to", "2026-09-22T14:14:00Z")
    assert run("export", "--store", made, *chosen) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["start"][:19] for row in rows] == [f"2026-09-22T14:13:{second}" for second in (20, 30, 40, 50)]
    assert run("export", "--store", made, "--circuit", "nobody") == 1
    assert "error: the store has no circuit 'nobody'\nhint: `linkwitness status` lists them" in capsys.readouterr().err


def test_usage_is_told(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (("--format", "xml"), ("--format", "parquet"), ("--from", "yesterday")):
        assert run("export", "--store", made, *arguments) == 2
        assert "Invalid value" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_leaves_nothing(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "there").mkdir()
    for place in (tmp_path / "none" / "x", tmp_path / "there"):
        for form in ("csv", "parquet"):
            assert run("export", "--store", made, "--format", form, "-o", place) == 1
            assert re.search(rf"error: {place}.*\nhint: ", capsys.readouterr().err)
    assert [item.name for item in tmp_path.iterdir()] == ["there"]
    done = subprocess.run(
        f"{' '.join(COMMAND)} store export --store {made} > /dev/full",
        shell=True, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "hint: the disk is full" in done.stderr


def test_a_reader_that_goes_away_is_no_complaint(made: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "store", "export", "--store", str(made)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        complaint = process.stderr.read()
    assert (process.returncode, complaint) == (1, b"")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_export_leaves_nothing(made: Path, tmp_path: Path, number: int) -> None:
    waiting = tmp_path / "pipe"
    os.mkfifo(waiting)
    shutil.copytree(made, tmp_path / "store")
    # a manifest that is a pipe: the command waits in the middle of its work
    (tmp_path / "out").mkdir()
    manifest = next((tmp_path / "store" / "sealed").glob("*.1")) / "manifest.json"
    manifest.unlink()
    os.mkfifo(manifest)
    with running("store", "export", "--store", tmp_path / "store", "-o", tmp_path / "out" / "x.csv") as process:
        descriptor = os.open(manifest, os.O_WRONLY)  # returns when it is being read
        code, output, errors = finish(process, number)
        os.close(descriptor)
    assert (code, output, errors) == (130, "", "")
    assert list((tmp_path / "out").iterdir()) == []


# import


def test_out_and_in_again_is_the_same_byte_for_byte(
    lines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = tmp_path / "new"
    assert run("import", "--store", new, lines) == 0
    assert capsys.readouterr().out.startswith("156 samples imported, 0 were there already\n")
    assert run("export", "--store", new, "--format", "lines", "-o", tmp_path / "again") == 0
    assert (tmp_path / "again").read_bytes() == lines.read_bytes()
    digest = hashlib.sha256(lines.read_bytes()).hexdigest()
    name = f"{lines.name} (SHA-256 {digest})"
    assert sorted(imported(new), key=str) == [
        ("ACME, 2", 60, START, name), ("ACME-1", 93, START, name), ("T", 3, START, name),
    ]  # fmt: skip
    with StoreReader.open(new) as reader:
        assert reader.status().site == SITE
        assert [item.seq for item in reader.after(0, 1000)] == list(range(1, 157))
    assert run("verify", "--store", new) == 0
    capsys.readouterr()
    assert run("import", "--store", new, lines) == 0
    assert capsys.readouterr().out == "0 samples imported, 156 were there already\n"
    assert len(imported(new)) == 3
    assert not (new / ".import").exists()


def test_what_is_there_live_and_sealed_is_left_as_it_is(
    made: Path, lines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    shutil.copytree(made, store)
    before = kept(store)
    assert run("import", "--store", store, lines) == 0
    assert capsys.readouterr().out == "0 samples imported, 156 were there already\n"
    assert kept(store) == before
    changed = tmp_path / "changed"
    text = lines.read_text().splitlines()
    more = text[0].replace(text[0].rpartition(" ")[2], str(START - 10 * SECOND))
    altered = text[0].replace('remote="192.0.2.7"', 'remote="192.0.2.8"')
    assert altered != text[0]
    changed.write_text("\n".join([altered, *text[1:], more]))
    assert run("import", "--store", store, changed) == 1
    said = capsys.readouterr()
    assert f"{changed}:1: the store has another sample of ACME, 2/p=1 at {START}: remote is 192.0.2.7 here" in said.err
    assert "error: nothing was imported: samples that contradict the store: 1" in said.err
    assert kept(store) == before
    assert run("import", "--store", store, changed, "--skip-bad") == 0
    assert (
        "1 samples imported, 155 were there already; left out: samples that contradict the store: 1"
        in capsys.readouterr().out
    )
    after = kept(store)
    assert sum(map(len, after.values())) == sum(map(len, before.values())) + 1
    assert all(sample in after[key] for key, of in before.items() for sample in of)
    assert run("verify", "--store", store) == 0


def test_lines_of_a_database_with_one_field_each(
    lines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `influx_inspect export` writes them: by series and field, floats without a point, texts escaped."""
    by_field: dict[tuple[str, str], list[str]] = {}
    for line in lines.read_text().splitlines():
        point = line_parser.parse(line)
        head = re.match(r"(?:\\.|[^\\ ])+", line)
        assert head is not None
        for name, value in point.fields.items():
            text = (
                f"{value}i" if isinstance(value, int)
                else str(int(value)) if isinstance(value, float) and value.is_integer()
                else repr(value) if isinstance(value, float)
                else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
            )  # fmt: skip
            by_field.setdefault((head[0], name), []).append(f"{head[0]} {name}={text} {point.time_ns}")
    head = ["# INFLUXDB EXPORT: ", "# DDL", "CREATE DATABASE sla WITH NAME autogen", "# DML", "# CONTEXT-DATABASE:sla"]
    exported = tmp_path / "exported.gz"
    exported.write_bytes(gzip.compress("\n".join([*head, *(x for of in by_field.values() for x in of), ""]).encode()))
    new = tmp_path / "new"
    assert run("import", "--store", new, exported) == 0
    capsys.readouterr()
    assert run("export", "--store", new, "--format", "lines") == 0
    assert capsys.readouterr().out == lines.read_text()
    assert hashlib.sha256(exported.read_bytes()).hexdigest() in str(imported(new)[0][3])


def test_from_standard_input(lines: Path, tmp_path: Path) -> None:
    words = [*COMMAND, "store", "import", "--store", str(tmp_path / "new"), "-"]
    done = subprocess.run(words, input=lines.read_bytes(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"156 samples imported" in done.stdout
    assert imported(tmp_path / "new")[0][3] == (
        f"standard input (SHA-256 {hashlib.sha256(lines.read_bytes()).hexdigest()})"
    )


SHAPE = build(np.full(10, 12_000_000))
GOOD = LineEncoder("lab", {}).encode(ping(0, histogram=SHAPE), text=True)
HEAD, FIELDS, TIME = GOOD.partition(" ")[0], GOOD.partition(" ")[2].rpartition(" ")[0], GOOD.rpartition(" ")[2]
BAD = [
    ("", "ping", "ends before its fields"),
    ("", "ping,circuit=a x=1i 5", "no tag probe and kind"),
    ("", f"cpu,host=a usage=1 {TIME}", "no tag circuit and probe and kind"),
    ("", f"{HEAD} usage=1 {TIME}", "field usage is none of ours"),
    ("", f"{HEAD.replace('ping', 'pong')} {FIELDS} {TIME}", "measurement pong is not that of kind icmp"),
    ("", f"{HEAD} {FIELDS}", "fields cannot be read"),
    ("", f"{HEAD} {FIELDS} ", "is no time"),
    ("", f"{HEAD} {FIELDS} {TIME}0", "is no time"),
    ("", f"{HEAD}  {FIELDS} {TIME}", "fields cannot be read"),
    ("", f"{HEAD},kind=udp {FIELDS} {TIME}", "tag kind is there twice"),
    ("", f"{HEAD},x= {FIELDS} {TIME}", "tags cannot be read"),
    ("sent=10i", "sent=10", "sent is no integer"),
    ("sent=10i", 'sent="10"', "sent is a text"),
    ("sent=10i", "sent=t", "fields cannot be read"),
    ("sent=10i", "sent=99999999999999999999i", "does not fit 64 bits"),
    ("sent=10i", "sent=10i,sent=10i", "sent is there twice"),
    ("sent=10i", "sent=11i", "percent"),
    ("sent=10i,", "", "received without sent"),
    ("state=0i", "state=77i", "its state, a histogram or its path"),
    ("state=0i,", "", "without state it is no whole sample"),
    ("percent_packet_loss=0.0", "percent_packet_loss=0.1", "percent_packet_loss is 0.1; by its other fields"),
    ("average_response_ms=12.0", "average_response_ms=nan", "fields cannot be read"),
    ("average_response_ms=12.0", "average_response_ms=1e999", "average_response_ms is infinite"),
    (f'histogram="{SHAPE.to_text()}"', 'histogram="9:1;3:1"', "its state, a histogram or its path"),
    (f'histogram="{SHAPE.to_text()}"', 'histogram="3:10', "fields cannot be read"),
    ('remote="192.0.2.7"', "remote=7", "remote is a number"),
    ('remote="192.0.2.7"', 'remote="192.0.2.7\t"', "control character"),
    ("result_code=0i", "result_code=0i,response_time=1.5", "response_time does not fit"),
]


@pytest.mark.parametrize(("old", "new", "reason"), BAD)
def test_every_bad_line_is_named_with_its_place(
    tmp_path: Path, old: str, new: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert old in GOOD
    file = tmp_path / "some.lines"
    wrong = GOOD.replace(old, new) if old else new
    assert wrong != GOOD
    second = GOOD.replace(TIME, str(START + 10 * SECOND))
    file.write_text(f"# a comment\n{second}\n{wrong}\n\n")
    assert run("import", "--store", tmp_path / "new", file) == 1
    said = capsys.readouterr()
    assert re.search(rf"^{file}:3: .*{re.escape(reason)}", said.err, re.MULTILINE) or "percent" in reason, said.err
    assert f"{file}:3: " in said.err
    assert re.search(r"^error: nothing was imported: .*: 1$", said.err, re.MULTILINE)
    assert not (tmp_path / "new").exists()
    assert run("import", "--store", tmp_path / "new", file, "--skip-bad", "--skip-foreign") == 0
    assert "1 samples imported, 0 were there already; left out: " in capsys.readouterr().out


def test_lines_that_are_not_utf8_or_too_long_or_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "some.lines"
    long = GOOD.replace('remote="', 'remote="' + "x" * (1 << 20)).encode()
    file.write_bytes(b"\xff\xfe\n" + long + b"\n" + GOOD.encode())
    assert run("import", "--store", tmp_path / "new", file) == 1
    said = capsys.readouterr().err
    assert f"{file}:1: octet 1 is not UTF-8" in said
    assert f"{file}:2: it is longer than 262144 octets" in said
    file.write_bytes(gzip.compress(GOOD.encode() * 1000)[:-20])
    assert run("import", "--store", tmp_path / "new", file) == 1
    assert f"error: {file} cannot be unpacked" in capsys.readouterr().err
    assert run("import", "--store", tmp_path / "new", tmp_path / "none") == 1
    assert f"error: {tmp_path / 'none'}: No such file" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_many_findings_are_counted_and_not_all_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "some.lines"
    file.write_text("nothing\n" * 300)
    assert run("import", "--store", tmp_path / "new", file) == 1
    said = capsys.readouterr().err
    assert said.count("ends before its fields") == 50
    assert "... and 250 more wrong lines" in said
    assert run("import", "--store", tmp_path / "new", file, "--json") == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["outcome"], document["imported"]) == (
        "linkwitness.store-import/1", "refused", 0,
    )  # fmt: skip
    assert document["findings"]["bad"]["count"] == 300
    assert len(document["findings"]["bad"]["listed"]) == 50
    assert document["sources"] == [
        {"name": str(file), "sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "lines": 300}
    ]


def test_two_values_of_one_field_are_a_contradiction(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "some.lines"
    file.write_text(f"{GOOD}\n{GOOD}\n{HEAD} sent=9i {TIME}\n")
    assert run("import", "--store", tmp_path / "new", file) == 1
    assert f"{file}:1: its field sent is 10 here and 9 in line 3" in capsys.readouterr().err


def test_another_site_is_refused_unless_told(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "store"
    shutil.copytree(made, store)
    file = tmp_path / "some.lines"
    file.write_text(GOOD.replace(TIME, str(START - SECOND)))
    assert run("import", "--store", store, file) == 1
    assert f"{file}:1: it is of site 'lab', not of 'lab, 1'" in capsys.readouterr().err
    assert run("import", "--store", store, file, "--any-site") == 0
    assert "1 samples imported" in capsys.readouterr().out


def test_a_dry_run_changes_nothing(made: Path, lines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("import", "--store", tmp_path / "new", lines, "--dry-run") == 0
    assert capsys.readouterr().out.startswith("156 samples would be imported, 0 were there already\n")
    assert not (tmp_path / "new").exists()
    store = tmp_path / "store"
    shutil.copytree(made, store)
    file = tmp_path / "some.lines"
    file.write_text(GOOD.replace(TIME, str(START - SECOND)))
    before = kept(store)
    assert run("import", "--store", store, file, "--dry-run", "--any-site", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["outcome"], document["imported"], document["new"]) == ("dry run", 0, 1)
    assert kept(store) == before
    assert imported(store) == []


def test_an_import_that_is_cut_off_leaves_nothing(made: Path, lines: Path, tmp_path: Path) -> None:
    store, pipe = tmp_path / "store", tmp_path / "pipe"
    shutil.copytree(made, store)
    before = kept(store)
    os.mkfifo(pipe)
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)):
        with running("store", "import", "--store", store, pipe) as process, pipe.open("wb") as stream:
            stream.write(lines.read_bytes() * 20)
            stream.flush()
            ended = finish(process, number)
        assert (ended[0], ended[1]) == (code, ""), ended
        assert ended[2] == ("interrupted: nothing was imported\n" if code == 130 else "")
        assert kept(store) == before
    assert run("import", "--store", store, lines) == 0
    assert not (store / ".import").exists()


def test_the_agent_goes_on_after_an_import(made: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(made, store)
    file = tmp_path / "some.lines"
    file.write_text("\n".join(GOOD.replace(TIME, str(START - n * SECOND)) for n in range(1, 6)))
    assert run("import", "--store", store, file, "--any-site") == 0
    agent = Store.open(store, clock=SteppedClock(), site=SITE)
    agent.append([ping(9000)])
    assert agent.flush(10.0)
    assert agent.close()
    with StoreReader.open(store) as reader:
        found = reader.after(0, 1000)
        assert [item.seq for item in found][-6:] == list(range(157, 163))
        assert [event.reason for event in reader.events(kind="gap")] == ["stopped"]
    assert run("verify", "--store", store) == 0


# the reader of lines

words = names.filter(lambda text: text.isprintable() and "\\" not in text)
written = st.builds(
    dataclasses.replace, samples, circuit=words, probe=words, kind=words | st.just("icmp") | st.just("tcp")
)


@settings(max_examples=80, deadline=None)
@given(written, words)
def test_what_was_written_is_read_and_means_the_same(sample: Sample, site: str) -> None:
    bare = sample.rate is not None and LineEncoder("", {}).encode(sample, text=False).count("bps") == 0
    sample = dataclasses.replace(sample, rate=None) if bare else sample
    encoder, builder = LineEncoder(site, {}), SampleBuilder()
    try:
        line = encoder.encode(sample, text=True)
    except LocalError:
        return
    point = LineReader().read(line)
    oracle = line_parser.parse(line)
    assert (point.site, point.start_ns) == (site, sample.start_ns)
    assert point.fields == oracle.fields
    assert {"circuit": point.key[0], "probe": point.key[1], "kind": point.key[2]}.items() <= oracle.tags.items()
    read = builder.build(point.key, point.start_ns, point.fields)
    assert encoder.encode(read, text=True) == line
    assert builder.difference(sample, read) is None


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.characters(codec="utf-8"), st.sampled_from(["put", "insert", "drop"]))
def test_a_changed_line_is_refused_or_read_as_the_independent_parser_reads_it(at: int, letter: str, how: str) -> None:
    changed = GOOD[:at] + ("" if how == "drop" else letter) + GOOD[at + (how != "insert") :]
    try:
        point = LineReader().read(changed)
    except (LineFault, ForeignLine):
        return
    oracle = line_parser.parse(changed)
    assert (point.start_ns, point.fields) == (oracle.time_ns, oracle.fields)
    assert point.key == (oracle.tags["circuit"], oracle.tags["probe"], oracle.tags["kind"])


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_refused_in_words(text: str) -> None:
    with pytest.raises(LineFault):
        LineReader().read(text)


SIZES = (4_000, 24_000)
EXPORT = """
import resource, sys
from agent.cli import main
print(main.run(sys.argv[1:]), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.fixture(scope="module")
def two_sizes(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A small store, and one six times as large."""
    place = tmp_path_factory.mktemp("sizes")
    for number in SIZES:
        store = Store.open(place / str(number), clock=SteppedClock(), site="lab")
        for first in range(0, number, 1000):
            store.append([ping(n, rtt_ns=10**7 + n) for n in range(first, first + 1000)])
            assert store.flush(60.0)
        assert store.close()
    return [place / str(number) for number in SIZES]


@pytest.mark.parametrize("form", ["lines", "parquet"])
def test_memory_does_not_grow_with_what_is_exported(two_sizes: list[Path], tmp_path: Path, form: str) -> None:
    sizes = []
    for path in two_sizes:
        words = ["store", "export", "--store", str(path), "--format", form, "-o", str(tmp_path / "out")]
        done = subprocess.run([sys.executable, "-c", EXPORT, *words], capture_output=True, text=True, check=True)
        code, size = map(int, done.stdout.split())
        assert code == 0
        sizes.append(size)
    print(f"{form}: {sizes} MiB for {SIZES} samples")
    assert sizes[1] - sizes[0] < 25
