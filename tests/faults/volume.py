"""An ext4 file system in an image file, and what a power cut would leave of it.

Nothing but a sync moves data from the page cache to the image (the file system's own commit comes every 300 s), so a
copy of the image holds what had been synced, journal and all: mounting the copy is the start after the cut. What the
model leaves out: a disk that lies about flushes or tears sectors.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SIZE: Final = 24 << 20


def _run(*command: str | Path) -> None:
    subprocess.run([str(word) for word in command], check=True, timeout=60, capture_output=True)


@dataclass(frozen=True, slots=True)
class Volume:
    """A mounted image. `path`: where its files are."""

    image: Path
    path: Path

    @staticmethod
    def create(directory: Path, name: str) -> Volume:
        """An empty file system, mounted below `directory`."""
        image = directory / f"{name}.img"
        with image.open("wb") as file:
            file.truncate(SIZE)
        _run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", image)
        return Volume._mount(image, directory / name)

    @staticmethod
    def _mount(image: Path, path: Path) -> Volume:
        path.mkdir()
        _run("mount", "-o", "loop,commit=300,noatime", image, path)
        return Volume(image, path)

    def after_power_cut(self, name: str) -> Volume:
        """A copy of what is on the disk now, mounted: the journal is replayed. Stop the writers first."""
        copy = self.image.with_name(f"{name}.img")
        _run("cp", "--sparse=always", self.image, copy)
        return Volume._mount(copy, copy.with_suffix(""))

    def remove(self) -> None:
        """Unmount and forget; more than once is fine."""
        if self.path.is_mount():
            _run("umount", "--lazy", self.path)
        shutil.rmtree(self.path, ignore_errors=True)
        self.image.unlink(missing_ok=True)
