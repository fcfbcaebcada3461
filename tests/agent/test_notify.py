"""sd_notify datagrams, received by a real socket."""

import os
import socket
from pathlib import Path

from agent.notify import Notifier


def listener(path: Path) -> socket.socket:
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    channel.bind(str(path))
    channel.settimeout(5)
    return channel


def test_every_state_reaches_the_service_manager(tmp_path: Path) -> None:
    with listener(tmp_path / "notify") as channel:
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        notifier.ready("measuring\n3 circuits")
        notifier.reloading(1_500_000)
        notifier.status("ok")
        notifier.alive()
        notifier.stopping("bye")
        received = [channel.recv(4096).decode() for _ in range(5)]
    assert received == [
        "READY=1\nSTATUS=measuring 3 circuits",
        "RELOADING=1\nMONOTONIC_USEC=1500",
        "STATUS=ok",
        "WATCHDOG=1",
        "STOPPING=1\nSTATUS=bye",
    ]


def test_an_abstract_address_is_understood() -> None:
    name = f"linkwitness-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind("\0" + name)
        channel.settimeout(5)
        Notifier({"NOTIFY_SOCKET": "@" + name}).alive()
        assert channel.recv(64) == b"WATCHDOG=1"


def test_without_a_service_manager_nothing_happens() -> None:
    notifier = Notifier({})
    notifier.ready("x")
    assert not notifier.active
    assert notifier.watchdog_ns is None


def test_a_service_manager_that_went_away_is_not_an_error(tmp_path: Path) -> None:
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).alive()


def test_the_watchdog_period_counts_only_when_it_is_meant_for_this_process() -> None:
    mine, other = str(os.getpid()), str(os.getpid() + 1)
    assert Notifier({"WATCHDOG_USEC": "60000000"}).watchdog_ns == 60_000_000_000
    assert Notifier({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": mine}).watchdog_ns == 60_000_000_000
    assert Notifier({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": other}).watchdog_ns is None
    assert Notifier({"WATCHDOG_USEC": "soon"}).watchdog_ns is None
    assert Notifier({"WATCHDOG_USEC": "0"}).watchdog_ns is None
