"""What a trial of a sink means, in words with a remedy: for `sink check` and for the agent's own start. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Final, Literal

from agent.deliver.answer import Answer
from agent.deliver.survey import FOR_EVER
from agent.deliver.trial import MEASUREMENT, Trial
from probes.core.clock import SECOND
from probes.core.units import format_duration

SKEW_NS: Final = 2 * SECOND
"""A Date header is good to half a second, and the answer took time: less is no finding."""
CERTIFICATE_DAYS: Final = 21
DAY_NS: Final = 86_400 * SECOND


@dataclass(frozen=True, slots=True)
class Remark:
    """state: as the findings of `linkwitness doctor`; remedy: what to do next, empty where there is nothing to do."""

    state: Literal["ok", "warn", "fail"]
    text: str
    remedy: str = ""


def remarks(trial: Trial, oldest_ns: int | None) -> Iterator[Remark]:
    """oldest_ns: UTC start of the oldest sample that the sink lacks; None where it has all, or it is not known."""
    settings = trial.settings
    if trial.server is None:
        words = trial.obstacle.words if trial.obstacle else ""
        remedy = "check `url`, name resolution and firewall; samples wait in the store until it answers"
        yield Remark("fail", f"{settings.url}: {words}", remedy)
        return
    yield Remark("ok", f"{settings.url} is {trial.server}, written by api {trial.api}")
    if trial.obstacle is not None:
        yield Remark("fail", f"takes no samples: {trial.obstacle.words}", _remedy(trial))
    else:
        text = f"{_place(trial)} takes samples"
        yield Remark("ok", f"{text}; wrote one point of {MEASUREMENT}" if trial.written else text)
    yield from _about_text(trial)
    yield from _about_clock(trial)
    yield from _about_certificate(trial)
    if trial.obstacle is None:
        yield from _about_types(trial)
        yield from _about_retention(trial, oldest_ns)
        if trial.survey.unread:
            text = f"may write, but not read ({trial.survey.unread}): its retention and field types are not known"
            yield Remark("ok", f"{text}; `check --from` cannot judge from it")


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


def _about_text(trial: Trial) -> Iterator[Remark]:
    server = trial.server
    if server is None:
        return
    if trial.keeps_text and not server.keeps_text:
        text = f"`histograms: true`, but {server} stores every text as the number 0"
        yield Remark("warn", text, "leave `histograms` out")
    elif trial.keeps_text:
        yield Remark("ok", "keeps text: histograms and reasons are sent")
    else:
        why = "`histograms: false`" if server.keeps_text else f"{server} keeps numbers only"
        yield Remark("ok", f"{why}: percentiles can be judged from the store only")


def _about_clock(trial: Trial) -> Iterator[Remark]:
    if trial.skew_ns is None:
        return
    if abs(trial.skew_ns) <= SKEW_NS:
        yield Remark("ok", "its clock agrees with this host's to 2 s")
        return
    side = "ahead of" if trial.skew_ns > 0 else "behind"
    text = f"its clock is {abs(trial.skew_ns) / SECOND:.0f} s {side} this host's"
    yield Remark("warn", text, "synchronise both: time stamps of samples are this host's")


def _about_certificate(trial: Trial) -> Iterator[Remark]:
    if trial.certificate_ns is None:
        return
    days = (trial.certificate_ns - trial.at_ns) // DAY_NS
    date = datetime.fromtimestamp(trial.certificate_ns // SECOND, UTC).strftime("%Y-%m-%d")
    if days < CERTIFICATE_DAYS:
        remedy = "renew it in time: afterwards nothing is sent, samples wait in the store"
        yield Remark("warn", f"its TLS certificate ends in {days} days, on {date}", remedy)
    else:
        yield Remark("ok", f"its TLS certificate is good for {days} days, until {date}")


def _about_types(trial: Trial) -> Iterator[Remark]:
    for name, found in groupby(
        sorted(trial.survey.conflicts, key=lambda item: item.measurement), lambda i: i.measurement
    ):
        fields = list(found)
        listed = ", ".join(f"{item.field} ({item.theirs}, sent as {item.ours})" for item in fields[:4])
        more = f" and {len(fields) - 4} more" if len(fields) > 4 else ""
        text = f"{name} there has fields of other types: {listed}{more}; the server may refuse such samples"
        remedy = (
            f"give linkwitness a {_place(trial).split()[0]} of its own, or drop {name} there; "
            "then `linkwitness sink retry`"
        )
        yield Remark("warn", text, remedy)


def _about_retention(trial: Trial, oldest_ns: int | None) -> Iterator[Remark]:
    keeps = trial.survey.retention_ns
    if keeps is None or trial.server is None:
        return
    if keeps == FOR_EVER:
        yield Remark("ok", "keeps samples for ever")
        return
    text = f"keeps samples for {format_duration(keeps)}"
    if oldest_ns is None or trial.at_ns - oldest_ns <= keeps:
        yield Remark("ok", text)
        return
    age = format_duration((trial.at_ns - oldest_ns) // SECOND * SECOND)
    fate = "will be dropped by it without a word" if trial.server.product == "VictoriaMetrics" else "will be refused"
    remedy = "let the server keep samples for longer before they are sent; the store keeps them all"
    yield Remark("warn", f"{text}, and the oldest it lacks is {age} old: what is older {fate}", remedy)
