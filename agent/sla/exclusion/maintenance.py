"""What a ledger of maintenance says: notices and entries by hand, confirmed, rejected, called off, moved. Pure.

Each work has versions. A version is an exclusion with a notice of its own: moving a window calls the old version off
and adds a new one that is as good as the notice it came with. What the new window still holds of an old one that was
to be at that time, or is going on, stays announced: work that is extended keeps its first end, shortened work ends
with the new one. Confirmations are of one version; the next has to be confirmed again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from agent.sla.terms.excluded import Exclusion, ExclusionKind
from probes.core.errors import LocalError

NO_IMPACT: Final = "NO-IMPACT"
IMPACTS: Final = (NO_IMPACT, "REDUCED-REDUNDANCY", "DEGRADED", "OUTAGE")
STATES: Final = ("TENTATIVE", "CONFIRMED", "CANCELLED", "IN-PROCESS", "COMPLETED", "RESCHEDULED")

Weight = Literal["new", "later", "known"]


class MaintenanceError(LocalError):
    """An entry that does not follow from those before it."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One event of a notice as the provider sent it (BCOP X-MAINTNOTE). UTC ns.

    objects: what is affected, each with its own impact. stamped_ns: when it was issued (DTSTAMP). A later sequence
    replaces an earlier one, and of the same sequence a later stamp.
    """

    provider: str
    maintenance: str
    status: str
    start_ns: int
    end_ns: int
    impact: str
    objects: tuple[tuple[str, str], ...]
    sequence: int
    stamped_ns: int
    uid: str
    account: str = ""
    summary: str = ""

    @property
    def key(self) -> tuple[str, str]:
        return self.provider.casefold(), self.maintenance

    def values(self) -> dict[str, Any]:
        """For the ledger."""
        return {
            "provider": self.provider, "maintenance": self.maintenance, "status": self.status,
            "start_ns": self.start_ns, "end_ns": self.end_ns, "impact": self.impact,
            "objects": [list(pair) for pair in self.objects], "sequence": self.sequence,
            "stamped_ns": self.stamped_ns, "uid": self.uid, "account": self.account, "summary": self.summary,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Deed:
    """One line of the ledger about a work, for people."""

    at_ns: int
    by: str
    words: str


@dataclass(slots=True)
class Work:
    """One maintenance. contract: the only one it is for, None where its circuits say it. notice: the newest."""

    id: str
    versions: list[Exclusion]
    contract: str | None = None
    notice: Notice | None = None
    history: list[Deed] = field(default_factory=list)

    @property
    def newest(self) -> Exclusion:
        return self.versions[-1]


@dataclass(slots=True)
class Book:
    """Every work of a ledger by its id, in the order of the ledger."""

    works: dict[str, Work] = field(default_factory=dict)
    by_key: dict[tuple[str, str], str] = field(default_factory=dict)

    def exclusions(self, contract: str) -> tuple[Exclusion, ...]:
        """All versions that may bear on a contract: those for it alone, and those that name circuits."""
        return tuple(
            version
            for work in self.works.values()
            if work.contract in (None, contract)
            for version in work.versions
            if version.circuits or work.contract == contract
        )

    def work_of(self, notice: Notice) -> Work | None:
        """The work a notice is about."""
        return self.works.get(self.by_key.get(notice.key, ""))

    def find(self, name: str) -> tuple[Work, int]:
        """A work by its id, or one of its versions by its own: the work and the version's place.

        Raises MaintenanceError.
        """
        if name in self.works:
            return self.works[name], len(self.works[name].versions) - 1
        for work in self.works.values():
            for place, version in enumerate(work.versions):
                if version.id == name:
                    return work, place
        known = ", ".join(list(self.works)[-5:]) or "none"
        raise MaintenanceError(f"there is no maintenance {name}", hint=f"the newest are: {known}")

    def weigh(self, notice: Notice) -> Weight:
        """Whether a notice says something new. Raises MaintenanceError for one that is older than what is known."""
        work = self.work_of(notice)
        before = None if work is None else work.notice
        if before is None:
            return "new"
        if replace(notice, uid=before.uid, stamped_ns=before.stamped_ns) == before:
            return "known"
        rank, known = (notice.sequence, notice.stamped_ns), (before.sequence, before.stamped_ns)
        if rank > known:
            return "later"
        if rank == known:
            what = f"contradicts what is known under the same sequence {before.sequence} and time stamp"
        else:
            what = f"has sequence {notice.sequence}, and {before.sequence} is known already"
            if notice.sequence == before.sequence:
                what = f"has sequence {notice.sequence} as what is known, and an earlier time stamp"
        hint = "it is not taken; cancel or move the maintenance by hand if the notice is right"
        raise MaintenanceError(f"the notice on {notice.maintenance} of {notice.provider} {what}", hint=hint)

    def take(self, content: Mapping[str, Any], *, at_ns: int, by: str) -> None:
        """One more entry of the ledger. Raises MaintenanceError for one that cannot follow."""
        deed = content.get("do")
        act = _DEEDS.get(deed) if isinstance(deed, str) else None
        if act is None:
            raise MaintenanceError(f"{deed!r} is nothing that is done to a maintenance")
        try:
            work, words = act(self, content, at_ns, by)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise MaintenanceError(f"the entry `{deed}` lacks something: {type(error).__name__} {error}") from None
        work.history.append(Deed(at_ns, by, words))


def _noticed(book: Book, content: Mapping[str, Any], at_ns: int, by: str) -> tuple[Work, str]:  # noqa: ARG001
    notice = notice_of(content["notice"])
    version = Exclusion(
        str(content["id"]), notice.start_ns, notice.end_ns, str(content["reason"]), at_ns,
        circuits=tuple(str(name) for name in content["circuits"]), kind=ExclusionKind(content["kind"]),
        notified_ns=int(content["received_ns"]), evidence=str(content["evidence"]), source="notice", proposed=True,
        impact=notice.impact,
    )  # fmt: skip
    weight, work = book.weigh(notice), book.work_of(notice)
    words = f"notice {notice.sequence}, {notice.status.lower()}"
    if work is None:
        if version.id in book.works:
            raise MaintenanceError(f"there is a maintenance {version.id} already")
        if notice.status in ("CANCELLED", "RESCHEDULED"):
            version = replace(version, cancelled_ns=version.start_ns, remark="called off by its only notice")
        work = book.works[version.id] = Work(version.id, [version], notice=notice)
        book.by_key[notice.key] = version.id
        return work, words
    if weight == "known":
        return work, f"{words}, nothing new"
    work.notice = notice
    return work, words + _revised(work, version, notice.status)


def _revised(work: Work, version: Exclusion, status: str) -> str:
    """What a later notice does to the newest version."""
    old = work.newest
    at_ns = version.notified_ns if version.notified_ns is not None else version.entered_ns
    same = (old.start_ns, old.end_ns, old.impact, old.circuits) == (
        version.start_ns, version.end_ns, version.impact, version.circuits,
    )  # fmt: skip
    if status == "CANCELLED" or (status == "RESCHEDULED" and same):
        words = "called off by the provider" if status == "CANCELLED" else "rescheduled to a time that is not told"
        work.versions[-1] = _called_off(old, at_ns, words)
        return f": {words}"
    if same and old.cancelled_ns is None:
        return ": same time, same circuits"
    _follow(work, version, at_ns)
    return f": {work.newest.id} takes the place of {old.id}"


def _follow(work: Work, version: Exclusion, at_ns: int) -> None:
    """A new version after the newest, which keeps of its time what the new one still holds (module docstring)."""
    old = work.newest
    following = replace(version, id=f"{work.id}.{len(work.versions) + 1}", remark=f"instead of {old.id}")
    words = f"moved to {following.id}"
    holds = (
        version.start_ns <= max(at_ns, old.start_ns) < version.end_ns
        and set(version.circuits) >= set(old.circuits)
        and (version.impact != NO_IMPACT or old.impact == NO_IMPACT)
        and old.cancelled_ns is None
    )
    if not holds:
        work.versions[-1] = _called_off(old, at_ns, words)
    elif version.end_ns < old.end_ns:
        work.versions[-1] = _called_off(old, version.end_ns, words)
    else:
        work.versions[-1] = replace(old, remark=f"extended by {following.id}")
    work.versions.append(following)


def _called_off(version: Exclusion, at_ns: int, words: str) -> Exclusion:
    before = version.cancelled_ns
    return replace(version, cancelled_ns=at_ns if before is None else min(before, at_ns), remark=words)


def _added(book: Book, content: Mapping[str, Any], at_ns: int, by: str) -> tuple[Work, str]:  # noqa: ARG001
    version = Exclusion(
        str(content["id"]), int(content["start_ns"]), int(content["end_ns"]), str(content["reason"]), at_ns,
        circuits=tuple(str(name) for name in content["circuits"]), kind=ExclusionKind(content["kind"]),
        notified_ns=_optional(content["notified_ns"]), evidence=str(content["evidence"]), source="entry",
    )  # fmt: skip
    contract = content.get("contract")
    if version.id in book.works:
        raise MaintenanceError(f"there is a maintenance {version.id} already", hint="move it, or give another --id")
    if version.end_ns <= version.start_ns:
        raise MaintenanceError("it ends no later than it starts")
    if not version.circuits and contract is None:
        raise MaintenanceError("it is for no circuit and no contract", hint="name --circuit or --contract")
    work = book.works[version.id] = Work(version.id, [version], None if contract is None else str(contract))
    return work, "entered by hand"


def _confirmed(book: Book, content: Mapping[str, Any], at_ns: int, by: str) -> tuple[Work, str]:
    work, place = _meant(book, content)
    role = str(content.get("role") or "")
    work.versions[place] = replace(
        work.versions[place], confirmed_by=by, confirmed_role=role, confirmed_ns=at_ns, rejected="", rejected_ns=None
    )
    said = f" for the {role.replace('_', ' ')}" if role else ""
    return work, f"{work.versions[place].id} confirmed{said}{_told(content)}"


def _rejected(book: Book, content: Mapping[str, Any], at_ns: int, by: str) -> tuple[Work, str]:
    work, place = _meant(book, content)
    reason = str(content.get("reason") or "")
    work.versions[place] = replace(
        work.versions[place], rejected=f"by {by}" + (f": {reason}" if reason else ""), rejected_ns=at_ns,
        confirmed_by="", confirmed_role="", confirmed_ns=None,
    )  # fmt: skip
    return work, f"{work.versions[place].id} rejected" + (f": {reason}" if reason else "")


def _cancelled(book: Book, content: Mapping[str, Any], at_ns: int, by: str) -> tuple[Work, str]:
    work, place = _meant(book, content)
    when = _optional(content.get("cancelled_ns"))
    when = at_ns if when is None else when
    if when > at_ns:
        raise MaintenanceError("it cannot have been called off later than now", hint="enter it when it happens")
    work.versions[place] = _called_off(work.versions[place], when, f"called off by {by}")
    return work, f"{work.versions[place].id} called off{_told(content)}"


def _moved(book: Book, content: Mapping[str, Any], at_ns: int, by: str) -> tuple[Work, str]:  # noqa: ARG001
    work, place = _meant(book, content)
    old = work.versions[place]
    if place != len(work.versions) - 1:
        raise MaintenanceError(f"{old.id} was moved already", hint=f"move {work.newest.id}")
    start, end = int(content["start_ns"]), int(content["end_ns"])
    if end <= start:
        raise MaintenanceError("it ends no later than it starts")
    told = _optional(content["notified_ns"])
    version = replace(
        old, start_ns=start, end_ns=end, entered_ns=at_ns, notified_ns=told, cancelled_ns=None, confirmed_by="",
        confirmed_role="", confirmed_ns=None, rejected="", rejected_ns=None,
        evidence=str(content.get("evidence") or old.evidence),
    )  # fmt: skip
    _follow(work, version, at_ns if told is None else told)
    return work, f"{old.id} moved to {work.newest.id}{_told(content)}"


def _meant(book: Book, content: Mapping[str, Any]) -> tuple[Work, int]:
    """The work an entry is about, and the version where it names one: the first has the id of the work."""
    work, place = book.find(str(content["id"]))
    version = content.get("version")
    if version is None:
        return work, place
    if not 1 <= int(version) <= len(work.versions):
        raise MaintenanceError(f"{work.id} has no version {version}")
    return work, int(version) - 1


def _told(content: Mapping[str, Any]) -> str:
    return f": {content['reason']}" if content.get("reason") else ""


def _optional(value: Any) -> int | None:
    return None if value is None else int(value)


_DEEDS: Final[Mapping[str, Callable[[Book, Mapping[str, Any], int, str], tuple[Work, str]]]] = {
    "notice": _noticed,
    "add": _added,
    "confirm": _confirmed,
    "reject": _rejected,
    "cancel": _cancelled,
    "move": _moved,
}


def notice_of(values: Mapping[str, Any]) -> Notice:
    """From the ledger. Raises KeyError, TypeError or ValueError for what is none."""
    return Notice(
        str(values["provider"]), str(values["maintenance"]), str(values["status"]), int(values["start_ns"]),
        int(values["end_ns"]), str(values["impact"]), tuple((str(name), str(how)) for name, how in values["objects"]),
        int(values["sequence"]), int(values["stamped_ns"]), str(values["uid"]), str(values["account"]),
        str(values["summary"]),
    )  # fmt: skip


def affected(notice: Notice, known: Mapping[str, Sequence[str]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Circuits a notice is about and objects that are none of ours. known: circuit -> names it goes by.

    Objects for which the notice announces no impact are left out, unless it announces none at all.
    """
    names: dict[str, list[str]] = {}
    for circuit, others in known.items():
        for name in {circuit.casefold(), *(other.casefold() for other in others)}:
            names.setdefault(name, []).append(circuit)
    felt = [name for name, how in notice.objects if how != NO_IMPACT or notice.impact == NO_IMPACT]
    circuits = sorted({circuit for name in felt for circuit in names.get(name.casefold(), ())})
    strangers = [name for name, _ in notice.objects if name.casefold() not in names]
    return tuple(circuits), tuple(dict.fromkeys(strangers))
