"""The scripts behind `make`: packages come without their services, and nothing is fetched twice."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OTHERS = "#!/bin/sh\n# the administrator's own\nexit 0\n"

APT = """#!/bin/sh
echo "$@" >>"$0.calls"
"$POLICY_RC_D"; echo "policy $?" >>"$0.calls"
case "$1" in update) touch "$0.updated"; exit 0;; esac
[ ! -e "$0.stale" ] || [ -e "$0.updated" ] || exit 100
[ ! -e "$0.broken" ] || exit 100
"""


class Sandbox:
    """tests/packages.sh with an apt-get of our own, and a list of packages that are not there."""

    def __init__(self, folder: Path, *, user: int = 0) -> None:
        self.folder, self.policy, self.apt = folder, folder / "policy-rc.d", folder / "bin/apt-get"
        self.apt.parent.mkdir()
        shutil.copy(ROOT / "tests/packages.sh", folder)
        self.want("root lw-one lw-no-such-one\nlive lw-two lw-no-such-two\nlive lw-one lw-no-such-one\nroot here sh\n")
        self.program("apt-get", APT)
        self.program("id", f"#!/bin/sh\necho {user}\n")

    def want(self, rows: str) -> None:
        (self.folder / "packages.txt").write_text(f"# comment\n{rows}", "utf-8")

    def program(self, name: str, text: str) -> None:
        path = self.apt.with_name(name)
        path.write_text(text, "utf-8")
        path.chmod(0o755)

    def run(self) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PATH": f"{self.apt.parent}:{os.environ['PATH']}", "POLICY_RC_D": str(self.policy)}
        return subprocess.run(
            [self.folder / "packages.sh"], env=environment, capture_output=True, text=True, check=False, timeout=30
        )

    def calls(self) -> list[str]:
        path = Path(f"{self.apt}.calls")
        return path.read_text("utf-8").splitlines() if path.exists() else []


def test_only_what_is_missing_is_installed_and_no_service_may_start(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path)
    assert sandbox.run().returncode == 0
    install, policy = sandbox.calls()
    assert install.split()[0] == "install"
    assert install.split()[-2:] == ["lw-one", "lw-two"]
    assert "--no-install-recommends" in install
    assert policy == "policy 101"
    assert not sandbox.policy.exists()


def test_the_administrators_policy_comes_back(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path)
    sandbox.policy.write_text(OTHERS, "utf-8")
    sandbox.policy.chmod(0o755)
    assert sandbox.run().returncode == 0
    assert "policy 101" in sandbox.calls()
    assert sandbox.policy.read_text("utf-8") == OTHERS
    assert os.access(sandbox.policy, os.X_OK)


def test_what_a_killed_run_left_is_put_right(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path)
    sandbox.policy.write_text("#!/bin/sh\n# linkwitness tests: no service starts\nexit 101\n", "utf-8")
    Path(f"{sandbox.policy}.linkwitness").write_text(OTHERS, "utf-8")
    assert sandbox.run().returncode == 0
    assert sandbox.policy.read_text("utf-8") == OTHERS


def test_stale_lists_are_updated_once_and_tried_again(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path)
    Path(f"{sandbox.apt}.stale").touch()
    assert sandbox.run().returncode == 0
    assert [call.split()[0] for call in sandbox.calls() if not call.startswith("policy")] == [
        "install",
        "update",
        "install",
    ]


def test_a_failure_is_a_failure_and_the_policy_comes_back_all_the_same(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path)
    sandbox.policy.write_text(OTHERS, "utf-8")
    sandbox.policy.chmod(0o755)
    Path(f"{sandbox.apt}.broken").touch()
    assert sandbox.run().returncode != 0
    assert sandbox.policy.read_text("utf-8") == OTHERS


def test_without_root_it_says_what_is_missing_and_goes_on(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path, user=1000)
    done = sandbox.run()
    assert done.returncode == 0
    assert "not installed: lw-one lw-two" in done.stderr
    assert sandbox.calls() == []


def test_with_everything_there_it_does_nothing(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path)
    sandbox.want("root here sh\n")
    done = sandbox.run()
    assert (done.returncode, done.stderr, sandbox.calls()) == (0, "", [])


@pytest.mark.parametrize("script", [".ci/run", ".ci/environment", "tests/packages.sh"])
def test_scripts_are_plain_shell_and_executable(script: str) -> None:
    path = ROOT / script
    assert os.access(path, os.X_OK)
    assert path.read_text("utf-8").startswith("#!/bin/sh\n")
    subprocess.run(["sh", "-n", path], check=True, timeout=10)


def test_make_help_names_every_target() -> None:
    output = subprocess.run(["make", "-C", ROOT, "help"], capture_output=True, text=True, check=True, timeout=10).stdout
    for target in ("run", "test", "setup", "lint", "types", "unit", "lab", "live", "bench", "clean"):
        assert f"make {target}\t" in output
