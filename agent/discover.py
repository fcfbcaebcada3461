"""What this host itself is attached to: its default gateway and its resolver, read from the kernel and resolv.conf."""

import ipaddress
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Role = Literal["gateway", "resolver"]

_ROUTE_UP_AND_GATEWAY = 0x3


@dataclass(frozen=True, slots=True)
class HostFiles:
    """Where to read; tests give their own."""

    route: Path = Path("/proc/net/route")
    ipv6_route: Path = Path("/proc/net/ipv6_route")
    resolv_conf: Path = Path("/etc/resolv.conf")


def find(role: Role, files: HostFiles | None = None) -> str | None:
    """Numeric address of the default gateway or of the first resolver; None when this host has none."""
    where = files or HostFiles()
    if role == "resolver":
        return _resolver(where.resolv_conf)
    return _gateway4(where.route) or _gateway6(where.ipv6_route)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _gateway4(path: Path) -> str | None:
    """The default route of lowest metric. Columns of proc(5): Iface Destination Gateway Flags ... Metric Mask."""
    best: tuple[int, str] | None = None
    for line in _lines(path)[1:]:
        columns = line.split()
        if len(columns) < 8 or columns[1] != "00000000" or columns[7] != "00000000":
            continue
        if int(columns[3], 16) & _ROUTE_UP_AND_GATEWAY != _ROUTE_UP_AND_GATEWAY:
            continue
        address = socket.inet_ntoa(bytes.fromhex(columns[2])[::-1])
        candidate = (int(columns[6]), address)
        best = candidate if best is None else min(best, candidate)
    return best[1] if best else None


def _gateway6(path: Path) -> str | None:
    """The IPv6 default route of lowest metric; a link-local gateway carries its interface as zone."""
    best: tuple[int, str] | None = None
    for line in _lines(path):
        columns = line.split()
        if len(columns) < 10 or columns[0] != "0" * 32 or columns[1] != "00" or columns[4] == "0" * 32:
            continue
        address = ipaddress.IPv6Address(bytes.fromhex(columns[4]))
        text = f"{address}%{columns[9]}" if address.is_link_local else str(address)
        candidate = (int(columns[5], 16), text)
        best = candidate if best is None else min(best, candidate)
    return best[1] if best else None


def _resolver(path: Path) -> str | None:
    for line in _lines(path):
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            try:
                return str(ipaddress.ip_address(words[1]))
            except ValueError:
                continue
    return None
