"""The standing of an exclusion in one plain sentence. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from agent.sla.terms.excluded import Exclusion, ExclusionTerms, Standing
from agent.sla.words.wording import moment, spoken
from probes.core.units import format_duration


@dataclass(frozen=True, slots=True)
class Losses:
    """ns of an entry that are not out by it, by cause: outside the hours, taken out by entries before it, the
    provider's fault, over the allowance."""

    outside_ns: int = 0
    covered_ns: int = 0
    faulty_ns: int = 0
    over_ns: int = 0


def sentence(
    exclusion: Exclusion,
    standing: Standing,
    terms: ExclusionTerms | None,
    whole_ns: int,
    own_ns: int,
    lost: Losses,
    now_ns: int,
) -> str:
    """`applied in part: 1 h out; 30 min are over the allowance of 8 h per month`.

    terms: the line of the contract it was held against. whole_ns: of it in the window; own_ns: what it takes out.
    """
    parts = list(_losses(lost, terms))
    cancelled = exclusion.cancelled_ns
    if cancelled is not None and cancelled <= now_ns and cancelled < exclusion.end_ns:
        parts.append(f"called off at {moment(cancelled)}")
    parts += _record(exclusion, standing, now_ns)
    head = _head(exclusion, standing, terms, whole_ns, own_ns)
    return "; ".join([head, *parts])


def _head(exclusion: Exclusion, standing: Standing, terms: ExclusionTerms | None, whole_ns: int, own_ns: int) -> str:
    if standing is Standing.APPLIED:
        done = "counts as up" if terms is not None and terms.effect == "numerator_only" else "out"
        return (
            f"applied: {spoken(own_ns)} {done}" if own_ns == whole_ns else f"applied in part: {spoken(own_ns)} {done}"
        )
    if standing is Standing.NOTICE and terms is not None:
        wanted = f"the contract asks for {spoken(terms.notice_ns)}"
        if exclusion.notified_ns is None:
            return f"{standing.value}: it is not known when it was announced, and {wanted}"
        short = format_duration(terms.notice_ns - (exclusion.start_ns - exclusion.notified_ns))
        return f"{standing.value}: announced at {moment(exclusion.notified_ns)}, {short} too late: {wanted}"
    if standing is Standing.APPROVAL and terms is not None:
        return f"{standing.value}: {terms.approval.replace('_', ' ')}"
    if standing is Standing.REJECTED:
        return f"{standing.value}: {exclusion.rejected}"
    if standing in (Standing.KIND, Standing.OBJECTIVE):
        return f"{standing.value}: {exclusion.kind.value.replace('_', ' ')}"
    return standing.value


def _losses(lost: Losses, terms: ExclusionTerms | None) -> Iterator[str]:
    if lost.covered_ns:
        yield f"{spoken(lost.covered_ns)} out by other entries already"
    if terms is None:
        return
    if lost.outside_ns:
        named = f" ({terms.hours.text})" if terms.hours is not None and terms.hours.text else ""
        yield f"{spoken(lost.outside_ns)} outside the hours the contract permits{named}"
    if lost.faulty_ns:
        yield f"{spoken(lost.faulty_ns)} the provider's own fault at the time"
    if lost.over_ns and terms.allowance_ns is not None:
        yield f"{spoken(lost.over_ns)} over the allowance of {spoken(terms.allowance_ns)} per {_unit(terms.per)}"


def _unit(name: str) -> str:
    return name.replace("_", " ")


def _record(exclusion: Exclusion, standing: Standing, now_ns: int) -> Iterator[str]:
    if exclusion.retroactive and standing not in (Standing.UNCONFIRMED, Standing.NOT_ENTERED):
        yield f"entered at {moment(exclusion.entered_ns)}, after its start"
    if exclusion.confirmed(now_ns):
        late = exclusion.confirmed_ns is not None and exclusion.confirmed_ns > exclusion.start_ns
        when = f" at {moment(exclusion.confirmed_ns)}, after its start" if late and exclusion.confirmed_ns else ""
        yield f"confirmed by {exclusion.confirmed_by}{when}"
    if exclusion.remark:
        yield exclusion.remark
