"""The agent's reflectors: what cannot start is told once and tried again, what they count becomes an event."""

from __future__ import annotations

import socket
import time
from pathlib import Path

from agent.config import ReflectorSettings, SecretSource
from agent.reflecting import RECORD_EVERY_NS, Reflecting
from tests.agent.running import free_ports
from tests.fakes.clock import FakeClock
from tests.probes.reflect.stamp_asking import KEY, signed


def test_a_key_that_is_missing_is_told_and_looked_for_again(tmp_path: Path) -> None:
    key, clock, events = tmp_path / "key", FakeClock(), []
    echo, responder, stamp = free_ports(3)
    settings = ReflectorSettings(
        "127.0.0.1", echo, responder, ("127.0.0.0/8",), stamp, SecretSource(file=key), stamp_gather_ns=0
    )
    reflecting = Reflecting(clock, lambda kind, text: events.append((kind, text)))
    try:
        wrong, mended = reflecting.open(settings)
        assert (len(wrong), mended) == (1, [])
        assert wrong[0].startswith(f"STAMP does not answer: the secret {key} cannot be read")
        assert list(reflecting.troubles) == ["STAMP"]
        assert reflecting.open(settings) == ([], []), "once"
        key.write_bytes(KEY)
        key.chmod(0o600)
        assert reflecting.open(settings) == ([], ["STAMP answers now"])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine:
            mine.settimeout(10)
            mine.sendto(signed(), ("127.0.0.1", stamp))
            assert len(mine.recv(2000)) == 112
        assert events == []
        clock.advance(RECORD_EVERY_NS)
        for _ in range(20_000):  # the reply is out before it is counted
            if reflecting.counted():
                break
            time.sleep(0.001)
        reflecting.open(settings)
    finally:
        reflecting.close()
    assert events == [("reflector", "STAMP: in 1, answered 1, sessions 1")] * 2


def test_without_a_section_nothing_answers() -> None:
    reflecting = Reflecting(FakeClock(), lambda *_: None)
    assert reflecting.open(None) == ([], [])
    assert (reflecting.counted(), reflecting.troubles) == ([], {})
    reflecting.close()


def test_stamp_can_be_off() -> None:
    echo, responder, _ = free_ports(3)
    reflecting = Reflecting(FakeClock(), lambda *_: None)
    try:
        assert reflecting.open(ReflectorSettings("127.0.0.1", echo, responder, ("127.0.0.0/8",))) == ([], [])
        assert set(reflecting._running) == {"UDP echo", "the responder (TCP)"}
    finally:
        reflecting.close()
