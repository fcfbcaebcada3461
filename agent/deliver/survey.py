"""What a server tells of a database before anything is sent: how long it keeps points, which types its fields have.

Asked by reading only. A server that does not answer such questions, or whose token may only write, is no trouble.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from agent.config import SinkSettings
from agent.deliver.http import NetworkError, Transport
from agent.deliver.line import measurement
from agent.deliver.server import Server
from agent.deliver.sink import authorization
from agent.sla.samples.columns import HISTOGRAM_COLUMNS, INTEGER_COLUMNS
from agent.store.far_end import FAR_TEXTS
from probes.core import catalog
from probes.core.clock import SECOND

LIMIT: Final = 1 << 20
HOUR_NS: Final = 3600 * SECOND
MONTH_NS: Final = 31 * 24 * HOUR_NS
FOR_EVER: Final = 0
_UNITS: Final = {"h": HOUR_NS, "d": 24 * HOUR_NS, "w": 7 * 24 * HOUR_NS, "y": 365 * 24 * HOUR_NS, "": MONTH_NS}
_GO: Final = {"h": HOUR_NS, "m": 60 * SECOND, "s": SECOND, "ms": 10**6, "us": 10**3, "µs": 10**3, "ns": 1}
_FLAG: Final = re.compile(r'-retentionPeriod="([0-9.]+)([hdwy]?)"')
_TYPES: Final[Mapping[str, str]] = {
    **dict.fromkeys((name for name in INTEGER_COLUMNS if name != "start_ns"), "integer"),
    **dict.fromkeys((*HISTOGRAM_COLUMNS, *FAR_TEXTS, "reason", "remote"), "string"),
}
"""Fields whose type a database must not know otherwise. Telegraf's own fields have Telegraf's types."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """A field that the database has with another type than samples are sent with: it refuses those samples."""

    measurement: str
    field: str
    theirs: str
    ours: str


@dataclass(frozen=True, slots=True)
class Survey:
    """retention_ns: FOR_EVER without an end, None where it is not known; unread: why reading is not allowed, in the
    server's words; conflicts: by measurement and field."""

    retention_ns: int | None = None
    conflicts: tuple[Conflict, ...] = ()
    unread: str = ""


def survey(settings: SinkSettings, server: Server, api: str) -> Survey:
    """Ends within a few of the sink's timeouts. Raises LocalError where a secret cannot be read."""
    transport = Transport(settings.url, timeout_ns=settings.timeout_ns, ca_file=settings.ca_file)
    asking = _Asking(transport, settings, authorization(settings))
    try:
        if server.product == "VictoriaMetrics":
            return Survey(_victoria(asking.text("/flags")))
        database = settings.database if api == "v1" else settings.bucket
        retention_ns = _policies(asking, settings, database or "") if api == "v1" else _bucket(asking, settings)
        conflicts = tuple(_conflicts(asking.series(_field_keys(), database or "")))
        return Survey(retention_ns, conflicts, asking.refused)
    except NetworkError:
        return Survey()
    finally:
        transport.close()


class _Asking:
    def __init__(self, transport: Transport, settings: SinkSettings, headers: Mapping[str, str]) -> None:
        self._transport, self._settings, self._headers = transport, settings, dict(headers)
        self.refused = ""

    def text(self, path: str) -> str:
        """The answer to a GET, empty where it is no 200. Raises NetworkError."""
        response = self._transport.request("GET", path, headers=self._headers, limit=LIMIT)
        if response.status in (401, 403):
            self.refused = f"HTTP {response.status}"
        return response.data.decode("utf-8", "replace") if response.status == 200 else ""

    def document(self, path: str) -> Any:
        try:
            return json.loads(self.text(path) or "null")
        except (ValueError, RecursionError):
            return None

    def series(self, statement: str, database: str) -> list[dict[str, Any]]:
        """Series of the answer to one InfluxQL statement."""
        found = self.document(f"/query?{urlencode({'q': statement, 'db': database})}")
        try:
            series = found["results"][0]["series"]
        except (LookupError, TypeError):
            return []
        return [item for item in series if isinstance(item, dict)] if isinstance(series, list) else []


def _policies(asking: _Asking, settings: SinkSettings, database: str) -> int | None:
    """InfluxDB 1: of the retention policy that is written to."""
    quoted = database.replace("\\", "\\\\").replace('"', '\\"')
    for item in asking.series(f'SHOW RETENTION POLICIES ON "{quoted}"', database):
        columns = item.get("columns", [])
        for row in item.get("values", []):
            policy = dict(zip(columns, row, strict=False))
            wanted = settings.retention_policy
            if policy.get("name") == wanted if wanted else policy.get("default") is True:
                return _go_duration(str(policy.get("duration", "")))
    return None


def _bucket(asking: _Asking, settings: SinkSettings) -> int | None:
    """InfluxDB 2: of the bucket, where the token may see it."""
    query = {"name": settings.bucket or "", "org": settings.org or ""}
    found = asking.document(f"/api/v2/buckets?{urlencode({key: value for key, value in query.items() if value})}")
    try:
        rules = found["buckets"][0].get("retentionRules") or []
        return FOR_EVER if not rules else int(rules[0]["everySeconds"]) * SECOND
    except (LookupError, TypeError, ValueError, AttributeError):
        return None


def _victoria(flags: str) -> int | None:
    """VictoriaMetrics lists the flags it was started with; without this one it keeps a month."""
    if not flags:
        return None
    found = _FLAG.search(flags)
    try:
        return int(float(found[1]) * _UNITS[found[2]]) if found else MONTH_NS
    except ValueError:
        return None


def _go_duration(text: str) -> int | None:
    """As 1.x writes it: 168h0m0s; 0s is for ever."""
    parts = re.findall(r"([0-9]+)(h|ms|us|µs|ns|m|s)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(int(number) * _GO[unit] for number, unit in parts)


def _field_keys() -> str:
    names = ",".join(f'"{measurement(kind)}"' for kind in catalog.names())
    return f"SHOW FIELD KEYS FROM {names}"


def _conflicts(series: list[dict[str, Any]]) -> Iterator[Conflict]:
    for item in series:
        for row in item.get("values", []):
            if len(row) == 2 and (ours := _TYPES.get(str(row[0]))) not in (None, row[1]):
                yield Conflict(str(item.get("name")), str(row[0]), str(row[1]), str(ours))
