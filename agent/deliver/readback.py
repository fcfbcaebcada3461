"""Reading samples back from InfluxDB by InfluxQL, the one language of 1.x, 2.x and 3.x, as columns for the judge.

Only integer fields, histograms and reasons of withheld delays are asked for, so that what comes back equals what was
sent, bit for bit.
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
from agent.deliver.line import MEASUREMENTS, measurement
from agent.deliver.server import recognise
from agent.deliver.sink import authorization
from agent.sla.samples.columns import HISTOGRAM_COLUMNS, WITHHELD_COLUMNS, SampleColumns
from agent.sla.samples.feeds import ONE_WAY_KINDS
from agent.sla.samples.texts import Texts
from agent.store import Series
from probes.core import catalog
from probes.core.arrays import ABSENT, Histogram, Int64
from probes.core.errors import LocalError

PAGE_ROWS = 20_000
"""Rows asked for at once; fewer where their answer would be too long."""
_ALWAYS: Final = ("span_ns", "state")


class _LongAnswerError(LocalError):
    """The answer is longer than we read; a smaller page may not be."""


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
        if not response.complete:
            raise _LongAnswerError(f"sink {self._settings.name} answers with more than {MAXIMUM_READ_BACK} bytes")
        if response.status != 200:
            words = said(response.status, response.headers, response.data)
            raise LocalError(
                f"sink {self._settings.name} does not answer queries: {words}", hint="linkwitness sink check"
            )
        try:
            result = json.loads(response.data)["results"][0]
            if "statement_id" not in result and "error" not in result:
                raise ValueError("VictoriaMetrics answers every query alike, with a list of databases")
        except (ValueError, LookupError, TypeError, RecursionError):
            raise LocalError(
                f"sink {self._settings.name} gave an answer that is not InfluxQL's",
                hint="judge from the store, or from an InfluxDB sink",
            ) from None
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


def series(settings: SinkSettings, *, site: str | None = None) -> list[Series]:
    """Every probe of every circuit the database knows of this site, or of all, by circuit and probe.

    Raises LocalError.
    """
    query = _Query(settings)
    try:
        query.check_product()
        return _series(query, "" if site is None else f' WHERE "site"={text(site)}')
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
    site: str | None = None,
) -> SampleColumns:
    """Samples that start in [start_ns, end_ns), as StoreReader.read gives them.

    Raises LocalError, also where several sites measure such a circuit and `site` does not say whose samples are meant.
    """
    query = _Query(settings)
    try:
        query.check_product()
        where = f'"circuit"={text(circuit)} AND "probe"={text(probe)}'
        if site is not None:
            where += f' AND "site"={text(site)}'
        else:
            _check_one_site(query, circuit, probe, where)
        chosen = kind or _kind_of(query, probe, where)
        names = [name for name in dict.fromkeys((*_ALWAYS, *columns)) if name != "start_ns"]
        rows = _pages(query, f"{identifier(measurement(chosen))} WHERE {where}", names, start_ns, end_ns)
        return _columns(circuit, probe, chosen, names, _once(rows))
    finally:
        query.close()


def _series(query: _Query, condition: str = "") -> list[Series]:
    source = f'FROM {_measurements()}{condition} GROUP BY "circuit","probe","kind"'
    firsts, lasts, counts = (
        {_key(item): item["values"][0] for item in query.rows(f'SELECT {function}("state") {source}')}
        for function in ("first", "last", "count")
    )
    return [
        Series(*key, firsts[key][0], lasts[key][0], counts[key][1])
        for key in sorted(firsts.keys() & lasts.keys() & counts.keys())
    ]


def _measurements() -> str:
    """Of all kinds: those of this version, and those that another may have written."""
    kinds = dict.fromkeys((*catalog.names(), *MEASUREMENTS, *ONE_WAY_KINDS))
    return ",".join(identifier(measurement(kind)) for kind in kinds)


def _key(item: dict[str, Any]) -> tuple[str, str, str]:
    tags = item["tags"]
    return tags["circuit"], tags["probe"], tags["kind"]


def _check_one_site(query: _Query, circuit: str, probe: str, where: str) -> None:
    found = query.rows(f'SELECT last("state") FROM {_measurements()} WHERE {where} GROUP BY "site"')
    sites = sorted({item["tags"]["site"] for item in found})
    if len(sites) > 1:
        raise LocalError(
            f"{circuit}/{probe} is measured by several sites: {', '.join(sites)}",
            hint="their samples are not one series: judge one site, or give the circuits names of their own",
        )


def _kind_of(query: _Query, probe: str, where: str) -> str:
    found = _series(query, f" WHERE {where}")
    newest = max(found, key=lambda item: item.last_ns, default=None)
    return newest.kind if newest else probe


def _pages(query: _Query, source: str, names: Sequence[str], start_ns: int, end_ns: int) -> list[list[Any]]:
    """Rows in ascending time. The last time of a page is asked for again: a second row of it may have been cut off."""
    wanted = ",".join(identifier(name) for name in names)
    rows: list[list[Any]] = []
    limit = PAGE_ROWS
    while True:
        page_of = f"AND time >= {start_ns} AND time < {end_ns} ORDER BY time LIMIT {limit}"
        try:
            found = query.rows(f"SELECT {wanted} FROM {source} {page_of}")
        except _LongAnswerError:
            if limit == 1:
                raise
            limit = max(1, limit // 4)
            continue
        page = found[0]["values"] if found else []
        if len(page) < limit:
            return rows + page
        last_ns = page[-1][0]
        whole = [row for row in page if row[0] < last_ns]
        rows.extend(whole or page)
        start_ns = last_ns if whole else last_ns + 1


def _once(rows: Sequence[list[Any]]) -> list[list[Any]]:
    """One row for each time. A sample sent again under changed labels stands in two series of the database."""
    by_time: dict[int, list[Any]] = {}
    for row in rows:
        known = by_time.setdefault(row[0], row)
        if known is not row:
            by_time[row[0]] = [old if old is not None else new for old, new in zip(known, row, strict=True)]
    return list(by_time.values())


def _columns(circuit: str, probe: str, kind: str, names: Sequence[str], rows: list[list[Any]]) -> SampleColumns:
    arrays: dict[str, Any] = {"start_ns": _integers([row[0] for row in rows])}
    for place, name in enumerate(names, start=1):
        values = [row[place] for row in rows]
        if name in HISTOGRAM_COLUMNS:
            arrays[name] = tuple(None if value is None else Histogram.from_text(value) for value in values)
        else:
            arrays[name] = Texts.of(values) if name in WITHHELD_COLUMNS else _integers(values)
    return SampleColumns(circuit, probe, kind, **arrays)


def _integers(values: Sequence[Any]) -> Int64:
    return np.array([ABSENT if value is None else int(value) for value in values], np.int64)


def identifier(name: str) -> str:
    """A measurement or field name in InfluxQL."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def text(value: str) -> str:
    """A text literal in InfluxQL."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
