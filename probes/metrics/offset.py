"""Whether two clocks have kept their offset, from delays there and back. Pure.

A delay measured with a clock at each end is the true one plus the clocks' offset on the way there, and less it on the
way back. No true delay is negative, so each packet bounds the offset: -backward <= offset <= forward (the correctness
interval of RFC 5905 section 11.2.1, without its dispersion). Where the bounds of two packets do not meet, a clock was
set in between.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from probes.core.arrays import Int64
from probes.core.clock import MILLISECOND

_DRIFT: Final = 1000
"""Two clocks part by less than 1/1000 of the time that passes (adjtimex(2): 500 ppm each)."""


def set_between(sent_ns: Int64, forward_ns: Int64, backward_ns: Int64) -> NDArray[np.bool_]:
    """True where a clock was set between the packet before and this one; shape (n,), the first one False.

    Packets of one stream with both delays. A step by less than a round trip is not seen for certain.
    """
    found = np.zeros(len(sent_ns), np.bool_)
    slack_ns = MILLISECOND + np.abs(np.diff(sent_ns)) // _DRIFT
    upwards = -backward_ns[1:] > forward_ns[:-1] + slack_ns
    found[1:] = upwards | (-backward_ns[:-1] > forward_ns[1:] + slack_ns)
    return found
