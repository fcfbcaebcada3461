"""A statement as JSON, name by name as its types, and the JSON Schema of that. Pure.

An exact number is a fraction in a string (`"19/20"`) beside its nearest decimal; instants are ns in an integer beside
ISO 8601. Missing is null.
"""

from __future__ import annotations

import json
import types
from dataclasses import fields, is_dataclass
from fractions import Fraction
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from agent.report.statement.model import Statement

SCHEMA: Final = "linkwitness.report/1"
SCHEMA_ID: Final = "https://linkwitness.invalid/schema/report-1.json"
_FRACTION: Final = r"^-?[0-9]+(/[1-9][0-9]*)?$"


def as_json(statement: Statement) -> str:
    """One JSON object, indented, ending with a line feed."""
    return json.dumps({"schema": SCHEMA, **_object(statement)}, ensure_ascii=False, indent=2) + "\n"


def plain(value: object) -> Any:
    """Dataclasses, tuples, fractions and plain values as JSON has them."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, Fraction):
        return {"exact": str(value), "decimal": float(value)}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return _object(value)


def _object(value: object) -> dict[str, Any]:
    if not is_dataclass(value) or isinstance(value, type):
        raise TypeError(f"{type(value).__name__} has no form in JSON")
    return {item.name: plain(getattr(value, item.name)) for item in fields(value)}


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of as_json, from the types of the statement."""
    definitions: dict[str, Any] = {"Exact": _EXACT}
    found = _of_class(Statement, definitions)
    found["properties"] = {"schema": {"const": SCHEMA}, **found["properties"]}
    found["required"] = ["schema", *found["required"]]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "Report of linkwitness",
        **found,
        "$defs": dict(sorted(definitions.items())),
    }


_EXACT: Final = {
    "type": "object",
    "description": "An exact number: a fraction in lowest terms, and the nearest decimal.",
    "properties": {"exact": {"type": "string", "pattern": _FRACTION}, "decimal": {"type": "number"}},
    "required": ["exact", "decimal"],
    "additionalProperties": False,
}


def _of_class(kind: type, definitions: dict[str, Any]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    names = [item.name for item in fields(kind)]
    return {
        "type": "object",
        "description": " ".join((kind.__doc__ or "").split()),
        "properties": {name: _of_type(hints[name], definitions) for name in names},
        "required": names,
        "additionalProperties": False,
    }


def _of_type(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin = get_origin(kind)
    if origin is Literal:
        return {"enum": list(get_args(kind))}
    if origin is tuple:
        return {"type": "array", "items": _of_type(get_args(kind)[0], definitions)}
    if origin in (Union, types.UnionType):
        inner = [item for item in get_args(kind) if item is not type(None)]
        return {"anyOf": [*(_of_type(item, definitions) for item in inner), {"type": "null"}]}
    if kind is Fraction:
        return {"$ref": "#/$defs/Exact"}
    if is_dataclass(kind) and isinstance(kind, type):
        if kind.__name__ not in definitions:
            definitions[kind.__name__] = {}
            definitions[kind.__name__] = _of_class(kind, definitions)
        return {"$ref": f"#/$defs/{kind.__name__}"}
    names = {str: "string", bool: "boolean", int: "integer"}
    return {"type": names[kind]}
