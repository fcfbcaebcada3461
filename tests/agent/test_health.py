"""Readings of this host: shares, pressures by the kernel's own counters, and what is not told."""

from pathlib import Path

import pytest

from agent.health import HostHealth, parts_per_million
from probes.core.clock import SECOND
from tests.fakes.clock import FakeClock


def pressure(folder: Path, **stalled_us: int) -> Path:
    """/proc/pressure with these microseconds stalled so far."""
    folder.mkdir(exist_ok=True)
    for name, total in stalled_us.items():
        lines = f"some avg10=1.00 avg60=2.00 avg300=3.00 total={total}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total="
        (folder / name).write_text(lines + f"{total // 2}\n")
    return folder


def test_the_readings_are_shares_and_the_process_has_a_size() -> None:
    state = HostHealth(FakeClock()).state
    assert 0.0 <= state.load <= 1.0
    assert 0.0 <= state.stolen <= 1.0
    assert 0.0 < state.memory_available <= 1.0
    assert state.resident > 1_000_000


def test_pressure_is_the_share_of_the_time_since_the_last_reading(tmp_path: Path) -> None:
    """CPU and disk: some task waited; memory: nothing ran (half of it in the file)."""
    clock = FakeClock()
    health = HostHealth(clock, pressure=pressure(tmp_path / "p", cpu=7_000_000, memory=0, io=50))
    clock.advance(2 * SECOND)
    pressure(tmp_path / "p", cpu=7_500_000, memory=2_000_000, io=50)
    state = health.observe()
    assert (state.cpu_pressure, state.memory_pressure, state.io_pressure) == (0.25, 0.5, 0.0)
    assert state.elapsed_ns == 2 * SECOND


@pytest.mark.parametrize("content", [None, "", "some avg10=1.00\n", "nonsense\n"])
def test_a_kernel_that_does_not_tell_its_pressure_is_no_trouble(tmp_path: Path, content: str | None) -> None:
    clock, folder = FakeClock(), tmp_path / "p"
    if content is not None:
        folder.mkdir()
        (folder / "cpu").write_text(content)
    health = HostHealth(clock, pressure=folder)
    clock.advance(SECOND)
    assert health.observe().cpu_pressure is None


def test_shares_are_kept_in_parts_per_million() -> None:
    assert [parts_per_million(share) for share in (None, 0.0, 0.25, 1.0)] == [None, 0, 250_000, 1_000_000]
