"""The `lab` fixture: near host, emulated link, far host; `make_wall`: a wall clock that may be set. Tests that use them
carry the `root` marker."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.lab.namespaces import Lab
from tests.lab.wall import WallClock, build


@pytest.fixture
def make_lab(tmp_path: Path) -> Iterator[Callable[..., Lab]]:
    """Lab(...) with settings of its own. When the test ends, each log is audited against the kernel's counters."""
    made: list[Lab] = []
    with ExitStack() as stack:

        def make(**settings: object) -> Lab:
            folder = tmp_path / f"lab{len(made)}"
            folder.mkdir()
            lab = Lab(folder, **settings)
            stack.callback(lab.close)
            made.append(lab)
            return lab

        yield make
        for lab in made:
            lab.audit()


@pytest.fixture
def lab(make_lab: Callable[..., Lab]) -> Lab:
    """A lab with an unimpaired link."""
    return make_lab()


@pytest.fixture(scope="session")
def clock_shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that sets the clock of one process."""
    return build(tmp_path_factory.mktemp("shim"))


@pytest.fixture
def make_wall(clock_shim: Path, tmp_path: Path) -> Callable[..., WallClock]:
    """WallClock(...) with settings of its own; one for each test."""
    return lambda **settings: WallClock(clock_shim, tmp_path / "wall", **settings)
