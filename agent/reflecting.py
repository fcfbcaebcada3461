"""The reflectors this host runs as configured: what cannot start is told and tried again."""

from agent.config import ReflectorSettings
from probes.core.clock import Clock
from probes.core.errors import LocalError
from probes.reflect.echo import EchoReflector
from probes.reflect.responder import Responder

_NAMES = {EchoReflector: "UDP echo", Responder: "the responder (TCP)"}


class Reflecting:
    """UDP echo and TCP responder. Not thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._running: dict[str, EchoReflector | Responder] = {}
        self.troubles: dict[str, str] = {}
        """by reflector, why it does not answer"""

    def open(self, settings: ReflectorSettings | None) -> tuple[list[str], list[str]]:
        """Start what does not run yet. What is newly wrong, and what is mended, a sentence each."""
        if settings is None:
            return [], []
        wrong, mended = [], []
        for build, port in ((EchoReflector, settings.echo_port), (Responder, settings.responder_port)):
            name = _NAMES[build]
            if name in self._running:
                continue
            reflector = build(settings.listen, port, allow=settings.allow, clock=self._clock)
            try:
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
        return wrong, mended

    def close(self) -> None:
        self.troubles.clear()
        while self._running:
            self._running.popitem()[1].close()
