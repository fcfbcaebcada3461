"""`probe tcp` and `probe throughput` on loopback, as a user types them."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator

import pytest

from probes.core.clock import SystemClock
from probes.reflect.responder import Responder
from tests.agent.cli.commands import finish, linkwitness, running


@pytest.fixture
def listener() -> Iterator[int]:
    """A TCP port that accepts."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture
def responder() -> Iterator[int]:
    serving = Responder("127.0.0.1", 0, allow=["127.0.0.0/8"], clock=SystemClock())
    serving.start()
    yield serving.port
    serving.close()


def test_tcp_that_accepts(listener: int) -> None:
    done = linkwitness("probe", "tcp", "127.0.0.1", "-p", listener, "-c", 2)
    said = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert said[0] == f"tcp 127.0.0.1 (127.0.0.1), port {listener}"
    assert re.fullmatch(r"ok: attempt=1 time=\d+\.\d{3} ms \(kernel stamps\)", said[1])
    assert re.fullmatch(r"ok: attempt=2 time=.*", said[2])
    assert "2 sent" in said[4]
    assert said[5] == "received 2, lost 0 (0 %)"
    assert said[6].startswith("rtt min/mean/p50/p95/p99/max/stddev = ")


def test_tcp_that_refuses_is_a_missed_target(closed_port: int) -> None:
    done = linkwitness("probe", "tcp", "127.0.0.1", "-p", closed_port, "-c", 1)
    assert done.returncode == 1
    assert "rejected: attempt=1" in done.stdout
    assert "received 0, lost 1 (100 %)" in done.stdout


def test_tcp_as_json(closed_port: int) -> None:
    done = linkwitness("probe", "tcp", "localhost", "-4", "-p", closed_port, "-c", 1, "--json")
    said = json.loads(done.stdout)
    assert done.returncode == 1
    assert (said["schema"], said["kind"]) == ("linkwitness.probe/1", "tcp")
    assert (said["target"], said["address"]) == ("localhost", "127.0.0.1")
    assert said["replied"] is False
    assert said["rtt"] is None
    assert said["runs"][0]["state"] == "rejected"
    assert said["parameters"]["timeout_ns"] == 3_000_000_000


def test_tcp_until_interrupted(listener: int) -> None:
    with running("probe", "tcp", "127.0.0.1", "-p", listener) as process:
        assert process.stdout is not None
        while "attempt=1" not in process.stdout.readline():
            pass
        code, output, errors = finish(process)
    assert code == 130
    assert "received 1, lost 0 (0 %)" in output
    assert errors == ""


@pytest.mark.serial
def test_throughput_both_ways(responder: int) -> None:
    done = linkwitness("probe", "throughput", "127.0.0.1", "-p", responder, "-d", "500ms", "-b", "80Mbit/s")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"ok: attempt=1 forward \S+ .bit/s \(.* retransmits\), backward \S+ .bit/s", done.stdout)
    assert "1 of 1 runs complete" in done.stdout
    assert "forward min/mean/max = " in done.stdout
    assert "\r" not in done.stdout + done.stderr


@pytest.mark.serial
def test_throughput_as_json(responder: int) -> None:
    done = linkwitness(
        "probe", "throughput", "127.0.0.1", "-p", responder, "-d", "300ms", "--direction", "forward", "--json"
    )  # fmt: skip
    rate = json.loads(done.stdout)["runs"][0]["rate"]
    assert done.returncode == 0
    assert rate["forward_bps"] == rate["forward_bytes"] * 8 * 10**9 // rate["forward_ns"]
    assert rate["backward_bps"] is None


@pytest.mark.root
def test_a_name_that_cannot_be_resolved() -> None:
    """In a namespace without any network, so that no resolver is asked."""
    alone = ("unshare", "--net", "--")
    done = linkwitness("probe", "tcp", "no-such-host.invalid", "-p", 80, "-c", 1, through=alone)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert "\nhint: " in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tcp", "127.0.0.1"), "Invalid value for -p / --port: is required"),
        (("tcp", "127.0.0.1", "-p", "80", "-w", "5"), "'5' is not a duration"),
        (("tcp", "127.0.0.1", "-p", "80", "-4", "-6"), "-4 and -6 exclude each other"),
        (("tcp", "127.0.0.1", "-p", "80", "--dscp", "184"), "'184' is not a DSCP"),
        (("tcp", "127.0.0.1", "-p", "80", "-c", "0"), "greater than or equal to 1"),
        (("throughput", "127.0.0.1", "--direction", "up"), "'up' is not one of both, forward, backward"),
        (("tpc", "127.0.0.1"), "Did you mean 'tcp'?"),
        (("tcp",), "Missing argument 'TARGET'"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_usage(arguments: tuple[str, ...], message: str) -> None:
    done = linkwitness("probe", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == ""


def test_help_lists_every_kind() -> None:
    said = linkwitness("probe", "--help").stdout
    for kind in ("icmp", "tcp", "throughput", "udp"):
        assert f"\n  {kind} " in said
