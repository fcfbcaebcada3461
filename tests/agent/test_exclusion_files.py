"""Ledgers of excluded time: what is accepted means what it says, what is refused is told at its place."""

from pathlib import Path

import jsonschema
import pytest

from agent import contract_files, exclusion_files
from agent.cli.main import run
from agent.document import DocumentError
from agent.judging import unfit
from agent.sla.exclusion.exclusions import Exclusion
from agent.sla.time.calendar import parse_instant
from probes.core.model import Circuit

LEDGER = """exclusions:
  - id: CHG-1234
    start: 2026-11-05T01:00:00Z
    end: 2026-11-05T03:00:00+01:00
    reason: planned maintenance of the access ring
    entered_at: 2026-10-28T09:12:00Z
    circuits: [ACME-1, ACME-2]
  - {id: CHG-1240, start: 2026-11-06T01:00:00Z, end: 2026-11-06T02:00:00Z, reason: cut, entered_at:
      2026-11-07T08:00:00Z, confirmed_by: "J. Smith, ACME"}
"""
CONTRACT = """
id: basic
version: "1"
provider: P
customer: C
time_zone: UTC
objectives: [{id: loss, metric: loss, target: 1 %}]
"""
ROW = "{id: a, start: 2026-11-05T01:00:00Z, end: 2026-11-05T02:00:00Z, reason: r, entered_at: 2026-11-01T00:00:00Z}"


def ns(text: str) -> int:
    return parse_instant(text)


def test_what_it_says() -> None:
    one, two = exclusion_files.parse(LEDGER.replace("03:00:00+01:00", "04:00:00+01:00"), "x").entries
    assert one == Exclusion(
        "CHG-1234", ns("2026-11-05T01:00:00Z"), ns("2026-11-05T03:00:00Z"), "planned maintenance of the access ring",
        ns("2026-10-28T09:12:00Z"), "", ("ACME-1", "ACME-2"),
    )  # fmt: skip
    assert two.retroactive
    assert two.confirmed_by == "J. Smith, ACME"


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("", ["x:1:1: exclusions: this key is required"]),
        ("exclusions: {}", ["x:1:13: exclusions: must be a list (`- item` lines or `[item, item]`), not a mapping"]),
        (
            "exclusions:\n  - {id: a, start: 2026-11-05, end: 2026-11-05T02:00:00Z, reason: r, entered_at: soon}",
            [
                "x:2:20: exclusions[a].start: '2026-11-05' is not an instant: write it like 2026-10-31T23:00:00Z",
                "x:2:82: exclusions[a].entered_at: 'soon' is not an instant: write it like 2026-10-31T23:00:00Z",
            ],
        ),
        (
            "exclusions:\n  - " + ROW.replace("02:00", "01:00"),
            ["x:2:47: exclusions[a].end: it ends no later than it starts"],
        ),
        (
            f"exclusions:\n  - {ROW}\n  - {ROW}",
            ["x:3:10: exclusions.1.id: there is an exclusion 'a' already"],
        ),
        (
            "exclusions:\n  - " + ROW.replace("reason: r", "resaon: r"),
            [
                "x:2:5: exclusions[a].reason: this key is required",
                "x:2:69: exclusions[a].resaon: unknown key (did you mean `reason`?)",
            ],
        ),
        (
            "exclusions:\n  - " + ROW.replace("}", ", circuits: []}"),
            ["x:2:124: exclusions[a].circuits: must not be empty"],
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_at_its_place(text: str, problems: list[str]) -> None:
    with pytest.raises(DocumentError) as refused:
        exclusion_files.parse(text, "x")
    found = [str(problem) for problem in refused.value.problems]
    assert len(found) == len(problems), found
    for got, expected in zip(found, problems, strict=True):
        assert got.startswith(expected.split(" (did")[0].split(" must")[0]), got


def test_the_schema_for_editors_agrees() -> None:
    rule = exclusion_files.json_schema()
    entry = {"id": "a", "start": "x", "end": "y", "reason": "r", "entered_at": "z"}
    jsonschema.validate({"exclusions": [entry]}, rule)
    for wrong in ({"exclusions": [{**entry, "resaon": "r"}]}, {"exclusions": [{"id": "a"}]}, {"exclusions": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, rule)


def contracts(home: Path, ledger: str | None = LEDGER) -> Path:
    directory = home / "contracts"
    (directory / "exclusions").mkdir(parents=True)
    (directory / "basic.yaml").write_text(CONTRACT)
    if ledger is not None:
        (directory / "exclusions" / "basic.yaml").write_text(ledger.replace("T03:00:00+01:00", "T03:00:00Z"))
    return directory


def test_a_contract_is_loaded_with_its_ledger_and_both_keep_their_digests(tmp_path: Path) -> None:
    directory = contracts(tmp_path)
    loaded = contract_files.load(directory)["basic"]
    bare = contract_files.parse(CONTRACT, "basic.yaml")
    assert [item.id for item in loaded.exclusions] == ["CHG-1234", "CHG-1240"]
    assert loaded.digest == bare.digest, "what was signed is what it was"
    assert len(loaded.exclusions_digest) == 64
    assert (bare.exclusions, bare.exclusions_digest, bare.shared_fate) == ((), "", "unknown")


def test_mistakes_of_ledgers_and_contracts_are_told_together(tmp_path: Path) -> None:
    directory = contracts(tmp_path, "exclusions: 1")
    (directory / "exclusions" / "basik.yaml").write_text("exclusions: []")
    (directory / "other.yaml").write_text("id: other")
    with pytest.raises(DocumentError) as refused:
        contract_files.load(directory)
    text = str(refused.value)
    assert "exclusions/basic.yaml:1:13: exclusions: must be a list" in text
    assert "exclusions/basik.yaml:1:1: there is no contract basik" in text
    assert "other.yaml:1:1: " in text


def test_an_entry_for_a_circuit_that_is_none_is_told(tmp_path: Path) -> None:
    loaded = contract_files.load(contracts(tmp_path))
    circuits = [Circuit("ACME-1", "192.0.2.1", contract="basic"), Circuit("ACME-2", "192.0.2.2")]
    assert list(unfit(circuits, loaded, 10**10))[-1:] == [
        "exclusion CHG-1234 is for ACME-2, which is no circuit of contract basic"
    ]


def test_shared_fate_is_one_of_two_words() -> None:
    assert contract_files.parse(CONTRACT + "shared_fate: count\n", "x").shared_fate == "count"
    with pytest.raises(DocumentError, match="shared_fate"):
        contract_files.parse(CONTRACT + "shared_fate: ignore\n", "x")


def test_a_wrong_ledger_is_found_by_config_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    contracts(tmp_path, "exclusions: [{id: a}]")
    (tmp_path / "agent.yaml").write_text(
        "store: {path: store}\ncircuits: [{name: a, target: 192.0.2.1, contract: basic, probes: [{kind: icmp}]}]\n"
    )
    assert run(["config", "check", "-c", str(tmp_path / "agent.yaml")]) == 1
    said = capsys.readouterr()
    assert "exclusions/basic.yaml:1:14: exclusions[a].start: " in said.out + said.err
