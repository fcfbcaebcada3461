"""`linkwitness contract lint|explain|schema|list`: words, JSON, exit codes, file:line:column, golden texts."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agent.cli import main
from agent.cli.contract import WIDTH
from tests.agent.cli.commands import linkwitness

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "config" / "contracts"
GOLDEN = ROOT / "tests" / "golden"

CONTRACT = """\
id: branch
version: "1"
title: A branch office
provider: ExampleTel
customer: ACME
time_zone: Europe/Berlin
valid_from: 2026-01-01
objectives:
  - id: uptime
    metric: availability
    target: 99.99 %
    kind: tcp
  - {id: loss, metric: loss, target: 0.1 %, window: {calendar: day}, kind: icmp}
"""
CONFIG = """\
site: here
store: {path: store}
interval: 30s
contracts: contracts
circuits:
  - name: C-1
    target: 192.0.2.9
    contract: branch
    probes:
      - {kind: icmp, every: TEMPO}
      - {kind: tcp, port: 443, every: PACE}
  - name: C-2
    target: 192.0.2.10
    contract: branch
    probes:
      - {kind: icmp, every: TEMPO}
      - {kind: tcp, port: 443, every: PACE}
"""


def run(*arguments: object) -> int:
    return main.run(["contract", *map(str, arguments)])


def made(path: Path, *, tempo: str = "1s", pace: str = "10s", contract: str = CONTRACT) -> Path:
    """A configuration with one contract and two circuits."""
    (path / "contracts").mkdir()
    (path / "contracts" / "branch.yaml").write_text(contract)
    (path / "agent.yaml").write_text(CONFIG.replace("TEMPO", tempo).replace("PACE", pace))
    return path / "agent.yaml"


def test_a_contract_that_fits_its_circuits_is_good(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("lint", "--config", made(tmp_path)) == 0
    assert capsys.readouterr().out == "1 contract, 0 errors, 0 warnings\n"


def test_a_promise_that_the_pace_cannot_show_is_an_error_at_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = made(tmp_path, pace="5m", tempo="30s")
    assert run("lint", "--config", config) == 1
    said = capsys.readouterr()
    file = tmp_path / "contracts" / "branch.yaml"
    lines = said.out.splitlines()
    # Line 11 is the target of `uptime`, line 13 the objective on loss.
    assert lines[0] == (
        f"{file}:11:13: error: objectives[uptime].target: circuits C-1 and C-2: 99.99 % of 28 d allows 4 min 1 s down, "
        "and the shortest outage that tcp is sure to see lasts 30 min (n x dt = 3 x 10 min): one outage breaks the "
        "promise, and one as long as is allowed is not seen; `every: 15s` would do"
    )
    assert lines[1].startswith(f"{file}:13:38: warning: objectives[loss].target: circuits C-1 and C-2: icmp makes 2880")
    assert said.err == "1 contract, 1 error, 1 warning\n"


def test_lint_tells_every_mistake_of_the_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = CONTRACT.replace("99.99 %", "99.99").replace("time_zone: Europe/Berlin", "time_zone: Europe/Berln")
    config = made(tmp_path, contract=wrong)
    file = tmp_path / "contracts" / "branch.yaml"
    for arguments in (("lint", file), ("lint", "--config", config), ("lint", tmp_path / "contracts")):
        assert run(*arguments) == 1
        lines = capsys.readouterr().out.splitlines()
        assert [line.split(": ")[0] for line in lines] == [f"{file}:6:12", f"{file}:11:13"]
        assert "did you mean Europe/Berlin?" in lines[0]
        assert "99.99 has no unit" in lines[1]


def test_circuits_of_a_group_must_be_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    group = "    scope: {members: [C-1, C-3], aggregation: at_least, k: 1}\n"
    config = made(tmp_path, contract=CONTRACT.replace("    kind: tcp\n", f"    kind: tcp\n{group}"))
    assert run("lint", "--config", config) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith("objectives[uptime].scope.members.1: no circuit of the configuration is named C-3")


def test_lint_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("lint", "--config", made(tmp_path, pace="5m"), "--json") == 1
    said = json.loads(capsys.readouterr().out)
    assert said["schema"] == "linkwitness.contract-lint/1"
    assert (said["ok"], said["contracts"], said["without_circuit"]) == (False, 1, [])
    (found,) = said["findings"]
    assert (found["severity"], found["line"], found["column"]) == ("error", 11, 13)
    assert found["key"] == "objectives[uptime].target"


def test_without_circuits_lint_says_what_it_did_not_look_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = made(tmp_path)
    file = tmp_path / "contracts" / "branch.yaml"
    assert run("lint", file) == 0
    assert "no configuration, so no schedule was looked at" in capsys.readouterr().out
    config.write_text(CONFIG.replace("contract: branch", "customer: ACME").replace("TEMPO", "1s").replace("PACE", "9s"))
    assert run("lint", file, "--config", config) == 0
    assert "no circuit has branch, so no schedule was looked at there" in capsys.readouterr().out


def test_what_is_not_there_is_said_with_a_hint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("lint", tmp_path / "nothing.yaml") == 1
    assert "error: there is no" in capsys.readouterr().err
    assert run("explain", "nothing", "--config", made(tmp_path)) == 1
    said = capsys.readouterr().err
    assert "nothing is neither a file nor a configured contract" in said
    assert "hint: configured contracts: branch" in said
    assert run("explain", "branch", "--circuit", "C-9", "--config", tmp_path / "agent.yaml") == 1
    assert "hint: configured circuits: C-1, C-2" in capsys.readouterr().err


def test_explain_by_name_with_a_circuit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("explain", "branch", "--circuit", "C-1", "--config", made(tmp_path)) == 0
    said = capsys.readouterr().out
    assert said.startswith("A branch office\nContract branch, version 1\n\n1. PARTIES AND SERVICE\n\n1.1  Parties and")
    words = " ".join(said.split())
    assert "that is at most 4 min 19 s down in a 30-day month (4 min 27 s in one of 31 days)" in words
    assert "Tcp to 192.0.2.9, every 10 s, time-out 3 s, code point DF (0)." in words
    assert max(map(len, said.splitlines())) <= WIDTH


def test_explain_as_json_numbers_the_clauses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("explain", "branch", "--config", made(tmp_path), "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["contract"], said["version"], len(said["digest"])) == ("branch", "1", 64)
    numbers = [clause["number"] for section in said["sections"] for clause in section["clauses"]]
    assert numbers[0] == "1.1"
    assert len(numbers) == len(set(numbers))


def test_a_number_keeps_its_unit_on_its_line() -> None:
    said = linkwitness("contract", "explain", EXAMPLES / "gold-ethernet.yaml").stdout
    broken = [line for line in said.splitlines() if re.match(r" +(%|ms|s|min|h|EUR)\b", line)]
    assert broken == []


def test_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = made(tmp_path)
    assert run("list", "--config", config) == 0
    assert capsys.readouterr().out == (
        "branch 1: A branch office\n    ExampleTel for ACME, valid 2026-01-01 to …, 2 objectives; circuits: C-1, C-2\n"
    )
    assert run("list", "--config", config, "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)["contracts"]
    assert (row["id"], row["objectives"], row["circuits"]) == ("branch", 2, ["C-1", "C-2"])
    (tmp_path / "none").mkdir()
    assert run("list", tmp_path / "none") == 0
    assert "no contracts in" in capsys.readouterr().err


def test_schema_is_that_of_the_loader(capsys: pytest.CaptureFixture[str]) -> None:
    from agent import contract_files

    assert run("schema") == 0
    assert json.loads(capsys.readouterr().out) == contract_files.json_schema()


@pytest.mark.parametrize("arguments", [("contract", "--help"), ("contract", "lint", "--help")])
def test_help_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    code = (
        "import sys, json; from agent.cli.main import run; code = run(sys.argv[1:]);"
        "print('\\n' + json.dumps([code, sorted({name.partition('.')[0] for name in sys.modules})]))"
    )
    done = subprocess.run(
        (sys.executable, "-c", code, *arguments), capture_output=True, text=True, timeout=60, check=True
    )
    code, packages = json.loads(done.stdout.splitlines()[-1])
    assert code == 0
    assert {"numpy", "rich", "scapy", "duckdb"}.isdisjoint(packages)


@pytest.mark.parametrize("name", ["gold-ethernet", "metro-ethernet", "access-mttr", "service-desk"])
def test_golden(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole text of four examples, read by a person when it changes: REWRITE_EXPECTED=1 writes it anew."""
    assert run("explain", EXAMPLES / f"{name}.yaml") == 0
    said, golden = capsys.readouterr().out, GOLDEN / f"contract-{name}.txt"
    if os.environ.get("REWRITE_EXPECTED"):
        golden.write_text(said, encoding="utf-8")
    assert said == golden.read_text("utf-8")
