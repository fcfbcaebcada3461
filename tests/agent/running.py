"""A real agent in a process of its own, on loopback and ports of its own: started, listened to, signalled."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import yaml

from agent.store import StoreReader

COMMAND = (sys.executable, "-m", "agent.cli.main")
PATIENCE_S = 60.0
"""Long enough for a machine with other work; a wait ends as soon as what it waits for is there."""


class WithoutAnchors(yaml.SafeDumper):
    """What occurs twice is written twice."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 # of the library
        return True


def free_ports(count: int) -> list[int]:
    """Ports free for UDP and TCP on 127.0.0.1 just now."""
    found: list[int] = []
    with ExitStack() as held:
        while len(found) < count:
            stream = held.enter_context(socket.socket())
            stream.bind(("127.0.0.1", 0))
            port = stream.getsockname()[1]
            datagram = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            try:
                datagram.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
    return found


def udp(port: int, every: str = "100ms", **more: object) -> dict[str, object]:
    return {"kind": "udp", "port": port, "every": every, "timeout": "500ms", **more}


def tcp(port: int, every: str = "1s") -> dict[str, object]:
    return {"kind": "tcp", "port": port, "every": every, "timeout": "500ms"}


def circuit(name: str, *probes: dict[str, object], **more: object) -> dict[str, object]:
    return {"name": name, "target": "127.0.0.1", "probes": list(probes), **more}


def write(folder: Path, circuits: Sequence[dict[str, object]], **sections: object) -> Path:
    """A configuration in the folder: samples of 1 s, its own store, no reflector unless given."""
    folder.mkdir(exist_ok=True)
    (folder / "contracts").mkdir(exist_ok=True)
    document = {"site": "test", "interval": "1s", "store": {"path": "store"}, "circuits": list(circuits), **sections}
    path = folder / "agent.yaml"
    path.write_text(yaml.dump(document, Dumper=WithoutAnchors, sort_keys=False), "utf-8")
    return path


def reflector(echo: int, responder: int) -> dict[str, object]:
    return {
        "listen": "127.0.0.1",
        "echo_port": echo,
        "responder_port": responder,
        "stamp_port": "off",
        "allow": ["127.0.0.0/8"],
    }


class Agent:
    """`linkwitness run` in the background. A context manager: it never outlives the test."""

    def __init__(
        self,
        config: Path,
        *arguments: str,
        environment: dict[str, str] | None = None,
        stdout: int = subprocess.PIPE,
        through: Sequence[str] = (),
    ) -> None:
        clean = {name: value for name, value in os.environ.items() if name not in ("NOTIFY_SOCKET", "JOURNAL_STREAM")}
        self.process = subprocess.Popen(
            (*through, *COMMAND, "run", "-c", str(config), *arguments),
            stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, text=True,
            env={**clean, **(environment or {})},
            # Interruptible even where the tests themselves ignore SIGINT.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip
        self.store = config.parent / "store"
        self.out: list[str] = []
        self.said: list[str] = []
        self._more = threading.Condition()
        self._readers = [
            threading.Thread(target=self._read, args=(stream, lines), daemon=True)
            for stream, lines in ((self.process.stdout, self.out), (self.process.stderr, self.said))
            if stream is not None
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Agent:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)

    def _read(self, stream: IO[str], lines: list[str]) -> None:
        with stream:
            for line in stream:
                with self._more:
                    lines.append(line.rstrip("\n"))
                    self._more.notify_all()
        with self._more:
            self._more.notify_all()

    def line(self, pattern: str, after: int = 0, *, count: int = 1) -> list[str]:
        """Waits for so many lines of either stream that match."""

        def found() -> list[str]:
            return [line for lines in (self.out, self.said) for line in lines[after:] if re.search(pattern, line)]

        with self._more:
            done = self._more.wait_for(lambda: len(found()) >= count or self.process.poll() is not None, PATIENCE_S)
            lines = found()
        assert done, f"no line {pattern!r} in\n{self.text}"
        assert len(lines) >= count, f"it ended without a line {pattern!r}:\n{self.text}"
        return lines

    @property
    def text(self) -> str:
        return "\n".join([*self.out, "--", *self.said])

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def ended(self) -> int:
        """Waits for the end; the exit code."""
        code = self.process.wait(PATIENCE_S)
        for reader in self._readers:
            reader.join(10)
        return code

    def end(self, number: int = signal.SIGINT) -> int:
        self.send(number)
        return self.ended()

    def reader(self) -> StoreReader:
        return StoreReader.open(self.store)
