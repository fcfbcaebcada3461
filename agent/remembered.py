"""What the store knows of the time before: when probes ran last, and which paths they found."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from agent.store import StoreReader
from probes.core.errors import LocalError
from probes.core.model import Sample

log = logging.getLogger(__name__)

Key = tuple[str, str]
"""(circuit, probe)"""

_FAILED_RUNS: Final = 1000
"""Samples of a probe that are looked through where its newest one has no path."""
_BACK_NS: Final = 7 * 86_400 * 10**9


def last_runs(store: Path) -> dict[Key, int]:
    """UTC ns of the last run of each flow probe; none where the store cannot be read."""
    try:
        with StoreReader.open(store) as reader:
            return reader.last_runs()
    except LocalError as error:
        log.error("flow probes begin a new rhythm: %s", error)
        return {}


def last_paths(store: Path, keys: Iterable[Key]) -> dict[Key, Sample]:
    """The newest sample with a path of each of these probes, as far as there is one of the last week before it."""
    wanted = set(keys)
    try:
        with StoreReader.open(store) as reader:
            newest = {key: item for item in reader.latest() if (key := (item.circuit, item.probe)) in wanted}
            return {key: found for key, item in newest.items() if (found := _with_path(reader, item)) is not None}
    except LocalError as error:
        log.error("paths are not compared with those before the start: %s", error)
        return {}


def _with_path(reader: StoreReader, newest: Sample) -> Sample | None:
    """The sample itself, or the newest one before it that has a path."""
    if newest.path is not None:
        return newest
    before = reader.samples(
        newest.circuit, newest.probe, newest.start_ns - _BACK_NS, newest.start_ns, _FAILED_RUNS
    )  # fmt: skip
    return next((item.sample for item in reversed(before) if item.sample.path is not None), None)
