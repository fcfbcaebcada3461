"""Who keeps this store: epochs, the machine, and what beside the database tells that it is not the one left here.

An epoch is 64 random bits, new at every start: a store that was restored, copied or cloned goes on under another epoch
even where nothing tells that it was. So (epoch, seq) never names two samples. See docs/decisions/0006-identity.md.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from agent.store.sealed import manifest
from agent.store.sealed.manifest import DamagedSeal
from probes.core.clock import SECOND

Epochs = Sequence[tuple[int, str]]
"""(first seq, epoch) in ascending order: which epoch the samples from that seq on belong to."""

TOUCHED_NS: Final = 60 * SECOND
"""A database changed so long after its last commit was not changed by its keeper."""
_MACHINE_ID: Final = Path("/etc/machine-id")
_DEVICES: Final = Path("/sys/class/net")
_ADDRESSES: Final = 16
_RECORD: Final = 1024
_LOG_HEADER: Final = 32
_HIGHEST: Final = 1 << 56
"""Seqs beyond it come from damage, not from keeping samples."""


def fresh_epoch() -> str:
    """64 random bits in hexadecimal."""
    return secrets.token_hex(8)


def epochs_of(connection: sqlite3.Connection) -> list[tuple[int, str]]:
    """First seq and epoch, ascending, of a live database."""
    return connection.execute("SELECT first_seq, epoch FROM epochs ORDER BY first_seq").fetchall()


def shared_through(ours: Epochs, theirs: Epochs, through_seq: int) -> int:
    """The greatest seq up to which a sample of theirs with the same seq is the same sample as ours; 0 if none is.

    theirs: epochs of a sealed part, whose samples go up to through_seq. Two histories that have an epoch in common are
    the same up to the end of the newest such epoch, because only one of them can have gone on within it.
    """
    ends = _ends(ours)
    end = through_seq
    for first, epoch in reversed(theirs):
        if epoch in ends:
            return min(end, ends[epoch])
        end = min(end, first - 1)
    return 0


def _ends(epochs: Epochs) -> dict[str, int]:
    following = [first - 1 for first, _ in epochs[1:]]
    return {epoch: end for (_, epoch), end in zip(epochs, [*following, (1 << 63) - 1], strict=True)}


def within(epochs: Epochs, first_seq: int, through_seq: int) -> tuple[tuple[int, str], ...]:
    """The epochs that samples from first_seq to through_seq belong to."""
    begun = [item for item in epochs if item[0] <= first_seq][-1:]
    return (*begun, *((first, epoch) for first, epoch in epochs if first_seq < first <= through_seq))


def this_machine(machine_id: Path = _MACHINE_ID, devices: Path = _DEVICES) -> str:
    """What tells this machine from others: its machine-id and the addresses of its network devices, as one text."""
    number = ""
    with contextlib.suppress(OSError):
        number = machine_id.read_text(encoding="ascii", errors="replace").strip()
    addresses = set()
    with contextlib.suppress(OSError):
        for device in devices.iterdir():
            with contextlib.suppress(OSError):
                if (device / "device").exists():  # made by hardware, not by software that makes a new one every time
                    addresses.add((device / "address").read_text(encoding="ascii").strip())
    return f"{number};{','.join(sorted(addresses)[:_ADDRESSES])}"


def same_machine(one: str, other: str) -> bool:
    """Whether two texts of this_machine can be of one machine. What is not known tells nothing."""
    (one_id, _, ones), (other_id, _, others) = one.partition(";"), other.partition(";")
    if one_id and other_id and one_id != other_id:
        return False
    return not (ones and others) or not set(ones.split(",")).isdisjoint(others.split(","))


@dataclass(frozen=True, slots=True)
class Witness:
    """What the lock file remembers of the database: how far it had got, which file it was, who wrote it."""

    newest_seq: int = 0
    device: int = 0
    inode: int = 0
    changed_ns: int = 0
    machine: str = ""
    branch: str | None = None
    site: str = ""

    @staticmethod
    def decode(record: Mapping[str, Any]) -> Witness:
        """Inverse of asdict; knows nothing where the record does not say."""
        try:
            found = Witness(**record["witness"])
            numbers = (found.newest_seq, found.device, found.inode, found.changed_ns)
            texts = (found.machine, found.site, found.branch or "")
        except (KeyError, TypeError, ValueError):
            return Witness()
        whole = all(type(number) is int for number in numbers) and all(type(text) is str for text in texts)
        return found if whole and 0 <= found.newest_seq <= _HIGHEST else Witness()

    def seeing(self, live: Path, newest_seq: int) -> Witness:
        """The same with the database as it is now. Raises OSError."""
        found = live.stat()
        return replace(
            self, newest_seq=max(newest_seq, self.newest_seq), device=found.st_dev, inode=found.st_ino,
            changed_ns=found.st_ctime_ns,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the directory tells beside the database. replaced: the database is not the file that was last written."""

    newest_seq: int
    replaced: bool
    missing: bool
    """there is no database although there was one"""


def gather(store: Path, live: Path, witness: Witness) -> Evidence:
    """Look at the file, the lock file's witness and, where these differ, at what is sealed.

    Raises LocalError for a sealed day of a newer linkwitness, OSError where the disk refuses.
    """
    try:
        found = live.stat()
    except FileNotFoundError:
        found = None
    if found is None or not found.st_size:
        newest = max(witness.newest_seq, _sealed_seq(store))
        return Evidence(newest, False, newest > 0)
    same = (found.st_dev, found.st_ino) == (witness.device, witness.inode)
    replaced = bool(witness.inode) and not (same and found.st_ctime_ns <= witness.changed_ns + TOUCHED_NS)
    if same and not replaced:
        return Evidence(witness.newest_seq, False, False)
    return Evidence(max(witness.newest_seq, _sealed_seq(store)), replaced, False)


def _sealed_seq(store: Path) -> int:
    newest = 0
    for name in manifest.names(store):
        with contextlib.suppress(DamagedSeal, OSError):
            newest = max(newest, manifest.load(store, name).through_seq)
    return min(newest, _HIGHEST)


@dataclass(frozen=True, slots=True)
class Left:
    """What the database says of the session that wrote it last; of a fresh one, what the lock file says."""

    newest_seq: int
    machine: str
    branch: str | None
    site: str
    furthest_cursor: int


@dataclass(frozen=True, slots=True)
class Origin:
    """How this session continues the store. reason: None where it is the one that was left here, else one of
    RESTORED, COPIED, MOVED, MISSING; text: for people. branch: what marks this machine's samples in the sinks.
    """

    next_seq: int
    branch: str | None
    reason: str | None = None
    text: str = ""


RESTORED: Final = "restored"
COPIED: Final = "copied"
MOVED: Final = "moved"
MISSING: Final = "missing"


def judge(left: Left, evidence: Evidence, machine: str, site: str, epoch: str) -> Origin:
    """Compare what the database says of itself with what is known beside it. Pure."""
    if evidence.missing:
        text = (
            f"there was no database although sample {evidence.newest_seq} is known: a fresh one was started, sample "
            f"{evidence.newest_seq + 1} is the next; sealed days are where they were"
        )
        return Origin(evidence.newest_seq + 1, left.branch if left.site == site else None, MISSING, text)
    known = max(evidence.newest_seq, left.furthest_cursor)
    next_seq = max(left.newest_seq, known) + 1
    branch = left.branch if left.site == site else None
    if left.machine and not same_machine(left.machine, machine):
        if left.site == site:
            branch = epoch[:8]
        text = "the store was last written on another machine: it was moved or cloned"
        if branch:
            text += (
                f"; samples from here on carry the tag branch={branch} in the sinks, so that two agents of one site "
                "overwrite nothing there (a `site` of its own ends that)"
            )
        return Origin(next_seq, branch, MOVED, text)
    if known > left.newest_seq:
        text = (
            f"the database is older than what is known beside it: it ends at sample {left.newest_seq}, "
            f"{known} is known; it was restored from a backup, and sample {next_seq} is the next"
        )
        return Origin(next_seq, branch, RESTORED, text)
    if evidence.replaced:
        text = (
            "the database is not the file that was last written here: it was restored, copied, or its owner was "
            "changed; the samples that follow have an epoch of their own"
        )
        return Origin(next_seq, branch, COPIED, text)
    return Origin(next_seq, branch)


def record(owner: Mapping[str, object], witness: Witness) -> bytes:
    """The lock file's content: JSON, padded so that it is replaced in one write."""
    return json.dumps({**owner, "witness": asdict(witness)}).encode("ascii").ljust(_RECORD)


def log_fits(live: Path) -> bool:
    """Whether the log beside the database continues it. Where a database was restored without its log, the one that
    was left there would be laid over pages it does not know. Only looked at read-only: nothing is moved or merged.
    """
    log = live.with_name(f"{live.name}-wal")
    try:
        if not live.exists() or log.stat().st_size <= _LOG_HEADER:
            return True
        uri = f"{live.absolute().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as merged:
            checkpointed = merged.execute("SELECT checkpointed FROM meta").fetchone()
        with contextlib.closing(sqlite3.connect(f"{uri}&immutable=1", uri=True)) as alone:
            commits = alone.execute("SELECT commits FROM meta").fetchone()
    except (sqlite3.Error, OSError):
        return True
    return not checkpointed or not commits or commits[0] >= checkpointed[0]


def changed_since(live: Path, device: int, inode: int) -> bool:
    """Whether another file, or none, stands under the name of the database that is open. Raises no OSError."""
    try:
        found = live.stat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return (found.st_dev, found.st_ino) != (device, inode)
