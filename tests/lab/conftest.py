"""The `lab` fixture: near host, emulated link, far host. Tests that use it carry the `root` marker."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.lab.namespaces import Lab


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
