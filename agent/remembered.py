"""What the store knows of the time before: when probes ran last, which paths they found, how this host was."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from agent.store import HostSeconds, StoreReader
from probes.core.clock import SECOND
from probes.core.errors import LocalError
from probes.core.model import Sample

log = logging.getLogger(__name__)

Key = tuple[str, str]
"""(circuit, probe)"""
DAY_NS = 86_400 * SECOND


def last_runs(store: Path) -> dict[Key, int]:
    """UTC ns of the last run of each flow probe; none where the store cannot be read."""
    try:
        with StoreReader.open(store) as reader:
            return reader.last_runs()
    except LocalError as error:
        log.error("flow probes begin a new rhythm: %s", error)
        return {}


def last_day(store: Path, now_ns: int) -> HostSeconds:
    """Seconds of this host in the day before now_ns, UTC; none where the store cannot be read."""
    try:
        with StoreReader.open(store) as reader:
            return reader.host(now_ns - DAY_NS, now_ns)
    except LocalError as error:
        log.error("the share of time in which this host was unfit begins anew: %s", error)
        return HostSeconds.none()


def last_paths(store: Path, keys: Iterable[Key]) -> dict[Key, Sample]:
    """The newest sample with a path of each of these probes; none where the store cannot be read."""
    wanted = set(keys)
    try:
        with StoreReader.open(store) as reader:
            return {key: item for item in reader.last_paths() if (key := (item.circuit, item.probe)) in wanted}
    except LocalError as error:
        log.error("paths are not compared with those before the start: %s", error)
        return {}
