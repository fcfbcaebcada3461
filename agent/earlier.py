"""What earlier processes left in the store that this one goes on from. Without a readable store there is nothing."""

import logging
from pathlib import Path

from agent.store import HostSeconds, StoreReader
from probes.core.clock import SECOND
from probes.core.errors import LocalError

log = logging.getLogger(__name__)

DAY_NS = 86_400 * SECOND


def last_runs(store: Path) -> dict[tuple[str, str], int]:
    """(circuit, probe) -> UTC ns of the last run of each flow probe, so that a restart keeps their rhythm."""
    try:
        with StoreReader.open(store) as reader:
            return reader.last_runs()
    except LocalError as error:
        log.error("flow probes begin a new rhythm: %s", error)
        return {}


def last_day(store: Path, now_ns: int) -> HostSeconds:
    """Seconds of this host in the day before now_ns, UTC."""
    try:
        with StoreReader.open(store) as reader:
            return reader.host(now_ns - DAY_NS, now_ns)
    except LocalError:
        return HostSeconds.none()
