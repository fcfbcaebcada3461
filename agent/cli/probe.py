"""`linkwitness probe KIND TARGET`: one measurement now, by the engine and the kinds the agent uses.

The commands are the kinds in the catalogue, their options the kinds' parameters.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Final, Literal

import typer

from agent.cli import parameters as options
from agent.cli.lazy import Entry, group_of
from agent.cli.request import Request
from probes.core import catalog
from probes.core.catalog import FlowKind, Kind, Parameter, StreamKind
from probes.core.clock import SECOND, SystemClock
from probes.core.errors import LocalError, ValueFormatError
from probes.core.units import parse_dscp

_RESOLVE_WITHIN_S: Final = 10.0


def _entries() -> Sequence[Entry]:
    return [Entry(name, partial(_summary, name), partial(_command, name), "Kinds") for name in catalog.names()]


app = typer.Typer(
    cls=group_of(_entries),
    no_args_is_help=True,
    help="Measure one target now. Exits 0 when it replied, 1 when it did not.",
)


@app.callback()
def _kinds() -> None:
    """Measure one target now. Exits 0 when it replied, 1 when it did not."""


def _summary(name: str) -> str:
    return catalog.load(name).summary


def _command(name: str) -> Callable[..., object]:
    """The function of one kind's command; typer reads its options from its signature."""
    kind = catalog.load(name)

    def command(**values: object) -> None:
        raise typer.Exit(_measure(kind, values))

    offered = [*_common(kind), *(_option(parameter) for parameter in _parameters(kind))]
    command.__signature__ = inspect.Signature(offered)  # type: ignore[attr-defined] # read by inspect.signature
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in offered}
    command.__doc__ = f"{kind.summary}.\n\nExits 0 when the target replied, 1 when it did not, 130 after Ctrl-C."
    return command


def _parameters(kind: Kind) -> tuple[Parameter, ...]:
    """The kind's parameters; by hand, a single attempt that loads nothing is repeated every second."""
    if not isinstance(kind, FlowKind) or kind.exclusive or kind.single:
        return kind.parameters
    return tuple(
        replace(parameter, default=max(SECOND, parameter.minimum or 0)) if parameter.name == "every" else parameter
        for parameter in kind.parameters
    )


def _common(kind: Kind) -> list[inspect.Parameter]:
    default = 1 if isinstance(kind, FlowKind) and (kind.exclusive or kind.single) else None
    what = "packets" if isinstance(kind, StreamKind) else "attempts"
    ending = "." if default else "; without it, until Ctrl-C."
    return [
        _keyword("target", Annotated[str, typer.Argument(metavar="TARGET", help="Name or address.")], ...),
        _keyword(
            "count",
            Annotated[
                int | None, typer.Option("-c", "--count", metavar="NUMBER", min=1, help=f"So many {what}{ending}")
            ],
            default,
        ),
        *(
            _keyword(name, Annotated[str | None, typer.Option(*flags, metavar=metavar, help=text)], None)
            for name, flags, metavar, text in (
                ("source", ("-S", "--source"), "ADDRESS", "Send from this address of the host."),
                ("interface", ("-I", "--interface"), "NAME", "Send through this interface."),
                ("dscp", ("--dscp",), "DSCP", "Mark packets: EF, AF41, CS1 or 0 to 63."),
            )
        ),
        *(
            _keyword(name, Annotated[bool, typer.Option(*flags, help=text)], False)
            for name, flags, text in (
                ("ipv4", ("-4", "--ipv4"), "IPv4 only."),
                ("ipv6", ("-6", "--ipv6"), "IPv6 only."),
                ("json", ("--json",), "One JSON object at the end, nothing else."),
                ("quiet", ("-q", "--quiet"), "No line per reply, the summary only."),
            )
        ),
    ]


def _option(parameter: Parameter) -> inspect.Parameter:
    text = _sentence(parameter)
    if parameter.type == "boolean":
        option = typer.Option(*options.flags(parameter), help=text)
        return _keyword(parameter.name, Annotated[bool, option], bool(parameter.default))
    option = typer.Option(*options.flags(parameter), help=text, metavar=options.metavar(parameter), show_default=False)
    return _keyword(parameter.name, Annotated[str | None, option], None)


def _sentence(parameter: Parameter) -> str:
    text = f"{parameter.help[:1].upper()}{parameter.help[1:]}."
    if parameter.required:
        return f"{text}  [required]"
    default = options.shown_default(parameter)
    return text if default is None else f"{text}  [default: {default}]"


def _keyword(name: str, annotation: object, default: object) -> inspect.Parameter:
    missing = inspect.Parameter.empty if default is ... else default
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=missing, annotation=annotation)


def _measure(kind: Kind, values: dict[str, object]) -> int:
    """Read what was typed, resolve the target, measure. Returns the exit code."""
    wanted: dict[str, object] = {}
    for parameter in _parameters(kind):
        text = values.get(parameter.name)
        if text is None and parameter.required:
            raise typer.BadParameter("is required", param_hint=" / ".join(options.flags(parameter)))
        wanted[parameter.name] = (
            parameter.default if text is None else options.read(parameter, text) if isinstance(text, str) else text
        )
    family = _family(bool(values["ipv4"]), bool(values["ipv6"]))
    dscp = _dscp(values["dscp"])
    target, count = str(values["target"]), values["count"]
    request = Request(
        kind=kind,
        target=target,
        address=_resolved(target, family),
        parameters=wanted,
        count=count if isinstance(count, int) else None,
        source=_text(values["source"]),
        interface=_text(values["interface"]),
        dscp=dscp,
        as_json=bool(values["json"]),
        quiet=bool(values["quiet"]),
    )
    if isinstance(kind, StreamKind):
        from agent.cli import stream_probe

        return stream_probe.run(request, SystemClock())
    from agent.cli import flow_probe

    return flow_probe.run(request, kind, SystemClock())


def _family(ipv4: bool, ipv6: bool) -> Literal[4, 6] | None:
    if ipv4 and ipv6:
        raise typer.BadParameter("-4 and -6 exclude each other")
    return 4 if ipv4 else 6 if ipv6 else None


def _dscp(text: object) -> int:
    if text is None:
        return 0
    try:
        return parse_dscp(str(text))
    except ValueFormatError as error:
        raise typer.BadParameter(f"{error.message}; {error.hint}", param_hint="--dscp") from None


def _resolved(host: str, family: int | None) -> str:
    from probes.engine.resolve import Resolver

    resolver = Resolver(workers=1)
    try:
        return resolver.lookup(host, family).result(_RESOLVE_WITHIN_S)
    except TimeoutError:
        raise LocalError(f"{host} could not be resolved in time", hint="check /etc/resolv.conf") from None
    finally:
        resolver.close()


def _text(value: object) -> str | None:
    return None if value is None else str(value)
