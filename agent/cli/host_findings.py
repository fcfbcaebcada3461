"""What `linkwitness doctor` finds out about the host and this installation, whatever the configuration says."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module, metadata
from pathlib import Path
from typing import Final

from agent.cli.finding import Finding, State
from probes.core.clock import MILLISECOND, SECOND, ClockQuality
from probes.core.errors import LocalError, PrivilegeError
from probes.core.units import format_duration

DISTRIBUTION: Final = "linkwitness"
PACKAGES: Final = ("agent", "probes")
_CAPABILITIES: Final = {10: "CAP_NET_BIND_SERVICE", 12: "CAP_NET_ADMIN", 13: "CAP_NET_RAW", 25: "CAP_SYS_TIME"}
_ALL_CAPABILITIES: Final = 38
_LARGE_CLOCK_ERROR_NS: Final = 100 * MILLISECOND
_SHORT_WATCHDOG_NS: Final = 10 * SECOND
_WAL_RESET_FIXED: Final = (3, 51, 3)
_WAL_RESET_BACKPORTS: Final = ((3, 44, 6), (3, 50, 7))

OpenIcmp = Callable[[int], bool]
"""Opens and closes an echo socket for an IP version; True where it was a raw one. Raises LocalError."""


def privileges(open_icmp: OpenIcmp, proc: Path = Path("/proc")) -> Iterator[Finding]:
    """May this process send ICMP, by which right, and which others does it hold."""
    for family in (4, 6):
        subject = f"icmp ipv{family}"
        try:
            raw = open_icmp(family)
        except PrivilegeError as error:
            yield Finding(subject, State.WARN, error.message, error.hint)
        except LocalError as error:
            state = State.WARN if family == 4 else State.OK
            yield Finding(subject, state, error.message, error.hint if family == 4 else "")
        else:
            way = "by a raw socket (CAP_NET_RAW)" if raw else "by an unprivileged socket (ping_group_range)"
            yield Finding(subject, State.OK, f"permitted, {way}")
    groups = _word(proc / "sys/net/ipv4/ping_group_range").replace("\t", " ") or "unknown"
    yield Finding("capabilities", State.OK, f"{_capabilities(proc)}; net.ipv4.ping_group_range is {groups}")


def _word(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _capabilities(proc: Path) -> str:
    lines = dict(line.split(":\t", 1) for line in _word(proc / "self/status").splitlines() if ":\t" in line)
    try:
        held = int(lines["CapEff"], 16)
    except (KeyError, ValueError):
        return "unknown"
    if not held:
        return "none"
    if held.bit_count() >= _ALL_CAPABILITIES:
        return "all (root)"
    named = [name for bit, name in _CAPABILITIES.items() if held >> bit & 1]
    others = held.bit_count() - len(named)
    return ", ".join(named + ([f"{others} more"] if others else []))


def clock(quality: ClockQuality) -> Finding:
    """Is the wall clock disciplined? It labels samples; delays do not depend on it."""
    remedy = "start chrony, ntpd or systemd-timesyncd (timedatectl set-ntp true)"
    if not quality.synchronised:
        text = "not synchronised: samples may carry a wrong time, and days and months begin wrongly"
        return Finding("clock", State.WARN, text, remedy)
    if quality.maximum_error_ns is None:
        return Finding("clock", State.OK, "synchronised, error unknown")
    error = f"error at most {quality.maximum_error_ns / MILLISECOND:.1f} ms"
    if quality.maximum_error_ns > _LARGE_CLOCK_ERROR_NS:
        return Finding("clock", State.WARN, f"synchronised, but {error}", "chronyc tracking; prefer nearer servers")
    return Finding("clock", State.OK, f"synchronised, {error}")


def sqlite(version: tuple[int, int, int] = sqlite3.sqlite_version_info[:3]) -> Finding:
    """Which SQLite, and whether it has the race that makes one writing connection a must."""
    text = ".".join(str(part) for part in version)
    backport = next((fixed for fixed in _WAL_RESET_BACKPORTS if fixed[:2] == version[:2]), None)
    if version >= _WAL_RESET_FIXED or (backport is not None and version >= backport):
        return Finding("sqlite", State.OK, text)
    note = "has the WAL-reset race fixed in 3.51.3; harmless here, because one connection alone writes and checkpoints"
    return Finding("sqlite", State.OK, f"{text}: {note}", "do not write to the store with other programs")


def packages(owners: Mapping[str, list[str]] | None = None) -> Iterator[Finding]:
    """Whose `agent` and `probes` are these? Another distribution may have put its own in the way."""
    found = metadata.packages_distributions() if owners is None else owners
    for package in PACKAGES:
        place = Path(import_module(package).__file__ or "").parent
        strangers = sorted(set(found.get(package, [])) - {DISTRIBUTION})
        subject = f"package {package}"
        if strangers:
            yield Finding(
                subject,
                State.FAIL,
                f"{', '.join(strangers)} has installed a package of this name, too; in use is {place}",
                f"give {DISTRIBUTION} an environment of its own, or: pip uninstall {' '.join(strangers)}",
            )
        elif package in found:
            yield Finding(subject, State.OK, f"belongs to {DISTRIBUTION} {metadata.version(DISTRIBUTION)}, {place}")
        else:
            yield Finding(subject, State.OK, f"runs from the source tree, {place}")


def service(environment: Mapping[str, str] | None = None, booted: Path = Path("/run/systemd/system")) -> Finding:
    """Does systemd run this process, and does it watch it?"""
    source = os.environ if environment is None else environment
    watchdog = source.get("WATCHDOG_USEC", "")
    if not source.get("NOTIFY_SOCKET"):
        if watchdog:
            return Finding(
                "service", State.WARN, "systemd wants signs of life, but gives no NOTIFY_SOCKET", "use Type=notify"
            )
        manager = "systemd runs this host" if booted.is_dir() else "systemd does not run this host"
        return Finding("service", State.OK, f"not started as a service; {manager}")
    if not watchdog.isdecimal():
        return Finding(
            "service", State.WARN, "started by systemd without a watchdog: a hang is not noticed", "set WatchdogSec=30"
        )
    period = int(watchdog) * 1000
    if period < _SHORT_WATCHDOG_NS:
        text = f"the watchdog bites after {format_duration(period)}, which a busy disk can take"
        return Finding("service", State.WARN, text, "set WatchdogSec=30")
    return Finding("service", State.OK, f"started by systemd, watchdog after {format_duration(period)}")
