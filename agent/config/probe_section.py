"""A circuit's `probes`: one model per kind of probe, made from the parameters that the kind declares."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Final, Literal

from agent.config.notation import as_line, as_schedule, as_secret, as_word
from agent.document import (
    Contradiction,
    Field,
    Model,
    Reads,
    as_dscp,
    as_duration,
    as_integer,
    as_rate,
    as_size,
    make_model,
)
from probes.core import catalog
from probes.core.catalog import FlowKind, Kind, Parameter
from probes.core.model import ProbeSetting
from probes.core.units import format_duration

_QUANTITIES: Final = {"duration": as_duration, "rate": as_rate, "size": as_size}


class ProbeSection(Model):
    """One probe of a circuit."""

    of_kind: ClassVar[Kind]

    kind: str
    name: Annotated[str | None, as_word("the name of a probe")] = Field(
        default=None, description="unique in the circuit; the kind's name where left out"
    )
    dscp: Annotated[int | None, as_dscp()] = Field(
        default=None, description="code point of the packets; the circuit's where left out"
    )

    def contradictions(self) -> Iterator[Contradiction]:
        if isinstance(self.of_kind, FlowKind):
            yield from _run_fits(self)

    def setting(self) -> ProbeSetting:
        """Name, kind and parameters in base units, without those that are not set."""
        names = [parameter.name for parameter in self.of_kind.parameters]
        schedule = getattr(self, "schedule", None)
        values = {name: getattr(self, name) for name in dict.fromkeys((*names, "dscp"))}
        if schedule is not None:
            values.pop("every", None)
        parameters = {name: value for name, value in values.items() if value is not None}
        return ProbeSetting(self.name or self.kind, self.kind, parameters, schedule)


def _run_fits(probe: ProbeSection) -> Iterator[Contradiction]:
    """A run is over before the next one starts."""
    given = probe.model_fields_set
    if getattr(probe, "schedule", None) is not None:
        if "every" in given:
            yield ("every",), "give either `every` or `schedule`, not both"
        return
    every, timeout, length = (getattr(probe, name, None) for name in ("every", "timeout", "duration"))
    if every is None:
        return
    if length is not None:
        length *= 2 if getattr(probe, "direction", None) == "both" else 1
    for name, value in (("duration", length), ("timeout", timeout)):
        if value is not None and value >= every:
            place = "every" if "every" in given or name not in given else name
            text = f"{format_duration(value)} ({name}{', both directions' if value != getattr(probe, name) else ''})"
            yield (place,), f"a run can take {text}: `every`, {format_duration(every)}, must be longer"


@functools.cache
def section_of(name: str) -> type[ProbeSection]:
    """The model of one kind. Raises LocalError when there is no such kind."""
    kind = catalog.load(name)
    fields: dict[str, tuple[Any, Any]] = {"kind": (Literal[name], Field(description=kind.summary))}
    for parameter in kind.parameters:
        fields[parameter.name] = _field(parameter)
    if isinstance(kind, FlowKind):
        fields["schedule"] = (
            Annotated[str | None, as_schedule()],
            Field(default=None, description="when to run: five cron fields, UTC; instead of `every`"),
        )
    made = make_model(f"Probe_{name}", kind.summary, ProbeSection, fields)
    made.of_kind = kind
    return made


def any_probe() -> Any:
    """The type of one probe: whichever model its `kind` says."""
    sections = [section_of(name) for name in catalog.names()]
    if len(sections) == 1:
        return sections[0]
    return Annotated[functools.reduce(operator.or_, sections), Field(discriminator="kind")]


def _field(parameter: Parameter) -> tuple[Any, Any]:
    """Annotation and default of one parameter."""
    default = ... if parameter.required else parameter.default
    return _annotation(parameter), Field(default=default, description=parameter.help)


def _annotation(parameter: Parameter) -> Any:
    optional = parameter.default is None and not parameter.required
    reads = _reads(parameter)
    if reads is not None:
        return Annotated[Any, reads]
    plain: Any = bool if parameter.type == "boolean" else Literal[parameter.choices]
    return plain | None if optional else plain


def _reads(parameter: Parameter) -> Reads | None:
    if parameter.type in _QUANTITIES:
        return _QUANTITIES[parameter.type](parameter.minimum, parameter.maximum)
    if parameter.type == "port":
        return as_integer(parameter.minimum or 1, parameter.maximum or 65535)
    if parameter.type == "integer":
        return as_integer(parameter.minimum, parameter.maximum)
    return {"dscp": as_dscp(), "text": as_line(1000), "secret": as_secret()}.get(parameter.type)
