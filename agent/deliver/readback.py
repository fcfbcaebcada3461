"""Reading samples back from InfluxDB by InfluxQL, the one language of 1.x, 2.x and 3.x, as columns for the judge.

Only integer fields and the histogram text are asked for, so that what comes back equals what was sent, bit for bit.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlencode

import numpy as np

from agent.config import SinkSettings
from agent.deliver.answer import said
from agent.deliver.http import MAXIMUM_READ_BACK, NetworkError, Transport
from agent.deliver.line import measurement
from agent.deliver.server import recognise
from agent.deliver.sink import authorization
from agent.sla.columns import SampleColumns
from agent.store import Series
from probes.core import catalog
from probes.core.arrays import ABSENT, Histogram, Int64
from probes.core.errors import LocalError

PAGE_ROWS: Final = 20_000
_ALWAYS: Final = ("span_ns", "state")


class _Query:
    """Runs InfluxQL against one database."""

    def __init__(self, settings: SinkSettings) -> None:
        self._settings = settings
        self._transport = Transport(settings.url, timeout_ns=6 * settings.timeout_ns, ca_file=settings.ca_file)

    def check_product(self) -> None:
        server = self._guard(lambda: recognise(self._transport))
        if server.product == "VictoriaMetrics":
            raise LocalError(
                f"sink {self._settings.name} is {server}, which does not speak InfluxQL",
                hint="judge from the store, or from an InfluxDB sink",
            )

    def rows(self, statement: str) -> list[dict[str, Any]]:
        """The series of the answer: name, tags, columns, values. Times are int ns. Raises LocalError."""
        parameters = {"q": statement, "epoch": "ns", "db": self._settings.database or self._settings.bucket or ""}
        if self._settings.retention_policy:
            parameters["rp"] = self._settings.retention_policy
        headers = {"Accept": "application/json", **authorization(self._settings)}
        path = f"/query?{urlencode(parameters)}"
        response = self._guard(lambda: self._transport.request("GET", path, headers=headers, limit=MAXIMUM_READ_BACK))
        if response.status != 200 or not response.complete:
            words = said(response.status, response.headers, response.data)
            raise LocalError(
                f"sink {self._settings.name} does not answer queries: {words}", hint="linkwitness sink check"
            )
        try:
            result = json.loads(response.data)["results"][0]
        except (ValueError, LookupError, TypeError):
            raise LocalError(f"sink {self._settings.name} gave an answer that is not InfluxQL's") from None
        if "error" in result:
            raise LocalError(f"sink {self._settings.name} refuses the query: {result['error']}")
        found: list[dict[str, Any]] = result.get("series", [])
        return found

    def close(self) -> None:
        self._transport.close()

    def _guard(self, ask: Any) -> Any:
        try:
            return ask()
        except NetworkError as error:
            raise LocalError(f"sink {self._settings.name}: {error}", hint="linkwitness sink check") from None


def series(settings: SinkSettings) -> list[Series]:
    """Every probe of every circuit the database knows, by circuit and probe. Raises LocalError."""
    query = _Query(settings)
    try:
        query.check_product()
        return _series(query)
    finally:
        query.close()


def read(
    settings: SinkSettings,
    circuit: str,
    probe: str,
    columns: Sequence[str],
    start_ns: int,
    end_ns: int,
    kind: str | None = None,
) -> SampleColumns:
    """Samples that start in [start_ns, end_ns), as StoreReader.read gives them. Raises LocalError."""
    query = _Query(settings)
    try:
        chosen = kind or _kind_of(query, circuit, probe)
        names = [name for name in dict.fromkeys((*_ALWAYS, *columns)) if name != "start_ns"]
        return _columns(circuit, probe, chosen, names, _pages(query, circuit, probe, chosen, names, start_ns, end_ns))
    finally:
        query.close()


def _series(query: _Query, condition: str = "") -> list[Series]:
    measurements = ",".join(identifier(measurement(kind)) for kind in catalog.names())
    statement = f'SELECT {{}}("state") FROM {measurements}{condition} GROUP BY "circuit","probe","kind"'
    firsts = {_key(item): item["values"][0][0] for item in query.rows(statement.format("first"))}
    lasts = {_key(item): item["values"][0][0] for item in query.rows(statement.format("last"))}
    counts = {_key(item): item["values"][0][1] for item in query.rows(statement.format("count"))}
    return [Series(*key, firsts[key], lasts[key], counts.get(key, 0)) for key in sorted(set(firsts) & set(lasts))]


def _key(item: dict[str, Any]) -> tuple[str, str, str]:
    tags = item["tags"]
    return tags["circuit"], tags["probe"], tags["kind"]


def _kind_of(query: _Query, circuit: str, probe: str) -> str:
    found = _series(query, f' WHERE "circuit"={text(circuit)} AND "probe"={text(probe)}')
    newest = max(found, key=lambda item: item.last_ns, default=None)
    return newest.kind if newest else probe


def _pages(
    query: _Query, circuit: str, probe: str, kind: str, names: Sequence[str], start_ns: int, end_ns: int
) -> list[list[Any]]:
    wanted = ",".join(identifier(name) for name in names)
    rows: list[list[Any]] = []
    while True:
        statement = (
            f'SELECT {wanted} FROM {identifier(measurement(kind))} WHERE "circuit"={text(circuit)} AND '
            f'"probe"={text(probe)} AND time >= {start_ns} AND time < {end_ns} ORDER BY time LIMIT {PAGE_ROWS}'
        )
        found = query.rows(statement)
        page = found[0]["values"] if found else []
        rows.extend(page)
        if len(page) < PAGE_ROWS:
            return rows
        start_ns = page[-1][0] + 1


def _columns(circuit: str, probe: str, kind: str, names: Sequence[str], rows: list[list[Any]]) -> SampleColumns:
    arrays: dict[str, Any] = {"start_ns": _integers([row[0] for row in rows])}
    for place, name in enumerate(names, start=1):
        values = [row[place] for row in rows]
        arrays[name] = (
            tuple(None if value is None else Histogram.from_text(value) for value in values)
            if name == "histogram"
            else _integers(values)
        )
    return SampleColumns(circuit, probe, kind, **arrays)


def _integers(values: Sequence[Any]) -> Int64:
    return np.array([ABSENT if value is None else int(value) for value in values], np.int64)


def identifier(name: str) -> str:
    """A measurement or field name in InfluxQL."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def text(value: str) -> str:
    """A text literal in InfluxQL."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
