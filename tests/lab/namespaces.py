"""A network of three namespaces: near host, emulated link, far host. Needs root, iproute2 and ethtool.

Names carry the process that owns them (`lw-PID-START-...`), so that what a killed run left behind can be told from
what a living one uses, and is removed by the next run.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lab.emulator_log import EmulatorLog
from tests.lab.record import Way

PREFIX = "lw"
ROOT = Path(__file__).parents[2]
ADDRESSES = {"near": ("198.51.100.1", "2001:db8:77::1"), "far": ("198.51.100.2", "2001:db8:77::2")}
DEADLINE_S = 10.0
SECOND = 1_000_000_000

_numbers = itertools.count(1)


class LabError(Exception):
    """The lab could not be built or did not do as told."""


def started(pid: int) -> str | None:
    """Start time of a process in clock ticks since boot (proc(5) stat field 22), or None when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return None
    return stat.rpartition(")")[2].split()[19]


def command(*words: str | Path, check: bool = True, text: str | None = None) -> str:
    """Run one short command; its standard output. Raises LabError with what it said on standard error."""
    done = subprocess.run(
        [str(word) for word in words], input=text, capture_output=True, text=True, check=False, timeout=DEADLINE_S
    )
    if check and done.returncode:
        raise LabError(f"{' '.join(map(str, words))}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def namespaces() -> list[str]:
    return [line.split()[0] for line in command("ip", "netns", "list").splitlines() if line.strip()]


def sweep() -> list[str]:
    """Remove namespaces, and processes in them, whose owner is dead. Touches only names this module makes."""
    removed = []
    for name in namespaces():
        match = re.fullmatch(rf"{PREFIX}-(\d+)-(\d+)-\d+-[a-z]+", name)
        if match and started(int(match[1])) != match[2]:
            remove(name)
            removed.append(name)
    return removed


def remove(name: str) -> None:
    """End what still runs in a namespace and delete it."""
    for word in command("ip", "netns", "pids", name, check=False).split():
        try:
            os.kill(int(word), signal.SIGKILL)
        except ProcessLookupError:
            continue
    command("ip", "netns", "delete", name, check=False)


@dataclass(slots=True)
class Host:
    """One end of the circuit: a namespace with the interface `wan0`."""

    name: str
    ipv4: str
    ipv6: str
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def address(self, family: int) -> str:
        return self.ipv4 if family == 4 else self.ipv6

    def enter(self, words: Sequence[str | Path]) -> list[str]:
        """The words as a command line that runs in this namespace."""
        return ["ip", "netns", "exec", self.name, *map(str, words)]

    def popen(self, words: Sequence[str | Path], **options: Any) -> subprocess.Popen[str]:
        """Start a program here. Ended with the lab, if it has not ended before."""
        process = subprocess.Popen(self.enter(words), **({"text": True, "cwd": ROOT} | options))
        self.processes.append(process)
        return process

    def run(
        self, words: Sequence[str | Path], *, timeout: float = 60, check: bool = True, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a program here to its end."""
        given = {"text": True, "capture_output": True, "cwd": ROOT} | options
        done = subprocess.run(self.enter(words), timeout=timeout, check=False, **given)
        if check and done.returncode:
            raise LabError(f"{' '.join(map(str, words))}: exit {done.returncode}: {done.stderr or done.stdout}")
        return done

    def python(self, *words: str | Path, **options: Any) -> subprocess.Popen[str]:
        """Start this Python here, with the same environment of packages."""
        return self.popen([sys.executable, *words], **options)

    def ip(self, *words: str) -> str:
        return command("ip", "-n", self.name, *words)

    def tc(self, *words: str) -> None:
        """Traffic control, such as `tc("qdisc", "add", "dev", "wan0", "root", "tbf", ...)`."""
        command("tc", "-n", self.name, *words)

    def sysctl(self, **settings: object) -> None:
        """Set values; `__` stands for the dot: net__ipv4__icmp_ratelimit=0."""
        pairs = [f"{name.replace('__', '.')}={value}" for name, value in settings.items()]
        self.run(["sysctl", "-q", "-w", *pairs])

    def ping_group_range(self, low: int, high: int) -> None:
        """Who may open ICMP datagram sockets; (1, 0) is nobody, the kernel's default."""
        self.sysctl(net__ipv4__ping_group_range=f"{low} {high}")

    def nft(self, rules: str) -> None:
        """Load a ruleset into this namespace."""
        command("ip", "netns", "exec", self.name, "nft", "-f", "-", text=rules)

    def counters(self) -> dict[str, dict[str, int]]:
        """Packets and octets of each interface, as the kernel counts them."""
        found = json.loads(command("ip", "-n", self.name, "-j", "-s", "link", "show"))
        return {
            link["ifname"]: {
                f"{way}_{what}": int(link["stats64"][way][what])
                for way in ("rx", "tx")
                for what in ("packets", "bytes")
            }
            for link in found
        }

    def close(self) -> None:
        for process in self.processes:
            end(process)


def end(process: subprocess.Popen[str], timeout: float = 5) -> None:
    """SIGTERM, then SIGKILL."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout)
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()


class Link:
    """The emulated circuit between the hosts; changes take effect at once."""

    def __init__(self, namespace: str, log: Path, *, seed: str, spin_us: int, settings: Mapping[str, object]) -> None:
        self.path = log
        self.errors = log.with_suffix(".stderr")
        self.outages: dict[Way, list[tuple[int, int]]] = {Way.FORWARD: [], Way.BACKWARD: []}
        self.summary: dict[str, Any] | None = None
        words = ["ip", "netns", "exec", namespace, sys.executable, "-m", "tests.lab.emulator"]
        words += ["--near", "near0", "--far", "far0", "--log", str(log), "--seed", seed, "--spin-us", str(spin_us)]
        words += ["--settings", json.dumps(settings)]
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, bufsize=0
            )
        self._unread = b""
        self._answer("ready")

    def _answer(self, name: str) -> dict[str, Any]:
        output = self.process.stdout
        assert output is not None
        deadline = time.monotonic() + DEADLINE_S
        while b"\n" not in self._unread:
            ready, _, _ = select.select([output], [], [], max(0.0, deadline - time.monotonic()))
            data = output.read(65_536) if ready else b""
            if not data:
                raise LabError(f"the emulator gave no {name!r}: {self.errors.read_text('utf-8', 'replace')}")
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise LabError(f"the emulator refuses: {answer['error']}")
        return answer

    def _ask(self, order: Mapping[str, object]) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        return self._answer(str(order))

    def set(
        self, forward: Mapping[str, object] | None = None, backward: Mapping[str, object] | None = None
    ) -> dict[str, Any]:
        """Change settings (names and units of impairment.Impairment); what is not named stays. Returns all of them."""
        return self._ask({"set": {"forward": dict(forward or {}), "backward": dict(backward or {})}})

    def delay(self, milliseconds: float) -> None:
        """The same delay each way."""
        both = {"delay_ns": round(milliseconds * 1e6)}
        self.set(forward=both, backward=both)

    def outage(
        self, seconds: float, *, after: float = 0.0, ways: Sequence[Way] = (Way.FORWARD, Way.BACKWARD)
    ) -> tuple[int, int]:
        """Drop all that arrives, from `after` seconds from now; returns at once with (start_ns, end_ns) in UTC."""
        start = time.time_ns() + round(after * SECOND)
        return self._outage((start, start + round(seconds * SECOND)), ways)

    def outage_at_second(self, after: int, seconds: int) -> tuple[int, int]:
        """Drop all that arrives, from a whole second of UTC more than `after` seconds away; (start_ns, end_ns)."""
        start = (time.time_ns() // SECOND + 1 + after) * SECOND
        return self._outage((start, start + seconds * SECOND), (Way.FORWARD, Way.BACKWARD))

    def _outage(self, window: tuple[int, int], ways: Sequence[Way]) -> tuple[int, int]:
        for way in ways:
            self.outages[way].append(window)
        self.set(**{way.name.lower(): {"outages": self.outages[way]} for way in ways})
        return window

    def flush(self) -> dict[str, Any]:
        """Write what the emulator did so far to its log; its counters."""
        return self._ask({"flush": True})

    def close(self) -> dict[str, Any]:
        """Stop; what is still held is dropped and logged so. Returns the last counters."""
        if self.summary is None:
            try:
                self._ask({"stop": True})
                self.summary = self._answer("stopped")
                self.process.wait(DEADLINE_S)
            finally:
                self.kill()
        return self.summary

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(DEADLINE_S)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()


class Lab:
    """near (`wan0`) <-> emulated link <-> far (`wan0`), IPv4 and IPv6, neighbours resolved through the link."""

    def __init__(
        self,
        folder: Path,
        *,
        seed: str = "1",
        spin_us: int = 150,
        mtu: int = 1500,
        forward: Mapping[str, object] | None = None,
        backward: Mapping[str, object] | None = None,
    ) -> None:
        sweep()
        stem = f"{PREFIX}-{os.getpid()}-{started(os.getpid())}-{next(_numbers)}"
        self.middle = f"{stem}-link"
        self.near = Host(f"{stem}-near", *ADDRESSES["near"])
        self.far = Host(f"{stem}-far", *ADDRESSES["far"])
        self._stack = ExitStack()
        try:
            for name in (self.near.name, self.middle, self.far.name):
                command("ip", "netns", "add", name)
                self._stack.callback(remove, name)
            self._wire(mtu)
            settings = {"forward": dict(forward or {}), "backward": dict(backward or {})}
            self.link = Link(self.middle, folder / "link.log", seed=seed, spin_us=spin_us, settings=settings)
            self._stack.callback(self.link.kill)
            for host in (self.near, self.far):
                self._stack.callback(host.close)
                host.ip("link", "set", "wan0", "up")
        except BaseException:
            self._stack.close()
            raise

    def _wire(self, mtu: int) -> None:
        """Links stay down at the hosts' ends until the emulator listens, so that its log misses no frame."""
        for host, inner in ((self.near, "near0"), (self.far, "far0")):
            quiet = "net.ipv6.conf.{}.{}={}"
            settings = [quiet.format(scope, "accept_dad", 0) for scope in ("all", "default")]
            settings += [
                quiet.format("default", "router_solicitations", 0),
                "net.ipv6.conf.default.keep_addr_on_down=1",
            ]
            host.run(["sysctl", "-q", "-w", *settings])
            off = [quiet.format(scope, "disable_ipv6", 1) for scope in ("all", "default")]
            command("ip", "netns", "exec", self.middle, "sysctl", "-q", "-w", *off)
            host.ip("link", "add", "wan0", "mtu", str(mtu), "type", "veth", "peer", "name", inner, "netns", self.middle)
            command("ip", "-n", self.middle, "link", "set", inner, "mtu", str(mtu), "up")
            offloads = [word for name in ("tx", "rx", "gso", "tso", "gro") for word in (name, "off")]
            for name, interface in ((host.name, "wan0"), (self.middle, inner)):
                command("ip", "netns", "exec", name, "ethtool", "-K", interface, *offloads)
            host.ip("link", "set", "lo", "up")
            host.ip("address", "add", f"{host.ipv4}/24", "dev", "wan0")
            host.ip("address", "add", f"{host.ipv6}/64", "dev", "wan0", "nodad")

    def log(self) -> EmulatorLog:
        """What the link did so far; frames it still holds are not in it."""
        if self.link.summary is None:
            self.link.flush()
        return EmulatorLog.read(self.link.path)

    def audit(self) -> EmulatorLog:
        """Stop hosts and link, then compare the log with the kernel's counters. The whole log. Raises LogError."""
        if self.link.summary is None:
            for host in (self.near, self.far):
                host.close()
                host.ip("link", "set", "wan0", "down")
            self.link.close()
        counters = Host(self.middle, "", "").counters()
        overflowed = (self.link.summary or {})["overflowed"]
        taken = [counters[name]["rx_packets"] for name in ("near0", "far0")]
        received = [count - lost for count, lost in zip(taken, overflowed, strict=True)]
        log = EmulatorLog.read(self.link.path)
        log.audit(received, [counters[name]["tx_packets"] for name in ("far0", "near0")])
        return log

    def close(self) -> None:
        """Take everything down. Safe to call twice."""
        self._stack.close()
