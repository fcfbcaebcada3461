"""Real databases from Debian's packages on free loopback ports, as the unprivileged user where we are root."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

READY_S = 20.0
STOP_S = 10.0
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def free_port() -> int:
    with socket.socket() as channel:
        channel.bind(("127.0.0.1", 0))
        port: int = channel.getsockname()[1]
        return port


def unprivileged(directory: Path) -> list[str]:
    """Words that drop root, and the directory given to whom they drop to; nothing when not root."""
    if os.geteuid() != 0:
        return []
    nobody = pwd.getpwnam("nobody")
    os.chown(directory, nobody.pw_uid, nobody.pw_gid)
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--no-new-privs"]


class Database:
    """One server process that can be stopped, killed and started again on the same data and port; a context manager.

    Its directory is its own: pytest closes its folders to other users, whoever runs it next to us.
    enter: words that run a command elsewhere, such as in a network namespace.
    """

    ready_path = "/"

    def __init__(self, enter: Sequence[str] = ()) -> None:
        self._enter = list(enter)
        self.directory = Path(tempfile.mkdtemp(prefix="lw-database-"))
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self._become = unprivileged(self.directory)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def words(self) -> list[str]:
        raise AssertionError("each server has its own command line")

    def start(self) -> None:
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self._enter, *self._become, *self.words()], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, cwd=self.directory,
            )  # fmt: skip
        self.wait_ready()

    def wait_ready(self) -> None:
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            assert self.process is not None
            assert self.process.poll() is None, (self.directory / "log").read_text("utf-8", "replace")[-2000:]
            try:
                self.get(self.ready_path)
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError(f"{type(self).__name__} was not ready within {READY_S:g} s")

    def stop(self) -> None:
        """A clean stop; everything acknowledged is on disk."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(STOP_S)
        self.process = None

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(STOP_S)
        self.process = None

    def get(self, path: str, **parameters: str) -> bytes:
        query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
        if self._enter:
            words = [
                *self._enter,
                "curl",
                "-sS",
                "--fail",
                "--max-time",
                "20",
                "--noproxy",
                "*",
                self.url + path + query,
            ]
            done = subprocess.run(words, capture_output=True, check=False, timeout=30)
            if done.returncode:
                raise OSError(done.stderr.decode("utf-8", "replace"))
            return done.stdout
        with OPENER.open(self.url + path + query, timeout=20) as answer:
            data: bytes = answer.read()
            return data

    def post_body(self, path: str, body: str) -> None:
        """A body as it is, such as line protocol. Only where no namespace has to be entered."""
        OPENER.open(self.url + path, body.encode(), timeout=20).close()

    def post(self, path: str, **parameters: str) -> bytes:
        body = urllib.parse.urlencode(parameters)
        if self._enter:
            words = [*self._enter, "curl", "-sS", "--fail", "--max-time", "20", "--noproxy", "*", "-d", body]
            done = subprocess.run([*words, self.url + path], capture_output=True, check=True, timeout=30)
            return done.stdout
        with OPENER.open(self.url + path, body.encode(), timeout=20) as answer:
            data: bytes = answer.read()
            return data


class VictoriaMetrics(Database):
    """Stores float64 and milliseconds; text is not kept."""

    ready_path = "/health"

    def words(self) -> list[str]:
        return [
            shutil.which("victoria-metrics") or "victoria-metrics",
            f"-storageDataPath={self.directory / 'data'}", f"-httpListenAddr=127.0.0.1:{self.port}",
            "-retentionPeriod=100y", "-search.latencyOffset=0s", "-selfScrapeInterval=0",
            "-dedup.minScrapeInterval=1ms",
        ]  # fmt: skip

    def export(self, match: str) -> list[dict[str, Any]]:
        """All series that match: {"metric": labels, "values": [...], "timestamps": [ms ...]}."""
        self.get("/internal/force_flush")
        lines = self.get("/api/v1/export", **{"match[]": match}).splitlines()
        return [json.loads(line) for line in lines if line.strip()]

    def shown(self, match: str, count: int, within_s: float = 30.0) -> dict[str, Any]:
        """The one series that matches, once it shows `count` values: on a busy host writes are seen seconds later."""
        deadline = time.monotonic() + within_s
        while True:
            (series,) = self.export(match)
            if len(series["timestamps"]) >= count or time.monotonic() > deadline:
                return series
            time.sleep(0.5)


class InfluxDB1(Database):
    """InfluxDB 1.6: exact integers, ns, text."""

    ready_path = "/ping"

    def __init__(self, enter: Sequence[str] = ()) -> None:
        super().__init__(enter)
        self.internal_port = free_port()
        directory = self.directory
        (directory / "influxdb.conf").write_text(
            f"""reporting-disabled = true
bind-address = "127.0.0.1:{self.internal_port}"
[meta]
dir = "{directory}/meta"
[data]
dir = "{directory}/data"
wal-dir = "{directory}/wal"
index-version = "tsi1"
[monitor]
store-enabled = false
[http]
bind-address = "127.0.0.1:{self.port}"
log-enabled = false
[logging]
suppress-logo = true
"""
        )

    def words(self) -> list[str]:
        return [shutil.which("influxd") or "influxd", "-config", str(self.directory / "influxdb.conf")]

    def create(self, database: str) -> None:
        self.post("/query", q=f'CREATE DATABASE "{database}"')

    def query(self, database: str, statement: str) -> list[dict[str, Any]]:
        """Series of the first result; times are int ns."""
        answer = json.loads(self.get("/query", db=database, q=statement, epoch="ns"))
        found: list[dict[str, Any]] = answer["results"][0].get("series", [])
        return found
