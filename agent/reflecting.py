"""The reflectors this host runs as configured: what cannot start is told and tried again; counters become events."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final

from agent.config import ReflectorSettings
from probes.core.clock import SECOND, Clock
from probes.core.errors import LocalError
from probes.reflect.echo import EchoReflector
from probes.reflect.responder import Responder
from probes.reflect.stamp import StampReflector

EVENT: Final = "reflector"
RECORD_EVERY_NS: Final = 3600 * SECOND
ECHO, RESPONDER, STAMP = "UDP echo", "the responder (TCP)", "STAMP"

Reflector = EchoReflector | Responder | StampReflector


class Reflecting:
    """UDP echo, TCP responder and STAMP reflector. Not thread-safe."""

    def __init__(self, clock: Clock, note: Callable[[str, str], None]) -> None:
        """note: takes an event, kind and text."""
        self._clock, self._note = clock, note
        self._running: dict[str, Reflector] = {}
        self._recorded_ns = clock.monotonic()
        self.troubles: dict[str, str] = {}
        """by reflector, why it does not answer"""

    def open(self, settings: ReflectorSettings | None) -> tuple[list[str], list[str]]:
        """Start what does not run yet; called again and again. What is newly wrong, and what is mended, a sentence
        each."""
        if settings is None:
            return [], []
        wrong, mended = [], []
        for name, build in _wanted(settings, self._clock):
            if name in self._running:
                continue
            try:
                reflector = build()
                reflector.start()
            except LocalError as error:
                text = f"{name} does not answer: {error}"
                if self.troubles.get(name) != text:
                    wrong.append(text)
                self.troubles[name] = text
            else:
                self._running[name] = reflector
                if self.troubles.pop(name, None):
                    mended.append(f"{name} answers now")
        if self._clock.monotonic() - self._recorded_ns >= RECORD_EVERY_NS:
            self._record()
        return wrong, mended

    def counted(self) -> list[str]:
        """What each reflector that was asked has counted: `STAMP: in 12, answered 10, dropped_source 2`."""
        counters = {name: reflector.counters() for name, reflector in self._running.items()}
        return [f"{name}: {counter_line(found)}" for name, found in counters.items() if found["in"]]

    def close(self) -> None:
        """Stop them all; what they counted goes into an event."""
        self.troubles.clear()
        for reflector in self._running.values():
            reflector.close()
        self._record()
        self._running.clear()

    def _record(self) -> None:
        self._recorded_ns = self._clock.monotonic()
        if found := self.counted():
            self._note(EVENT, "; ".join(found))


def counter_line(counters: Mapping[str, int]) -> str:
    """What came in, then every counter that is not 0."""
    return ", ".join(f"{name} {value}" for name, value in counters.items() if value or name == "in")


def _wanted(settings: ReflectorSettings, clock: Clock) -> Iterator[tuple[str, Callable[[], Reflector]]]:
    listen, allow = settings.listen, settings.allow
    yield ECHO, partial(EchoReflector, listen, settings.echo_port, allow=allow, clock=clock)
    yield RESPONDER, partial(Responder, listen, settings.responder_port, allow=allow, clock=clock)
    if settings.stamp_port:
        yield STAMP, partial(_stamp, settings, clock)


def _stamp(settings: ReflectorSettings, clock: Clock) -> StampReflector:
    """Raises LocalError when the key cannot be read."""
    return StampReflector(
        settings.listen,
        settings.stamp_port,
        allow=settings.allow,
        clock=clock,
        key=None if settings.key is None else settings.key.read().reveal().encode(),
        unauthenticated=settings.unauthenticated,
        stateful=settings.stateful,
        reply_dscp=frozenset(settings.reply_dscp),
        rate_per_source=settings.stamp_rate,
        gather_ns=settings.stamp_gather_ns,
    )
