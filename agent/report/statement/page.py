"""A statement as one HTML file: no script, nothing loaded from anywhere, made to be printed. Pure."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib import resources
from typing import Final

from jinja2 import DictLoader, Environment, StrictUndefined, Template

from agent.report.statement import figures
from agent.report.statement.axes import time_axis
from agent.report.statement.model import Statement
from agent.report.statement.rules import RULES
from agent.report.statement.smoke import beyond, smoke
from agent.report.statement.sparks import budget_bar, spark
from agent.report.statement.views import Promise, accounts, joined, many_windows, promises

_UNIT: Final = re.compile(r"(?<=\d) (?=(?:%|[nµm]?s|min|h|d|[kMG]?bit/s|[A-Z]{3,4}|points)\b|%)")


def html(statement: Statement) -> str:
    """The whole file. Text of others is escaped; what is inserted as it is was made by our own drawing modules."""
    content, (template, style, style_hash) = statement.content, _parts()
    shown = [
        {
            "row": item.row,
            "count": item.count,
            "told": item.told,
            "bounds": item.bounds,
            "note": item.note,
            "under": _under(item, content.header.period.label),
            "spark": spark(item.trend, item.row.comparison) if item.trend else "",
            "bar": budget_bar(item.row.budget) if item.row.budget else "",
        }
        for item in promises(content)
    ]
    drawn = content.chart is not None and any(row.answered or row.sent for row in content.chart.buckets)
    return template.render(
        s=statement,
        c=content,
        style=style,
        style_hash=style_hash,
        promises=shown,
        has_days=bool(content.trends),
        windows=many_windows(content),
        accounts=accounts(content),
        drawing=smoke(content.chart, content.incidents, content.results) if content.chart and drawn else "",
        beyond=beyond(content.chart, content.results) if content.chart and drawn else "",
        weekends=bool(content.chart and time_axis(content.chart).weekends),
        bucket=figures.span(content.chart.bucket_ns) if content.chart else "",
        rules=RULES,
        joined=joined,
    )


def _under(item: Promise, period: str) -> str:
    """What is said below the name of a promise: its id where that is another, and its window."""
    row = item.row
    parts = [row.objective] if row.objective != row.name else []
    if item.count > 1:
        parts.append(f"{item.count} windows, the worst: {row.window.label}")
    elif row.window.label != period:
        parts.append(row.window.label)
    return ", ".join(parts)


def _bound(value: object) -> object:
    """A number keeps its unit beside it."""
    return _UNIT.sub("\u00a0", value) if type(value) is str else value


@cache
def _parts() -> tuple[Template, str, str]:
    """Template, style and the style's hash for the content security policy."""
    folder = resources.files("agent.report.statement")
    style = folder.joinpath("page.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    environment = Environment(
        loader=DictLoader({"page": folder.joinpath("page.html").read_text("utf-8")}),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_bound,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("page"), style, f"sha256-{digest}"
