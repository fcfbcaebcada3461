"""A child that fails in every way: a LocalError, in time, and nothing left behind."""

from __future__ import annotations

import subprocess
import sys

import pytest

from probes.core.clock import SECOND, SystemClock
from probes.core.errors import LocalError, PrivilegeError
from probes.trace import process
from probes.trace.order import Findings, Order

ORDER = Order(4, "192.0.2.1", "udp", 33434, 7, budget_ns=SECOND // 10)


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The children that were started."""
    started: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def popen(*words: object, **options: object) -> subprocess.Popen[bytes]:
        started.append(real(*words, **options))  # type: ignore[call-overload] # passed on as it came
        return started[-1]

    monkeypatch.setattr(process, "MODULE", "tests.fakes.tracing_child")
    monkeypatch.setattr(process.subprocess, "Popen", popen)
    return started


def run(monkeypatch: pytest.MonkeyPatch, behaviour: str, **options: object) -> Findings:
    monkeypatch.setenv("FAKE_CHILD", behaviour)
    return process.run(ORDER, SystemClock(), **options)  # type: ignore[arg-type] # named as they are there


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ("garbage", "what cannot be read"),
        ("strange", "what cannot be read"),
        ("half findings", "what cannot be read"),
        ("refuses", "no such thing .hint: try another"),
        ("dies", "MemoryError: nothing left"),
        ("talks", "too much"),
    ],
)
def test_what_a_child_does_wrong_is_said(
    behaviour: str, said: str, child: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LocalError, match=said):
        run(monkeypatch, behaviour)
    assert [one.poll() is not None for one in child] == [True]


def test_a_child_that_hangs_is_ended_at_the_deadline(
    child: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "START_NS", SECOND // 5)
    with pytest.raises(LocalError, match="did not end in time"):
        run(monkeypatch, "hangs")
    assert child[0].returncode == -9


def test_who_follows_may_end_it(child: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch) -> None:
    def enough(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(monkeypatch, "hangs", progress=enough)
    assert child[0].returncode == -9


def test_a_good_child_is_believed(child: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, ...]] = []
    assert run(monkeypatch, "good", progress=lambda *now: told.append(now)) == Findings("192.0.2.1", ())
    assert child[0].wait(5) in (0, -9)


def test_missing_privilege_keeps_its_kind(
    child: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PrivilegeError, match="be root"):
        run(monkeypatch, "not permitted")
    assert child


def test_turns_are_given_back_and_bounded(
    child: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(process.AT_ONCE + 1):
        run(monkeypatch, "good")
    monkeypatch.setattr(process, "TURN_NS", 0)
    for _ in range(process.AT_ONCE):
        assert process._turns.acquire(blocking=False)
    try:
        with pytest.raises(LocalError, match="other path runs"):
            run(monkeypatch, "good")
    finally:
        for _ in range(process.AT_ONCE):
            process._turns.release()
    assert len(child) == process.AT_ONCE + 1


def test_scapy_never_comes_into_the_process_that_asks() -> None:
    """Not while it traces either; without the right to trace the sample is invalid, which is as good here."""
    code = (
        "import sys\n"
        "from probes import path\n"
        "from probes.core.catalog import FlowTarget\n"
        "from probes.core.clock import SystemClock\n"
        "target = FlowTarget('C', 'path', '127.0.0.1', '127.0.0.1')\n"
        "sample = path.measure(target, {'mtu': False}, SystemClock())\n"
        "print(sample.state, [name for name in sys.modules if name.split('.')[0] == 'scapy'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    state, _, imported = done.stdout.strip().partition(" ")
    assert state in ("ok", "invalid"), done.stdout
    assert imported == "[]"
