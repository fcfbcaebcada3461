"""Kinds of probe are the files of the `probes` package; this finds and loads them by name.

Listing imports nothing: `linkwitness --help` needs the names only. An ImportError inside a kind's file is an error.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import probes
from probes.core.clock import Clock
from probes.core.errors import LocalError
from probes.core.model import Sample

if TYPE_CHECKING:
    from probes.core.codec import AnyCodec

ParameterType = Literal["duration", "integer", "size", "rate", "dscp", "port", "boolean", "text", "choice", "secret"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One setting of a kind. `default`, `minimum` and `maximum` are in base units: ns, bytes, bit/s."""

    name: str
    type: ParameterType
    default: object
    help: str
    minimum: int | None = None
    maximum: int | None = None
    choices: tuple[str, ...] = ()
    required: bool = False
    option: str | None = None
    """short command-line option, such as `-s`"""


@dataclass(frozen=True, slots=True)
class Metric:
    """One number the kind yields, with its unit and the definition it follows."""

    name: str
    unit: str
    definition: str


@dataclass(frozen=True, slots=True)
class FlowTarget:
    """Where a flow probe, or what arranges a stream's session, goes. `address` is numeric; `host` is what the operator
    wrote."""

    circuit: str
    probe: str
    host: str
    address: str
    source: str | None = None
    interface: str | None = None
    dscp: int = 0


class Session(Protocol):
    """What a far end has agreed to for as long as a stream runs. Not thread-safe."""

    port: int
    """where the far end awaits the stream's packets"""
    unheard: bool
    """Nothing has been heard of the far end for so long that it may have forgotten the session. That alone does not end
    it: silence may be the network's, and is for the stream's packets to show.
    """

    def ended(self) -> str | None:
        """Why it is over, by the far end's own word; None while it lasts. Never waits."""

    def close(self) -> None:
        """Tell the far end that it is over. Never waits."""


@dataclass(frozen=True, slots=True)
class Declined:
    """Why a far end has not agreed to a session, and what to do about it."""

    reason: str
    hint: str = ""
    unheard: bool = False
    """it did not speak at all: it may be down, or the network between"""

    def __str__(self) -> str:
        return f"{self.reason} (hint: {self.hint})" if self.hint else self.reason


Arrange = Callable[[FlowTarget, Mapping[str, object], int, Clock], Session | Declined]
"""Agree on a session: target, the kind's parameters, the UDP port the stream sends from. Ends within ten seconds or so,
and never raises for the peer's trouble."""


@dataclass(frozen=True, slots=True)
class StreamKind:
    """Packets paced by the engine for as long as the circuit is watched. `codec` opens no socket.

    What the engine does itself are the parameters port, every, timeout, size, dscp and ttl. `codec` is called with all
    others by name and, if `sessions`, with dscp; a `secret` comes as octets.
    """

    name: str
    summary: str
    parameters: tuple[Parameter, ...]
    metrics: tuple[Metric, ...]
    codec: Callable[..., AnyCodec]
    sessions: bool = False
    """`codec` makes a SessionCodec"""
    arrange: Arrange | None = None
    """what the far end must agree to before the stream begins. The parameter `port` is where it is asked, `size` and
    `timeout` are those of the stream
    """


@dataclass(frozen=True, slots=True)
class FlowKind:
    """One attempt, run to its end. `measure` never raises for the peer's trouble and always ends by its deadline."""

    name: str
    summary: str
    parameters: tuple[Parameter, ...]
    metrics: tuple[Metric, ...]
    measure: Callable[[FlowTarget, Mapping[str, object], Clock], Sample]
    exclusive: bool = False
    """runs alone on its circuit and towards its remote (it loads the path). Its parameters may hold `progress`, to be
    called several times a second; what that raises ends the run at once and is passed on
    """
    single: bool = False
    """one run says all, and costs: by hand one is made, and an agent does not begin them all at once. `progress` as for
    exclusive kinds
    """


Kind = StreamKind | FlowKind


def names() -> tuple[str, ...]:
    """Names of all kinds, sorted: the modules directly in `probes`. Imports none of them."""
    return tuple(sorted(entry.name for entry in pkgutil.iter_modules(probes.__path__) if not entry.ispkg))


def load(name: str) -> Kind:
    """The kind called `name`. Raises LocalError when there is none."""
    if name not in names():
        raise LocalError(f"there is no probe kind {name!r}", hint=f"known kinds: {', '.join(names())}")
    kind = importlib.import_module(f"probes.{name}").PROBE
    if not isinstance(kind, StreamKind | FlowKind):
        raise LocalError(f"probes/{name}.py does not define PROBE as a StreamKind or FlowKind")
    return kind
