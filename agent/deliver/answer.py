"""What a server's answer to a write means, and what to do about it. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, Final

from probes.core.clock import SECOND

SHORTEST_WAIT_NS: Final = SECOND
LONGEST_WAIT_NS: Final = 300 * SECOND
_WORDS_LIMIT: Final = 300
_SECONDS: Final = re.compile("[+-]?[0-9]+")
_DROPPED: Final = re.compile(r"\bpartial write: .*\bdropped=([0-9]{1,9})$", re.DOTALL)
_TEXT: Final = re.compile(r'"(?:message|error)"\s*:\s*("(?:[^"\\]|\\.)*")')
_DATA: Final = re.compile(r'"data"\s*:\s*\[\s*')


class Answer(StrEnum):
    """What a write came to."""

    WRITTEN = "written"
    RETRY = "retry"
    """the server is busy, broken or away: wait, then send the same again"""
    HOLD = "hold"
    """somebody must change something (token, permission, database): keep everything, ask rarely"""
    TOO_LARGE = "too large"
    """send less at once"""
    REJECTED = "rejected"
    """some lines are not accepted: find them"""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer in one word and in the server's words. retry_after_ns: how long the server asked to wait; status:
    the HTTP status, where the server answered at all.

    blamed: lines of the request, counted from 1, that the server names with its words about each (InfluxDB 3);
    dropped: how many of them it says it did not store (InfluxDB 1 and 2).
    """

    answer: Answer
    words: str = ""
    retry_after_ns: int | None = None
    status: int | None = None
    blamed: Mapping[int, str] | None = None
    dropped: int | None = None


def classify(status: int, headers: Mapping[str, str], body: bytes) -> Reply:
    """By status code, as InfluxDB 1.x, 2.x, 3.x and VictoriaMetrics use them.

    All of them answer 204 to a write. Another 2xx is a login page, a proxy or a server of another kind.
    """
    words = said(status, headers, body)
    if status == 204:
        return Reply(Answer.WRITTEN, status=status)
    if status in (400, 422):
        found = _DROPPED.search(_header(headers, "x-influxdb-error") or _message(_text(body)))
        return Reply(
            Answer.REJECTED, words, status=status, blamed=_blamed(status, body) or None,
            dropped=int(found[1]) if found else None,
        )  # fmt: skip
    if status == 413:
        return Reply(Answer.TOO_LARGE, words, status=status)
    if status == 429 or status >= 500:
        return Reply(Answer.RETRY, words, retry_after_ns(headers), status)
    if 200 <= status <= 299:
        words = f"{words}: no database answers a write so, only 204 says that samples are kept"
    if 300 <= status <= 399:
        words = f"{words}: redirects are not followed, they would carry the token elsewhere"
    return Reply(Answer.HOLD, words, status=status)


def retry_after_ns(headers: Mapping[str, str]) -> int | None:
    """Retry-After (RFC 9110, 10.2.3) held between 1 s and 5 min: seconds, or a date, which the answer's own Date is
    taken from. None where it is missing or neither."""
    written = _header(headers, "retry-after").strip()
    if _SECONDS.fullmatch(written):
        # A server can write any number of digits; beyond nine of them only the sign matters.
        seconds = int(written[:10])
    else:
        then, now = _date(written), _date(_header(headers, "date"))
        if then is None or now is None:
            return None
        seconds = then - now
    return max(SHORTEST_WAIT_NS, min(LONGEST_WAIT_NS, seconds * SECOND))


def _date(text: str) -> int | None:
    try:
        return int(parsedate_to_datetime(text).timestamp())
    except (ValueError, TypeError, OverflowError):
        return None


def said(status: int, headers: Mapping[str, str], body: bytes) -> str:
    """The server's own explanation on one line, shortened, with the status in front."""
    text = _header(headers, "x-influxdb-error") or _message(_text(body))
    if first := next(_named(_text(body)), None):
        text = f"{text}: {first[1]}"
    return _line(status, text)


def _line(status: int, text: str) -> str:
    plain = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return f"HTTP {status}: {plain[:_WORDS_LIMIT]}" if plain else f"HTTP {status}"


def _text(body: bytes) -> str:
    return body.decode("utf-8", "replace")


def _message(text: str) -> str:
    """`error` (1.x, 3.x) or `message` (2.x) of a JSON object, also where it is cut off; else the text itself."""
    document = _json(text)
    if isinstance(document, dict):
        for key in ("message", "error"):
            if isinstance(document.get(key), str):
                return str(document[key])
    elif text.lstrip()[:1] == "{" and (found := _TEXT.search(text)):
        return str(_json(found[1]) or "")
    return text[:4096]


def _blamed(status: int, body: bytes) -> dict[int, str]:
    return {number: _line(status, words) for number, words in _named(_text(body))}


def _named(text: str) -> Iterator[tuple[int, str]]:
    """Lines that InfluxDB 3 names: {"error": ..., "data": [{"line_number": 2, "error_message": ...}, ...]}.

    `data` is one such object where nothing at all was stored. A list that is cut off is read as far as it goes.
    """
    document = _json(text)
    if isinstance(document, dict):
        data = document.get("data")
        found: Iterator[Any] = iter(data if isinstance(data, list) else [data])
    else:
        found = _items(text)
    for item in found:
        if isinstance(item, dict):
            number, words = item.get("line_number"), item.get("error_message")
            if type(number) is int and isinstance(words, str) and number > 0:
                yield number, words


def _items(text: str) -> Iterator[Any]:
    begin, decoder = _DATA.search(text), json.JSONDecoder()
    at = begin.end() if begin else len(text)
    while at < len(text):
        try:
            item, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            return
        yield item
        at += len(text) - at - len(text[at:].lstrip(" \t\r\n,"))


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _header(headers: Mapping[str, str], name: str) -> str:
    return next((value for key, value in headers.items() if key.lower() == name), "")
