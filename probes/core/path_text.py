"""A path as text: JSON in ASCII without spaces, keys in one order, what is not known left out. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from probes.core.errors import LocalError
from probes.core.model import Hop, Label, Path

_NUMBERS: Final = ("minimum_ns", "sum_ns", "maximum_ns")
_REST: Final = ("dscp", "mtu")


def to_text(path: Path) -> str:
    """`{"protocol":"udp","reached":true,"mtu":1500,"hops":[{"ttl":1,"address":"192.0.2.1","sent":3,...}]}`."""
    found: dict[str, object] = {"protocol": path.protocol, "reached": path.reached}
    if path.mtu is not None:
        found["mtu"] = path.mtu
    found["hops"] = [_hop(hop) for hop in path.hops]
    return json.dumps(found, separators=(",", ":"))


def from_text(text: str) -> Path:
    """Inverse of to_text. Raises LocalError."""
    try:
        found = json.loads(text)
        hops = tuple(_read_hop(item) for item in found.pop("hops"))
        path = Path(_text(found.pop("protocol")), _truth(found.pop("reached")), hops, _number(found.pop("mtu", None)))
        if found:
            raise ValueError(f"{next(iter(found))!r} is nothing that a path has")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise LocalError(f"a stored path cannot be read: {error}", hint="the row is damaged") from None
    return path


def _hop(hop: Hop) -> dict[str, object]:
    found: dict[str, object] = {"ttl": hop.ttl}
    if hop.address is not None:
        found["address"] = hop.address
    found |= {"sent": hop.sent, "received": hop.received}
    found |= {name: value for name in _NUMBERS if (value := getattr(hop, name)) is not None}
    if hop.labels:
        found["labels"] = [[item.value, item.traffic_class, int(item.bottom), item.ttl] for item in hop.labels]
    found |= {name: value for name in _REST if (value := getattr(hop, name)) is not None}
    if hop.error is not None:
        found["error"] = hop.error
    return found


def _read_hop(item: Mapping[str, Any]) -> Hop:
    known = {"ttl", "address", "sent", "received", *_NUMBERS, "labels", *_REST, "error"}
    if strange := set(item) - known:
        raise ValueError(f"{min(strange)!r} is nothing that a hop has")
    return Hop(
        ttl=_integer(item["ttl"]),
        address=None if item.get("address") is None else _text(item["address"]),
        sent=_integer(item["sent"]),
        received=_integer(item["received"]),
        minimum_ns=_number(item.get("minimum_ns")),
        sum_ns=_number(item.get("sum_ns")),
        maximum_ns=_number(item.get("maximum_ns")),
        labels=tuple(_label(*entry) for entry in item.get("labels", ())),
        dscp=_number(item.get("dscp")),
        mtu=_number(item.get("mtu")),
        error=None if item.get("error") is None else _text(item["error"]),
    )


def _label(value: object, traffic_class: object, bottom: object, ttl: object) -> Label:
    return Label(_integer(value), _integer(traffic_class), bool(_integer(bottom)), _integer(ttl))


def _integer(value: object) -> int:
    if type(value) is not int:
        raise ValueError(f"{value!r} is no integer")
    return value


def _number(value: object) -> int | None:
    return None if value is None else _integer(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")
    return value


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")
    return value
