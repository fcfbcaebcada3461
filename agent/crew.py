"""Work spread over processes: answers in the order of the questions, whatever becomes of a process.

Every process is told once what it needs and then gets one question after the other. One that dies (killed, out of
memory) or hangs is replaced, and its question is asked again; a question that has cost as many processes as it may is
given up with an error that names it. Processes are spawned, never forked: threads and open databases stay here.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Final, Generic, TypeVar

from probes.core.clock import SECOND, Clock, SystemClock
from probes.core.errors import LocalError

Question = TypeVar("Question")
Answer = TypeVar("Answer")

TRIES: Final = 3
"""Processes that a question may cost before it is given up."""
AHEAD: Final = 16
"""Answers for each process that may wait for one that is asked before them."""
PATIENCE_S: Final = 600.0
"""For one answer: a process that takes longer hangs."""
_LOOK_S: Final = 1.0
_END_S: Final = 2.0


@dataclass(slots=True)
class _Member:
    """One process. place: of the question it has, None when idle; since_ns: when it got it."""

    process: BaseProcess
    line: Connection
    place: int | None = None
    since_ns: int = 0


class Crew(Generic[Question, Answer]):
    """`prepare(*told)` runs once in every process and gives the function that answers; all of it can be pickled.

    Use as a context manager. started: processes so far, replacements included.
    """

    def __init__(
        self,
        prepare: Callable[..., Callable[[Question], Answer]],
        told: Sequence[object],
        size: int,
        *,
        clock: Clock | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._prepare, self._told, self._size = prepare, tuple(told), max(1, size)
        self._clock = clock or SystemClock()
        self._patience_ns = int(patience_s * SECOND)
        self._members: list[_Member] = []
        self.started = 0

    def __enter__(self) -> Crew[Question, Answer]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pids(self) -> list[int]:
        """Of the processes that run now."""
        return [pid for member in self._members if (pid := member.process.pid) is not None]

    def close(self) -> None:
        """End all processes."""
        for member in self._members:
            member.line.close()
        for member in self._members:
            _end(member.process, _END_S)
        self._members = []

    def answers(self, questions: Sequence[Question]) -> Iterator[Answer]:
        """One answer for each question, in their order. Raises LocalError where one has none."""
        waiting = deque(range(len(questions)))
        tries = [0] * len(questions)
        done: dict[int, tuple[bool, Any]] = {}
        for place in range(len(questions)):
            while place not in done:
                self._hand_out(questions, waiting, place + AHEAD * self._size)
                for number, result in self._collect():
                    if result is not None:
                        done[number] = result
                        continue
                    tries[number] += 1
                    if tries[number] >= TRIES:
                        done[number] = (False, _given_up(questions[number]))
                    else:
                        waiting.appendleft(number)
            right, answer = done.pop(place)
            if not right:
                raise _raised(answer)
            yield answer

    def _hand_out(self, questions: Sequence[Question], waiting: deque[int], before: int) -> None:
        """Every process that is idle gets the next question, if it is not too far ahead."""
        idle = sum(member.place is None for member in self._members)
        while len(self._members) < self._size and idle < len(waiting):
            self._members.append(self._start())
            idle += 1
        for member in list(self._members):
            if member.place is None and waiting and waiting[0] < before:
                place = waiting.popleft()
                member.place, member.since_ns = place, self._clock.monotonic()
                with contextlib.suppress(OSError):  # it has died: found out when its answer is waited for
                    member.line.send((place, questions[place]))

    def _collect(self) -> list[tuple[int, tuple[bool, Any] | None]]:
        """Answers that have come, and None for each question whose process has gone."""
        found: list[tuple[int, tuple[bool, Any] | None]] = []
        busy = {member.line: member for member in self._members if member.place is not None}
        for line in wait(list(busy), timeout=_LOOK_S):
            assert isinstance(line, Connection)
            member = busy[line]
            try:
                place, *result = line.recv()
            except (EOFError, OSError):
                found += self._gone(member)
                continue
            member.place = None
            found.append((place, (result[0], result[1])))
        for member in list(self._members):
            if member.place is not None and self._clock.monotonic() - member.since_ns > self._patience_ns:
                found += self._gone(member)
        return found

    def _gone(self, member: _Member) -> list[tuple[int, None]]:
        self._members.remove(member)
        member.line.close()
        _end(member.process, 0.0)
        return [] if member.place is None else [(member.place, None)]

    def _start(self) -> _Member:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self._prepare, self._told), daemon=True)
        process.start()
        theirs.close()
        self.started += 1
        return _Member(process, ours)


def _end(process: BaseProcess, patience_s: float) -> None:
    """Whoever does not end by itself is killed: it holds nothing but work."""
    if patience_s:
        process.join(patience_s)
    if process.is_alive():
        process.kill()
    process.join(_END_S)


def _serve(line: Connection, prepare: Callable[..., Callable[[Any], Any]], told: Sequence[object]) -> None:
    """The process: answer until the other side has gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who asks
    answer: Callable[[Any], Any] | None = None
    while True:
        try:
            place, question = line.recv()
        except (EOFError, OSError):
            return
        try:
            if answer is None:
                answer = prepare(*told)
            reply = (place, True, answer(question))
        except LocalError as error:
            reply = (place, False, (error.message, error.hint))
        except Exception:
            reply = (place, False, (f"internal error in a process of its own:\n{traceback.format_exc()}", ""))
        try:
            line.send(reply)
        except OSError:
            return


def _raised(answer: tuple[str, str]) -> LocalError:
    return LocalError(answer[0], hint=answer[1])


def _given_up(question: object) -> tuple[str, str]:
    return (
        f"{TRIES} processes ended or hung over the same work: {question!s:.200}",
        "is there enough memory? the kernel's log tells whom it killed",
    )


def cores() -> int:
    """Processors this process may use."""
    return max(1, len(os.sched_getaffinity(0)))
