"""docs/line-protocol.md names every field and tag that is sent, and nothing that is not."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from agent.deliver.line import MEASUREMENTS, LineEncoder
from agent.deliver.trial import MEASUREMENT
from agent.sla.samples.feeds import ONE_WAY_KINDS
from probes.core import catalog
from probes.core.model import Circuit, ProbeSetting
from tests.fakes.line_parser import Point, parse
from tests.fakes.series import far_series, sample_series

DOCUMENT = (Path(__file__).parents[3] / "docs" / "line-protocol.md").read_text("utf-8")


FIELDS = (
    "Ours: the columns of the store", "Ours: what a far end with a clock adds", "Ours: derived and texts", "Telegraf's",
)  # fmt: skip


def first_column(heading: str) -> set[str]:
    """Names in backticks in the first column of the tables under a heading."""
    section = re.split(r"^#+ ", DOCUMENT.split(f"# {heading}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall("`([a-z0-9_]+)`", row)}


def points() -> list[Point]:
    probes = tuple(ProbeSetting(kind, kind, {"port": 443}) for kind in ("tcp", "throughput", "stamp"))
    found = []
    for sample in (*sample_series(200), *far_series(200)):
        circuit = Circuit(sample.circuit, "198.51.100.7", customer="ACME", provider="P", probes=probes)
        encoder = LineEncoder("ams", {sample.circuit: circuit})
        found.append(parse(encoder.encode(replace(sample, reason="because"), text=True, branch="1a2b3c4d")))
    return found


def test_fields() -> None:
    sent = {name for point in points() for name in point.fields}
    documented = [first_column(heading) for heading in FIELDS]
    assert set.union(*documented) == sent
    assert sum(map(len, documented)) == len(sent), "each once"


def test_tags() -> None:
    assert {name for point in points() for name in point.tags} == first_column("Tags") - {"labels"}


def test_measurements() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", DOCUMENT.split("## Measurements")[1].split("## Tags")[0], re.M)
    kinds = {*catalog.names(), *MEASUREMENTS, *ONE_WAY_KINDS}
    assert dict(rows) == {kind: MEASUREMENTS.get(kind, kind) for kind in kinds}
    assert MEASUREMENT in DOCUMENT
