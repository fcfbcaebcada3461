"""Several files as one document: a main file and its drop-ins. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from agent.document.problem import KeyPath, Position, Problem
from agent.document.tree import Document


def merge(documents: Iterable[Document]) -> Document:
    """One document of several files: top-level lists join in file order; any other value may be set once."""
    merged: dict[str, object] = {}
    values: dict[KeyPath, Position] = {}
    keys: dict[KeyPath, Position] = {}
    problems: list[Problem] = []
    doubtful: set[KeyPath] = set()
    files: list[str] = []
    broken = False
    for document in documents:
        files.extend(document.files)
        problems.extend(document.problems)
        broken = broken or document.broken
        values.setdefault((), document.position(()))
        if document.data is None:
            continue
        if not isinstance(document.data, dict):
            problems.append(document.problem((), "the file must be a mapping (`key: value` lines)"))
            broken = True
            continue
        shift = {key: len(items) for key, items in merged.items() if isinstance(items, list)}
        problems.extend(_join(merged, document.data, (), document, keys))
        for path, place in document.values.items():
            values.setdefault(_moved(path, shift), place)
        for path, place in document.keys.items():
            keys.setdefault(_moved(path, shift), place)
        doubtful.update(_moved(path, shift) for path in document.doubtful)
    return Document(merged, values, keys, tuple(files), tuple(problems), frozenset(doubtful), broken)


def _moved(path: KeyPath, shift: Mapping[str, int]) -> KeyPath:
    if len(path) < 2 or not isinstance(path[1], int) or not isinstance(path[0], str):
        return path
    return (path[0], path[1] + shift.get(path[0], 0), *path[2:])


def _join(
    into: dict[str, object],
    data: dict[str, object],
    path: KeyPath,
    document: Document,
    keys: Mapping[KeyPath, Position],
) -> list[Problem]:
    problems: list[Problem] = []
    for key, value in data.items():
        here = (*path, key)
        present = into.get(key)
        if present is None:
            into[key] = list(value) if isinstance(value, list) else dict(value) if isinstance(value, dict) else value
        elif value is None:
            continue
        elif not path and isinstance(present, list) and isinstance(value, list):
            present.extend(value)
        elif isinstance(present, dict) and isinstance(value, dict):
            problems.extend(_join(present, value, here, document, keys))
        else:
            first = keys.get(here)
            message = f"set already in {first}: a value may be set in one file only"
            problems.append(document.problem(here, message, of_key=True))
    return problems
