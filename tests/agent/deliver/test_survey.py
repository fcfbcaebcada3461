"""What a server tells of a database, read from answers as InfluxDB 1, 2 and VictoriaMetrics write them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from agent.config import SecretSource, SinkSettings
from agent.deliver.examination import remarks
from agent.deliver.server import Server
from agent.deliver.survey import FOR_EVER, HOUR_NS, MONTH_NS, Conflict, Survey, survey
from agent.deliver.trial import Trial, attempt
from probes.core.clock import SECOND, SystemClock
from tests.fakes.scripted_server import INFLUX_1, Answer, Request, ScriptedServer

DAY_NS = 24 * HOUR_NS
TLS = Path(__file__).parents[2] / "fakes" / "tls"


class Telling(ScriptedServer):
    """Answers reads by a function of the request."""

    def __init__(self, told: Callable[[Request], Answer]) -> None:
        super().__init__([Answer()], reads=INFLUX_1)
        self._told = told

    def answer_read(self, request: Request) -> Answer:
        return self._told(request)


def series(name: str, columns: list[str], *rows: list[object]) -> Answer:
    found = {"results": [{"statement_id": 0, "series": [{"name": name, "columns": columns, "values": list(rows)}]}]}
    return Answer(200, {}, json.dumps(found).encode())


def policies(*rows: list[object]) -> Answer:
    return series("", ["name", "duration", "shardGroupDuration", "replicaN", "default"], *rows)


def ask(told: Callable[[Request], Answer], product: str = "InfluxDB", api: str = "v1", **more: object) -> Survey:
    with Telling(told) as server:
        settings = SinkSettings(
            "a", server.url, database='s"la', bucket="sla", org="isp", timeout_ns=SECOND, **more,  # type: ignore[arg-type]
        )  # fmt: skip
        return survey(settings, Server(product, "1", api, keeps_text=True), api)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("duration", "expected"),
    [("0s", FOR_EVER), ("168h0m0s", 168 * HOUR_NS), ("1h30m0s", HOUR_NS * 3 // 2), ("soon", None), ("", None)],
)  # fmt: skip
def test_retention_of_the_policy_that_is_written_to(duration: object, expected: int | None) -> None:
    def told(request: Request) -> Answer:
        query = parse_qs(urlsplit(request.path).query).get("q", [""])[0]
        if query != 'SHOW RETENTION POLICIES ON "s\\"la"':
            return Answer(200, {}, b"{}")
        return policies(["other", "1h0m0s", "1h0m0s", 1, False], ["autogen", duration, "168h0m0s", 1, True])

    assert ask(told).retention_ns == expected
    assert ask(told, retention_policy="other").retention_ns == HOUR_NS
    assert ask(told, retention_policy="none").retention_ns is None


def test_retention_of_a_bucket_and_of_victoria_metrics() -> None:
    def bucket(rules: object) -> Callable[[Request], Answer]:
        body = json.dumps({"buckets": [{"name": "sla", "retentionRules": rules}]}).encode()
        return lambda request: Answer(200 if "name=sla&org=isp" in request.path else 404, {}, body)

    assert ask(bucket([{"type": "expire", "everySeconds": 86_400}]), api="v2").retention_ns == DAY_NS
    assert ask(bucket([]), api="v2").retention_ns == FOR_EVER
    assert ask(lambda _: Answer(404, {}, b"{}"), api="v2").retention_ns is None
    flags = {b'-retentionPeriod="3"': 3 * MONTH_NS, b'-retentionPeriod="90d"': 90 * DAY_NS, b"-x=1": MONTH_NS}
    for text, expected in flags.items():
        assert ask(lambda _, text=text: Answer(200, {}, text), "VictoriaMetrics", "v2").retention_ns == expected
    assert ask(lambda _: Answer(401), "VictoriaMetrics", "v2").retention_ns is None


def test_fields_of_other_types() -> None:
    keys = ["fieldKey", "fieldType"]
    rows = [["lost", "float"], ["sent", "integer"], ["histogram", "string"], ["percent_packet_loss", "float"]]
    found = ask(lambda request: series("ping", keys, *rows) if "FIELD" in request.path else Answer(404))
    assert found.conflicts == (Conflict("ping", "lost", "float", "integer"),)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"results":[]}', b'{"results":[{"series":7}]}', b"[" * 9000, b"\xff"])
def test_answers_that_make_no_sense_tell_nothing(body: bytes) -> None:
    for api in ("v1", "v2"):
        assert ask(lambda _: Answer(200, {}, body), api=api) == Survey()


def test_a_token_that_may_only_write_is_no_trouble(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("s3cr3t")
    path.chmod(0o600)
    found = ask(lambda _: Answer(403), token=SecretSource(file=path))
    assert (found.retention_ns, found.unread) == (None, "HTTP 403")


def trial(told: Survey, *, product: str = "InfluxDB", certificate_ns: int | None = None) -> Trial:
    settings = SinkSettings("a", "https://x", database="sla")
    server = Server(product, "1.6", "v1", keeps_text=True)  # type: ignore[arg-type]
    return Trial(settings, server, "v1", True, 0, None, False, told, certificate_ns, 100 * DAY_NS)


def said(found: Trial, oldest_ns: int | None = None) -> list[tuple[str, str, bool]]:
    return [(item.state, item.text, bool(item.remedy)) for item in remarks(found, oldest_ns)][4:]


def test_what_is_said_of_it() -> None:
    week = Survey(7 * DAY_NS)
    assert said(trial(Survey(FOR_EVER))) == [("ok", "keeps samples for ever", False)]
    assert said(trial(week), 95 * DAY_NS) == [("ok", "keeps samples for 7d", False)]
    refused = "keeps samples for 7d, and the oldest it lacks is 10d old: what is older will be refused"
    assert said(trial(week), 90 * DAY_NS) == [("warn", refused, True)]
    [(state, text, _)] = said(trial(week, product="VictoriaMetrics"), 90 * DAY_NS)
    assert (state, text.endswith("what is older will be dropped by it without a word")) == ("warn", True)
    soon, far = said(trial(Survey(), certificate_ns=103 * DAY_NS)), said(trial(Survey(), certificate_ns=190 * DAY_NS))
    assert soon == [("warn", "its TLS certificate ends in 3 days, on 1970-04-14", True)]
    assert far == [("ok", "its TLS certificate is good for 90 days, until 1970-07-10", False)]
    conflicts = tuple(Conflict("ping", name, "float", "integer") for name in ("lost", "sent", "late", "a", "b"))
    [(state, text, remedy)] = said(trial(Survey(conflicts=conflicts)))
    assert (state, remedy) == ("warn", True)
    assert text == (
        "ping there has fields of other types: lost (float, sent as integer), sent (float, sent as integer), "
        "late (float, sent as integer), a (float, sent as integer) and 1 more; the server may refuse such samples"
    )
    [(state, text, _)] = said(trial(Survey(unread="HTTP 403")))
    assert (state, "may write, but not read (HTTP 403)" in text) == ("ok", True)


def test_certificate_of_a_server_behind_tls() -> None:
    with ScriptedServer([Answer()], certificate=TLS / "good.pem") as server:
        settings = SinkSettings("a", server.url, "v1", database="sla", ca_file=TLS / "ca.pem", timeout_ns=3 * SECOND)
        found = attempt(settings, SystemClock())
    assert found.obstacle is None
    assert found.certificate_ns is not None
    assert found.certificate_ns > found.at_ns
    assert any("its TLS certificate is good for" in item.text for item in remarks(found, None))
