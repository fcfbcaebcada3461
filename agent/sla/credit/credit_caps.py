"""From what is earned to what is owed: caps, the smallest sum paid, stacking, and one rounding a line. Pure.

The order: each term's own caps; its smallest sum; stacking; the caps over all terms; then every line is rounded once,
downwards where a cap leaves no room for more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Final

from agent.sla.credit.credit_lines import Draft
from agent.sla.credit.prices import year_of
from agent.sla.terms.contract import Contract, Metric
from agent.sla.terms.money import Money, Rounding
from agent.sla.terms.remedies import Cap, CreditTerms
from agent.sla.terms.settlement import Paid

_PER: Final = {
    "incident": "an outage",
    "objective": "an objective in a month",
    "month": "a month",
    "year": "a year",
    "contract": "the whole contract",
}
_NOTHING: Final = Fraction(0)
_DOWNTIME: Final = "\0downtime"
"""Cause of terms about outages that name none."""


@dataclass(slots=True)
class _Pool:
    """What one cap leaves for the lines under it."""

    text: str
    limit: Fraction
    used: Fraction = _NOTHING
    earlier: Fraction = _NOTHING

    @property
    def room(self) -> Fraction:
        return max(_NOTHING, self.limit - self.used - self.earlier)


@dataclass(slots=True)
class _Pools:
    """All pools of a settlement, made as lines meet them. paid: for months before its period."""

    contract: Contract
    paid: Sequence[Paid]
    found: dict[Hashable, _Pool] = field(default_factory=dict)

    def of_terms(self, draft: Draft) -> list[_Pool]:
        return self._of(draft, draft.terms.caps, draft.terms)

    def of_all(self, draft: Draft) -> list[_Pool]:
        return self._of(draft, self.contract.credit_caps, None)

    def _of(self, draft: Draft, caps: Iterable[Cap], terms: CreditTerms | None) -> list[_Pool]:
        pools = []
        for number, cap in enumerate(caps):
            group = self._group(draft, cap)
            if group is None:
                continue
            key = (terms.id if terms else None, number, group)
            if key not in self.found:
                self.found[key] = self._pool(draft, cap, terms)
            pools.append(self.found[key])
        return pools

    def _group(self, draft: Draft, cap: Cap) -> Hashable:
        """Lines of one group share the cap; None where it does not apply."""
        month = draft.tariff.month.start_ns
        if cap.per == "incident":
            return draft.incidents[0].id if len(draft.incidents) == 1 else None
        if cap.per == "objective":
            return (draft.terms.objective or draft.terms.id, month)
        if cap.per == "month":
            return month
        return _year(self.contract, draft) if cap.per == "year" else "contract"

    def _pool(self, draft: Draft, cap: Cap, terms: CreditTerms | None) -> _Pool:
        costs = draft.tariff
        basis = terms.day_basis if terms else "30"
        pro_rata = terms.pro_rata if terms else all(item.pro_rata for item in self.contract.credits)
        if cap.per in ("year", "contract"):
            pro_rata = False
        limit = costs.worth(cap.price, basis, pro_rata=pro_rata)
        left = costs.text(cap.price, basis, pro_rata=pro_rata)
        text = f"at most {left}" + ("" if cap.price.kind == "amount" else f" = {costs.money(limit)}")
        text += f" for {_PER[cap.per]}" + (f" by {terms.id}" if terms else ", all credits together")
        return _Pool(text, limit, earlier=self._earlier(draft, cap, terms))

    def _earlier(self, draft: Draft, cap: Cap, terms: CreditTerms | None) -> Fraction:
        """What was paid under the same cap before the period: of the same year, or ever."""
        if cap.per not in ("year", "contract"):
            return _NOTHING
        year_ns = _year(self.contract, draft) if cap.per == "year" else None
        return sum(
            (
                item.amount.exact
                for item in self.paid
                if year_ns in (None, item.year_ns) and (terms is None or item.terms == terms.id)
            ),
            _NOTHING,
        )


@dataclass(frozen=True, slots=True)
class Owed:
    """A line with what is owed for it."""

    draft: Draft
    amount: Money


def owed(contract: Contract, drafts: Sequence[Draft], paid: Sequence[Paid]) -> tuple[Owed, ...]:
    """All lines in the contract's order, each after all caps. paid: for months before the period."""

    def pools() -> _Pools:
        return _Pools(contract, paid)

    ordered = sorted((replace(item, earned=item.exact) for item in drafts), key=_in_time)
    ordered = _capped(ordered, pools().of_terms)
    ordered = _above_minimum(ordered)
    ordered = _stacked(contract, ordered)
    ordered = _capped(ordered, pools().of_all)
    lines = _rounded(contract.rounding, ordered, pools())
    return tuple(sorted(lines, key=lambda line: (line.draft.order, *_in_time(line.draft))))


def _year(contract: Contract, draft: Draft) -> int:
    """Start of the year that the line's month ends in."""
    return year_of(contract, draft.tariff.month.end_ns - 1).start_ns


def _in_time(draft: Draft) -> tuple[int, int, int, int, str]:
    """Caps are used up month by month, and in a month in the contract's order."""
    begin = min((item.start_ns for item in draft.incidents), default=draft.window.start_ns)
    return draft.tariff.month.start_ns, draft.order, draft.window.start_ns, begin, draft.subject


def _capped(drafts: list[Draft], pools_of: Callable[[Draft], list[_Pool]]) -> list[Draft]:
    found = []
    for draft in drafts:
        if draft.exact:
            pools = pools_of(draft)
            tightest = min(pools, key=lambda pool: pool.room, default=None)
            if tightest is not None and tightest.room < draft.exact:
                draft = _limited(draft, tightest.room, tightest.text, _taken(draft, tightest))
            for pool in pools:
                pool.used += draft.exact
        found.append(draft)
    return found


def _taken(draft: Draft, pool: _Pool) -> str:
    """What of the cap is used already."""
    parts = [f"{draft.tariff.money(pool.used)} are taken by lines before"] if pool.used else []
    if pool.earlier:
        parts.append(f"{draft.tariff.money(pool.earlier)} were paid earlier")
    return f", {' and '.join(parts)}" if parts else ""


def _limited(draft: Draft, exact: Fraction, rule: str, why: str = "") -> Draft:
    step = f"{rule}{why}: {draft.tariff.money(exact)}"
    return replace(draft, exact=exact, limited_by=rule, steps=(*draft.steps, step))


def _sums(drafts: Iterable[Draft]) -> dict[tuple[int, int], Fraction]:
    """By month and term."""
    found: defaultdict[tuple[int, int], Fraction] = defaultdict(Fraction)
    for draft in drafts:
        found[draft.tariff.month.start_ns, draft.order] += draft.exact
    return found


def _above_minimum(drafts: list[Draft]) -> list[Draft]:
    """Without the sums of a month that are too small to be paid."""
    sums, found = _sums(drafts), []
    for draft in drafts:
        least = draft.terms.minimum
        total = sums[draft.tariff.month.start_ns, draft.order]
        if least is not None and draft.exact and total < least.exact:
            when = draft.tariff.month.label
            rule = f"{draft.tariff.money(total)} in {when} is less than {least}, the least that is paid"
            draft = _limited(draft, _NOTHING, rule)
        found.append(draft)
    return found


def _stacked(contract: Contract, drafts: list[Draft]) -> list[Draft]:
    """Of the terms that share a cause in a month, only the one that pays most; the first of equals."""
    if contract.stacking == "sum":
        return drafts
    rivals: defaultdict[tuple[int, str], list[tuple[Fraction, int]]] = defaultdict(list)
    for (month, order), total in _sums(drafts).items():
        rivals[month, _cause(contract, order)].append((total, -order))
    found = []
    for draft in drafts:
        total, order = max(rivals[draft.tariff.month.start_ns, _cause(contract, draft.order)])
        if draft.exact and -order != draft.order:
            best = contract.credits[-order].id
            which = "" if contract.stacking == "highest" else " of those with the same cause"
            when = draft.tariff.month.label
            rule = f"only the highest credit{which} in {when} is paid: {draft.tariff.money(total)} by {best}"
            draft = _limited(draft, _NOTHING, rule)
        found.append(draft)
    return found


def _cause(contract: Contract, order: int) -> str:
    if order >= len(contract.credits):
        return f"\0{order}"  # what a chronic rule gives comes on top
    terms = contract.credits[order]
    if contract.stacking == "highest":
        return ""
    if terms.cause:
        return terms.cause
    objective = contract.objective(terms.objective) if terms.objective else None
    about_outages = objective is None or objective.metric in (Metric.AVAILABILITY, Metric.OUTAGE)
    return _DOWNTIME if about_outages else f"\0{terms.objective}"


def _rounded(rounding: Rounding, drafts: list[Draft], pools: _Pools) -> list[Owed]:
    lines = []
    for draft in drafts:
        over = [*pools.of_terms(draft), *pools.of_all(draft)] if draft.exact else []
        room = min((pool.room for pool in over), default=draft.exact + 1)
        amount = rounding.money(draft.exact, draft.tariff.currency)
        if amount.exact > room:
            amount = Rounding(rounding.places, "down").money(min(room, draft.exact), draft.tariff.currency)
        for pool in over:
            pool.used += amount.exact
        if amount.exact != draft.exact:
            how = rounding.text if amount == rounding.money(draft.exact, draft.tariff.currency) else "rounded down"
            draft = replace(draft, steps=(*draft.steps, f"{how}: {amount}"))
        lines.append(Owed(draft, amount))
    return lines
