"""What somebody asked to be measured now."""

from __future__ import annotations

from dataclasses import dataclass

from probes.core.catalog import Kind


@dataclass(frozen=True, slots=True)
class Request:
    """One ad-hoc measurement as asked for. `parameters` are the kind's, in base units, defaults included."""

    kind: Kind
    target: str
    address: str
    parameters: dict[str, object]
    count: int | None = None
    source: str | None = None
    interface: str | None = None
    dscp: int = 0
    as_json: bool = False
    quiet: bool = False

    def integer(self, name: str) -> int | None:
        value = self.parameters.get(name)
        return value if isinstance(value, int) else None
