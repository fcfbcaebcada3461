import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent import ledger
from agent.ledger import LedgerError, TornLineError
from probes.core.errors import LocalError

LINES = (
    {"action": "add", "id": "INC-1", "note": "Bagger in der Müllerstraße"},
    {"action": "stamp", "id": "INC-1", "stamp": "restored", "at_ns": 1_700_000_000_000_000_001},
    {"action": "close", "id": "INC-1", "references": ["A-1", "B 2"], "nothing": None, "yes": True},
)


def filled(path: Path) -> bytes:
    for index, content in enumerate(LINES):
        ledger.append(path, content, at_ns=1000 + index, by="anna")
    return path.read_bytes()


def line_of(data: bytes, at: int) -> int:
    return data.count(b"\n", 0, at) + 1


def find_change(data: bytes) -> int | None:
    """Line in which a change is found, None where none is."""
    try:
        ledger.parse(data, "x.jsonl")
    except LedgerError as error:
        return error.line
    return None


def trusting(data: bytes) -> int | None:
    """The seeded bug: a chain of which each line names only the one before, as long as lines can be read."""
    previous = None
    for number, line in enumerate(data.splitlines(), 1):
        try:
            entry = json.loads(line)
        except ValueError:
            return number
        if previous is not None and entry.get("previous_sha256") != previous.get("sha256"):
            return number
        previous = entry
    return None


def changes_missed(data: bytes, finder: object) -> int:
    missed = 0
    for at in range(len(data)):
        for bit in (0x01, 0x04, 0x20):
            changed = data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]
            missed += finder(changed) != line_of(data, at)  # type: ignore[operator]
    return missed


def test_what_was_entered_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    assert ledger.read(path) == []
    filled(path)
    entries = ledger.read(path)
    assert [entry.content for entry in entries] == list(LINES)
    assert [(entry.number, entry.at_ns, entry.by) for entry in entries] == [
        (1, 1000, "anna"), (2, 1001, "anna"), (3, 1002, "anna"),
    ]  # fmt: skip
    assert entries[0].previous_sha256 == ledger.FIRST
    assert [entry.previous_sha256 for entry in entries[1:]] == [entry.sha256 for entry in entries[:-1]]


def test_lines_are_plain_json(tmp_path: Path) -> None:
    lines = filled(tmp_path / "x.jsonl").decode().splitlines()
    assert [json.loads(line)["content"] for line in lines] == list(LINES)
    assert "Müllerstraße" in lines[0]


def test_a_changed_byte_anywhere_is_found_in_its_line(tmp_path: Path) -> None:
    assert changes_missed(filled(tmp_path / "x.jsonl"), find_change) == 0


def test_the_search_for_changes_catches_a_chain_that_trusts_itself(tmp_path: Path) -> None:
    assert changes_missed(filled(tmp_path / "x.jsonl"), trusting) > 100


@pytest.mark.parametrize("order", [(1, 0, 2), (0, 2), (1, 2), (0, 1, 1, 2), (0, 0, 1, 2), (0, 2, 1)])
def test_lines_taken_out_put_in_or_moved_are_found(tmp_path: Path, order: tuple[int, ...]) -> None:
    lines = filled(tmp_path / "x.jsonl").splitlines(keepends=True)
    first = next(index for index, line in enumerate(order, 1) if index - 1 != line)
    assert find_change(b"".join(lines[index] for index in order)) == first


def test_a_last_line_cut_at_any_byte_is_told_and_can_be_set_aside(tmp_path: Path) -> None:
    """A writer killed at every byte of the last line: nothing that was there is lost, nothing half is believed."""
    whole = filled(tmp_path / "whole.jsonl")
    kept = whole.rfind(b"\n", 0, -1) + 1
    for length in range(kept + 1, len(whole)):
        path = tmp_path / f"{length}.jsonl"
        path.write_bytes(whole[:length])
        with pytest.raises(TornLineError, match=r":3: .* no end") as torn:
            ledger.read(path)
        assert torn.value.line == 3
        with pytest.raises(TornLineError):
            ledger.append(path, LINES[2], at_ns=1, by="anna")
        assert path.read_bytes() == whole[:length]
        aside = ledger.set_aside(path, at_ns=77)
        assert aside is not None
        assert aside.read_bytes() == whole[kept:length]
        assert path.read_bytes() == whole[:kept]
        ledger.append(path, LINES[2], at_ns=1002, by="anna")
        assert path.read_bytes() == whole


def test_nothing_torn_nothing_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    assert ledger.set_aside(path, at_ns=1) is None
    whole = filled(path)
    assert ledger.set_aside(path, at_ns=1) is None
    assert path.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [path]


def test_a_broken_chain_takes_no_entry_and_no_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    whole = filled(path)
    path.write_bytes(whole.replace(b"INC-1", b"INC-7", 1) + b'{"at_ns"')
    broken = path.read_bytes()
    for attempt in (
        lambda: ledger.read(path),
        lambda: ledger.append(path, LINES[0], at_ns=1, by="anna"),
        lambda: ledger.set_aside(path, at_ns=1),
    ):
        with pytest.raises(LedgerError, match=r"x\.jsonl:1: ") as error:
            attempt()
        assert error.value.line == 1
    assert path.read_bytes() == broken


def test_what_check_refuses_is_not_entered(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    whole = filled(path)

    def refuse(entries: object) -> None:
        raise LocalError(f"{len(entries)} are enough")  # type: ignore[arg-type]

    with pytest.raises(LocalError, match="3 are enough"):
        ledger.append(path, LINES[0], at_ns=1, by="anna", check=refuse)
    assert path.read_bytes() == whole


def test_an_entry_has_an_author_and_json_has_a_form_for_it(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    with pytest.raises(LedgerError, match="who made it"):
        ledger.append(path, LINES[0], at_ns=1, by=" ")
    with pytest.raises(LedgerError, match="cannot be entered"):
        ledger.append(path, {"path": path}, at_ns=1, by="anna")
    with pytest.raises(LedgerError, match="cannot be entered"):
        ledger.append(path, {"x": float("nan")}, at_ns=1, by="anna")
    with pytest.raises(LedgerError, match="too long"):
        ledger.append(path, {"x": "y" * ledger.LINE_LIMIT}, at_ns=1, by="anna")
    assert ledger.read(path) == []


def test_a_line_that_could_not_be_written_whole_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.jsonl"
    whole = filled(path)
    write = os.write

    def full_disk(descriptor: int, data: bytes) -> int:
        monkeypatch.setattr(os, "write", no_space)
        return write(descriptor, bytes(data)[:20])

    def no_space(descriptor: int, data: bytes) -> int:  # noqa: ARG001
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full_disk)
    with pytest.raises(LedgerError, match="No space left on device; nothing was entered"):
        ledger.append(path, LINES[0], at_ns=1, by="anna")
    assert path.read_bytes() == whole


def test_a_ledger_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="Is a directory"):
        ledger.read(tmp_path)
    with pytest.raises(LedgerError, match="No such file"):
        ledger.append(tmp_path / "none" / "x.jsonl", {}, at_ns=1, by="anna")


APPENDER = """
import sys
from pathlib import Path
from agent import ledger
for index in range(int(sys.argv[3])):
    ledger.append(Path(sys.argv[1]), {"n": index}, at_ns=index, by=sys.argv[2])
"""


def test_two_appenders_at_once_make_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    appenders = [
        subprocess.Popen([sys.executable, "-c", APPENDER, str(path), name, "20"], cwd=Path(__file__).parents[2])
        for name in ("anna", "bert")
    ]
    assert [appender.wait(60) for appender in appenders] == [0, 0]
    entries = ledger.read(path)
    for name in ("anna", "bert"):
        assert [entry.content["n"] for entry in entries if entry.by == name] == list(range(20))
    assert len(entries) == 40


def test_threads_at_once_make_one_chain_and_check_sees_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"

    def once(number: int) -> bool:
        def unless_there(entries: object) -> None:
            if any(entry.content["n"] == number % 5 for entry in entries):  # type: ignore[attr-defined]
                raise LocalError("there is one already")

        try:
            ledger.append(path, {"n": number % 5}, at_ns=number, by="anna", check=unless_there)
        except LocalError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        entered = list(pool.map(once, range(20)))
    assert sum(entered) == 5
    assert sorted(entry.content["n"] for entry in ledger.read(path)) == [0, 1, 2, 3, 4]
