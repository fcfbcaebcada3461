"""`linkwitness reflect` in the foreground: answers who may ask, counts the rest, tells it at the end."""

from __future__ import annotations

import re
import signal
import socket

import pytest

from tests.agent.cli.commands import finish, linkwitness, running


def start(process: object) -> tuple[int, int]:
    """The two ports it says it listens on."""
    line = process.stdout.readline()  # type: ignore[attr-defined]
    found = re.fullmatch(r"listening on \S+: echo on UDP port (\d+), throughput on TCP port (\d+)\n", line)
    assert found is not None, line
    process.stdout.readline()  # type: ignore[attr-defined]
    return int(found[1]), int(found[2])


ANY_PORT = ("--echo-port", 0, "--responder-port", 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_answers_and_counts(number: int) -> None:
    with running("reflect", "--listen", "127.0.0.1", "--allow", "127.0.0.0/8", *ANY_PORT) as process:
        echo, responder = start(process)
        done = linkwitness("probe", "udp", "127.0.0.1", "-p", echo, "-c", 4, "-i", "20ms")
        assert "received 4, lost 0 (0 %)" in done.stdout
        socket.create_connection(("127.0.0.1", responder), timeout=5).close()
        code, output, errors = finish(process, number)
    assert (code, errors) == (0, "")
    assert "echo: in 4, answered 4" in output
    assert "throughput: in 1, " in output


def test_a_stranger_is_dropped_and_counted() -> None:
    with running("reflect", "--listen", "127.0.0.1", "--allow", "192.0.2.0/24", *ANY_PORT) as process:
        echo, _ = start(process)
        done = linkwitness("probe", "udp", "127.0.0.1", "-p", echo, "-c", 2, "-i", "20ms", "-w", "200ms")
        assert done.returncode == 1
        _, output, _ = finish(process)
    assert re.search(r"echo: in 2, dropped_\w+ 2\n", output)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--listen", "127.0.0.1"), 2, "Missing option '--allow'"),
        (("--listen", "127.0.0.1", "--allow", "127.0.0.0/8", "--echo-port", "70000"), 2, "70000"),
        (("--listen", "127.0.0.1", "--allow", "everybody", *ANY_PORT), 1, "everybody"),
        (("--listen", "localhost", "--allow", "127.0.0.0/8", *ANY_PORT), 1, "localhost"),
    ],
    ids=["no-allow", "port", "network", "name"],
)
def test_wrong_settings(arguments: tuple[object, ...], code: int, message: str) -> None:
    done = linkwitness("reflect", *arguments)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
