"""What somebody at a terminal asks of the running agent, as files in the store's directory.

The agent is the only writer of its store. So `linkwitness sink retry` beside a running agent leaves a file here, the
agent takes it up within a second or two, does it, and leaves the answer beside it.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

from agent.store.sink_state import small_document
from probes.core.clock import SECOND
from probes.core.errors import LocalError

FOLDER: Final = "requests"
_ASKED, _ANSWERED, _UNFINISHED = ".request", ".answer", ".unfinished"
OLDEST_NS: Final = 600 * SECOND
"""Nobody waits for an answer any more, and what was asked may not be wanted any more."""
MOST: Final = 100
LARGEST: Final = 16_384

Action = Literal["retry", "drop"]


@dataclass(frozen=True, slots=True)
class Request:
    """id: names its files; reason: why lines are dropped."""

    id: str
    action: Action
    sink: str
    asked_ns: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """The answer. failed: nothing was done, and text says why."""

    text: str
    count: int = 0
    failed: bool = False


def ask(store: Path, action: Action, sink: str, now_ns: int, reason: str = "") -> Request:
    """Leave a request. Raises LocalError where this user may not write into the store's directory."""
    request = Request(secrets.token_hex(8), action, sink, now_ns, reason)
    try:
        (store / FOLDER).mkdir(mode=0o770, exist_ok=True)
        _write(store / FOLDER / f"{request.id}{_ASKED}", asdict(request))
    except OSError as error:
        raise LocalError(
            f"the running agent cannot be asked: {error.strerror} ({store / FOLDER})",
            hint="do it as the user the agent runs as, or as root",
        ) from None
    return request


def answer_to(store: Path, request: Request) -> Done | None:
    """The answer once it is there; it is taken away."""
    path = store / FOLDER / f"{request.id}{_ANSWERED}"
    found = small_document(path, LARGEST)
    if found is None:
        return None
    with contextlib.suppress(OSError):
        path.unlink()
    count = found.get("count")
    return Done(str(found.get("text", "")), count if type(count) is int else 0, found.get("failed") is True)


def waiting(store: Path, now_ns: int) -> Iterator[Request]:
    """What is asked, oldest first; each is taken away as it is given out. Old requests and answers are removed."""
    try:
        names = sorted(entry.name for entry in os.scandir(store / FOLDER))[:MOST]
    except OSError:
        return
    found = []
    for name in names:
        path = store / FOLDER / name
        request = _request(path) if name.endswith(_ASKED) else None
        if request is not None and abs(now_ns - request.asked_ns) <= OLDEST_NS:
            found.append((request.asked_ns, path, request))
        elif not name.endswith((_ANSWERED, _UNFINISHED)) or _is_old(path, now_ns):
            with contextlib.suppress(OSError):
                path.unlink()
    for _at, path, request in sorted(found, key=lambda item: item[0]):
        try:
            path.unlink()
        except OSError:
            continue
        yield request


def answer(store: Path, request: Request, done: Done) -> None:
    """Leave the answer. A full disk keeps it from whoever asked, not from being done: an event tells as well."""
    with contextlib.suppress(OSError):
        _write(store / FOLDER / f"{request.id}{_ANSWERED}", asdict(done))


def _request(path: Path) -> Request | None:
    found = small_document(path, LARGEST)
    if found is None or found.get("action") not in ("retry", "drop") or found.get("id") != path.stem:
        return None
    sink, asked_ns = found.get("sink"), found.get("asked_ns")
    if not isinstance(sink, str) or type(asked_ns) is not int:
        return None
    return Request(path.stem, found["action"], sink, asked_ns, str(found.get("reason", ""))[:1000])


def _write(path: Path, document: dict[str, object]) -> None:
    unfinished = path.with_suffix(_UNFINISHED)
    unfinished.write_text(json.dumps(document), encoding="utf-8")
    unfinished.chmod(0o644)
    unfinished.rename(path)


def _is_old(path: Path, now_ns: int) -> bool:
    try:
        return now_ns - path.stat().st_mtime_ns > OLDEST_NS
    except OSError:
        return False
