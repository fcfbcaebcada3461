"""What a store that another process writes has kept so far."""

from pathlib import Path

from agent.store import StoreReader
from probes.core.errors import LocalError


def rows_in(store: Path) -> int:
    """Samples in it; 0 while it is being created."""
    try:
        with StoreReader.open(store) as reader:
            return reader.status().rows
    except LocalError:
        return 0
