"""What `pip install` gets is what the folders hold."""

import ast
import re
import sys
import tomllib
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_every_folder_of_code_is_listed_and_every_listed_folder_exists() -> None:
    folders = {
        ".".join(path.relative_to(ROOT).parts)
        for package in ("agent", "probes")
        for path in ((ROOT / package), *(ROOT / package).rglob("*"))
        if path.is_dir() and any(path.glob("*.py"))
    }
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == folders
    assert all((ROOT / folder.replace(".", "/") / "__init__.py").is_file() for folder in folders)


def test_the_version_is_one_and_the_same() -> None:
    version = PROJECT["project"]["version"]
    assert str(Version(version)) == version
    assert distribution("linkwitness").version == version


def test_the_command_is_the_projects() -> None:
    (entry,) = distribution("linkwitness").entry_points.select(group="console_scripts")
    assert (entry.name, entry.value) == ("linkwitness", PROJECT["project"]["scripts"]["linkwitness"])
    assert callable(entry.load())


def test_installed_requirements_are_those_of_the_project() -> None:
    """An environment that is older than pyproject.toml would test something else than what is shipped."""
    wanted = {str(Requirement(text)) for text in PROJECT["project"]["dependencies"]}
    installed = {str(r) for text in distribution("linkwitness").requires or [] if not (r := Requirement(text)).marker}
    assert installed == wanted


def normal(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def imported(path: Path) -> set[str]:
    """Top-level names a module imports."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
    return {name.split(".")[0] for name in names}


def test_each_library_we_import_is_a_declared_dependency() -> None:
    """pydantic_core comes with pydantic, which pins it."""
    providers = packages_distributions()
    declared = {normal(Requirement(text).name) for text in PROJECT["project"]["dependencies"]} | {"pydantic-core"}
    ours = {"agent", "probes", "__future__", *sys.stdlib_module_names}
    used = {
        name for package in ("agent", "probes") for path in (ROOT / package).rglob("*.py") for name in imported(path)
    }
    assert not [name for name in sorted(used - ours) if not declared & {normal(d) for d in providers.get(name, [name])}]
