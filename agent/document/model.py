"""Models of documents: what may be written, in terms of pydantic, which is known to this module only.

A model's fields are the keys of a mapping; nothing else is allowed. Values are never converted silently: `"5"` is not
5 and 1 is not true. A key without a value counts as not set.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Self, TypeVar, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    Strict,
    ValidationError,
    ValidationInfo,
    create_model,
    model_validator,
)
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from agent.document.problem import KeyPath
from probes.core.errors import LocalError

__all__ = ["Field", "Items", "Model", "Reads", "ValidationError", "make_model", "schema", "shown", "spoken"]

OURS: Final = "linkwitness"
"""type of the errors whose message is ready for people"""

Contradiction = tuple[KeyPath, str]
"""path below the model's own mapping, and what is wrong there"""

T = TypeVar("T")
Items = Annotated[tuple[T, ...], Strict(False)]
"""A list in the file, a tuple in the model."""


P = TypeVar("P", bound="Model")

_STRICT: Final = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)


class Model(BaseModel):
    """A mapping with exactly these keys."""

    model_config = _STRICT

    def contradictions(self) -> Iterator[Contradiction]:
        """What is wrong between values that are right one by one."""
        yield from ()

    @model_validator(mode="wrap")
    @classmethod
    def _whole(cls, data: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        if not isinstance(data, dict):
            return handler(data)
        notes = info.context if isinstance(info.context, Notes) else Notes()
        notes.models[id(data)] = cls
        given = {key: value for key, value in data.items() if value is not None or _needs(cls, key)}
        try:
            made = handler(given)
        except ValidationError as error:
            wrong = {item["loc"][0] for item in error.errors() if item["loc"]}
            right = {key: value for key, value in given.items() if key not in wrong}
            notes.contradictions.extend((id(data), item) for item in _contradictions_among(cls, right, wrong))
            raise
        found = tuple(made.contradictions())
        if found:
            raise PydanticCustomError(OURS, "contradiction", {"found": found})
        return made


@dataclass(frozen=True, slots=True)
class Notes:
    """What a validation learns beside its errors; mappings are known by id()."""

    models: dict[int, type[Model]] = field(default_factory=dict)
    contradictions: list[tuple[int, Contradiction]] = field(default_factory=list)
    """of mappings that are wrong in other ways, too"""


def _needs(model: type[Model], key: str) -> bool:
    """True where a key without value is a mistake and not the same as no key."""
    name = keys_of(model).get(key)
    return name is None or model.model_fields[name].is_required()


@functools.cache
def keys_of(model: type[Model]) -> Mapping[str, str]:
    """Names of the fields by the keys of the document: the same, but for words that Python has taken."""
    return {info.alias or name: name for name, info in model.model_fields.items()}


def _contradictions_among(model: type[Model], right: Mapping[str, Any], wrong: set[int | str]) -> list[Contradiction]:
    """Contradictions between the values that are right, as far as they can be told without the others."""
    names = keys_of(model)
    values = {
        key: getattr(_alone(model, names[key]).model_validate({key: value}), names[key])
        for key, value in right.items()
        if key in names
    }
    partial = model.model_construct(**values)
    for key in (key for key in names if key in wrong or (_needs(model, key) and key not in right)):
        partial.__dict__.pop(names[key], None)
    found: list[Contradiction] = []
    with contextlib.suppress(AttributeError):  # where a value that is wrong or absent would be needed
        found.extend(partial.contradictions())
    return found


@functools.cache
def _alone(model: type[Model], key: str) -> type[BaseModel]:
    """A model of one field, to validate it by itself."""
    info = model.model_fields[key]
    one: dict[str, Any] = {key: (info.annotation, info)}
    return create_model(f"{model.__name__}_{key}", __config__=_STRICT, **one)


@dataclass(frozen=True, slots=True, eq=False)
class Reads:
    """Annotation of a field: how its text becomes a value and back, and what a JSON Schema says about it.

    `read` raises LocalError with a sentence for people.
    """

    read: Callable[[Any], Any]
    schema: Mapping[str, Any]
    write: Callable[[Any], Any] = field(default=lambda value: value)

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self._checked,
            serialization=core_schema.plain_serializer_function_ser_schema(self.write, when_used="unless-none"),
        )

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: Any) -> dict[str, Any]:
        return dict(self.schema)

    def _checked(self, value: Any) -> Any:
        try:
            return self.read(value)
        except LocalError as error:
            raise PydanticCustomError(OURS, "value", {"found": (((), spoken(error)),)}) from None


def spoken(error: LocalError) -> str:
    """Message and hint as one sentence."""
    return f"{error.message}: {error.hint}" if error.hint else error.message


def shown(value: object) -> str:
    """A value as a message names it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


class _SchemaText(GenerateJsonSchema):
    """Leaves out defaults that only say "not set"."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> dict[str, Any]:
        made = super().default_schema(schema)
        if made.get("default", ...) is None:
            del made["default"]
        return made


def schema(model: type[Model]) -> dict[str, Any]:
    """JSON Schema (2020-12) of a model, for editors."""
    # Serialisation mode is the one that writes defaults as people do (`10s`, not 10000000000).
    made = model.model_json_schema(mode="serialization", schema_generator=_SchemaText)
    return {"$schema": _SchemaText.schema_dialect, **made}


def make_model(name: str, doc: str, parent: type[P], fields: Mapping[str, tuple[Any, Any]]) -> type[P]:
    """A model built at run time: fields as name -> (annotation, Field)."""
    return create_model(name, __base__=parent, __doc__=doc, **cast(dict[str, Any], dict(fields)))
