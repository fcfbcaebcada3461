"""Which server is behind a sink's URL: asked once, so that `api: auto` and text fields are decided by what is there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from agent.deliver.http import NetworkError, Response, Transport

Product = Literal["InfluxDB", "VictoriaMetrics", "unknown server"]


@dataclass(frozen=True, slots=True)
class Server:
    """What was recognised. api: the write path it takes; keeps_text: text fields come back as they were written."""

    product: Product
    version: str
    api: Literal["v1", "v2"]
    keeps_text: bool
    date: str = ""
    """its Date header"""

    def __str__(self) -> str:
        return f"{self.product} {self.version}".strip()


def recognise(transport: Transport) -> Server:
    """Ask /ping and /health. Raises NetworkError when the server cannot be reached or is in trouble."""
    ping = transport.request("GET", "/ping")
    if ping.status >= 500:
        raise NetworkError(f"the server answers HTTP {ping.status} to /ping")
    version = _header(ping, "X-Influxdb-Version").lstrip("v") or _json_text(ping, "version")
    date = _header(ping, "Date")
    health = transport.request("GET", "/health")
    if _header(health, "X-Server-Hostname") or _header(ping, "X-Server-Hostname"):
        return Server("VictoriaMetrics", "", "v2", keeps_text=False, date=date)
    if not version and _json_text(health, "name") == "influxdb":
        version = _json_text(health, "version").lstrip("v")
    if version.startswith("1."):
        return Server("InfluxDB", version, "v1", keeps_text=True, date=date)
    if version or ping.status in (200, 204, 401):
        return Server("InfluxDB", version, "v2", keeps_text=True, date=date)
    return Server("unknown server", "", "v2", keeps_text=False, date=date)


def _header(response: Response, name: str) -> str:
    return next((value for key, value in response.headers.items() if key.lower() == name.lower()), "")


def _json_text(response: Response, key: str) -> str:
    try:
        document = json.loads(response.data)
    except (ValueError, RecursionError):
        return ""
    value = document.get(key) if isinstance(document, dict) else None
    return value if isinstance(value, str) else ""
