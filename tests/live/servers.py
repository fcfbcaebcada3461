"""Real databases from Debian's packages on free loopback ports, as the unprivileged user where we are root."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
    for parent in (directory, *directory.parents):
        if parent.stat().st_mode & 0o011 != 0o011 and "tmp" in str(parent):
            parent.chmod(parent.stat().st_mode | 0o011)
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--no-new-privs"]


class Database:
    """One server process that can be stopped, killed and started again on the same data and port.

    enter: words that run a command elsewhere, such as in a network namespace; `host` then is not reachable from here.
    """

    ready_path = "/"

    def __init__(self, directory: Path, enter: Sequence[str] = ()) -> None:
        self.directory, self._enter = directory, list(enter)
        directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self._become = unprivileged(directory)

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


class InfluxDB1(Database):
    """InfluxDB 1.6: exact integers, ns, text."""

    ready_path = "/ping"

    def __init__(self, directory: Path, enter: Sequence[str] = ()) -> None:
        super().__init__(directory, enter)
        self.internal_port = free_port()
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
