"""A store as version 2 wrote it: what it has beside version 1 frozen here, written without our own code."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from tests.fakes import store_of_version_1
from tests.fakes.store_of_version_1 import EPOCH, START

ADDED: Final = (
    "ALTER TABLE meta ADD COLUMN boot_ns INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE meta ADD COLUMN commits INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE meta ADD COLUMN checkpointed INTEGER NOT NULL DEFAULT 0",
    """CREATE TABLE epochs(
        first_seq INTEGER PRIMARY KEY, epoch TEXT NOT NULL, at_ns INTEGER NOT NULL, machine TEXT NOT NULL,
        branch TEXT)""",
    """CREATE TABLE owed(
        sink TEXT NOT NULL, part TEXT NOT NULL, after_seq INTEGER NOT NULL, next_row INTEGER NOT NULL,
        rows INTEGER NOT NULL, PRIMARY KEY (sink, part)) WITHOUT ROWID""",
)


def write(store: Path) -> None:
    """The samples of version 1 in the tables of version 2."""
    store_of_version_1.write(store)
    with closing(sqlite3.connect(store / "live.sqlite", isolation_level=None)) as connection:
        connection.execute("BEGIN")
        for statement in ADDED:
            connection.execute(statement)
        connection.execute("UPDATE meta SET commits = 3")
        connection.execute("INSERT INTO epochs VALUES (1, ?, ?, '', NULL)", (EPOCH, START))
        connection.execute("PRAGMA user_version = 2")
        connection.execute("COMMIT")
