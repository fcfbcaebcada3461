"""CPU per ICMP probe, linkwitness beside fping and beside a minimal C engine: `python -m benchmarks.icmp_cpu`.

1,000 targets on loopback in a network namespace of its own, one probe a second to each, every prober as it would be
run: the engine with its defaults and with a real store behind it (what the daemon does with a sample: the live table,
then the store, durable commits, packets and histogram kept); fping with one packet a millisecond; limit_engine.c, built
here with gcc, with the engine's own batching and nothing else. All stamp in the kernel; fping stamps sending itself.
After a warm-up, a window of steady state is measured from outside, the same way for all: CPU of all threads from
/proc/PID/task/*/schedstat, probes from the packet counter of the interface (a probe is two packets there). Rounds run
one after the other in alternating order; the figure is the median of the ratios of the rounds. The kernel's part of an
echo (both ways, on loopback) is in every bill. `--agent` runs the whole agent instead (`linkwitness run`): also its
schedule, self-check, judging and main thread. Needs root, iproute2 and fping.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
NAMESPACE = f"lw-bench-{os.getpid()}"

ENGINE = """
import json, sys
from pathlib import Path
from agent.live import Live
from agent.store import Store
from probes.core.clock import SystemClock
from probes.engine.loop import Engine
from probes.engine.streams import StreamSpec
told = json.loads(sys.argv[1])
clock, live = SystemClock(), Live()
store = Store.open(Path(told["store"]), clock=clock, site="benchmark") if told["store"] else None
received, reported, errors = 0, 0, []
def report(samples):
    global received, reported
    received += int(samples.column("received").sum())
    reported += len(samples)
    live.take(samples)
    live.fresh()
    if store is not None:
        store.append(samples)
def event(kind, text):
    if kind == "engine_error":
        errors.append(text)
engine = Engine(clock=clock, report=report, event=event, **told["settings"])
engine.start()
addresses = Path(told["targets"]).read_text().split()
refused = engine.add([
    StreamSpec(circuit=address, probe="icmp", kind="icmp", address=address, host=address) for address in addresses
])
assert not refused, refused
sys.stdin.read()
engine.close()
kept = reported
if store is not None:
    assert store.flush(30)
    kept = store.counters()["committed"]
    store.close()
print(received, len(errors), reported - kept, flush=True)
"""


@dataclass(frozen=True)
class Run:
    """cpu_us: microseconds of CPU for one probe; rate: probes a second; share: of one core; resident: MB."""

    cpu_us: float
    rate: float
    share: float
    resident: float

    def __str__(self) -> str:
        return f"{self.cpu_us:5.1f} us/probe at {self.rate:6.0f}/s, {self.resident:3.0f} MB"


def inside(*words: str | Path) -> list[str]:
    return ["ip", "netns", "exec", NAMESPACE, *map(str, words)]


def cpu_ns(pid: int) -> int:
    """CPU time of all threads of a process."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat"))


def packets() -> int:
    """Packets sent on the loopback interface of the namespace."""
    said = subprocess.run(["ip", "-n", NAMESPACE, "-j", "-s", "link", "show", "lo"], capture_output=True, check=True)
    return int(json.loads(said.stdout)[0]["stats64"]["tx"]["packets"])


def resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def steady(process: subprocess.Popen[str], warm_up: float, seconds: float) -> Run:
    """Watch a running prober. `ip netns exec` replaces itself, so its process is the prober's."""
    time.sleep(warm_up)
    before = (cpu_ns(process.pid), packets(), time.monotonic())
    time.sleep(seconds)
    after = (cpu_ns(process.pid), packets(), time.monotonic())
    if process.poll() is not None:
        sys.exit(f"the prober ended early: {process.args!r}")
    probes, spent_ns, lasted = (after[1] - before[1]) / 2, after[0] - before[0], after[2] - before[2]
    if not probes:
        sys.exit(f"the prober sent nothing: {process.args!r}")
    return Run(spent_ns / 1e3 / probes, probes / lasted, spent_ns / 1e9 / lasted, resident_mb(process.pid))


@dataclass(frozen=True)
class Contest:
    """The targets and how each prober is run."""

    targets: Path
    folder: Path
    warm_up: float
    seconds: float
    settings: dict[str, int]
    store: bool
    fping_options: list[str]
    limit: Path | None

    def ours(self) -> Run:
        store = self.folder / "store"
        told = {"targets": str(self.targets), "store": str(store) if self.store else "", "settings": self.settings}
        words = inside(sys.executable, "-c", ENGINE, json.dumps(told))
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
            try:
                run = steady(process, self.warm_up, self.seconds)
                output, _ = process.communicate(timeout=60)
            finally:
                process.kill()
                shutil.rmtree(store, ignore_errors=True)
        received, errors, unkept = map(int, output.split())
        # A prober that does not do its work is cheap: only a complete run counts.
        if errors or unkept or received < 0.98 * run.rate * (self.warm_up + self.seconds - 2):
            sys.exit(
                f"no valid run: {received} replies at {run.rate:.0f}/s, {errors} errors, {unkept} samples not kept"
            )
        return run

    def agent(self) -> Run:
        """`linkwitness run` as its service runs it, a circuit for each target."""
        config, store = self.folder / "agent.yaml", self.folder.resolve() / "store"
        circuits = [
            {"name": f"c{number}", "target": target, "probes": [{"kind": "icmp", "every": "1s"}]}
            for number, target in enumerate(self.targets.read_text().split())
        ]
        settings = {"site": "benchmark", "store": {"path": str(store)}, "circuits": circuits}
        config.write_text(json.dumps(settings))  # JSON is YAML
        program = Path(sys.executable).with_name("linkwitness")
        words = inside(program, "run", "--output", "quiet", "-c", config)
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            try:
                run = steady(process, self.warm_up + 6, self.seconds)  # it starts a few hundred streams a second
                process.send_signal(signal.SIGINT)
                output, _ = process.communicate(timeout=60)
            finally:
                process.kill()
        kept = re.search(r"Kept (\d+) samples of (\d+) packets", output)
        if kept is None or int(kept[2]) < 0.98 * run.rate * self.seconds:
            sys.exit(f"no valid run of the agent at {run.rate:.0f}/s: {output}")
        shutil.rmtree(store)
        return run

    def fping(self) -> Run:
        words = inside("fping", "-q", "-l", "-p", "1000", *self.fping_options, "-f", self.targets)
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True) as process:
            try:
                return steady(process, self.warm_up, self.seconds)
            finally:
                process.kill()

    def least(self) -> Run:
        """limit_engine.c with the engine's tick and drain interval."""
        from probes.engine.loop import DRAIN_NS, TICK_NS

        batching = (self.settings.get("tick_ns", TICK_NS), self.settings.get("drain_ns", DRAIN_NS))
        assert self.limit is not None
        words = inside(self.limit, self.targets, *(str(value // 10**6) for value in batching))
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            try:
                run = steady(process, self.warm_up, self.seconds)
                output, _ = process.communicate(timeout=30)
            finally:
                process.kill()
        sent, received, _ = map(int, output.split())
        if received < 0.98 * sent:
            sys.exit(f"no valid run of limit_engine.c: {received} replies of {sent}")
        return run


def built(folder: Path) -> Path | None:
    """limit_engine.c as a program; None, and said, without gcc."""
    if shutil.which("gcc") is None:
        print("limit_engine.c is left out: there is no gcc (hint: apt-get install gcc)")
        return None
    program = folder / "limit_engine"
    subprocess.run(["gcc", "-O2", "-o", program, Path(__file__).with_name("limit_engine.c")], check=True)
    return program


def compare(contest: Contest, pairs: int, *, agent: bool) -> None:
    probers = {"linkwitness": contest.agent if agent else contest.ours, "fping": contest.fping}
    if contest.limit is not None:
        probers["C limit"] = contest.least
    rounds: list[dict[str, Run]] = []
    for number in range(pairs):
        names = list(probers) if number % 2 else list(reversed(probers))
        found = {name: probers[name]() for name in names}
        rounds.append(found)
        print(f"round {number + 1}: " + "; ".join(f"{name} {found[name]}" for name in probers), flush=True)
    for name in list(probers)[1:]:
        ratios = sorted(found["linkwitness"].cpu_us / found[name].cpu_us for found in rounds)
        print(
            f"ratio linkwitness / {name}, median of {len(rounds)}: CPU per probe {statistics.median(ratios):.2f} "
            f"({ratios[0]:.2f} to {ratios[-1]:.2f})"
        )
    own = [found["linkwitness"] for found in rounds]
    print(
        f"linkwitness: {statistics.median(run.share for run in own):.1%} of one core, "
        f"{max(run.resident for run in own):.0f} MB resident at most"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5, help="rounds of all probers")
    parser.add_argument("--targets", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=20, help="steady state measured (two reports of the engine)")
    parser.add_argument("--warm-up", type=float, default=4)
    parser.add_argument("--fping", default=None, metavar="OPTIONS", help="default: '-i 1' for 1,000 targets")
    parser.add_argument("--tick", type=float, default=None, metavar="MS", help="tick of the engine (default: its own)")
    parser.add_argument("--drain", type=float, default=None, metavar="MS", help="how often it reads (default: its own)")
    parser.add_argument("--agent", action="store_true", help="the whole agent instead of engine and store")
    parser.add_argument("--no-store", action="store_true", help="samples are summarised and thrown away")
    arguments = parser.parse_args()
    if os.geteuid() or shutil.which("fping") is None:
        sys.exit("needs root and fping (hint: apt-get install fping)")
    options = (arguments.fping or f"-i {1000 / arguments.targets:g}").split()
    version = subprocess.run(["fping", "--version"], capture_output=True, text=True, check=True).stdout.split()[2]
    print(f"machine: {os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}; Python", end=" ")
    print(f"{platform.python_version()}; peer: fping {version} {' '.join(options)}; {arguments.targets} targets x 1/s;")
    print("samples are summarised" + (" and thrown away" if arguments.no_store else ", shown and stored (full sync)"))
    given = {"tick_ns": arguments.tick, "drain_ns": arguments.drain}
    settings = {name: round(value * 1e6) for name, value in given.items() if value is not None}
    subprocess.run(["ip", "netns", "add", NAMESPACE], check=True)
    folder = Path(tempfile.mkdtemp(prefix="linkwitness-benchmark-", dir="."))
    try:
        subprocess.run(["ip", "-n", NAMESPACE, "link", "set", "lo", "up"], check=True)
        targets = folder / "targets"
        numbers = range(arguments.targets)
        targets.write_text("".join(f"127.{n // 62_500}.{1 + n // 250 % 250}.{1 + n % 250}\n" for n in numbers))
        contest = Contest(
            targets, folder, arguments.warm_up, arguments.seconds, settings, not arguments.no_store, options,
            built(folder),
        )  # fmt: skip
        compare(contest, arguments.pairs, agent=arguments.agent)
    finally:
        subprocess.run(["ip", "netns", "del", NAMESPACE], check=True)
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
