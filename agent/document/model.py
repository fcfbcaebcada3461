"""Models of documents: what may be written, in terms of pydantic, which is known to this module only.

A model's fields are the keys of a mapping; nothing else is allowed. Values are never converted silently: `"5"` is not
5 and 1 is not true. A key without a value counts as not set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, TypeVar, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
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


class Model(BaseModel):
    """A mapping with exactly these keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)

    def contradictions(self) -> Iterator[Contradiction]:
        """What is wrong between values that are right one by one."""
        yield from ()

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, data: Any, info: ValidationInfo) -> Any:
        if not isinstance(data, dict):
            return data
        if info.context is not None:
            info.context[id(data)] = cls
        empty = {key for key, value in data.items() if value is None and key in cls.model_fields}
        optional = {key for key in empty if not cls.model_fields[key].is_required()}
        return {key: value for key, value in data.items() if key not in optional} if optional else data

    @model_validator(mode="after")
    def _consistent(self) -> Model:
        found = tuple(self.contradictions())
        if found:
            raise PydanticCustomError(OURS, "contradiction", {"found": found})
        return self


@dataclass(frozen=True, slots=True)
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
