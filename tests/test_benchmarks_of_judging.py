"""The benchmarks of judging run, at a size that says nothing: what they print is there."""

import subprocess
import sys
from pathlib import Path

import pytest

HOME = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("script", "arguments", "said"),
    [
        ("judge.py", ["--days", "2", "--pairs", "1", "--pandas", "none"], "judging what was read"),
        ("audit.py", ["--days", "2", "--real", "1", "--circuits", "3", "--links"], "3 circuit-months"),
    ],
)
def test_it_runs(tmp_path: Path, script: str, arguments: list[str], said: str) -> None:
    command = [sys.executable, str(HOME / "benchmarks" / script), str(tmp_path / "b"), *arguments]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert found.returncode == 0, found.stderr
    assert said in found.stdout
    assert not (tmp_path / "b").exists()
