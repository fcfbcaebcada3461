"""The cases worked by hand, counted: every one has its steps in words."""

import importlib.util
import sys
from pathlib import Path

from tests.fakes.worked import Case

HERE = Path(__file__).parent


def test_there_are_enough_and_each_shows_its_working() -> None:
    found: list[Case] = []  # type: ignore[type-arg]
    for path in sorted(HERE.glob("test_worked_*.py")):
        if path == Path(__file__):
            continue
        specification = importlib.util.spec_from_file_location(f"counted_{path.stem}", path)
        assert specification is not None
        assert specification.loader is not None
        module = importlib.util.module_from_spec(specification)
        sys.modules[module.__name__] = module
        specification.loader.exec_module(module)
        for value in vars(module).values():
            if isinstance(value, list | tuple):
                found += [item for item in value if isinstance(item, Case)]
    assert len(found) >= 230
    assert len({(case.name, case.steps) for case in found}) == len(found)
    assert [case.name for case in found if len(case.steps) < 20] == []
