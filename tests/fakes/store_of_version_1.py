"""A store as the first release wrote it: its tables and rows frozen here, written without our own code."""

import sqlite3
from pathlib import Path
from typing import Final

_INTEGERS: Final = (
    "sent", "received", "lost", "late", "duplicate", "reordered", "corrupt", "not_sent", "rtt_count",
    "rtt_sum_ns", "rtt_min_ns", "rtt_max_ns", "rtt_p50_ns", "rtt_p95_ns", "rtt_p99_ns", "rtt_stddev_ns",
    "ipdv_pairs", "ipdv_abs_sum_ns", "ipdv_p95_ns", "pdv_p95_ns", "rfc3550_ns", "forward_bps", "backward_bps",
    "forward_bytes", "backward_bytes", "forward_ns", "backward_ns", "rate_streams",
)  # fmt: skip
TABLES: Final = (
    """CREATE TABLE meta(
        id INTEGER PRIMARY KEY CHECK (id = 1), epoch TEXT NOT NULL, site TEXT NOT NULL, next_seq INTEGER NOT NULL,
        running INTEGER NOT NULL, pid INTEGER NOT NULL, boot_id TEXT NOT NULL, session_ns INTEGER NOT NULL,
        last_commit_ns INTEGER NOT NULL)""",
    """CREATE TABLE series(
        id INTEGER PRIMARY KEY, circuit TEXT NOT NULL, probe TEXT NOT NULL, kind TEXT NOT NULL,
        first_ns INTEGER, last_ns INTEGER, newest_ns INTEGER, rows INTEGER NOT NULL DEFAULT 0,
        UNIQUE (circuit, probe, kind))""",
    f"""CREATE TABLE samples(
        series INTEGER NOT NULL, seq INTEGER NOT NULL, start_ns INTEGER NOT NULL, span_ns INTEGER NOT NULL,
        state INTEGER NOT NULL, {", ".join(f"{name} INTEGER" for name in _INTEGERS)},
        rate_layer TEXT, forward_retransmits INTEGER, backward_retransmits INTEGER, stamps INTEGER NOT NULL,
        lateness_p50_ns INTEGER, lateness_max_ns INTEGER, local_drops INTEGER NOT NULL, clock_synchronised INTEGER,
        clock_error_ns INTEGER, load REAL, remote TEXT, reason TEXT, phases TEXT, histogram BLOB,
        PRIMARY KEY (series, start_ns)) WITHOUT ROWID""",
    "CREATE UNIQUE INDEX samples_seq ON samples(seq)",
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
)
EPOCH: Final = "00112233445566aa"
START: Final = 1_790_000_000 * 10**9
ROWS: Final = 6


def write(store: Path) -> None:
    """Six samples of one probe, packets of one of them, a run, an event, a sink with a parked line; ended in order."""
    store.mkdir(parents=True)
    connection = sqlite3.connect(store / "live.sqlite", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN")
    for statement in TABLES:
        connection.execute(statement)
    connection.execute("PRAGMA application_id = 1819765108")
    connection.execute("PRAGMA user_version = 1")
    connection.execute(
        "INSERT INTO meta VALUES (1, ?, 'lab', 7, 0, 99, 'a boot', ?, ?)", (EPOCH, START, START + 60 * 10**9)
    )
    connection.execute(
        "INSERT INTO series VALUES (1, 'ACME-1', 'icmp', 'icmp', ?, ?, ?, 6)", (START, START + 5, START + 5)
    )
    counts = (10, 10, 0, 0, 0, 0, 0, 0)
    delay = (10, 120_000_000, 12_000_000, 12_000_000, 12_000_000, 12_000_000, 12_000_000, 0)
    for number in range(ROWS):
        row = (
            1,
            number + 1,
            START + number * 10**10,
            10**10,
            0,
            *counts,
            *delay,
            *(None,) * 12,
            None,
            None,
            None,
            None,
        )
        row = (*row[:33], None, None, None, 0, None, None, 0, None, None, None, "192.0.2.1", None, None, None)
        connection.execute(f"INSERT INTO samples VALUES ({', '.join('?' * len(row))})", row)
    connection.execute("UPDATE series SET last_ns = ?1, newest_ns = ?1", (START + 5 * 10**10,))
    connection.execute("INSERT INTO packets VALUES (1, ?, x'00')", (START,))
    connection.execute("INSERT INTO runs VALUES (1, 'ACME-1', 'tcp', 'tcp', 'ran', ?, ?, NULL)", (START, START))
    connection.execute("INSERT INTO events VALUES (1, 'start', ?, NULL, NULL, NULL, NULL, 'started')", (START,))
    connection.execute("INSERT INTO cursors VALUES ('central', 4)")
    connection.execute("INSERT INTO parked VALUES (1, 'central', 2, ?, 'ping value=1', 'conflict')", (START,))
    connection.execute("COMMIT")
    connection.close()
    (store / "lock").write_text('{"pid": 99, "boot_id": "a boot", "started_ns": 1790000000000000000}')
    (store / "reserve").write_bytes(bytes(1 << 20))
