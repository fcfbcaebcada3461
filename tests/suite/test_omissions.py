"""The suite itself: a test that cannot run is never silent. Runs a small suite with this project's conftest.py."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"

INNER = """
import pytest

def test_plain():
    pass

@pytest.mark.root
def test_needs_root():
    pass

@pytest.mark.live("absent-server")
def test_needs_a_server():
    pass

@pytest.mark.xfail(reason="known")
def test_expected_failure():
    raise AssertionError
"""


def run(folder: Path, *, ci: bool, module: str = INNER) -> subprocess.CompletedProcess[str]:
    """A suite of its own, whose `root` and `live` needs can never be met."""
    (folder / "conftest.py").write_text(CONFTEST.read_text("utf-8"), "utf-8")
    (folder / "packages.txt").write_text(
        "# marker package command\nroot absent-tool lw-no-such-tool\nlive absent-server lw-no-such-server\n", "utf-8"
    )
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n  root: r\n  live: l\n", "utf-8")
    (folder / "test_inner.py").write_text(module, "utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV", "CI"))}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(folder), str(folder)]
    return subprocess.run(
        command,
        cwd=folder,
        env=environment | ({"CI": "true"} if ci else {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_what_cannot_run_is_listed_with_its_reason(tmp_path: Path) -> None:
    done = run(tmp_path, ci=False)
    assert done.returncode == 0, done.stdout
    assert "1 passed, 2 skipped, 1 xfailed" in done.stdout
    section = done.stdout.split("not run, and why")[1]
    assert "1 x needs the Debian packages absent-server: run `sudo make setup`" in section
    assert "test_inner.py::test_needs_root" in section
    assert "test_inner.py::test_expected_failure" not in section


def test_in_ci_what_cannot_run_fails(tmp_path: Path) -> None:
    done = run(tmp_path, ci=True)
    assert done.returncode == 1, done.stdout
    assert "1 passed, 1 xfailed, 2 errors" in done.stdout
    assert "in CI nothing may be missing: needs the Debian packages absent-server" in done.stdout
    assert "test_inner.py::test_needs_a_server" in done.stdout.split("not run, and why")[1]


def test_in_ci_a_skip_inside_a_test_fails(tmp_path: Path) -> None:
    done = run(tmp_path, ci=True, module="import pytest\ndef test_shy():\n    pytest.skip('not today')\n")
    assert done.returncode == 1
    assert "in CI nothing may be missing: not today" in done.stdout


def test_in_ci_a_module_that_skips_itself_fails(tmp_path: Path) -> None:
    done = run(tmp_path, ci=True, module="import pytest\npytest.skip('whole module', allow_module_level=True)\n")
    assert done.returncode != 0
    assert "whole module" in done.stdout.split("not run, and why")[1]


def test_a_package_that_is_not_in_the_list_is_a_usage_error(tmp_path: Path) -> None:
    done = run(tmp_path, ci=False, module="import pytest\n@pytest.mark.live('nosuch')\ndef test_x():\n    pass\n")
    assert done.returncode != 0
    assert "tests/packages.txt has no live package nosuch" in done.stdout + done.stderr


def test_without_omissions_there_is_no_such_section(tmp_path: Path) -> None:
    done = run(tmp_path, ci=True, module="def test_x():\n    pass\n")
    assert done.returncode == 0
    assert "not run" not in done.stdout


@pytest.mark.parametrize("marker", ["root", "live"])
def test_the_list_of_packages_has_both_markers(marker: str) -> None:
    lines = CONFTEST.with_name("packages.txt").read_text("utf-8").splitlines()
    rows = [line.split() for line in lines if not line.startswith("#")]
    assert any(row[0] == marker for row in rows)
    assert all(len(row) == 3 for row in rows)
