"""A machine with systemd as PID 1 for the installed service: this host's files under an overlay, in systemd-nspawn.

Boots in about a second to a target of its own, in which no other service of the host starts. Needs root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "systemd"
HOME = "/opt/linkwitness"
HIERARCHIES = ("systemd", "unified")
DEADLINE_S = 30.0

TARGET = """[Unit]
Requires=basic.target dbus.service
After=basic.target dbus.service
AllowIsolate=yes
"""

LAUNCHER = f"""#!{HOME}/bin/python
import sys
sys.path.insert(0, "{HOME}/src")
from agent.cli.main import entry
sys.exit(entry())
"""


class MachineError(Exception):
    """The machine did not come up, or a command in it failed."""


class Machine:
    """A booted machine with the project's units and program installed. Close it."""

    def __init__(self, folder: Path, *, prepare: Callable[[Path], None]) -> None:
        """`prepare` is given the machine's root before it boots."""
        self.root = folder / "root"
        self.console = folder / "console"
        self.group = f"lw-{os.getpid()}-machine"
        self._stack = ExitStack()
        try:
            self._mount(folder)
            self._install()
            prepare(self.root)
            self._boot()
        except BaseException:
            self._stack.close()
            raise

    def _mount(self, folder: Path) -> None:
        upper, work = folder / "upper", folder / "work"
        for path in (self.root, upper, work):
            path.mkdir()
        _run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir=/,upperdir={upper},workdir={work}", str(self.root))
        self._stack.callback(_run, "umount", "--lazy", str(self.root))
        (self.root / "etc/machine-id").write_text("")

    def _install(self) -> None:
        """The units in their places, the program below /opt as a package would put it."""
        places = {
            "*.service": "etc/systemd/system",
            "*.socket": "etc/systemd/system",
            "*.sysusers.conf": "usr/lib/sysusers.d",
            "*.tmpfiles.conf": "usr/lib/tmpfiles.d",
        }
        for pattern, place in places.items():
            for path in UNITS.glob(pattern):
                name = path.name.replace(".sysusers.conf", ".conf").replace(".tmpfiles.conf", ".conf")
                shutil.copy(path, self.root / place / name)
        (self.root / "etc/systemd/system/lab.target").write_text(TARGET, "utf-8")
        _run("systemd-sysusers", f"--root={self.root}", "linkwitness.conf")
        home = self.root / HOME.lstrip("/")
        _run("/usr/bin/python3", "-m", "venv", "--without-pip", "--symlinks", str(home))
        launcher = home / "bin/linkwitness"
        launcher.write_text(LAUNCHER, "utf-8")
        launcher.chmod(0o755)

    def _boot(self) -> None:
        library = f"{HOME}/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
        binds = {sysconfig.get_path("purelib"): library}
        binds |= {str(ROOT / package): f"{HOME}/src/{package}" for package in ("agent", "probes")}
        groups = [Path("/sys/fs/cgroup") / name / self.group for name in HIERARCHIES]
        for group in groups:
            group.mkdir(exist_ok=True)
            self._stack.callback(_remove_group, group)
        words = ["systemd-nspawn", "-q", "-D", str(self.root), "-M", self.group, "--boot", "--register=no"]
        words += ["--keep-unit", "--console=pipe", "--private-network", "--system-call-filter=adjtimex clock_adjtime"]
        words += [f"--bind-ro={source}:{place}" for source, place in binds.items()]
        words += ["systemd.unit=lab.target"]
        join = "".join(f"echo $$ > {group}/cgroup.procs; " for group in groups)
        with self.console.open("wb") as console:
            self._nspawn = subprocess.Popen(
                ["sh", "-c", f'{join}exec "$@"', "sh", *words], stdin=subprocess.DEVNULL, stdout=console, stderr=console
            )
        self._stack.callback(self._end)
        self._leader = self._wait("has no first process", self._find_leader)
        self._wait(
            "does not reach its target", lambda: self.run("systemctl", "is-active", "-q", "lab.target") is not None
        )

    def _find_leader(self) -> str | None:
        done = subprocess.run(["pgrep", "-P", str(self._nspawn.pid)], capture_output=True, text=True, check=False)
        return done.stdout.split()[0] if done.stdout else None

    def _wait(self, what: str, question: Callable[[], object]) -> str:
        answer = wait_for(question)
        if not answer:
            raise MachineError(f"the machine {what}: {self.console.read_text('utf-8', 'replace')[-2000:]}")
        return str(answer)

    def run(self, *words: str, timeout: float = DEADLINE_S) -> str | None:
        """Standard output of a command in the machine, or None when it failed."""
        done = self.attempt(*words, timeout=timeout)
        return done.stdout if done.returncode == 0 else None

    def attempt(self, *words: str, timeout: float = DEADLINE_S) -> subprocess.CompletedProcess[str]:
        enter = ["nsenter", "-t", self._leader, "-m", "-u", "-i", "-n", "-p", "-r", "-w", *words]
        return subprocess.run(enter, capture_output=True, text=True, check=False, timeout=timeout)

    def show(self, unit: str, *names: str) -> dict[str, str]:
        """Properties of a unit."""
        output = self.run("systemctl", "show", unit, *(f"-p{name}" for name in names)) or ""
        return dict(line.split("=", 1) for line in output.splitlines())

    def journal(self, unit: str) -> str:
        return self.run("journalctl", "--no-pager", "-o", "cat", "-u", unit) or ""

    def _end(self) -> None:
        if self._nspawn.poll() is None:
            self._nspawn.kill()
        self._nspawn.wait(DEADLINE_S)

    def close(self) -> None:
        """Power off, then take everything down."""
        if self._nspawn.poll() is None:
            self.run("systemctl", "poweroff", "--no-block")
            wait_for(lambda: self._nspawn.poll() is not None, 10)
        self._stack.close()


def wait_for(question: Callable[[], object], seconds: float = DEADLINE_S) -> object:
    """The first true answer within the time, or None."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := question():
            return answer
        time.sleep(0.05)
    return None


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    if done.returncode:
        raise MachineError(f"{' '.join(words)}: {done.stderr}")


def _remove_group(group: Path) -> None:
    """cgroups below first; a group in use for a moment after its last process ended is tried again."""

    def gone() -> bool:
        for path in sorted((entry for entry in group.rglob("*") if entry.is_dir()), reverse=True):
            _rmdir(path)
        _rmdir(group)
        return not group.exists()

    wait_for(gone, 5)


def _rmdir(path: Path) -> None:
    try:
        path.rmdir()
    except OSError:
        return
