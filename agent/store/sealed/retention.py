"""Retention of sealed days: whole files, by age and by bytes.

What leaves first: packets of parts older than `keep_packets`; parts older than `keep_samples` that no sink is owed;
then, where bytes are bounded, packets of the oldest parts, after them the oldest parts that no sink is owed, and last
of all the oldest ones that are. Histograms go with their samples: without them no percentile of a month can be told.
Samples of the live database never leave for bytes.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.store.sealed import manifest
from agent.store.sealed.manifest import FOLDER, PACKETS, RETIRED, Part


@dataclass(frozen=True, slots=True)
class Departure:
    """What one pass has removed: names of parts, and of parts that lost their packets. bytes: freed."""

    parts: tuple[str, ...] = ()
    packets: tuple[str, ...] = ()
    bytes: int = 0


def plan(
    parts: Sequence[Part],
    *,
    packets_before_ns: int,
    samples_before_ns: int,
    keep_bytes: int | None,
    live_bytes: int,
    owed: Collection[str] = (),
) -> tuple[list[Part], list[Part]]:
    """Parts that go, and parts whose packets go. parts: by day and number; owed: names of those a sink lacks. Pure."""
    parts = sorted(parts, key=lambda part: (part.start_ns, part.number))
    gone = [part for part in parts if part.end_ns <= samples_before_ns and part.name not in owed]
    left = [part for part in parts if part not in gone]
    bare = [part for part in left if part.end_ns <= packets_before_ns and part.of(PACKETS)]
    if keep_bytes is None:
        return gone, bare
    excess = live_bytes + sum(part.bytes for part in left) - sum(map(_packet_bytes, bare)) - keep_bytes
    for part in left:
        if excess > 0 and part not in bare and part.of(PACKETS):
            bare.append(part)
            excess -= _packet_bytes(part)
    for part in sorted(left, key=lambda part: part.name in owed):
        if excess > 0:
            gone.append(part)
            excess -= part.bytes - _packet_bytes(part)
    return gone, [part for part in bare if part not in gone]


def retire(store: Path, gone: Sequence[Part], bare: Sequence[Part]) -> Departure:
    """Remove them: no manifest ever speaks of a file that is gone. Raises OSError."""
    finish(store)
    folder = store / FOLDER
    freed = 0
    for part in bare:
        directory = folder / part.name
        kept = tuple(file for file in part.files if file.what != PACKETS)
        manifest.write(directory, dataclasses.replace(part, files=kept))
        for file in part.of(PACKETS):
            (directory / file.name).unlink(missing_ok=True)
        freed += _packet_bytes(part)
    for part in gone:
        (folder / part.name).rename(folder / f"{part.name}{RETIRED}")
        freed += part.bytes
    if gone:
        manifest.sync_folder(folder)
        finish(store)
    return Departure(tuple(part.name for part in gone), tuple(part.name for part in bare), freed)


def finish(store: Path) -> None:
    """Remove what is named as retired, that of a pass that was cut off among it."""
    for path in (store / FOLDER).glob(f"*{RETIRED}"):
        shutil.rmtree(path, ignore_errors=True)


def _packet_bytes(part: Part) -> int:
    return sum(file.bytes for file in part.of(PACKETS))
