"""A copy of a store that another agent can go on with, taken beside a running one.

The live database first, as of one instant, then the sealed parts: what leaves the database in between is in a part.
Parts never change but for losing their packets, so a second copy into the same place takes only what is new. What the
store has given up since stays in the copy.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agent.store import schema
from agent.store.directory import held
from agent.store.records import LIVE_FILE
from agent.store.sealed import manifest
from agent.store.sealed.manifest import FOLDER, MANIFEST, UNFINISHED, DamagedSeal, Part
from agent.store.sealed.verification import Finding, check_part
from probes.core.errors import LocalError

PAGES: Final = 4096
"""Copied at once: 16 MiB, between two looks at whether to go on."""
_CHUNK: Final = 1 << 20


@dataclass(slots=True)
class Copied:
    """new: parts copied now; known: parts that were there; findings: parts that are damaged and were not copied."""

    new: int = 0
    known: int = 0
    bytes: int = 0
    findings: list[Finding] = field(default_factory=list)


def backup(store: Path, target: Path, told: Callable[[str], None] = lambda _text: None) -> Copied:
    """Copy the store into the directory; a copy that was there stays whole.

    Raises LocalError, OSError, sqlite3.Error.
    """
    live = store / LIVE_FILE
    if not live.exists():
        raise LocalError(f"there is no store at {store}", hint="name one with --store, or the configuration with -c")
    if target.resolve().is_relative_to(store.resolve()) or held(target):
        raise LocalError(f"{target} is no place for a copy of {store}", hint="name a directory that no agent uses")
    schema.check_file(live)
    (target / FOLDER).mkdir(mode=0o750, parents=True, exist_ok=True)
    copied = Copied()
    copied.bytes += _copy_live(live, target / LIVE_FILE, told)
    for name in manifest.names(store):
        told(name)
        try:
            _copy_part(store, target, manifest.load(store, name), copied)
        except DamagedSeal as damage:
            copied.findings.append(Finding(damage.path, damage.reason))
        except FileNotFoundError:
            if manifest.path_of(store, name).exists():
                raise
    _sync(target / FOLDER)
    _sync(target)
    return copied


def _copy_live(live: Path, target: Path, told: Callable[[str], None]) -> int:
    unfinished = target.with_name(f"{target.name}{UNFINISHED}")
    unfinished.unlink(missing_ok=True)
    try:
        with (
            contextlib.closing(sqlite3.connect(f"{live.absolute().as_uri()}?mode=ro", uri=True, timeout=5.0)) as source,
            contextlib.closing(sqlite3.connect(unfinished)) as copy,
        ):
            source.execute("BEGIN")  # one instant, whatever is written meanwhile
            source.execute("SELECT id FROM meta").fetchone()
            source.backup(copy, pages=PAGES, progress=lambda _status, left, of: told(f"{of - left} of {of} pages"))
            if (found := copy.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                raise LocalError(f"{live} is damaged: {found}", hint="`linkwitness store verify` tells more")
        _sync(unfinished)
        for ending in ("-wal", "-shm"):
            Path(f"{target}{ending}").unlink(missing_ok=True)
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
    return target.stat().st_size


def _copy_part(store: Path, target: Path, part: Part, copied: Copied) -> None:
    place = target / FOLDER / part.name
    with contextlib.suppress(DamagedSeal, FileNotFoundError):
        told_there, told_here = (manifest.path_of(place, part.name).read_bytes() for place in (target, store))
        if told_there == told_here and not check_part(target, part):
            copied.known += 1
            return
    unfinished = place.with_name(f"{part.name}{UNFINISHED}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o750)
    try:
        for file in part.files:
            path = store / FOLDER / part.name / file.name
            if _copy_file(path, unfinished / file.name) != file.sha256:
                raise DamagedSeal(path, "its SHA-256 is not the one it was sealed with")
        shutil.copyfile(store / FOLDER / part.name / MANIFEST, unfinished / MANIFEST)
        _sync(unfinished / MANIFEST)
        _sync(unfinished)
        if place.exists():
            place.rename(place.with_name(f"{part.name}{manifest.RETIRED}"))
        unfinished.rename(place)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.rmtree(place.with_name(f"{part.name}{manifest.RETIRED}"), ignore_errors=True)
    copied.new += 1
    copied.bytes += part.bytes


def _copy_file(source: Path, target: Path) -> str:
    """SHA-256 of what was copied."""
    digest = hashlib.sha256()
    with source.open("rb") as stream, target.open("wb") as copy:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
            copy.write(chunk)
        copy.flush()
        os.fsync(copy.fileno())
    return digest.hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
