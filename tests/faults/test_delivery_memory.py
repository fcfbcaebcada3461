"""What a process takes that delivers a backlog does not depend on how long the backlog is."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from agent.store import Store
from probes.core.clock import SystemClock
from tests.fakes.samples import ping
from tests.faults.counts import count

SAMPLES = count("BACKLOG", 40_000, 1_000_000)
BAR_MIB = 120
GROUP = 500


class Counting(BaseHTTPRequestHandler):
    """An InfluxDB that counts lines and forgets them."""

    protocol_version = "HTTP/1.1"
    lines = 0

    def do_GET(self) -> None:
        self.send_response(204)
        self.send_header("X-Influxdb-Version", "2.7.0")
        self.end_headers()

    def do_POST(self) -> None:
        left = int(self.headers["Content-Length"])
        while left:
            octets = self.rfile.read(min(left, 1 << 16))
            Counting.lines += octets.count(b"\n")
            left -= len(octets)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing to say."""


@pytest.fixture
def url() -> Iterator[str]:
    Counting.lines = 0
    with ThreadingHTTPServer(("127.0.0.1", 0), Counting) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_memory_at_a_backlog(tmp_path: Path, url: str, figure: Callable[[str], None]) -> None:
    store = Store.open(tmp_path, clock=SystemClock(), site="lab")
    for first in range(0, SAMPLES, GROUP):
        store.append([ping(number) for number in range(first, first + GROUP)])
        assert store.flush(60)
    store.close(60)
    words = [sys.executable, "-m", "tests.faults.courier_memory", str(tmp_path), url, str(SAMPLES)]
    root = Path(__file__).parents[2]
    done = subprocess.run(words, capture_output=True, text=True, cwd=root, check=False, timeout=3700)
    assert done.returncode == 0, done.stderr
    peak = float(done.stdout)
    assert Counting.lines == SAMPLES
    figure(f"memory at a backlog: {SAMPLES:,} samples delivered, at most {peak:.0f} MiB resident; bar {BAR_MIB}")
    assert peak <= BAR_MIB
