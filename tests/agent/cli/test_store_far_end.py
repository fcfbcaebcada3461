"""`linkwitness store` with what only a far end knows: out, in again, verified, and found where it cannot be true."""

from __future__ import annotations

import csv
import io
import sqlite3
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from agent.cli import main
from agent.sla.samples.columns import FAR_COLUMNS
from agent.store import Store, StoreReader
from agent.store.export import COLUMNS
from agent.store.far_end import FAR_SAMPLE_COLUMNS
from agent.store.records import LIVE_FILE
from probes.core.model import Sample
from probes.core.path_text import from_text
from tests.fakes.samples import START, SteppedClock, plain
from tests.fakes.sealed import DAY, release_all, seal_all
from tests.fakes.series import far_series

COUNT = 120


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed day and a live one."""
    path = tmp_path_factory.mktemp("made") / "store"
    store = Store.open(path, clock=SteppedClock(), site="lab")
    for day in range(2):
        store.append(list(far_series(COUNT, begin_ns=START + day * DAY)))
    assert store.flush(10.0)
    release_all(store, seal_all(path, START // DAY + 1))
    assert store.close()
    return path


def run(*arguments: object) -> int:
    return main.run(["store", *map(str, arguments)])


def kept(path: Path) -> list[Sample]:
    with StoreReader.open(path) as reader:
        return [
            plain(item.sample)
            for key in dict.fromkeys((series.circuit, series.probe) for series in reader.series())
            for item in reader.samples(*key, -(2**62), 2**62, 1 << 40)
        ]


def test_csv_and_parquet_have_every_column(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("export", "--store", made) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert tuple(rows[0]) == COLUMNS
    expected = kept(made)
    assert len(rows) == len(expected) == 2 * COUNT
    below = 0
    for row, sample in zip(rows, expected, strict=True):
        assert (from_text(row["path"]) if row["path"] else None) == sample.path
        one = sample.forward
        assert row["forward_withheld"] == ("" if one is None else one.withheld or "")
        least = "" if one is None or one.delay is None else str(one.delay.minimum_ns)
        assert row["forward_delay_min_ns"] == least
        below += least.startswith("-")
        assert row["residence_count"] == ("" if sample.residence is None else str(sample.residence.count))
    assert below > COUNT // 4
    path = tmp_path / "all.parquet"
    assert run("export", "--store", made, "--format", "parquet", "-o", path) == 0
    names = ", ".join(FAR_SAMPLE_COLUMNS)
    found = duckdb.execute(f"SELECT {names} FROM read_parquet(?)", [str(path)]).fetchall()
    texts = [tuple("" if value is None else str(value) for value in row) for row in found]
    assert texts == [tuple(row[name] for name in FAR_SAMPLE_COLUMNS) for row in rows]
    kinds = "SELECT DISTINCT column_type FROM (DESCRIBE SELECT {} FROM read_parquet(?))"
    assert duckdb.execute(kinds.format(", ".join(FAR_COLUMNS)), [str(path)]).fetchall() == [("BIGINT",)]


def test_lines_out_and_in_again_are_the_same_samples(made: Path, tmp_path: Path) -> None:
    lines, again, new = tmp_path / "a.lines", tmp_path / "b.lines", tmp_path / "new"
    assert run("export", "--store", made, "--format", "lines", "-o", lines) == 0
    assert run("import", "--store", new, lines) == 0
    assert run("import", "--store", new, lines) == 0
    assert run("export", "--store", new, "--format", "lines", "-o", again) == 0
    assert lines.read_bytes() == again.read_bytes()
    far = [(one.forward, one.backward, one.residence, one.path) for one in kept(made)]
    assert [(one.forward, one.backward, one.residence, one.path) for one in kept(new)] == far
    assert run("verify", "--store", new) == 0


def test_a_changed_one_way_delay_is_a_contradiction_when_it_is_imported(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = tmp_path / "a.lines"
    assert run("export", "--store", made, "--format", "lines", "-o", lines) == 0
    text = lines.read_text()
    first = text.index("forward_delay_sum_ns=") + len("forward_delay_sum_ns=")
    lines.write_text(text[:first] + "1" + text[first:])
    assert run("import", "--store", made, lines) == 1
    assert "forward_delay_sum_ns" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [
        "forward_lost = forward_sent + 1", "forward_lost = -1", "backward_delay_min_ns = backward_delay_max_ns + 1",
        "forward_delay_p50_ns = forward_delay_p95_ns + 1", "backward_delay_sum_ns = 1 << 60",
        "forward_delay_sum_ns = -(1 << 60)", "forward_error_ns = -1", "backward_dscp = 64",
        "forward_delay_stddev_ns = 1 << 50", "residence_max_ns = residence_min_ns - 1", "residence_sum_ns = 1 << 60",
        "forward_withheld = 'a clock', forward_delay_count = 10", "forward_histogram = x'0102'",
        "backward_histogram = x'0100000001000000'", "path = '{\"protocol\":\"udp\"}'", "path = 'x'",
        "forward_delay_min_ns = NULL", "forward_ipdv_pairs = -1",
    ],
)  # fmt: skip
def test_numbers_that_cannot_all_be_true_are_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    path = tmp_path / "store"
    store = Store.open(path, clock=SteppedClock(), site="lab")
    store.append(list(far_series(COUNT)))
    assert store.close()
    assert run("verify", "--store", path) == 0
    with closing(sqlite3.connect(path / LIVE_FILE, isolation_level=None)) as connection:
        where = "residence_count > 0 AND backward_histogram IS NOT NULL"
        (seq,) = connection.execute(f"SELECT min(seq) FROM samples WHERE {where}").fetchone()
        connection.execute(f"UPDATE samples SET {change} WHERE seq = ?", (seq,))
    assert run("verify", "--store", path) == 1
    assert "1 samples contradict themselves" in capsys.readouterr().out
