"""What a server's answer to a write means, and what to do about it. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from probes.core.clock import SECOND

SHORTEST_WAIT_NS: Final = SECOND
LONGEST_WAIT_NS: Final = 300 * SECOND
_WORDS_LIMIT: Final = 300
_SECONDS: Final = re.compile("[+-]?[0-9]+")


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
    the HTTP status, where the server answered at all."""

    answer: Answer
    words: str = ""
    retry_after_ns: int | None = None
    status: int | None = None


def classify(status: int, headers: Mapping[str, str], body: bytes) -> Reply:
    """By status code, as InfluxDB 1.x, 2.x, 3.x and VictoriaMetrics use them."""
    words = said(status, headers, body)
    if 200 <= status <= 299:
        return Reply(Answer.WRITTEN, status=status)
    if status in (400, 422):
        return Reply(Answer.REJECTED, words, status=status)
    if status == 413:
        return Reply(Answer.TOO_LARGE, words, status=status)
    if status == 429 or status >= 500:
        return Reply(Answer.RETRY, words, retry_after_ns(headers), status)
    if 300 <= status <= 399:
        words = f"{words}: redirects are not followed, they would carry the token elsewhere"
    return Reply(Answer.HOLD, words, status=status)


def retry_after_ns(headers: Mapping[str, str]) -> int | None:
    """Retry-After in seconds, held between 1 s and 5 min; None where it is missing or not a number (dates included)."""
    written = _header(headers, "retry-after").strip()
    if not _SECONDS.fullmatch(written):
        return None
    # A server can write any number of digits; beyond nine of them only the sign matters.
    seconds = int(written[:10])
    return max(SHORTEST_WAIT_NS, min(LONGEST_WAIT_NS, seconds * SECOND))


def said(status: int, headers: Mapping[str, str], body: bytes) -> str:
    """The server's own explanation on one line, shortened, with the status in front."""
    text = _header(headers, "x-influxdb-error") or _message(body)
    plain = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return f"HTTP {status}: {plain[:_WORDS_LIMIT]}" if plain else f"HTTP {status}"


def _message(body: bytes) -> str:
    text = body[:4096].decode("utf-8", "replace")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if isinstance(document, dict):
        for key in ("message", "error"):
            if isinstance(document.get(key), str):
                return str(document[key])
    return text


def _header(headers: Mapping[str, str], name: str) -> str:
    return next((value for key, value in headers.items() if key.lower() == name), "")
