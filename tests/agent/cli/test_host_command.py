"""`linkwitness host` at the command line."""

import json
from pathlib import Path

from agent.store import Store
from probes.core.clock import SECOND, SystemClock
from tests.agent.cli.commands import linkwitness
from tests.agent.store.test_host_seconds import HostSeconds, seconds


def test_it_shows_the_unfit_seconds_of_a_store(tmp_path: Path) -> None:
    clock = SystemClock()
    store = Store.open(tmp_path / "store", clock=clock, site="lab")
    values = seconds(0, 60, broken=(7,)).values
    values[:, 0] += clock.wall() // SECOND * SECOND - 60 * SECOND - values[0, 0]
    store.note(HostSeconds(values))
    assert store.close(10.0)
    shown = linkwitness("host", "--store", tmp_path / "store")
    assert shown.returncode == 0
    assert "unfit to measure in 1 of 60 seconds observed (1.67%)" in shown.stdout
    assert "CPU stolen; sent late" in shown.stdout
    document = json.loads(linkwitness("host", "--store", tmp_path / "store", "--since", "1h", "--json").stdout)
    assert (document["observed"], document["impaired"], len(document["seconds"])) == (60, 1, 60)
    assert "1 of 60 seconds" in linkwitness("status", "--store", tmp_path / "store").stdout


def test_a_span_that_is_none_and_a_store_that_is_not_there(tmp_path: Path) -> None:
    wrong = linkwitness("host", "--store", tmp_path, "--since", "soon")
    assert (wrong.returncode, "200ms, 10s" in wrong.stderr) == (2, True)
    missing = linkwitness("host", "--store", tmp_path)
    assert (missing.returncode, "there is no store" in missing.stderr) == (1, True)
