"""A strict stand-in for the write paths of InfluxDB 1.x, 2.x and 3.x (by /api/v2/write) that really keeps points.

A point is a series and a time in ns: the same again overwrites. Lines are read by a parser of its own, letter by
letter. What is refused is refused in the words of the real servers. Faults come first, one for each write; afterwards
the server is well.
"""

from __future__ import annotations

import json
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, Literal
from urllib.parse import parse_qs, urlsplit

from tests.fakes.line_parser import NotALineError, Point, Value, parse
from tests.fakes.scripted_server import INFLUX_1, INFLUX_2, Action, Answer, Request, ScriptedServer

Dialect = Literal["1.x", "2.x", "3.x"]
Key = tuple[str, tuple[tuple[str, str], ...], int]
Fault = Action | Callable[[Request], Action]
INFLUX_3: Final = {"X-Influxdb-Version": "3.1.0", "X-Influxdb-Build": "Core"}
READS: Final[Mapping[Dialect, dict[str, str]]] = {"1.x": INFLUX_1, "2.x": INFLUX_2, "3.x": INFLUX_3}
_TYPES: Final = {int: "integer", float: "float", str: "string"}


class PointServer(ScriptedServer):
    """Use as a context manager.

    points: what is kept; changed: points overwritten by other values; again: points written more than once.
    token: what the Authorization header must carry; types: fields that have a type already; from_ns: older points are
    refused; most_lines: a longer request is too large; journal: gets ("write", what became of it) for each write.
    """

    def __init__(
        self,
        faults: Iterable[Fault] = (),
        *,
        dialect: Dialect = "2.x",
        token: str | None = None,
        certificate: Path | None = None,
        port: int = 0,
        journal: list[tuple[str, object]] | None = None,
    ) -> None:
        super().__init__(self._judge, reads=READS[dialect], certificate=certificate, port=port)
        self.points: dict[Key, dict[str, Value]] = {}
        self.again: Counter[Key] = Counter()
        self.changed: list[Key] = []
        self.types: dict[tuple[str, str], str] = {}
        self.from_ns = -(1 << 63)
        self.most_lines = 1 << 30
        self.trouble: Callable[[Request], Action | None] = lambda _request: None
        """asked once the faults are used up"""
        self.faults = deque(faults)
        self.journal = [] if journal is None else journal
        self._dialect, self._token = dialect, token
        self._points_lock = threading.RLock()

    def _keep(self, request: Request) -> None:
        self.take([parse(line) for line in request.lines if not line.startswith("#")])

    def take(self, points: Iterable[Point]) -> None:
        with self._points_lock:
            for point in points:
                key = (point.measurement, tuple(sorted(point.tags.items())), point.time_ns)
                for name, value in point.fields.items():
                    self.types.setdefault((point.measurement, name), _TYPES[type(value)])
                before = self.points.get(key)
                self.points[key] = point.fields if before is None else before | point.fields
                if before is not None:
                    self.again[key] += 1
                    if self.points[key] != before:
                        self.changed.append(key)

    def _judge(self, request: Request) -> Action:
        with self._points_lock:
            fault = self.faults.popleft() if self.faults else None
            action = fault(request) if callable(fault) else fault or self.trouble(request) or self._well(request)
            self.journal.append(("write", action))
            return action

    def _well(self, request: Request) -> Action:
        if refusal := self._refuses_request(request):
            return refusal
        bad: dict[int, str] = {}
        good: list[Point] = []
        for number, line in enumerate(request.lines, start=1):
            try:
                point = None if line.startswith("#") else parse(line)
            except NotALineError as error:
                bad[number] = f"unable to parse '{line}': {error}"
                continue
            if point is not None:
                reason = self._refuses_point(point)
                if reason:
                    bad[number] = reason
                else:
                    good.append(point)
        if not bad:
            return Answer(204)
        malformed = next((reason for reason in bad.values() if reason.startswith("unable")), None)
        if self._dialect != "2.x" or malformed is None:
            self.take(good)
        return self._partial(request, bad, malformed)

    def _refuses_request(self, request: Request) -> Answer | None:
        parts = urlsplit(request.path)
        given = {name: values[0] for name, values in parse_qs(parts.query).items()}
        authorization = request.headers.get("authorization", "")
        path, name = ("/write", "db") if self._dialect == "1.x" else ("/api/v2/write", "bucket")
        if parts.path != path:
            return self._told(404, "not found", "404 page not found")
        if self._token is not None and authorization != f"Token {self._token}":
            return self._told(401, "unauthorized", "unauthorized access")
        if given.get("precision") != "ns":
            return self._told(400, "invalid", "nanoseconds are expected")
        if given.get(name) != "sla":
            return self._told(404, "not found", f'could not find bucket "{given.get(name)}"')
        if len(request.lines) > self.most_lines:
            return self._told(413, "request too large", "cannot read data: points batch is too large")
        return None

    def _refuses_point(self, point: Point) -> str | None:
        if point.time_ns < self.from_ns:
            return "points beyond retention policy"
        for name, value in point.fields.items():
            known, now = self.types.get((point.measurement, name)), _TYPES[type(value)]
            if known is not None and known != now:
                return (
                    f'field type conflict: input field "{name}" on measurement "{point.measurement}" is type {now}, '
                    f"already exists as type {known}"
                )
        return None

    def _partial(self, request: Request, bad: Mapping[int, str], malformed: str | None) -> Answer:
        first = next(iter(bad.values()))
        if self._dialect == "3.x":
            data = [
                {"original_line": request.lines[number - 1][:20], "line_number": number, "error_message": reason}
                for number, reason in list(bad.items())[:100]
            ]
            return _json(400, {"error": "partial write of line protocol occurred", "data": data})
        if self._dialect == "2.x" and malformed is not None:
            return self._told(400, "invalid", malformed)
        dropped = 0 if malformed is not None else len(bad)
        words = f"partial write: {first} dropped={dropped}"
        if self._dialect == "1.x":
            return self._told(400, "", words)
        return self._told(422, "unprocessable entity", f"failure writing points to database: {words}")

    def _told(self, status: int, code: str, words: str) -> Answer:
        return _json(status, {"code": code, "message": words} if self._dialect == "2.x" else {"error": words})


def _json(status: int, document: object) -> Answer:
    return Answer(status, {"Content-Type": "application/json"}, json.dumps(document).encode())
