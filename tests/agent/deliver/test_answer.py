"""What answers mean, how long they make us wait, and that no header or body can upset either."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.deliver.answer import LONGEST_WAIT_NS, SHORTEST_WAIT_NS, Answer, Reply, classify, retry_after_ns, said
from agent.deliver.backoff import HOLD_NS, Backoff
from probes.core.clock import SECOND

PARTIAL = (
    b'{"error":"partial write: field type conflict: input field \\"lost\\" on measurement \\"ping\\" is type integer, '
    b'already exists as type float dropped=1"}'
)


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (200, Answer.WRITTEN), (204, Answer.WRITTEN),
        (301, Answer.HOLD), (302, Answer.HOLD), (307, Answer.HOLD), (308, Answer.HOLD),
        (400, Answer.REJECTED), (422, Answer.REJECTED), (413, Answer.TOO_LARGE),
        (401, Answer.HOLD), (403, Answer.HOLD), (404, Answer.HOLD), (405, Answer.HOLD), (410, Answer.HOLD),
        (429, Answer.RETRY), (500, Answer.RETRY), (502, Answer.RETRY), (503, Answer.RETRY), (504, Answer.RETRY),
        (599, Answer.RETRY),
    ],
)  # fmt: skip
def test_status_decides(status: int, answer: Answer) -> None:
    reply = classify(status, {}, b"")
    assert (reply.answer, reply.status) == (answer, status)


@given(st.integers(100, 999), st.dictionaries(st.text(max_size=12), st.text(max_size=40), max_size=4), st.binary())
def test_every_answer_means_something_on_one_short_line(status: int, headers: dict[str, str], body: bytes) -> None:
    reply = classify(status, headers, body)
    assert (reply.answer is Answer.WRITTEN) is (200 <= status <= 299)
    assert reply.words.isprintable()
    assert len(reply.words) < 500
    if reply.retry_after_ns is not None:
        assert reply.answer is Answer.RETRY
        assert SHORTEST_WAIT_NS <= reply.retry_after_ns <= LONGEST_WAIT_NS


@pytest.mark.parametrize(
    ("headers", "body", "words"),
    [
        ({}, PARTIAL, f"HTTP 400: {json.loads(PARTIAL)['error']}"),
        ({}, b'{"code":"invalid","message":"unable to parse"}', "HTTP 400: unable to parse"),
        ({"X-InfluxDB-Error": "from the header"}, b'{"error":"from the body"}', "HTTP 400: from the header"),
        ({}, b"plain\r\n\twords\x1b[31m\x00", "HTTP 400: plain words [31m"),
        ({}, b"", "HTTP 400"), ({}, b"[1, 2]", "HTTP 400: [1, 2]"), ({}, b'{"error": 7}', 'HTTP 400: {"error": 7}'),
        ({}, b"\xff\xfe", "HTTP 400: \ufffd\ufffd"), ({}, b"x" * 9000, "HTTP 400: " + "x" * 300),
        ({}, b"[" * 4000, "HTTP 400: " + "[" * 300),
    ],
)  # fmt: skip
def test_the_servers_own_words(headers: dict[str, str], body: bytes, words: str) -> None:
    assert said(400, headers, body) == words


@given(st.integers())
def test_retry_after_is_kept_within_a_second_and_five_minutes(seconds: int) -> None:
    wait_ns = retry_after_ns({"Retry-After": str(seconds)})
    assert wait_ns == max(SHORTEST_WAIT_NS, min(LONGEST_WAIT_NS, seconds * SECOND))


@given(st.text())
def test_retry_after_of_any_text(text: str) -> None:
    wait_ns = retry_after_ns({"retry-after": text})
    assert wait_ns is None or SHORTEST_WAIT_NS <= wait_ns <= LONGEST_WAIT_NS


def test_waits_double_up_to_five_minutes_and_start_anew_after_success() -> None:
    backoff, busy, bounds = Backoff(), Reply(Answer.RETRY), []
    for _ in range(12):
        backoff = backoff.after(busy)
        bounds.append(backoff.wait_ns(busy, 1.0) // SECOND)
    assert bounds == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    assert backoff.after(Reply(Answer.WRITTEN)) == Backoff()
    assert backoff.after(Reply(Answer.REJECTED)) == Backoff()


@given(st.integers(0, 10_000), st.floats(0, 1), st.sampled_from([Answer.RETRY, Answer.HOLD]))
def test_every_wait_has_an_end(failures: int, share: float, answer: Answer) -> None:
    backoff = Backoff(failures).after(Reply(answer))
    wait_ns = backoff.wait_ns(Reply(answer), share)
    assert 0 <= wait_ns <= LONGEST_WAIT_NS
    assert backoff.failures <= 16
    if answer is Answer.HOLD:
        assert wait_ns == HOLD_NS


@given(st.integers(SHORTEST_WAIT_NS, LONGEST_WAIT_NS), st.floats(0, 1))
def test_a_server_that_says_when_is_believed(asked_ns: int, share: float) -> None:
    reply = Reply(Answer.RETRY, retry_after_ns=asked_ns)
    assert Backoff().after(reply).wait_ns(reply, share) == asked_ns
