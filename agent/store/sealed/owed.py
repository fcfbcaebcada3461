"""The sealed file a sink is being sent from, decoded once for all the batches that it fills."""

from __future__ import annotations

from pathlib import Path

from agent.store.samplebatch import SampleBatch


class OwedFile:
    """Holds one file. A sealed file never changes while it has its name."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._batch: SampleBatch | None = None

    def get(self, path: Path) -> SampleBatch | None:
        """Every sample of the file, if it is the one held."""
        return self._batch if self._path == path else None

    def put(self, path: Path, batch: SampleBatch) -> SampleBatch:
        """Hold this file instead."""
        self._path, self._batch = path, batch
        return batch
