"""A report over InfluxDB rests on the same data as one over the store, and its hash says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.cli.main import run
from tests.live.test_check_from_database import home  # noqa: F401 # a fixture

pytestmark = pytest.mark.live("influxdb")


def report(directory: Path, source: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    arguments = ["report", "alpha-1", "-c", str(directory / "agent.yaml"), "--window", "2026-11-03", "--from", source]
    assert run([*arguments, "--now", "2026-11-04T09:00:00Z", "--format", "json"]) == 0
    read: dict[str, Any] = json.loads(capsys.readouterr().out)
    return read


def test_the_data_hash_is_that_of_the_store(home: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    local, remote = report(home, "store", capsys), report(home, "central", capsys)
    assert local["source"] != remote["source"]
    ours, theirs = local["content"]["provenance"], remote["content"]["provenance"]
    assert [(item["probe"], item["rows"], item["sha256"]) for item in ours["series"]] == [
        (item["probe"], item["rows"], item["sha256"]) for item in theirs["series"]
    ]
    assert ours["data_sha256"] == theirs["data_sha256"]
    assert [row["value"] for row in local["content"]["results"]] == [
        row["value"] for row in remote["content"]["results"]
    ]
