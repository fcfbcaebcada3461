"""Strict YAML 1.2 text to plain values that remember where they were written.

Core schema only: `22:30` and `NO` are text. Refused, because the reader of the file would be misled: duplicate keys,
anchors, aliases, merge keys, tags, directives, several documents, control and direction-changing characters.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

import yaml
import yamlcore

from agent.document.problem import KeyPath, Position, Problem
from agent.document.syntax import MAXIMUM_DEPTH, TOO_DEEP, sentence

MAXIMUM_SIZE: Final = 1 << 20
"""octets in one file"""
"""levels of nesting"""
_MAXIMUM_DIGITS: Final = 40
_SCALAR_NODE: Final[Any] = yaml.ScalarNode
_LABEL_KEYS: Final = ("name", "id", "kind")
_LINE_BREAK: Final = re.compile(r"\r\n|\r|\n")
_FORBIDDEN: Final = re.compile(
    "[^\t\n\r\x20-\x7e\xa0-\u2027\u202f-\u2065\u206a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_ANCHOR: Final = "anchors and aliases (`&`, `*`) are not allowed: write the value out, or put the text in quotes"
_TAG: Final = "tags (`!`) are not allowed: the value's meaning follows from the key"
_MERGE: Final = "merge keys (`<<`) are not allowed: write the keys out"


@dataclass(frozen=True, slots=True)
class Document:
    """Plain values (dict, list, str, int, float, bool, None) and the position of each key and value.

    `problems` are those of the text itself; `broken` says that the rest of the text could not be read. `doubtful`
    values were replaced, so complaints about them would be noise.
    """

    data: object
    values: Mapping[KeyPath, Position]
    keys: Mapping[KeyPath, Position]
    files: tuple[str, ...]
    problems: tuple[Problem, ...] = ()
    doubtful: frozenset[KeyPath] = frozenset()
    broken: bool = False
    _names: dict[KeyPath, list[str | None]] = field(default_factory=dict, repr=False, compare=False)
    """labels of the items of a list, once asked for"""

    def at(self, path: KeyPath) -> object:
        """The value at a path; None when there is none."""
        value = self.data
        for step in path:
            try:
                value = value[step]  # type: ignore[index] # absent and unsuitable alike end here
            except (KeyError, IndexError, TypeError):
                return None
        return value

    def position(self, path: KeyPath, *, of_key: bool = False) -> Position:
        """Where the value (or key) at a path is written; the nearest container where it is absent."""
        if of_key and path in self.keys:
            return self.keys[path]
        while path and path not in self.values:
            path = path[:-1]
        return self.values.get(path, Position(self.files[0], 1, 1))

    def label(self, path: KeyPath) -> str:
        """A path for people: list items by name, id or kind where that is unique in the list, else by index from 0."""
        text = ""
        for depth, step in enumerate(path):
            if isinstance(step, str):
                text += f".{step}" if text else step
            else:
                name = self._name(path[:depth], step)
                text += f".{step}" if name is None else f"[{name}]"
        return text

    def _name(self, path: KeyPath, index: int) -> str | None:
        if path not in self._names:
            self._names[path] = _labels(self.at(path))
        names = self._names[path]
        return names[index] if index < len(names) else None

    def problem(self, path: KeyPath, message: str, *, of_key: bool = False) -> Problem:
        """A problem with the value (or key) at a path."""
        place = self.position(path, of_key=of_key)
        return Problem(place.file, place.line, place.column, self.label(path), message)


def _labels(items: object) -> list[str | None]:
    """What each item of a list is called; None where it has no name, or not for itself alone."""
    own = [_own_label(item) for item in items] if isinstance(items, list) else []
    often = Counter(own)
    return [label if often[label] == 1 else None for label in own]


def _own_label(item: object) -> str | None:
    if isinstance(item, dict):
        for key in _LABEL_KEYS:
            label = item.get(key)
            if isinstance(label, str) and 0 < len(label) <= 100 and label.isprintable() and not set(label) & set("[]"):
                return label
    return None


def read(text: str | bytes, file: str) -> Document:
    """Read one file's content. Never raises: what is wrong is in `problems`."""
    if len(text) > MAXIMUM_SIZE:
        return _refused(file, Position(file, 1, 1), f"larger than {MAXIMUM_SIZE >> 20} MiB")
    if isinstance(text, bytes):
        try:
            return read(text.decode("utf-8"), file)
        except UnicodeDecodeError as error:
            place = _place(file, text[: error.start].decode("utf-8"))
            wide = " (it looks like UTF-16)" if text[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
            return _refused(file, place, f"not UTF-8{wide}: save the file as UTF-8")
    text = text.removeprefix("\ufeff")
    forbidden = [match.start() for match in _FORBIDDEN.finditer(text)][:20]
    if forbidden:
        problems = [_at_place(_place(file, text[:at]), _unprintable(text[at])) for at in forbidden]
        return Document(None, {}, {}, (file,), tuple(problems), broken=True)
    return _Reader(text, file).read()


def _refused(file: str, place: Position, message: str) -> Document:
    return Document(None, {}, {}, (file,), (_at_place(place, message),), broken=True)


def _at_place(place: Position, message: str) -> Problem:
    return Problem(place.file, place.line, place.column, "", message)


def _unprintable(character: str) -> str:
    return f"the invisible character U+{ord(character):04X} is not allowed"


def _place(file: str, before: str) -> Position:
    lines = _LINE_BREAK.split(before)
    return Position(file, len(lines), len(lines[-1]) + 1)


@dataclass(slots=True)
class _Frame:
    """A container being filled. `discard`: its values go nowhere; `key` is the key whose value comes next."""

    container: dict[str, object] | list[object]
    path: KeyPath
    discard: bool
    key: str | None = None
    discard_value: bool = False


class _StopError(Exception):
    """The rest of the text makes no sense."""


@dataclass(slots=True)
class _Reader:
    text: str
    file: str
    values: dict[KeyPath, Position] = field(default_factory=dict)
    keys: dict[KeyPath, Position] = field(default_factory=dict)
    found: list[tuple[Position, KeyPath, str]] = field(default_factory=list)
    doubtful: set[KeyPath] = field(default_factory=set)
    stack: list[_Frame] = field(default_factory=list)
    root: object = None

    def read(self) -> Document:
        broken = False
        loader: Any = yamlcore.CCoreLoader(self.text)
        try:
            self._events(loader)
        except _StopError:
            broken = True
        except yaml.YAMLError as error:
            broken = True
            self._syntax(error)
        finally:
            loader.dispose()
        document = Document(self.root, self.values, self.keys, (self.file,), (), frozenset(self.doubtful), broken)
        # Only the complete tree knows the names of list items.
        problems = (
            Problem(place.file, place.line, place.column, document.label(path), message)
            for place, path, message in self.found
        )
        return replace(document, problems=tuple(problems))

    def _events(self, loader: Any) -> None:
        documents = 0
        while loader.check_event():
            event = loader.get_event()
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._complain(event, "a second document starts here (`---`): one file holds one document")
                    return
                if event.version or event.tags:
                    self._complain(event, "directives (`%`) are not allowed: remove this line")
            elif isinstance(event, yaml.NodeEvent):
                self._node(event, loader)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._close()

    def _node(self, event: yaml.NodeEvent, loader: Any) -> None:
        frame = self.stack[-1] if self.stack else None
        if frame is not None and isinstance(frame.container, dict) and frame.key is None:
            self._key(frame, frame.container, event, loader)
            return
        path = self._path(frame)
        discard = frame is not None and (frame.discard or frame.discard_value)
        if not discard:
            self.values[path] = self._where(event)
        self._adornments(event, path)
        if isinstance(event, yaml.CollectionStartEvent):
            self._open(event, path, discard)
        elif isinstance(event, yaml.ScalarEvent):
            self._put(self._scalar(event, path, loader))
        else:
            self._put(None)

    def _path(self, frame: _Frame | None) -> KeyPath:
        if frame is None:
            return ()
        if isinstance(frame.container, dict):
            return (*frame.path, frame.key or "")
        return (*frame.path, len(frame.container))

    def _adornments(self, event: yaml.NodeEvent, path: KeyPath) -> None:
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            self._complain(event, _ANCHOR, path)
            if isinstance(event, yaml.AliasEvent):
                self.doubtful.add(path)
        if getattr(event, "tag", None) is not None:
            self._complain(event, _TAG, path)
            self.doubtful.add(path)

    def _open(self, event: yaml.CollectionStartEvent, path: KeyPath, discard: bool) -> None:
        if len(self.stack) == MAXIMUM_DEPTH:
            self._complain(event, TOO_DEEP)
            raise _StopError
        mapping = isinstance(event, yaml.MappingStartEvent)
        self.stack.append(_Frame({} if mapping else [], path, discard))

    def _close(self) -> None:
        frame = self.stack.pop()
        self._put(frame.container)

    def _put(self, value: object) -> None:
        if not self.stack:
            self.root = value
            return
        frame = self.stack[-1]
        if isinstance(frame.container, list):
            frame.container.append(value)
            return
        if not frame.discard_value and frame.key is not None:
            frame.container[frame.key] = value
        frame.key, frame.discard_value = None, False

    def _key(self, frame: _Frame, container: dict[str, object], event: yaml.NodeEvent, loader: Any) -> None:
        if not isinstance(event, yaml.ScalarEvent):
            self._complain(event, "a key is plain text: lists, mappings and aliases are not allowed as keys")
            raise _StopError
        key, path = event.value, (*frame.path, event.value)
        frame.key = key
        self._adornments(event, path)
        if key == "<<" and event.implicit[0]:
            self._complain(event, _MERGE, frame.path)
            frame.discard_value = True
        elif not isinstance(self._scalar(event, frame.path, loader), str):
            self._complain(event, f"the key `{key}` is not text: put it in quotes", frame.path)
            frame.discard_value = True
        elif key in container:
            first = self.keys.get(path)
            where = f": it is in line {first.line} already" if first else ""
            self._complain(event, f"duplicate key{where}", path)
            frame.discard_value = True
        elif not frame.discard:
            self.keys[path] = self._where(event)

    def _scalar(self, event: yaml.ScalarEvent, path: KeyPath, loader: Any) -> object:
        tag = "str" if event.tag else str(loader.resolve(yaml.ScalarNode, event.value, event.implicit)).split(":")[-1]
        node: Any = _SCALAR_NODE(tag, event.value)
        if tag == "null":
            return None
        if tag == "bool":
            return cast(bool, loader.construct_yaml_bool_core(node))
        if tag == "int" and len(event.value) <= _MAXIMUM_DIGITS:
            number = int(loader.construct_yaml_int_core(node))
            if abs(number) < 1 << 63:
                return number
        if tag == "float" and len(event.value) <= _MAXIMUM_DIGITS:
            real = float(loader.construct_yaml_float_core(node))
            if math.isfinite(real):
                return real
        if tag in ("int", "float"):
            self._complain(event, f"`{event.value[:_MAXIMUM_DIGITS]}` is not a number that can be used here", path)
            self.doubtful.add(path)
            return 0
        return event.value

    def _where(self, event: yaml.Event) -> Position:
        mark: Any = event.start_mark
        return Position(self.file, mark.line + 1, mark.column + 1)

    def _complain(self, event: yaml.Event, message: str, path: KeyPath = ()) -> None:
        self.found.append((self._where(event), path, message))

    def _syntax(self, error: yaml.YAMLError) -> None:
        mark, context = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
        if mark is None:
            self.found.append((Position(self.file, 1, 1), (), f"not valid YAML: {error}"))
            return
        lines = _LINE_BREAK.split(self.text)
        line = lines[mark.line] if mark.line < len(lines) else ""
        tabs = line[: mark.column + 1]
        rest = line[mark.column :] if tabs.strip() or "\t" not in tabs else "\t"
        message = sentence(getattr(error, "problem", None) or "", rest, None if context is None else context.line + 1)
        self.found.append((Position(self.file, mark.line + 1, mark.column + 1), (), message))


def dump(data: object) -> str:
    """Plain values as YAML 1.2 text that `read` reads back equal."""
    text = yaml.dump(data, Dumper=yamlcore.CoreDumper, sort_keys=False, allow_unicode=True, width=100)
    return str(text)
