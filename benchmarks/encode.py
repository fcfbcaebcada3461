"""Line protocol of samples, beside influxdb_client's Point with the same tags, fields and time.

`python -m benchmarks.encode`: a batch of 100 circuits as delivery has it (BatchEncoder), the same samples one by one
(LineEncoder) and as Points, in turn, in the same run. The lines of the first two are shown to be the same octets, those
of Point to be equal but for the order of their fields. CPU time of this process, so that other load changes little.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from influxdb_client import Point, WritePrecision

from agent.deliver.line import LineEncoder
from agent.deliver.linebatch import BatchEncoder
from agent.store import StoredSample
from agent.store.samplebatch import of_samples
from probes.core.arrays import Histogram
from probes.core.clock import SECOND
from probes.core.model import Circuit, Counts, Delay, Quality, Sample, SampleState, StampSource, Variation

START = 1_790_000_000 * SECOND
CIRCUIT = Circuit("ACME-AMS-0042", "198.51.100.7", customer="ACME", provider="ExampleTel", labels={"pop": "ams1"})

Field = tuple[str, int | float | str]


def samples(count: int) -> list[Sample]:
    """Ten packets with eight different delays each, as an ICMP stream at one packet a second gives."""
    chance = np.random.default_rng(1)
    values = chance.integers(10**6, 10**8, (count, 14)).tolist()
    return [
        Sample(
            CIRCUIT.id, "icmp", "icmp", START + number * 10 * SECOND, 10 * SECOND, SampleState.OK, Counts(10, 10),
            Delay(10, *row[:7]), Variation(9, *row[7:11]), remote="198.51.100.7",
            quality=Quality(StampSource.KERNEL, row[11], row[12], 0, True, 1_000_000, 0.25),
            histogram=Histogram(np.arange(8) + row[13] % 4000, np.ones(8, np.int64)),
        )
        for number, row in enumerate(values)
    ]  # fmt: skip


def parts(line: str) -> tuple[str, list[str], str]:
    """Head, fields in alphabetical order, time. The benchmark's texts have neither space nor comma."""
    head, fields, at_ns = line.split(" ")
    return head, sorted(fields.split(",")), at_ns


def taken_apart(line: str) -> tuple[dict[str, str], list[Field], int]:
    """Tags, fields as Python values, time: what a user of Point has in hand."""
    head, fields, at_ns = parts(line)
    tags = dict(tag.split("=") for tag in head.split(",")[1:])
    found: list[Field] = []
    for name, _, text in (field.partition("=") for field in fields):
        found.append((name, text[1:-1] if text[0] == '"' else int(text[:-1]) if text[-1] == "i" else float(text)))
    return tags, found, int(at_ns)


def by_point(tags: dict[str, str], fields: Sequence[Field], at_ns: int) -> str:
    point = Point("ping")
    for name, value in tags.items():
        point.tag(name, value)
    for name, value in fields:
        point.field(name, value)
    return str(point.time(at_ns, WritePrecision.NS).to_line_protocol())


def cpu_s(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--samples", type=int, default=5000, help="in one batch; 5000 is what a sink is sent at once")
    options.add_argument("--rounds", type=int, default=9)
    chosen = options.parse_args()
    circuits = {f"ACME-AMS-{number:04}": replace(CIRCUIT, id=f"ACME-AMS-{number:04}") for number in range(100)}
    source = [
        replace(sample, circuit=f"ACME-AMS-{number % 100:04}") for number, sample in enumerate(samples(chosen.samples))
    ]
    batch = of_samples([StoredSample(seq, sample) for seq, sample in enumerate(source)])
    for text in (False, True):
        plain = LineEncoder("ams-edge-01", circuits)
        encoder = BatchEncoder(plain, text=text)
        ours = [plain.encode(sample, text=text) for sample in source]
        assert [line.decode() for line in encoder.encode(batch).lines()] == ours
        points = [taken_apart(line) for line in ours]
        # Floats with a whole value are written `12.0` by us and `12` by Point: the same number to every server.
        for line, point in zip(ours, points, strict=True):
            assert taken_apart(by_point(*point)) == point, line
        ways: tuple[Callable[[], object], ...] = (
            lambda encoder=encoder: encoder.encode(batch),
            lambda plain=plain, text=text: [plain.encode(sample, text=text) for sample in source],
            lambda points=points: [by_point(*point) for point in points],
        )
        rounds = [[cpu_s(way) for way in ways] for _ in range(chosen.rounds)]
        at_once, singly, by_points = (len(ours) / statistics.median(column) for column in zip(*rounds, strict=True))
        ratio = statistics.median(theirs / mine for mine, _, theirs in rounds)
        fields, octets = len(points[0][1]), sum(map(len, ours)) / len(ours)
        print(
            f"{fields} fields, {octets:.0f} octets{', with texts and histogram' if text else ''}: linkwitness "
            f"{at_once:,.0f} lines/s of CPU ({singly:,.0f} one by one), Point {by_points:,.0f}; "
            f"ratio {ratio:.1f} (median of {chosen.rounds} rounds)"
        )


if __name__ == "__main__":
    main()
