"""Notices as carriers send them, as nobody should send them, and as random damage leaves them."""

import random
import re
from collections.abc import Callable
from datetime import timedelta

import pytest

from agent import maintenance_notices
from agent.maintenance_notices import EVENT_LIMIT, LINE_LIMIT, OBJECT_LIMIT, SIZE_LIMIT, NoticeError, parse
from agent.sla.exclusion.maintenance import Notice
from agent.sla.time.calendar import parse_instant as ns

EXAMPLE = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//Maint Note//https://github.com/maint-notification//
BEGIN:VTIMEZONE
TZID:Europe/Berlin
BEGIN:STANDARD
DTSTART:19701025T030000
RRULE:FREQ=SECONDLY
TZOFFSETFROM:+0200
TZOFFSETTO:+1400
END:STANDARD
END:VTIMEZONE
BEGIN:VEVENT
SUMMARY:Maint Note\\, an Example
DTSTART;TZID=Europe/Berlin:20261105T010000
DTEND;VALUE=DATE-TIME:20261105T030000Z
DTSTAMP;VALUE=DATE-TIME:20261010T001000Z
UID:42@example.com
SEQUENCE:1
X-MAINTNOTE-PROVIDER:example.com
X-MAINTNOTE-ACCOUNT:137.035999173
X-MAINTNOTE-MAINTENANCE-ID:WorkOrder-31415
X-MAINTNOTE-IMPACT:OUTAGE
X-MAINTNOTE-OBJECT-ID;X-MAINTNOTE-OBJECT-IMPACT=NO-IMPACT:acme-1
X-MAINTNOTE-OBJECT-ID:acme-
 widgets-2
X-MAINTNOTE-STATUS:TENTATIVE
ORGANIZER;CN="Example: NOC":mailto:noone@example.com
BEGIN:VALARM
TRIGGER:-PT15M
UID:of the alarm
END:VALARM
END:VEVENT
END:VCALENDAR
"""
"""The zone rules in it are a bomb: nothing here runs them."""


def test_what_the_example_says() -> None:
    for text in (EXAMPLE, EXAMPLE.replace("\n", "\r\n"), "\ufeff" + EXAMPLE, EXAMPLE.rstrip()):
        assert parse(text.encode(), "n.ics") == (
            Notice(
                "example.com", "WorkOrder-31415", "TENTATIVE", ns("2026-11-05T00:00:00Z"), ns("2026-11-05T03:00:00Z"),
                "OUTAGE", (("acme-1", "NO-IMPACT"), ("acme-widgets-2", "OUTAGE")), 1, ns("2026-10-10T00:10:00Z"),
                "42@example.com", "137.035999173", "Maint Note, an Example",
            ),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "start", "end"),
    [
        ("DTEND;VALUE=DATE-TIME:20261105T030000Z", "DURATION:PT1H30M", "2026-11-05T00:00:00Z", "2026-11-05T01:30:00Z"),
        ("DTEND;VALUE=DATE-TIME:20261105T030000Z", "DURATION:P1W", "2026-11-05T00:00:00Z", "2026-11-12T00:00:00Z"),
        # A day over the end of summer time is a day on the wall, 25 h long; 24 hours are 24 hours.
        (
            "20261105T010000\nDTEND;VALUE=DATE-TIME:20261105T030000Z", "20261024T120000\nDURATION:P1D",
            "2026-10-24T10:00:00Z", "2026-10-25T11:00:00Z",
        ),
        (
            "20261105T010000\nDTEND;VALUE=DATE-TIME:20261105T030000Z", "20261024T120000\nDURATION:PT24H",
            "2026-10-24T10:00:00Z", "2026-10-25T10:00:00Z",
        ),
        # The hour that Berlin shows twice: the first of the two. The hour it skips: as far after the jump.
        ("20261105T010000", "20261025T023000", "2026-10-25T00:30:00Z", "2026-11-05T03:00:00Z"),
        ("20261105T010000", "20260329T023000", "2026-03-29T01:30:00Z", "2026-11-05T03:00:00Z"),
        ("TZID=Europe/Berlin:20261105T010000", "TZID=/America/New_York:20261101T003000", "2026-11-01T04:30:00Z",
         "2026-11-05T03:00:00Z"),
        ("TZID=Europe/Berlin:20261105T010000", 'TZID="Australia/Lord_Howe":20261105T120000', "2026-11-05T01:00:00Z",
         "2026-11-05T03:00:00Z"),
    ],
)  # fmt: skip
def test_times_are_instants(old: str, new: str, start: str, end: str) -> None:
    assert old in EXAMPLE
    (notice,) = parse(EXAMPLE.replace(old, new).encode(), "n.ics")
    assert (notice.start_ns, notice.end_ns) == (ns(start), ns(end))


def edited(old: str, new: str) -> bytes:
    assert old in EXAMPLE, old
    return EXAMPLE.replace(old, new).encode()


def twice(change: Callable[[str], str]) -> bytes:
    event = EXAMPLE[EXAMPLE.index("BEGIN:VEVENT") : EXAMPLE.index("END:VCALENDAR")]
    return EXAMPLE.replace("END:VCALENDAR", f"{change(event)}END:VCALENDAR").encode()


MALFORMED = [
    (b"", "n.ics:1: this is not an iCalendar file"),
    (b"%PDF-1.4", "n.ics:1: this is not an iCalendar file"),
    (b"BEGIN:VCALENDAR\nEND:VCALENDAR\n", "n.ics: there is no event in it"),
    (b"BEGIN:VCALENDAR\n\xff\xfe\n", "n.ics:2: this is not UTF-8 text"),
    (b"BEGIN:VCALENDAR\r\n" + b"A" * SIZE_LIMIT, f"n.ics has {SIZE_LIMIT + 17} octets"),
    (b"BEGIN:VCALENDAR" + b"\n" * LINE_LIMIT, f"n.ics has {LINE_LIMIT + 1} lines"),
    (edited("END:VCALENDAR\n", ""), "n.ics:1: BEGIN:VCALENDAR has no end: the file is cut off"),
    (EXAMPLE[: EXAMPLE.index("DTEND")].encode(), "n.ics:13: BEGIN:VEVENT has no end"),
    (edited("END:VALARM", "END:VTODO"), "n.ics:32: END:VTODO ends nothing that began"),
    (edited("SEQUENCE:1", "this line has no colon"), "n.ics:19: this is no line of an iCalendar file"),
    (edited("SEQUENCE:1", 'SEQUENCE;X="open:1'), "n.ics:19: this is no line of an iCalendar file"),
    (edited("END:VCALENDAR\n", "END:VCALENDAR\nMORE:1\n"), "n.ics:35: a line outside the calendar"),
    (
        edited("BEGIN:VALARM", "BEGIN:A\n" * 9 + "BEGIN:VALARM"),
        "n.ics:35: more than 200 events, or components too deep",
    ),
    (edited("SEQUENCE:1", "SEQUENCE:-1"), "n.ics:19: SEQUENCE '-1' is no number (UID 42@example.com)"),
    (edited("SEQUENCE:1", "SEQUENCE:1\nSEQUENCE:2"), "n.ics:20: SEQUENCE comes twice in one event"),
    (edited("SEQUENCE:1", "RRULE:FREQ=DAILY"), "n.ics:19: the event repeats (RRULE): each window needs an event"),
    (edited("SEQUENCE:1", "RECURRENCE-ID:20261105T010000Z"), "n.ics:19: the event repeats (RECURRENCE-ID)"),
    (edited("X-MAINTNOTE-PROVIDER:example.com\n", ""), "n.ics:13: the event has no X-MAINTNOTE-PROVIDER (UID 42"),
    (edited("WorkOrder-31415", " "), "n.ics:22: the event has no X-MAINTNOTE-MAINTENANCE-ID"),
    (edited("IMPACT:OUTAGE", "IMPACT:SOME"), "n.ics:23: X-MAINTNOTE-IMPACT 'SOME' is none of NO-IMPACT, REDUCED-"),
    (edited("IMPACT=NO-IMPACT", "IMPACT=NONE"), "n.ics:24: the impact 'NONE' is none of NO-IMPACT"),
    (edited("STATUS:TENTATIVE", "STATUS:MAYBE"), "n.ics:27: X-MAINTNOTE-STATUS 'MAYBE' is none of TENTATIVE"),
    (edited("X-MAINTNOTE-STATUS:TENTATIVE\n", ""), "n.ics:13: the event has no STATUS"),
    (edited("DTSTAMP;VALUE=DATE-TIME:20261010T001000Z\n", ""), "n.ics:13: the event has no DTSTAMP"),
    (edited(";TZID=Europe/Berlin:20261105T010000", ":20261105T010000"), "n.ics:15: DTSTART has no time zone"),
    (edited("20261105T010000", "20261105"), "n.ics:15: DTSTART '20261105' is a day without a time"),
    (edited("20261105T010000", "20261305T010000"), "n.ics:15: DTSTART '20261305T010000' is no date with time"),
    (edited("20261105T010000", "99991231T235959"), "n.ics:15: DTSTART '99991231T235959' is no date with time"),
    (edited("20261105T010000", "20261105T010000Z"), "n.ics:15: DTSTART is in UTC and in zone Europe/Berlin at once"),
    (edited("DTSTART;TZID=Europe/Berlin", "DTSTART;TZID=Atlantis"), "n.ics:15: there is no time zone 'Atlantis'"),
    (edited("DTSTART;TZID=Europe/Berlin", "DTSTART;TZID=../../etc/passwd"), "n.ics:15: there is no time zone '../../"),
    (edited("20261105T030000Z", "20261105T000000Z"), "n.ics:16: the event ends no later than it starts"),
    (edited("20261105T030000Z", "20281105T000000Z"), "n.ics:16: the event lasts 731 days, at most 366 are taken"),
    (edited("DTEND;VALUE=DATE-TIME:20261105T030000Z\n", ""), "n.ics:13: the event has neither DTEND nor DURATION"),
    (edited("DTEND;VALUE=DATE-TIME:20261105T030000Z", "DURATION:PT"), "n.ics:16: DURATION 'PT' is none"),
    (edited("DTEND;VALUE=DATE-TIME:20261105T030000Z", "DURATION:-PT1H"), "n.ics:16: DURATION '-PT1H' is none"),
    (edited("SEQUENCE:1", "X-MAINTNOTE-OBJECT-ID:o\n" * OBJECT_LIMIT), "more than 2000 objects in one event"),
    (twice(lambda event: event), "n.ics:34: there are two events of maintenance WorkOrder-31415"),
    (twice(lambda event: event * EVENT_LIMIT), "more than 200 events"),
]


@pytest.mark.parametrize(("data", "told"), MALFORMED, ids=[told for _, told in MALFORMED])
def test_what_is_wrong_is_told_at_its_line(data: bytes, told: str) -> None:
    with pytest.raises(NoticeError) as refused:
        parse(data, "n.ics")
    assert told in refused.value.message
    assert refused.value.message.isprintable()


def test_several_events_are_several_notices() -> None:
    one, two = parse(twice(lambda event: event.replace("31415", "31416").replace("UID:42", "UID:43")), "n.ics")
    assert (one.maintenance, two.maintenance) == ("WorkOrder-31415", "WorkOrder-31416")
    assert (one.uid, two.uid) == ("42@example.com", "43@example.com")


def test_texts_are_one_printable_line_and_never_long() -> None:
    nasty = "a\\nb \x1b[31m" + "x" * 5000 + "\\\\"
    (notice,) = parse(edited("Maint Note\\, an Example", nasty), "n.ics")
    assert notice.summary.isprintable()
    assert len(notice.summary) <= maintenance_notices.TEXT_LIMIT
    assert notice.summary.startswith("a b [31mxxx")


TOKENS = (
    b"RRULE:FREQ=SECONDLY\n", b"BEGIN:VEVENT\n", b"END:VEVENT\n", b";TZID=", b'"', b"\n ", b"\x00", b"\xff", b":",
    b"\\", b"9" * 40, b"VALUE=DATE:", b"=\n", "٣".encode(), b"\r", b"Z", b"DURATION:P9999W\n", b"^n",
)  # fmt: skip


def damaged(seed: int) -> bytes:
    """The example after a few random changes of octets, lines and values."""
    chance = random.Random(seed)
    data = EXAMPLE.encode()
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        deed = chance.randrange(5)
        if deed == 0:
            data = data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]
        elif deed == 1:
            data = data[:at] + data[at + chance.randint(1, 60) :]
        elif deed == 2:
            data = data[:at] + chance.choice(TOKENS) + data[at:]
        elif deed == 3:
            lines = data.split(b"\n")
            one, two = chance.randrange(len(lines)), chance.randrange(len(lines))
            lines[one], lines[two] = lines[two], lines[one]
            data = b"\n".join(lines)
        else:
            data = re.sub(
                rb"\d", lambda found: b"%d" % chance.randrange(10) if chance.random() < 0.1 else found[0], data
            )
    return data


def survives(data: bytes) -> bool:
    """True where it was read, False where it was refused as it should be; anything else raises."""
    refusal = ""
    try:
        notices = parse(data, "n.ics")
    except NoticeError as error:
        notices, refusal = (), error.message
    assert bool(notices) != bool(refusal)
    assert not refusal or refusal.startswith("n.ics")
    assert refusal.isprintable()
    for notice in notices:
        assert 0 < notice.start_ns < notice.end_ns < notice.start_ns + 367 * 86400 * 10**9
        assert notice.maintenance
        assert notice.objects
    return bool(notices)


def test_random_damage_is_read_or_refused_and_nothing_else(figure: Callable[[str], None]) -> None:
    read = [survives(damaged(seed)) for seed in range(3000)]
    assert 150 < sum(read) < 2850, "both happen often"
    figure(f"maintenance notices: {len(read):,} damaged ones, {sum(read)} read, the others refused, 0 exceptions")


def first_failure(seeds: range) -> int | None:
    for seed in seeds:
        try:
            survives(damaged(seed))
        except Exception:
            return seed
    return None


@pytest.mark.parametrize(
    ("part", "broken"),
    [
        ("_short", lambda text: text),
        ("LONGEST", timedelta(days=10**6)),
        ("_end", lambda event, start, *_: start - timedelta(hours=event.line - 13)),
    ],
    ids=["texts", "lengths", "ends"],
)
def test_the_fuzz_catches_a_careless_parser(part: str, broken: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts that are taken as they come, works of a century, ends before the start: each is found."""
    monkeypatch.setattr(maintenance_notices, part, broken)
    assert first_failure(range(3000)) is not None


def test_the_fuzz_finds_nothing_in_the_parser_as_it_is() -> None:
    assert first_failure(range(3000, 4000)) is None
