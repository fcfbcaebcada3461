"""What the fault harnesses share: figures printed at the end, file systems of their own, processes quick to start."""

from __future__ import annotations

import multiprocessing
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.volume import Volume


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long counts take as long as they take."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.timeout(12 * 3600))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    figures = [value for report in reports for name, value in report.user_properties if name == "figure"]
    if figures:
        terminalreporter.section("faults, in figures")
        for text in figures:
            terminalreporter.line(str(text))


@pytest.fixture(scope="session", autouse=True)
def preloaded() -> None:
    """Children are forked from a process that has everything imported."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(["tests.faults.keeper", "tests.faults.courier"])


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Prints one line of figures when all tests are over, and at once under `-s`."""

    def tell(text: str) -> None:
        print(text)
        record_property("figure", text)

    return tell


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts tmpfs of the size given; gone after the test."""
    places: list[Path] = []

    def mount(size: str) -> Path:
        place = tmp_path / f"memory{len(places)}"
        place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "lwfaults", str(place)], check=True, timeout=20)
        places.append(place)
        return place

    yield mount
    for place in places:
        subprocess.run(["umount", "--lazy", str(place)], check=True, timeout=20)


@pytest.fixture
def volume(memory: Callable[[str], Path]) -> Iterator[Callable[[], Volume]]:
    """Makes ext4 file systems whose images lie in memory."""
    place = memory("512m")
    volumes: list[Volume] = []

    def create() -> Volume:
        volumes.append(Volume.create(place, f"disk{len(volumes)}"))
        return volumes[-1]

    yield create
    for created in volumes:
        created.remove()
