"""Line protocol of many samples at once: byte for byte what LineEncoder writes, in a tenth of the time. Pure.

Samples that have the same values present have lines of the same layout. For each layout all lines are laid out in one
table of octets: literals, and tokens wide enough for the largest value, with NUL where a value needs less. Taking out
the NULs gives the lines. What the table is not made for (negative values, huge ones, long texts, a few samples only)
is written by LineEncoder, sample by sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.deliver import digits
from agent.deliver.layout import Field, Shapes, Token, buckets_of, texts_of
from agent.deliver.line import LineEncoder, LineError, quoted
from agent.store.samplebatch import Buckets, SampleBatch
from probes.core.arrays import Int64
from probes.core.errors import LocalError

FEWEST: Final = 24
"""Fewer samples of one layout are written one by one."""
TABLE: Final = 1 << 19
"""Octets of one table, about: it is to stay in the processor's cache."""

Octets = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class LineBatch:
    """The lines of n samples.

    seq: (n,); parts: what follows one after the other is all lines that could be written, each with its end; order: the
    row of each of them; unwritable: row -> why.
    """

    seq: Int64
    parts: tuple[bytes, ...]
    order: Int64
    unwritable: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.seq)

    def lines(self) -> list[bytes]:
        """The line of each sample, empty where it is unwritable."""
        found = [b""] * len(self)
        lines = b"".join(self.parts).split(b"\n")
        for row, line in zip(self.order.tolist(), lines, strict=False):
            found[row] = line
        return found


Branches = Sequence[tuple[int, str | None]]
"""(first seq, branch) ascending: the tag that samples carry from that seq on. Empty: none does."""


class BatchEncoder:
    """Encodes batches of the samples of one site. text: the server keeps text fields; branches: asked every time."""

    def __init__(self, plain: LineEncoder, *, text: bool, branches: Callable[[], Branches] = tuple) -> None:
        self._plain, self._text, self._branches = plain, text, branches
        self._shapes = Shapes(text)
        self._heads: dict[tuple[str, str, str, str | None], bytes | LineError] = {}

    def encode(self, batch: SampleBatch) -> LineBatch:
        """Never fails: what cannot be written is `unwritable`."""
        if not len(batch):
            return LineBatch(batch.seq, (), np.empty(0, np.int64))
        unwritable = dict(batch.unreadable)
        batch, branch = _by_branch(batch, self._branches())
        heads = [self._head((*key, of)) for key, of in zip(batch.keys, branch, strict=True)]
        refused = np.array([isinstance(head, LineError) for head in heads])[batch.key]
        for row in np.flatnonzero(refused).tolist():
            unwritable.setdefault(row, str(heads[int(batch.key[row])]))
        prefixes = [b"" if isinstance(head, LineError) else head for head in heads]
        shape = self._shapes.of(batch)
        if unwritable:
            shape[list(unwritable)] = Shapes.NONE
        parts: list[bytes] = []
        order: list[Int64] = []
        singly: list[Int64] = []
        for number, rows in _groups(shape):
            if number == Shapes.NONE:
                continue
            if number == Shapes.PLAIN or len(rows) < FEWEST:
                singly.append(rows)
                continue
            one = batch if len(rows) == len(batch) else batch.chosen(rows)
            parts += self._tables(one, self._shapes.fields(number), prefixes)
            order.append(rows)
        for rows in singly:
            written = [self._one(batch, row, branch[int(batch.key[row])], unwritable) for row in rows.tolist()]
            order.append(rows[[line is not None for line in written]])
            parts += [line + b"\n" for line in written if line is not None]
        return LineBatch(batch.seq, tuple(parts), np.concatenate(order) if order else batch.seq[:0], unwritable)

    def _head(self, key: tuple[str, str, str, str | None]) -> bytes | LineError:
        head = self._heads.get(key)
        if head is None:
            try:
                head = self._plain.head(*key).encode("utf-8")
            except LineError as error:
                head = error
            self._heads[key] = head
        return head

    def _one(self, batch: SampleBatch, row: int, branch: str | None, unwritable: dict[int, str]) -> bytes | None:
        try:
            return self._plain.encode(batch.stored(row).sample, text=self._text, branch=branch).encode("utf-8")
        except LocalError as error:
            unwritable[row] = str(error)
            return None

    def _tables(self, batch: SampleBatch, fields: Sequence[Field], heads: Sequence[bytes]) -> list[bytes]:
        """The lines of samples of one layout, each with its end."""
        pieces: list[bytes | digits.Words] = [_chosen(heads, batch.key), b" "]
        for item in fields:
            pieces += (item.before, _written(item, batch), item.after)
        pieces += (b" ", _integers(batch.start_ns), b"\n")
        return _put_together(_merged(pieces), len(batch))


def _by_branch(batch: SampleBatch, branches: Branches) -> tuple[SampleBatch, list[str | None]]:
    """The batch with series told apart by branch, and the branch of each of its keys."""
    if not any(branch for _, branch in branches):
        return batch, [None] * len(batch.keys)
    first = np.array([seq for seq, _ in branches], np.int64)
    number = np.maximum(np.searchsorted(first, batch.seq, "right") - 1, 0)
    names = [branch for _, branch in branches for _ in batch.keys]
    return replace(batch, keys=batch.keys * len(branches), key=batch.key + number * len(batch.keys)), names


def _groups(shape: Int64) -> Iterable[tuple[int, Int64]]:
    """(shape, its rows in their order), by shape."""
    if (shape == shape[0]).all():
        return [(int(shape[0]), np.arange(len(shape)))]
    order = np.argsort(shape, kind="stable")
    shapes, first = np.unique(shape[order], return_index=True)
    return list(zip(shapes.tolist(), np.split(order, first[1:]), strict=True))


def _written(item: Field, batch: SampleBatch) -> bytes | digits.Words:
    """The text of one field of every sample: octets where it is the same for all."""
    if item.token is Token.INTEGER:
        return _integers(batch.integers[item.column])
    if item.token is Token.MILLISECONDS:
        values = batch.integers[item.column]
        if (low := int(values.min())) == (high := int(values.max())):
            return repr(low / 1e6).encode("ascii")
        return digits.milliseconds(values, digits.words_of(high // 10**6))
    if item.token is Token.REAL:
        return _reals(item.value(batch))
    if item.token is Token.CHOICE:
        return _chosen(item.choices, batch.integers[item.column])
    if item.token is Token.TEXT:
        return _texts(texts_of(batch, item.column))
    return _histograms(buckets_of(batch, item.column))


def _integers(values: Int64) -> bytes | digits.Words:
    if (low := int(values.min())) == (high := int(values.max())):
        return b"%d" % low
    return digits.integers(values, digits.words_of(high))


def _reals(values: NDArray[np.float64]) -> bytes | digits.Words:
    if values.min() == values.max():
        return repr(float(values[0])).encode("ascii")
    return digits.reals(values)


def _chosen(choices: Sequence[bytes], number: Int64) -> bytes | digits.Words:
    if (number == number[0]).all():
        return choices[int(number[0])]
    return digits.texts(list(choices))[:, number]


def _texts(values: Sequence[str | None]) -> bytes | digits.Words:
    numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
    number = np.array([numbers[value] for value in values] if len(numbers) > 1 else [0], np.int64)
    return _chosen([quoted(value or "").encode("utf-8") for value in numbers], number)


def _histograms(buckets: Buckets) -> digits.Words:
    """`bucket:packets` pairs joined by `;`. Every sample has at least one bucket."""
    sizes, ends = buckets.size, buckets.ends
    first = digits.integers(buckets.bucket, digits.words_of(int(buckets.bucket.max())))
    second = digits.integers(buckets.packets, digits.words_of(int(buckets.packets.max())))
    width = len(first) + len(second) + 2
    pairs = np.empty((width, len(buckets.bucket)), np.uint32)
    pairs[: len(first)] = first
    pairs[len(first)] = digits.COLON
    pairs[len(first) + 1 : -1] = second
    pairs[-1] = digits.SEMICOLON
    pairs[-1, ends - 1] = 0
    most = int(sizes.max())
    found = np.zeros((len(sizes), most, width), np.uint32)
    places = np.arange(len(buckets.bucket)) + np.repeat(np.arange(len(sizes)) * most - (ends - sizes), sizes)
    found.reshape(-1, width)[places] = pairs.T
    return found.reshape(len(sizes), most * width).T


def _merged(pieces: Sequence[bytes | digits.Words]) -> list[bytes | digits.Words]:
    """Neighbouring literals as one."""
    found: list[bytes | digits.Words] = []
    for piece in pieces:
        if isinstance(piece, bytes) and found and isinstance(found[-1], bytes):
            found[-1] += piece
        else:
            found.append(piece)
    return found


def _put_together(pieces: Sequence[bytes | digits.Words], rows: int) -> list[bytes]:
    """All rows' lines, a table at a time. Tokens stand at multiples of four octets."""
    row = bytearray()
    tokens: list[tuple[int, digits.Words]] = []
    for piece in pieces:
        if isinstance(piece, bytes):
            row += piece
        else:
            row += bytes(-len(row) % 4)
            tokens.append((len(row) // 4, piece))
            row += bytes(4 * len(piece))
    row += bytes(-len(row) % 4)
    one = np.frombuffer(bytes(row), np.uint32)
    most = max(1, min(rows, TABLE // len(row)))
    table = np.empty((most, len(one)), np.uint32)
    found = []
    for first in range(0, rows, most):
        part = table[: min(most, rows - first)]
        part[:] = one
        for place, words in tokens:
            part[:, place : place + len(words)] = words[:, first : first + most].T
        octets: Octets = part.view(np.uint8).reshape(-1)
        found.append(octets[octets != 0].tobytes())
    return found
