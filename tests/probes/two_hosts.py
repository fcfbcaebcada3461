"""Two network namespaces and a veth pair between them; code runs inside one by entering it in a thread of its own."""

from __future__ import annotations

import ctypes
import itertools
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from tests.lab.namespaces import PREFIX, started

T = TypeVar("T")
_serial = itertools.count()
_CLONE_NEWNET = 0x40000000


@dataclass(frozen=True)
class TwoHosts:
    """`near` has 10.77.0.1 and fd77::1 on link n0, `far` has 10.77.0.2 and fd77::2 on link f0; far forwards."""

    near: str
    far: str

    def ip(self, arguments: str, *, at: str | None = None) -> None:
        """`ip -n NAMESPACE ARGUMENTS`, in `near` unless told otherwise."""
        run(["ip", "-n", at or self.near, *arguments.split()])

    def nft(self, rules: str, *, at: str | None = None) -> None:
        run(["ip", "netns", "exec", at or self.near, "nft", "-f", "-"], text=rules)

    def near_does(self, action: Callable[[], T]) -> T:
        return inside(self.near, action)

    def far_does(self, action: Callable[[], T]) -> T:
        return inside(self.far, action)


def run(command: list[str], text: str | None = None) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def inside(namespace: str, action: Callable[[], T]) -> T:
    """Run `action` in a thread that has entered the namespace. Sockets made there stay in it."""
    results: list[T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            descriptor = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
            try:
                if libc.setns(descriptor, _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            finally:
                os.close(descriptor)
            results.append(action())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    assert not thread.is_alive(), "the action in the namespace did not end"
    if errors:
        raise errors[0]
    return results[0]


@contextmanager
def two_hosts() -> Iterator[TwoHosts]:
    # Named as the lab names its own, so that it sweeps what a killed run left behind.
    stem = f"{PREFIX}-{os.getpid()}-{started(os.getpid())}-{next(_serial)}"
    hosts = TwoHosts(f"{stem}-pairnear", f"{stem}-pairfar")
    made: list[str] = []
    try:
        for namespace in (hosts.near, hosts.far):
            run(["ip", "netns", "add", namespace])
            made.append(namespace)
            settings = ["net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0"]
            if namespace == hosts.far:
                settings += ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]
            run(["ip", "netns", "exec", namespace, "sysctl", "-qw", *settings])
            run(["ip", "-n", namespace, "link", "set", "lo", "up"])
        run(["ip", "link", "add", "n0", "netns", hosts.near, "type", "veth", "peer", "name", "f0", "netns", hosts.far])
        for namespace, link, last in ((hosts.near, "n0", 1), (hosts.far, "f0", 2)):
            run(["ip", "-n", namespace, "addr", "add", f"10.77.0.{last}/24", "dev", link])
            run(["ip", "-n", namespace, "addr", "add", f"fd77::{last}/64", "dev", link, "nodad"])
            run(["ip", "-n", namespace, "link", "set", link, "up"])
        yield hosts
    finally:
        for namespace in made:
            subprocess.run(["ip", "netns", "del", namespace], check=False, capture_output=True, timeout=20)
