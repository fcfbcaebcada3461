"""A store in a fresh directory, closed at the end of the test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.store import Store, StoreReader
from tests.fakes.samples import SteppedClock


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(store_path: Path, clock: SteppedClock) -> Iterator[Store]:
    opened = Store.open(store_path, clock=clock, site="ams-edge-01")
    yield opened
    opened.close(10.0)


@pytest.fixture
def reader(store: Store, store_path: Path) -> Iterator[StoreReader]:  # noqa: ARG001 # the store must be there first
    with StoreReader.open(store_path) as opened:
        yield opened
