"""Starting the process that seals, waiting for it with a deadline, and what it answered."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from probes.core.errors import LocalError

_MODULE: Final = "agent.store.sealed.child"
_LOOK_S: Final = 0.1


def seal_one(
    store: Path,
    *,
    before_day: int,
    now_ns: int,
    timeout_s: float,
    stop: threading.Event | None = None,
    live_bytes: int | None = None,
) -> str | None:
    """Seal what is due next in a process of its own; returns the name of the part, None if nothing is due.

    The process is killed when the time is over or `stop` is set: that loses nothing but the work. Raises LocalError.
    """
    numbers = (before_day, now_ns, os.getpid(), live_bytes or 0)
    command = (sys.executable, "-m", _MODULE, str(store), *map(str, numbers))
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_environment()
    ) as child:
        output, complaint = _collect(child, timeout_s, stop or threading.Event())
    if output is None:
        return None
    try:
        answer: Mapping[str, str | None] = json.loads(output.splitlines()[-1])
    except (ValueError, IndexError):
        said = complaint.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise LocalError(
            f"the process that seals ended with {child.returncode}: {said}",
            hint="nothing is lost; the day stays in the live database and is tried again",
        ) from None
    error = answer.get("error")
    if error is not None:
        raise LocalError(error, hint=answer.get("hint") or "")
    return answer["sealed"]


def _collect(child: subprocess.Popen[bytes], timeout_s: float, stop: threading.Event) -> tuple[bytes | None, bytes]:
    """What the child printed; None for one that was stopped. Raises LocalError when its time is over."""
    for _ in range(max(1, int(timeout_s / _LOOK_S))):
        try:
            return child.communicate(timeout=_LOOK_S)
        except subprocess.TimeoutExpired:
            if stop.is_set():
                child.kill()
                return None, b""
    child.kill()
    raise LocalError(f"sealing a day took longer than {timeout_s:.0f} s", hint="it is tried again; is the disk slow?")


def _environment() -> dict[str, str]:
    """The caller's, with the place this package was loaded from."""
    home = str(Path(__file__).parents[3])
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH", ""))))}
