"""Reading sealed days: columns, whole samples and packets of one probe, and what every series has.

The caller holds a snapshot of the live database that is older than the look at the manifests: whatever has left the
snapshot is then in a part, and what is in both is told apart by `Part.through_seq`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from agent.sla.samples.histograms import AnyInt, Histograms
from agent.sla.samples.texts import Texts
from agent.store import rows as row_form
from agent.store.far_end import columns_of
from agent.store.records import NOTHING_LEFT, Owed, StoredSample
from agent.store.rows import SAMPLE_COLUMNS
from agent.store.samplebatch import BATCH_INTEGERS, BATCH_TEXTS, Buckets, SampleBatch, join
from agent.store.sealed import layout, manifest, packed
from agent.store.sealed.layout import BUCKETS, OTHER_COLUMNS, OWN_INTEGERS
from agent.store.sealed.manifest import COLUMNS, HISTOGRAMS_OF, PACKETS, SAMPLES, DamagedSeal, Part, SealedFile
from agent.store.sealed.owed import OwedFile
from agent.store.sealed.packed import Packed
from agent.store.sealed.verification import check_file
from probes.core.arrays import ABSENT, Int64

if TYPE_CHECKING:
    from types import ModuleType

Identity = tuple[int, int, int, int]
"""Device, inode, time of change in ns, and size of a file."""

_SERIES: Final = "circuit = ? AND probe = ? AND kind = ?"
_TIME: Final = "start_ns >= ? AND start_ns < ?"
_BETWEEN: Final = (
    "(circuit > ? OR (circuit = ? AND (probe > ? OR (probe = ? AND kind >= ?)))) AND "
    "(circuit < ? OR (circuit = ? AND (probe < ? OR (probe = ? AND kind <= ?))))"
)
"""Series from one to another; values: _steps of both."""

_EVERYTHING: Final[tuple[str, tuple[str, ...]]] = ("true", ())

_File = tuple[Path, SealedFile]


@dataclass(frozen=True, slots=True, eq=False)
class PackedRows:
    """columns: by name, with room at their ends; edges: first row of each part and the end of the last, int64; sums:
    the histograms of each part's rows together, None where only some of its rows are here."""

    columns: dict[str, Int64]
    edges: Int64
    sums: tuple[tuple[Int64, Int64] | None, ...]


class SealedDays:
    """The sealed parts of one store as they were when it was made. Methods raise DamagedSeal, LocalError, OSError.

    checked: files whose SHA-256 need not be looked at again; what is found whole is added.
    """

    def __init__(self, store: Path, parts: Sequence[Part], checked: set[Identity] | None = None) -> None:
        self.store = store
        self.parts = tuple(parts)
        self._folder = store / manifest.FOLDER
        self._checked: set[Identity] = set() if checked is None else checked

    def only(self, part: Part) -> SealedDays:
        """This part alone."""
        return SealedDays(self.store, (part,), self._checked)

    def without(self, damaged: Path) -> SealedDays | None:
        """All but the part that the file belongs to; None where it belongs to none."""
        left = [
            part for part in self.parts if damaged not in {self._folder / part.name / file.name for file in part.files}
        ]
        return SealedDays(self.store, left, self._checked) if len(left) < len(self.parts) else None

    def between(self, start_ns: int, end_ns: int) -> list[Part]:
        """Parts of days that touch [start_ns, end_ns)."""
        return [part for part in self.parts if part.start_ns < end_ns and part.end_ns > start_ns]

    def integers(
        self, key: manifest.SeriesKey, names: Sequence[str], start_ns: int, end_ns: int, room: int = 0
    ) -> dict[str, Int64]:
        """Columns of the store's samples, `seq` and the number of buckets among them, by day, part and start_ns.

        room: rows to leave at the end of each, of any value.
        """
        written = list(dict.fromkeys(layout.written_name(name) for name in layout.needed(names)))
        files = self._files(SAMPLES, key, start_ns, end_ns)
        if not files:
            return {name: np.empty(room, np.int64) for name in names}
        values = self._load(files, written, key, start_ns, end_ns, room)
        found = dict(zip(written, values, strict=True))
        return layout.from_written(names, found.__getitem__)

    def packed(
        self,
        key: manifest.SeriesKey,
        names: Sequence[str],
        start_ns: int,
        end_ns: int,
        room: int = 0,
        *,
        fixed: bool = False,
    ) -> PackedRows | None:
        """Columns of packed.NAMES as `integers` has them, out of the files made for it; None where a part has none.

        fixed: nothing is written to them, so that one number may stand for a whole column.
        """
        pieces: list[tuple[Packed, int, int]] = []
        for part in self.between(start_ns, end_ns):
            if not manifest.holds(part, key):
                continue
            found = self._piece(part, key)
            if found is None:
                return None
            pieces.append((found, *_within(found, part, start_ns, end_ns)))
        edges = np.cumsum([0, *(last - first for _, first, last in pieces)])
        rows = int(edges[-1])
        columns = _constants(names, [piece for piece, _, _ in pieces], rows) if fixed and not room else {}
        filled = {name: np.empty(rows + room, np.int64) for name in names if name not in columns}
        for (piece, first, last), at in zip(pieces, edges.tolist(), strict=False):
            for name, column in filled.items():
                if last - first == piece.rows:
                    piece.fill(name, column[at : at + piece.rows])
                else:
                    column[at : at + last - first] = piece.column(name)[first:last]
        sums = tuple(piece.merged() if last - first == piece.rows else None for piece, first, last in pieces)
        return PackedRows(columns | filled, edges, sums)

    def _piece(self, part: Part, key: manifest.SeriesKey) -> Packed | None:
        """The packed rows of a series in a part."""
        found = None
        for file in manifest.files_of(part, COLUMNS, key):
            path = self._usable(part, file)
            try:
                series = packed.decode(path.read_bytes())
            except ValueError as error:
                raise DamagedSeal(path, str(error)) from None
            found = next(iter(series.values())) if file.first == file.last else series.get(key)
        return found

    def texts(self, key: manifest.SeriesKey, name: str, start_ns: int, end_ns: int) -> Texts:
        """One for each row of `integers`."""
        files = self._files(SAMPLES, key, start_ns, end_ns)
        if not any(name in columns_of(file.groups)[1] for _path, file in files):
            found: Int64 = self.integers(key, ("start_ns",), start_ns, end_ns)["start_ns"]
            return Texts(np.zeros(len(found), np.int64))
        return Texts.of(row[0] for row in self._rows(files, (name,), key, start_ns, end_ns))

    def histograms(self, key: manifest.SeriesKey, name: str, sizes: Int64, start_ns: int, end_ns: int) -> Histograms:
        """One for each row of `integers`, whose number of buckets is `sizes`. name: of the column."""
        files = self._files(HISTOGRAMS_OF[name], key, start_ns, end_ns)
        index: AnyInt = np.empty(0, np.int64)
        count: AnyInt = index
        if files:
            where = self._where(files, key, start_ns, end_ns)
            index, count = self._parquet().unsigned(_paths(files), ["bucket", "packets"], *where)
        lengths = np.where(sizes == ABSENT, 0, sizes)
        if len(index) != lengths.sum():
            raise DamagedSeal(files[0][0] if files else self._folder, "histograms and samples do not fit")
        return Histograms.by_size(index, count, lengths, sizes != ABSENT)

    def samples(self, key: manifest.SeriesKey, start_ns: int, end_ns: int) -> list[StoredSample]:
        """Whole samples, by day, part and start_ns."""
        files = self._files(SAMPLES, key, start_ns, end_ns)
        if not files:
            return []
        more, texts, shapes = columns_of({group for _path, file in files for group in file.groups})
        named = ["histogram", *shapes]
        wanted = ("seq", *OWN_INTEGERS, *more, *(BUCKETS[name] for name in named))
        integers = self.integers(key, wanted, start_ns, end_ns)
        names = (*OTHER_COLUMNS, *texts)
        others = self._rows(files, names, key, start_ns, end_ns)
        if not others:
            return []
        columns: dict[str, Iterable[Any]] = dict.fromkeys(SAMPLE_COLUMNS, (None,) * len(others))
        columns |= {
            name: (None if value == ABSENT else value for value in column.tolist()) for name, column in integers.items()
        }
        columns |= dict(zip(names, zip(*others, strict=True), strict=True))
        for name in named:
            found = self.histograms(key, name, integers[BUCKETS[name]], start_ns, end_ns)
            columns[name] = (None if item is None else item.to_bytes() for item in found)
        return [
            StoredSample(seq, row_form.decode(*key, row))
            for seq, *row in zip(columns["seq"], *(columns[name] for name in SAMPLE_COLUMNS), strict=True)
        ]

    def owed_batch(self, part: Part, owed: Owed, limit: int, cache: OwedFile) -> tuple[SampleBatch, int]:
        """Samples of the part in file order from owed.next_row on, and the next_row after them."""
        found: list[SampleBatch] = []
        missing, begin, row = limit, 0, owed.next_row
        for file in part.of(SAMPLES):
            end = begin + file.rows
            if row < end and missing:
                path = self._usable(part, file)
                whole = cache.get(path) or cache.put(path, self._whole(part, file, path))
                left = whole.between(row - begin, file.rows)
                wanted = np.flatnonzero(left.seq > owed.after_seq)[:missing]
                row = row + int(wanted[-1]) + 1 if len(wanted) == missing else end
                if len(wanted):
                    together = wanted[-1] - wanted[0] + 1 == len(wanted)
                    found.append(left.between(int(wanted[0]), int(wanted[-1]) + 1) if together else left.chosen(wanted))
                missing -= len(wanted)
            begin = end
        return join(found), NOTHING_LEFT if row >= begin else row

    def _whole(self, part: Part, file: SealedFile, path: Path) -> SampleBatch:
        """Every sample of a file. Its series follow one another as the manifest lists them."""
        series = [item for item in part.series if file.first <= item.key <= file.last]
        sizes = np.array([item.rows for item in series])
        if sizes.sum() != file.rows:
            raise DamagedSeal(path, "its rows are not those of its series")
        more, texts, shapes = columns_of(file.groups)
        named = ["histogram", *shapes]
        wanted = ("seq", *BATCH_INTEGERS, *more, *(BUCKETS[name] for name in named))
        written = list(dict.fromkeys(layout.written_name(name) for name in layout.needed(wanted)))
        columns = dict(
            zip(written, self._parquet().integers([path], written, *_EVERYTHING, layout.NARROW), strict=True)
        )
        integers = layout.from_written(wanted, columns.__getitem__)
        told = self._parquet().rows([path], (*BATCH_TEXTS, *texts), *_EVERYTHING)
        remote, reason, *others = ([row[at] for row in told] for at in range(2 + len(texts)))
        buckets = {name: self._buckets(part, file, path, name, integers.pop(BUCKETS[name])) for name in named}
        return SampleBatch(
            tuple(item.key for item in series), np.repeat(np.arange(len(series)), sizes), integers.pop("seq"),
            integers, remote, reason, buckets.pop("histogram"), texts=dict(zip(texts, others, strict=True)),
            shapes=buckets,
        )  # fmt: skip

    def _buckets(self, part: Part, file: SealedFile, path: Path, name: str, size: Int64) -> Buckets:
        """The histograms of a file's samples. size: buckets of each."""
        found = [
            other for other in part.of(HISTOGRAMS_OF[name]) if other.first <= file.last and other.last >= file.first
        ]
        index = count = np.empty(0, np.int64)
        if found:
            within = all(file.first <= other.first and other.last <= file.last for other in found)
            condition = _EVERYTHING if within else (_BETWEEN, _steps(file.first) + _steps(file.last))
            paths = [self._usable(part, other) for other in found]
            index, count = self._parquet().integers(paths, ["bucket", "packets"], *condition)
        if len(index) != np.where(size == ABSENT, 0, size).sum():
            raise DamagedSeal(path, "histograms and samples do not fit")
        return Buckets(size, index, count)

    def packets(self, key: manifest.SeriesKey, start_ns: int) -> bytes | None:
        """Encoded packets of the sample that starts at start_ns."""
        files = self._files(PACKETS, key, start_ns, start_ns + 1)
        found = (
            self._parquet().rows(_paths(files), ["data"], *self._where(files, key, start_ns, start_ns + 1))
            if files
            else []
        )
        return bytes(found[0][0]) if found else None

    def packets_between(self, key: manifest.SeriesKey, start_ns: int, end_ns: int) -> dict[int, bytes]:
        """Encoded packets of the samples that start in [start_ns, end_ns), by their start."""
        files = self._files(PACKETS, key, start_ns, end_ns)
        if not files:
            return {}
        where = self._where(files, key, start_ns, end_ns)
        return {
            int(start): bytes(data) for start, data in self._parquet().rows(_paths(files), ["start_ns", "data"], *where)
        }

    def _files(self, what: str, key: manifest.SeriesKey, start_ns: int, end_ns: int) -> list[_File]:
        """Files that may hold rows of the series, each found to be what was sealed."""
        found: list[_File] = []
        for part in self.between(start_ns, end_ns):
            if not manifest.holds(part, key):
                continue
            found += [(self._usable(part, file), file) for file in manifest.files_of(part, what, key)]
        return found

    def _usable(self, part: Part, file: SealedFile) -> Path:
        path = Path(f"{self._folder}/{part.name}/{file.name}")
        status = path.stat()
        identity = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
        if identity not in self._checked:
            try:
                check_file(path, file)
            except DamagedSeal:
                path.stat()  # gone meanwhile: retention, not damage
                raise
            self._checked.add(identity)
        return path

    def _load(
        self,
        files: Sequence[_File],
        names: Sequence[str],
        key: manifest.SeriesKey,
        start_ns: int,
        end_ns: int,
        room: int = 0,
    ) -> list[Int64]:
        where, narrow = self._where(files, key, start_ns, end_ns), layout.NARROW
        alike = _alike(files)
        found: list[list[Int64]] = [
            self._parquet().integers(
                _paths(some), layout.selected(names, groups), *where, narrow, room if number == len(alike) else 0
            )
            for number, (groups, some) in enumerate(alike, 1)
        ]
        return found[0] if len(found) == 1 else [np.concatenate(parts) for parts in zip(*found, strict=True)]

    def _rows(
        self, files: Sequence[_File], names: Sequence[str], key: manifest.SeriesKey, start_ns: int, end_ns: int
    ) -> list[tuple[Any, ...]]:
        where = self._where(files, key, start_ns, end_ns)
        return [
            row
            for groups, some in _alike(files)
            for row in self._parquet().rows(_paths(some), layout.selected(names, groups), *where)
        ]

    def _where(
        self, files: Sequence[_File], key: manifest.SeriesKey, start_ns: int, end_ns: int
    ) -> tuple[str, tuple[object, ...]]:
        """Condition and its values: only of what the files hold beside what is asked for."""
        where, values = ["true"], list[object]()
        if any(not file.first == file.last == key for _path, file in files):
            where.append(_SERIES)
            values += key
        if any(start_ns > part.start_ns or part.end_ns > end_ns for part in self.between(start_ns, end_ns)):
            where.append(_TIME)
            values += (start_ns, end_ns)
        return " AND ".join(where), tuple(values)

    @staticmethod
    def _parquet() -> ModuleType:
        from agent.store.sealed import parquet

        return parquet


def _alike(files: Sequence[_File]) -> list[tuple[tuple[str, ...], list[_File]]]:
    """Files that follow one another and have the same columns, with the groups that they have."""
    return [(groups, list(some)) for groups, some in groupby(files, key=lambda item: item[1].groups)]


def _constants(names: Sequence[str], pieces: Sequence[Packed], rows: int) -> dict[str, Int64]:
    """Columns that have the same value in every row: one number, however many rows there are."""
    found = {}
    for name in names:
        values = {piece.alike(name) for piece in pieces}
        if len(values) == 1 and (value := values.pop()) is not None:
            found[name] = np.broadcast_to(np.int64(value), rows)
    return found


def _within(found: Packed, part: Part, start_ns: int, end_ns: int) -> tuple[int, int]:
    """First of its rows that start in [start_ns, end_ns), and the one after the last."""
    if start_ns <= part.start_ns and part.end_ns <= end_ns:
        return 0, found.rows
    first, last = np.searchsorted(found.column("start_ns"), (start_ns, end_ns), side="left").tolist()
    return first, last


def _steps(key: manifest.SeriesKey) -> tuple[str, ...]:
    circuit, probe, kind = key
    return circuit, circuit, probe, probe, kind


def _paths(files: Sequence[_File]) -> list[Path]:
    return [path for path, _file in files]
