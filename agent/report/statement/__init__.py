"""The report of one circuit and period for both parties: `build` makes the statement, the renderers write it down."""

from agent.report.statement.composing import build
from agent.report.statement.document import as_json
from agent.report.statement.model import Audience, Statement

__all__ = ["Audience", "Statement", "as_json", "build"]
