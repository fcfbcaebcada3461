"""Parameters of kinds as options: every type read, every bound kept, every mistake named."""

from __future__ import annotations

import pytest
import typer

from agent.cli import parameters
from agent.cli.probe import _parameters
from probes.core import catalog
from probes.core.catalog import FlowKind, Parameter, ParameterType

MS = 1_000_000


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("duration", "200ms", 200 * MS),
        ("duration", "1m30s", 90_000 * MS),
        ("integer", "12", 12),
        ("port", "65535", 65535),
        ("size", "1400", 1400),
        ("size", "64KiB", 65536),
        ("rate", "50Mbit/s", 50_000_000),
        ("dscp", "EF", 46),
        ("text", "any thing", "any thing"),
    ],
)
def test_reads_base_units(kind: ParameterType, text: str, value: object) -> None:
    assert parameters.read(Parameter("x", kind, None, ""), text) == value


@pytest.mark.parametrize(
    ("parameter", "text", "message"),
    [
        (Parameter("every", "duration", 0, "", option="-i"), "5", "'5' is not a duration; write it like 200ms"),
        (Parameter("every", "duration", 0, "", minimum=10 * MS), "5ms", "5ms is too small: at least 10ms"),
        (Parameter("size", "size", 0, "", maximum=65507), "70000", "70000 is too large: at most 65507B"),
        (Parameter("limit", "rate", 0, ""), "50MB", "'50MB' is not a bit rate"),
        (Parameter("ttl", "integer", 0, ""), "1e3", "'1e3' is not a whole number"),
        (Parameter("port", "port", 0, ""), "0", "0 is too small: at least 1"),
        (Parameter("port", "port", 0, ""), "70000", "70000 is too large: at most 65535"),
        (Parameter("way", "choice", "", "", choices=("up", "down")), "left", "'left' is not one of up, down"),
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "name", None),
)
def test_mistakes_are_named(parameter: Parameter, text: str, message: str) -> None:
    with pytest.raises(typer.BadParameter) as caught:
        parameters.read(parameter, text)
    assert message in caught.value.message
    assert f"--{parameter.name}" in str(caught.value.param_hint)


def test_flags_and_defaults() -> None:
    assert parameters.flags(Parameter("limit_bytes", "size", None, "")) == ("--limit-bytes",)
    assert parameters.flags(Parameter("every", "duration", None, "", option="-i")) == ("-i", "--every")
    assert parameters.shown_default(Parameter("every", "duration", 1500 * MS, "")) == "1.5s"
    assert parameters.shown_default(Parameter("ttl", "integer", None, "")) is None


@pytest.mark.parametrize("name", catalog.names())
def test_every_default_can_be_typed(name: str) -> None:
    """What the help shows as the default reads back as the default, for every parameter of every kind."""
    for parameter in _parameters(catalog.load(name)):
        shown = parameters.shown_default(parameter)
        if shown is not None:
            assert parameters.read(parameter, shown) == parameter.default, parameter.name


@pytest.mark.parametrize("name", catalog.names())
def test_no_two_options_are_called_the_same(name: str) -> None:
    common = ["-c", "--count", "-S", "--source", "-I", "--interface", "--dscp", "-4", "-6", "--json", "-q", "--quiet"]
    used = common + [flag for parameter in catalog.load(name).parameters for flag in parameters.flags(parameter)]
    assert len(used) == len(set(used))


def test_single_attempts_are_repeated_every_second_by_hand() -> None:
    tcp = catalog.load("tcp")
    assert isinstance(tcp, FlowKind)
    assert {p.name: p.default for p in tcp.parameters}["every"] == 10_000 * MS
    assert {p.name: p.default for p in _parameters(tcp)}["every"] == 1_000 * MS


def test_a_secret_is_a_file_and_what_is_on_can_be_turned_off() -> None:
    parameter = Parameter("key", "secret", None, "")
    assert parameters.flags(parameter) == ("--key-file",)
    assert parameters.metavar(parameter) == "FILE"
    assert str(parameters.read(parameter, "/run/key")) == "file /run/key"
    assert parameters.flags(Parameter("follow_up", "boolean", True, "")) == ("--follow-up/--no-follow-up",)
