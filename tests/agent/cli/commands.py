"""Runs the command line in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

COMMAND = (sys.executable, "-m", "agent.cli.main")


def linkwitness(
    *arguments: object, timeout: float = 60, through: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run to the end; `through`: a command that runs it, such as unshare."""
    words = (*through, *COMMAND, *(str(argument) for argument in arguments))
    return subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False)


@contextmanager
def running(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """The command, in the background; interruptible even where the tests themselves ignore SIGINT."""
    process = subprocess.Popen(
        (*COMMAND, *(str(argument) for argument in arguments)),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=10)


def finish(process: subprocess.Popen[str], number: int = signal.SIGINT) -> tuple[int, str, str]:
    """Send a signal; exit code, output, errors."""
    process.send_signal(number)
    output, errors = process.communicate(timeout=30)
    return process.returncode, output, errors
