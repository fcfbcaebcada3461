"""The first page of the live database, read without SQLite: opening a file in WAL mode already writes beside it.

Layout: https://www.sqlite.org/fileformat2.html sections 1.3 (header of the database) and 4.1 (the log). Newest first:
the page of the last commit in the log, else that of the database. Bytes of the header that are read:

    0  16  "SQLite format 3\\0"
    60  4  user_version, big-endian: the version of the store's tables
    68  4  application_id
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_MAGIC: Final = b"SQLite format 3\0"
_HEADER: Final = 100
_LOG_MAGIC: Final = (0x377F0682, 0x377F0683)
_LOG_HEADER: Final = struct.Struct(">IIIIIIII")
_FRAME_HEADER: Final = struct.Struct(">IIIIII")
_FRAMES: Final = 1 << 18
"""Frames of the log looked at: 1 GiB. The agent keeps it at 64 MiB."""


@dataclass(frozen=True, slots=True)
class Header:
    """What the first page says."""

    version: int
    application: int


def read(path: Path) -> Header | None:
    """The header as SQLite would see it; None where there is no file, or none that is a database. Raises OSError."""
    try:
        if not path.is_file():  # to open a pipe would wait for somebody who writes
            return None
        with path.open("rb", buffering=0) as file:
            page = file.read(_HEADER)
    except FileNotFoundError:
        return None
    if len(page) < _HEADER or not page.startswith(_MAGIC):
        return None
    newer = _first_page_in_log(path.with_name(f"{path.name}-wal"))
    page = newer if newer is not None and newer.startswith(_MAGIC) else page
    return Header(*(int.from_bytes(page[at : at + 4], "big") for at in (60, 68)))


def _first_page_in_log(path: Path) -> bytes | None:
    """The first page as the last commit in the log left it. Frames of an earlier use of the log have another salt."""
    try:
        if not path.is_file():
            return None
        descriptor = os.open(path, os.O_RDONLY)
    except (FileNotFoundError, PermissionError):
        return None
    try:
        header = os.pread(descriptor, _LOG_HEADER.size, 0)
        if len(header) < _LOG_HEADER.size:
            return None
        magic, _format, size, _number, *salt, _sum, _sum2 = _LOG_HEADER.unpack(header)
        if magic not in _LOG_MAGIC or not 512 <= size <= 65_536:
            return None
        found: int | None = None
        committed: int | None = None
        at = _LOG_HEADER.size
        for _ in range(_FRAMES):
            frame = os.pread(descriptor, _FRAME_HEADER.size, at)
            if len(frame) < _FRAME_HEADER.size:
                break
            page, pages, *own, _sum, _sum2 = _FRAME_HEADER.unpack(frame)
            if own != salt:
                break
            found = at + _FRAME_HEADER.size if page == 1 else found
            committed = found if pages else committed
            at += _FRAME_HEADER.size + size
        return None if committed is None else os.pread(descriptor, _HEADER, committed)
    finally:
        os.close(descriptor)
