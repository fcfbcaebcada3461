"""Starts the child that traces, follows it to its end or its deadline, and takes what it found.

The child costs half a second of CPU time and 45 MB while it lives: most of it is scapy. Few run at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from probes.core.clock import MILLISECOND, SECOND, Clock
from probes.core.errors import LocalError, PacketError, PrivilegeError
from probes.trace.order import LARGEST, Findings, Order, decode, encode

Progress = Callable[[int, int, int], None]
"""packets sent, answers, farthest ttl; what it raises ends the run at once and is passed on"""

AT_ONCE: Final = 4
"""Children of this process at the same time."""
START_NS: Final = 20 * SECOND
"""A child may take so long to begin: a busy host, a cold disk."""
TURN_NS: Final = 60 * SECOND
"""Longest wait for a turn."""
MODULE: Final = "probes.trace.child"
_LOOK_NS: Final = 100 * MILLISECOND
_COMPLAINT: Final = 4096
_turns = threading.BoundedSemaphore(AT_ONCE)


def run(order: Order, clock: Clock, progress: Progress | None = None) -> Findings:
    """Trace in a child. Ends by its turn, START_NS and order.budget_ns. Raises LocalError for trouble of this host."""
    tell = progress or (lambda *_: None)
    with _turn(clock, tell), _started() as child:
        return _Conversation(child, clock, clock.monotonic() + START_NS + order.budget_ns, tell).findings(order)


@contextlib.contextmanager
def _turn(clock: Clock, tell: Progress) -> Iterator[None]:
    until = clock.monotonic() + TURN_NS
    while not _turns.acquire(timeout=_LOOK_NS / SECOND):
        tell(0, 0, 0)
        if clock.monotonic() >= until:
            raise LocalError(
                f"{AT_ONCE} other path runs were in progress for {TURN_NS // SECOND} s",
                hint="give the path probes a longer `every`",
            )
    try:
        yield
    finally:
        _turns.release()


@contextlib.contextmanager
def _started() -> Iterator[subprocess.Popen[bytes]]:
    """The child; whatever happens, it is gone afterwards."""
    try:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", MODULE],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), bufsize=0,
        )  # fmt: skip
    except OSError as error:
        raise LocalError(
            f"the process that traces cannot be started: {error.strerror or error}",
            hint="is this host out of memory or processes (TasksMax=)?",
        ) from None
    try:
        yield child
    finally:
        if child.poll() is None:
            child.kill()
        child.wait()
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream is not None:
                stream.close()


def environment() -> dict[str, str]:
    """The caller's, with the place this package was loaded from.

    Scapy would make folders for caches and settings, and read pickles from them: it is given places that cannot be.
    """
    home = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH", ""), home)))
    nowhere = dict.fromkeys(("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"), "/dev/null/none")
    return os.environ | nowhere | {"PYTHONPATH": path}


class _Conversation:
    """Both pipes of the child, read as they fill, until it has answered or the deadline is there."""

    def __init__(self, child: subprocess.Popen[bytes], clock: Clock, deadline_ns: int, tell: Progress) -> None:
        self._child, self._clock, self._deadline, self._tell = child, clock, deadline_ns, tell
        self._line = b""
        self._complaint = b""
        self._so_far = (0, 0, 0)
        self._read = 0

    def findings(self, order: Order) -> Findings:
        stdin, stdout, stderr = self._child.stdin, self._child.stdout, self._child.stderr
        assert stdin is not None
        assert stdout is not None
        assert stderr is not None
        with contextlib.suppress(BrokenPipeError):
            stdin.write(encode(order))
            stdin.close()
        open_pipes = {stdout.fileno(), stderr.fileno()}
        poll = select.poll()
        for descriptor in open_pipes:
            poll.register(descriptor, select.POLLIN)
        while open_pipes:
            for descriptor, _ in poll.poll(_LOOK_NS // MILLISECOND):
                data = os.read(descriptor, 1 << 16)
                if not data:
                    poll.unregister(descriptor)
                    open_pipes.discard(descriptor)
                elif descriptor == stderr.fileno():
                    self._complaint = (self._complaint + data)[-_COMPLAINT:]
                elif (found := self._take(data)) is not None:
                    return found
            self._tell(*self._so_far)
            if self._clock.monotonic() >= self._deadline:
                raise LocalError(
                    "the process that traces did not end in time and was ended", hint="is this host overloaded?"
                )
        raise LocalError(f"the process that traces ended without an answer: {self._last_words()}")

    def _take(self, data: bytes) -> Findings | None:
        self._read += len(data)
        if self._read > 2 * LARGEST:
            raise LocalError("the process that traces says too much")
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            found = self._message(line)
            if found is not None:
                return found
        return None

    def _message(self, line: bytes) -> Findings | None:
        try:
            message = json.loads(line)
            if "progress" in message:
                sent, answered, hop = map(int, message["progress"])
                self._so_far = (sent, answered, hop)
                return None
            if "findings" in message:
                return decode(Findings, json.dumps(message["findings"]).encode())
            kind = PrivilegeError if message.get("privilege") else LocalError
            raise kind(str(message["error"]), hint=str(message.get("hint") or ""))
        except (ValueError, TypeError, KeyError, RecursionError, PacketError) as error:
            raise LocalError(f"the process that traces says what cannot be read: {error}") from None

    def _last_words(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(1)
        said = self._complaint.decode("utf-8", "replace").strip().rpartition("\n")[2]
        return f"exit {self._child.returncode}, {said or 'no word'}"
