"""Quantities as people write them: `200ms`, `50Mbit/s`, `1400B`, `EF`, `99.9 %`. Pure."""

import re
from decimal import Decimal
from fractions import Fraction
from typing import Final

from probes.core.errors import ValueFormatError

_DURATION_UNITS: Final = {
    "ns": 1,
    "us": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "min": 60 * 10**9,
    "h": 3600 * 10**9,
    "d": 86400 * 10**9,
}
_RATE_UNITS: Final = {"bit/s": 1, "kbit/s": 10**3, "Mbit/s": 10**6, "Gbit/s": 10**9}
_SIZE_UNITS: Final = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}

DSCP_NAMES: Final = {
    "DF": 0, "BE": 0, "LE": 1, "EF": 46, "VA": 44,
    **{f"CS{n}": 8 * n for n in range(8)},
    **{f"AF{c}{d}": 8 * c + 2 * d for c in range(1, 5) for d in range(1, 4)},
}  # fmt: skip
"""Code points by name: RFC 2474, 2597, 3246, 5865, 8622."""

_TERM = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zA-Z/]+)")


def _fail(what: str, text: object, examples: str) -> ValueFormatError:
    return ValueFormatError(f"{text!r} is not a {what}", hint=f"write it like {examples}")


def parse_duration(text: str) -> int:
    """`200ms`, `1m30s`, `35d` to ns. Terms add up; the unit is required. Raises ValueFormatError."""
    rest, total, seen = text.strip(), Fraction(0), False
    while rest:
        match = _TERM.match(rest)
        if match is None or match[2] not in _DURATION_UNITS:
            raise _fail("duration", text, "200ms, 10s, 1m30s, 35d")
        total += Fraction(match[1]) * _DURATION_UNITS[match[2]]
        rest, seen = rest[match.end() :].lstrip(), True
    if not seen or total.denominator != 1:
        raise _fail("duration", text, "200ms, 10s, 1m30s, 35d")
    return int(total)


def _single(text: str, units: dict[str, int], what: str, examples: str) -> int:
    match = _TERM.fullmatch(text.strip())
    if match is None or match[2] not in units:
        raise _fail(what, text, examples)
    value = Fraction(match[1]) * units[match[2]]
    if value.denominator != 1:
        raise _fail(what, text, examples)
    return int(value)


def parse_rate(text: str) -> int:
    """`50Mbit/s` to bit/s, SI prefixes. Raises ValueFormatError."""
    return _single(text, _RATE_UNITS, "bit rate", "50Mbit/s, 1Gbit/s, 640kbit/s")


def parse_size(text: str) -> int:
    """`1400B`, `64KiB` to bytes. Raises ValueFormatError."""
    return _single(text, _SIZE_UNITS, "size", "1400B, 64KiB, 2GiB")


def parse_dscp(text: str | int) -> int:
    """`EF`, `AF41`, `CS1` or 0..63 to the six-bit code point (never the TOS byte). Raises ValueFormatError."""
    name = str(text).strip().upper()
    if name in DSCP_NAMES:
        return DSCP_NAMES[name]
    if name.isascii() and name.isdigit() and int(name) <= 63:
        return int(name)
    raise _fail("DSCP", text, "EF, AF41, CS1 or a number from 0 to 63")


def parse_percent(text: str) -> Fraction:
    """`99.9 %` to the exact ratio 999/1000. The sign is required. Raises ValueFormatError."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", text)
    if match is None:
        raise _fail("percentage", text, "99.9 %")
    return Fraction(match[1]) / 100


def format_duration(ns: int) -> str:
    """Shortest exact text in one or two units: 1500000000 -> `1.5s`, 90 s -> `1m30s`."""
    if ns < 0:
        return "-" + format_duration(-ns)
    for unit, scale in (("d", 86400 * 10**9), ("h", 3600 * 10**9), ("m", 60 * 10**9)):
        if ns >= scale:
            rest = ns % scale
            return f"{ns // scale}{unit}" + (format_duration(rest) if rest else "")
    for unit, scale in (("s", 10**9), ("ms", 10**6), ("us", 10**3)):
        if ns >= scale:
            return f"{plain(Decimal(ns) / scale)}{unit}"
    return f"{ns}ns" if ns else "0s"


def format_rate(bits_per_second: int) -> str:
    """Three significant digits with an SI prefix: 94_100_000 -> `94.1 Mbit/s`."""
    for unit, scale in (("Gbit/s", 10**9), ("Mbit/s", 10**6), ("kbit/s", 10**3)):
        if bits_per_second >= scale:
            return (
                f"{bits_per_second / scale:.3g} {unit}"
                if bits_per_second < 1000 * scale
                else (f"{bits_per_second / scale:.0f} {unit}")
            )
    return f"{bits_per_second} bit/s"


def format_bytes(octets: int) -> str:
    """Three significant digits with a binary prefix: 3_250_586 -> `3.1 MiB`."""
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if octets >= scale:
            return f"{octets / scale:.1f} {unit}"
    return f"{octets} B"


def plain(value: Decimal) -> str:
    """A decimal without exponent and without trailing zeros."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
