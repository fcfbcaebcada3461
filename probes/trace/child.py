"""The child process that traces: an order on standard input, lines of JSON on standard output, then it is gone.

`{"progress":[sent,answered,hop]}` at most ten times a second, at last `{"findings":{...}}`, or `{"error":...,
"hint":...,"privilege":...}`. It ends itself when its time is long over, whatever becomes of its parent.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from typing import Final

from probes.core.clock import SECOND, SystemClock
from probes.core.errors import LocalError, PrivilegeError
from probes.trace.order import Order, decode, encode

_GRACE_S: Final = 20
_NICER: Final = 10
"""Times are the kernel's, so they stay true; the parent's streams are not to wait for scapy."""
_TELL_NS: Final = SECOND // 10


class _Teller:
    """Says how it goes, now and then."""

    def __init__(self, clock: SystemClock) -> None:
        self._clock, self._due_ns = clock, 0

    def __call__(self, sent: int, answered: int, hop: int) -> None:
        now = self._clock.monotonic()
        if now >= self._due_ns:
            self._due_ns = now + _TELL_NS
            _say({"progress": [sent, answered, hop]})


def main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which then ends this process
    with contextlib.suppress(OSError):
        os.nice(_NICER)
    clock = SystemClock()
    try:
        order = decode(Order, sys.stdin.buffer.readline())
        signal.alarm(order.budget_ns // SECOND + _GRACE_S)
        from probes.trace.tracing import trace

        findings = trace(order, clock, _Teller(clock))
    except LocalError as error:
        _say({"error": error.message, "hint": error.hint, "privilege": isinstance(error, PrivilegeError)})
        return 1
    _write(b'{"findings":' + encode(findings).rstrip(b"\n") + b"}\n")
    return 0


def _say(message: dict[str, object]) -> None:
    _write(json.dumps(message, separators=(",", ":")).encode() + b"\n")


def _write(line: bytes) -> None:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
