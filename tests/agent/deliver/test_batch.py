"""The search for refused lines, against a model of a server: exactly those, in few requests, and never all."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.deliver import batch
from agent.deliver.answer import Answer, Reply
from agent.deliver.batch import Batches, Line, Outcome, Refusal

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


def deliver(lines: Sequence[Line], write: Callable[[str], Reply], witnesses: Sequence[str] = ()) -> Outcome:
    """As the worker does it: what a long search leaves is given in again, until something stands in the way."""
    batches, done = Batches(max(1, len(lines))), 0
    refused: list[Refusal] = []
    while True:
        outcome = batches.deliver(lines[done:], write, lambda: witnesses, lambda: False)
        refused += outcome.refused
        done += outcome.done
        if done == len(lines) or outcome.reply.answer is not Answer.WRITTEN:
            return Outcome(done, tuple(refused), outcome.reply)
        assert outcome.done, "every piece of a search gets somewhere"


def run(model: Model, lines: Sequence[Line], witnesses: Sequence[str] = ("w v=1i 1",)) -> Outcome:
    return deliver(lines, model.write, witnesses)


def most_requests(count: int, bad: int) -> int:
    """Every request that fails holds a bad line: at most one a level and bad line, each followed by two."""
    levels = math.ceil(math.log2(count)) + 1 if count > 1 else 1
    once = 1 + 2 * bad * levels + 1 + batch.OTHERS
    return once + once // batch.PIECE * (2 * levels + 1 + batch.OTHERS)


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
    outcome = deliver(lines, write)
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
    outcome = Batches(64).deliver(lines_of(64), model.write, lambda: (), lambda: True)
    assert (outcome.done, outcome.refused, model.requests) == (0, (), 1)


def test_the_model_catches_a_search_that_asks_no_witness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch._Run, "_to_blame", lambda *_: True)
    with pytest.raises(AssertionError):
        test_a_refusal_of_everything_parks_nothing.hypothesis.inner_test(4, (), False)


def test_the_model_catches_a_search_that_leaves_out_unwritable_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    original = batch.Batches.deliver

    def hasty(batches: Batches, lines: Sequence[Line], *rest: object) -> Outcome:
        return original(batches, [line for line in lines if not line.unwritable], *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Batches, "deliver", hasty)
    with pytest.raises(AssertionError):
        test_unwritable_lines_are_refused_with_their_reason_and_sent_to_nobody.hypothesis.inner_test(4, {1}, ())


def test_a_size_learned_from_413_is_kept_and_grows_again_slowly() -> None:
    batches, model = Batches(128), Model(most=40)
    sizes_taken = []
    for _ in range(300):
        batches.deliver(lines_of(batches.limit), model.write, lambda: (), lambda: False)
        sizes_taken.append(batches.limit)
    assert sizes_taken[0] == 32, "128 and 64 are too large"
    refused = model.requests - 300 - sizes_taken.count(32) // 300
    assert refused <= 20, "it asks for too much now and then only"
    assert max(sizes_taken) <= 45
    model.most = 10_000
    for _ in range(2000):
        batches.deliver(lines_of(batches.limit), model.write, lambda: (), lambda: False)
    assert batches.limit == 128, "what was configured, once the server takes it"


def test_one_line_too_large_teaches_nothing_about_batches() -> None:
    batches, lines = Batches(64), lines_of(64)
    outcome = batches.deliver(
        lines, lambda body: Reply(Answer.TOO_LARGE) if lines[40].text in body else Reply(Answer.WRITTEN),
        lambda: (), lambda: False,
    )  # fmt: skip
    assert (outcome.done, len(outcome.refused), batches.limit) == (64, 1, 64)


def test_halving_what_is_too_large_ends_within_the_logarithm() -> None:
    for count in (1, 2, 3, 64, 1000, 5000):
        model, refusals = Model(most=1), 0

        def write(body: str, model: Model = model) -> Reply:
            nonlocal refusals
            reply = model.write(body)
            refusals += reply.answer is Answer.TOO_LARGE
            return reply

        deliver(lines_of(count), write)
        assert refusals <= math.ceil(math.log2(count)) if count > 1 else refusals == 0


@dataclass
class Conflict(Model):
    """Tells what servers tell. told: "counted" (InfluxDB 1 and 2) | "named" (InfluxDB 3, at most 100 lines)."""

    told: str = "counted"

    def write(self, body: str) -> Reply:
        reply = super().write(body)
        if reply.answer is not Answer.REJECTED:
            return reply
        lines = body.split("\n")
        bad = [place for place, line in enumerate(lines, start=1) if line in self.bad]
        if self.told == "named":
            return Reply(Answer.REJECTED, "partial", status=400, blamed=dict.fromkeys(bad[:100], "this one"))
        words = 'partial write: field type conflict: input field "lost" on measurement "b" is type integer, already'
        return Reply(Answer.REJECTED, words, status=400, dropped=len(bad))


@pytest.mark.parametrize(("told", "most"), [("counted", 8), ("named", 30)])
def test_what_the_server_tells_makes_the_search_short(told: str, most: int) -> None:
    # A quarter of the batch has one field of a type that the database does not have: found in a few requests.
    lines = [Line(n, f"{'abcd'[n % 4]},x=y sent=1i{',lost=2i' if n % 8 else ''} {n}") for n in range(1, 5001)]
    bad = frozenset(line.text for line in lines if line.text.startswith("b,") and ",lost=" in line.text)
    model = Conflict(bad, partial=True, told=told)
    outcome = deliver(lines, model.write)
    assert {refusal.line.text for refusal in outcome.refused} == bad
    assert {refusal.words for refusal in outcome.refused} == {"this one"} if told == "named" else True
    assert set(model.stored) == {line.text for line in lines} - bad
    assert model.requests <= most


def test_points_older_than_the_database_keeps_are_found_in_the_logarithm() -> None:
    lines = lines_of(5000)
    model = Conflict(frozenset(line.text for line in lines[:1777]), partial=True)
    outcome = deliver(lines, model.write)
    assert len(outcome.refused) == 1777
    assert model.requests <= 2 * math.ceil(math.log2(5000)) + 4


def test_one_bad_line_in_a_full_batch_costs_few_requests_even_if_nothing_is_told() -> None:
    # At 250 ms a request this is 10 s, the most that a bad point may hold up the others.
    for place in (0, 1, 2500, 4999):
        lines = lines_of(5000)
        model = Model(frozenset([lines[place].text]))
        assert len(run(model, lines).refused) == 1
        assert model.requests <= 40


def test_an_interrupted_search_goes_on_where_it_was() -> None:
    lines = [Line(n, f"{'ab'[n % 2]},x=y v=1i {n}") for n in range(1, 201)]
    bad = frozenset(line.text for line in lines[2:3] + lines[100:160:2])
    batches, refused, done, rounds = Batches(200), [], 0, 0
    while done < len(lines):
        model = Model(bad, fails_at=60)
        outcome = batches.deliver(lines[done:], model.write, lambda: (), lambda: False)
        refused += outcome.refused
        done += outcome.done
        rounds += 1
        assert rounds < 20, "a server that fails now and then does not make the search begin anew for ever"
    assert [refusal.line.text for refusal in refused] == [line.text for line in lines if line.text in bad]
