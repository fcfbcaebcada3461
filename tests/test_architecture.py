"""Imports go down only. Read from the source by `ast`, so that imports inside functions and for types count as well."""

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from probes.core import catalog

ROOT = Path(__file__).parents[1]
OURS = ("agent", "probes")
LONGEST_MODULE = 400

LAYERS: tuple[tuple[str, ...], ...] = (
    ("agent.cli",),
    ("agent.daemon",),
    ("agent.overview",),
    ("agent.incident_reading",),
    ("agent.watch", "agent.judging", "agent.live", "agent.audit", "agent.assessing"),
    ("agent.written",),
    (
        "agent.flows",
        "agent.gate",
        "agent.negotiations",
        "agent.recorded",
        "agent.surroundings",
        "agent.paths",
        "agent.remembered",
    ),
    ("agent.schedule", "agent.deliver", "agent.health", "agent.carrier", "agent.reflecting", "agent.report"),
    ("agent.store", "agent.contract_files"),
    ("agent.incident_import",),
    (
        "agent.incident_files",
        "agent.event_files",
        "agent.claim_files",
        "agent.exclusion_files",
        "agent.maintenance_notices",
    ),
    ("agent.maintenance_ledger",),
    ("agent.contract_language",),
    ("agent.config", "agent.sla", "agent.tabular"),
    (
        "agent.document",
        "agent.ledger",
        "agent.discover",
        "agent.exclusive",
        "agent.log_limit",
        "agent.notify",
        "agent.workers",
        "agent.path_history",
        "agent.signals",
        "agent.closing",
        "agent.crew",
        "agent.allocation",
        "agent.canary",
    ),
    ("probes.*", "probes.reflect"),
    ("probes.engine", "probes.trace"),
    ("probes.wire", "probes.metrics", "probes.core.catalog"),
    ("probes.core.codec", "probes.core.path_text", "probes.core.block"),
    ("probes.core.model", "probes.core.units"),
    ("probes.core.arrays",),
    ("probes.core.errors", "probes.core.clock", "probes.core.packing"),
)
"""Top first. Parts on one line do not import each other. `probes.*` is every kind, each a part of its own."""

EVERYWHERE = {"numpy", "typer"}
"""Third-party libraries that any module may import."""

PART_OF = {"pydantic_core": "pydantic"}
"""Import names that belong to another library."""

Edge = tuple[str, str]


def modules(root: Path) -> dict[str, Path]:
    """Our modules by dotted name."""
    found = {}
    for package in OURS:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path) -> Iterator[str]:
    """Every dotted name a module imports; `from a.b import c` gives a.b.c. Relative imports start with a dot."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            stem = "." * node.level + (node.module or "")
            yield from (f"{stem}.{alias.name}" for alias in node.names)


def edges(root: Path) -> list[Edge]:
    """(module, imported module of ours), names inside a module resolved to the module."""
    known = modules(root)
    found = []
    for name, path in known.items():
        for target in imports(path):
            if target.split(".")[0] in OURS:
                found.append((name, target if target in known else target.rpartition(".")[0]))
    return found


def place(module: str) -> tuple[int, str] | None:
    """Layer from the top and part of a module; None for a package's own __init__ above all parts, or a stranger."""
    for depth, parts in enumerate(LAYERS):
        for part in parts:
            if module == part or module.startswith(f"{part}."):
                return depth, part
    pieces = module.split(".")
    if pieces[0] == "probes" and len(pieces) == 2:
        return next(depth for depth, parts in enumerate(LAYERS) if "probes.*" in parts), module
    return None


def upward(root: Path) -> list[str]:
    """Sentences on every import that runs up or sideways."""
    complaints = []
    for source, target in edges(root):
        here, there = place(source), place(target)
        if source in OURS and there is not None:
            complaints.append(f"{source} (the package itself) imports {target}")
        if here is None or there is None or here[1] == there[1]:
            continue
        if here[0] > there[0]:
            complaints.append(f"{source} imports {target}, which stands above it")
        elif here[0] == there[0]:
            complaints.append(f"{source} imports {target}, which stands beside it")
        if source.startswith("probes") and target.startswith("agent"):
            complaints.append(f"{source} imports {target}: probes never imports agent")
    return complaints


def homeless(root: Path) -> list[str]:
    """Modules that stand in no layer."""
    return [name for name in modules(root) if name not in OURS and name != "probes.core" and place(name) is None]


def scattered(root: Path) -> list[str]:
    """Third-party libraries that more than one module of ours imports."""
    users: defaultdict[str, set[str]] = defaultdict(set)
    for name, path in modules(root).items():
        for target in imports(path):
            library = target.split(".")[0]
            library = PART_OF.get(library, library)
            if library and library not in OURS and library not in sys.stdlib_module_names and library != "__future__":
                users[library].add(name)
    return [
        f"{library} is imported by {', '.join(sorted(names))}"
        for library, names in sorted(users.items())
        if len(names) > 1 and library not in EVERYWHERE
    ]


def relative(root: Path) -> list[str]:
    return [name for name, path in modules(root).items() if any(target.startswith(".") for target in imports(path))]


def long(root: Path) -> list[str]:
    sizes = {name: path.read_text("utf-8").count("\n") for name, path in modules(root).items()}
    return [f"{name} has {lines} lines" for name, lines in sizes.items() if lines > LONGEST_MODULE]


def kinds_without_probe(root: Path) -> list[str]:
    """Files directly in `probes` that do not assign PROBE at top level."""
    lacking = []
    for path in sorted((root / "probes").glob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        names = {
            target.id
            for node in tree.body
            for target in (
                node.targets
                if isinstance(node, ast.Assign)
                else [node.target]
                if isinstance(node, ast.AnnAssign)
                else []
            )
            if isinstance(target, ast.Name)
        }
        if path.name != "__init__.py" and "PROBE" not in names:
            lacking.append(path.name)
    return lacking


RULES = (upward, homeless, scattered, relative, long, kinds_without_probe)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_stands(rule: object) -> None:
    assert callable(rule)
    assert rule(ROOT) == []


def test_every_kind_loads() -> None:
    for name in catalog.names():
        assert catalog.load(name).name == name


@pytest.mark.parametrize("package", OURS)
def test_the_installed_package_is_ours(package: str) -> None:
    """No other distribution has put an `agent` or `probes` of its own where Python would find it."""
    assert set(packages_distributions().get(package, [])) <= {"linkwitness"}
    assert Path(__import__(package).__file__ or "").parent == ROOT / package


SEEDED = {
    "upward import": (
        "agent/sla/x.py",
        "import agent.store",
        upward,
        "agent.sla.x imports agent.store, which stands above",
    ),
    "up inside a function": (
        "agent/config.py",
        "def f():\n    from agent.daemon import run",
        upward,
        "agent.config imports agent.daemon, which stands above",
    ),
    "up for types only": (
        "probes/wire/x.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from probes.engine.loop import Engine",
        upward,
        "probes.wire.x imports probes.engine.loop, which stands above",
    ),
    "kind to kind": (
        "probes/tcp.py",
        "PROBE = 1\nfrom probes import icmp",
        upward,
        "imports probes.icmp, which stands beside",
    ),
    "room to room": (
        "agent/deliver/x.py",
        "import agent.health",
        upward,
        "imports agent.health, which stands beside it",
    ),
    "probes to agent": ("probes/engine/x.py", "from agent import sla", upward, "probes never imports agent"),
    "a package of rooms": ("probes/__init__.py", "import probes.engine.loop", upward, "the package itself"),
    "one library twice": (
        "agent/health.py",
        "import scapy.all",
        scattered,
        "scapy is imported by agent.health, probes.icmp",
    ),
    "relative": ("agent/sla/y.py", "from . import x", relative, "agent.sla.y"),
    "long": ("agent/daemon.py", "\n" * 401, long, "agent.daemon has 401 lines"),
    "no PROBE": ("probes/udp.py", "def PROBE():\n    pass", kinds_without_probe, "udp.py"),
    "no layer": ("agent/helpers.py", "", homeless, "agent.helpers"),
}


@pytest.mark.parametrize("name", SEEDED)
def test_a_seeded_violation_is_caught(name: str, tmp_path: Path) -> None:
    path, text, rule, complaint = SEEDED[name]
    whole = {
        "agent/__init__.py": "",
        "agent/daemon.py": "import agent.store",
        "agent/health.py": "import probes.core.clock",
        "agent/store/__init__.py": "",
        "agent/sla/__init__.py": "",
        "agent/deliver/__init__.py": "import agent.store",
        "agent/sla/x.py": "import probes.core.model",
        "probes/__init__.py": "",
        "probes/icmp.py": "from probes.engine.loop import Engine\nimport scapy.all, numpy\nPROBE = 1",
        "probes/engine/__init__.py": "",
        "probes/engine/loop.py": "import numpy\nfrom probes.core.model import Sample",
        "probes/wire/__init__.py": "",
        "probes/core/__init__.py": "",
        "probes/core/model.py": "",
        "probes/core/clock.py": "",
    }
    for file, body in whole.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(body, "utf-8")
    assert [check(tmp_path) for check in RULES] == [[] for _ in RULES]
    (tmp_path / path).write_text(text, "utf-8")
    assert any(complaint in sentence for sentence in rule(tmp_path)), rule(tmp_path)
