"""What the agent orders from the child that traces, and what the child found: frozen types and their JSON. Pure.

Both ends check what they read: a field that is missing, unknown or of another type is a PacketError.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar

from probes.core.errors import PacketError
from probes.core.model import Label

PROTOCOLS: Final = ("udp", "icmp", "tcp")
LARGEST: Final = 1 << 20
"""Octets of an order or of findings, at most."""


class Purpose(StrEnum):
    """What a packet was sent for."""

    HOP = "hop"
    """to learn who answers at its ttl"""
    SIZE = "size"
    """to learn whether its size reaches the target"""
    REACH = "reach"
    """to learn how far a size gets that does not reach the target"""


class Said(StrEnum):
    """What an answer means."""

    EXCEEDED = "exceeded"
    """ttl exceeded in transit: a hop"""
    TARGET = "target"
    """the target itself answered"""
    TOO_BIG = "too_big"
    """fragmentation needed, packet too big"""
    ERROR = "error"
    """another ICMP error of somebody else"""


@dataclass(frozen=True, slots=True)
class Order:
    """One trace. Addresses are numeric; times in ns; size in octets of the whole IP packet."""

    family: int
    target: str
    protocol: str
    port: int
    """destination port of udp and tcp"""
    flow: int
    """32 bits from which source port, identifier, flow label and checksum follow: the same for the same flow"""
    source: str | None = None
    interface: str | None = None
    dscp: int = 0
    max_hops: int = 30
    probes: int = 3
    """packets for each hop"""
    timeout_ns: int = 1_000_000_000
    size: int = 60
    silent: int = 5
    """hops in a row without an answer after which the trace ends"""
    mtu: bool = True
    """look for the path MTU"""
    budget_ns: int = 60_000_000_000
    """the child returns what it has after this time"""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to one packet. at_ns: UTC, by the kernel unless user_stamp."""

    address: str
    said: Said
    at_ns: int
    type: int
    """of the ICMP message; -1 for TCP and UDP"""
    code: int
    user_stamp: bool = False
    labels: tuple[Label, ...] = ()
    dscp: int | None = None
    """of our packet, as quoted"""
    mtu: int | None = None


@dataclass(frozen=True, slots=True)
class Shot:
    """One packet that was sent. at_ns: UTC, by the kernel unless user_stamp."""

    ttl: int
    size: int
    purpose: Purpose
    at_ns: int
    user_stamp: bool = False
    reply: Reply | None = None


@dataclass(frozen=True, slots=True)
class Findings:
    """What a trace found. `source`: the address packets were sent from."""

    source: str
    shots: tuple[Shot, ...]
    not_sent: int = 0
    reason: str | None = None
    """why packets were not sent"""
    looped: bool = False
    """ended because the same hops came again and again"""
    mtu: int | None = None
    """path MTU in octets"""
    hole: int | None = None
    """smallest size that vanishes without a word; None where every size that was too big was told so"""
    unsized: str | None = None
    """why there is no path MTU although it was looked for"""
    exhausted: bool = False
    """the time was over before all was done"""
    unreadable: int = 0
    """packets that came and could not be dissected"""


T = TypeVar("T", Order, Findings)


def encode(value: Order | Findings) -> bytes:
    """One line of JSON with its end."""
    return json.dumps(dataclasses.asdict(value), separators=(",", ":")).encode() + b"\n"


def decode(kind: type[T], data: bytes) -> T:
    """Inverse of encode. Raises PacketError."""
    if len(data) > LARGEST:
        raise PacketError(f"{len(data)} octets are too many for {kind.__name__.lower()}")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise PacketError(f"no JSON where {kind.__name__.lower()} should be") from None
    built = _built(kind, value)
    assert isinstance(built, kind)
    return built


def _built(kind: Any, value: object) -> Any:
    """The value as the annotation `kind` wants it."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:
        return None if value is None else _built(arguments[0], value)
    if origin is tuple and isinstance(value, list):
        return tuple(_built(arguments[0], item) for item in value)
    if isinstance(kind, type) and issubclass(kind, StrEnum) and isinstance(value, str):
        try:
            return kind(value)
        except ValueError:
            raise PacketError(f"{value!r} is no {kind.__name__.lower()}") from None
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        hints = typing.get_type_hints(kind)
        if value.keys() - hints.keys():
            raise PacketError(f"unknown fields in {kind.__name__}")  # type: ignore[union-attr] # it is a class
        try:
            return kind(**{name: _built(hints[name], item) for name, item in value.items()})  # type: ignore[operator]
        except TypeError:
            raise PacketError(f"missing fields in {kind.__name__}") from None  # type: ignore[union-attr]
    if kind in (int, str, bool) and type(value) is kind:
        return value
    raise PacketError(f"{value!r} is no {getattr(kind, '__name__', kind)}")
