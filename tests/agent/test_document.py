"""Strict YAML: what is read is what is written, every mistake has its place, and only DocumentError comes out."""

from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.document import (
    DocumentError,
    Field,
    Items,
    Model,
    Problem,
    as_duration,
    as_integer,
    as_rate,
    as_size,
    dump,
    merge,
    parse,
    read,
    require,
    schema,
)
from agent.document.syntax import MAXIMUM_DEPTH
from agent.document.tree import MAXIMUM_SIZE

SECOND = 10**9


class Stream(Model):
    kind: Literal["stream"]
    every: Annotated[int, as_duration(10**6, 10 * SECOND)] = SECOND


class Flow(Model):
    kind: Literal["flow"]
    port: Annotated[int, as_integer(1, 65535)]


class Line(Model):
    name: str
    loud: bool = False
    speed: Annotated[int | None, as_rate()] = None
    length: Annotated[int | None, as_size(1, 1400)] = None
    probes: Items[Annotated[Stream | Flow, Field(discriminator="kind")]] = ()
    labels: dict[str, str] = Field(default_factory=dict)

    def contradictions(self):
        if self.loud and self.speed is None:
            yield ("loud",), "a loud line needs a speed"


class Paper(Model):
    lines: Items[Line] = ()
    end: str | None = None


def said(text: str | bytes, model: type[Model] = Paper) -> list[str]:
    with pytest.raises(DocumentError) as caught:
        parse(text, "f", model)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("22:30", "22:30"),  # 1350 in YAML 1.1
        ("NO", "NO"),
        ("on", "on"),
        ("0x1F", 31),
        ("0o17", 15),
        ("017", 17),  # 15 in YAML 1.1
        ("1_000", "1_000"),  # 1000 in YAML 1.1
        ("2026-11-01", "2026-11-01"),
        ("1.5e3", 1500.0),
        ("=", "="),
        ("True", True),
        ("~", None),
        ("", None),
        ("'5'", "5"),
        ("|\n  a\n  b\n", "a\nb\n"),
        ("Zürich 😀", "Zürich 😀"),
    ],
)
def test_the_core_schema_of_yaml_1_2(text: str, value: object) -> None:
    document = read(f"key: {text}", "f")
    assert document.problems == ()
    assert document.data == {"key": value}
    assert type(document.at(("key",))) is type(value)


def test_positions_of_keys_and_values() -> None:
    document = read("lines:\n  - name: ä\n    probes: [{kind: flow,  port: 1}]\n\n  - name:\n      b\n", "f")
    where = document.values
    assert {path: (place.line, place.column) for path, place in where.items()} == {
        (): (1, 1),
        ("lines",): (2, 3),
        ("lines", 0): (2, 5),
        ("lines", 0, "name"): (2, 11),
        ("lines", 0, "probes"): (3, 13),
        ("lines", 0, "probes", 0): (3, 14),
        ("lines", 0, "probes", 0, "kind"): (3, 21),
        ("lines", 0, "probes", 0, "port"): (3, 34),
        ("lines", 1): (5, 5),
        ("lines", 1, "name"): (6, 7),
    }
    assert (document.keys["lines", 0, "probes", 0, "port"].line, document.keys["lines", 0, "probes"].column) == (3, 5)
    assert document.label(("lines", 0, "probes", 0, "port")) == "lines[ä].probes[flow].port"


def test_columns_count_characters_not_octets() -> None:
    assert said("end: {ä: 😀, end: 1}") == ["f:1:6: end: must be text, not a mapping"]
    assert read("{ä: 😀, end: 1}", "f").keys["end",].column == 8


def test_items_of_one_name_are_told_apart_by_index() -> None:
    document = read("lines: [{name: a}, {name: a}, {name: b}, {name: '[x]'}]", "f")
    assert [document.label(("lines", index)) for index in range(4)] == ["lines.0", "lines.1", "lines[b]", "lines.3"]


def test_everything_is_told_at_once() -> None:
    text = """lines:
  - name: a
    name: b
    loud: yes
    speed: 100
    probes:
      - {kind: stream, every: 5, evry: 5s}
      - {kind: flow}
      - {kind: folw, port: 1}
  - 7
  - {name: c, loud: true, length: 9000, lables: {a: 1}}
  - {name: d, labels: {a: 1}}
end: &x 1
"""
    assert said(text) == [
        "f:3:5: lines[a].name: duplicate key: it is in line 2 already",
        "f:4:11: lines[a].loud: must be true or false, not 'yes' (did you mean true?)",
        "f:5:12: lines[a].speed: 100 has no unit: write a rate like 100Mbit/s or 100Gbit/s",
        "f:7:31: lines[a].probes[stream].every: 5 has no unit: write a duration like 5ms, 5s or 5m",
        "f:7:34: lines[a].probes[stream].evry: unknown key (allowed: kind, every)",
        "f:8:9: lines[a].probes[flow].port: this key is required",
        "f:9:16: lines[a].probes[folw].kind: 'folw' is not allowed (did you mean `flow`? allowed: stream, flow)",
        "f:10:5: lines.1: must be a mapping (`key: value` lines), not 7",
        "f:11:21: lines[c].loud: a loud line needs a speed",
        "f:11:35: lines[c].length: 9000 is too large (allowed: 1B to 1400B)",
        "f:11:41: lines[c].lables: unknown key (did you mean `labels`? "
        "allowed: name, loud, speed, length, probes, labels)",
        "f:12:27: lines[d].labels.a: must be text, not 1: put it in quotes",
        "f:13:6: end: anchors and aliases (`&`, `*`) are not allowed: write the value out, or put the text in quotes",
        "f:13:6: end: must be text, not 1: put it in quotes",
    ]


def test_a_key_without_value_counts_as_not_set() -> None:
    assert parse("lines:\nend:\n", "f", Paper) == Paper()
    assert said("lines: [{name: }]") == ["f:1:16: lines.0.name: has no value: give one, or remove the key"]


def test_a_value_that_was_not_read_is_not_complained_about_twice() -> None:
    assert said("end: *x") == [
        "f:1:6: end: anchors and aliases (`&`, `*`) are not allowed: write the value out, or put the text in quotes"
    ]
    assert said("lines: [{name: a, speed: .inf}]") == [
        "f:1:26: lines[a].speed: `.inf` is not a number that can be used here"
    ]


def test_lines_end_in_any_of_the_three_ways() -> None:
    for end in ("\n", "\r\n", "\r"):
        assert said(f"lines: []{end}{end}edn: x{end}") == [
            "f:3:1: edn: unknown key (did you mean `end`? allowed: lines, end)"
        ]
    assert said("\ufeffedn: x")[0].startswith("f:1:1: edn")


def test_limits() -> None:
    deep = "[" * MAXIMUM_DEPTH + "]" * MAXIMUM_DEPTH
    assert read(deep, "f").problems == ()
    assert said(f"[{deep}]") == [f"f:1:{MAXIMUM_DEPTH + 1}: nested deeper than {MAXIMUM_DEPTH} levels"]
    (wrong,) = said("[" * MAXIMUM_SIZE)
    assert wrong.endswith(f": nested deeper than {MAXIMUM_DEPTH} levels")
    assert said("#" * (MAXIMUM_SIZE + 1)) == ["f:1:1: larger than 1 MiB"]
    assert said(b"end: a\nlines: \xff") == ["f:2:8: not UTF-8: save the file as UTF-8"]
    assert said("end: '\ud800'") == ["f:1:7: the invisible character U+D800 is not allowed"]


def test_top_level_lists_join_and_single_values_may_be_set_once() -> None:
    first = read("lines:\n  - name: a\nend: x\n", "1")
    second = read("lines:\n  - nam: b\n", "2")
    third = read("end: y\nlines: [{name: c, loud: 1}]\n", "3")
    joined = merge([first, second, third])
    assert joined.data == {"lines": [{"name": "a"}, {"nam": "b"}, {"name": "c", "loud": 1}], "end": "x"}
    with pytest.raises(DocumentError) as caught:
        require(joined, Paper)
    assert [str(problem) for problem in caught.value.problems] == [
        "2:2:5: lines.1.name: this key is required",
        "2:2:5: lines.1.nam: unknown key (did you mean `name`? allowed: name, loud, speed, length, probes, labels)",
        "3:1:1: end: set already in 1:3:1: a value may be set in one file only",
        "3:2:25: lines[c].loud: must be true or false, not 1",
    ]


def test_merging_leaves_the_parts_as_they_were() -> None:
    first, second = read("lines: [{name: a}]\nx: {y: 1}", "1"), read("lines: [{name: b}]\nx: {z: 2}", "2")
    before = repr((first, second))
    assert merge([first, second]).data == {"lines": [{"name": "a"}, {"name": "b"}], "x": {"y": 1, "z": 2}}
    assert repr((first, second)) == before


def test_the_schema_writes_defaults_as_people_do() -> None:
    stream = schema(Paper)["$defs"]["Stream"]["properties"]["every"]
    assert (stream["type"], stream["default"]) == ("string", "1s")
    assert "default" not in schema(Paper)["$defs"]["Line"]["properties"]["speed"]


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.text(st.characters(categories=("L", "N", "P", "Zs"))),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcd_-0", min_size=1), inner, max_size=4),
    max_leaves=20,
)


@given(plain)
def test_what_is_dumped_is_read_back(value: object) -> None:
    document = read(dump(value), "f")
    assert (document.data, document.problems) == (value, ())


ALPHABET = st.sampled_from(
    ["a", "lines", "name", "kind", "stream", "every", "1", "0x", "1e9", ".inf", "~", "5s", "true", "ä", "😀",
     ":", ": ", "- ", "\n", "\n  ", "\n    ", "[", "]", "{", "}", ", ", "'", '"', "&x", "*x", "!", "!!str ", "<<",
     "|", ">", "#", "%", "@", "`", "\t", "\\", "---\n", "...\n", "? ", "\r", "\x00", "\x85", "\u2028", "\ud800"]
)  # fmt: skip


def found(text: str | bytes) -> tuple[Problem, ...]:
    try:
        parse(text, "f", Paper)
    except DocumentError as error:
        return error.problems
    return ()


@given(st.lists(ALPHABET, max_size=60).map("".join) | st.text() | st.binary(max_size=300))
def test_nothing_but_document_errors_comes_out(text: str | bytes) -> None:
    lines = text.splitlines() if isinstance(text, str) else text.split(b"\n")
    for problem in found(text):
        assert 1 <= problem.line <= len(lines) + 2
        assert problem.column >= 1
        assert "\n" not in str(problem)
        assert "pydantic" not in str(problem)
