"""Tables of the live database, their version, and how an older file is brought up to it."""

from __future__ import annotations

import sqlite3
from functools import cache
from pathlib import Path
from typing import Final

from agent.store import header
from agent.store.far_end import FAR_HISTOGRAMS, FAR_TEXTS
from agent.store.rows import SAMPLE_COLUMNS
from probes.core.errors import LocalError

APPLICATION_ID: Final = 0x6C77_6974
"""`lwit`, in the header of the file (https://www.sqlite.org/pragma.html#pragma_application_id)."""
SCHEMA_VERSION: Final = 3

_OTHER_TYPES: Final = {
    "rate_layer": "TEXT", "load": "REAL", "remote": "TEXT", "reason": "TEXT", "phases": "TEXT", "histogram": "BLOB",
    **dict.fromkeys(FAR_TEXTS, "TEXT"), **dict.fromkeys(FAR_HISTOGRAMS, "BLOB"),
}  # fmt: skip
_REQUIRED: Final = ("start_ns", "span_ns", "state", "stamps", "local_drops")


def _sample_columns() -> str:
    return ", ".join(
        f"{name} {_OTHER_TYPES.get(name, 'INTEGER')}{' NOT NULL' if name in _REQUIRED else ''}"
        for name in SAMPLE_COLUMNS
    )


_EPOCHS: Final = """CREATE TABLE epochs(
        first_seq INTEGER PRIMARY KEY, epoch TEXT NOT NULL, at_ns INTEGER NOT NULL, machine TEXT NOT NULL,
        branch TEXT)"""
"""Which epoch the samples from first_seq on belong to, since when, on which machine (agent.store.identity)."""
_OWED: Final = """CREATE TABLE owed(
        sink TEXT NOT NULL, part TEXT NOT NULL, after_seq INTEGER NOT NULL, next_row INTEGER NOT NULL,
        rows INTEGER NOT NULL, PRIMARY KEY (sink, part)) WITHOUT ROWID"""
"""Sealed rows that a sink does not have yet: `rows` of the part from next_row on, those kept after after_seq."""
_HOST: Final = """CREATE TABLE host(
        id INTEGER PRIMARY KEY, start_ns INTEGER NOT NULL, seconds INTEGER NOT NULL, impaired INTEGER NOT NULL,
        data BLOB NOT NULL)"""
_HOST_TIME: Final = "CREATE INDEX host_time ON host(start_ns)"
"""Seconds of this host, about a minute to a row (agent.store.hostseconds)."""

TABLES: Final = (
    # one row: epoch, session and the next seq; rewritten by every commit. boot_ns: CLOCK_BOOTTIME of the last commit;
    # commits: how many there were; checkpointed: how many of them had reached the database when the log began anew
    """CREATE TABLE meta(
        id INTEGER PRIMARY KEY CHECK (id = 1), epoch TEXT NOT NULL, site TEXT NOT NULL, next_seq INTEGER NOT NULL,
        running INTEGER NOT NULL, pid INTEGER NOT NULL, boot_id TEXT NOT NULL, session_ns INTEGER NOT NULL,
        last_commit_ns INTEGER NOT NULL, boot_ns INTEGER NOT NULL DEFAULT 0, commits INTEGER NOT NULL DEFAULT 0,
        checkpointed INTEGER NOT NULL DEFAULT 0)""",
    _EPOCHS,
    # first_ns, last_ns, rows: bounds and number of this series' samples; newest_ns: start of the one kept last
    """CREATE TABLE series(
        id INTEGER PRIMARY KEY, circuit TEXT NOT NULL, probe TEXT NOT NULL, kind TEXT NOT NULL,
        first_ns INTEGER, last_ns INTEGER, newest_ns INTEGER, rows INTEGER NOT NULL DEFAULT 0,
        UNIQUE (circuit, probe, kind))""",
    # clustered by series and time: a month of one series is one run of pages
    f"""CREATE TABLE samples(
        series INTEGER NOT NULL, seq INTEGER NOT NULL, {_sample_columns()},
        PRIMARY KEY (series, start_ns)) WITHOUT ROWID""",
    "CREATE UNIQUE INDEX samples_seq ON samples(seq)",
    # in the order of keeping: packets are read one sample at a time and leave oldest first
    "CREATE TABLE packets(seq INTEGER PRIMARY KEY, start_ns INTEGER NOT NULL, data BLOB NOT NULL)",
    """CREATE TABLE runs(
        id INTEGER PRIMARY KEY, circuit TEXT NOT NULL, probe TEXT NOT NULL, kind TEXT NOT NULL, state TEXT NOT NULL,
        scheduled_ns INTEGER NOT NULL, started_ns INTEGER, reason TEXT)""",
    "CREATE INDEX runs_probe ON runs(circuit, probe, id)",
    "CREATE INDEX runs_time ON runs(scheduled_ns)",
    """CREATE TABLE events(
        id INTEGER PRIMARY KEY, kind TEXT NOT NULL, at_ns INTEGER NOT NULL, end_ns INTEGER, reason TEXT, count INTEGER,
        circuit TEXT, text TEXT NOT NULL)""",
    "CREATE INDEX events_time ON events(at_ns)",
    "CREATE TABLE cursors(sink TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID",
    """CREATE TABLE parked(
        id INTEGER PRIMARY KEY, sink TEXT NOT NULL, seq INTEGER NOT NULL, at_ns INTEGER NOT NULL, line TEXT NOT NULL,
        reason TEXT NOT NULL)""",
    "CREATE INDEX parked_sink ON parked(sink, seq)",
    _OWED,
    _HOST,
    _HOST_TIME,
)

_ADDED_IN_3: Final = (
    *(
        f"{way}_{name} INTEGER"
        for way in ("forward", "backward")
        for name in (
            "sent", "lost", "delay_count", "delay_sum_ns", "delay_min_ns", "delay_max_ns", "delay_p50_ns",
            "delay_p95_ns", "delay_p99_ns", "delay_stddev_ns", "ipdv_pairs", "ipdv_abs_sum_ns", "ipdv_p95_ns",
            "pdv_p95_ns", "rfc3550_ns", "error_ns", "dscp", "ttl", "stamped",
        )
    ),
    "residence_count INTEGER", "residence_sum_ns INTEGER", "residence_min_ns INTEGER", "residence_max_ns INTEGER",
    "forward_withheld TEXT", "backward_withheld TEXT", "path TEXT", "forward_histogram BLOB", "backward_histogram BLOB",
)  # fmt: skip
"""Columns of samples as version 3 was released; they cost rows of earlier versions nothing."""

MIGRATIONS: Final[dict[int, tuple[str, ...]]] = {
    1: (
        "ALTER TABLE meta ADD COLUMN boot_ns INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE meta ADD COLUMN commits INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE meta ADD COLUMN checkpointed INTEGER NOT NULL DEFAULT 0",
        _EPOCHS,
        "INSERT INTO epochs(first_seq, epoch, at_ns, machine) SELECT 1, epoch, session_ns, '' FROM meta",
        _OWED,
    ),
    2: (*(f"ALTER TABLE samples ADD COLUMN {column}" for column in _ADDED_IN_3), _HOST, _HOST_TIME),
}
"""Statements that turn a file of version n into one of n + 1, in one transaction. A released one never changes."""


@cache
def insert(columns: tuple[str, ...]) -> str:
    """Of samples that have these columns and no others: a NULL that is handed over costs more than a number."""
    names = ("series", "seq", *columns)
    return f"INSERT INTO samples({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"


INSERT_SAMPLE: Final = insert(SAMPLE_COLUMNS)
SELECT_SAMPLE: Final = f"SELECT seq, {', '.join(SAMPLE_COLUMNS)} FROM samples "
SELECT_STORED: Final = (
    f"SELECT t.circuit, t.probe, t.kind, s.seq, {', '.join(f's.{name}' for name in SAMPLE_COLUMNS)} "
    "FROM samples s JOIN series t ON t.id = s.series "
)


def version_of(connection: sqlite3.Connection) -> int:
    """Schema version of the file, 0 for a new one."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def is_ours(connection: sqlite3.Connection) -> bool:
    """True for a store and for a file without any table."""
    application = int(connection.execute("PRAGMA application_id").fetchone()[0])
    tables = int(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    return application == APPLICATION_ID or tables == 0


def check_version(path: Path, found: int) -> None:
    """Raises LocalError for a file of a newer linkwitness; it is left as it is."""
    if found > SCHEMA_VERSION:
        raise LocalError(
            f"{path} has store version {found}; this linkwitness knows versions up to {SCHEMA_VERSION}",
            hint="start the newer linkwitness again, or give this one another store path; nothing was changed",
        )


def check_file(path: Path, *, current: bool = False) -> None:
    """As check_version, before the file is opened: no byte of it, its log or its index changes.

    current: refuse a file of an older linkwitness as well, which only the writer may bring up. Raises OSError.
    """
    found = header.read(path)
    if found is None or found.application != APPLICATION_ID:
        return
    check_version(path, found.version)
    if current and 0 < found.version < SCHEMA_VERSION:
        raise LocalError(
            f"{path} has store version {found.version}; this linkwitness reads version {SCHEMA_VERSION}",
            hint="start this linkwitness on it: the agent brings the store up and keeps all of it",
        )


def bring_up(connection: sqlite3.Connection, path: Path) -> None:
    """Create the tables, or migrate an older file, in one transaction. Raises LocalError for a newer file."""
    found = version_of(connection)
    check_version(path, found)
    if found == SCHEMA_VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        if found == 0:
            for statement in TABLES:
                connection.execute(statement)
        for version in range(found or SCHEMA_VERSION, SCHEMA_VERSION):
            for statement in MIGRATIONS[version]:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
