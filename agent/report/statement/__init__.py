"""The report of one circuit and period for both parties: `build` makes the statement, the renderers write it down."""

from agent.report.statement.composing import build
from agent.report.statement.document import as_json
from agent.report.statement.flat import as_csv
from agent.report.statement.model import Audience, Statement
from agent.report.statement.text import text

__all__ = ["Audience", "Statement", "as_csv", "as_json", "build", "html", "text"]


def html(statement: Statement) -> str:
    """One self-contained HTML file. jinja2 is loaded only for this."""
    from agent.report.statement.page import html as page

    return page(statement)
