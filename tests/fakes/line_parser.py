"""Line protocol read strictly, character by character: a second reading of the format, independent of our encoder.

After the InfluxDB documentation of line protocol: in measurements a backslash escapes comma and space; in tag keys, tag
values and field keys also the equals sign; in text fields the quote and the backslash. Any other backslash is itself.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

Value = int | float | str

_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?")
_LOW, _HIGH = -(1 << 63), (1 << 63) - 1


class NotALineError(ValueError):
    """The text is not one line of line protocol."""


@dataclass(frozen=True)
class Point:
    measurement: str
    tags: dict[str, str]
    fields: dict[str, Value]
    time_ns: int
    tag_order: tuple[str, ...]


def parse(line: str) -> Point:
    """One line without its end. Raises NotALineError."""
    reader = _Reader(line)
    measurement = reader.word(", ", ", ")
    tags: dict[str, str] = {}
    while reader.take(","):
        name = reader.word("=", ",= ")
        reader.expect("=")
        value = reader.word(", ", ",= ")
        if name in tags or not name or not value:
            raise NotALineError(f"tag {name!r} twice or empty")
        tags[name] = value
    reader.expect(" ")
    fields: dict[str, Value] = {}
    while True:
        name = reader.word("=", ",= ")
        reader.expect("=")
        if name in fields or name in tags or not name:
            raise NotALineError(f"field {name!r} twice, empty, or also a tag")
        fields[name] = reader.value()
        if not reader.take(","):
            break
    reader.expect(" ")
    stamp = reader.rest()
    if not measurement or not re.fullmatch("-?[0-9]+", stamp) or not _LOW <= int(stamp) <= _HIGH:
        raise NotALineError(f"measurement {measurement!r}, time {stamp!r}")
    return Point(measurement, tags, fields, int(stamp), tuple(tags))


class _Reader:
    def __init__(self, text: str) -> None:
        if any(letter in text for letter in "\n\r\0"):
            raise NotALineError("more than one line, or a NUL")
        self._text, self._at = text, 0

    def take(self, letter: str) -> bool:
        if self._text[self._at : self._at + 1] != letter:
            return False
        self._at += 1
        return True

    def expect(self, letter: str) -> None:
        if not self.take(letter):
            raise NotALineError(f"{letter!r} expected at {self._at} of {self._text!r}")

    def rest(self) -> str:
        return self._text[self._at :]

    def word(self, ends: str, escapes: str) -> str:
        """Up to an unescaped letter of `ends`, which stays."""
        found = []
        while self._at < len(self._text) and self._text[self._at] not in ends:
            following = self._text[self._at + 1 : self._at + 2]
            if self._text[self._at] == "\\" and following and following in escapes:
                self._at += 1
            elif self._text[self._at] in escapes:
                raise NotALineError(f"bare {self._text[self._at]!r} at {self._at} of {self._text!r}")
            found.append(self._text[self._at])
            self._at += 1
        return "".join(found)

    def value(self) -> Value:
        if self.take('"'):
            return self._quoted()
        end = next((at for at in range(self._at, len(self._text)) if self._text[at] in ", "), len(self._text))
        text, self._at = self._text[self._at : end], end
        if text.endswith("i") and re.fullmatch("-?[0-9]+", text[:-1]) and _LOW <= int(text[:-1]) <= _HIGH:
            return int(text[:-1])
        if _NUMBER.fullmatch(text) and math.isfinite(float(text)):
            return float(text)
        raise NotALineError(f"value {text!r}")

    def _quoted(self) -> str:
        found = []
        while self._at < len(self._text):
            letter = self._text[self._at]
            self._at += 1
            if letter == '"':
                return "".join(found)
            if letter == "\\" and self._text[self._at : self._at + 1] in ('"', "\\"):
                letter = self._text[self._at]
                self._at += 1
            found.append(letter)
        raise NotALineError("a text without its closing quote")
