"""`linkwitness reflect` in the foreground: answers who may ask, counts the rest, tells it at the end."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.agent.cli.commands import finish, linkwitness, running
from tests.probes.reflect.stamp_asking import KEY, plain, signed


def start(process: object) -> tuple[int, int, int]:
    """The three ports it says it listens on."""
    line = process.stdout.readline()  # type: ignore[attr-defined]
    ports = r"echo on UDP port (\d+), throughput on TCP port (\d+), STAMP on UDP port (\d+)(?: \(authenticated\))?"
    found = re.fullmatch(rf"listening on \S+: {ports}\n", line)
    assert found is not None, line
    process.stdout.readline()  # type: ignore[attr-defined]
    return int(found[1]), int(found[2]), int(found[3])


ANY_PORT = ("--echo-port", 0, "--responder-port", 0, "--stamp-port", 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_answers_and_counts(number: int) -> None:
    with running("reflect", "--listen", "127.0.0.1", "--allow", "127.0.0.0/8", *ANY_PORT) as process:
        echo, responder, stamp = start(process)
        done = linkwitness("probe", "udp", "127.0.0.1", "-p", echo, "-c", 4, "-i", "20ms")
        assert "received 4, lost 0 (0 %)" in done.stdout
        socket.create_connection(("127.0.0.1", responder), timeout=5).close()
        assert len(ask(stamp, plain())) == 44
        code, output, errors = finish(process, number)
    assert (code, errors) == (0, "")
    assert "echo: in 4, answered 4" in output
    assert "throughput: in 1, " in output
    assert "stamp: in 1, answered 1, sessions 1\n" in output


def test_a_stranger_is_dropped_and_counted() -> None:
    with running("reflect", "--listen", "127.0.0.1", "--allow", "192.0.2.0/24", *ANY_PORT) as process:
        echo, _, _ = start(process)
        done = linkwitness("probe", "udp", "127.0.0.1", "-p", echo, "-c", 2, "-i", "20ms", "-w", "200ms")
        assert done.returncode == 1
        _, output, _ = finish(process)
    assert re.search(r"echo: in 2, dropped_\w+ 2\n", output)


def ask(port: int, *requests: bytes) -> bytes:
    """The first reply to any of the requests."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine:
        mine.settimeout(10)
        for request in requests:
            mine.sendto(request, ("127.0.0.1", port))
        return mine.recv(2000)


def test_with_a_key_file_only_what_is_signed_is_answered(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(KEY + b"\n")
    key.chmod(0o600)
    arguments = ("--listen", "127.0.0.1", "--allow", "127.0.0.0/8", *ANY_PORT, "--key-file", key)
    with running("reflect", *arguments, "--stateless") as process:
        *_, stamp = start(process)
        assert ask(stamp, plain(), plain().ljust(200), signed(9))[:4] == (9).to_bytes(4, "big")
        _, output, errors = finish(process)
    assert "stamp: in 2, answered 1, dropped_hmac 1, sessions 1, kernel_dropped 1\n" in output
    assert "requests dropped" in errors


@pytest.mark.root
def test_without_the_capability_port_862_is_told_and_the_rest_answers() -> None:
    """As the user nobody: STAMP's own port is left out with a reason, and refused where it was asked for."""
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    words = ("--listen", "127.0.0.1", "--allow", "127.0.0.0/8", "--echo-port", "0", "--responder-port", "0")
    command = [*nobody, sys.executable, "-m", "agent.cli.main", "reflect", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "STAMP" not in process.stdout.readline()
        process.terminate()
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "STAMP is not answered: not permitted to answer STAMP on UDP port 862" in errors
    assert "CAP_NET_BIND_SERVICE" in errors
    done = subprocess.run([*command, "--stamp-port", "862"], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert "CAP_NET_BIND_SERVICE" in done.stderr


def test_a_taken_port_is_told() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        words = ("--listen", "127.0.0.1", "--allow", "127.0.0.0/8", "--echo-port", 0, "--responder-port", 0)
        done = linkwitness("reflect", *words, "--stamp-port", taken.getsockname()[1])
    assert done.returncode == 1
    assert "Address already in use" in done.stderr
    assert "is another STAMP or TWAMP reflector running" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--listen", "127.0.0.1"), 2, "Missing option '--allow'"),
        (("--listen", "127.0.0.1", "--allow", "127.0.0.0/8", "--echo-port", "70000"), 2, "70000"),
        (("--listen", "127.0.0.1", "--allow", "127.0.0.0/8", *ANY_PORT, "--key-file", "/nowhere"), 1, "/nowhere"),
        (("--listen", "127.0.0.1", "--allow", "127.0.0.0/8", *ANY_PORT, "--reply-dscp", "high"), 1, "'high'"),
        (("--listen", "::1", "--allow", "::1/128", *ANY_PORT, "--unauthenticated", "::1/128"), 2, "--key-file"),
        (("--listen", "127.0.0.1", "--allow", "everybody", *ANY_PORT), 1, "everybody"),
        (("--listen", "localhost", "--allow", "127.0.0.0/8", *ANY_PORT), 1, "localhost"),
    ],
    ids=["no-allow", "port", "key-file", "dscp", "no-key", "network", "name"],
)
def test_wrong_settings(arguments: tuple[object, ...], code: int, message: str) -> None:
    done = linkwitness("reflect", *arguments)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
