"""`linkwitness sink check` against real servers: what they are, what is missing, and that nothing is left behind."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agent.cli.sink import app
from tests.live.servers import InfluxDB1, VictoriaMetrics

pytestmark = pytest.mark.live("influxdb", "victoria-metrics")


def check(home: Path, sink: str, *options: str) -> dict[str, Any]:
    (home / "agent.yaml").write_text(
        "circuits:\n  - {name: a, target: 127.0.0.1, probes: [{kind: icmp}]}\n"
        f"sinks:\n  - {{name: central, timeout: 5s, {sink}}}\n"
    )
    result = CliRunner().invoke(app, ["check", "-c", str(home / "agent.yaml"), "--json", *options])
    found: dict[str, Any] = json.loads(result.stdout)
    assert (result.exit_code == 0) is found["ok"]
    return found["sinks"][0]


def test_influxdb_1(tmp_path: Path) -> None:
    with InfluxDB1() as server:
        server.create("sla")
        good = check(tmp_path, f'url: "{server.url}", database: sla')
        assert (good["ok"], good["product"], good["api"], good["keeps_text"]) == (True, "InfluxDB", "v1", True)
        assert good["version"].startswith("1.6.")
        assert abs(good["clock_skew_ns"]) < 2 * 10**9, "the same clock, read to half a second"
        assert server.query("sla", "SHOW MEASUREMENTS") == []
        assert check(tmp_path, f'url: "{server.url}", database: sla', "--write")["written"]
        [series] = server.query("sla", 'SELECT "check" FROM "linkwitness_agent" GROUP BY *')
        assert series["tags"] == {"sink": "central"}
        assert [row[1] for row in series["values"]] == [1]
        for sink, words in (
            ("database: nowhere", "HTTP 404: database not found"),
            ("database: sla, retention_policy: none", "retention policy not found: none"),
            ("api: v2, bucket: sla", "HTTP 404: 404 page not found"),
        ):
            bad = check(tmp_path, f'url: "{server.url}", {sink}')
            assert not bad["ok"]
            assert any(words in finding["text"] and finding["remedy"] for finding in bad["findings"]), bad


def test_victoria_metrics(tmp_path: Path) -> None:
    with VictoriaMetrics() as server:
        good = check(tmp_path, f'url: "{server.url}", api: v2, bucket: sla, org: isp')
        assert (good["ok"], good["product"], good["api"], good["keeps_text"]) == (True, "VictoriaMetrics", "v2", False)
        assert server.export('{__name__!=""}') == []
        assert check(tmp_path, f'url: "{server.url}", api: v2, bucket: sla', "--write")["written"]
        deadline = time.monotonic() + 20
        while not (found := server.export('{__name__!=""}')) and time.monotonic() < deadline:
            time.sleep(0.1)  # its clock moves in seconds, and a point ahead of it is not shown yet
        [series] = found
        assert series["metric"]["__name__"] == "linkwitness_agent_check"
        assert series["values"] == [1]
