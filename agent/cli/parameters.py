"""Parameters of a probe kind as command-line options: what to offer, and how to read what was typed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import typer

from probes.core.catalog import Parameter
from probes.core.errors import ValueFormatError
from probes.core.units import (
    format_duration,
    format_rate,
    parse_dscp,
    parse_duration,
    parse_rate,
    parse_size,
)


def _octets(text: str) -> int:
    """A plain number counts octets."""
    return int(text) if text.isascii() and text.isdigit() else parse_size(text)


def _number(text: str) -> int:
    if not (text.isascii() and text.removeprefix("-").isdigit()):
        raise ValueFormatError(f"{text!r} is not a whole number", hint="write it like 10")
    return int(text)


_READ: Final[Mapping[str, Callable[[str], int]]] = {
    "duration": parse_duration,
    "integer": _number,
    "port": _number,
    "size": _octets,
    "rate": parse_rate,
    "dscp": parse_dscp,
}
_WRITE: Final[Mapping[str, Callable[[int], str]]] = {
    "duration": format_duration,
    "size": "{}B".format,
    "rate": format_rate,
}


def flags(parameter: Parameter) -> tuple[str, ...]:
    """`--limit-bytes`, and the short option if it has one."""
    long = f"--{parameter.name.replace('_', '-')}{'-file' if parameter.type == 'secret' else ''}"
    if parameter.type == "boolean" and parameter.default:
        return (f"{long}/--no-{long.removeprefix('--')}",)
    return (long,) if parameter.option is None else (parameter.option, long)


def metavar(parameter: Parameter) -> str:
    if parameter.choices:
        return "|".join(parameter.choices)
    named = {"integer": "NUMBER", "size": "OCTETS", "dscp": "DSCP", "secret": "FILE"}
    return named.get(parameter.type, parameter.type.upper())


def shown_default(parameter: Parameter) -> str | None:
    """The default as a person would write it; None where there is none to show."""
    if parameter.default is None or parameter.type == "boolean":
        return None
    return _shown(parameter, parameter.default)


def read(parameter: Parameter, text: str) -> object:
    """The value in base units. Raises typer.BadParameter naming the option and what is allowed."""
    hint = " / ".join(flags(parameter))
    if parameter.type == "choice" and text not in parameter.choices:
        raise typer.BadParameter(f"{text!r} is not one of {', '.join(parameter.choices)}", param_hint=hint)
    if parameter.type == "secret":
        from agent.config import SecretSource

        return SecretSource(file=Path(text))
    if parameter.type not in _READ:
        return text
    try:
        value = _READ[parameter.type](text)
    except ValueFormatError as error:
        raise typer.BadParameter(f"{error.message}; {error.hint}", param_hint=hint) from None
    low = parameter.minimum if parameter.type != "port" else parameter.minimum or 1
    high = parameter.maximum if parameter.type != "port" else parameter.maximum or 65535
    if low is not None and value < low:
        raise typer.BadParameter(f"{text} is too small: at least {_shown(parameter, low)}", param_hint=hint)
    if high is not None and value > high:
        raise typer.BadParameter(f"{text} is too large: at most {_shown(parameter, high)}", param_hint=hint)
    return value


def _shown(parameter: Parameter, value: object) -> str:
    write = _WRITE.get(parameter.type)
    return write(value) if write is not None and isinstance(value, int) else str(value)
