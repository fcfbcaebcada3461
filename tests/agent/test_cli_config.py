"""`linkwitness config` as a user meets it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from agent.cli.config import app
from agent.config import json_schema, load

DEFAULT = Path(__file__).parents[2] / "config" / "agent.yaml"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_check_says_what_there_is() -> None:
    result = run("check", "-c", DEFAULT)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("ok: 7 circuits, 8 probes, 0 sinks, ")
    assert result.stdout.endswith(", 1 file\n")


def test_check_names_mistakes_of_configuration_and_contracts(tmp_path: Path) -> None:
    (tmp_path / "agent.yaml").write_text("interval: 5\ncircuits: []\n")
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts" / "gold.yaml").write_text("nonsense: 1\n")
    result = run("check", "-c", tmp_path / "agent.yaml")
    assert result.exit_code == 1
    assert "agent.yaml:2:11: interval" not in result.stdout
    assert (
        f"{tmp_path}/agent.yaml:1:11: interval: 5 has no unit: write a duration like 5ms, 5s or 5m\n" in result.stdout
    )
    assert f"{tmp_path}/contracts/gold.yaml:1:1: nonsense: unknown key" in result.stdout
    assert result.stderr.endswith(" mistakes, nothing is used\n")
    report = json.loads(run("check", "--json", "-c", tmp_path / "agent.yaml").stdout)
    assert (report["schema"], report["ok"]) == ("linkwitness.config-check/1", False)
    assert {"file", "line", "column", "key", "message"} == set(report["problems"][0])


def test_check_of_a_file_that_is_not_there(tmp_path: Path) -> None:
    result = run("check", "-c", tmp_path / "agent.yaml")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "No such file" in result.stderr


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_show_is_a_configuration(tmp_path: Path, options: tuple[str, ...]) -> None:
    result = run("show", *options, "-c", DEFAULT)
    assert result.exit_code == 0
    (tmp_path / "agent.yaml").write_text(result.stdout)
    assert load(tmp_path / "agent.yaml") == load(DEFAULT)


def test_schema() -> None:
    assert json.loads(run("schema").stdout) == json_schema()


def test_check_warns_of_a_contract_no_probe_can_feed(tmp_path: Path) -> None:
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts" / "gold.yaml").write_text(
        'id: gold\nversion: "1"\nprovider: P\ncustomer: C\ntime_zone: UTC\n'
        "objectives:\n  - {id: loss, metric: loss, target: 1 %}\n"
    )
    (tmp_path / "agent.yaml").write_text(
        "circuits:\n  - {name: a, target: 192.0.2.1, contract: gold, probes: [{kind: throughput, every: 1h}]}\n"
    )
    said = "circuit a, contract gold: objective loss: the circuit has no probe of kind stamp or twamp or udp or icmp"
    result = run("check", "-c", tmp_path / "agent.yaml")
    assert result.exit_code == 0
    assert f"warning: {said}" in result.stderr
    report = json.loads(run("check", "--json", "-c", tmp_path / "agent.yaml").stdout)
    assert report["ok"] is True
    assert report["warnings"][0].startswith(said)
