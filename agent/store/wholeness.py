"""Is the whole store what it was? Sealed files and live database, the order of keeping, positions of sinks, strangers.

Reads only, beside a running agent. `set_aside` takes what is damaged out of the way, while no agent runs.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from agent.sla.samples.columns import DIRECTIONS
from agent.store import directory, schema, unreadable
from agent.store.combined import stored
from agent.store.importing import IMPORTED
from agent.store.records import DAMAGED, GAP, LIVE_FILE, EventRecord
from agent.store.rows import SAMPLE_COLUMNS, Value
from agent.store.sealed import manifest
from agent.store.sealed.keeper import RETIRED, still_live
from agent.store.sealed.manifest import FOLDER, MANIFEST, SAMPLES, UNFINISHED, DamagedSeal, Part
from agent.store.sealed.verification import Finding, Verified
from agent.store.sealed.verification import verify as verify_sealed
from probes.core.arrays import Int64
from probes.core.errors import LocalError
from probes.metrics.histogram import bucket_of

Run = tuple[int, int]
"""First and last of seqs without a hole."""

IMPOSSIBLE: Final = (
    "state NOT BETWEEN 0 AND 4", "stamps NOT BETWEEN 0 AND 2", "span_ns < 0", "length(histogram) % 8 <> 0",
    "sent <> received + lost", "min(sent, received, lost, late, duplicate, reordered, corrupt, not_sent) < 0",
    "rtt_min_ns > rtt_p50_ns", "rtt_p50_ns > rtt_p95_ns", "rtt_p95_ns > rtt_p99_ns", "rtt_p99_ns > rtt_max_ns",
    "rtt_count * rtt_min_ns > rtt_sum_ns", "rtt_count * rtt_max_ns < rtt_sum_ns", "rtt_count < 0",
    "rtt_stddev_ns > rtt_max_ns - rtt_min_ns",
    *(
        condition.replace("~", way)
        for way in DIRECTIONS
        for condition in (
            "~_lost > ~_sent", "min(~_sent, ~_lost) < 0", "~_lost < 0", "~_error_ns < 0", "~_dscp NOT BETWEEN 0 AND 63",
            "~_ttl NOT BETWEEN 0 AND 255", "~_stamped < 0",
            "~_delay_min_ns > ~_delay_p50_ns", "~_delay_p50_ns > ~_delay_p95_ns", "~_delay_p95_ns > ~_delay_p99_ns",
            "~_delay_p99_ns > ~_delay_max_ns", "~_delay_count * ~_delay_min_ns > ~_delay_sum_ns",
            "~_delay_count * ~_delay_max_ns < ~_delay_sum_ns", "~_delay_count < 0",
            "~_delay_stddev_ns > ~_delay_max_ns - ~_delay_min_ns", "min(~_ipdv_pairs, ~_ipdv_abs_sum_ns) < 0",
            "~_withheld IS NOT NULL AND ~_delay_count IS NOT NULL", "length(~_histogram) % 8 <> 0",
        )
    ),
    "residence_count * residence_min_ns > residence_sum_ns", "residence_count * residence_max_ns < residence_sum_ns",
    "residence_count < 0", "residence_min_ns > residence_max_ns",
)  # fmt: skip
"""What no sample says, in SQL."""
NAMED: Final = 20
"""Ranges of seqs named in words."""
CHUNK: Final = 2_000
"""Live rows looked at together."""
_AT: Final = {name: at for at, name in enumerate(SAMPLE_COLUMNS, 4)}
"""Place of a column in a row of SELECT_STORED."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Seqs from first to last that are nowhere. reason: why that is right; None where nothing explains it."""

    first: int
    last: int
    reason: str | None


@dataclass(slots=True)
class Wholeness:
    """What was looked at. findings: everything that is not as it should be."""

    sealed: Verified
    findings: list[Finding] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    live_rows: int = 0
    first_seq: int | None = None
    last_seq: int | None = None


def check(store: Path, told: Callable[[Part], None] = lambda _part: None) -> Wholeness:
    """Everything. told: called after every sealed part. Raises LocalError: no store, no permission, a newer version."""
    live = store / LIVE_FILE
    try:
        if not live.exists() and not (store / FOLDER).is_dir():
            raise LocalError(
                f"there is no store at {store}", hint="name one with --store, or the configuration with -c"
            )
        if live.exists():
            schema.check_file(live)
        sealed = verify_sealed(store, told)
        found = Wholeness(sealed, list(sealed.findings))
        found.findings += _strangers(store)
        damaged = {finding.path.parent.name for finding in sealed.findings}
        parts = [part for part in _readable(store) if part.name not in damaged]
        _check_order(store, parts, found)
    except OSError as error:
        raise LocalError(
            f"{error.filename or store} cannot be read: {error.strerror or error}",
            hint="may this user read the store's directory and its files?",
        ) from None
    return found


def _readable(store: Path) -> Iterator[Part]:
    for name in manifest.names(store):
        with contextlib.suppress(DamagedSeal, FileNotFoundError):
            yield manifest.load(store, name)


def _strangers(store: Path) -> Iterator[Finding]:
    """What stands below `sealed/` and belongs to no part."""
    folder = store / FOLDER
    names = set(manifest.names(store))
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name in names:
            yield from _surplus(store, path)
        elif path.name != "lock" and not path.name.endswith((UNFINISHED, manifest.RETIRED)):
            yield Finding(path, f"it is no part of this store{_likeness(path)}")


def _surplus(store: Path, path: Path) -> Iterator[Finding]:
    try:
        known = {file.name for file in manifest.load(store, path.name).files}
    except (DamagedSeal, FileNotFoundError):
        return
    for found in sorted(path.iterdir()):
        if found.name not in known and not found.name.startswith(MANIFEST) and not found.name.startswith("packets."):
            yield Finding(found, "its manifest does not know it")


def _likeness(path: Path) -> str:
    with contextlib.suppress(LocalError, OSError):
        return f"; its manifest is that of {manifest.decode(path, (path / MANIFEST).read_bytes()).name}"
    return ""


def _check_order(store: Path, parts: Sequence[Part], found: Wholeness) -> None:
    """seqs, and what the live database says about them."""
    runs: list[Run] = []
    for part in parts:
        runs += _runs_of(store, part, found)
    runs.sort()
    try:
        live = (store / LIVE_FILE).absolute().as_uri()
        with contextlib.closing(sqlite3.connect(f"{live}?mode=ro", uri=True, timeout=5.0)) as connection:
            connection.execute("BEGIN")
            seqs = (int(row[0]) for row in connection.execute("SELECT seq FROM samples ORDER BY seq"))
            live_runs, found.live_rows = _runs(seqs)
            newest = connection.execute("SELECT next_seq FROM meta").fetchone()[0] - 1
            highest = max((last for _first, last in (*runs, *live_runs)), default=0)
            for sink, seq in connection.execute("SELECT sink, seq FROM cursors ORDER BY sink"):
                if not 0 <= seq <= max(newest, highest):
                    reason = f"the position of sink {sink} is {seq}; samples end at {max(newest, highest)}"
                    found.findings.append(Finding(store / LIVE_FILE, reason))
            _name_missing(connection, [*runs, *live_runs], found)
            found.findings += [Finding(store / LIVE_FILE, reason) for reason in _unreadable(connection)]
            found.findings += [Finding(store / LIVE_FILE, reason) for reason in _contradictions(connection)]
    except (sqlite3.Error, ValueError, TypeError) as error:  # a damaged database may hold a text where a number was
        if not any(finding.path == store / LIVE_FILE for finding in found.findings):
            found.findings.append(Finding(store / LIVE_FILE, str(error)))
    for item in [item for item in found.missing if item.reason is None][:NAMED]:
        number = item.last - item.first + 1
        found.findings.append(
            Finding(store, f"samples {item.first} to {item.last}, {number} in number, are neither live nor sealed")
        )


def _unreadable(connection: sqlite3.Connection) -> Iterator[str]:
    rows = unreadable.find(connection)
    if rows:
        yield f"{len(rows)} samples hold what is no value; the next sealing takes them out; the first is of {rows[0]}"
    # What is no text is named above and is no reason to look no further.
    connection.text_factory = lambda octets: octets.decode("utf-8", "backslashreplace")


def _contradictions(connection: sqlite3.Connection) -> Iterator[str]:
    """Live samples that cannot be true: SQLite has no checksums, so this is how a changed octet shows, if it does."""
    wrong = " OR ".join(f"({condition})" for condition in IMPOSSIBLE)
    number = 0
    example = ""
    cursor = connection.execute(f"SELECT {wrong}, {schema.SELECT_STORED.removeprefix('SELECT ')}")
    while chunk := cursor.fetchmany(CHUNK):
        found = [row[1:] for row in chunk if row[0] or not _decodes(row[1:])]
        found += _against_histograms([row[1:] for row in chunk])
        number += len({row[:4] for row in found})
        if found and not example:
            example = f"{found[0][0]}/{found[0][1]} at {found[0][4]}"
    if number:
        yield f"{number} samples contradict themselves, the first is of {example}"
    for circuit, probe, kind, rows, kept in connection.execute(
        "SELECT t.circuit, t.probe, t.kind, t.rows, (SELECT count(*) FROM samples WHERE series = t.id) AS kept "
        "FROM series t WHERE kept <> t.rows"
    ):
        yield f"{kept} samples of {circuit}/{probe} ({kind}) are there, {rows} were kept"


def _decodes(row: tuple[Value, ...]) -> bool:
    try:
        stored(row)
    except (LocalError, AssertionError):
        return False
    return True


_SHAPES: Final = {
    "histogram": ("rtt_count", "rtt_min_ns", "rtt_max_ns"),
    **{
        f"{way}_histogram": tuple(f"{way}_delay_{name}" for name in ("count", "min_ns", "max_ns")) for way in DIRECTIONS
    },
}
"""Histograms of packets, and the count, least and greatest of what is in them."""
_STREAMS: Final = ("icmp", "udp", "stamp", "twamp")


def _against_histograms(chunk: Sequence[tuple[Value, ...]]) -> list[tuple[Value, ...]]:
    """Samples of streams with a histogram that is not that of their count, least and greatest delay."""
    streams = [row for row in chunk if row[2] in _STREAMS]
    return [row for name, columns in _SHAPES.items() for row in _against(streams, name, columns)]


def _against(chunk: Sequence[tuple[Value, ...]], name: str, columns: Sequence[str]) -> list[tuple[Value, ...]]:
    rows, expected, there = [], [], []
    for row in chunk:
        shape, values = row[_AT[name]], [row[_AT[column]] for column in columns]
        if not isinstance(shape, bytes) or len(shape) < 8 or len(shape) % 8:
            continue
        if not all(isinstance(value, int) for value in values):
            continue
        pairs = np.frombuffer(shape, "<u4").reshape(-1, 2)
        rows.append(row)
        expected.append(values)
        there.append((int(pairs[:, 1].sum()), int(pairs[0, 0]), int(pairs[-1, 0])))
    if not rows:
        return []
    numbers, found = np.array(expected, np.int64), np.array(there, np.int64)
    numbers[:, 1:] = bucket_of(numbers[:, 1:])
    return [rows[at] for at in np.flatnonzero((numbers != found).any(1)).tolist()]


def _runs(seqs: Iterator[int]) -> tuple[list[Run], int]:
    """Runs of ascending seqs, and how many there were."""
    runs: list[Run] = []
    first = last = None
    total = 0
    for seq in seqs:
        total += 1
        if last is None or seq != last + 1:
            if first is not None and last is not None:
                runs.append((first, last))
            first = seq
        last = seq
    if first is not None and last is not None:
        runs.append((first, last))
    return runs, total


def _runs_of(store: Path, part: Part, found: Wholeness) -> list[Run]:
    """Runs of the part's seqs; what is there twice or outside its bounds is a finding."""
    from agent.store.sealed import parquet

    seen = np.zeros(part.through_seq - part.first_seq + 1, bool)
    for file in part.of(SAMPLES):
        path = store / FOLDER / part.name / file.name
        try:
            seqs: Int64 = np.sort(parquet.integers([path], ["seq"], "true", ())[0]) - part.first_seq
        except (DamagedSeal, FileNotFoundError):
            continue
        if len(seqs) and (seqs[0] < 0 or seqs[-1] >= len(seen)):
            found.findings.append(Finding(path, "it holds samples outside the order its manifest names"))
            continue
        twice = np.concatenate((seqs[1:][np.diff(seqs) == 0], seqs[seen[seqs]]))
        if len(twice):
            first = int(twice.min()) + part.first_seq
            found.findings.append(Finding(path, f"{len(twice)} samples are there twice, the first is {first}"))
        seen[seqs] = True
    edges = np.diff(np.concatenate(([0], seen.astype(np.int8), [0])))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return [
        (first + part.first_seq, last + part.first_seq - 1)
        for first, last in zip(starts.tolist(), ends.tolist(), strict=True)
    ]


def _name_missing(connection: sqlite3.Connection, runs: Sequence[Run], found: Wholeness) -> None:
    """Holes between the first and the last seq there are. Below the first is what retention has taken."""
    end: int | None = None
    for first, last in sorted(runs):
        if end is not None and first > end + 1:
            found.missing.append(Missing(end + 1, first - 1, _explanation(connection, first - 1)))
        end = last if end is None else max(end, last)
    found.first_seq = min((first for first, _last in runs), default=None)
    found.last_seq = end


def _explanation(connection: sqlite3.Connection, last: int) -> str | None:
    """What is recorded that makes a hole up to `last`."""
    begun = {row[0] for row in connection.execute("SELECT first_seq FROM epochs")}
    if last + 1 in begun:
        return "the store was restored or replaced there, and its count went on beyond all it may have kept"
    for kind, reason in ((DAMAGED, "moved aside as damaged"), (RETIRED, "retired"), (IMPORTED, "imported and retired")):
        found = connection.execute("SELECT 1 FROM events WHERE kind = ? AND text NOT LIKE '%no samples%'", (kind,))
        if found.fetchone():
            return reason
    return None


def set_aside(store: Path, findings: Sequence[Finding], now_ns: int, keep: Callable[[EventRecord], None]) -> list[str]:
    """Move damaged parts and strangers below `sealed/` into `damaged/`; returns what was done, in words.

    The caller holds the store. keep: makes an event durable; of samples that are gone it is a gap, known before the
    part has moved. Raises OSError.
    """
    done = []
    folder = store / FOLDER
    tops = dict.fromkeys(
        folder / finding.path.relative_to(folder).parts[0]
        for finding in findings
        if finding.path.is_relative_to(folder) and finding.path != folder
    )
    names = set(manifest.names(store))
    for path in tops:
        reason = next(item.reason for item in findings if item.path.is_relative_to(path))
        if path.name not in names:
            text = f"{path.name} was no part of the store and was moved into damaged/"
        else:
            text = _lose(store, path.name, reason, keep)
        keep(EventRecord(DAMAGED, now_ns, text, reason=reason))
        directory.set_aside(store, [path])
        done.append(text)
    return done


def _lose(store: Path, name: str, reason: str, keep: Callable[[EventRecord], None]) -> str:
    """Record the gap that a part leaves, unless its samples are still live."""
    try:
        part: Part | None = manifest.load(store, name)
    except DamagedSeal:
        part = None
    if part is not None and still_live(store, part) == part.rows:
        return f"{name} was damaged and moved into damaged/; its samples are still live and will be sealed again"
    if part is None:
        day = int(np.datetime64(name.partition(".")[0], "D").astype(np.int64))
        begin, end, rows = manifest.day_start(day), manifest.day_start(day + 1), None
    else:
        begin = min(item.first_ns for item in part.series)
        end, rows = min(max(item.last_ns for item in part.series) + 1, part.end_ns), part.rows
    what = "its samples" if rows is None else f"its {rows} samples"
    text = f"the sealed day {name} was damaged ({reason}) and moved into damaged/; {what} cannot be read"
    keep(EventRecord(GAP, begin, text, end, "damaged", rows))
    return text
