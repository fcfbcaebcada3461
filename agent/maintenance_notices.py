"""Maintenance notices of carriers: iCalendar files with the X-MAINTNOTE properties (BCOP of the maintnote group).

The library splits the content lines (RFC 5545 section 3.1); what they mean is read here, strictly. Zones go by their
IANA name: the VTIMEZONE rules of a file are not run, they are whatever the sender put there. An event that repeats, or
that has no instant as its start, is refused and not guessed at. Nothing read here excludes any time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfoNotFoundError

from icalendar.parser import Contentlines

from agent.sla.exclusion.maintenance import IMPACTS, STATES, Notice
from agent.sla.time.wall_clock import from_datetime
from agent.sla.time.zones import zone
from probes.core.errors import LocalError

SIZE_LIMIT: Final = 1 << 20
LINE_LIMIT: Final = 20_000
EVENT_LIMIT: Final = 200
OBJECT_LIMIT: Final = 2_000
TEXT_LIMIT: Final = 200
LONGEST: Final = timedelta(days=366)

_PREFIX: Final = "X-MAINTNOTE-"
_TIME: Final = re.compile(r"(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})(Z?)", re.ASCII)
_DURATION: Final = re.compile(
    r"\+?P(?:(\d{1,4})W|(?:(\d{1,4})D)?(?:T(?:(\d{1,4})H)?(?:(\d{1,5})M)?(?:(\d{1,6})S)?)?)", re.ASCII
)
_REPEATS: Final = ("RRULE", "RDATE", "EXDATE", "RECURRENCE-ID")
_ONCE: Final = (
    "UID", "DTSTAMP", "DTSTART", "DTEND", "DURATION", "SEQUENCE", "STATUS", "X-MAINTNOTE-PROVIDER",
    "X-MAINTNOTE-ACCOUNT", "X-MAINTNOTE-MAINTENANCE-ID", "X-MAINTNOTE-IMPACT", "X-MAINTNOTE-STATUS",
)  # fmt: skip
_YEARS: Final = range(1971, 2200)


class NoticeError(LocalError):
    """A file that is no notice, or one that cannot be taken at its word."""


@dataclass(frozen=True, slots=True)
class _Property:
    line: int
    name: str
    parameters: Mapping[str, str]
    value: str


@dataclass(slots=True)
class _Event:
    line: int
    properties: list[_Property] = field(default_factory=list)

    def all(self, name: str) -> list[_Property]:
        return [item for item in self.properties if item.name == name]


def parse(data: bytes, file: str) -> tuple[Notice, ...]:
    """The notices of one file, in its order. Raises NoticeError with file, line and, where there is one, the UID."""
    events = list(_events(list(_properties(data, file)), file))
    if not events:
        raise NoticeError(f"{file}: there is no event in it", hint="a notice is an iCalendar file with a VEVENT")
    found: dict[tuple[str, str], Notice] = {}
    for event in events:
        notice = _notice(event, file)
        if notice.key in found:
            text = f"there are two events of maintenance {notice.maintenance}"
            raise _at(file, event.line, text, notice.uid, "ask for one notice with its own ID for each window")
        found[notice.key] = notice
    return tuple(found.values())


def _at(file: str, line: int, text: str, uid: str = "", hint: str = "") -> NoticeError:
    whose = f" (UID {_short(uid)})" if uid else ""
    return NoticeError(f"{file}:{line}: {text}{whose}", hint=hint)


def _short(text: str) -> str:
    """One printable line of at most TEXT_LIMIT characters."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return (line if len(line) <= TEXT_LIMIT else line[: TEXT_LIMIT - 1] + "…").rstrip("\\ ")


def _properties(data: bytes, file: str) -> Iterator[_Property]:
    """Content lines with the number of the line they begin on, by the library."""
    if len(data) > SIZE_LIMIT:
        raise NoticeError(f"{file} has {len(data)} octets, a notice has at most {SIZE_LIMIT}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise _at(file, line, "this is not UTF-8 text", hint="iCalendar is UTF-8 (RFC 5545 section 3.1.4)") from None
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if len(lines) > LINE_LIMIT:
        raise NoticeError(f"{file} has {len(lines)} lines, a notice has at most {LINE_LIMIT}")
    if lines[0].strip().upper() != "BEGIN:VCALENDAR":
        raise _at(file, 1, "this is not an iCalendar file", hint="its first line is BEGIN:VCALENDAR")
    begin, folded = 1, [lines[0]]
    for number, part in enumerate([*lines[1:], ""], 2):
        if part[:1] in (" ", "\t"):
            folded.append(part)
            continue
        if folded[0].strip():
            yield _property("\r\n".join(folded), begin, file)
        begin, folded = number, [part]


def _property(text: str, line: int, file: str) -> _Property:
    try:
        content = Contentlines.from_ical(text)
        name, parameters, value = content[0].parts()
        known = {str(key).upper(): str(item) for key, item in parameters.items() if isinstance(item, str)}
        plain = str(value).replace("\\n", " ").replace("\\N", " ")  # versions before 7 leave these as they are
        return _Property(line, str(name).upper(), known, plain.strip())
    except Exception:  # the library raises whatever it meets in hostile text; every one of them means the same
        hint = "each line is NAME;PARAMETERS:VALUE (RFC 5545 section 3.1)"
        raise _at(file, line, "this is no line of an iCalendar file", hint=hint) from None


def _events(properties: list[_Property], file: str) -> Iterator[_Event]:
    """The VEVENT components; what other components hold (alarms, time zones) is passed over."""
    inside: list[_Property] = []
    event: _Event | None = None
    count = 0
    for item in properties:
        if item.name == "BEGIN":
            inside.append(item)
            if item.value.upper() == "VEVENT" and len(inside) == 2:
                event, count = _Event(item.line), count + 1
            if count > EVENT_LIMIT or len(inside) > 8:
                raise _at(file, item.line, f"more than {EVENT_LIMIT} events, or components too deep in each other")
        elif item.name == "END":
            if not inside or inside[-1].value.upper() != item.value.upper():
                raise _at(file, item.line, f"END:{_short(item.value)} ends nothing that began")
            inside.pop()
            if event is not None and len(inside) == 1:
                yield event
                event = None
        elif not inside:
            raise _at(file, item.line, "a line outside the calendar")
        elif event is not None and len(inside) == 2:
            event.properties.append(item)
    if inside:
        raise _at(file, inside[-1].line, f"BEGIN:{_short(inside[-1].value)} has no end: the file is cut off")


def _notice(event: _Event, file: str) -> Notice:
    uid = next((item.value for item in event.all("UID")), "")
    for name in _ONCE:
        if len(event.all(name)) > 1:
            raise _at(file, event.all(name)[1].line, f"{name} comes twice in one event", uid)
    for name in _REPEATS:
        for item in event.all(name):
            hint = "ask the provider for one event for each window"
            raise _at(file, item.line, f"the event repeats ({name}): each window needs an event of its own", uid, hint)
    provider, maintenance = (_needed(event, f"{_PREFIX}{name}", file, uid) for name in ("PROVIDER", "MAINTENANCE-ID"))
    start = _instant(_needed_property(event, "DTSTART", file, uid), file, uid)
    end = _end(event, start, file, uid)
    impact = _one_of(event, f"{_PREFIX}IMPACT", IMPACTS, file, uid)
    state = f"{_PREFIX}STATUS" if event.all(f"{_PREFIX}STATUS") else "STATUS"
    return Notice(
        provider=_short(provider),
        maintenance=_short(maintenance),
        status=_one_of(event, state, STATES, file, uid),
        start_ns=from_datetime(start),
        end_ns=from_datetime(end),
        impact=impact,
        objects=_objects(event, impact, file, uid),
        sequence=_sequence(event, file, uid),
        stamped_ns=from_datetime(_instant(_needed_property(event, "DTSTAMP", file, uid), file, uid)),
        uid=_short(uid),
        account=_short(next((item.value for item in event.all(f"{_PREFIX}ACCOUNT")), "")),
        summary=_short(next((item.value for item in event.all("SUMMARY")), "")),
    )


def _needed_property(event: _Event, name: str, file: str, uid: str) -> _Property:
    found = event.all(name)
    if not found or not _short(found[0].value):
        raise _at(file, found[0].line if found else event.line, f"the event has no {name}", uid)
    return found[0]


def _needed(event: _Event, name: str, file: str, uid: str) -> str:
    return _needed_property(event, name, file, uid).value


def _one_of(event: _Event, name: str, allowed: tuple[str, ...], file: str, uid: str) -> str:
    item = _needed_property(event, name, file, uid)
    value = item.value.upper()
    if value == "RE-SCHEDULED":
        value = "RESCHEDULED"
    if value not in allowed:
        raise _at(file, item.line, f"{name} {_short(item.value)!r} is none of {', '.join(allowed)}", uid)
    return value


def _objects(event: _Event, impact: str, file: str, uid: str) -> tuple[tuple[str, str], ...]:
    """What is affected, each with its own impact where the notice gives one."""
    found: dict[str, str] = {}
    items = event.all(f"{_PREFIX}OBJECT-ID")
    if not items:
        raise _at(file, event.line, f"the event has no {_PREFIX}OBJECT-ID", uid)
    if len(items) > OBJECT_LIMIT:
        raise _at(file, items[OBJECT_LIMIT].line, f"more than {OBJECT_LIMIT} objects in one event", uid)
    for item in items:
        own = item.parameters.get(f"{_PREFIX}OBJECT-IMPACT", impact).upper()
        if own not in IMPACTS:
            raise _at(file, item.line, f"the impact {_short(own)!r} is none of {', '.join(IMPACTS)}", uid)
        if not _short(item.value):
            raise _at(file, item.line, "an object without a name", uid)
        found[_short(item.value)] = own
    return tuple(found.items())


def _sequence(event: _Event, file: str, uid: str) -> int:
    """0 where it is not given (RFC 5545 section 3.8.7.4)."""
    for item in event.all("SEQUENCE"):
        if not re.fullmatch(r"\d{1,9}", item.value, re.ASCII):
            raise _at(file, item.line, f"SEQUENCE {_short(item.value)!r} is no number", uid)
        return int(item.value)
    return 0


def _end(event: _Event, start: datetime, file: str, uid: str) -> datetime:
    """DTEND, or DTSTART with DURATION."""
    ends, durations = event.all("DTEND"), event.all("DURATION")
    if len(ends) + len(durations) != 1:
        raise _at(file, event.line, "the event has neither DTEND nor DURATION, or both", uid)
    item = (ends or durations)[0]
    end = _instant(item, file, uid) if ends else _later(start, item, file, uid)
    length = timedelta(microseconds=(from_datetime(end) - from_datetime(start)) // 1000)
    if length <= timedelta(0):
        raise _at(file, item.line, "the event ends no later than it starts", uid)
    if length > LONGEST:
        raise _at(file, item.line, f"the event lasts {length.days} days, at most {LONGEST.days} are taken", uid)
    return end


def _later(start: datetime, item: _Property, file: str, uid: str) -> datetime:
    """Days and weeks are on the wall, hours and less are elapsed time (RFC 5545 section 3.3.6)."""
    found = _DURATION.fullmatch(item.value.upper())
    if found is None or not any(found.groups()):
        raise _at(file, item.line, f"DURATION {_short(item.value)!r} is none", uid)
    weeks, days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    wall = start + timedelta(days=7 * weeks + days)
    elapsed = from_datetime(wall) // 1000 + 1_000_000 * (3600 * hours + 60 * minutes + seconds)
    return datetime.fromtimestamp(0, tz=zone("UTC").info) + timedelta(microseconds=elapsed)


def _instant(item: _Property, file: str, uid: str) -> datetime:
    """A date and time with its zone. A local time that the clock shows twice is the first, one it skips is as far
    after the jump as it is written after the last time shown (RFC 5545 section 3.3.5)."""
    found = _TIME.fullmatch(item.value)
    if found is None:
        what = "is a day without a time" if re.fullmatch(r"\d{8}", item.value, re.ASCII) else "is no date with time"
        raise _at(file, item.line, f"{item.name} {_short(item.value)!r} {what}: it must be like 20261105T010000Z", uid)
    name = item.parameters.get("TZID")
    if not found[7] and name is None:
        hint = "a time without zone is another instant at each end of the circuit"
        raise _at(file, item.line, f"{item.name} has no time zone", uid, hint)
    if found[7] and name is not None:
        raise _at(file, item.line, f"{item.name} is in UTC and in zone {_short(name)} at once", uid)
    try:
        info = zone("UTC" if name is None else name.removeprefix("/").strip()).info
        year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
        if year not in _YEARS:
            raise ValueError
        return datetime(year, month, day, hour, minute, min(second, 59), tzinfo=info)  # 60 is a leap second
    except (ZoneInfoNotFoundError, OSError):
        hint = "zones are those of the IANA database, such as Europe/Berlin"
        raise _at(file, item.line, f"there is no time zone {_short(str(name))!r}", uid, hint) from None
    except ValueError:
        raise _at(file, item.line, f"{item.name} {_short(item.value)!r} is no date with time", uid) from None
