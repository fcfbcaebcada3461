"""Contract files: what is accepted means exactly what it says; what is refused is told at its place."""

import errno
from datetime import date
from fractions import Fraction
from pathlib import Path

import jsonschema
import pytest
import yaml
import yamlcore

from agent import contract_files
from agent.config import load
from agent.document import DocumentError
from agent.sla.contract import JitterDefinition, Metric, StatisticType, Window
from agent.sla.feeds import mismatches
from probes.core import catalog
from probes.core.errors import LocalError

ROOT = Path(__file__).parents[2]
REJECTS = Path(__file__).parent / "contract_rejects"
EXAMPLES = ROOT / "config" / "contracts"

SMALL = """
id: small
version: "7"
provider: ExampleTel
customer: ACME
time_zone: Europe/Berlin
objectives:
  - {id: loss, metric: loss, target: 0.1 %}
"""


@pytest.mark.parametrize("path", sorted(REJECTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_wrong_contract_is_refused_with_exactly_this_message(path: Path) -> None:
    expected = path.with_suffix(".expected").read_text().replace("KINDS", ", ".join(catalog.names()))
    with pytest.raises(DocumentError) as refused:
        contract_files.parse(path.read_text(), path.name)
    assert "\n".join(str(problem) for problem in refused.value.problems) + "\n" == expected


def test_every_reject_has_its_message_and_there_are_enough() -> None:
    assert {path.stem for path in REJECTS.glob("*.yaml")} == {path.stem for path in REJECTS.glob("*.expected")}
    assert len(list(REJECTS.glob("*.yaml"))) >= 50


def test_the_examples_load_and_keep_to_their_names() -> None:
    contracts = contract_files.load(EXAMPLES)
    assert {"gold-ethernet", "lan-gateway", "loopback"} <= set(contracts)
    assert all((EXAMPLES / f"{identity}.yaml").is_file() for identity in contracts)
    used = {objective.metric for contract in contracts.values() for objective in contract.objectives}
    assert used == set(Metric)


def test_the_default_configuration_can_be_judged_by_its_contracts() -> None:
    config = load(ROOT / "config" / "agent.yaml")
    contracts = contract_files.load(config.contracts)
    for circuit in config.circuits:
        assert circuit.contract is not None
        assert mismatches(contracts[circuit.contract], circuit, config.span_ns) == (), circuit.id


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_examples_fit_the_json_schema(path: Path) -> None:
    document = yaml.load(path.read_text(), Loader=yamlcore.CoreLoader)
    jsonschema.Draft202012Validator(contract_files.json_schema()).validate(document)


def test_gold_ethernet_means_what_it_says() -> None:
    gold = contract_files.load(EXAMPLES)["gold-ethernet"]
    assert (gold.valid_from, gold.valid_to) == (date(2026, 1, 1), date(2028, 12, 31))
    assert (gold.provider.id, gold.customer.id, gold.version) == ("ExampleTel", "ACME Corporation", "2026-01")
    assert len(gold.digest) == 64
    by_id = {objective.id: objective for objective in gold.objectives}
    availability = by_id["availability"]
    assert availability.target.value == Fraction(9995, 10000)
    assert (availability.statistic.dt_ns, availability.statistic.n, availability.statistic.c) == (
        10 * 10**9, 3, Fraction(1, 2),
    )  # fmt: skip
    assert availability.coverage.minimum == Fraction(95, 100)
    assert by_id["delay-p99"].statistic.p == Fraction(99, 100)
    assert by_id["delay-p99"].samples_needed == 100
    assert by_id["delay"].only_available_time
    assert by_id["delay-variation"].statistic.definition is JitterDefinition.PDV
    assert by_id["loss-day"].window == Window("day")
    rate = by_id["rate"]
    assert rate.target.of_committed_rate
    assert rate.target.value == Fraction(9, 10)
    assert rate.window == Window("quarter")
    assert rate.coverage.minimum == Fraction(80, 100)


def test_defaults() -> None:
    contract = contract_files.parse(SMALL, "small.yaml")
    objective = contract.objectives[0]
    assert objective.statistic.type is StatisticType.RATIO
    assert objective.window == Window("month")
    assert objective.coverage.minimum == Fraction(9, 10)
    assert objective.target.value == Fraction(1, 1000)
    assert contract.valid_from is None


@pytest.mark.parametrize(
    ("metric", "statistic", "written", "value"),
    [
        ("availability", "{type: availability_mef}", "99.9 %", Fraction(999, 1000)),
        ("availability", "{type: availability_mef}", "99.999999 %", Fraction(99999999, 100000000)),
        ("loss", "{type: ratio}", "0 %", Fraction(0)),
        ("loss", "{type: ratio}", "0.1%", Fraction(1, 1000)),
        ("rtt", "{type: mean}", "30ms", Fraction(30_000_000)),
        ("rtt", "{type: percentile, p: 99.9}", "1.5ms", Fraction(1_500_000)),
        ("jitter", "{type: mean, definition: rfc3550}", "250us", Fraction(250_000)),
        ("throughput", "{type: mean}", "95Mbit/s", Fraction(95_000_000)),
        ("throughput", "{type: minimum}", "87.5 % of committed_rate", Fraction(7, 8)),
    ],
)
def test_targets_are_exact(metric: str, statistic: str, written: str, value: Fraction) -> None:
    text = SMALL.replace(
        "{id: loss, metric: loss, target: 0.1 %}",
        f"{{id: x, metric: {metric}, statistic: {statistic}, target: {written}}}",
    )
    objective = contract_files.parse(text, "x.yaml").objectives[0]
    assert objective.target.value == value
    assert objective.target.text == written
    assert objective.statistic.p in (None, Fraction(999, 1000))


def test_the_digest_is_that_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SMALL)
    (tmp_path / "other.yml").write_text(SMALL.replace("id: small", "id: other"))
    (tmp_path / "notes.txt").write_text("not a contract")
    contracts = contract_files.load(tmp_path)
    assert set(contracts) == {"small", "other"}
    assert contracts["small"] == contract_files.parse(SMALL, "small.yaml")
    assert contracts["small"].digest != contracts["other"].digest


def test_all_files_are_checked_and_each_is_named_after_its_contract(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SMALL)
    (tmp_path / "b.yaml").write_text(SMALL)
    (tmp_path / "c.yaml").write_text(SMALL.replace("0.1 %", "200 %"))
    (tmp_path / "small.yml").write_text(SMALL)
    with pytest.raises(DocumentError) as refused:
        contract_files.load(tmp_path)
    assert {(Path(item.file).name, item.line, item.message) for item in refused.value.problems} == {
        ("b.yaml", 2, "the file of this contract must be named small.yaml: circuits find it by that name"),
        ("c.yaml", 8, "200 % is more than 100 %: loss is a share"),
        ("small.yml", 2, f"the contract 'small' is defined already in {tmp_path / 'small.yaml'}:2:5"),
    }


def test_no_directory_no_contracts(tmp_path: Path) -> None:
    assert contract_files.load(tmp_path / "none") == {}


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").mkdir()
    with pytest.raises(LocalError, match="cannot read"):
        contract_files.load(tmp_path)


def test_an_editors_lock_file_is_not_a_contract(tmp_path: Path) -> None:
    """Emacs links `.#NAME` to nowhere while a file is edited; a reload must not fail on it."""
    (tmp_path / ".#gold.yaml").symlink_to("somebody@host.4711")
    (tmp_path / ".gold.yaml.swp.yaml").write_text("nonsense")
    assert contract_files.load(tmp_path) == {}


def test_a_directory_that_may_not_be_read_is_told_and_not_taken_for_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(LocalError, match=f"cannot read {tmp_path}: Permission denied"):
        contract_files.load(tmp_path)
