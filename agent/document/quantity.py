"""Quantities as fields of a model: durations, rates, sizes and code points, within bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from agent.document.model import Reads, shown
from probes.core.errors import LocalError
from probes.core.units import format_duration, parse_dscp, parse_duration, parse_rate, parse_size


@dataclass(frozen=True, slots=True)
class _Bounded:
    """Reader of a quantity within bounds."""

    what: str
    parse: Callable[[str], int]
    write: Callable[[int], str]
    units: str
    minimum: int | None
    maximum: int | None
    bare: bool = False
    """True where a plain number has only one meaning"""

    def __call__(self, value: object) -> int:
        if isinstance(value, int | float) and not isinstance(value, bool):
            if self.bare and isinstance(value, float):
                raise LocalError(f"must be {self.what} such as {self.units.format(10)}, not {shown(value)}")
            if not (self.bare and isinstance(value, int)):
                raise LocalError(
                    f"{shown(value)} has no unit: write {self.what} like {self.units.format(shown(value))}"
                )
            number = value
        elif isinstance(value, str):
            number = self.parse(value)
        else:
            raise LocalError(f"must be {self.what} such as {self.units.format(10)}, not {shown(value)}")
        if self.minimum is not None and number < self.minimum:
            raise LocalError(f"{shown(value)} is too small (allowed: {self._range()})")
        if self.maximum is not None and number > self.maximum:
            raise LocalError(f"{shown(value)} is too large (allowed: {self._range()})")
        return number

    def _range(self) -> str:
        lower = None if self.minimum is None else self.write(self.minimum)
        upper = None if self.maximum is None else self.write(self.maximum)
        if lower is None or upper is None:
            return f"at most {upper}" if lower is None else f"at least {lower}"
        return f"{lower} to {upper}"


_DURATION_PATTERN: Final = r"^\s*(\d+(\.\d+)?\s*(ns|us|ms|s|m|min|h|d)\s*)+$"
_RATE_PATTERN: Final = r"^\s*\d+(\.\d+)?\s*(bit/s|kbit/s|Mbit/s|Gbit/s)\s*$"
_SIZE_PATTERN: Final = r"^\s*\d+(\.\d+)?\s*(B|kB|MB|GB|KiB|MiB|GiB)\s*$"


def as_duration(minimum: int | None = None, maximum: int | None = None) -> Reads:
    """Text such as `1m30s` as ns. Bounds in ns."""
    read = _Bounded("a duration", parse_duration, format_duration, "{0}ms, {0}s or {0}m", minimum, maximum)
    return Reads(
        read, {"type": "string", "pattern": _DURATION_PATTERN, "examples": ["200ms", "1m30s"]}, format_duration
    )


def as_rate(minimum: int | None = None, maximum: int | None = None) -> Reads:
    """Text such as `50Mbit/s` as bit/s. Bounds in bit/s."""
    read = _Bounded("a rate", parse_rate, exact_rate, "{0}Mbit/s or {0}Gbit/s", minimum, maximum)
    return Reads(read, {"type": "string", "pattern": _RATE_PATTERN, "examples": ["50Mbit/s"]}, exact_rate)


def as_size(minimum: int | None = None, maximum: int | None = None) -> Reads:
    """Octets: a plain whole number, or text such as `64KiB`. Bounds in octets."""
    read = _Bounded("a size", parse_size, exact_size, "{0}, {0}B or {0}KiB", minimum, maximum, bare=True)
    schema: dict[str, Any] = {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": _SIZE_PATTERN}]}
    return Reads(read, schema | {"examples": [200, "1400B", "64KiB"]}, exact_size)


def as_integer(minimum: int | None = None, maximum: int | None = None) -> Reads:
    """A whole number."""

    def parse(text: str) -> int:
        hint = ": remove the quotes" if text.isascii() and text.isdigit() else ""
        raise LocalError(f"must be a whole number, not {shown(text)}{hint}")

    read = _Bounded("a whole number", parse, str, "{0}", minimum, maximum, bare=True)
    bounds = {"minimum": minimum, "maximum": maximum}
    return Reads(read, {"type": "integer", **{name: bound for name, bound in bounds.items() if bound is not None}})


def as_dscp() -> Reads:
    """Code point by name, or 0..63."""
    schema = {
        "anyOf": [
            {"type": "integer", "minimum": 0, "maximum": 63},
            {"type": "string", "pattern": r"^([Aa][Ff][1-4][1-3]|[Cc][Ss][0-7]|EF|BE|DF|LE|VA|ef|be|df|le|va)$"},
        ],
        "examples": ["EF", "AF41", 46],
    }
    return Reads(_read_dscp, schema)


def _read_dscp(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise LocalError(f"{shown(value)} is not a DSCP: write it like EF, AF41, CS1 or a number from 0 to 63")
    if isinstance(value, int) and 63 < value < 256 and value % 4 == 0:
        message = f"{value} is a TOS or traffic-class octet, not a DSCP: that octet carries the DSCP {value >> 2}"
        raise LocalError(f"{message} (allowed: EF, AF41, CS1 ... or 0 to 63)")
    return parse_dscp(value)


def exact_rate(bits_per_second: int) -> str:
    """Exact text in the largest unit that divides it."""
    for unit, scale in (("Gbit/s", 10**9), ("Mbit/s", 10**6), ("kbit/s", 10**3)):
        if bits_per_second and bits_per_second % scale == 0:
            return f"{bits_per_second // scale}{unit}"
    return f"{bits_per_second}bit/s"


def exact_size(octets: int) -> str:
    """Exact text in the largest binary unit that divides it."""
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if octets and octets % scale == 0:
            return f"{octets // scale}{unit}"
    return f"{octets}B"
