"""Append-only ledgers: one JSON object a line, each with the SHA-256 of the line before it and of itself.

A line is `{"at_ns":…,"by":…,"content":{…},"previous_sha256":…,"sha256":…}`. `sha256` is over the bytes of the line up
to `,"sha256":`, so a changed byte is found in its own line, the last one included; `previous_sha256` is that of the
line before, so none can be taken out, put in or moved. Lines taken off the end leave a shorter chain that is whole: the
SHA-256 of the last line, which reports name, tells them apart. Nothing here ever rewrites an entry.

What must hold together belongs into one entry: a line is there whole or not at all.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from probes.core.clock import Clock, SystemClock
from probes.core.errors import LocalError

FIRST: Final = "0" * 64
"""What stands for the line before the first one."""
LINE_LIMIT: Final = 8 << 20
FILE_LIMIT: Final = 256 << 20
WAIT_NS: Final = 10 * 10**9
_POLL_NS: Final = 10 * 10**6
_TAIL: Final = re.compile(rb'\A(?P<body>\{.*),"sha256":"(?P<sum>[0-9a-f]{64})"\}\Z')


class LedgerError(LocalError):
    """A ledger that cannot be trusted or written to. line: from 1, None where no line is at fault."""

    def __init__(self, message: str, *, hint: str = "", line: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.line = line


class TornLineError(LedgerError):
    """The last line has no end: it was being written when the power went, or its end was changed."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line. number: from 1. at_ns: UTC, when it was entered, by whom. content: as given, read back from JSON."""

    number: int
    at_ns: int
    by: str
    previous_sha256: str
    sha256: str
    content: Mapping[str, Any]


Check = Callable[[Sequence[Entry]], None]
"""Refuses, by raising, what is to be appended; given all entries so far, while nobody else can append."""


def read(path: Path) -> list[Entry]:
    """All entries; none where there is no file.

    Raises TornLineError for a last line without an end and LedgerError for any other line that is not as it was
    written, each with the number of the line, or where the file cannot be read.
    """
    try:
        with path.open("rb") as stream, _locked(stream.fileno(), path, fcntl.LOCK_SH):
            return parse(_content(stream.fileno(), path), str(path))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise LedgerError(f"cannot read {path}: {error.strerror}", hint="check the path and its permissions") from None


def append(path: Path, content: Mapping[str, Any], *, at_ns: int, by: str, check: Check | None = None) -> Entry:
    """One more entry, on disk when this returns. Creates the file where there is none.

    Refuses to go on from a chain that is broken or torn (LedgerError with the line), and whatever `check` refuses.
    """
    if not by.strip():
        raise LedgerError("a ledger entry says who made it", hint="name yourself with --by")
    try:
        fresh = not path.exists()
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o644)
        try:
            with _locked(descriptor, path, fcntl.LOCK_EX):
                entries = parse(_content(descriptor, path), str(path))
                if check is not None:
                    check(entries)
                previous = entries[-1].sha256 if entries else FIRST
                line = encode(content, at_ns=at_ns, by=by, previous_sha256=previous)
                _write(descriptor, line)
                if fresh:
                    _sync_directory(path.parent)
        finally:
            os.close(descriptor)
    except OSError as error:
        text = f"cannot write {path}: {error.strerror}; nothing was entered"
        raise LedgerError(text, hint="check the path, its permissions and the free space") from None
    return _entry(line[:-1], len(entries) + 1, previous, str(path))


def set_aside(path: Path, *, at_ns: int) -> Path | None:
    """Moves a last line without an end into a file of its own beside the ledger, so that entries can follow again.

    Returns that file, None where nothing was torn. The whole lines stay as they are and must be in order.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LedgerError(f"cannot write {path}: {error.strerror}", hint="check its permissions") from None
    try:
        with _locked(descriptor, path, fcntl.LOCK_EX):
            data = _content(descriptor, path)
            end = data.rfind(b"\n") + 1
            parse(data[:end], str(path))
            if end == len(data):
                return None
            aside = path.with_name(f"{path.name}.torn-{at_ns}")
            other = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            try:
                _write(other, data[end:])
            finally:
                os.close(other)
            _sync_directory(path.parent)
            os.ftruncate(descriptor, end)
            os.fsync(descriptor)
            return aside
    except OSError as error:
        raise LedgerError(f"cannot set the torn line of {path} aside: {error.strerror}") from None
    finally:
        os.close(descriptor)


def parse(data: bytes, file: str) -> list[Entry]:
    """Entries of a ledger's bytes; every line is checked against itself and the one before. Pure."""
    return list(_entries(data, file))


def encode(content: Mapping[str, Any], *, at_ns: int, by: str, previous_sha256: str) -> bytes:
    """The line of an entry, with its end. Pure. Raises LedgerError for what JSON has no form for, or is too long."""
    value = {"at_ns": at_ns, "by": by, "content": content, "previous_sha256": previous_sha256}
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
        body = text[:-1].encode()
    except (TypeError, ValueError) as error:
        raise LedgerError(f"this cannot be entered: {error}") from None
    line = body + b',"sha256":"' + hashlib.sha256(body).hexdigest().encode() + b'"}\n'
    if len(line) > LINE_LIMIT:
        raise LedgerError(f"an entry of {len(line)} octets is too long, the most is {LINE_LIMIT}")
    return line


def _entries(data: bytes, file: str) -> Iterator[Entry]:
    lines = data.split(b"\n")
    torn = lines.pop()
    previous = FIRST
    for number, line in enumerate(lines, 1):
        entry = _entry(line, number, previous, file)
        previous = entry.sha256
        yield entry
    if torn:
        raise TornLineError(
            f"{file}:{len(lines) + 1}: the last line has no end, it was not written to the last octet",
            hint="see what it was; `linkwitness incident verify --set-aside` moves it into a file of its own",
            line=len(lines) + 1,
        )


def _entry(line: bytes, number: int, previous: str, file: str) -> Entry:
    hint = "restore the ledger from a backup; entries are never edited, a new one sets an old one right"
    found = _TAIL.match(line)
    if found is None or hashlib.sha256(found["body"]).hexdigest() != found["sum"].decode():
        raise LedgerError(f"{file}:{number}: this line is not as it was written", hint=hint, line=number)
    try:
        value = json.loads(line)
        at_ns, by, content, before = value["at_ns"], value["by"], value["content"], value["previous_sha256"]
        proper = isinstance(at_ns, int) and isinstance(by, str) and isinstance(content, dict)
    except (ValueError, KeyError, RecursionError):
        proper = False
    if not proper:
        raise LedgerError(f"{file}:{number}: this line is no entry of a ledger", hint=hint, line=number)
    if before != previous:
        text = f"{file}:{number}: this line does not follow the one before it: lines were taken out, put in or moved"
        raise LedgerError(text, hint=hint, line=number)
    return Entry(number, at_ns, by, previous, found["sum"].decode(), content)


@contextmanager
def _locked(descriptor: int, path: Path, mode: int, clock: Clock | None = None) -> Iterator[None]:
    """The lock ends with the file's being closed, however this process ends."""
    clock = clock or SystemClock()
    deadline = clock.monotonic() + WAIT_NS
    while True:
        try:
            fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if clock.monotonic() >= deadline:
                raise LedgerError(f"{path} is in use by another program", hint="try again") from None
            clock.sleep_until(clock.monotonic() + _POLL_NS)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _content(descriptor: int, path: Path) -> bytes:
    size = os.fstat(descriptor).st_size
    if size > FILE_LIMIT:
        raise LedgerError(f"{path} has {size} octets, the most that is read is {FILE_LIMIT}")
    parts = []
    at = 0
    while part := os.pread(descriptor, 1 << 20, at):
        parts.append(part)
        at += len(part)
    return b"".join(parts)


def _write(descriptor: int, data: bytes) -> None:
    """To the disk, or not at all as far as this process has a say: what was begun is taken back on an error."""
    before = os.fstat(descriptor).st_size
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, before)
        raise


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
