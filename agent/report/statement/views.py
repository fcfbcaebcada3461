"""What several renderers show in the same way: promises with many windows in one line, equal accounts once. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agent.report.statement.model import Content, Result, Trend
from agent.report.statement.rows import TimeAccount

_SEVERITY: Final = {"breached": 4, "at_risk": 3, "inconclusive": 2, "unmeasurable": 2, "on_track": 1, "met": 0}
_GOOD: Final = ("met", "on_track")
NOTHING: Final = "–"


@dataclass(frozen=True, slots=True)
class Promise:
    """One objective: its worst row, how many windows, in which states (`29 met, 2 breached`), and its trend."""

    row: Result
    count: int
    told: str
    trend: Trend | None

    @property
    def bounds(self) -> str:
        """`99.70 % to 99.93 %`, one number where both are the same, a dash where neither is known."""
        best, worst = self.row.best, self.row.worst
        if best.exact == worst.exact:
            return NOTHING if best.exact is None or best.exact == self.row.value.exact else best.shown
        if worst.exact is None:
            return f"{best.shown} to no bound"
        return f"{best.shown} to {worst.shown}"

    @property
    def note(self) -> str:
        """The whole sentence of a row that is not simply good."""
        return self.row.sentence if self.row.state not in _GOOD or self.row.estimated or self.row.remark else ""


def promises(content: Content) -> tuple[Promise, ...]:
    """In the contract's order."""
    grouped: dict[str, list[Result]] = {}
    for row in content.results:
        grouped.setdefault(row.objective, []).append(row)
    trends = {trend.objective: trend for trend in content.trends}
    found = []
    for objective, rows in grouped.items():
        states = Counter(row.state_text for row in rows)
        told = ", ".join(f"{number} {state}" for state, number in states.most_common())
        found.append(Promise(_worst(rows), len(rows), told, trends.get(objective)))
    return tuple(found)


def _worst(rows: Sequence[Result]) -> Result:
    """The gravest, and of those the one furthest beyond its target."""
    return min(rows, key=lambda row: (-_SEVERITY[row.state], row.margin.exact is None, row.margin.exact or 0))


def many_windows(content: Content) -> tuple[Result, ...]:
    """Rows of objectives with more than one window."""
    counts = Counter(row.objective for row in content.results)
    return tuple(row for row in content.results if counts[row.objective] > 1)


def accounts(content: Content) -> tuple[tuple[TimeAccount, tuple[str, ...]], ...]:
    """Accounts with the same numbers once, with the objectives they are of."""
    grouped: dict[tuple[object, ...], list[TimeAccount]] = {}
    for item in content.time:
        key = (item.probe, item.window, item.excluded, item.measured, item.missing, item.edges)
        grouped.setdefault(key, []).append(item)
    return tuple((items[0], tuple(item.objective for item in items)) for items in grouped.values())


def joined(reasons: Sequence[str]) -> str:
    """Sentences one after the other; phrases with semicolons between them and a full stop."""
    text = " ".join(reason if reason.endswith((".", "!", "?")) else f"{reason};" for reason in reasons)
    return f"{text[:-1]}." if text.endswith(";") else text
