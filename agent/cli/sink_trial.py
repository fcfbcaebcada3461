"""What `linkwitness sink check` finds out about one sink, in words with a remedy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from agent.cli import config_findings
from agent.cli.finding import Finding, State
from agent.config import SinkSettings
from agent.deliver.answer import Answer
from agent.deliver.trial import MEASUREMENT, Trial, attempt
from probes.core.clock import SECOND, SystemClock

SCHEMA = "linkwitness.sink-check/1"
SKEW_NS = 2 * SECOND
"""A Date header is good to half a second, and the answer took time: less is no finding."""


@dataclass(frozen=True, slots=True)
class SinkReport:
    """One sink with everything found; `trial` is None where its secrets cannot be read."""

    settings: SinkSettings
    trial: Trial | None
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        return all(finding.state is not State.FAIL for finding in self.findings)


def examine(settings: SinkSettings, *, write: bool) -> SinkReport:
    """Secrets first: without them the server is not asked."""
    found = list(config_findings.secrets(settings))
    if any(finding.state is State.FAIL for finding in found):
        return SinkReport(settings, None, tuple(found))
    trial = attempt(settings, SystemClock(), write=write)
    return SinkReport(settings, trial, (*found, *_findings(trial)))


def _findings(trial: Trial) -> Iterator[Finding]:
    settings, subject = trial.settings, f"sink {trial.settings.name}"
    if trial.server is None:
        words = trial.obstacle.words if trial.obstacle else ""
        remedy = "check `url`, name resolution and firewall; samples wait in the store until it answers"
        yield Finding(subject, State.FAIL, f"{settings.url}: {words}", remedy)
        return
    yield Finding(subject, State.OK, f"{settings.url} is {trial.server}, written by api {trial.api}")
    if trial.obstacle is not None:
        yield Finding(subject, State.FAIL, f"takes no samples: {trial.obstacle.words}", _remedy(trial))
    else:
        text = f"{_place(trial)} takes samples"
        yield Finding(subject, State.OK, f"{text}; wrote one point of {MEASUREMENT}" if trial.written else text)
    yield from _text_finding(trial)
    yield from _clock_finding(trial)


def _place(trial: Trial) -> str:
    settings = trial.settings
    return f"database {settings.database}" if trial.api == "v1" else f"bucket {settings.bucket}"


def _remedy(trial: Trial) -> str:
    """What to do next. An answer about the write path itself comes before its text."""
    settings, server, obstacle = trial.settings, trial.server, trial.obstacle
    if obstacle is None or server is None:
        return ""
    if server.product == "InfluxDB" and server.api != trial.api:
        key = "database" if server.api == "v1" else "bucket"
        return f"this server is written by api {server.api}: set `api: {server.api}` and `{key}`"
    if obstacle.status in (401, 403):
        secret = settings.token or settings.password
        return f"the server refuses the login: renew {secret}" if secret else "the server wants a login: set `token`"
    if obstacle.status == 404:
        return f"create {_place(trial)} on the server, or correct the name"
    if "retention policy not found" in obstacle.words:
        return f"create the retention policy {settings.retention_policy} on the server, or correct the name"
    if obstacle.answer is Answer.RETRY:
        return "the server is busy or broken; samples wait in the store until it takes them"
    return "see the server's words; samples wait in the store"


def _text_finding(trial: Trial) -> Iterator[Finding]:
    subject, server = f"sink {trial.settings.name}", trial.server
    if server is None:
        return
    if trial.keeps_text and not server.keeps_text:
        text = f"`histograms: true`, but {server} stores every text as the number 0"
        yield Finding(subject, State.WARN, text, "leave `histograms` out")
    elif trial.keeps_text:
        yield Finding(subject, State.OK, "keeps text: histograms and reasons are sent")
    else:
        why = "`histograms: false`" if server.keeps_text else f"{server} keeps numbers only"
        yield Finding(subject, State.OK, f"{why}: percentiles can be judged from the store only")


def _clock_finding(trial: Trial) -> Iterator[Finding]:
    if trial.skew_ns is None:
        return
    subject, seconds = f"sink {trial.settings.name}", trial.skew_ns / SECOND
    if abs(trial.skew_ns) <= SKEW_NS:
        yield Finding(subject, State.OK, "its clock agrees with this host's to 2 s")
        return
    side = "ahead of" if seconds > 0 else "behind"
    text = f"its clock is {abs(seconds):.0f} s {side} this host's"
    yield Finding(subject, State.WARN, text, "synchronise both: time stamps of samples are this host's")


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
        "http_status": None if trial is None or trial.obstacle is None else trial.obstacle.status,
        "written": trial is not None and trial.written,
        "findings": [
            {"state": finding.state.value, "text": finding.text, "remedy": finding.remedy or None}
            for finding in report.findings
        ],
    }
