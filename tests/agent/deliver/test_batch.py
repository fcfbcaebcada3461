"""The search for refused lines, against a model of a server: exactly those, in few requests, and never all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.deliver import batch
from agent.deliver.answer import Answer, Reply
from agent.deliver.batch import Line, Outcome, deliver

sizes = st.integers(1, 200)


@dataclass
class Model:
    """Refuses requests that hold a bad line. partial: stores their good lines, as InfluxDB 1 does; most: a cap on
    lines in a request; fails_at: number of the request from which on it is away."""

    bad: frozenset[str] = frozenset()
    partial: bool = False
    most: int = 10_000
    fails_at: int = 1 << 30
    stored: list[str] = field(default_factory=list)
    requests: int = 0

    def write(self, body: str) -> Reply:
        lines = body.split("\n")
        assert all(lines), "no request holds an empty line"
        self.requests += 1
        if self.requests >= self.fails_at:
            return Reply(Answer.RETRY, "away", status=503)
        if len(lines) > self.most:
            return Reply(Answer.TOO_LARGE, "too large", status=413)
        if self.bad.isdisjoint(lines):
            self.stored += lines
            return Reply(Answer.WRITTEN, status=204)
        if self.partial:
            self.stored += [line for line in lines if line not in self.bad]
        return Reply(Answer.REJECTED, "bad line", status=400)


def lines_of(count: int) -> list[Line]:
    return [Line(number + 1, f"m v={number}i {number}") for number in range(count)]


def run(model: Model, lines: Sequence[Line], witnesses: Sequence[str] = ("w v=1i 1",)) -> Outcome:
    return deliver(lines, model.write, lambda: witnesses, lambda: False)


def most_requests(count: int, bad: int) -> int:
    """Every request that fails holds a bad line: at most one a level and bad line, each followed by two."""
    levels = math.ceil(math.log2(count)) + 1 if count > 1 else 1
    return 1 + 2 * bad * levels + 1 + batch.OTHERS


@given(st.data(), sizes, st.booleans())
def test_exactly_the_bad_lines_are_refused(data: st.DataObject, count: int, partial: bool) -> None:
    lines = lines_of(count)
    bad = data.draw(st.sets(st.integers(0, count - 1), max_size=min(count, 12)))
    model = Model(frozenset(lines[number].text for number in bad), partial)
    outcome = run(model, lines)
    assert (outcome.done, outcome.reply.answer) == (count, Answer.WRITTEN)
    assert [refusal.line.seq - 1 for refusal in outcome.refused] == sorted(bad), "in order, each once"
    assert {refusal.words for refusal in outcome.refused} <= {"bad line"}
    assert set(model.stored) - {"w v=1i 1"} == {line.text for line in lines} - model.bad
    assert model.requests <= most_requests(count, len(bad))


@given(sizes, st.integers(1, 200))
def test_too_large_is_halved_until_it_fits(count: int, most: int) -> None:
    lines, model = lines_of(count), Model(most=most)
    outcome = run(model, lines)
    assert (outcome.done, outcome.refused) == (count, ())
    assert model.stored == [line.text for line in lines], "in order, each once"
    assert model.requests <= 4 * math.ceil(count / most) + 1


def test_one_line_too_large_for_the_server_is_parked_alone() -> None:
    lines = lines_of(64)

    def write(body: str) -> Reply:
        return Reply(Answer.TOO_LARGE, "limit") if lines[40].text in body else model.write(body)

    model = Model()
    outcome = deliver(lines, write, lambda: (), lambda: False)
    assert [refusal.line.seq for refusal in outcome.refused] == [41]
    assert outcome.done == 64


@given(sizes, st.sets(st.integers(0, 199)), st.sampled_from([(), ("w v=1i 1",)]))
def test_unwritable_lines_are_refused_with_their_reason_and_sent_to_nobody(
    count: int, unwritable: set[int], witnesses: Sequence[str]
) -> None:
    lines = [Line(line.seq, "", "no name") if line.seq - 1 in unwritable else line for line in lines_of(count)]
    model = Model()
    outcome = run(model, lines, witnesses)
    assert (outcome.done, outcome.reply.answer) == (count, Answer.WRITTEN)
    assert {refusal.line.seq - 1 for refusal in outcome.refused} == {n for n in unwritable if n < count}
    assert model.stored == [line.text for line in lines if line.text]
    assert model.requests <= 1


@given(sizes, st.sampled_from([(), ("w v=1i 1", "w v=2i 2")]), st.booleans())
def test_a_refusal_of_everything_parks_nothing(count: int, witnesses: Sequence[str], too_large: bool) -> None:
    lines = lines_of(count)
    model = Model(frozenset({line.text for line in lines} | set(witnesses)), most=0 if too_large else 10_000)
    outcome = run(model, lines, witnesses)
    assert (outcome.done, outcome.refused, outcome.reply.answer) == (0, (), Answer.HOLD)
    assert outcome.reply.words.startswith("everything is refused: ")
    assert model.requests <= math.ceil(math.log2(count)) + 2 + len(witnesses) + batch.OTHERS


@given(sizes)
def test_a_batch_of_bad_lines_only_is_parked_once_a_witness_is_taken(count: int) -> None:
    lines = lines_of(count)
    outcome = run(Model(frozenset(line.text for line in lines)), lines)
    assert (outcome.done, len(outcome.refused)) == (count, count)


def test_good_lines_of_the_batch_are_witnesses_too() -> None:
    # A new database, and the first series that any witness comes from is the bad one.
    lines = lines_of(100)
    model = Model(frozenset({"w v=1i 1", *(line.text for line in lines[:30])}))
    outcome = run(model, lines)
    assert (outcome.done, len(outcome.refused)) == (100, 30)


@given(st.data(), sizes, st.integers(1, 40))
def test_trouble_in_the_middle_keeps_what_is_done_apart_from_what_is_not(
    data: st.DataObject, count: int, fails_at: int
) -> None:
    lines = lines_of(count)
    bad = data.draw(st.sets(st.integers(0, count - 1), max_size=min(count, 6)))
    model = Model(frozenset(lines[number].text for number in bad), fails_at=fails_at)
    outcome = run(model, lines)
    refused = [refusal.line.seq for refusal in outcome.refused]
    assert all(seq <= outcome.done for seq in refused), "what is refused lies before what is done"
    assert all(line.text in model.stored for line in lines[: outcome.done] if line.seq not in refused)
    assert {seq - 1 for seq in refused} <= bad
    if outcome.done < count:
        assert outcome.reply.answer in (Answer.RETRY, Answer.HOLD)


def test_the_search_ends_when_the_agent_stops() -> None:
    model = Model(frozenset({"m v=7i 7"}))
    outcome = deliver(lines_of(64), model.write, lambda: (), lambda: True)
    assert (outcome.done, outcome.refused, model.requests) == (0, (), 1)


def test_the_model_catches_a_search_that_asks_no_witness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch._Run, "is_to_blame", lambda *_: True)
    with pytest.raises(AssertionError):
        test_a_refusal_of_everything_parks_nothing.hypothesis.inner_test(4, (), False)


def test_the_model_catches_a_search_that_leaves_out_unwritable_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    def hasty(lines: Sequence[Line], *rest: object) -> Outcome:
        return batch.deliver([line for line in lines if not line.unwritable], *rest)  # type: ignore[arg-type]

    monkeypatch.setitem(run.__globals__, "deliver", hasty)
    with pytest.raises(AssertionError):
        test_unwritable_lines_are_refused_with_their_reason_and_sent_to_nobody.hypothesis.inner_test(4, {1}, ())
