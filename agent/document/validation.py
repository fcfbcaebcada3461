"""A document against a model: the model's value, or every mistake with its place and a sentence for people."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from agent.document.model import OURS, Model, Notes, ValidationError, keys_of, shown
from agent.document.problem import DocumentError, KeyPath, Problem
from agent.document.tree import MAXIMUM_SIZE, Document, read
from probes.core.errors import LocalError

M = TypeVar("M", bound=Model)

_YAML_11_BOOLEANS: Final = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}
_QUOTED: Final = re.compile(r"'([^']*)'|(\d+)")
_MAPPING: Final = "must be a mapping (`key: value` lines), not {0}"
_PLAIN: Final = {
    "dict_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "list_type": "must be a list (`- item` lines or `[item, item]`), not {0}",
    "tuple_type": "must be a list (`- item` lines or `[item, item]`), not {0}",
    "int_type": "must be a whole number, not {0}",
    "int_from_float": "must be a whole number, not {0}",
    "float_type": "must be a number, not {0}",
    "decimal_type": "must be a number, not {0}",
}
_BOUNDS: Final = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}


def parse(text: str | bytes, file: str, model: type[M]) -> M:
    """The model's value. Raises DocumentError with all problems of the text."""
    return require(read(text, file), model)


def read_file(path: Path) -> Document:
    """Read a file, at most MAXIMUM_SIZE octets of it. Raises LocalError when it cannot be opened."""
    try:
        with path.open("rb") as stream:
            return read(stream.read(MAXIMUM_SIZE + 1), str(path))
    except OSError as error:
        raise LocalError(f"cannot read {path}: {error.strerror}", hint="check the path and its permissions") from None


def require(document: Document, model: type[M], more: Iterable[Problem] = ()) -> M:
    """The model's value. Raises DocumentError with the document's problems, the model's and `more`, in file order."""
    value, problems = check(document, model)
    everything = ordered(document, (*problems, *more))
    if everything or value is None:
        raise DocumentError(everything)
    return value


def check(document: Document, model: type[M]) -> tuple[M | None, tuple[Problem, ...]]:
    """The value, or None, and what is wrong. Text that could not be read to its end is not held against the model."""
    if document.broken:
        return None, document.problems
    notes = Notes()
    data = {} if document.data is None else document.data
    try:
        value = model.model_validate(data, context=notes)
    except ValidationError as error:
        found = [problem for item in error.errors(include_url=False) for problem in _translate(document, item, notes)]
        where = dict(_mappings(data)) if notes.contradictions else {}
        found += [document.problem((*where[at], *below), text) for at, (below, text) in notes.contradictions]
        return None, (*document.problems, *found)
    return (None if document.problems else value), document.problems


def _mappings(value: object, path: KeyPath = ()) -> Iterator[tuple[int, KeyPath]]:
    """Every mapping below a value by id(), with its path."""
    if isinstance(value, dict):
        yield id(value), path
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, item in steps:
        yield from _mappings(item, (*path, step))


def ordered(document: Document, problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Without repetitions, by file as read, line and column."""
    rank = {file: index for index, file in enumerate(document.files)}

    def place(item: Problem) -> tuple[int, int, int, str, str]:
        return rank.get(item.file, 0), item.line, item.column, item.message, item.key

    return tuple(sorted(set(problems), key=place))


def _translate(document: Document, item: Mapping[str, Any], notes: Notes) -> Iterator[Problem]:
    path, kind, context = _in_document(document, item["loc"], item["type"]), item["type"], item.get("ctx", {})
    if kind == "too_short" and document.at(path):
        return  # the entries are there, but wrong: each has a complaint of its own
    if any(path[:depth] in document.doubtful for depth in range(len(path) + 1)):
        return
    if kind == OURS:
        for below, message in context["found"]:
            yield document.problem((*path, *below), message, of_key=item["loc"][-1:] == ("[key]",))
    elif kind == "extra_forbidden":
        mapping = document.at(path[:-1])
        allowed = list(keys_of(notes.models[id(mapping)])) if id(mapping) in notes.models else []
        absent = [key for key in allowed if not isinstance(mapping, dict) or key not in mapping]
        yield document.problem(path, f"unknown key{_suggestion(str(path[-1]), absent, allowed)}", of_key=True)
    elif kind == "missing":
        yield document.problem(path, "this key is required")
    elif kind in ("union_tag_invalid", "union_tag_not_found"):
        path = (*path, context["discriminator"].strip("'"))
        allowed = _choices(context.get("expected_tags", ""))
        yield document.problem(path, _unknown(document.at(path), allowed))
    else:
        yield document.problem(path, _sentence(kind, item, context))


def _in_document(document: Document, location: tuple[str | int, ...], kind: str) -> KeyPath:
    """The steps of pydantic's location that exist in the document; it also names the branches of unions."""
    path: KeyPath = ()
    for step in location[:-1] if kind == "missing" else location:
        here = document.at(path)
        if (isinstance(here, dict) and step in here) or (isinstance(here, list) and isinstance(step, int)):
            path = (*path, step)
    return (*path, location[-1]) if kind == "missing" else path


def _sentence(kind: str, item: Mapping[str, Any], context: Mapping[str, Any]) -> str:
    value = item.get("input")
    if value is None:
        return "has no value: give one, or remove the key"
    if kind == "string_type":
        hint = ": put it in quotes" if isinstance(value, bool | int | float) else ""
        return f"must be text, not {shown(value)}{hint}"
    if kind == "bool_type":
        meant = _YAML_11_BOOLEANS.get(value.lower()) if isinstance(value, str) else None
        hint = f" (did you mean {meant}?)" if meant else ""
        return f"must be true or false, not {shown(value)}{hint}"
    if kind in _PLAIN:
        return _PLAIN[kind].format(shown(value))
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        return f"must be {words} {context[name]}, not {shown(value)}"
    if kind in ("literal_error", "enum"):
        return _unknown(value, _choices(context.get("expected", "")))
    if kind in ("too_short", "string_too_short"):
        return "must not be empty"
    if kind in ("too_long", "string_too_long"):
        unit = "characters" if kind == "string_too_long" else "entries"
        return f"must have at most {context['max_length']} {unit}"
    return str(item["msg"])


def _choices(expected: str) -> list[str]:
    return [first or second for first, second in _QUOTED.findall(expected)]


def _unknown(value: object, allowed: list[str]) -> str:
    if value is None:
        return f"this key is required (allowed: {', '.join(allowed)})" if allowed else "this key is required"
    return f"{shown(value)} is not allowed{_suggestion(str(value), allowed, allowed)}"


def _suggestion(word: str, likely: list[str], allowed: list[str]) -> str:
    """Bracketed remark: the nearest allowed word, and all of them."""
    plain = {re.sub(r"[-_ ]", "", name).lower(): name for name in reversed(likely)}
    near = difflib.get_close_matches(re.sub(r"[-_ ]", "", word).lower()[:100], plain, 1, 0.6)
    parts = [f"did you mean `{plain[near[0]]}`?"] if near else []
    parts += [f"allowed: {', '.join(allowed)}"] if allowed else []
    return f" ({' '.join(parts)})" if parts else ""
