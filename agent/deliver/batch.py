"""Getting one batch accepted: halve what is too large, find the lines a server refuses, park only those.

A refusal of everything is rarely the lines' fault. Before a line is parked, other lines are offered: some that the
server has taken before, some of the rest of the batch. If it takes none of them, nothing is parked and the sink is
held, with the server's words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from agent.deliver.answer import Answer, Reply

Write = Callable[[str], Reply]
OTHERS: Final = 8
"""Lines of the rest of the batch that are offered before the first line is parked."""


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


def deliver(
    lines: Sequence[Line], write: Write, witnesses: Callable[[], Sequence[str]], stopping: Callable[[], bool]
) -> Outcome:
    """Write lines in order. witnesses: single lines that a healthy server would take. stopping: leave off early."""
    run = _Run(write, witnesses)
    reply = Reply(Answer.WRITTEN)
    done = 0
    pending = [(0, len(lines))]
    while pending:
        first, last = pending.pop()
        good = [line for line in lines[first:last] if not line.unwritable]
        if not good:
            run.refused.extend(Refusal(line, line.unwritable) for line in lines[first:last])
            done = last
            continue
        reply = write("\n".join(line.text for line in good))
        if reply.answer is Answer.WRITTEN:
            run.refused.extend(Refusal(line, line.unwritable) for line in lines[first:last] if line.unwritable)
            run.accepted = True
            done = last
        elif reply.answer in (Answer.REJECTED, Answer.TOO_LARGE):
            if stopping():
                return Outcome(done, tuple(run.refused), reply)
            if last - first > 1:
                middle = (first + last) // 2
                pending += [(middle, last), (first, middle)]
            elif run.is_to_blame(lines[last:]):
                run.refused.append(Refusal(lines[first], reply.words))
                done = last
            else:
                return Outcome(done, tuple(run.refused), Reply(Answer.HOLD, f"everything is refused: {reply.words}"))
        else:
            return Outcome(done, tuple(run.refused), reply)
    return Outcome(done, tuple(run.refused), Reply(Answer.WRITTEN))


class _Run:
    def __init__(self, write: Write, witnesses: Callable[[], Sequence[str]]) -> None:
        self._write, self._witnesses = write, witnesses
        self.accepted = False
        self.refused: list[Refusal] = []

    def is_to_blame(self, rest: Sequence[Line]) -> bool:
        """True when the server is known to accept others, so that this line is the trouble."""
        if not self.accepted:
            others = [line.text for line in rest[:: max(1, -(-len(rest) // OTHERS))] if not line.unwritable]
            offered = dict.fromkeys((*self._witnesses(), *others))
            self.accepted = any(self._write(text).answer is Answer.WRITTEN for text in offered)
        return self.accepted
