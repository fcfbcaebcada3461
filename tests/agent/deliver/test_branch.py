"""A copy of the store on another machine: its samples carry a tag, so that nothing of the original is overwritten."""

import shutil
from pathlib import Path

import pytest

from agent.deliver.line import LineEncoder
from agent.deliver.linebatch import BatchEncoder
from agent.store import Store, StoredSample, StoreReader, identity
from agent.store.samplebatch import of_samples
from probes.core.model import Delay
from tests.fakes.samples import SteppedClock, ping


def test_samples_of_several_branches_in_one_batch_are_the_lines_of_each() -> None:
    plain = LineEncoder("lab", {})
    delay = Delay(10, 10**8, 10**7, 10**7, 10**7, 10**7, 10**7, 0)
    stored = [
        StoredSample(seq, ping(seq, circuit=f"C-{seq % 3}", **({"delay": delay} if seq % 7 else {})))
        for seq in range(1, 90)
    ]  # fmt: skip
    marks = [(0, None), (20, "one"), (50, "two"), (60, None)]
    batch = of_samples(stored)
    found = BatchEncoder(plain, text=True, branches=lambda: marks).encode(batch)
    expected = [
        plain.encode(item.sample, text=True, branch=[name for first, name in marks if first <= item.seq][-1])
        for item in stored
    ]
    assert [line.decode() for line in found.lines()] == expected
    assert sum(",branch=one," in line for line in expected) == 30
    assert sum("branch=" in line for line in expected) == 40


def lines(path: Path) -> dict[str, str]:
    """Series and time -> fields, of everything in the store, as it is sent."""
    with StoreReader.open(path) as reader:
        batch = reader.after_batch(0, 1000)
        sent = BatchEncoder(LineEncoder("lab", {}), text=True, branches=reader.branches).encode(batch).lines()
    points = {}
    for line in sent:
        head, fields, time = line.decode().split(" ")
        assert (head, time) not in points
        points[f"{head} {time}"] = fields
    return points


def test_original_and_clone_measure_the_same_intervals_and_neither_overwrites_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def session(path: Path, machine: str, first: int, rtt_ns: int) -> None:
        monkeypatch.setattr(identity, "this_machine", lambda: f"{machine};")
        store = Store.open(path, clock=SteppedClock(), site="lab")
        store.append([ping(n, rtt_ns=rtt_ns) for n in range(first, first + 10)])
        assert store.close(10.0)

    session(tmp_path / "original", "one", 0, 1_000_000)
    shutil.copytree(tmp_path / "original", tmp_path / "clone")
    session(tmp_path / "original", "one", 10, 2_000_000)
    session(tmp_path / "clone", "two", 10, 3_000_000)
    original, clone = lines(tmp_path / "original"), lines(tmp_path / "clone")
    both = original.keys() & clone.keys()
    assert len(original) == len(clone) == 20
    assert len(both) == 10, "what was kept before the copy is sent by both"
    assert all(original[point] == clone[point] for point in both)
    with StoreReader.open(tmp_path / "original") as reader:
        assert reader.branches() == []
