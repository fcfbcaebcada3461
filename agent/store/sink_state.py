"""How the running agent's delivery stands, in a file beside the database: what rows and cursors do not tell.

Not synced and not needed: written anew every few seconds, worth nothing once the agent has ended.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from agent.store.reader import StoreReader

STATE_FILE: Final = "sinks.json"
LARGEST: Final = 1 << 20


def publish(store: Path, document: Mapping[str, object]) -> None:
    """Replace the file; a disk that refuses leaves the old one."""
    unfinished = store / f".{STATE_FILE}"
    with suppress(OSError):
        unfinished.write_text(json.dumps(document), encoding="utf-8")
        unfinished.rename(store / STATE_FILE)


def published(store: Path) -> dict[str, Any]:
    """The file as it is; empty where there is none or it makes no sense."""
    return small_document(store / STATE_FILE, LARGEST) or {}


def small_document(path: Path, limit: int) -> dict[str, Any] | None:
    """The JSON object in a small file; None where there is none. Whatever lies there, it never waits."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            data = os.read(descriptor, limit) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
        finally:
            os.close(descriptor)
        found = json.loads(data)
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def oldest_lacking(reader: StoreReader, sink: str, cursor: int) -> int | None:
    """UTC start of the oldest sample that the sink does not have; no value of a sample is looked at."""
    found = [start for start in (reader.owed_since(sink), reader.start_after(cursor)) if start is not None]
    return min(found, default=None)
