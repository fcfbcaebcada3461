"""Documents written by people: strict YAML 1.2, checked against a model, every mistake with file, line and column."""

from agent.document.join import merge
from agent.document.model import Contradiction, Field, Items, Model, Reads, make_model, schema, shown
from agent.document.problem import DocumentError, KeyPath, Position, Problem
from agent.document.quantity import as_dscp, as_duration, as_integer, as_rate, as_size
from agent.document.tree import Document, dump, read
from agent.document.validation import check, ordered, parse, read_file, require

__all__ = [
    "Contradiction",
    "Document",
    "DocumentError",
    "Field",
    "Items",
    "KeyPath",
    "Model",
    "Position",
    "Problem",
    "Reads",
    "as_dscp",
    "as_duration",
    "as_integer",
    "as_rate",
    "as_size",
    "check",
    "dump",
    "make_model",
    "merge",
    "ordered",
    "parse",
    "read",
    "read_file",
    "require",
    "schema",
    "shown",
]
