"""Rows of imported files (CSV, JSON, JSON Lines), every field with its line and column. Pure.

CSV as in RFC 4180 with a header, commas or semicolons; JSON as a list of objects; JSON Lines as one object a line.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from agent.document import DocumentError, Problem

Form = Literal["csv", "json", "jsonl"]
FORMS: Final[Mapping[str, Form]] = {".csv": "csv", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl"}
MOST_ROWS: Final = 50_000
_SPACE: Final = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True, slots=True)
class Cell:
    """A value and where it stands, from 1. value: a text in CSV, anything in JSON."""

    value: object
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Row:
    """Fields by name; empty ones of CSV and nulls of JSON are left out."""

    cells: Mapping[str, Cell]
    line: int
    column: int = 1


def read(data: bytes, file: str, form: Form) -> list[Row]:
    """All rows. Raises DocumentError for a text that is not of the form."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        column = error.start - data[: error.start].rfind(b"\n")
        raise _refused(file, line, column, "this is not UTF-8: save the file as UTF-8") from None
    rows = list({"csv": _csv, "json": _json, "jsonl": _lines}[form](text, file))
    if len(rows) > MOST_ROWS:
        raise _refused(file, rows[MOST_ROWS].line, 1, f"more than {MOST_ROWS} rows: split the file")
    return rows


def _refused(file: str, line: int, column: int, message: str) -> DocumentError:
    return DocumentError([Problem(file, line, column, "", message)])


def _csv(text: str, file: str) -> Iterator[Row]:
    first = text.partition("\n")[0]
    mark = ";" if first.count(";") > first.count(",") else ","
    records = _records(text, file, mark)
    header = next(records, [])
    names = [str(cell.value).strip() for cell in header]
    for place, (name, cell) in enumerate(zip(names, header, strict=True)):
        if not name or name in names[:place]:
            what = f"column {name!r} is there already" if name else "a column has no name"
            raise _refused(file, cell.line, cell.column, what)
    for record in records:
        if len(record) == 1 and not record[0].value:
            continue  # an empty line
        if len(record) != len(names):
            text = f"{len(record)} fields, the header names {len(names)}"
            raise _refused(file, record[0].line, record[0].column, text)
        filled = {name: cell for name, cell in zip(names, record, strict=True) if cell.value}
        yield Row(filled, record[0].line)


def _records(text: str, file: str, mark: str) -> Iterator[list[Cell]]:
    """Fields of each line; quoted ones may hold separators and line ends."""
    at, line, begin, record = 0, 1, 0, list[Cell]()
    while at < len(text):
        start_line, column = line, at - begin + 1
        if text[at] == '"':
            value, after = _quoted(text, at, file, line, column)
            inside = text[at:after]
            if "\n" in inside:
                line, begin = line + inside.count("\n"), at + inside.rfind("\n") + 1
            at = after
        else:
            found = re.compile(f"[{mark}\r\n]").search(text, at)
            after = found.start() if found else len(text)
            value, at = text[at:after].strip(), after
        record.append(Cell(value, start_line, column))
        if text.startswith(mark, at):
            at += 1
            if at == len(text) or text[at] in "\r\n":
                record.append(Cell("", line, at - begin + 1))
            else:
                continue
        ended = text.startswith("\r\n", at) + text.startswith(("\n", "\r\n", "\r"), at)
        if not ended and at < len(text):
            raise _refused(file, line, at - begin + 1, "a quoted field ends here, so a separator is expected")
        at, line, begin = at + ended, line + 1, at + ended
        yield record
        record = []


def _quoted(text: str, at: int, file: str, line: int, column: int) -> tuple[str, int]:
    parts, begin = [], at + 1
    while True:
        end = text.find('"', begin)
        if end < 0:
            raise _refused(file, line, column, "a quoted field without an end")
        parts.append(text[begin:end])
        if not text.startswith('"', end + 1):
            return "".join(parts), end + 1
        parts.append('"')
        begin = end + 2


class _Text:
    """A text with the line and column of every place in it."""

    def __init__(self, text: str, first_line: int = 1) -> None:
        self.text = text
        self._first = first_line
        self._starts = [0, *(found.end() for found in re.finditer("\n", text))]

    def place(self, at: int) -> tuple[int, int]:
        index = bisect_right(self._starts, at) - 1
        return self._first + index, at - self._starts[index] + 1

    def skip(self, at: int) -> int:
        """Past white space."""
        found = _SPACE.match(self.text, at)
        return found.end() if found else at


def _json(text: str, file: str) -> Iterator[Row]:
    """The objects of a list, each decoded by itself, so that its place is known."""
    whole = _Text(text)
    at = whole.skip(0)
    if not text.startswith("[", at):
        raise _refused(file, *whole.place(at), "a list of objects is expected: [ {...}, {...} ]")
    at = whole.skip(at + 1)
    while not text.startswith("]", at):
        row, at = _object(whole, at, file)
        yield row
        at = whole.skip(at)
        if text.startswith(",", at):
            at = whole.skip(at + 1)
        elif not text.startswith("]", at):
            raise _refused(file, *whole.place(at), "`,` or `]` is expected")
    if whole.skip(at + 1) < len(text):
        raise _refused(file, *whole.place(whole.skip(at + 1)), "something follows the list")


def _lines(text: str, file: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            whole = _Text(line, number)
            row, end = _object(whole, whole.skip(0), file)
            if whole.skip(end) < len(line):
                raise _refused(file, number, whole.skip(end) + 1, "something follows the object")
            yield row


def _object(whole: _Text, at: int, file: str) -> tuple[Row, int]:
    """The object that begins here, and where it ends."""

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a key is there twice")
        return found

    line, column = whole.place(at)
    try:
        value, end = json.JSONDecoder(object_pairs_hook=once).raw_decode(whole.text, at)
    except json.JSONDecodeError as error:
        raise _refused(file, *whole.place(error.pos), f"this is not JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise _refused(file, line, column, f"this is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise _refused(file, line, column, "an object is expected: {...}")
    cells = {
        name: Cell(content, *whole.place(_value_at(whole.text, at, end, name)))
        for name, content in value.items()
        if content is not None
    }
    return Row(cells, line, column), end


def _value_at(text: str, at: int, end: int, name: str) -> int:
    """Where the value of the key begins; the object's own place where the key is written with escapes."""
    found = re.compile(re.escape(json.dumps(name, ensure_ascii=False)) + r"\s*:\s*").search(text, at, end)
    return found.end() if found else at
