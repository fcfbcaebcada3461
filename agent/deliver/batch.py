"""Getting batches accepted: halve what is too large, find the lines a server refuses, park only those.

A refusal of everything is rarely the lines' fault. Before a line is parked, other lines are offered: some that the
server has taken before, some of the rest of the batch. If it takes none of them, nothing is parked and the sink is
held, with the server's words.

The search uses what servers tell: InfluxDB 3 names the lines, InfluxDB 1 and 2 count what they dropped and name
measurement and field. Where nothing is told, it halves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from agent.deliver.answer import Answer, Reply

Write = Callable[[str], Reply]
OTHERS: Final = 8
"""Lines of the rest of the batch that are offered before the first line is parked."""
PIECE: Final = 64
"""Requests of one search after which what is found so far is given back: others want their turn."""
GROWS_AFTER: Final = 64
"""Batches of full size accepted in a row, after which a size learned from a 413 grows by an eighth."""
_FIELD: Final = re.compile(r'input field "([^"\\ ]+)" on measurement')
_MEASUREMENT: Final = re.compile(r"(?:\\.|[^\\, ])*")


@dataclass(frozen=True, slots=True)
class Line:
    """One sample as text; seq is its place in the store. An unwritable sample has no text, but a reason."""

    seq: int
    text: str
    unwritable: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A line that the server refuses for good, with its words."""

    line: Line
    words: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """Lines up to `done` (an index into the batch) are written or refused; `reply` is what stopped the rest."""

    done: int
    refused: tuple[Refusal, ...]
    reply: Reply


class Batches:
    """What one sink has learned about batches: how much at once its server takes, which lines it refused already.

    most: lines in a batch as configured.
    """

    def __init__(self, most: int) -> None:
        self._most = self._limit = most
        self._full = 0
        """batches of `limit` lines accepted in a row"""
        self._known: dict[int, str] = {}
        """seq -> words: refused behind a place where the search was interrupted"""

    @property
    def limit(self) -> int:
        """Lines to send at once: as configured, or what the server took after a 413."""
        return self._limit

    @property
    def searching(self) -> bool:
        """Lines behind the place reached so far are known to be refused."""
        return bool(self._known)

    def taken(self, count: int) -> None:
        """Learn from a batch that was written as a whole."""
        if count >= self._limit:
            self._grow()

    def deliver(
        self,
        lines: Sequence[Line],
        write: Write,
        witnesses: Callable[[], Sequence[str]],
        stopping: Callable[[], bool],
        whole: Reply | None = None,
    ) -> Outcome:
        """Write the lines. witnesses: single lines that a healthy server would take. stopping: leave off early.

        whole: the answer to all of them at once, where they were offered so before.
        Comes back early, with `reply` written, where a search takes more than PIECE requests and has got somewhere.
        """
        run = _Run(lines, write, witnesses, self._known)
        reply = run.search(stopping, self._limit, whole)
        done = next((number for number, over in enumerate(run.over) if not over), len(lines))
        refused = sorted(run.refused.items())
        self._known = {lines[number].seq: words for number, words in refused if number >= done}
        self._learn(run, len(lines))
        return Outcome(done, tuple(Refusal(lines[number], words) for number, words in refused if number < done), reply)

    def _learn(self, run: _Run, count: int) -> None:
        if run.fits is not None and not run.oversized:
            self._limit, self._full = max(1, min(self._limit, run.fits)), 0
        elif run.most_written >= self._limit and count:
            self._grow()

    def _grow(self) -> None:
        self._full += 1
        if self._full >= GROWS_AFTER:
            self._limit, self._full = min(self._most, self._limit + max(1, self._limit // 8)), 0


Group = list[int]
"""Places in the batch, ascending."""


class _Run:
    def __init__(
        self, lines: Sequence[Line], write: Write, witnesses: Callable[[], Sequence[str]], known: dict[int, str]
    ) -> None:
        self._lines, self._write, self._witnesses = lines, write, witnesses
        self._accepts = False
        """the server is known to take lines now"""
        self.over = [False] * len(lines)
        self.refused: dict[int, str] = {}
        self.fits: int | None = None
        """the largest request that was accepted after a larger one was too large"""
        self.most_written = 0
        self.oversized = False
        """a line alone was too large"""
        for number, line in enumerate(lines):
            if line.unwritable or line.seq in known:
                self._refuse(number, line.unwritable or known[line.seq])

    def search(self, stopping: Callable[[], bool], limit: int, whole: Reply | None) -> Reply:
        """Until every line is written or refused, or something stands in the way. limit: lines in one request."""
        left = [number for number, over in enumerate(self.over) if not over]
        pending = [left[begin : begin + limit] for begin in range(0, len(left), limit)][::-1]
        requests, cut = 0, False
        while pending:
            group = pending.pop()
            if not group:
                continue
            if cut and self.fits is not None and len(group) > self.fits:
                pending += _halves(group)
                continue
            if requests >= PIECE and self.over[0]:
                break
            if whole is not None and len(group) == len(left):
                reply, whole = whole, None
            else:
                reply = self._write("\n".join(self._lines[number].text for number in group))
            requests += 1
            if reply.answer is Answer.WRITTEN:
                self._written(group, cut)
                continue
            if reply.answer not in (Answer.REJECTED, Answer.TOO_LARGE) or stopping():
                return reply
            if reply.answer is Answer.TOO_LARGE and len(group) > 1:
                cut = True
                pending += _halves(group)
            elif not self._all_refused(group, reply):
                pending += reversed(list(self._parts(group, reply)))
            elif self._to_blame(group):
                self._park(group, reply)
            else:
                return Reply(Answer.HOLD, f"everything is refused: {reply.words}", status=reply.status)
        return Reply(Answer.WRITTEN)

    def _written(self, group: Group, cut: bool) -> None:
        self._accepts = True
        for number in group:
            self.over[number] = True
        self.most_written = max(self.most_written, len(group))
        if cut:
            self.fits = max(self.fits or 0, len(group))

    def _refuse(self, number: int, words: str) -> None:
        self.refused[number] = words
        self.over[number] = True

    def _park(self, group: Group, reply: Reply) -> None:
        self.oversized = self.oversized or reply.answer is Answer.TOO_LARGE
        for place, number in enumerate(group, start=1):
            self._refuse(number, (reply.blamed or {}).get(place, reply.words))

    @staticmethod
    def _all_refused(group: Group, reply: Reply) -> bool:
        """Whether the answer is about every line of the request: it names all, or dropped as many as there were."""
        count = len(group)
        named = reply.blamed is not None and all(place in reply.blamed for place in range(1, count + 1))
        return count == 1 or named or (reply.dropped or 0) >= count

    def _parts(self, group: Group, reply: Reply) -> Iterator[Group]:
        """The group in smaller ones, those without suspicion first."""
        suspects = {group[place - 1] for place in reply.blamed or () if place <= len(group)}
        if not suspects and (found := _FIELD.search(reply.words)):
            suspects = {n for n in group if f"{found[1]}=" in self._lines[n].text.partition(" ")[2]}
        rest = [number for number in group if number not in suspects]
        if suspects and rest:
            yield rest
            yield sorted(suspects)
            return
        by_measurement: dict[str, Group] = {}
        for number in group:
            by_measurement.setdefault(_measurement(self._lines[number].text), []).append(number)
        yield from by_measurement.values() if 1 < len(by_measurement) <= OTHERS else reversed(_halves(group))

    def _to_blame(self, group: Group) -> bool:
        """True when the server is known to accept others, so that these lines are the trouble."""
        if not self._accepts:
            inside = set(group)
            rest = [number for number, over in enumerate(self.over) if not over and number not in inside]
            others = [self._lines[number].text for number in rest[:: max(1, -(-len(rest) // OTHERS))]]
            offered = dict.fromkeys((*self._witnesses(), *others))
            self._accepts = any(self._write(text).answer is Answer.WRITTEN for text in offered)
        return self._accepts


def _measurement(line: str) -> str:
    found = _MEASUREMENT.match(line)
    return found[0] if found else ""


def _halves(group: Group) -> list[Group]:
    """For a stack: the first half comes off first."""
    middle = len(group) // 2
    return [group[middle:], group[:middle]]
