"""No storm fills the journal: log lines are limited, each kind for itself and all together, and the rest is counted.

A kind is a logger, a level and the text before its values are filled in. Of each kind BURST lines pass at once, then
one in EVERY_NS; of all together ALL_BURST, then one a second, of which errors keep some for themselves.
"""

from __future__ import annotations

import copy
import logging
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from probes.core.clock import SECOND, Clock

BURST: Final = 10
EVERY_NS: Final = 20 * SECOND
ALL_BURST: Final = 60
ALL_EVERY_NS: Final = SECOND
ERRORS_KEEP: Final = 15
"""Lines of the common allowance that nothing below an error takes."""
TELL_NS: Final = 60 * SECOND
"""How often lines that were left out and not followed by another of their kind are summed up."""
KINDS: Final = 500
"""Kinds known at once; further ones share an allowance."""
NAMED: Final = 3
_VARIABLE: Final = re.compile(r"[0-9a-f]*\d[0-9a-f]*", re.IGNORECASE)

Kind = tuple[str, int, str]
_OTHERS: Final[Kind] = ("", 0, "others")


@dataclass(slots=True)
class _Allowance:
    """Lines that may pass: up to `burst`, one more every every_ns."""

    burst: int
    every_ns: int
    full_ns: int = 0
    """when it would be full again"""

    def left(self, now_ns: int) -> int:
        return self.burst - -(-max(0, self.full_ns - now_ns) // self.every_ns)

    def take(self, now_ns: int) -> None:
        self.full_ns = max(self.full_ns, now_ns) + self.every_ns


class LogLimit:
    """Decides which lines pass. Not thread-safe; `now_ns` is monotonic."""

    def __init__(self) -> None:
        self._all = _Allowance(ALL_BURST, ALL_EVERY_NS)
        self._kinds: dict[Kind, _Allowance] = {}
        self._left_out: dict[Kind, int] = {}

    def admit(self, kind: Kind, now_ns: int) -> int | None:
        """How many of its kind were left out before this line; None where it is left out itself."""
        if kind not in self._kinds and len(self._kinds) >= KINDS:
            self._forget(now_ns)
            if len(self._kinds) >= KINDS:
                kind = _OTHERS
        own = self._kinds.setdefault(kind, _Allowance(BURST, EVERY_NS))
        keep = 0 if kind[1] >= logging.ERROR else ERRORS_KEEP
        if own.left(now_ns) < 1 or self._all.left(now_ns) < 1 + keep:
            self._left_out[kind] = self._left_out.get(kind, 0) + 1
            return None
        own.take(now_ns)
        self._all.take(now_ns)
        return self._left_out.pop(kind, 0)

    def summary(self, now_ns: int) -> str | None:
        """What was left out and not told yet, in one line that is part of the allowance; None where nothing was."""
        if not self._left_out or self._all.left(now_ns) < 1:
            return None
        self._all.take(now_ns)
        most = sorted(self._left_out.items(), key=lambda item: -item[1])
        named = ", ".join(f"{count} like {kind[2]!r}" for kind, count in most[:NAMED])
        more = f" and {len(most) - NAMED} other kinds" if len(most) > NAMED else ""
        total = sum(self._left_out.values())
        self._left_out.clear()
        return f"{total} log lines suppressed: {named}{more}"

    @property
    def waiting(self) -> bool:
        """Whether something was left out that no line has told yet."""
        return bool(self._left_out)

    def _forget(self, now_ns: int) -> None:
        """Kinds whose allowance is full and of which nothing is left to tell."""
        idle = [kind for kind, own in self._kinds.items() if own.full_ns <= now_ns and kind not in self._left_out]
        for kind in idle:
            del self._kinds[kind]


def kind_of(record: logging.LogRecord) -> Kind:
    """By the text as written in the source; where that says nothing, by what it became, numbers aside."""
    text = str(record.msg)
    if text in ("%s", "") or not record.args:
        text = _VARIABLE.sub("#", record.getMessage()[:60])
    return record.name, record.levelno, text


def later(seconds: float, act: Callable[[], None]) -> None:
    """Do it once, from a thread that keeps no process alive."""
    timer = threading.Timer(seconds, act)
    timer.daemon = True
    timer.start()


class Limited(logging.Handler):
    """Passes on to another handler what the limit admits, with what was left out before it. Its thread is the caller's;
    a summary comes from a timer, and the last one when it is closed."""

    def __init__(
        self, inner: logging.Handler, clock: Clock, *, after: Callable[[float, Callable[[], None]], None] = later
    ) -> None:
        super().__init__(inner.level)
        self._inner, self._clock, self._after = inner, clock, after
        self._limit = LogLimit()
        self._timed = False

    def emit(self, record: logging.LogRecord) -> None:
        before = self._limit.admit(kind_of(record), self._clock.monotonic())
        if before is None:
            if not self._timed:
                self._timed = True
                self._after(TELL_NS / SECOND, self._tell_later)
            return
        if before:
            record = copy.copy(record)
            record.msg, record.args = f"{record.getMessage()} ({before} more like this suppressed)", None
        self._inner.handle(record)

    def tell(self) -> None:
        """Sum up what was left out and is not told yet."""
        self.acquire()
        try:
            text = self._limit.summary(self._clock.monotonic())
        finally:
            self.release()
        if text is not None:
            level = logging.WARNING
            self._inner.handle(logging.LogRecord(__name__, level, __file__, 0, text, None, None))

    def _tell_later(self) -> None:
        self.tell()
        self.acquire()
        try:
            self._timed = self._limit.waiting
        finally:
            self.release()
        if self._timed:
            self._after(TELL_NS / SECOND, self._tell_later)

    def close(self) -> None:
        self.tell()
        self._inner.close()
        super().close()
