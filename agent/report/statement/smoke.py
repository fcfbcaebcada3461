"""The smoke plot as SVG: delay percentiles, loss, and availability on one axis of local time. Pure.

Drawn without colour of its own: classes are styled by the page, for screen, dark screen and black and white print.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape
from math import log10
from typing import Final

from agent.report.statement import figures
from agent.report.statement.axes import DelayAxis, delay_axis, delay_label, time_axis
from agent.report.statement.model import BucketRow, Chart, Result
from agent.report.statement.rows import IncidentRow, Stretch

WIDTH: Final = 760
HEIGHT: Final = 372
_LEFT, _RIGHT = 50.0, 752.0
_TOP, _BOTTOM = 24.0, 204.0
_LOSS_TOP, _LOSS_BOTTOM = 224.0, 270.0
_BAR_TOP, _BAR_BOTTOM = 290.0, 310.0
_LEGEND = 346.0
_LEAST_LOSS: Final = 1e-4
_THINNEST: Final = 1.6
"""Least width of an outage on the bar, so that a short one is seen."""
_LABEL_ROOM: Final = 11.0
_MOST_LINES: Final = 2
_CHARACTER: Final = 5.1
_BANDS: Final = (("p0_ns", "p100_ns", "band0"), ("p5_ns", "p95_ns", "band5"), ("p25_ns", "p75_ns", "band25"))

Place = Callable[[int], float]


def smoke(chart: Chart, incidents: Sequence[IncidentRow] = (), results: Sequence[Result] = ()) -> str:
    """The whole drawing. results: targets of round-trip time become lines."""
    length = max(chart.end_ns - chart.start_ns, 1)

    def x(at_ns: int) -> float:
        return _LEFT + (_RIGHT - _LEFT) * (at_ns - chart.start_ns) / length

    targets = _target_lines(results)
    axis = delay_axis(chart, _TOP, _BOTTOM, [ns for _, ns, _ in targets])
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="smoke" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'aria-labelledby="smoke-title smoke-desc">',
        f'<title id="smoke-title">{escape(_title(chart))}</title>',
        f'<desc id="smoke-desc">{escape(describe(chart))}</desc>',
        _PATTERNS,
        *_time(chart, x),
        *_delay_grid(axis),
        *_bands(chart, axis, x),
        *_targets(targets, axis),
        *_beyond(chart, axis, x),
        *_loss(chart, x),
        *_bar(chart, incidents, x),
        *_clock(chart, x),
        *_legend(chart),
        "</svg>",
    ]
    return "\n".join(parts)


_PATTERNS: Final = (
    '<defs><pattern id="hatch-out" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect class="hatch-ground" width="6" height="6"/><rect class="hatch-line" width="2" height="6"/></pattern>'
    '<pattern id="hatch-gap" width="5" height="5" patternUnits="userSpaceOnUse">'
    '<rect class="hatch-ground" width="5" height="5"/><circle class="hatch-line" cx="2.5" cy="2.5" r="1.1"/></pattern>'
    "</defs>"
)


def _title(chart: Chart) -> str:
    return f"Round-trip time, loss and availability of {chart.circuit}, probe {chart.probe}"


def describe(chart: Chart) -> str:
    """What the drawing shows, for those who do not see it."""
    medians = sorted(row.p50_ns for row in chart.buckets if row.p50_ns is not None)
    parts = [f"Buckets of {figures.span(chart.bucket_ns)}."]
    if medians:
        low, usual, high = medians[0], medians[len(medians) // 2], medians[-1]
        word = "Median" if chart.based_on == "histograms" else "Mean"
        parts.append(
            f"{word} of a bucket between {delay_label(round(low, -4))} and {delay_label(round(high, -4))}, "
            f"usually {delay_label(round(usual, -4))}."
        )
    for stretches, word in ((chart.down, "down"), (chart.excluded, "excluded"), (chart.unknown, "not measured")):
        total = sum(item.end_ns - item.start_ns for item in stretches)
        parts.append(f"{figures.span(total)} {word}." if total else f"Nothing {word}.")
    return " ".join(parts)


def _time(chart: Chart, x: Place) -> Iterable[str]:
    axis = time_axis(chart)
    for start, end in axis.weekends:
        yield _rect("weekend", x(start), _TOP, x(end) - x(start), _BAR_BOTTOM - _TOP)
    for tick in axis.ticks:
        at = x(tick.at_ns)
        if tick.label:
            yield f'<path class="grid" d="M{at:.1f} {_TOP}V{_BAR_BOTTOM}"/>'
            anchor = "start" if at - _LEFT < 2 else "end" if _RIGHT - at < 12 else "middle"
            yield _text(at, _BAR_BOTTOM + 15, tick.label, anchor)
        yield f'<path class="tick" d="M{at:.1f} {_BAR_BOTTOM}v{5 if tick.label else 3}"/>'
    yield _text(_RIGHT, _TOP - 11, axis.caption, "end", "faint")


def _clock(chart: Chart, x: Place) -> Iterable[str]:
    for change in chart.clock_changes:
        at = x(change.at_ns)
        yield f'<path class="clock" d="M{at:.1f} {_TOP}V{_BAR_BOTTOM}"/>'
        anchor = "end" if at > (_LEFT + _RIGHT) / 2 else "start"
        yield _text(
            at + (-4 if anchor == "end" else 4), _TOP + 10, f"{change.before} → {change.after}", anchor, "faint"
        )


def _delay_grid(axis: DelayAxis) -> Iterable[str]:
    before = _BOTTOM + _LABEL_ROOM
    for tick in axis.ticks:
        at = axis.y(tick)
        yield f'<path class="grid" d="M{_LEFT} {at:.1f}H{_RIGHT}"/>'
        if before - at >= _LABEL_ROOM:
            yield _text(_LEFT - 5, at + 3.5, delay_label(tick), "end")
            before = at
    log = ", logarithmic" if axis.scale == "log" else ""
    yield _text(_LEFT, _TOP - 11, f"Round-trip time{log}", "start", "strong")


def _bands(chart: Chart, axis: DelayAxis, x: Place) -> Iterable[str]:
    for low, high, name in _BANDS:
        path = "".join(_band(chart, run, low, high, axis, x) for run in _runs(chart.buckets, low, high))
        if path:
            yield f'<path class="{name}" d="{path}"/>'
    path = "".join(_line(chart, run, axis, x) for run in _runs(chart.buckets, "p50_ns", "p50_ns"))
    if path:
        yield f'<path class="median" d="{path}"/>'


def _runs(rows: Sequence[BucketRow], low: str, high: str) -> Iterable[list[BucketRow]]:
    run: list[BucketRow] = []
    for row in rows:
        if getattr(row, low) is None or getattr(row, high) is None:
            if run:
                yield run
            run = []
        else:
            run.append(row)
    if run:
        yield run


def _end(chart: Chart, row: BucketRow) -> int:
    return min(row.start_ns + chart.bucket_ns, chart.end_ns)


def _band(chart: Chart, run: list[BucketRow], low: str, high: str, axis: DelayAxis, x: Place) -> str:
    forth = "".join(f"V{_short(axis.y(getattr(row, high)))}H{_short(x(_end(chart, row)))}" for row in run)
    back = "".join(f"V{_short(axis.y(getattr(row, low)))}H{_short(x(row.start_ns))}" for row in reversed(run))
    start = f"M{_short(x(run[0].start_ns))} {_short(axis.y(getattr(run[0], low)))}"
    return f"{start}{forth}{back}Z"


def _line(chart: Chart, run: list[BucketRow], axis: DelayAxis, x: Place) -> str:
    start = f"M{_short(x(run[0].start_ns))} {_short(axis.y(run[0].p50_ns or 0))}"
    return start + "".join(f"V{_short(axis.y(row.p50_ns or 0))}H{_short(x(_end(chart, row)))}" for row in run)


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _target_lines(results: Sequence[Result]) -> list[tuple[str, int, str]]:
    """(objective, ns, as printed) of the promises about round-trip time, by their target; the first few."""
    lines = {
        result.objective: (result.objective, int(result.target.exact), result.target.shown)
        for result in results
        if result.metric == "rtt" and result.target.unit == "ns" and result.target.exact is not None
    }
    return sorted(list(lines.values())[:_MOST_LINES], key=lambda line: line[1])


def _targets(lines: Sequence[tuple[str, int, str]], axis: DelayAxis) -> Iterable[str]:
    before = _BOTTOM + _LABEL_ROOM
    for name, ns, shown in lines:
        if axis.low_ns < ns < axis.high_ns:
            at = axis.y(ns)
            label = min(at - 3, before - _LABEL_ROOM)
            yield f'<path class="target" d="M{_LEFT} {at:.1f}H{_RIGHT}"/>'
            yield _text(_RIGHT - 2, label, f"{_cut(name, 28)}: {shown}", "end", "halo")
            before = label


def _beyond(chart: Chart, axis: DelayAxis, x: Place) -> Iterable[str]:
    """A strip along the upper edge where packets took longer than the axis reaches."""
    over = [row for row in chart.buckets if (row.p100_ns or 0) > axis.high_ns]
    for left, right in _merged([Stretch(row.start_ns, _end(chart, row), "") for row in over], x, _THINNEST):
        yield _rect("beyond-axis", left, _TOP - 4, right - left, 3)


def beyond(chart: Chart, results: Sequence[Result]) -> str:
    """What the strip along the upper edge stands for; empty where there is none."""
    axis = delay_axis(chart, _TOP, _BOTTOM, [ns for _, ns, _ in _target_lines(results)])
    over = [row.p100_ns for row in chart.buckets if (row.p100_ns or 0) > axis.high_ns]
    if not over:
        return ""
    most = delay_label(round(max(ns for ns in over if ns is not None), -5))
    return f"Marks at the upper edge: packets slower than {delay_label(int(axis.high_ns))}, at most {most}."


def _loss(chart: Chart, x: Place) -> Iterable[str]:
    yield _text(_LEFT, _LOSS_TOP - 6, "Packet loss, logarithmic", "start", "strong")
    height = _LOSS_BOTTOM - _LOSS_TOP
    for share, label in ((1.0, "100 %"), (0.01, "1 %"), (_LEAST_LOSS, "0.01 %")):
        at = _LOSS_BOTTOM - height * log10(share / _LEAST_LOSS) / -log10(_LEAST_LOSS)
        yield f'<path class="grid" d="M{_LEFT} {at:.1f}H{_RIGHT}"/>'
        yield _text(_LEFT - 5, at + 3.5, label, "end")
    path = ""
    for row in chart.buckets:
        if row.lost and row.sent:
            share = max(row.lost / row.sent, _LEAST_LOSS * 1.2)
            tall = height * log10(share / _LEAST_LOSS) / -log10(_LEAST_LOSS)
            left, right = x(row.start_ns), x(_end(chart, row))
            foot, top = _short(_LOSS_BOTTOM), _short(_LOSS_BOTTOM - tall)
            path += f"M{_short(left)} {foot}V{top}H{_short(right)}V{foot}Z"
    if path:
        yield f'<path class="loss" d="{path}"/>'


def _bar(chart: Chart, incidents: Sequence[IncidentRow], x: Place) -> Iterable[str]:
    tall = _BAR_BOTTOM - _BAR_TOP
    yield _text(_LEFT - 5, _BAR_BOTTOM - 7, "Up", "end")
    until = x(min(max(chart.until_ns, chart.start_ns), chart.end_ns))
    yield _rect("up", _LEFT, _BAR_TOP, until - _LEFT, tall)
    for stretches, name, least in (
        (chart.unknown, "gap", 0.0), (chart.excluded, "out", 0.0), (chart.down, "down", _THINNEST),
    ):  # fmt: skip
        for left, right in _merged(stretches, x, least):
            yield _rect(name, left, _BAR_TOP, right - left, tall)
    yield f'<rect class="frame" x="{_LEFT}" y="{_BAR_TOP}" width="{_RIGHT - _LEFT}" height="{tall}"/>'
    before = -_LABEL_ROOM
    for row in incidents:
        at = x(min(max(row.start.ns, chart.start_ns), chart.end_ns))
        if at - before >= _LABEL_ROOM:
            yield _text(at, _BAR_TOP - 4, str(row.number), "middle", "mark")
            before = at


def _merged(stretches: Iterable[Stretch], x: Place, least: float) -> Iterable[tuple[float, float]]:
    """Pixels of the stretches, those that touch as one: thousands of short ones do not make a large file."""
    run: tuple[float, float] | None = None
    for item in stretches:
        left, right = x(item.start_ns), x(item.end_ns)
        if right - left < least:
            middle = (left + right) / 2
            left, right = max(middle - least / 2, _LEFT), min(middle + least / 2, _RIGHT)
        if run is not None and left - run[1] < 0.2:
            run = (run[0], max(run[1], right))
            continue
        if run is not None:
            yield run
        run = (left, right)
    if run is not None:
        yield run


def _legend(chart: Chart) -> Iterable[str]:
    exact = chart.based_on == "histograms"
    bands = [("band0", "smallest to largest")]
    if exact:
        bands += [("band5", "5 % to 95 %"), ("band25", "25 % to 75 %")]
    delays = [*bands, ("median", "median" if exact else "mean"), ("loss", "loss")]
    states = [("up", "up"), ("down", "down"), ("out", "does not count"), ("gap", "not measured")]
    names = [name for name, _ in bands]
    for row, entries in enumerate((delays, states)):
        at, y = _LEFT, _LEGEND + 16 * row
        for name, label in entries:
            under = names[: names.index(name) + 1] if name in names else [name]
            yield from _swatch(under, at, y)
            yield _text(at + 19, y, label, "start")
            at += 39 + len(label) * _CHARACTER


def _swatch(classes: Sequence[str], left: float, y: float) -> Iterable[str]:
    """A small sample; bands lie on one another as in the drawing."""
    if classes == ["median"]:
        yield f'<path class="median" d="M{left} {y - 3.5}h14"/>'
        return
    for name in classes:
        yield _rect(name, left, y - 8, 14, 9)
    yield f'<rect class="frame" x="{left}" y="{y - 8}" width="14" height="9"/>'


def _rect(name: str, left: float, top: float, width: float, height: float) -> str:
    return f'<rect class="{name}" x="{left:.1f}" y="{top:g}" width="{max(width, 0):.1f}" height="{height:g}"/>'


def _text(left: float, top: float, text: str, anchor: str, name: str = "") -> str:
    style = f' class="{name}"' if name else ""
    return f'<text{style} x="{left:.1f}" y="{top:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
