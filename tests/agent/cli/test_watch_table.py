"""The table and the lines of a running agent, compared with files in tests/golden: fixed width, no colour.

After a change that is meant: LINKWITNESS_GOLDEN=write pytest tests/agent/cli/test_watch_table.py, then read the diff.
"""

from __future__ import annotations

import io
import os
import select
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from agent.cli.outlet import Outlet
from agent.cli.watch_table import grid, sample_line, urgency
from agent.cli.watching import JsonView, LinesView, TableView
from agent.deliver import SinkStatus
from agent.live import LiveRow, Totals
from agent.overview import Overview
from agent.report.terminal import Grid, print_grid
from agent.sla.terms.contract import Metric
from agent.sla.time.calendar import WindowInstants
from agent.sla.verdict import Verdict, VerdictState
from probes.core.clock import MILLISECOND, SECOND
from probes.core.model import (
    Counts,
    Delay,
    Quality,
    Rate,
    Sample,
    SampleState,
    StampSource,
    Variation,
)
from tests.fakes.contracts import objective

GOLDEN = Path(__file__).parents[2] / "golden"
NOW = 1_800_000_000 * SECOND
SPAN = 10 * SECOND
START = NOW - SPAN - 3 * SECOND
REMEDY = (
    "ICMP is not permitted (hint: grant CAP_NET_RAW to the service, or let its group into net.ipv4.ping_group_range)"
)


def drawn(table: Grid, width: int) -> str:
    stream = io.StringIO()
    print_grid(table, stream, width)
    return "".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines())


def compare(name: str, text: str) -> None:
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("LINKWITNESS_GOLDEN") == "write":
        path.write_text(text, "utf-8")
    assert text == path.read_text("utf-8")


def overview(*rows: LiveRow, **more: object) -> Overview:
    values: dict[str, object] = {
        "site": "ams-edge-01", "store": Path("/var/lib/linkwitness"), "now_ns": NOW, "span_ns": SPAN, "rows": rows,
        "totals": Totals(1234, 56789), "host_load": 0.07, "clock_synchronised": True,
    }  # fmt: skip
    return Overview(**(values | more))  # type: ignore[arg-type]


def stream(circuit: str, kind: str = "icmp", lost: int = 0, rtt_ms: float = 12.345, **more: object) -> Sample:
    got, rtt = 10 - lost, int(rtt_ms * MILLISECOND)
    values: dict[str, object] = {
        "counts": Counts(sent=10, received=got, lost=lost), "state": SampleState.OK,
        "delay": Delay(got, got * rtt, rtt, rtt, rtt, rtt, rtt, 0), "remote": "192.0.2.7",
        "variation": Variation(9, 9 * MILLISECOND // 4, 0, 0, 0), "quality": Quality(stamps=StampSource.KERNEL),
    }  # fmt: skip
    return Sample(circuit, kind, kind, START, SPAN, **(values | more))  # type: ignore[arg-type]


def silent(circuit: str, state: SampleState, reason: str | None, **more: object) -> Sample:
    values: dict[str, object] = {"counts": Counts(sent=10, lost=10)}
    return Sample(circuit, "icmp", "icmp", START, SPAN, state, reason=reason, **(values | more))  # type: ignore[arg-type]


def capacity(circuit: str, forward: int | None, backward: int | None, ago_ns: int = 20 * SECOND) -> Sample:
    return Sample(
        circuit, "throughput", "throughput", NOW - ago_ns, 10 * SECOND, SampleState.OK, Counts(sent=1, received=1),
        rate=Rate(forward_bps=forward, backward_bps=backward), quality=Quality(stamps=StampSource.USER),
    )  # fmt: skip


def verdict(circuit: str, state: VerdictState, value: Fraction | None = Fraction(9995, 10000)) -> Verdict:
    wanted = objective(Metric.AVAILABILITY, "0.999")
    window = WindowInstants(NOW - 3600 * SECOND, NOW, "UTC", "last hour", None)
    return Verdict(
        "gold", circuit, wanted, window, state, value, value, value, Fraction(999, 1000), Fraction(1), Fraction(1),
        False, "availability 99.95 % of 1 h measured (target 99.9 %)", {},
    )  # fmt: skip


def row(
    sample: Sample | None, name: str = "", state: VerdictState | None = VerdictState.ON_TRACK, **more: object
) -> LiveRow:
    circuit = sample.circuit if sample else name
    kind = sample.kind if sample else str(more.pop("kind", "icmp"))
    verdicts = () if state is None else (verdict(circuit, state),)
    values: dict[str, object] = {"refused": None, "verdicts": verdicts, "judged": True}
    return LiveRow(circuit, kind, kind, sample, **(values | more))  # type: ignore[arg-type]


FIRST_SECONDS = overview(
    row(None, "ACME-AMS-0042", None),
    row(None, "ACME-AMS-0042", None, kind="tcp", next_run_ns=NOW + 3 * SECOND + 1),
    row(None, "ACME-AMS-0042", None, kind="throughput", next_run_ns=NOW + 8 * 3600 * SECOND),
    row(None, "nightly", None, kind="throughput", next_run_ns=NOW + 20 * 3600 * SECOND, judged=False),
    row(None, "busy", None, kind="throughput", next_run_ns=NOW + 300 * SECOND, running=True),
    totals=Totals(0, 0), clock_synchronised=False,
)  # fmt: skip

EVERYTHING = overview(
    row(stream("fine")),
    row(stream("lossy", lost=3), state=VerdictState.AT_RISK),
    row(silent("down", SampleState.NO_REPLY, None), state=VerdictState.BREACHED),
    row(silent("refusing", SampleState.REJECTED, "port unreachable from 198.51.100.1")),
    row(
        silent("forbidden", SampleState.INVALID, REMEDY, counts=None), state=VerdictState.UNMEASURABLE, refused=REMEDY
    ),
    row(stream("loaded", rtt_ms=48.1, state=SampleState.IMPAIRED, reason="throughput run on this circuit")),
    row(capacity("loaded", 94_100_000, 9_870_000), next_run_ns=NOW + 30 * SECOND),
    row(capacity("wide", 9_410_000_000, 941_000_000, 7200 * SECOND), next_run_ns=NOW + 1800 * SECOND),
    row(stream("unpromised"), judged=False, verdicts=()),
    row(stream("stalled", **{"delay": None, "variation": None}), state=VerdictState.MET),
    row(stream("A-circuit-with-a-name-that-somebody-took-from-an-inventory", "udp", reason="2 not sent: no buffer")),
    sinks=(
        SinkStatus("central", "InfluxDB 2.7", "ok", 1234, 0, 1234, 0),
        SinkStatus("legacy", "", "waiting", 200, 1034, 200, 0, "connection refused", 3 * 3600 * SECOND),
    ),
    troubles=("the store cannot write, samples wait in memory: disk full",),
)  # fmt: skip
STALE = replace(EVERYTHING.rows[9], sample=replace(stream("stalled"), start_ns=NOW - 600 * SECOND))
EVERYTHING = replace(EVERYTHING, rows=(*EVERYTHING.rows[:9], STALE, *EVERYTHING.rows[10:]))


@pytest.mark.parametrize("width", [80, 100, 150])
@pytest.mark.parametrize(("name", "shown"), [("first-seconds", FIRST_SECONDS), ("everything", EVERYTHING)])
def test_tables(name: str, shown: Overview, width: int) -> None:
    compare(f"watch-{name}-{width}", drawn(grid(shown, width), width))


def test_lines() -> None:
    rows = [row for row in EVERYTHING.rows if row.sample is not None]
    compare("watch-lines", "".join(f"{sample_line(row.sample)}\n" for row in rows if row.sample))


def test_without_circuits() -> None:
    compare("watch-no-circuits", drawn(grid(overview(), 100), 100))


@pytest.mark.parametrize("width", range(70, 220, 7))
def test_no_number_is_ever_cut(width: int) -> None:
    text = drawn(grid(EVERYTHING, width), width)
    numbers = [
        "12.345 ms",
        "48.100 ms",
        "3/10",
        "10/10",
        "↑94.1 ↓9.87 Mbit/s",
        "↑9.41 Gbit/s ↓941 Mbit/s",
        "unmeasurable",
    ]
    numbers += ["0.250 ms"] if "JITTER" in text else []
    numbers += ["99.95 %"] if "AVAILABLE" in text else []
    assert [number for number in numbers if number not in text] == []
    body = text.splitlines()[3 : 3 + len(EVERYTHING.rows)]
    assert [line.split()[0] for line in body][:2] == ["fine", "lossy"]
    assert "latency: mean" in text
    assert all(len(line) <= width for line in text.splitlines())


def test_the_worst_come_first_where_there_is_no_room() -> None:
    rows = [row(stream(f"fine-{number}")) for number in range(40)]
    rows[17] = row(silent("down", SampleState.NO_REPLY, "no reply from 192.0.2.7"))
    rows[29] = row(stream("breached"), state=VerdictState.BREACHED)
    rows[35] = row(stream("lossy", lost=1))
    compare("watch-many-100", drawn(grid(overview(*rows), 100, limit=6), 100))


def test_urgency_orders_every_trouble_before_health() -> None:
    order = [urgency(EVERYTHING.rows[number]) for number in (2, 3, 4, 1, 5, 0)]
    assert order == sorted(order)
    assert len(set(order)) == 5, "nothing comes back, whether silent or refused, is one trouble"


def test_a_remark_that_many_share_is_made_once() -> None:
    rows = [
        row(None, f"c{number}", None, refused=REMEDY) if number != 2 else row(stream("fine")) for number in range(7)
    ]
    text = drawn(grid(overview(*rows), 100), 100).replace("\n", " ")
    assert text.count("grant CAP_NET_RAW") == 1
    assert "c0/icmp, c1/icmp, c3/icmp and 3 more: ICMP is not permitted" in text


class StillScreen:
    """A terminal of a fixed size that remembers what was drawn."""

    def __init__(self, width: int, height: int) -> None:
        self.size = (width, height)
        self.frames: list[Grid] = []
        self.lines: list[object] = []

    def height_of(self, table: Grid) -> int:
        return drawn(table, self.size[0]).count("\n")

    def draw(self, table: Grid) -> None:
        self.frames.append(table)

    def print(self, cell: object) -> None:
        self.lines.append(cell)


class Reader:
    """The other end of an outlet."""

    busy = False
    gone = False

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def news(self) -> str | None:
        return None

    def isatty(self) -> bool:
        return False


@pytest.mark.parametrize("height", [10, 14, 24, 60])
@pytest.mark.parametrize("width", [80, 100, 150])
def test_the_table_fits_the_terminal(width: int, height: int) -> None:
    rows = [replace(row, circuit=f"{row.circuit}-{number}") for number in range(9) for row in EVERYTHING.rows]
    screen = StillScreen(width, height)
    TableView(screen, Reader()).started(replace(EVERYTHING, rows=tuple(rows)))  # type: ignore[arg-type]
    (table,) = screen.frames
    taken = screen.height_of(table)
    assert taken <= height - 1 or len(table.rows) == 1
    if height == 60:
        assert len(table.rows) > 15, "the room is used"


def test_nothing_is_drawn_while_nothing_changes_or_nobody_reads() -> None:
    screen, reader = StillScreen(100, 40), Reader()
    view = TableView(screen, reader)  # type: ignore[arg-type]
    view.started(EVERYTHING)
    view.refresh(lambda: EVERYTHING, ())
    assert len(screen.frames) == 1
    reader.busy = True
    view.refresh(lambda: replace(EVERYTHING, host_load=0.5), ())
    assert len(screen.frames) == 1
    reader.busy = False
    view.refresh(lambda: replace(EVERYTHING, host_load=0.5), ())
    assert len(screen.frames) == 2


def test_lines_tell_a_verdict_when_it_changes() -> None:
    reader = Reader()
    view = LinesView(reader)  # type: ignore[arg-type]
    shown = overview(row(stream("fine")))
    samples: Sequence[Sample] = [stream("fine")]
    view.refresh(lambda: shown, samples)
    view.refresh(lambda: shown, [])
    view.refresh(lambda: overview(row(stream("fine"), state=VerdictState.BREACHED)), [])
    lines = [line.split(" ", 1)[1] for line in reader.text.splitlines()]
    assert lines == [
        "fine/icmp ok rtt mean 12.345 p95 12.345 max 12.345 ms jitter 0.250 ms lost 0/10",
        "fine verdict on_track: availability 99.95 % of 1 h measured (target 99.9 %)",
        "fine verdict breached: availability 99.95 % of 1 h measured (target 99.9 %)",
    ]


def test_what_could_not_be_written_is_told_elsewhere(caplog: pytest.LogCaptureFixture) -> None:
    reader = Reader()
    reader.news = lambda: "7 lines were not shown: the reader was too slow"  # type: ignore[method-assign]
    JsonView(reader).refresh(overview, [stream("fine")])  # type: ignore[arg-type]
    assert [record.getMessage() for record in caplog.records] == [
        "standard output: 7 lines were not shown: the reader was too slow; measuring goes on"
    ]


def test_an_outlet_drops_whole_writes_counts_them_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.cli.outlet.CLOSE_S", 30.0)
    reading, writing = os.pipe()
    line = "x" * 999 + "\n"
    with Outlet(writing) as outlet:
        for _ in range(3000):
            outlet.write(line)
        assert outlet.busy
        assert outlet.news() is None, "while it is stuck there is nobody to tell"
        got = b""
        while outlet.busy:
            if select.select([reading], [], [], 0.1)[0]:
                got += os.read(reading, 1 << 20)
        told = outlet.news()
        assert outlet.news() is None
    os.close(writing)
    while piece := os.read(reading, 1 << 20):
        got += piece
    os.close(reading)
    kept = got.decode().splitlines(keepends=True)
    assert set(kept) == {line}
    assert told == f"{3000 - len(kept)} lines were not shown: the reader was too slow"
