"""What must not change a verdict or an amount: order, guesses, what is entered later, where a window is cut."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from agent.assessing import Court
from agent.sla.assessment import Assessment
from agent.sla.terms.contract import Contract, Window
from agent.sla.terms.incidents import Attribution, Incident, Responsible
from agent.sla.verdict import VerdictState
from tests.agent.test_assessment_oracle import ANCHOR, court, judged, period_of, random_month, signed
from tests.fakes.columns import SECOND
from tests.fakes.naively import Credit, Month, Out
from tests.faults.counts import count

MONTHS = count("INVARIANCES", 100, 5_000)


def months(begin: int = 0) -> Iterator[Month]:
    for seed in range(begin, begin + MONTHS):
        yield random_month(seed)


def told(found: Assessment) -> dict[str, Any]:
    """Everything that is paid or said for sure, by its name."""
    verdicts = {
        (item.objective.id, item.window.start_ns): (item.state, item.value, item.best, item.worst, item.remark)
        for item in found.verdicts
    }
    lines = [(item.terms.id, item.subject, item.exact, item.amount) for item in found.settlement.lines]
    rights = [(item.met, item.incidents) for item in found.settlement.chronic]
    return {"verdicts": verdicts, "lines": lines, "total": found.settlement.total, "rights": rights}


def by(month: Month, contract: Contract, bench: Court | None = None) -> Assessment:
    bench = bench or court(month)
    return bench.assess(contract, bench.circuits["c1"], period_of(month))[0]


def test_the_order_of_what_was_entered_does_not_matter() -> None:
    for seed, month in enumerate(months()):
        draw = random.Random(seed)
        outs, papers = list(month.outs), list(month.papers)
        draw.shuffle(outs)
        draw.shuffle(papers)
        other = replace(month, outs=tuple(outs), papers=tuple(papers))
        promise = signed(other)
        first, *rest = promise.objectives
        draw.shuffle(rest)
        place = draw.randint(0, len(rest))  # the first promise on availability says what an outage is: there is one
        promise = replace(promise, objectives=(*rest[:place], first, *rest[place:]))
        assert told(by(other, promise)) == told(judged(month))


def test_what_nobody_confirmed_changes_nothing() -> None:
    for seed, month in enumerate(months(1000)):
        draw = random.Random(seed)
        start = draw.randint(-600, month.length)
        more = (
            Out("GUESS-1", start, start + 900, entered=start + 1),
            Out("GUESS-2", start, start + 900, entered=start - 7000, proposed=True, notified=start - 7000),
            Out("GUESS-3", start, start + 900, entered=month.now + 1, confirmed=True),
        )
        assert told(judged(replace(month, outs=month.outs + more))) == told(judged(month))


def test_what_the_evidence_says_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for month in months(2000):
        usual = told(judged(month))
        for party in (Responsible.CUSTOMER, Responsible.AGENT, Responsible.THIRD_PARTY):

            def guessed(
                _: Court, __: object, found: tuple[Incident, ...], party: Responsible = party
            ) -> tuple[Incident, ...]:
                guess = Attribution(party, "evidence", ("it seems so",))
                return tuple(
                    replace(item, attribution=guess) if item.attribution.by == "evidence" else item for item in found
                )

            with monkeypatch.context() as patch:
                patch.setattr(Court, "_attributed", guessed)
                assert told(judged(month)) == usual


def test_an_earlier_instant_knows_nothing_of_what_came_later() -> None:
    for seed, month in enumerate(months(3000)):
        then = random.Random(seed).randrange(0, month.now + 1, 10)
        rows = month.rows[: max(0, month.before + then // 10)]
        past = replace(
            month,
            rows=rows,
            now=then,
            outs=tuple(item for item in month.outs if item.entered <= then),
            papers=tuple(item for item in month.papers if item.entered <= then),
        )
        if not rows:
            continue
        seen = by(month, signed(month), court(month, now=then))
        assert told(seen) == told(judged(past))


def test_a_window_cut_in_two_gives_the_same_sums() -> None:
    for month in months(4000):
        plain = replace(month, unknown="bounds", credits=(Credit("event", ((Fraction(1), None, 1),)),), cap_all=None)
        half = plain.length // 2 // plain.dt * plain.dt
        if half * 2 != plain.length:
            continue
        whole, promise = judged(plain), signed(plain)
        window = Window(None, fixed_ns=half * SECOND, anchor=ANCHOR)
        cut = by(plain, replace(promise, objectives=tuple(replace(item, window=window) for item in promise.objectives)))
        one = {item.objective.id: item for item in whole.verdicts}
        for key in ("intervals_up", "intervals_down", "intervals_unknown", "intervals_excluded"):
            parts = [item.evidence[key] for item in cut.verdicts if item.objective.id == "up"]
            assert sum(parts) == one["up"].evidence[key]  # type: ignore[arg-type]
        for name in ("count", "total"):
            values = [item.value or 0 for item in cut.verdicts if item.objective.id == name]
            assert sum(values) == one[name].value
        assert told(cut)["lines"] == told(whole)["lines"]


def test_a_worse_month_never_pays_less() -> None:
    """By bands and by the time of the window. Of outages with a line each two may become one, or one of last month."""
    bands = ((Fraction(9, 10), None, 10), (Fraction(1, 2), Fraction(9, 10), 25), (None, Fraction(1, 2), 50))
    every = (Credit("band", bands, cap_month=40), Credit("minutes"), Credit("share"))
    for seed, month in enumerate(months(5000)):
        draw = random.Random(seed)
        credit = draw.choice(every)
        usual = replace(month, papers=(), credits=(credit,), rows=month.rows.replace("?", "."))
        at = draw.randrange(len(usual.rows))
        worse = replace(usual, rows=usual.rows[:at] + "H" * min(30, len(usual.rows) - at) + usual.rows[at + 30 :])
        before, after = judged(usual).settlement.total, judged(worse).settlement.total
        assert before is not None
        assert after is not None
        assert after.exact >= before.exact, (seed, usual)


def test_no_samples_at_all_pay_nothing_and_say_so() -> None:
    for month in months(6000):
        blind = replace(month, papers=(), outs=(), rows="", unknown="bounds")
        found = judged(blind)
        states = {item.objective.id: item.state for item in found.verdicts}
        assert {states[name] for name in ("up", "loss", "mttr")} == {VerdictState.INCONCLUSIVE}
        total = found.settlement.total
        assert total is not None
        assert total.exact == 0
