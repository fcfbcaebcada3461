"""`linkwitness store backup`, restoring from it, and every command that the operations page tells to type."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agent.cli import main
from agent.store import Store, StoreReader
from agent.store.sealed.manifest import FOLDER, day_text
from tests.fakes.samples import MAXIMUM, START, SteppedClock, ping, some_packets
from tests.fakes.sealed import DAY, release_all, seal_all, told

DOCS = Path(__file__).parents[3] / "docs" / "operations.md"
FIRST_DAY = START // DAY


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    """Two sealed days and a live one."""
    path = tmp_path / "store"
    store = Store.open(path, clock=SteppedClock(), site="lab")
    for day in range(3):
        store.append([ping(day * 8640 + n, circuit="uplink", packets=some_packets(n)) for n in range(5)])
    assert store.flush(10.0)
    release_all(store, seal_all(path, FIRST_DAY + 2))
    assert store.close()
    return path


def run(*arguments: object) -> int:
    return main.run(["store", *map(str, arguments)])


def test_a_copy_says_what_the_store_says_and_is_brought_up_to_date(
    store_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    store = Store.open(store_path, clock=SteppedClock(), site="lab")
    try:
        assert run("backup", "--store", store_path, copy) == 0
        assert "the live database and 2 sealed parts" in capsys.readouterr().out
        with StoreReader.open(store_path) as ours, StoreReader.open(copy) as theirs:
            assert told(theirs) == told(ours)
        store.append([ping(2 * 8640 + 9, circuit="uplink")])
        assert store.flush(10.0)
        release_all(store, seal_all(store_path, FIRST_DAY + 3))
        assert run("backup", "--store", store_path, copy) == 0
        assert "and 1 sealed parts" in (said := capsys.readouterr().out)
        assert "2 parts were there already" in said
        with StoreReader.open(store_path) as ours, StoreReader.open(copy) as theirs:
            assert told(theirs) == told(ours)
    finally:
        store.close()
    assert run("verify", "--store", copy) == 0


def test_a_damaged_day_is_not_copied_over_a_good_one(
    store_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    assert run("backup", "--store", store_path, copy) == 0
    file = next((store_path / FOLDER / f"{day_text(FIRST_DAY)}.1").glob("samples.*"))
    file.write_bytes(file.read_bytes()[:-1] + b"X")
    good = (copy / file.relative_to(store_path)).read_bytes()
    (copy / file.relative_to(store_path)).unlink()  # so that it would be copied again
    capsys.readouterr()
    assert run("backup", "--store", store_path, copy) == 1
    assert f"damaged, not copied: {file}" in capsys.readouterr().err
    assert not (copy / file.relative_to(store_path)).exists()
    (copy / file.relative_to(store_path)).write_bytes(good)
    assert run("backup", "--store", store_path, copy) == 0
    assert run("verify", "--store", copy) == 0
    assert not [path for path in copy.rglob("*") if "unfinished" in path.name]


def test_no_copy_into_a_store(store_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other"
    running = Store.open(other, clock=SteppedClock(), site="lab")
    try:
        for target in (store_path / "backup", other):
            assert run("backup", "--store", store_path, target) == 1
            assert "is no place for a copy" in capsys.readouterr().err
    finally:
        running.close()
    assert run("backup", "--store", tmp_path / "none", tmp_path / "copy") == 1
    assert "there is no store at" in capsys.readouterr().err
    assert not (tmp_path / "copy").exists()


def test_an_agent_goes_on_with_a_copy(store_path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    assert run("backup", "--store", store_path, copy) == 0
    store = Store.open(copy, clock=SteppedClock(), site="lab")
    store.append([ping(3 * 8640, circuit="uplink")])
    assert store.flush(10.0)
    assert store.close()
    with StoreReader.open(copy) as reader:
        assert len(reader.read("uplink", "icmp", ("sent",), -MAXIMUM, MAXIMUM)) == 16
    assert run("verify", "--store", copy) == 0


def commands() -> list[str]:
    """The blocks of the section about the store, in order."""
    section = DOCS.read_text(encoding="utf-8").partition("\n## The store\n")[2].partition("\n## ")[0]
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)


def test_every_command_of_the_operations_page_does_what_it_says(store_path: Path, tmp_path: Path) -> None:
    """Typed one after the other; paths are in a directory of the test, there is no service manager and no new user."""
    (tmp_path / "backup").mkdir()
    (tmp_path / "tmp").mkdir()
    shutil.move(store_path, tmp_path / "linkwitness")
    config = tmp_path / "agent.yaml"
    config.write_text(
        f"site: lab\nstore: {{path: {tmp_path / 'linkwitness'}}}\n"
        "circuits: [{name: uplink, target: 127.0.0.1, probes: [{kind: icmp}]}]\n"
    )
    head = (
        "set -eo pipefail\nsystemctl() { :; }\nchown() { :; }\n"
        f'linkwitness() {{ if [[ " $* " == *" --store "* ]]; then {sys.executable} -m agent.cli.main "$@"; '
        f'else {sys.executable} -m agent.cli.main "$@" -c {config}; fi; }}\n'
    )
    script = "\n".join(commands())
    assert script.count("linkwitness store") == 9
    places = {"/var/lib/": f"{tmp_path}/", "/backup/": f"{tmp_path}/backup/", "/tmp/": f"{tmp_path}/tmp/"}
    script = re.sub(r"(?<= )(/var/lib/|/backup/|/tmp/)", lambda found: places[found[0]], script)
    done = subprocess.run(["bash", "-c", head + script], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr + done.stdout
    assert done.stdout.count(": whole") == 3
    assert "0 samples imported, 15 were there already" in done.stdout
    assert (tmp_path / "tmp" / "all.parquet").exists()
    assert (tmp_path / "tmp" / "all.lines.gz").read_bytes()[:2] == b"\x1f\x8b"
    assert len((tmp_path / "tmp" / "september.csv").read_text().splitlines()) == 16
