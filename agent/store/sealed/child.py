"""The process that seals: `python -m agent.store.sealed.child STORE BEFORE_DAY NOW_NS PARENT LIVE_BYTES`.

It answers with one line of JSON. Lowest priority for processor and disk, and gone with its parent, so that it disturbs
no measurement.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import platform
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_IOPRIO_WHO_PROCESS: Final = 1
_IOPRIO_IDLE: Final = 3 << 13
_IOPRIO_SET: Final = {"x86_64": 251, "aarch64": 30, "riscv64": 30}
"""Number of the system call, which libc has no function for (ioprio_set(2))."""


def step_back(parent: int) -> None:
    """Nice 19 and idle disk class, where the host allows it; a signal of death when the parent goes."""
    library = ctypes.CDLL(None, use_errno=True)
    library.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)
    with contextlib.suppress(OSError):
        os.nice(19)
    number = _IOPRIO_SET.get(platform.machine())
    if number is not None:
        library.syscall(number, _IOPRIO_WHO_PROCESS, 0, _IOPRIO_IDLE)


def main(arguments: Sequence[str]) -> int:
    """Seal one day or slice; prints {"sealed": name of the part or null, ...} or {"error": ..., "hint": ...}."""
    store, before_day, now_ns = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    live_bytes = int(arguments[4]) or None
    from agent.store.sealed.sealing import SealingBusy, seal_next
    from probes.core.errors import LocalError

    try:
        part = seal_next(store, before_day=before_day, now_ns=now_ns, live_bytes=live_bytes)
    except SealingBusy as busy:
        answer: dict[str, object] = {"sealed": None, "busy": busy.message}
    except LocalError as error:
        answer = {"error": error.message, "hint": error.hint}
    except OSError as error:
        answer = {"error": f"a day cannot be sealed: {error}", "hint": "is the disk full?"}
    else:
        answer = {"sealed": None if part is None else part.name}
    print(json.dumps(answer), flush=True)
    return 1 if "error" in answer else 0


if __name__ == "__main__":
    step_back(int(sys.argv[4]))
    sys.exit(main(sys.argv[1:]))
