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
        (204, Answer.WRITTEN),
        (200, Answer.HOLD), (201, Answer.HOLD), (202, Answer.HOLD), (206, Answer.HOLD), (299, Answer.HOLD),
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
    assert (reply.answer is Answer.WRITTEN) is (status == 204)
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


V3 = {
    "error": "partial write of line protocol occurred",
    "data": [
        {"original_line": "home,room=Sunroom temp=hi 1735549200", "line_number": 2, "error_message": "wrong type"},
        {"original_line": "cpu,host=a val= 123", "line_number": 7, "error_message": "No fields were provided"},
    ],
}
V3_WHOLE = {
    "error": "parsing failed for write_lp endpoint",
    "data": {"original_line": "cpu,host=a val= 123", "line_number": 1, "error_message": "No fields were provided"},
}
CLUSTERED = {"code": "invalid", "line": 2, "message": "line 2: wrong type\nline 7: No fields were provided"}
V2_DROPPED = {
    "code": "unprocessable entity",
    "message": 'failure writing points to database: partial write: field type conflict: input field "lost" on '
    'measurement "ping" is type integer, already exists as type float dropped=3',
}
V2_MALFORMED = {"code": "invalid", "message": "unable to parse 'ping sent=': missing field value"}
V1_OLD = {"error": "partial write: points beyond retention policy dropped=1200"}
V3_NAME = {"error": "db name cannot be empty", "data": None}


@pytest.mark.parametrize(
    ("status", "document", "blamed", "dropped", "words"),
    [
        (400, V3, {2: "HTTP 400: wrong type", 7: "HTTP 400: No fields were provided"}, None,
         "HTTP 400: partial write of line protocol occurred: wrong type"),
        (400, V3_WHOLE, {1: "HTTP 400: No fields were provided"}, None,
         "HTTP 400: parsing failed for write_lp endpoint: No fields were provided"),
        (400, CLUSTERED, None, None, "HTTP 400: line 2: wrong type line 7: No fields were provided"),
        (422, V2_DROPPED, None, 3, f"HTTP 422: {V2_DROPPED['message']}"),
        (400, V2_MALFORMED, None, None, f"HTTP 400: {V2_MALFORMED['message']}"),
        (400, V1_OLD, None, 1200, f"HTTP 400: {V1_OLD['error']}"),
        (400, V3_NAME, None, None, "HTTP 400: db name cannot be empty"),
        (400, {"error": "x", "data": [{"line_number": "2", "error_message": "a"}, 3]}, None, None, "HTTP 400: x"),
    ],
)  # fmt: skip
def test_what_servers_say_about_lines(
    status: int, document: object, blamed: object, dropped: int | None, words: str
) -> None:
    reply = classify(status, {}, json.dumps(document).encode())
    assert (reply.answer, reply.blamed, reply.dropped) == (Answer.REJECTED, blamed, dropped)
    assert reply.words == words


def test_a_list_of_lines_that_is_cut_off_is_read_as_far_as_it_goes() -> None:
    data = [{"original_line": "x" * 900, "line_number": n, "error_message": f"wrong {n}"} for n in range(1, 100)]
    body = json.dumps({"error": "partial write of line protocol occurred", "data": data}).encode()[:65_536]
    reply = classify(400, {}, body)
    assert reply.words == "HTTP 400: partial write of line protocol occurred: wrong 1"
    assert reply.blamed == {n: f"HTTP 400: wrong {n}" for n in range(1, len(reply.blamed or ()) + 1)}
    assert len(reply.blamed or ()) >= 60


def test_lines_are_named_by_refusals_only() -> None:
    for status in (204, 401, 413, 500):
        reply = classify(status, {}, json.dumps(V3).encode())
        assert (reply.blamed, reply.dropped) == (None, None)


@pytest.mark.parametrize(
    ("after", "date", "seconds"),
    [
        ("Mon, 23 Nov 2026 00:01:30 GMT", "Mon, 23 Nov 2026 00:01:00 GMT", 30),
        ("Mon, 23 Nov 2026 00:00:30 GMT", "Mon, 23 Nov 2026 00:01:00 GMT", 1),
        ("Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 23 Nov 2026 00:01:00 GMT", 300),
        ("Mon, 23 Nov 2026 00:01:30 GMT", "", None), ("soon", "Mon, 23 Nov 2026 00:01:00 GMT", None),
        ("Mon, 23 Nov 2026 00:01:30 GMT", "yesterday", None), ("1e99", "", None),
    ],
)  # fmt: skip
def test_retry_after_as_a_date_is_taken_by_the_servers_own_clock(after: str, date: str, seconds: int | None) -> None:
    wait_ns = retry_after_ns({"Retry-After": after, "Date": date})
    assert wait_ns == (None if seconds is None else seconds * SECOND)


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
