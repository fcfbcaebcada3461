"""What the fault harnesses share: file systems of their own, processes quick to start."""

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


@pytest.fixture(scope="session", autouse=True)
def preloaded() -> None:
    """Children are forked from a process that has everything imported."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(["tests.faults.keeper", "tests.faults.courier"])


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
