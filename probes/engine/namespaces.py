"""Network namespaces of this host: one thread at a time does a piece of work in another one than the process's own.

A socket stays in the namespace it was opened in (network_namespaces(7)), so only what asks for addresses, interfaces
and counters, or opens a socket, has to be inside.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from probes.core.errors import LocalError, PrivilegeError

FOLDER: Final = Path("/run/netns")
"""Where iproute2 keeps the names."""
_CLONE_NEWNET: Final = 0x4000_0000
_OWN: Final = Path("/proc/thread-self/ns/net")

_libc = ctypes.CDLL(None, use_errno=True)
_libc.setns.argtypes = (ctypes.c_int, ctypes.c_int)


@contextmanager
def inside(name: str | None) -> Iterator[None]:
    """This thread is in the namespace of that name (`ip netns list`) meanwhile; None: where it is anyway.

    Raises LocalError where there is no such namespace, PrivilegeError where this process may not enter it.
    """
    if name is None:
        yield
        return
    home = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _enter_named(name)
        try:
            yield
        finally:
            _enter(home)
    finally:
        os.close(home)


def _enter_named(name: str) -> None:
    try:
        there = os.open(FOLDER / name, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise LocalError(f"there is no network namespace {name!r}", hint="`ip netns list` shows them") from None
    except OSError as error:
        raise LocalError(f"network namespace {name!r} cannot be opened: {error.strerror}") from None
    try:
        _enter(there)
    except OSError as error:
        if error.errno == errno.EPERM:
            raise PrivilegeError(
                f"this process may not enter the network namespace {name!r}",
                hint="that needs CAP_SYS_ADMIN; or run an agent inside it (NetworkNamespacePath= of its unit)",
            ) from None
        raise LocalError(f"{FOLDER / name} is no network namespace: {error.strerror}") from None
    finally:
        os.close(there)


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
