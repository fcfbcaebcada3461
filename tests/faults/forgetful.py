"""A disk under a kernel that forgets: what would be on it after a power cut, worked out from the calls of a process.

Linux tells of a failed writeback once, by the sync that comes next, and then calls the pages clean although the disk
has the old ones (https://wiki.postgresql.org/wiki/Fsync_Errors). strace only pretends that a sync fails, so the real
page cache keeps what the real one would have dropped; here the pages are dropped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

CALLS: Final = "openat,pwrite64,ftruncate,fdatasync,fsync,unlink,rename,fallocate"
PAGE: Final = 4096
_CALL: Final = re.compile(r"^\d+ +(\w+)\((.*)\) += +(-?\d+)")
_DESCRIPTOR: Final = re.compile(r"^\d+<(.*?)>(?:\(deleted\))?(?:, |$)")
_STRING: Final = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')

_CUT: Final = re.compile(r'(?<!\?\?\?\( <)unfinished|"\.\.\.')
"""A call that was cut short. `???(` is none: the process was killed on its way into a call that is not known yet."""


def _text(escaped: str) -> bytes:
    return bytes.fromhex(escaped.replace("\\x", ""))


@dataclass
class File:
    """cache: what processes see; disk: pages that a sync has written; dirty: pages written since."""

    cache: bytearray = field(default_factory=bytearray)
    disk: dict[int, bytes] = field(default_factory=dict)
    dirty: set[int] = field(default_factory=set)
    size: int = 0

    def write(self, data: bytes, offset: int) -> None:
        if len(self.cache) < offset:
            self.cache.extend(bytes(offset - len(self.cache)))
        self.cache[offset : offset + len(data)] = data
        self.dirty.update(range(offset // PAGE, -(-(offset + len(data)) // PAGE)))

    def truncate(self, size: int) -> None:
        del self.cache[size:]
        self.cache.extend(bytes(size - len(self.cache)))
        last = -(-size // PAGE)
        self.dirty = {page for page in self.dirty if page < last}
        self.disk = {page: data for page, data in self.disk.items() if page < last}
        self.size = min(self.size, size)

    def sync(self, *, succeeds: bool) -> None:
        if succeeds:
            for page in self.dirty:
                self.disk[page] = bytes(self.cache[page * PAGE : (page + 1) * PAGE])
        self.dirty.clear()
        self.size = len(self.cache)

    def left(self) -> bytes:
        """What the disk holds."""
        found = bytearray(self.size)
        for page, data in self.disk.items():
            found[page * PAGE : page * PAGE + len(data)] = data
        return bytes(found[: self.size])


class Disk:
    """All files of a store by their paths, after the calls in a log of `strace -y -xx`."""

    def __init__(self, log: Path, before: Path | None = None) -> None:
        self.files: dict[str, File] = {}
        self.failed = 0
        for path in before.rglob("*") if before else ():
            if path.is_file():
                file = self.files[str(path)] = File()
                file.write(path.read_bytes(), 0)
                file.sync(succeeds=True)
        for line in log.read_text("ascii").splitlines():
            assert not _CUT.search(line), line[-200:]
            if call := _CALL.match(line):
                self._take(call[1], call[2], int(call[3]), injected="(INJECTED)" in line)

    def _take(self, call: str, arguments: str, result: int, *, injected: bool) -> None:
        strings = [_text(found) for found in _STRING.findall(arguments)]
        if call == "unlink" and result == 0:
            self.files.pop(strings[0].decode(), None)
        elif call == "rename" and result == 0:
            self.files[strings[1].decode()] = self.files.pop(strings[0].decode())
        if (descriptor := _DESCRIPTOR.match(arguments)) is None:
            return
        name = _text(descriptor[1]).decode() if descriptor[1].startswith("\\x") else descriptor[1]
        file = self.files.setdefault(name, File())
        numbers = [int(word) for word in re.findall(r"(?<=, )\d+", arguments)]
        if call == "pwrite64" and result > 0:
            file.write(strings[0][:result], numbers[-1])
        elif call == "ftruncate" and result == 0:
            file.truncate(numbers[-1])
        elif call in ("fdatasync", "fsync"):
            file.sync(succeeds=result == 0)
            self.failed += injected

    def leave(self, store: Path, place: Path) -> None:
        """Put into `place` what the disk holds of the files of `store`."""
        for name, file in self.files.items():
            path = Path(name)
            if path.parent == store and not path.name.endswith("-shm") and path.name != "reserve":
                place.mkdir(exist_ok=True)
                (place / path.name).write_bytes(file.left())
