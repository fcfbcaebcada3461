"""Verdicts as a monitoring plugin reports them: one line with performance data, and an exit code. Pure.

Monitoring Plugins development guidelines: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN; perfdata
'label'=value[UOM];warning;critical;minimum;maximum, where a range `x:` alerts below x and `x` above it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Final

from agent.sla.terms.contract import Objective, Unit
from agent.sla.verdict import Verdict, VerdictState, worst
from agent.sla.words.wording import number, plural, spoken

OK, WARNING, CRITICAL, UNKNOWN = 0, 1, 2, 3
NAMES: Final = ("OK", "WARNING", "CRITICAL", "UNKNOWN")

_CODES: Final = {
    VerdictState.MET: OK,
    VerdictState.ON_TRACK: OK,
    VerdictState.AT_RISK: WARNING,
    VerdictState.BREACHED: CRITICAL,
    VerdictState.INCONCLUSIVE: UNKNOWN,
    VerdictState.UNMEASURABLE: UNKNOWN,
}
_UOM: Final = {Unit.DELAY: "ms", Unit.RATIO: "%", Unit.DURATION: "s"}


def exit_code(verdicts: Sequence[Verdict], silent: Mapping[str, int] | None = None) -> int:
    """Of the worst verdict: CRITICAL, then WARNING, then UNKNOWN, then OK. None at all is UNKNOWN.

    silent: circuits that send nothing new, with the time in ns: they are not OK, whatever was measured before.
    """
    gravest = worst(verdicts)
    code = UNKNOWN if gravest is None else _CODES[gravest.state]
    return UNKNOWN if code == OK and silent else code


def plugin_line(verdicts: Sequence[Verdict], silent: Mapping[str, int] | None = None) -> str:
    """The one line: state, the worst verdict's sentence, how many are how, and performance data."""
    gravest = worst(verdicts)
    if gravest is None:
        return problem_line("there is nothing to judge")
    code = exit_code(verdicts, silent)
    circuits = plural(len({verdict.circuit for verdict in verdicts}), "circuit")
    counts = Counter(verdict.state.value.replace("_", " ") for verdict in verdicts)
    tally = f"{plural(len(verdicts), 'objective')} of {circuits}: "
    tally += ", ".join(f"{count} {state}" for state, count in counts.most_common())
    said = tally if code == OK else f"{gravest.circuit}: {gravest.sentence} [{tally}]"
    if silent:
        longest = max(silent, key=lambda circuit: silent[circuit])
        others = f" and {plural(len(silent) - 1, 'other circuit')}" if len(silent) > 1 else ""
        quiet = f"nothing new of {longest}{others} for {spoken(silent[longest])}: is the agent running?"
        said = f"{quiet} [{tally}]" if _CODES[gravest.state] == OK else f"{said}; {quiet}"
    return f"SLA {NAMES[code]} - {_clean(said)} | {' '.join(perfdata(verdicts))}"


def problem_line(text: str) -> str:
    """The line for a check that could not be made."""
    return f"SLA UNKNOWN - {_clean(text)}"


def perfdata(verdicts: Sequence[Verdict]) -> list[str]:
    """One item for each verdict; the circuit is in the label where there are several."""
    several = len({verdict.circuit for verdict in verdicts}) > 1
    return [_item(verdict, f"{verdict.circuit}/" if several else "") for verdict in verdicts]


def _item(verdict: Verdict, prefix: str) -> str:
    objective = verdict.objective
    label = f"{prefix}{objective.id}".replace("'", "").replace("=", "-")
    uom = _UOM.get(objective.unit, "")
    value = "U" if verdict.value is None else _number(objective, verdict.value, verdict.target) + uom
    critical = "" if verdict.target is None else _number(objective, verdict.target, verdict.target)
    if critical and objective.comparison == "min":
        critical += ":"
    limits = "0;100" if uom == "%" else "0"
    return f"'{label}'={value};;{critical};{limits}"


def _number(objective: Objective, value: Fraction, target: Fraction | None) -> str:
    return str(int(value)) if objective.unit is Unit.RATE else number(objective, value, target)


def _clean(text: str) -> str:
    """No `|`, which begins the performance data, and no line end."""
    return " ".join(text.replace("|", "/").split())
