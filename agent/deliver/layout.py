"""Which fields a sample's line has, and in which order: the layout shared by all samples of one shape. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.deliver.far_fields import DELAY, VARIATION
from agent.deliver.line import CONNECT_RESULT, GROUPS, OPTIONAL, OWN_INTEGERS
from agent.sla.samples.columns import DIRECTIONS, RESIDENCE_COLUMNS, WITHHELD_COLUMNS
from agent.store.far_end import FAR_HISTOGRAMS, PATH
from agent.store.samplebatch import BATCH_INTEGERS, BATCH_TEXTS, Buckets, SampleBatch
from probes.core.arrays import ABSENT, Int64
from probes.core.model import SampleState

Reals = NDArray[np.float64]
Truths = NDArray[np.bool_]
HIGHEST: Final = (1 << 53) // 100
"""Values below are written by table: a hundred times them are exact as double, as `percent_packet_loss` needs."""
LONGEST_TEXT: Final = 200
"""Letters of a text in a table."""
MOST_BUCKETS: Final = 512
"""Of a histogram in a table: at most 22 octets each, so that none is longer than a text may be."""


class Token(Enum):
    """How a field's value is written."""

    INTEGER = auto()
    MILLISECONDS = auto()
    """a column in ns, as its double in ms"""
    REAL = auto()
    """computed"""
    CHOICE = auto()
    """one of few, by a column"""
    TEXT = auto()
    HISTOGRAM = auto()


def _nothing(_batch: SampleBatch) -> Reals:
    return np.empty(0)


@dataclass(frozen=True, slots=True)
class Field:
    """`before`, the value, `after`. column: of the batch; value: of a REAL; choices: of a CHOICE."""

    before: bytes
    token: Token
    column: str
    after: bytes = b""
    value: Callable[[SampleBatch], Reals] = _nothing
    choices: Sequence[bytes] = ()


_PING_MS: Final = {
    "minimum_response_ms": "rtt_min_ns", "maximum_response_ms": "rtt_max_ns", "standard_deviation_ms": "rtt_stddev_ns",
    "percentile50_ms": "rtt_p50_ns", "percentile95_ms": "rtt_p95_ns", "percentile99_ms": "rtt_p99_ns",
}  # fmt: skip
_FIRST: Final = tuple("rate_streams" if names == GROUPS[-1] else names[0] for names in GROUPS)
"""The column that tells whether a sample has the group."""
_REQUIRED: Final = ("start_ns", "span_ns", "state")

_LEADER: Final = {name: names[0] for names in GROUPS[:2] for name in names[1:]}
"""Column -> the one without which it never is: they have one bit."""
_LEADERS: Final = tuple(name for name in BATCH_INTEGERS if name not in _LEADER)
_BIT: Final = {name: bit for bit, name in enumerate((
    *_LEADERS, "tcp", "some sent", "some delay", "some pairs", "a reason", "a remote", "a histogram",
))}  # fmt: skip
_CLASS: Final = len(_BIT)
"""From this bit on: how many buckets the histogram has, as a power of two, so that tables have little to take out."""
_CLASS_BITS: Final = 4
_PARTS: Final = {
    **{
        f"{way}_{part}": tuple(f"{way}_{name}" for name in names)
        for way in DIRECTIONS
        for part, names in (
            ("sent", ("sent",)), ("lost", ("lost",)), ("delay", DELAY), ("variation", VARIATION),
            ("error_ns", ("error_ns",)), ("dscp", ("dscp",)), ("ttl", ("ttl",)), ("stamped", ("stamped",)),
        )
    },
    "residence": RESIDENCE_COLUMNS,
}  # fmt: skip
"""Columns that a sample has or lacks together, in the order of the line; half of one is for no table."""
_FAR_BIT: Final = {
    name: bit for bit, name in enumerate((*_PARTS, *WITHHELD_COLUMNS, *FAR_HISTOGRAMS), _CLASS + _CLASS_BITS)
}
_FAR_CLASS: Final = _CLASS + _CLASS_BITS + len(_FAR_BIT)
"""As _CLASS, of the greater histogram of both directions. All bits together may be 63."""
_CODES: Final = len(SampleState)


class Shapes:
    """Shapes of samples as numbers, and the fields of each. text: the server keeps text fields."""

    NONE: Final = -1
    """Shape of a sample that is not written."""
    PLAIN: Final = -2
    """Shape of a sample that no table is made for."""

    def __init__(self, text: bool) -> None:
        self._text = text
        self._regular: dict[int, bool] = {}
        self._fields: dict[int, tuple[Field, ...]] = {}

    def of(self, batch: SampleBatch) -> Int64:
        """The shape of each sample (n,)."""
        columns = batch.integers
        shape = np.zeros(len(batch), np.int64)
        odd = np.zeros(len(batch), np.bool_)
        known: dict[str, Truths | bool] = {}
        for name in BATCH_INTEGERS:
            values = columns[name]
            low, high = int(values.min()), int(values.max())
            there = None if low != ABSENT else values != ABSENT
            here: Truths | bool = True if there is None else there if high != ABSENT else False
            if name in _LEADER:
                odd |= np.not_equal(here, known[_LEADER[name]])
            else:
                known[name] = here
                shape |= np.int64(1 << _BIT[name]) * here
            if high == ABSENT:
                continue
            if there is not None:
                low = int(values[there].min())
            if low < 0 or (high >= HIGHEST and name != "start_ns"):
                wrong = (values < 0) if name == "start_ns" else (values < 0) | (values >= HIGHEST)
                odd |= wrong if there is None else wrong & there
        _add_far(batch, shape, odd)
        tcp = np.array([key[2] == "tcp" for key in batch.keys], np.bool_)[batch.key]
        odd |= columns["state"] >= _CODES
        for name, truth in (
            ("tcp", tcp), ("some sent", columns["sent"] > 0), ("some delay", columns["rtt_count"] > 0),
            ("some pairs", columns["ipdv_pairs"] > 0),
        ):  # fmt: skip
            shape |= truth.astype(np.int64) << _BIT[name]
        if self._text:
            self._add_texts(batch, shape, odd)
        shape[odd] = self.PLAIN
        for number in np.unique(shape).tolist() if (shape != shape[0]).any() else (int(shape[0]),):
            if number >= 0 and not self._is_regular(number):
                shape[shape == number] = self.PLAIN
        return shape

    @staticmethod
    def _add_texts(batch: SampleBatch, shape: Int64, odd: Truths) -> None:
        for name, texts in (("a reason", batch.reason), ("a remote", batch.remote)):
            known = {text: len(text or "") for text in set(texts)}
            several = [known[text] for text in texts] if len(known) > 1 else [*known.values()]
            lengths = np.array(several, np.int64)
            shape |= (lengths > 0).astype(np.int64) << _BIT[name]
            odd |= lengths > LONGEST_TEXT
        size = batch.buckets.size
        odd |= size > MOST_BUCKETS
        shape |= (size > 0).astype(np.int64) << _BIT["a histogram"]
        shape |= _classes(size) << _CLASS
        _add_far_texts(batch, shape, odd)

    def _is_regular(self, shape: int) -> bool:
        """False for what no probe reports: a value without the others of its group."""
        known = self._regular.get(shape)
        if known is None:
            known = all(_has(shape, name) for name in _REQUIRED)
            for names, first in zip(GROUPS, _FIRST, strict=True):
                there = [_has(shape, name) for name in names if name not in OPTIONAL]
                optional = [_has(shape, name) for name in names if name in OPTIONAL]
                known &= all(there) if _has(shape, first) else not any(there) and not any(optional)
            self._regular[shape] = known
        return known

    def fields(self, shape: int) -> tuple[Field, ...]:
        """In their order in the line."""
        found = self._fields.get(shape)
        if found is None:
            found = self._fields[shape] = tuple(self._made(shape))
        return found

    def _made(self, shape: int) -> list[Field]:
        found = [
            Field(f"{name}=".encode(), Token.INTEGER, name, b"i,") for name in OWN_INTEGERS if _has(shape, name)
        ]  # fmt: skip
        for part, names in _PARTS.items():
            if _has_far(shape, part):
                found += [Field(f"{name}=".encode(), Token.INTEGER, name, b"i,") for name in names]
        if _has(shape, "tcp"):
            found += _net_response(shape)
        elif _has(shape, "sent") and not _has(shape, "rate_streams"):
            found += _ping(shape)
        for name, bit in (("reason", "a reason"), ("remote", "a remote")):
            if _has(shape, bit):
                found.append(Field(f"{name}=".encode(), Token.TEXT, name, b","))
        if _has(shape, "a histogram"):
            found.append(Field(b'histogram="', Token.HISTOGRAM, "histogram", b'",'))
        for name in WITHHELD_COLUMNS:
            if _has_far(shape, name):
                found.append(Field(f"{name}=".encode(), Token.TEXT, name, b","))
        for name in FAR_HISTOGRAMS:
            if _has_far(shape, name):
                found.append(Field(f'{name}="'.encode(), Token.HISTOGRAM, name, b'",'))
        last = found[-1]
        return [*found[:-1], Field(last.before, last.token, last.column, last.after[:-1], last.value, last.choices)]


def _add_far(batch: SampleBatch, shape: Int64, odd: Truths) -> None:
    """Bits of the parts that only a far end fills. A path, of which there are few, is for no table."""
    for part, names in _PARTS.items():
        if names[0] not in batch.integers:
            continue
        there = batch.integers[names[0]] != ABSENT
        shape |= there.astype(np.int64) << _FAR_BIT[part]
        for name in names:
            values = batch.integers[name]
            known = values != ABSENT
            odd |= (known != there) | (known & ((values < 0) | (values >= HIGHEST)))
    if PATH in batch.texts:
        odd |= np.array([text is not None for text in batch.texts[PATH]], np.bool_)


def _add_far_texts(batch: SampleBatch, shape: Int64, odd: Truths) -> None:
    for name in WITHHELD_COLUMNS:
        if name in batch.texts:
            lengths = np.array([len(text or "") for text in batch.texts[name]], np.int64)
            shape |= (lengths > 0).astype(np.int64) << _FAR_BIT[name]
            odd |= lengths > LONGEST_TEXT
    sizes = [batch.shapes[name].size for name in FAR_HISTOGRAMS if name in batch.shapes]
    for name in FAR_HISTOGRAMS:
        if name in batch.shapes:
            shape |= (batch.shapes[name].size > 0).astype(np.int64) << _FAR_BIT[name]
    if sizes:
        greatest = np.max(sizes, axis=0)
        odd |= greatest > MOST_BUCKETS
        shape |= _classes(greatest) << _FAR_CLASS


def _classes(size: Int64) -> Int64:
    return np.ceil(np.log2(np.clip(size, 1, MOST_BUCKETS))).astype(np.int64)


def _has_far(shape: int, name: str) -> bool:
    return bool(shape >> _FAR_BIT[name] & 1)


def buckets_of(batch: SampleBatch, column: str) -> Buckets:
    """The histograms of this name."""
    return batch.buckets if column == "histogram" else batch.shapes[column]


def texts_of(batch: SampleBatch, column: str) -> Sequence[str | None]:
    """The texts of this name."""
    if column in BATCH_TEXTS:
        return batch.remote if column == "remote" else batch.reason
    return batch.texts[column]


def _has(shape: int, name: str) -> bool:
    return bool(shape >> _BIT[_LEADER.get(name, name)] & 1)


def _ping(shape: int) -> list[Field]:
    found = [
        Field(b"packets_transmitted=", Token.INTEGER, "sent", b"i,"),
        Field(b"packets_received=", Token.INTEGER, "received", b"i,"),
    ]
    if _has(shape, "some sent"):
        found.append(Field(b"percent_packet_loss=", Token.REAL, "", b",", _loss))
    if _has(shape, "some delay"):
        found.append(Field(b"average_response_ms=", Token.REAL, "", b",", _mean_ms))
        found += [Field(f"{name}=".encode(), Token.MILLISECONDS, column, b",") for name, column in _PING_MS.items()]
    if _has(shape, "some pairs"):
        found.append(Field(b"jitter_ipdv_ms=", Token.REAL, "", b",", _ipdv_ms))
    return [*found, Field(b"result_code=", Token.CHOICE, "state", b"i,", choices=_PING_RESULT)]


def _net_response(shape: int) -> list[Field]:
    found = [Field(b"result_code=", Token.CHOICE, "state", b"i,", choices=_NET_RESULT)]
    return [Field(b"response_time=", Token.REAL, "", b",", _mean_s), *found] if _has(shape, "some delay") else found


def _results(codes: Mapping[SampleState, int]) -> tuple[bytes, ...]:
    return tuple(b"%d" % codes.get(SampleState.from_code(code), 0) for code in range(_CODES))


_PING_RESULT: Final = _results({SampleState.INVALID: 2})
_NET_RESULT: Final = _results(CONNECT_RESULT)


# Each in the order of operations of line.py: doubles are only then the same to the last bit.
def _loss(batch: SampleBatch) -> Reals:
    lost, sent = batch.integers["lost"], batch.integers["sent"]
    return 100 * lost / sent


def _mean_ms(batch: SampleBatch) -> Reals:
    return batch.integers["rtt_sum_ns"] / batch.integers["rtt_count"] / 1e6


def _mean_s(batch: SampleBatch) -> Reals:
    return batch.integers["rtt_sum_ns"] / batch.integers["rtt_count"] / 1e9


def _ipdv_ms(batch: SampleBatch) -> Reals:
    return batch.integers["ipdv_abs_sum_ns"] / batch.integers["ipdv_pairs"] / 1e6
