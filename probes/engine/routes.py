"""Turns a stream's addresses and interface into what the kernel wants, and refuses what this host does not have."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket

from probes.core.errors import LocalError
from probes.engine import control
from probes.engine.address import name_of
from probes.engine.streams import StreamSpec
from probes.engine.transport import Route


def route_of(spec: StreamSpec, port: int) -> Route:
    """Raises LocalError for an address that cannot be probed, an interface or a source this host does not have."""
    address = _address(spec.address, "target")
    if address.is_multicast or address.is_unspecified or address == ipaddress.IPv4Address("255.255.255.255"):
        raise LocalError(f"{spec.address} is not the address of one host", hint="give a unicast address")
    interface = interface_number(spec.interface) if spec.interface is not None else 0
    scope = _scope(spec.address) or (interface if address.is_link_local and address.version == 6 else 0)
    if address.version == 6 and address.is_link_local and not scope:
        raise LocalError(f"{spec.address} is a link-local address", hint=f"name the interface: {spec.address}%eth0")
    if spec.source is not None:
        check_source(spec.source, address.version, scope)
    return Route(
        address.version,
        name_of(spec.address, port, scope),
        control.outgoing(address.version, source=spec.source, interface=interface, dscp=spec.dscp, ttl=spec.ttl),
        spec.interface,
    )


def interface_number(name: str) -> int:
    """Raises LocalError when there is no such interface."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        known = ", ".join(sorted(name for _, name in socket.if_nameindex()))
        raise LocalError(f"there is no interface {name!r} on this host", hint=f"it has: {known}") from None


def check_source(source: str, version: int, scope: int) -> None:
    """Raises LocalError unless this host could send from the address now."""
    address = _address(source, "source")
    if address.version != version:
        raise LocalError(f"source {source} and the target are of different IP versions", hint="give one of the same")
    with socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as trial:
        try:
            where = (str(address), 0) if version == 4 else (str(address).partition("%")[0], 0, 0, scope)
            trial.bind(where)
        except OSError as error:
            reason = (
                "is not an address of this host"
                if error.errno == errno.EADDRNOTAVAIL
                else f"cannot be used: {os.strerror(error.errno or 0)}"
            )
            raise LocalError(f"source {source} {reason}", hint="`ip address` lists those it has") from None


def _address(text: str, what: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise LocalError(f"{what} {text!r} is not a numeric address", hint="like 192.0.2.1 or 2001:db8::1") from None


def _scope(text: str) -> int:
    zone = text.partition("%")[2]
    if not zone:
        return 0
    return int(zone) if zone.isdigit() else interface_number(zone)
