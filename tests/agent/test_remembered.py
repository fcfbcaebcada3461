"""What the store tells an agent that starts."""

from __future__ import annotations

from pathlib import Path as File

import pytest

from agent import remembered
from agent.store import Store
from probes.core.clock import SECOND
from probes.core.model import Hop, Path, Sample, SampleState
from tests.fakes.clock import FakeClock

T0 = 1_800_000_000 * SECOND
PATH = Path("udp", True, (Hop(1, "192.0.2.1", 3, 3, 10, 30, 10), Hop(2, None, 3, 0)))


def sample(start_s: int, path: Path | None, *, probe: str = "path", circuit: str = "a") -> Sample:
    state = SampleState.INVALID if path is None else SampleState.OK
    return Sample(circuit, probe, "path", T0 + start_s * SECOND, SECOND, state, remote="192.0.2.9", path=path)


@pytest.fixture
def store(tmp_path: File) -> File:
    with_paths = [sample(0, PATH), sample(600, PATH), sample(1200, None), sample(0, None, circuit="b")]
    opened = Store.open(tmp_path / "store", clock=FakeClock(T0), site="x")
    opened.append(with_paths)
    opened.flush(5)
    opened.close(5)
    return tmp_path / "store"


def test_the_newest_path_of_each_probe(store: File) -> None:
    keys = [("a", "path"), ("b", "path"), ("c", "path")]
    found = remembered.last_paths(store, keys)
    assert list(found) == [("a", "path")]
    newest = found["a", "path"]
    assert (newest.start_ns, newest.path, newest.remote) == (T0 + 600 * SECOND, PATH, "192.0.2.9")
    assert remembered.last_paths(store, [("b", "path")]) == {}


def test_a_store_that_cannot_be_read_is_no_reason_not_to_start(
    tmp_path: File, caplog: pytest.LogCaptureFixture
) -> None:
    assert remembered.last_paths(tmp_path / "none", [("a", "path")]) == {}
    assert remembered.last_runs(tmp_path / "none") == {}
    assert "not compared" in caplog.text
