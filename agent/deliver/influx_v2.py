"""The /api/v2/write path by influxdb-client, synchronous, over our own bounded transport. The module of that client.

The client's batching mode loses data on outages; only single synchronous writes of ready-made bodies are used. Its
connection pool is replaced by Transport, so that deadlines, body limits and refused redirects hold here too.
"""

from __future__ import annotations

from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.domain.write_precision import WritePrecision
from influxdb_client.rest import ApiException

from agent.config import Secret
from agent.deliver.answer import Reply, classify
from agent.deliver.body import Body
from agent.deliver.http import Response, Transport


class _Pool:
    """The client's pool: it asks for one request at a time. It sends what was compressed before, as it is."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.encoding = "identity"
        self.answered: Response | None = None
        """the last answer, whatever it was"""

    def request(self, method: str, target: str, *, headers: dict[str, str], **more: object) -> Response:
        self.answered = None
        self.answered = self._transport.request(
            method, target, headers=headers | {"Content-Encoding": self.encoding}, **more  # type: ignore[arg-type] # body and limit, as Transport takes them
        )  # fmt: skip
        return self.answered


class V2Writer:
    """Writes batches of lines to one bucket."""

    def __init__(self, transport: Transport, url: str, *, org: str | None, bucket: str, token: Secret | None) -> None:
        self._client = InfluxDBClient(url, token.reveal() if token else "", org=org or "-")
        self._pool = _Pool(transport)
        self._client.api_client.rest_client.pool_manager = self._pool  # type: ignore[assignment] # it only calls request
        self._api = self._client.write_api(write_options=SYNCHRONOUS)
        self._bucket, self._org = bucket, org or "-"

    def write(self, body: Body) -> Reply:
        """One request. Raises NetworkError."""
        self._pool.encoding = body.encoding
        try:
            self._api.write(self._bucket, self._org, body.data, write_precision=WritePrecision.NS)  # type: ignore[arg-type] # an enumeration by name only
        except ApiException as error:
            words = error.body if isinstance(error.body, bytes) else str(error.body or "").encode()
            return classify(int(error.status or 0), dict(error.headers or {}), words)
        answered = self._pool.answered
        assert answered is not None, "the client asked, or raised"
        return classify(answered.status, answered.headers, answered.data)

    def close(self) -> None:
        self._api.close()  # type: ignore[no-untyped-call] # the client has no annotation here
