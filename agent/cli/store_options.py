"""What the commands about the store share: its place, a reader of it, times, and what goes wrong in words."""

from __future__ import annotations

import contextlib
import errno
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.run import DEFAULT_CONFIG
from probes.core.errors import LocalError

if TYPE_CHECKING:
    from agent.config import AgentConfig
    from agent.store import StoreReader

ConfigOption = Annotated[
    Path | None, typer.Option("-c", "--config", help=f"Configuration file; names the store. Default: {DEFAULT_CONFIG}")
]
StoreOption = Annotated[Path | None, typer.Option("--store", help="Directory of the store, instead of a file's.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
IgnoreOption = Annotated[
    bool, typer.Option("--ignore-damaged", help="Read without the sealed days that are damaged, and name them.")
]


def load(config: Path | None) -> AgentConfig:
    """The configuration named, or the default one. Raises LocalError."""
    from agent.config import load as load_file

    return load_file(config or DEFAULT_CONFIG)


def path_of(config: Path | None, store: Path | None) -> Path:
    """Where the store is. Raises LocalError."""
    return store or load(config).store.path


@contextlib.contextmanager
def reading(path: Path, ignore_damaged: bool) -> Iterator[StoreReader]:
    """A reader; at the end what it had to leave out is told on standard error."""
    from agent.store import StoreReader

    with StoreReader.open(path, ignore_damaged=ignore_damaged) as reader:
        yield reader
        for damage in reader.left_out():
            print(f"left out: {damage.message}", file=sys.stderr)


@contextlib.contextmanager
def trouble(path: Path) -> Iterator[None]:
    """What the disk or the database says becomes a LocalError with what to do."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise LocalError(f"{error.filename or path}: {error.strerror or error}", hint=_advice(error)) from None
    except sqlite3.Error as error:
        raise LocalError(f"{path}: {error}", hint="is the disk full, or may this user not write there?") from None


def _advice(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full; nothing half done was left"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "start as a user who may, or name another place"
    return "does the path exist, and is it of the right kind?"


def instant(text: str | None, option: str, otherwise: int) -> int:
    """UTC ns of a date or an RFC 3339 time."""
    from datetime import UTC, datetime, timedelta

    if text is None:
        return otherwise
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("write it like 2026-09-01 or 2026-09-01T12:00:00Z", param_hint=option) from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000
