"""Listening quality by the E-model of G.107, simplified, in integers: the same on every machine. Pure.

R = 93.2 - Id - Ie_eff. Id = 0.024 d + 0.11 (d - 177.3) [d > 177.3], d the one-way delay from mouth to ear in ms.
Ie_eff = Ie + (95 - Ie) Ppl / (Ppl / BurstR + Bpl), Ppl the loss in per cent, BurstR = 1: losses independent of each
other. MOS = 1 for R <= 0, 4.5 for R >= 100, else 1 + 0.035 R + 7e-6 R (R - 60) (100 - R), and not below 1.

Ie and Bpl are those of G.113 appendix I. Each impairment is rounded up to 0.0001 and MOS down to a millionth, so that
rounding never makes a line better than it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from probes.core.arrays import Int64
from probes.core.clock import MILLISECOND

MOS_SCALE: Final = 10**6
"""MOS is counted in millionths."""
LEAST_MOS: Final = MOS_SCALE
JITTER_BUFFER_NS: Final = 40 * MILLISECOND
_TEN_THOUSANDTHS: Final = 10**4
_START: Final = 932_000
"""93.2 in ten-thousandths"""
_KNEE_NS: Final = 177_300_000
_TOP: Final = 100 * _TEN_THOUSANDTHS

Codec = Literal["g711", "g711_plc", "g729a"]


@dataclass(frozen=True, slots=True)
class Coding:
    """ie: impairment without loss; bpl_tenths: robustness against loss, in tenths; delay_ns: of coding and packets."""

    ie: int
    bpl_tenths: int
    delay_ns: int


CODINGS: Final[dict[Codec, Coding]] = {
    "g711": Coding(0, 43, 20 * MILLISECOND),
    "g711_plc": Coding(0, 251, 20 * MILLISECOND),
    "g729a": Coding(11, 190, 25 * MILLISECOND),
}


def mouth_to_ear(one_way_ns: Int64, codec: Codec) -> Int64:
    """The network's one-way delay, the jitter buffer and the codec, ns, same shape."""
    return one_way_ns + (JITTER_BUFFER_NS + CODINGS[codec].delay_ns)


def rating(delay_ns: Int64, lost: Int64, sent: Int64, codec: Codec) -> Int64:
    """R in ten-thousandths for a delay from mouth to ear and lost of sent (> 0) packets; arrays of one shape."""
    coding = CODINGS[codec]
    # 0.024 / ms and 0.11 / ms are 24 and 110 ten-thousandths in 10^5 ns.
    delay = -(-(24 * delay_ns + 110 * np.maximum(delay_ns - _KNEE_NS, 0)) // 10**5)
    weighed = 1000 * lost
    loss = -(-(95 - coding.ie) * _TEN_THOUSANDTHS * weighed // (weighed + coding.bpl_tenths * sent))
    return np.asarray(_START - coding.ie * _TEN_THOUSANDTHS - delay - loss, np.int64)


def mos(rating_ten_thousandths: Int64) -> Int64:
    """MOS in millionths of each rating, same shape."""
    r = np.clip(rating_ten_thousandths, 0, _TOP)
    cubic = r * (r - 60 * _TEN_THOUSANDTHS) * (_TOP - r)  # at most 10^17: exact
    # 0.035 R is 35 r / 10^7, 7e-6 of the product 7 cubic / 10^18: both in units of 10^-18, divided once.
    value = 10**6 + (35 * 10**11 * r + 7 * cubic) // 10**12
    value = np.maximum(value, LEAST_MOS)
    result: NDArray[np.int64] = np.where(r >= _TOP, 4_500_000, value)
    return result


def sample_rating(one_way_ns: Int64, lost: Int64, sent: Int64, codec: Codec) -> Int64:
    """R of samples of `sent` (> 0) packets in ten-thousandths, 0 to 100; 0 where all are lost."""
    heard = lost < sent
    value = rating(mouth_to_ear(np.where(heard, one_way_ns, 0), codec), lost, sent, codec)
    return np.where(heard, np.clip(value, 0, _TOP), 0)


def sample_mos(one_way_ns: Int64, lost: Int64, sent: Int64, codec: Codec) -> Int64:
    """MOS in millionths of samples of `sent` (> 0) packets; 1 where all of them are lost: nothing was heard."""
    heard = lost < sent
    value = mos(rating(mouth_to_ear(np.where(heard, one_way_ns, 0), codec), lost, sent, codec))
    return np.where(heard, value, LEAST_MOS)


def best_mos(codec: Codec) -> int:
    """The most that the codec gives, without network delay or loss, in millionths."""
    nothing, one = np.zeros(1, np.int64), np.ones(1, np.int64)
    return int(sample_mos(nothing, nothing, one, codec)[0])
