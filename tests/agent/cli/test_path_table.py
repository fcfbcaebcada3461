"""A path as people and programs get it."""

from __future__ import annotations

import json

import pytest

from agent.cli import path_table
from agent.cli.flow_probe import run
from agent.cli.request import Request
from probes.core import catalog
from probes.core.catalog import FlowKind
from probes.core.model import Hop, Label, Path, Quality, Sample, SampleState, StampSource
from tests.fakes.clock import FakeClock

HOPS = (
    Hop(1, "192.0.2.1", 3, 3, 100_000, 600_000, 300_000, dscp=46),
    Hop(2, None, 3, 0),
    Hop(3, "203.0.113.5", 3, 1, 2_000_000, 2_000_000, 2_000_000, (Label(100, 5, True, 1),), 0, 1400),
    Hop(4, "198.51.100.9", 3, 2, 5_000_000, 11_000_000, 6_000_000, error="prohibited by a filter"),
)
SAMPLE = Sample(
    "x", "path", "path", 0, 1, SampleState.OK, remote="198.51.100.9", quality=Quality(stamps=StampSource.KERNEL),
    reason="DSCP EF until hop 1, CS0 from hop 3; hop 1 answers as a, b", path=Path("udp", True, HOPS, 1400),
)  # fmt: skip

TABLE = """\
hop  address                                answered    min   mean    max  DSCP   MTU  MPLS
  1  192.0.2.1                                   3/3  0.100  0.200  0.300  EF
  2  *                                           0/3      –      –      –
  3  203.0.113.5                                 1/3  2.000  2.000  2.000  CS0   1400  100/5/1
  4  198.51.100.9 (prohibited by a filter)       2/3  5.000  5.500  6.000

198.51.100.9 reached after 4 hops, path MTU 1400 octets; round trips in ms, stamps: kernel
note: DSCP EF until hop 1, CS0 from hop 3
note: hop 1 answers as a, b"""


def kind_that_finds(sample: Sample) -> FlowKind:
    kind = catalog.load("path")
    assert isinstance(kind, FlowKind)
    return FlowKind("path", kind.summary, kind.parameters, kind.metrics, lambda *_: sample, single=True)


def test_the_table() -> None:
    assert path_table.lines(SAMPLE) == TABLE.splitlines()


def test_columns_nobody_fills_are_left_out() -> None:
    plain = Sample("x", "path", "path", 0, 1, SampleState.NO_REPLY, remote="t", path=Path("udp", False, HOPS[1:2]))
    assert path_table.lines(plain)[0].split() == ["hop", "address", "answered", "min", "mean", "max"]
    assert path_table.lines(plain)[3].startswith("t not reached;")


def test_no_path_says_why() -> None:
    failed = Sample("x", "path", "path", 0, 1, SampleState.INVALID, reason="no right")
    assert path_table.lines(failed) == ["not measured: no right"]


def test_json_has_every_hop(capsys: pytest.CaptureFixture[str]) -> None:
    request = Request(kind_that_finds(SAMPLE), "x", "198.51.100.9", {}, count=1, as_json=True)
    assert run(request, kind_that_finds(SAMPLE), FakeClock()) == 0
    (sample,) = json.loads(capsys.readouterr().out)["runs"]
    assert sample["path"]["mtu"] == 1400
    assert [hop["address"] for hop in sample["path"]["hops"]] == [hop.address for hop in HOPS]
    assert sample["path"]["hops"][2]["labels"] == [{"value": 100, "traffic_class": 5, "bottom": True, "ttl": 1}]


def test_several_runs_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    request = Request(kind_that_finds(SAMPLE), "x", "198.51.100.9", {"every": 1}, count=2, quiet=True)
    run(request, kind_that_finds(SAMPLE), FakeClock())
    said = capsys.readouterr().out
    assert "reached in 2 of 2 runs, one path" in said
