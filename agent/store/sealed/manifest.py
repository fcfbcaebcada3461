"""Manifests of sealed days: what was sealed, in which files, with which SHA-256.

A part is one sealing of one UTC day or of a slice of it: the rows that start in between and stood up to `through_seq`
in the order of keeping. Rows that came to it later (a stepped clock) become a further part. A part is one directory
below `sealed/`, and the rename that gives it its name is the act of sealing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from agent.store.far_end import FAR_HISTOGRAMS, GROUPS
from agent.store.sealed.tables import Table
from probes.core.clock import SECOND
from probes.core.errors import LocalError

FOLDER: Final = "sealed"
"""Directory of the sealed days inside the store's."""
FORMAT: Final = "linkwitness.sealed"
VERSION: Final = 4
"""2: with `epochs`, and slices of a day; 3: with columns that only some files of samples have; 4: with files of packed
columns."""
DAY_NS: Final = 86_400 * SECOND
MANIFEST: Final = "manifest.json"
UNFINISHED: Final = ".unfinished"
"""Ending of a directory that is still being written, or a manifest; swept away by the next sealing."""
RETIRED: Final = ".retired"
"""Ending of a directory that is being removed."""

SAMPLES: Final = "samples"
HISTOGRAMS: Final = "histograms"
HISTOGRAMS_OF: Final = {
    "histogram": HISTOGRAMS, **{name: f"{name}s" for name in FAR_HISTOGRAMS},
}  # fmt: skip
"""Sort of the files that hold the histograms of a column."""
COLUMNS: Final = "columns"
"""Files that are no Parquet files: agent.store.sealed.packed."""
PACKETS: Final = "packets"

_GROUPS: Final = tuple(GROUPS)
_WHAT, _FIRST, _LAST = 1, 2, 3
"""places among the names of a file"""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NAME: Final = re.compile(r"(\d{4}-\d\d-\d\d)\.(\d+)")

SeriesKey = tuple[str, str, str]
"""circuit, probe, kind"""


class DamagedSeal(LocalError):  # noqa: N818 # a finding, named as the users read it
    """A sealed file is not what its manifest says, or the manifest itself is damaged."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"sealed file {path} is damaged: {reason}",
            hint="restore it from a backup, or give it up: `linkwitness store verify --set-aside` (no agent may run) "
            "moves the day into damaged/ and records the gap; `store export --ignore-damaged` reads without it",
        )
        self.path = path
        self.reason = reason


@dataclass(frozen=True, slots=True)
class SealedFile:
    """One file. name: within the part's directory; what: samples, histograms (of one column), columns or packets; first
    and last: its series in order; groups: of columns that only some files of samples have, agent.store.far_end.GROUPS.
    """

    name: str
    what: str
    bytes: int
    sha256: str
    rows: int
    first: SeriesKey
    last: SeriesKey
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SealedSeries:
    """One probe of one circuit within a part. newest_seq and newest_ns: of the sample kept last."""

    circuit: str
    probe: str
    kind: str
    rows: int
    first_ns: int
    last_ns: int
    newest_ns: int
    newest_seq: int

    @property
    def key(self) -> SeriesKey:
        """Its names."""
        return self.circuit, self.probe, self.kind


@dataclass(frozen=True, slots=True)
class Part:
    """One sealing of one day, or of a slice of it."""

    day: int
    """days since 1970-01-01"""
    number: int
    epoch: str
    store_schema: int
    first_seq: int
    through_seq: int
    rows: int
    sealed_ns: int
    files: Sequence[SealedFile]
    series: Sequence[SealedSeries]
    """in ascending order of their names"""
    epochs: tuple[tuple[int, str], ...] = ()
    """first seq and epoch of its samples, ascending; `epoch` is the last of them"""
    slice_ns: tuple[int, int] | None = None
    """start and end of the slice; None: the whole day"""

    @property
    def name(self) -> str:
        """Day and number: the name of its directory."""
        return f"{day_text(self.day)}.{self.number}"

    @property
    def start_ns(self) -> int:
        """Start of the slice or the day, or the first instant there is."""
        return day_start(self.day) if self.slice_ns is None else self.slice_ns[0]

    @property
    def end_ns(self) -> int:
        """Its end: samples that start here are in another one."""
        return day_start(self.day + 1) if self.slice_ns is None else self.slice_ns[1]

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(file.bytes for file in self.files)

    def of(self, what: str) -> tuple[SealedFile, ...]:
        """Files of one sort."""
        return tuple(file for file in self.files if file.what == what)


def files_of(part: Part, what: str, key: SeriesKey) -> list[SealedFile]:
    """Files of one sort that may hold rows of the series. They are in the order of their series."""
    if not isinstance(part.files, Table):
        return [file for file in part.of(what) if file.first <= key <= file.last]
    names, places = part.files.names, part.files.places(_WHAT).get(what, [])
    first = bisect_left(places, key, key=lambda place: names[place][_LAST])
    last = bisect_right(places, key, key=lambda place: names[place][_FIRST])
    return [part.files[place] for place in places[first:last]]


def series_of(part: Part, circuit: str, probe: str) -> Sequence[SealedSeries]:
    """The series of one probe, one for each of its kinds."""
    names = part.series.names if isinstance(part.series, Table) else [item.key for item in part.series]
    first = bisect_left(names, (circuit, probe))
    last = bisect_right(names, (circuit, probe), key=lambda name: name[:2])
    return part.series[first:last]


def holds(part: Part, key: SeriesKey) -> bool:
    """Whether the part has rows of the series."""
    if isinstance(part.series, Table):
        at = bisect_left(part.series.names, key)
        return at < len(part.series.names) and part.series.names[at] == key
    return any(item.key == key for item in part.series)


def day_start(day: int) -> int:
    """First ns of a day since 1970, within 64 bits."""
    return max(day * DAY_NS, -(1 << 63))


@lru_cache(4096)
def day_text(day: int) -> str:
    """ISO date of a day since 1970."""
    return f"{_EPOCH + timedelta(days=day):%Y-%m-%d}"


def encode(part: Part) -> bytes:
    """The manifest's text, signed with the SHA-256 of its own content."""
    document = {"format": FORMAT, "version": VERSION, "date": day_text(part.day)} | dataclasses.asdict(part)
    document["files"] = [_written(item) for item in part.files]
    document["series"] = [list(dataclasses.astuple(item)) for item in part.series]
    body = json.dumps(document, ensure_ascii=True, sort_keys=True)
    signature = hashlib.sha256(body.encode("ascii")).hexdigest()
    return f"{body}\n{signature}\n".encode("ascii")


def _written(file: SealedFile) -> dict[str, Any]:
    found = dataclasses.asdict(file)
    if not file.groups:
        del found["groups"]
    return found


def decode(path: Path, data: bytes) -> Part:
    """Inverse of encode. Raises DamagedSeal; LocalError for a manifest of a newer linkwitness."""
    body, newline, signature = data.partition(b"\n")
    if not newline or signature != hashlib.sha256(body).hexdigest().encode("ascii") + b"\n":
        raise DamagedSeal(path, "its content does not fit its SHA-256")
    try:
        document: dict[str, Any] = json.loads(body)
        if document.pop("format") != FORMAT:
            raise DamagedSeal(path, "it is no manifest of a sealed day")
        version = document.pop("version")
        if version > VERSION:
            raise LocalError(
                f"{path} has version {version}; this linkwitness knows versions up to {VERSION}",
                hint="use the newer linkwitness, or give this one another store path; nothing was changed",
            )
        del document["date"]
        files, series = _files(document.pop("files")), _series(document.pop("series"))
        epochs = tuple((int(first), str(epoch)) for first, epoch in document.pop("epochs", ()))
        if not epochs:
            epochs = ((document["first_seq"], document["epoch"]),)
        bounds = document.pop("slice_ns", None)
        if bounds is not None:
            begin, end = bounds
            bounds = (int(begin), int(end))
        return Part(**document, files=files, series=series, epochs=epochs, slice_ns=bounds)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise DamagedSeal(path, f"it cannot be read: {error}") from None


def _files(items: list[dict[str, Any]]) -> Table[SealedFile]:
    names = tuple((item["name"], item["what"], _key(item["first"]), _key(item["last"])) for item in items)
    numbers = np.array([(item["bytes"], item["rows"], _mask(item.get("groups", ()))) for item in items], np.int64)
    checksums = b"".join(bytes.fromhex(item["sha256"]) for item in items)
    return Table(_file, names, numbers.reshape(len(items), 3), checksums)


def _mask(groups: Iterable[str]) -> int:
    """One bit for each group. Raises ValueError for one that is not known."""
    return sum(1 << _GROUPS.index(group) for group in groups)


def _file(
    name: str, what: str, first: SeriesKey, last: SeriesKey, sha256: bytes, size: int, rows: int, mask: int
) -> SealedFile:
    groups = tuple(group for bit, group in enumerate(_GROUPS) if mask >> bit & 1)
    return SealedFile(name, what, size, sha256.hex(), rows, first, last, groups)


def _series(items: list[list[Any]]) -> Table[SealedSeries]:
    numbers = np.array([item[3:] for item in items], np.int64).reshape(len(items), 5)
    return Table(SealedSeries, tuple(_key(item[:3]) for item in items), numbers)


def _key(values: list[str]) -> SeriesKey:
    circuit, probe, kind = values
    return circuit, probe, kind


def names(store: Path) -> list[str]:
    """Names of the parts, by day and number. Raises OSError."""
    try:
        with os.scandir(store / FOLDER) as entries:
            found = [match for entry in entries if (match := _NAME.fullmatch(entry.name))]
    except FileNotFoundError:
        return []
    return [match[0] for match in sorted(found, key=lambda match: (match[1], int(match[2])))]


def place_of(name: str) -> tuple[int, int]:
    """Day since 1970 and number of the part of this name."""
    day, _, number = name.partition(".")
    return int(np.datetime64(day, "D").astype(np.int64)), int(number)


def displaced(store: Path, names: Collection[str]) -> list[DamagedSeal]:
    """Directories that are a part by their manifest, but not by their name, while no part has that name.

    A copy that somebody put beside the part is not among them. Raises OSError.
    """
    found = []
    with contextlib.suppress(FileNotFoundError), os.scandir(store / FOLDER) as entries:
        for entry in entries:
            if entry.name in names or entry.name == "lock" or entry.name.endswith((UNFINISHED, RETIRED)):
                continue
            path = store / FOLDER / entry.name
            with contextlib.suppress(OSError, LocalError):
                name = decode(path, (path / MANIFEST).read_bytes()).name
                if name not in names:
                    found.append(DamagedSeal(path, f"it was named {name}"))
    return found


def path_of(store: Path, name: str) -> Path:
    """The manifest of the part of this name."""
    return store / FOLDER / name / MANIFEST


def load(store: Path, name: str) -> Part:
    """One manifest. Raises DamagedSeal, LocalError, OSError; FileNotFoundError where there is no such part."""
    path = path_of(store, name)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        if path.parent.exists():
            raise DamagedSeal(path, "it is missing") from None
        raise
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.EISDIR, errno.ELOOP):
            raise DamagedSeal(path, f"it is no file: {error.strerror}") from None
        raise
    part = decode(path, data)
    if part.name != name:
        raise DamagedSeal(path, f"it is the manifest of {part.name}")
    return part


def load_all(store: Path) -> list[Part]:
    """Every part, by day and number; one that is retired meanwhile is left out. Raises as load."""
    parts, damaged = load_sound(store)
    for damage in damaged.values():
        raise damage
    return parts


def load_sound(store: Path) -> tuple[list[Part], dict[str, DamagedSeal]]:
    """As load_all, without those whose manifest is damaged, and these by name. Raises LocalError for a part of a newer
    linkwitness, OSError.
    """
    parts, damaged = [], {}
    for name in names(store):
        try:
            parts.append(load(store, name))
        except FileNotFoundError:
            continue
        except DamagedSeal as damage:
            damaged[name] = damage
    return parts, damaged


def write(directory: Path, part: Part) -> None:
    """Make the manifest durable in this directory, whole or not at all; replaces an earlier one. Raises OSError."""
    temporary = directory / f"{MANIFEST}{UNFINISHED}"
    with temporary.open("wb") as file:
        file.write(encode(part))
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(directory / MANIFEST)
    sync_folder(directory)


def sync_folder(folder: Path) -> None:
    """Make the names in a directory durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest(path: Path) -> str:
    """SHA-256 of a file. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
