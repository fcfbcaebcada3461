"""Files of line protocol taken in for the store: read strictly, put in order, every fault listed with its place.

Fields of one sample may stand in several lines, as `influx_inspect export` writes them, so all lines go through a
database beside the store first; memory does not grow with the files.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import sqlite3
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final, Literal

from agent.deliver.line_reader import MAXIMUM_LINE, Fields, ForeignLine, Key, LineFault, LineReader, SampleBuilder
from agent.store.importing import Brought
from probes.core.errors import LocalError
from probes.core.model import Sample

Sort = Literal["bad", "foreign", "site", "different"]
LISTED: Final = 50
"""Findings of a sort that are kept in words; all are counted."""
_BATCH: Final = 2_000
_GZIP: Final = b"\x1f\x8b"
_STATEMENT: Final = "CREATE DATABASE "
"""`influx_inspect export` begins with one."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file that was read. sha256: of the file as it is, compressed or not."""

    name: str
    sha256: str
    lines: int


@dataclass(frozen=True, slots=True)
class Finding:
    """What keeps a line or a sample from being imported. place: `file:line`."""

    place: str
    reason: str


@dataclass(slots=True)
class Findings:
    """Counts of all, words of the first LISTED of each sort."""

    counts: Counter[Sort] = field(default_factory=Counter)
    listed: dict[Sort, list[Finding]] = field(default_factory=dict)

    def add(self, sort: Sort, place: str, reason: str) -> None:
        """One more."""
        self.counts[sort] += 1
        listed = self.listed.setdefault(sort, [])
        if len(listed) < LISTED:
            listed.append(Finding(place, reason))


class Intake:
    """Reads files into the database at `path`, which the caller removes. site: whose samples are taken; None: the
    first that a line names, and any_site: of all."""

    def __init__(self, path: Path, site: str | None, *, any_site: bool = False) -> None:
        self.findings = Findings()
        self.sources: list[Source] = []
        self.site = site
        self.points = 0
        self._any_site = any_site
        self._reader, self._builder = LineReader(), SampleBuilder()
        self._keys: dict[Key, int] = {}
        self._waiting: list[tuple[int, int, int, int, str]] = []
        self._database = sqlite3.connect(path, isolation_level=None)
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -16384"):
            self._database.execute(f"PRAGMA {pragma}")
        self._database.create_function("merged", 3, _merged, deterministic=True)
        self._database.execute(
            "CREATE TABLE points(key INTEGER, start INTEGER, file INTEGER, line INTEGER, fields TEXT, "
            "PRIMARY KEY (key, start)) WITHOUT ROWID"
        )

    def close(self) -> None:
        """Give the database back."""
        self._database.close()

    def read(self, name: str, raw: IO[bytes], told: Callable[[int], None] = lambda _lines: None) -> Source:
        """Take in one file, gzip or plain. told: lines so far, now and then.

        Raises LocalError, OSError, sqlite3.Error.
        """
        hashing = _Hashing(raw)
        stream = io.BufferedReader(hashing, 1 << 16)
        plain = gzip.GzipFile(fileobj=stream) if stream.peek(2)[:2] == _GZIP else stream
        number = 0
        try:
            while line := plain.readline(MAXIMUM_LINE + 2):
                number += 1
                if len(line) > MAXIMUM_LINE + 1 and not line.endswith(b"\n"):
                    _skip(plain)
                self._take(line, number, name)
                if number % _BATCH == 0:
                    told(number)
            while stream.read(1 << 16):  # what follows a gzip stream belongs to the file's SHA-256
                pass
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise LocalError(f"{name} cannot be unpacked beyond line {number}: {error}", hint="is it whole?") from None
        self._put()
        self.sources.append(Source(name, hashing.sha256.hexdigest(), number))
        return self.sources[-1]

    def samples(self) -> Iterator[Brought]:
        """Every sample that the lines make, by circuit, probe, kind and time. What makes none is among the findings."""
        keys = {number: key for key, number in self._keys.items()}
        for key in sorted(self._keys):
            rows = self._database.execute(
                "SELECT start, file, line, fields FROM points WHERE key = ? ORDER BY start", (self._keys[key],)
            )
            for start, file, line, text in rows:
                fields: Fields = json.loads(text)
                try:
                    if (twice := fields.get("")) is not None:
                        raise LineFault(str(twice))
                    sample = self._builder.build(keys[self._keys[key]], start, fields)
                except LineFault as fault:
                    self.findings.add("bad", self.place(file, line), fault.message)
                else:
                    yield Brought(sample, file, line)

    def difference(self, kept: Sample, read: Sample) -> str | None:
        """As SampleBuilder.difference."""
        return self._builder.difference(kept, read)

    def place(self, file: int, line: int) -> str:
        """`file:line`."""
        return f"{self.sources[file].name}:{line}"

    def _take(self, octets: bytes, number: int, name: str) -> None:
        place = f"{name}:{number}"
        try:
            line = octets.decode("utf-8").removesuffix("\n")
            if not line or line.startswith(("#", _STATEMENT)):
                return
            point = self._reader.read(line)
        except UnicodeDecodeError as error:
            self.findings.add("bad", place, f"octet {error.start + 1} is not UTF-8")
        except ForeignLine as fault:
            self.findings.add("foreign", place, fault.message)
        except LineFault as fault:
            self.findings.add("bad", place, fault.message)
        else:
            if self.site is None:
                self.site = point.site
            if point.site != self.site and not self._any_site:
                self.findings.add("site", place, f"it is of site {point.site!r}, not of {self.site!r}")
                return
            key = self._keys.setdefault(point.key, len(self._keys))
            text = json.dumps(point.fields, ensure_ascii=False, separators=(",", ":"))
            self._waiting.append((key, point.start_ns, len(self.sources), number, text))
            if len(self._waiting) >= _BATCH:
                self._put()

    def _put(self) -> None:
        self._database.execute("BEGIN")
        self._database.executemany(
            "INSERT INTO points VALUES (?, ?, ?, ?, ?) ON CONFLICT (key, start) "
            "DO UPDATE SET fields = merged(fields, excluded.fields, excluded.line)",
            self._waiting,
        )
        self._database.execute("COMMIT")
        self._waiting.clear()


class _Hashing(io.RawIOBase):
    """A raw stream that is hashed as it is read."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self.sha256 = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override] # any writable buffer up there
        data = self._raw.read(len(buffer))
        self.sha256.update(data)
        buffer[: len(data)] = data
        return len(data)


def _merged(kept: str, added: str, line: int) -> str:
    """Fields of both; under the empty name what contradicts."""
    ours, theirs = json.loads(kept), json.loads(added)
    for name, value in theirs.items():
        if ours.setdefault(name, value) != value:
            ours.setdefault("", f"its field {name} is {ours[name]!r} here and {value!r} in line {line}")
    return json.dumps(ours, ensure_ascii=False, separators=(",", ":"))


def _skip(stream: IO[bytes] | io.BufferedReader | gzip.GzipFile) -> None:
    while (rest := stream.readline(1 << 16)) and not rest.endswith(b"\n"):
        pass
