"""What a TWAMP sender writes and reads of test packets, as the engine wants it: RFC 5357 section 4, open mode. Pure.

     +----------------+-------------------+------------------------------+------------------+
     | Sequence (4)   | Timestamp (8)     | Error Estimate (2)           | padding, zero    |
     +----------------+-------------------+------------------------------+------------------+

The layout is that of a STAMP packet without extensions (probes.wire.stamp). A reflector's fields are 27 octets longer
and its padding so much shorter: packets of both directions are of one size. What it pads with is not looked at.
"""

from __future__ import annotations

import numpy as np

from probes.core.arrays import Int64
from probes.core.codec import Octets, Reflections
from probes.wire.stamp_codec import StampCodec


class TwampCodec(StampCodec):
    """All sessions of one DSCP."""

    def __init__(self, *, dscp: int = 0) -> None:
        super().__init__(follow_up=False, class_of_service=False, dscp=dscp)

    def replies(self, data: Octets, length: Int64, *, near_ns: int) -> Reflections:
        return super().replies(data, np.minimum(length, self._base), near_ns=near_ns)

    def _extensions(self, row: Octets, size: int) -> tuple[int, int]:  # noqa: ARG002 (there are none)
        return -1, self._base
