"""How names, addresses and other texts of the configuration are written. Each function makes a field's reader."""

from __future__ import annotations

import ipaddress
import re
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast, get_args

from agent.config.cron import normalise
from agent.config.secret import SecretSource
from agent.config.settings import Role
from agent.document import Reads, shown
from probes.core.errors import LocalError

_WORD: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_HOST_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_LABEL_KEY: Final = r"[a-z][a-z0-9_]{0,31}"
_RESERVED_LABELS: Final = frozenset((
    "circuit", "contract", "customer", "direction", "dscp", "family", "host", "interface", "kind", "name", "objective",
    "port", "probe", "protocol", "provider", "result", "server", "site", "source", "target", "time", "url", "window",
    "corrupt", "duplicate", "histogram", "late", "lost", "not_sent", "reason", "received", "remote", "reordered",
    "sent", "state", "response_time", "result_code", "path", "path_mtu", "target_reached",
))  # fmt: skip
"""Names of tags and fields that the databases get from us: a tag named like a field is refused by InfluxDB 3."""
_FIELD_SUFFIXES: Final = (
    "_bps", "_bytes", "_count", "_dscp", "_histogram", "_loss", "_lost", "_ms", "_ns", "_pairs", "_received", "_sent",
    "_stamped", "_transmitted", "_ttl", "_withheld",
)  # fmt: skip
_CHARGE: Final = r"\d+(\.\d{1,4})? [A-Z]{3}"
_SECRET: Final = "{credential: NAME} or {file: PATH}"

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Target:
    """Where a circuit ends: a name or address, or something this host knows itself."""

    host: str
    role: Role | None = None

    def written(self) -> object:
        return self.host if self.role is None else {"discover": self.role}


def numeric(text: str) -> Address | None:
    """The address a text denotes; None for a name."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _text(value: object, what: str) -> str:
    if isinstance(value, str):
        return value
    quotes = ": put it in quotes" if isinstance(value, int | float) else ""
    raise LocalError(f"must be {what}, not {shown(value)}{quotes}")


def _reader(read: Callable[[object], Any], **schema: Any) -> Reads:
    return Reads(read, {"type": "string", **schema})


def as_line(limit: int = 100) -> Reads:
    """One line of text without space at its ends."""

    def read(value: object) -> str:
        text = _text(value, "text")
        if not text or text != text.strip() or not text.isprintable() or len(text) > limit:
            raise LocalError(f"{shown(text)} is not one line of 1 to {limit} characters without space at its ends")
        if text.endswith("\\"):
            raise LocalError(f"{shown(text)} ends in a backslash, which line protocol cannot carry")
        return text

    return _reader(read, minLength=1, maxLength=limit)


def as_word(what: str) -> Reads:
    """A short name that is safe in files, tags and commands."""

    def read(value: object) -> str:
        text = _text(value, what)
        if not re.fullmatch(_WORD, text):
            raise LocalError(f"{shown(text)} is not {what}: letters, digits, `.`, `_` and `-`, 64 at most")
        return text

    return _reader(read, pattern=f"^{_WORD}$")


def as_label_key() -> Reads:
    """Key of a label; it becomes a tag in the databases."""

    def read(value: object) -> str:
        text = _text(value, "a label")
        if not re.fullmatch(_LABEL_KEY, text):
            raise LocalError("a label is small letters, digits and `_`, 32 at most, and starts with a letter")
        if text in _RESERVED_LABELS or text.endswith(_FIELD_SUFFIXES):
            raise LocalError("this label has a meaning of its own in the databases: choose another")
        return text

    return _reader(read, pattern=f"^{_LABEL_KEY}$")


def as_target() -> Reads:
    """Name, address, or `{discover: gateway}`."""
    roles = get_args(Role)
    choices = " or ".join(f"{{discover: {role}}}" for role in roles)

    def read(value: object) -> Target:
        if isinstance(value, dict):
            role = value.get("discover")
            if len(value) != 1 or not isinstance(role, str) or role not in roles:
                raise LocalError(f"must be a name, an address, {choices}")
            return Target(role, cast(Role, role))
        text = _text(value, f"a name, an address, {choices}")
        return Target(_host(text))

    discover = {
        "type": "object",
        "properties": {"discover": {"enum": list(roles)}},
        "required": ["discover"],
        "additionalProperties": False,
    }
    return Reads(read, {"anyOf": [{"type": "string", "minLength": 1}, discover]}, Target.written)


def _host(text: str) -> str:
    address = numeric(text)
    if address is not None:
        if address.is_multicast or address.is_unspecified or text == "255.255.255.255":
            raise LocalError(f"{text} is not the address of one host")
        return str(address)
    if "://" in text:
        raise LocalError(f"{shown(text)} is a URL: write the host alone")
    if "/" in text:
        raise LocalError(f"{shown(text)} is a network: write one address or name")
    if text.startswith("[") or re.fullmatch(r"[^:]+:\d+", text):
        raise LocalError(f"{shown(text)}: write the address without brackets and port; a port belongs to the probe")
    labels = text.removesuffix(".").split(".")
    if re.fullmatch(r"[\d.]+", text) or ":" in text:
        raise LocalError(f"{shown(text)} is not an IP address")
    if len(text) > 253 or not all(_HOST_LABEL.fullmatch(label) for label in labels):
        raise LocalError(f"{shown(text)} is neither a host name nor an IP address")
    return text


def as_address(what: str) -> Reads:
    """Numeric IPv4 or IPv6 address."""

    def read(value: object) -> str:
        text = _text(value, f"{what} (an IP address)")
        address = numeric(text)
        if address is None:
            raise LocalError(f"{shown(text)} is not an IP address: {what} is written as a number, without port")
        return str(address)

    return _reader(read, examples=["192.0.2.1", "2001:db8::1"])


def as_network() -> Reads:
    """CIDR network, not the whole Internet."""

    def read(value: object) -> str:
        text = _text(value, "a network")
        try:
            network = ipaddress.ip_network(text)
        except ValueError:
            raise LocalError(_not_a_network(text)) from None
        if network.prefixlen == 0:
            raise LocalError(f"{text} is the whole Internet: name the networks that may ask")
        return str(network)

    return _reader(read, examples=["192.0.2.0/24", "2001:db8::/32"])


def _not_a_network(text: str) -> str:
    try:
        meant = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return f"{shown(text)} is not a network: write it like 192.0.2.0/24 or 2001:db8::/32"
    return f"{text} has bits beyond the prefix (did you mean {meant}?)"


def as_interface() -> Reads:
    """Name of a network interface."""

    def read(value: object) -> str:
        text = _text(value, "the name of a network interface")
        if not 0 < len(text) < 16 or re.search(r"[\s/:]", text) or text in (".", ".."):
            raise LocalError(f"{shown(text)} is not the name of a network interface: 1 to 15 characters, no space, `/`")
        return text

    return _reader(read, minLength=1, maxLength=15, examples=["eth1"])


def as_schedule() -> Reads:
    """Five-field cron expression in UTC."""
    return _reader(lambda value: normalise(_text(value, "a schedule such as '15 3 * * *'")), examples=["15 3 * * *"])


def as_charge() -> Reads:
    """Amount and ISO 4217 currency."""

    def read(value: object) -> str:
        text = _text(value, "an amount and a currency such as '480.00 EUR'")
        if not re.fullmatch(_CHARGE, text):
            raise LocalError(f"{shown(text)} is not an amount and a currency: write it like '480.00 EUR'")
        return text

    return _reader(read, pattern=f"^{_CHARGE}$", examples=["480.00 EUR"])


def as_url() -> Reads:
    """http or https address of a server, without user, query and fragment."""

    def read(value: object) -> str:
        text = _text(value, "a URL")
        try:
            parts = urllib.parse.urlsplit(text)
            port_known = parts.port is None or parts.port > 0
        except ValueError:
            parts, port_known = urllib.parse.SplitResult("", "", "", "", ""), False
        if parts.username is not None or parts.password is not None:
            raise LocalError(f"a URL holds no user and no password: use `username` and `password: {_SECRET}`")
        if parts.scheme not in ("http", "https") or not parts.hostname or not port_known or re.search(r"\s", text):
            raise LocalError(f"{shown(text)} is not a URL: write it like https://influx.example.net:8086")
        if parts.query or parts.fragment:
            raise LocalError("leave out what follows `?` or `#`: bucket, database and token have keys of their own")
        return text.rstrip("/")

    return _reader(read, pattern=r"^https?://[^\s?#@]+$")


def as_port_or_off() -> Reads:
    """A port, or `off`, which is read as 0."""

    def read(value: object) -> int:
        if value == "off":
            return 0
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65535:
            raise LocalError(f"{shown(value)} is neither a port (1 to 65535) nor `off`")
        return value

    schema = {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 65535}, {"const": "off"}]}
    return Reads(read, schema, lambda port: port or "off")


def as_path() -> Reads:
    """A path; where relative, then to the directory of the main file."""

    def read(value: object) -> Path:
        text = _text(value, "a path")
        if not text or "\n" in text:
            raise LocalError(f"{shown(text)} is not a path")
        return Path(text)

    return Reads(read, {"type": "string", "minLength": 1}, str)


def as_secret() -> Reads:
    """Where a secret is kept; its text is never accepted, and never repeated in a message."""

    def read(value: object) -> SecretSource:
        if isinstance(value, str | int | float):
            raise LocalError(f"a secret is not written in this file: use {_SECRET}")
        if not isinstance(value, dict) or len(value) != 1 or not set(value) <= {"credential", "file"}:
            raise LocalError(f"must be {_SECRET}")
        [(key, name)] = value.items()
        if not isinstance(name, str) or not name:
            raise LocalError(f"must be {_SECRET}")
        if key == "file":
            return SecretSource(file=Path(name))
        if not re.fullmatch(_WORD, name):
            raise LocalError("the name of a credential is a file name without `/`: letters, digits, `.`, `_` and `-`")
        return SecretSource(credential=name)

    one_of = [
        {"type": "object", "properties": {key: {"type": "string"}}, "required": [key], "additionalProperties": False}
        for key in ("credential", "file")
    ]
    return Reads(read, {"oneOf": one_of}, _written_secret)


def _written_secret(source: SecretSource) -> object:
    return {"credential": source.credential} if source.file is None else {"file": str(source.file)}
