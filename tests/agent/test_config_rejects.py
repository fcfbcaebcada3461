"""Every wrong configuration in config_rejects/ is refused with exactly the sentences beside it.

NAME.yaml, or NAME/agent.yaml with its conf.d, is wrong; NAME.expected is what the user reads. After a deliberate change
of wording: `REWRITE_EXPECTED=1 python -m pytest tests/agent/test_config_rejects.py`, then read the difference.
"""

import os
from pathlib import Path

import pytest

from agent.config import load
from agent.document import DocumentError
from agent.document.tree import MAXIMUM_SIZE

REJECTS = Path(__file__).with_name("config_rejects")
CASES = sorted(
    [item.stem for item in REJECTS.glob("*.yaml")] + [item.parent.name for item in REJECTS.glob("*/agent.yaml")]
)


def complaint(name: str, monkeypatch: pytest.MonkeyPatch) -> str:
    directory = REJECTS / name
    file = Path("agent.yaml") if directory.is_dir() else Path(f"{name}.yaml")
    monkeypatch.chdir(directory if directory.is_dir() else REJECTS)
    with pytest.raises(DocumentError) as caught:
        load(file)
    assert str(caught.value) == "\n".join(str(problem) for problem in caught.value.problems)
    return f"{caught.value}\n"


@pytest.mark.parametrize("name", CASES)
def test_the_message_is_exactly_this(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = REJECTS / f"{name}.expected"
    said = complaint(name, monkeypatch)
    if os.environ.get("REWRITE_EXPECTED"):
        expected.write_text(said, "utf-8")
    assert said == expected.read_text("utf-8")


def test_every_expectation_has_its_mistake() -> None:
    assert {item.stem for item in REJECTS.glob("*.expected")} == set(CASES)
    assert len(CASES) >= 100


def test_several_mistakes_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = complaint("many-mistakes", monkeypatch).splitlines()
    places = [tuple(int(part) for part in line.split(":")[1:3]) for line in lines]
    assert places == sorted(places)
    assert {line for line, _ in places} == {2, 3, 5, 6, 7, 11, 13, 14, 15, 17, 18, 21}


def test_no_message_repeats_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CASES:
        assert "s3cr3t" not in complaint(name, monkeypatch)


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "agent.yaml").write_bytes(b"#" * (MAXIMUM_SIZE + 1))
    with pytest.raises(DocumentError, match=r"agent\.yaml:1:1: larger than 1 MiB$"):
        load(tmp_path / "agent.yaml")
