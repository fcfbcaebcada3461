"""Sentences for what the YAML parser refuses. Pure."""

from typing import Final

MAXIMUM_DEPTH: Final = 32
TOO_DEEP: Final = f"nested deeper than {MAXIMUM_DEPTH} levels"

_SENTENCES: Final = {
    "mapping values are not allowed in this context": (
        "`:` is not expected here: check the indentation, and put a value that contains `: ` in quotes"
    ),
    "did not find expected <document start>": "wrong indentation: this line starts further left than those before it",
    "did not find expected key": "a key is expected here: check the indentation of this line",
    "did not find expected '-' indicator": "another list item (`- `) is expected here: check the indentation",
    "found unknown escape character": "unknown `\\` escape: put text with a backslash in single quotes",
    "could not find expected ':'": "`:` is missing after this key",
    "did not find expected node content": "a value is expected here",
    "did not find expected comment or line break": "unexpected text at the end of this line",
    "block sequence entries are not allowed in this context": "a list item (`- `) starts on a line of its own",
    "block mapping entries are not allowed in this context": "a key starts on a line of its own",
    "found undefined tag handle": "tags (`!`) are not allowed: put the text in quotes",
    "found unknown directive name": "directives (`%`) are not allowed: remove this line",
    "found a tab character where an indentation space is expected": "indented with a tab: use spaces",
    "found a tab character that violates indentation": "indented with a tab: use spaces",
    "exceeded maximum nesting depth": TOO_DEEP,  # libyaml's own limit, met while it looks ahead
}

_OPENED: Final = {
    "did not find expected ',' or ']'": "a comma is missing, or the list opened with `[` in line {line} is not closed",
    "did not find expected ',' or '}'": (
        "a comma is missing, or the mapping opened with `{{` in line {line} is not closed"
    ),
    "found unexpected end of stream": "the quoted text that starts in line {line} has no closing quote",
    "found unexpected document indicator": "the quoted text that starts in line {line} has no closing quote",
}


def sentence(problem: str, rest_of_line: str, opened_line: int | None) -> str:
    """Plain words for the parser's own message.

    rest_of_line: the text from the reported place on; opened_line: where the construct began, when known.
    """
    if problem == "found character that cannot start any token":
        if rest_of_line.startswith("\t"):
            return "indented with a tab: use spaces"
        return f"a value cannot start with `{rest_of_line[:1]}`: put it in quotes"
    if problem in _OPENED and opened_line is not None:
        return _OPENED[problem].format(line=opened_line)
    return _SENTENCES.get(problem, f"not valid YAML: {problem}")
