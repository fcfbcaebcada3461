"""DuckDB, to write and to read Parquet: the only module that imports it. Its first use costs 0.2 s and 40 MB."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np

from agent.sla.samples.histograms import AnyInt
from agent.store.sealed.manifest import DamagedSeal
from probes.core.arrays import ABSENT, Int64
from probes.core.errors import LocalError

ROW_GROUP: Final = 10_240
"""Rows: a multiple of DuckDB's vector of 2,048 that holds a day of a stream at 10 s: little beside it is read."""
DICTIONARY: Final = 2_048
"""Different values in a row group beyond which a column is written as differences: times of histograms above all."""
_CONFIG: Final[dict[str, str | bool | int | float | list[str]]] = {
    "threads": "2",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "temp_directory": "",
    "memory_limit": "256MB",
    "enable_external_file_cache": "false",
}
"""Files are not kept in memory: the kernel does that, and the agent stays small however much is sealed."""

NOTHING: Final[Mapping[str, str]] = {}

Columns = Mapping[str, np.ndarray[Any, Any]]

_lock = threading.Lock()


@cache
def _connection() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(":memory:", config=_CONFIG)


def write(path: Path, columns: Columns, select: Mapping[str, str], row_group: int = ROW_GROUP) -> None:
    """Write one Parquet file (zstd, version 2), rows in the order given. Raises OSError where the disk refuses.

    select: name of each column of the file -> SQL expression over the arrays in `columns`.
    """
    wanted = ", ".join(f"{expression} AS {name}" for name, expression in select.items())
    with _lock, contextlib.closing(_connection().cursor()) as cursor:
        cursor.register("batch", dict(columns))
        try:
            cursor.execute(
                f"COPY (SELECT {wanted} FROM batch) TO '{_quoted(path)}' "
                f"(FORMAT parquet, COMPRESSION zstd, PARQUET_VERSION V2, ROW_GROUP_SIZE {row_group}, "
                f"DICTIONARY_SIZE_LIMIT {DICTIONARY})"
            )
        except duckdb.Error as error:
            raise OSError(str(error)) from None


def join(parts: Sequence[Path], path: Path) -> None:
    """Write the rows of all parts, in their order, into one file. Raises OSError where the disk refuses.

    One thread, which holds one row group: several would each hold their own until their turn comes.
    """
    with contextlib.closing(
        duckdb.connect(":memory:", config=_CONFIG | {"threads": "1", "memory_limit": "64MB"})
    ) as alone:
        try:
            alone.execute(
                f"COPY (SELECT * FROM read_parquet(?)) TO '{_quoted(path)}' "
                f"(FORMAT parquet, COMPRESSION zstd, PARQUET_VERSION V2, ROW_GROUP_SIZE {4 * ROW_GROUP})",
                [_texts(parts)],
            )
        except duckdb.Error as error:
            raise OSError(str(error)) from None


def coded(texts: Sequence[str], code: str) -> str:
    """SQL expression for the text that an integer column names, counted from 1; NULL for 0."""
    return f"list_extract({_list(texts)}, {code})"


def code_of(texts: Sequence[str], column: str) -> str:
    """Inverse of coded; 0 for NULL, -1 for a text that is not in the list."""
    return f"CASE WHEN {column} IS NULL THEN 0 ELSE coalesce(list_position({_list(texts)}, {column}), -1) END"


def _list(texts: Sequence[str]) -> str:
    octets = (f"decode('{_hex(text)}'::BLOB)" for text in texts)
    return f"[{', '.join(octets)}]::VARCHAR[]"


def integers(
    files: Sequence[Path],
    names: Sequence[str],
    where: str,
    values: Sequence[object],
    narrow: Mapping[str, str] = NOTHING,
    room: int = 0,
) -> list[Int64]:
    """The named columns as int64, ABSENT for NULL, in the order of the files. Raises DamagedSeal, FileNotFoundError.

    narrow: SQL types that values of these columns fit in almost always: less memory to be handed over. Where one does
    not, all is read again in full width. room: rows to leave at the end of each, of any value.
    """
    found = _columns(files, names, where, values, narrow)[::-1]
    return [_filled(found.pop(), room) for _ in names]  # what has been taken over is freed at once


def unsigned(files: Sequence[Path], names: Sequence[str], where: str, values: Sequence[object]) -> list[AnyInt]:
    """The named columns, without NULL and never negative, as uint16; as int64 where one of them does not fit."""
    found: list[AnyInt] = _columns(files, names, where, values, dict.fromkeys(names, "USMALLINT"))
    return found


def _columns(
    files: Sequence[Path], names: Sequence[str], where: str, values: Sequence[object], narrow: Mapping[str, str]
) -> list[Any]:
    numbered = [f"({name})::{narrow.get(name, 'BIGINT')} AS c{at}" for at, name in enumerate(names)]
    try:
        found = _execute(files, _select(numbered, where), [_texts(files), *values], "fetchnumpy", retry=bool(narrow))
    except _TooWideError:
        return _columns(files, names, where, values, NOTHING)
    return [found[f"c{at}"] for at in range(len(names))]


def rows(files: Sequence[Path], names: Sequence[str], where: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
    """The named columns as tuples of Python objects. Raises as integers."""
    found: list[tuple[Any, ...]] = _execute(files, _select(names, where), [_texts(files), *values], "fetchall")
    return found


def count(file: Path) -> int:
    """Rows of a file, after every value has been decoded once. Raises as integers."""
    names = [row[0] for row in _execute([file], "DESCRIBE SELECT * FROM read_parquet(?)", [str(file)], "fetchall")]
    hashed = ", ".join(f"bit_xor(hash({name}))" for name in names)
    found = _execute([file], f"SELECT count(*), {hashed} FROM read_parquet(?)", [str(file)], "fetchone")
    return int(found[0])


def _select(names: Sequence[str], where: str) -> str:
    return f"SELECT {', '.join(names)} FROM read_parquet(?) WHERE {where}"


def _texts(files: Sequence[Path]) -> list[str]:
    return [str(file) for file in files]


class _TooWideError(Exception):
    """A value does not fit the narrow type."""


def _execute(files: Sequence[Path], statement: str, values: Sequence[object], how: str, *, retry: bool = False) -> Any:
    """retry: raise _TooWideError where a cast fails."""
    with _lock, contextlib.closing(_connection().cursor()) as cursor:
        try:
            return getattr(cursor.execute(statement, values), how)()
        except duckdb.ConversionException as error:
            if retry:
                raise _TooWideError from None
            reason = str(error).partition("\n")[0]
        except duckdb.Error as error:
            reason = str(error).partition("\n")[0]
    raise _culprit(files, reason)


def _culprit(files: Sequence[Path], reason: str) -> Exception:
    """The file that made a query fail: one that is gone, or else the first that cannot be read by itself."""
    for file in files:
        if not file.exists():
            return FileNotFoundError(2, "sealed file is missing", str(file))
    if len(files) > 1:
        for file in files:
            try:
                count(file)
            except (DamagedSeal, FileNotFoundError) as error:
                return error
        return LocalError(f"sealed days cannot be read: {reason}")
    return DamagedSeal(files[0], reason)


def _filled(values: Any, room: int) -> Int64:
    if not room and not isinstance(values, np.ma.MaskedArray):
        whole: Int64 = np.asarray(values, np.int64)
        return whole
    found = np.empty(len(values) + room, np.int64)
    held = found[: len(values)]
    held[:] = np.ma.getdata(values)
    if isinstance(values, np.ma.MaskedArray):
        held[np.ma.getmaskarray(values)] = ABSENT
    return found


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _hex(text: str) -> str:
    return "".join(f"\\x{octet:02x}" for octet in text.encode("utf-8"))
