"""What `linkwitness doctor` finds out about a configuration on this host: store, sinks, circuits, buffers."""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from agent.cli.finding import Finding, State
from probes.core.clock import SECOND
from probes.core.errors import LocalError
from probes.core.units import format_bytes

if TYPE_CHECKING:
    from agent.config import AgentConfig, Role, SinkSettings

_MINIMUM_FREE: Final = 64 << 20
_COMFORTABLE_FREE: Final = 1 << 30
_REMOTE_FILE_SYSTEMS: Final = frozenset(("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs"))
_VOLATILE_FILE_SYSTEMS: Final = frozenset(("tmpfs", "ramfs"))
_OCTETS_PER_REPLY: Final = 830
"""What the kernel charges a receive buffer for one small packet."""
_FREEZE_S: Final = 2
"""A pause of this process that should cost no reply."""


def files(config: AgentConfig) -> Iterator[Finding]:
    """Can somebody else rewrite what this agent does?"""
    for file in config.files:
        if file.stat().st_mode & stat.S_IWOTH:
            text = f"everybody on this host can change {file}"
            yield Finding("configuration", State.WARN, text, f"chmod o-w {file}")


def store(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> Iterator[Finding]:
    """Can the agent write here, is there room, and does one run already?"""
    from agent.store.directory import damaged_files, held, owner_of

    place = next(item for item in (path, *path.parents) if item.is_dir())
    owner = owner_of(path)
    if held(path):
        yield Finding("store", State.OK, f"{path} is in use by process {owner.pid if owner else 'unknown'}")
    elif not os.access(place, os.W_OK | os.X_OK):
        text = f"this user cannot {'write to' if place == path else 'create'} {path}"
        yield Finding("store", State.FAIL, text, "give `store.path` a directory of this user, or run as its owner")
    else:
        yield Finding("store", State.OK, f"{path} {'is writable' if place == path else 'can be created'}")
    yield _space(place)
    kind = _file_system(place, mounts)
    if kind in _REMOTE_FILE_SYSTEMS:
        text = f"{kind} cannot hold a store: its locks and shared memory are not those of one host"
        yield Finding("file system", State.FAIL, text, "put `store.path` on a local file system")
    elif kind in _VOLATILE_FILE_SYSTEMS:
        text = f"{kind} forgets everything at the next boot"
        yield Finding("file system", State.WARN, text, "put `store.path` on a disk")
    damaged = damaged_files(path)
    if damaged:
        text = f"{len(damaged)} damaged database files were moved aside, last {damaged[-1]}"
        yield Finding("store history", State.WARN, text, f"check the disk; recover with sqlite3 .recover in {path}")


def _space(place: Path) -> Finding:
    free = shutil.disk_usage(place).free
    remedy = "free some space, or shorten `store.keep_packets`"
    if free < _MINIMUM_FREE:
        return Finding("disk space", State.FAIL, f"{format_bytes(free)} free: samples would be lost", remedy)
    if free < _COMFORTABLE_FREE:
        return Finding("disk space", State.WARN, f"{format_bytes(free)} free", remedy)
    return Finding("disk space", State.OK, f"{format_bytes(free)} free")


def _file_system(place: Path, mounts: Path) -> str:
    """Type of the file system by the longest mount point above a path (proc_pid_mountinfo(5))."""
    best, kind = -1, ""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return kind
    for line in lines:
        fields, _, rest = line.partition(" - ")
        point = Path(fields.split(" ")[4].replace("\\040", " "))
        if place.resolve().is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), rest.split(" ")[0]
    return kind


def circuits(
    config: AgentConfig, find: Callable[[Role], str | None], interfaces: Path = Path("/sys/class/net")
) -> Iterator[Finding]:
    """Does this host have the interfaces, addresses and neighbours that circuits name?"""
    for circuit in config.circuits:
        subject = f"circuit {circuit.id}"
        role = config.discover.get(circuit.id)
        if role is not None and find(role) is None:
            yield Finding(subject, State.WARN, f"this host has no {role}: it is not watched", "remove the circuit")
        if circuit.interface is not None and not (interfaces / circuit.interface).exists():
            known = ", ".join(sorted(item.name for item in interfaces.iterdir())) if interfaces.is_dir() else "none"
            text = f"this host has no interface {circuit.interface}"
            yield Finding(subject, State.FAIL, text, f"name one of {known}")
        if circuit.source is not None and not _is_ours(circuit.source):
            text = f"{circuit.source} is not an address of this host"
            yield Finding(subject, State.FAIL, text, "`ip address` lists those it has")


def _is_ours(address: str) -> bool:
    """Whether a socket can be bound to the address; sends nothing."""
    family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def receive_buffer(config: AgentConfig, maximum: Path = Path("/proc/sys/net/core/rmem_max")) -> Finding:
    """Does the largest receive buffer hold the replies of a short pause of this process?"""
    try:
        octets = int(maximum.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return Finding("receive buffer", State.OK, "limit unknown")
    periods = (probe.parameters.get("every") for circuit in config.circuits for probe in circuit.probes)
    rate = sum(SECOND / every for every in periods if isinstance(every, int) and every > 0)
    # The kernel doubles what it is asked for, to pay for its own bookkeeping.
    holds, needed = 2 * octets // _OCTETS_PER_REPLY, round(rate * _FREEZE_S)
    text = f"net.core.rmem_max {octets} holds {holds} replies; {rate:.0f} a second are expected"
    if holds >= needed:
        return Finding("receive buffer", State.OK, text)
    wanted = 1 << (needed * _OCTETS_PER_REPLY // 2).bit_length()
    return Finding("receive buffer", State.WARN, text, f"sysctl -w net.core.rmem_max={wanted}, or grant CAP_NET_ADMIN")


def secrets(sink: SinkSettings) -> Iterator[Finding]:
    """Can the sink's secrets be read, and do they travel hidden?"""
    subject = f"sink {sink.name}"
    sources = [source for source in (sink.token, sink.password) if source is not None]
    for source in sources:
        try:
            source.read()
        except LocalError as error:
            yield Finding(subject, State.FAIL, error.message, error.hint)
    parts = urlsplit(sink.url)
    if sources and parts.scheme == "http" and not _is_this_host(parts.hostname or ""):
        text = "the secret travels readable for anybody on the way"
        yield Finding(subject, State.WARN, text, "use a URL that starts with https://")


def _is_this_host(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
