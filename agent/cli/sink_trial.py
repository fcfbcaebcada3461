"""`linkwitness sink check`: secrets first, then the server, as findings and as JSON document."""

from __future__ import annotations

from dataclasses import dataclass

from agent.cli import config_findings
from agent.cli.finding import Finding, State
from agent.config import SinkSettings
from agent.deliver.examination import remarks
from agent.deliver.survey import FOR_EVER
from agent.deliver.trial import Trial, attempt
from probes.core.clock import SystemClock

SCHEMA = "linkwitness.sink-check/1"


@dataclass(frozen=True, slots=True)
class SinkReport:
    """One sink with everything found; `trial` is None where its secrets cannot be read."""

    settings: SinkSettings
    trial: Trial | None
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        return all(finding.state is not State.FAIL for finding in self.findings)


def examine(settings: SinkSettings, *, write: bool, oldest_ns: int | None = None) -> SinkReport:
    """Secrets first: without them the server is not asked. oldest_ns: start of the oldest sample it does not have."""
    found = list(config_findings.secrets(settings))
    if any(finding.state is State.FAIL for finding in found):
        return SinkReport(settings, None, tuple(found))
    trial = attempt(settings, SystemClock(), write=write)
    subject = f"sink {settings.name}"
    found += [Finding(subject, State(item.state), item.text, item.remedy) for item in remarks(trial, oldest_ns)]
    return SinkReport(settings, trial, tuple(found))


def document(reports: list[SinkReport]) -> dict[str, object]:
    """All sinks for machines; null where it is not known."""
    return {
        "schema": SCHEMA,
        "ok": all(report.ok for report in reports),
        "sinks": [_sink_document(report) for report in reports],
    }


def _sink_document(report: SinkReport) -> dict[str, object]:
    trial = report.trial
    server = None if trial is None else trial.server
    return {
        "name": report.settings.name,
        "url": report.settings.url,
        "ok": report.ok,
        "product": None if server is None else server.product,
        "version": None if server is None else server.version or None,
        "api": None if trial is None else trial.api,
        "keeps_text": None if server is None else server.keeps_text,
        "clock_skew_ns": None if trial is None else trial.skew_ns,
        "retention_ns": None if trial is None or trial.survey.retention_ns == FOR_EVER else trial.survey.retention_ns,
        "certificate_ends_ns": None if trial is None else trial.certificate_ns,
        "field_conflicts": [
            {"measurement": item.measurement, "field": item.field, "theirs": item.theirs, "ours": item.ours}
            for item in (trial.survey.conflicts if trial else ())
        ],
        "http_status": None if trial is None or trial.obstacle is None else trial.obstacle.status,
        "written": trial is not None and trial.written,
        "findings": [
            {"state": finding.state.value, "text": finding.text, "remedy": finding.remedy or None}
            for finding in report.findings
        ],
    }
