"""`tests.lab.measure` with a seeded fault: round trips are plain differences of stamps, whoever set the clock."""

from __future__ import annotations

import numpy as np

from probes.core.arrays import ABSENT, Int64
from probes.engine import flight
from probes.engine.roundtrip import KERNEL, Reading
from tests.lab.measure import main


def differences(
    *, transmitted_ns: Int64, called_ns: Int64, offset_ns: Int64, received_ns: Int64, now: Reading
) -> tuple[Int64, np.ndarray]:
    """As probes.engine.roundtrip.round_trips would be if clocks were never set."""
    del offset_ns, now
    start = np.where(transmitted_ns == ABSENT, called_ns, transmitted_ns)
    return received_ns - start, np.full(len(start), KERNEL, np.uint8)


if __name__ == "__main__":
    flight.round_trips = differences
    main()
