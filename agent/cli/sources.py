"""Where `check` takes its samples from: the local store, or a database that they were delivered to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol

from agent.config import AgentConfig, SinkSettings
from agent.recorded import Recorded
from agent.sla.case import PacketReader
from agent.sla.judge import Reading
from agent.sla.samples.causes import Gap
from agent.sla.samples.columns import SampleColumns
from agent.sla.time.spans import Spans
from agent.store import Series, StoreReader
from probes.core.errors import LocalError

LOCAL = "store"
DATABASE = "influxdb"


class Source(Protocol):
    """Samples by circuit and probe. `name` is for people."""

    name: str

    def since(self, circuit: str) -> int | None:
        """Start of the circuit's first sample ever, UTC ns; None where there is none."""

    def newest(self, circuit: str) -> int | None:
        """Start of the circuit's newest sample, UTC ns; None where there is none."""

    def read(self, circuit: str, reading: Reading) -> SampleColumns:
        """Columns the judge asked for."""

    def gaps(self, circuit: str, start_ns: int, end_ns: int) -> Sequence[Gap]:
        """What the agent recorded that it did not measure in [start_ns, end_ns)."""

    def packets(self, circuit: str) -> PacketReader | None:
        """Reads packets of that circuit's samples; None where the source has none."""

    def carrier_down(self, interface: str, start_ns: int, end_ns: int) -> Spans | None:
        """When the interface had no carrier in [start_ns, end_ns); None where nothing is recorded about it."""

    def __enter__(self) -> Source: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class StoreSource:
    """The store beside a running agent."""

    def __init__(self, path: Path) -> None:
        self.name = f"store {path}"
        self._reader = StoreReader.open(path)
        self._extent = _extent(self._reader.series())
        self._recorded = Recorded(self._reader)

    def since(self, circuit: str) -> int | None:
        return self._extent[circuit][0] if circuit in self._extent else None

    def newest(self, circuit: str) -> int | None:
        return self._extent[circuit][1] if circuit in self._extent else None

    def read(self, circuit: str, reading: Reading) -> SampleColumns:
        return self._reader.read(
            circuit, reading.probe, reading.columns, reading.start_ns, reading.end_ns, reading.kind
        )

    def gaps(self, circuit: str, start_ns: int, end_ns: int) -> Sequence[Gap]:
        return self._recorded.gaps(circuit, start_ns, end_ns)

    def packets(self, circuit: str) -> PacketReader | None:
        return lambda probe, starts_ns: self._reader.packets_of(circuit, probe, starts_ns)

    def carrier_down(self, interface: str, start_ns: int, end_ns: int) -> Spans | None:
        return self._recorded.carrier_down(interface, start_ns, end_ns)

    def __enter__(self) -> StoreSource:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()


class DatabaseSource:
    """One sink, read back by InfluxQL: what this site sent there."""

    def __init__(self, settings: SinkSettings, site: str) -> None:
        from agent.deliver.readback import read, series

        self.name = f"sink {settings.name} ({settings.url})"
        self._read = read
        self._settings, self._site = settings, site
        self._extent = _extent(series(settings, site=site))

    def since(self, circuit: str) -> int | None:
        return self._extent[circuit][0] if circuit in self._extent else None

    def newest(self, circuit: str) -> int | None:
        return self._extent[circuit][1] if circuit in self._extent else None

    def read(self, circuit: str, reading: Reading) -> SampleColumns:
        return self._read(
            self._settings, circuit, reading.probe, reading.columns, reading.start_ns, reading.end_ns,
            kind=reading.kind, site=self._site,
        )  # fmt: skip

    def gaps(self, circuit: str, start_ns: int, end_ns: int) -> Sequence[Gap]:  # noqa: ARG002 # events stay at home
        """None: only samples are delivered, so that nothing missing in a database has a record."""
        return ()

    def packets(self, circuit: str) -> PacketReader | None:  # noqa: ARG002 # packets stay at home
        return None

    def carrier_down(self, interface: str, start_ns: int, end_ns: int) -> Spans | None:  # noqa: ARG002
        return None

    def __enter__(self) -> DatabaseSource:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is kept open between queries."""


def _extent(series: Iterable[Series]) -> dict[str, tuple[int, int]]:
    """Circuit -> start of its first and of its newest sample."""
    extent: dict[str, tuple[int, int]] = {}
    for item in series:
        first, last = extent.get(item.circuit, (item.first_ns, item.last_ns))
        extent[item.circuit] = (min(first, item.first_ns), max(last, item.last_ns))
    return extent


def open_source(config: AgentConfig, wanted: str, store: Path | None) -> Source:
    """`store`, the name of a sink, or `influxdb` for the only sink there is. Raises LocalError.

    store: directory to read instead of the configured one.
    """
    if wanted == LOCAL:
        return StoreSource(store or config.store.path)
    named = [sink for sink in config.sinks if sink.name == wanted]
    if not named and wanted == DATABASE and len(config.sinks) == 1:
        named = list(config.sinks)
    if named and store is not None:
        raise LocalError("--store names a store, --from a database", hint="give one of them")
    if not named:
        names = ", ".join([LOCAL, *(sink.name for sink in config.sinks)])
        raise LocalError(f"there is no source {wanted!r}", hint=f"one of: {names}")
    return DatabaseSource(named[0], config.site)
