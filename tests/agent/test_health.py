"""Fitness of the host: what a second of trouble does to the samples around it."""

from dataclasses import replace

import pytest

from agent.health import HostHealth
from probes.core.clock import SECOND
from tests.fakes.clock import FakeClock


def test_the_readings_are_shares_and_the_process_has_a_size() -> None:
    state = HostHealth(FakeClock(), hold_ns=0).state
    assert 0.0 <= state.load <= 1.0
    assert 0.0 <= state.stolen <= 1.0
    assert 0.0 < state.memory_available <= 1.0
    assert state.resident > 1_000_000


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"stolen": 0.62}, "the hypervisor stole 62% of this host's CPU time"),
        ({"memory_available": 0.011}, "only 1.1% of this host's memory is available"),
    ],
)
def test_an_unfit_second_counts_for_its_whole_interval_and_no_longer(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, float], reason: str
) -> None:
    clock = FakeClock()
    health = HostHealth(clock, hold_ns=10 * SECOND)
    fit = replace(health.state, stolen=0.0, memory_available=0.5)
    monkeypatch.setattr(health, "_read", lambda: replace(fit, **change))
    health.observe()
    monkeypatch.setattr(health, "_read", lambda: fit)
    clock.advance(5 * SECOND)
    health.observe()
    assert health.gate() == reason
    clock.advance(6 * SECOND)
    assert health.gate() is None
