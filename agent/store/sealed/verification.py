"""Are the sealed files what they were when they were sealed? Sizes and SHA-256 first, every value decoded if wished."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.store.records import LIVE_FILE
from agent.store.sealed import manifest, packed
from agent.store.sealed.manifest import COLUMNS, FOLDER, SAMPLES, DamagedSeal, Part, SealedFile


@dataclass(frozen=True, slots=True)
class Finding:
    """One file that is not as it should be."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What `verify` has read."""

    parts: int
    files: int
    bytes: int
    rows: int
    findings: tuple[Finding, ...]


def check_part(store: Path, part: Part) -> list[DamagedSeal]:
    """Files of the part whose size or SHA-256 is not that of the manifest."""
    found = []
    for file in part.files:
        try:
            check_file(store / FOLDER / part.name / file.name, file)
        except DamagedSeal as damage:
            found.append(damage)
    return found


def check_file(path: Path, file: SealedFile) -> None:
    """Raises DamagedSeal."""
    try:
        size = path.stat().st_size
        if size != file.bytes:
            raise DamagedSeal(path, f"it has {size} bytes, {file.bytes} were sealed")
        if manifest.digest(path) != file.sha256:
            raise DamagedSeal(path, "its SHA-256 is not the one it was sealed with")
    except PermissionError:
        raise
    except FileNotFoundError:
        raise DamagedSeal(path, "it is missing") from None
    except OSError as error:
        raise DamagedSeal(path, f"it cannot be read: {error.strerror}") from None


def verify(store: Path, told: Callable[[Part], None] = lambda _part: None) -> Verified:
    """Everything that is sealed and the live database's structure. told: called after every part.

    Raises LocalError for a manifest of a newer linkwitness, OSError where the directory cannot be read.
    """
    findings: list[Finding] = []
    parts = files = size = rows = 0
    names = manifest.names(store)
    for name in names:
        try:
            part = manifest.load(store, name)
        except DamagedSeal as damage:
            findings.append(Finding(damage.path, damage.reason))
            continue
        except FileNotFoundError:
            continue
        parts, rows = parts + 1, rows + part.rows
        for file in part.files:
            files, size = files + 1, size + file.bytes
            try:
                _check_whole(store / FOLDER / part.name / file.name, file)
            except DamagedSeal as damage:
                if manifest.path_of(store, name).exists():  # else retention was here
                    findings.append(Finding(damage.path, damage.reason))
        if sum(file.rows for file in part.of(SAMPLES)) != part.rows:
            findings.append(
                Finding(manifest.path_of(store, name), "its files hold another number of rows than it says")
            )
        told(part)
    findings += _live(store)
    return Verified(parts, files, size, rows, tuple(findings))


def _check_whole(path: Path, file: SealedFile) -> None:
    from agent.store.sealed import parquet

    check_file(path, file)
    try:
        rows = packed.rows_of(path.read_bytes()) if file.what == COLUMNS else parquet.count(path)
    except FileNotFoundError:
        raise DamagedSeal(path, "it is missing") from None
    except ValueError as error:
        raise DamagedSeal(path, str(error)) from None
    if rows != file.rows:
        raise DamagedSeal(path, f"it holds {rows} rows, {file.rows} were sealed")


def _live(store: Path) -> list[Finding]:
    path = store / LIVE_FILE
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            found = [row[0] for row in connection.execute("PRAGMA integrity_check(10)")]
    except sqlite3.Error as error:
        found = [str(error)]
    return [Finding(path, str(text).replace("\n", " ")) for text in found if text != "ok"]
