"""Trying one sink without leaving a trace: reached, recognised, allowed, the database there, the clocks alike.

A request whose body is a comment is answered like a write (login, database, retention policy), but writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final

from agent.config import SinkSettings
from agent.deliver.answer import Answer, Reply
from agent.deliver.server import Server
from agent.deliver.sink import Sink
from agent.deliver.survey import Survey, survey
from probes.core.clock import SECOND, Clock

COMMENT: Final = "# linkwitness sink check"
MEASUREMENT: Final = "linkwitness_agent"
NOTHING_TOLD: Final = Survey()


@dataclass(frozen=True, slots=True)
class Trial:
    """What one sink answered. `obstacle` is None where it would take samples.

    at_ns: UTC of the trial; api: the write path chosen; skew_ns: the server's clock minus ours, to half a second, None
    where it tells no time; survey: what it tells of the database; certificate_ns: UTC end of its TLS certificate;
    written: a point was written, because that was asked for.
    """

    settings: SinkSettings
    server: Server | None
    api: str | None
    keeps_text: bool
    skew_ns: int | None
    obstacle: Reply | None
    written: bool = False
    survey: Survey = NOTHING_TOLD
    certificate_ns: int | None = None
    at_ns: int = 0


def attempt(settings: SinkSettings, clock: Clock, *, write: bool = False) -> Trial:
    """Ends within a few of the sink's timeouts, whatever the server does. write: write one point as well."""
    sink = Sink(settings)
    try:
        obstacle = sink.open()
        now_ns = clock.wall()
        server = sink.server
        if obstacle is None:
            reply = sink.write(COMMENT)
            if reply.answer is Answer.WRITTEN and write:
                reply = sink.write(_point(settings.name, now_ns))
            obstacle = None if reply.answer is Answer.WRITTEN else reply
        api = None if server is None else server.api if settings.api == "auto" else settings.api
        told = NOTHING_TOLD if server is None or obstacle is not None else survey(settings, server, api or "")
        return Trial(
            settings, server, api, sink.keeps_text, None if server is None else _skew_ns(server.date, now_ns), obstacle,
            write and obstacle is None, told, sink.certificate_ns, now_ns,
        )  # fmt: skip
    finally:
        sink.close()


def _point(sink: str, now_ns: int) -> str:
    """The name of a sink has letters that need no escape only."""
    return f"{MEASUREMENT},sink={sink} check=1i {now_ns}"


def _skew_ns(date: str, now_ns: int) -> int | None:
    """A Date header names a second: the middle of it is compared."""
    try:
        server_ns = int(parsedate_to_datetime(date).timestamp()) * SECOND + SECOND // 2
    except (ValueError, TypeError, OverflowError):
        return None
    return server_ns - now_ns
