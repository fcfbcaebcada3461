"""docs/contracts.md: every example on it loads, and it names every key, statistic and choice that the loader knows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import contract_files
from agent.cli.contract_lint import look
from agent.config import load
from agent.contract_language.statistic_section import STATISTICS
from agent.sla.exclusion.exclusions import ExclusionKind
from agent.sla.terms.contract import JitterDefinition, Metric, StatisticType
from agent.sla.terms.incidents import Stamp
from agent.sla.terms.remedies import CreditBasis
from agent.sla.words.explain import explain
from probes.core.errors import LocalError

PAGE = (Path(__file__).parents[2] / "docs" / "contracts.md").read_text("utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
SKELETON = {
    "id": "page",
    "version": '"1"',
    "provider": "ExampleTel",
    "customer": "ACME",
    "time_zone": "Europe/Berlin",
    "service": '{monthly_charge: "480.00 EUR", cir: 50Mbit/s}',
    "objectives": (
        "\n  - {id: availability, metric: availability, target: 99.9 %}"
        "\n  - {id: delay, metric: rtt, statistic: {type: mean}, target: 14ms}"
    ),
}


def whole(block: str) -> str:
    """The example with what a contract needs beside it."""
    own = set(re.findall(r"^(\w+):", block, re.MULTILINE))
    if "claims" in own:
        block += "credits: {currency: EUR, terms: [{id: c, basis: per_unit, unit: {step: 1h}, price: 1 day}]}\n"
    return block + "".join(f"{key}: {value}\n" for key, value in SKELETON.items() if key not in own)


@pytest.mark.parametrize("block", BLOCKS, ids=[block.split("\n")[0][:40] for block in BLOCKS])
def test_every_example_loads_and_can_be_explained(block: str) -> None:
    assert explain(contract_files.parse(whole(block), "contracts.md"))


def test_an_example_that_is_wrong_is_seen() -> None:
    block = next(block for block in BLOCKS if block.startswith("credits:"))
    with pytest.raises(LocalError):
        contract_files.parse(whole(block.replace("basis: band", "basis: bands")), "contracts.md")


def test_the_page_says_which_metric_takes_which_statistic() -> None:
    for metric, statistics in STATISTICS.items():
        row = re.search(rf"^\| `{metric}`.*\| (.*) \|$", PAGE, re.MULTILINE)
        assert row is not None, metric
        assert set(row[1].replace(" (default)", "").split(", ")) == {str(item) for item in statistics}


def test_the_finding_on_the_page_is_the_one_that_is_made(tmp_path: Path) -> None:
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts" / "branch-office.yaml").write_text(BLOCKS[0])
    probe = "{kind: tcp, port: 443, every: 10m}"
    circuit = f"{{name: ACME-7, target: 192.0.2.7, contract: branch-office, probes: [{probe}]}}"
    (tmp_path / "agent.yaml").write_text(f"store: {{path: store}}\ncircuits: [{circuit}]\n")
    (line,) = look(None, load(tmp_path / "agent.yaml")).lines()
    assert line.removeprefix(f"{tmp_path}/") in " ".join(PAGE.split())


def keys(schema: object) -> Iterator[str]:
    """Every key that the published schema knows."""
    if isinstance(schema, dict):
        found = schema.get("properties")
        if isinstance(found, dict):
            yield from found
        for value in schema.values():
            yield from keys(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from keys(value)


def test_the_page_names_every_key() -> None:
    unnamed = {key for key in keys(contract_files.json_schema()) if not re.search(rf"\b{key}\b", PAGE)}
    assert unnamed == set()


@pytest.mark.parametrize("names", [StatisticType, Metric, JitterDefinition, CreditBasis, ExclusionKind, Stamp])
def test_the_page_names_every_choice(names: type) -> None:
    unnamed = {str(name) for name in names if f"`{name}`" not in PAGE}  # type: ignore[attr-defined]
    assert unnamed == set()
