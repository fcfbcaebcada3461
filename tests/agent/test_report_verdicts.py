"""Verdicts as plugin line, table and JSON: exact texts, exit codes, nothing lost on the way."""

import dataclasses
import io
import json
import re
from fractions import Fraction

import pytest

from agent.report import document, plugin, table
from agent.report.terminal import print_grid
from agent.sla.judge import judge
from agent.sla.terms.contract import Metric, Target
from agent.sla.time import calendar
from agent.sla.verdict import Verdict, VerdictState
from agent.sla.words.wording import quantity
from tests.fakes.contracts import CIRCUIT, HOUR, contract, objective, runs, series

DAY = calendar.parse("2026-11-03", "UTC")
AFTER = DAY.end_ns + HOUR
M = 10**6
PERFDATA = re.compile(
    r"'[^'=]+'=(U|-?[\d.]+)(s|ms|us|%|B|c)?;[\d.:~@]*;[\d.:~@]*;[\d.]*(;[\d.]*)?"
)  # Monitoring Plugins guidelines, section 2.6


def promise(metric: Metric, target: str, text: str, **more: object):
    return dataclasses.replace(objective(metric, target, **more), target=Target(Fraction(target), text))


def verdicts(lost: str = "H" * 27) -> list[Verdict]:
    promises = (
        promise(Metric.AVAILABILITY, "0.999", "99.9 %"),
        promise(Metric.LOSS, "0.01", "1 %"),
        promise(Metric.RTT, "20000000", "20ms"),
        promise(Metric.THROUGHPUT, "95000000", "95Mbit/s"),
    )
    text = "." * 100 + lost + "." * (8540 - len(lost))
    data = {"icmp": series(DAY.start_ns, text)}
    data["throughput"] = runs([(DAY.start_ns + k * HOUR, 99 * M, 96 * M) for k in range(24)])
    return list(judge(contract(*promises), CIRCUIT, data, now_ns=AFTER, window=DAY, measured_since_ns=DAY.start_ns))


def test_the_line_of_a_breach() -> None:
    found = verdicts()
    assert plugin.exit_code(found) == 2
    assert plugin.plugin_line(found) == (
        "SLA CRITICAL - c1: availability 99.68 % of 1 d measured in 2026-11-03 (UTC) (target 99.9 %): "
        "4 min 30 s down in 1 outage, 1 min 26 s allowed [4 objectives of 1 circuit: 3 met, 1 breached] | "
        "'availability'=99.68%;;99.90:;0;100 'loss'=0.32%;;1;0;100 'rtt'=10ms;;20;0 "
        "'throughput'=96000000;;95000000:;0"
    )


def test_the_line_when_all_is_well() -> None:
    line = plugin.plugin_line(verdicts("."))
    assert line.startswith("SLA OK - 4 objectives of 1 circuit: 4 met | 'availability'=100%;;99.90:;0;100 ")
    assert plugin.exit_code(verdicts(".")) == 0


def test_silence_turns_ok_into_unknown_and_nothing_else() -> None:
    quiet = {"c1": 7200 * 10**9, "c2": 600 * 10**9}
    good, bad = verdicts("."), verdicts()
    assert plugin.exit_code(good, quiet) == 3
    said = "SLA UNKNOWN - nothing new of c1 and 1 other circuit for 2 h: is the agent running? ["
    assert plugin.plugin_line(good, quiet).startswith(said)
    assert plugin.exit_code(bad, quiet) == plugin.exit_code(bad) == 2
    assert "is the agent running?" in plugin.plugin_line(bad, quiet)


def test_several_circuits_are_told_apart_in_the_perfdata() -> None:
    first = verdicts()
    both = [*first, *(dataclasses.replace(item, circuit="c'2=|") for item in first)]
    line = plugin.plugin_line(both)
    assert "'c1/availability'=" in line
    assert "'c2-|/availability'=" in line
    assert "[8 objectives of 2 circuits: 6 met, 2 breached]" in line
    assert line.partition(" | ")[0].count("|") == 0


@pytest.mark.parametrize(
    ("states", "code"),
    [
        (["met", "on_track"], 0),
        (["met", "at_risk"], 1),
        (["unmeasurable", "on_track"], 3),
        (["inconclusive"], 3),
        (["inconclusive", "at_risk"], 1),
        (["breached", "inconclusive", "at_risk"], 2),
        ([], 3),
    ],
)
def test_exit_codes(states: list[str], code: int) -> None:
    base = verdicts()[0]
    found = [dataclasses.replace(base, state=VerdictState(state)) for state in states]
    assert plugin.exit_code(found) == code
    assert plugin.plugin_line(found).startswith(f"SLA {plugin.NAMES[code]} - ")


def test_every_item_of_perfdata_has_the_form_of_the_guidelines() -> None:
    empty = judge(contract(promise(Metric.LOSS, "0.01", "1 %")), CIRCUIT, {}, now_ns=AFTER, window=DAY)
    for item in plugin.perfdata([*verdicts(), *empty]):
        assert PERFDATA.fullmatch(item), item
    assert plugin.perfdata(empty) == ["'loss'=U;;1;0;100"]


def test_a_line_is_one_line_without_a_second_bar() -> None:
    assert plugin.problem_line("a\nb | c") == "SLA UNKNOWN - a b / c"


def test_json_keeps_exact_values_beside_decimals() -> None:
    found = verdicts()
    text = json.dumps(
        document.check_document(found, now_ns=AFTER, source="store /x", code=2, line=plugin.plugin_line(found))
    )
    read = json.loads(text)
    assert (read["schema"], read["exit_code"], len(read["verdicts"])) == ("linkwitness.check/1", 2, 4)
    availability = read["verdicts"][0]
    assert Fraction(availability["value_exact"]) == Fraction(8613, 8640)
    assert availability["value"] == pytest.approx(8613 / 8640)
    assert availability["window"]["start"] == "2026-11-03T00:00:00.000Z"
    assert availability["evidence"]["outages"][0]["duration_ns"] == 270 * 10**9
    assert "MEF 10.4" in availability["definition"]
    assert availability["state"] == "breached"


def test_what_is_missing_is_null_in_json() -> None:
    (found,) = judge(contract(promise(Metric.LOSS, "0.01", "1 %")), CIRCUIT, {}, now_ns=AFTER, window=DAY)
    read = document.verdict_document(found)
    assert read["value"] is read["value_exact"] is read["best"] is read["worst"] is None
    assert json.loads(json.dumps(read))["evidence"]["reason"] == "nothing was measured by probe icmp"


def test_the_table_has_a_row_for_each_and_a_sentence_for_what_is_not_good() -> None:
    out = io.StringIO()
    print_grid(table.verdict_grid(verdicts()), out)
    lines = [line.rstrip() for line in out.getvalue().splitlines() if line.strip()]
    assert re.split(r"  +", lines[0].strip()) == [
        "circuit", "objective", "statistic", "verdict", "value", "target", "measured", "window",
    ]  # fmt: skip
    assert sum(line.lstrip().startswith("c1 ") for line in lines) == 4
    assert "c1: availability 99.68 % of 1 d" in out.getvalue()
    assert "at least 99.9 %" in out.getvalue()


@pytest.mark.parametrize("width", [20, 60, 80, 200])
def test_a_narrow_terminal_cuts_no_number_and_no_verdict(width: int) -> None:
    out = io.StringIO()
    print_grid(table.verdict_grid(verdicts()), out, width)
    assert "…" not in out.getvalue()
    for verdict in verdicts():
        assert quantity(verdict.objective, verdict.value, verdict.target) in out.getvalue()
