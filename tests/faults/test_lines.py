"""Hostile names, texts and numbers by the million: what is read from a line is what was meant, or there is no line.

Each case is a sample with other words and values. Lines are encoded as delivery does, many at once, and read by the
strict parser of the tests; refused samples are counted, and refused for a reason that this module finds itself.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

import numpy as np
import pytest

from agent.deliver import line as line_module
from agent.deliver.line import MAXIMUM_TAG, LineEncoder, measurement
from agent.deliver.linebatch import BatchEncoder
from agent.store.samplebatch import BATCH_INTEGERS, Buckets, SampleBatch, SeriesKey
from probes.core.arrays import ABSENT, Int64
from probes.core.model import Circuit
from tests.fakes.line_parser import Point, parse
from tests.faults.counts import count

CASES = count("LINES", 20_000, 100_000_000)
BATCH = 500
LETTERS = [*"ab1 ,=\"\\'#{}%;:", "\n", "\r", "\t", "\0", "\x7f", "\x85", "\u2028", "\u202e", "\ud800", "é", "漢", "🛰"]
ODDS = np.array([6.0] * 6 + [1.0] * (len(LETTERS) - 6)) / (36 + len(LETTERS) - 6)
"""Mostly plain, so that many a word passes."""
KINDS = ("icmp", "udp", "tcp", "throughput")
GROUPS = {
    "counts": ("sent", "received", "lost", "late", "duplicate", "reordered", "corrupt", "not_sent"),
    "delay": (
        "rtt_count", "rtt_sum_ns", "rtt_min_ns", "rtt_max_ns", "rtt_p50_ns", "rtt_p95_ns", "rtt_p99_ns",
        "rtt_stddev_ns",
    ),
    "variation": ("ipdv_pairs", "ipdv_abs_sum_ns", "ipdv_p95_ns", "pdv_p95_ns", "rfc3550_ns"),
}  # fmt: skip
LIMITS = np.array([0, 1, 9, 10, 99, 100, 9_999, 10_000, (1 << 53) - 1, 1 << 53, (1 << 63) - 1, -1, -(1 << 63) + 1])


class Cases:
    """Samples at random, as columns."""

    def __init__(self, seed: int) -> None:
        self._chance = np.random.default_rng(seed)

    def words(self, number: int, longest: int) -> list[str]:
        letters = self._chance.choice(len(LETTERS), (number, longest), p=ODDS)
        lengths = self._chance.integers(0, longest, number, endpoint=True)
        found = ["".join(LETTERS[at] for at in row[:length]) for row, length in zip(letters, lengths, strict=True)]
        for row in np.flatnonzero(self._chance.random(number) < 0.6).tolist():
            found[row] = "plain"[: longest - 1]
        if longest > 4 and number:
            found[0] = "x" * int(self._chance.integers(MAXIMUM_TAG - 3, MAXIMUM_TAG + 4))
        return found

    def numbers(self, number: int) -> Int64:
        """Of every length, limits among them."""
        lengths = self._chance.integers(0, 63, number)
        values = self._chance.integers(0, 1 << 62, number) >> lengths
        odd = self._chance.random(number) < 0.01
        values[odd] = self._chance.choice(LIMITS, int(odd.sum()))
        return values

    def batch(self, number: int) -> SampleBatch:
        integers = {name: np.full(number, ABSENT) for name in BATCH_INTEGERS}
        integers["start_ns"], integers["span_ns"] = self.numbers(number), self.numbers(number)
        integers["state"] = self._chance.integers(0, 5, number)
        for names in GROUPS.values():
            if self._chance.random() < 0.15:
                integers |= {name: self.numbers(number) for name in names}
        kinds = [KINDS[at] for at in self._chance.integers(0, len(KINDS), number)]
        for at, kind in enumerate(self.words(number // 20, 6)):
            kinds[20 * at] = kind
        keys: list[SeriesKey] = list(zip(self.words(number, 10), self.words(number, 4), kinds, strict=True))
        return SampleBatch(
            tuple(keys), np.arange(number), np.arange(number), integers, self.words(number, 12),
            self.words(number, 12), Buckets.none(number),
        )  # fmt: skip


def unwritable(word: str) -> bool:
    """Of a name: found here without the encoder's expressions."""
    if not word or len(word.encode("utf-8", "replace")) > MAXIMUM_TAG:
        return True
    control = any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in word)
    return control or any(word[at + 1 : at + 2] in (",", "=", " ", "") for at in range(len(word)) if word[at] == "\\")


def shown(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)


def check(point: Point, batch: SampleBatch, row: int, site: str) -> None:
    circuit, probe, kind = batch.keys[row]
    assert not any(map(unwritable, (circuit, probe, kind)))
    assert point.tags == {"circuit": circuit, "probe": probe, "kind": kind, "site": site, **known_tags(kind)}
    assert point.measurement == measurement(kind)
    fields = {name: value for name, value in point.fields.items() if name in BATCH_INTEGERS}
    meant = {name: int(column[row]) for name, column in batch.integers.items() if column[row] != ABSENT}
    assert point.time_ns == meant.pop("start_ns")
    assert fields == meant
    assert all(type(value) is int for value in fields.values())
    for name, text in (("reason", batch.reason[row]), ("remote", batch.remote[row])):
        assert point.fields.get(name, "") == shown(text or "")
    if (sent := meant.get("sent")) and kind != "tcp":
        assert point.fields["percent_packet_loss"] == 100 * meant["lost"] / sent
    if (received := meant.get("rtt_count")) and "sent" in meant and kind != "tcp":
        assert point.fields["average_response_ms"] == meant["rtt_sum_ns"] / received / 1e6
        assert point.fields["minimum_response_ms"] == meant["rtt_min_ns"] / 1e6


def known_tags(kind: str) -> dict[str, str]:
    target = {"url": "gw"} if kind in ("icmp", "udp") else {"server": "gw"}
    return target | ({"protocol": "tcp"} if kind == "tcp" else {})


class OneCircuit(dict[str, Circuit]):
    """Every circuit is known, under whatever name."""

    def get(self, name: str, _default: object = None) -> Circuit:  # type: ignore[override]
        return Circuit(name, "gw")


def run(cases: int, seed: int) -> tuple[int, int]:
    """(lines, refused samples) of so many cases."""
    drawn, written, refused = Cases(seed), 0, 0
    site = "ams"
    for first in range(0, cases, BATCH):
        batch = drawn.batch(min(BATCH, cases - first))
        found = BatchEncoder(LineEncoder(site, OneCircuit()), text=True).encode(batch)
        lines = found.lines()
        for row, line in enumerate(lines):
            assert bool(line) != (row in found.unwritable)
            if line:
                check(parse(line.decode("utf-8")), batch, row, site)
            else:
                assert any(map(unwritable, batch.keys[row])), found.unwritable[row]
        refused += len(found.unwritable)
        written += len(found.order)
        assert b"".join(found.parts).count(b"\n") == len(found.order), "a line more or less than was meant"
    return written, refused


def test_what_is_read_is_what_was_meant_or_there_is_no_line(figure: Callable[[str], None]) -> None:
    written, refused = run(CASES, seed=CASES)
    assert written + refused == CASES
    assert min(written, refused) > CASES // 10, "both are to be seen"
    figure(f"lines: {CASES:,} cases: {written:,} lines read as they were meant, {refused:,} refused")


@pytest.mark.parametrize(
    ("name", "replacement"),
    [
        ("_escaped", lambda text, _special="": text.replace(",", "\\,").replace(" ", "\\ ")),
        ("_CONTROL", re.compile("[\x00-\x08]")),
        ("MAXIMUM_TAG", 10_000),
        ("quoted", lambda text: '"' + shown(text).replace('"', '\\"') + '"'),
    ],
)  # fmt: skip
def test_a_seeded_bug_is_caught(monkeypatch: pytest.MonkeyPatch, name: str, replacement: object) -> None:
    monkeypatch.setattr(line_module, name, replacement)
    if name == "quoted":
        monkeypatch.setattr("agent.deliver.linebatch.quoted", replacement)
    with pytest.raises((AssertionError, ValueError)):
        run(4000, seed=1)
