"""Work spread over processes: the order of answers, processes that are killed or hang, errors, bounds."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.crew import AHEAD, TRIES, Crew
from probes.core.errors import LocalError


def squaring(marks: str) -> Callable[[int], int]:
    """Leaves a mark for each process that was prepared."""
    (Path(marks) / str(os.getpid())).touch()
    return lambda number: number * number


def dying(marks: str) -> Callable[[int], int]:
    """The process that gets an odd question first is killed, once for each question."""

    def answer(number: int) -> int:
        mark = Path(marks) / f"died-{number}"
        if number % 2 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return -number

    return answer


def doomed() -> Callable[[int], int]:
    """Killed by the question 3, always."""

    def answer(number: int) -> int:
        if number == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    return answer


def hanging(marks: str) -> Callable[[int], int]:
    """Hangs once."""

    def answer(number: int) -> int:
        mark = Path(marks) / "hung"
        if number == 1 and not mark.exists():
            mark.touch()
            signal.pause()
        return number

    return answer


def refusing() -> Callable[[int], int]:
    """Errors of both sorts."""

    def answer(number: int) -> int:
        if number == 2:
            raise LocalError("there is no 2", hint="take 3")
        return 10 // number

    return answer


def test_answers_come_in_the_order_of_the_questions(tmp_path: Path) -> None:
    with Crew[int, int](squaring, (str(tmp_path),), 2) as crew:
        assert list(crew.answers(range(100))) == [number * number for number in range(100)]
        assert list(crew.answers([7])) == [49]
        assert crew.started == 2
    assert len(list(tmp_path.iterdir())) <= 2
    assert crew.pids == []


def test_no_more_processes_than_questions(tmp_path: Path) -> None:
    with Crew[int, int](squaring, (str(tmp_path),), 8) as crew:
        assert list(crew.answers([1, 2])) == [1, 4]
        assert crew.started == 2


def test_a_process_that_is_killed_is_replaced_and_its_question_asked_again(tmp_path: Path) -> None:
    with Crew[int, int](dying, (str(tmp_path),), 2) as crew:
        assert list(crew.answers(range(6))) == [0, -1, -2, -3, -4, -5]
        assert 2 + 2 <= crew.started <= 2 + 3  # the last one is not replaced where another is idle


def test_processes_killed_from_outside_cost_no_answer(tmp_path: Path) -> None:
    with Crew[int, int](squaring, (str(tmp_path),), 2) as crew:
        found = []
        for answer in crew.answers(range(4 * AHEAD)):
            found.append(answer)
            if len(found) == 3:
                for pid in crew.pids:
                    os.kill(pid, signal.SIGKILL)
        assert found == [number * number for number in range(4 * AHEAD)]
        assert crew.started > 2


def test_a_question_that_costs_every_process_its_life_is_given_up() -> None:
    with Crew[int, int](doomed, (), 2) as crew:
        answers = crew.answers(range(5))
        assert [next(answers) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(LocalError, match=rf"{TRIES} processes ended or hung over the same work: 3"):
            next(answers)
        assert crew.started <= 2 + TRIES


def test_a_process_that_hangs_is_replaced(tmp_path: Path) -> None:
    with Crew[int, int](hanging, (str(tmp_path),), 2, patience_s=3.0) as crew:
        assert list(crew.answers(range(4))) == [0, 1, 2, 3]


def test_errors_come_at_the_place_of_their_question() -> None:
    with Crew[int, int](refusing, (), 2) as crew:
        answers = crew.answers([5, 2, 1])
        assert next(answers) == 2
        with pytest.raises(LocalError, match="there is no 2") as caught:
            next(answers)
        assert caught.value.hint == "take 3"
        with pytest.raises(LocalError, match="ZeroDivisionError"):
            list(crew.answers([0]))


def test_leaving_early_leaves_no_process(tmp_path: Path) -> None:
    with Crew[int, int](squaring, (str(tmp_path),), 2) as crew:
        answers = crew.answers(range(1000))
        assert next(answers) == 0
        pids = crew.pids
    assert pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
