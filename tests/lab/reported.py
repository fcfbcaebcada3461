"""Starts the engine and our reflector on a lab, and reads back what the engine reported."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from probes.core.arrays import ABSENT
from probes.core.model import PacketState
from tests.lab.emulator_log import EmulatorLog, RoundTrips
from tests.lab.namespaces import Lab, LabError, end

MS = 1_000_000
SECOND = 1_000_000_000
UDP_PORT = 8620
OURS = slice(4, 24)
"""stream, sequence and nonce in the payload (probes.wire.payload): what a reply by our reflector leaves as it was"""
PACKETS = int(os.environ.get("LINKWITNESS_LAB_PACKETS", "3000"))
"""Packets of a long run, over all of its cases and streams."""
STREAMS = (("icmp", 4), ("icmp", 6), ("udp", 4), ("udp", 6))


def stream(lab: Lab, kind: str, family: int, **settings: object) -> dict[str, object]:
    """A stream to the far host, called after its kind and family: `icmp4`."""
    address = lab.far.address(family)
    port = {"port": UDP_PORT} if kind == "udp" else {}
    name = {"circuit": "LAB-1", "probe": f"{kind}{family}", "kind": kind, "address": address, "host": address}
    return name | port | {"every_ns": 50 * MS, "timeout_ns": SECOND} | settings


@dataclass
class Reported:
    """All that one stream reported, in order of time."""

    samples: list[dict[str, Any]] = field(default_factory=list)

    def count(self, name: str) -> int:
        """Sum of one count over all samples."""
        return sum(sample["counts"][name] for sample in self.samples if sample["counts"])

    def packets(self) -> dict[str, np.ndarray]:
        """sent_ns (UTC), rtt_ns and state of every packet, in order of sending."""
        parts: dict[str, list[np.ndarray]] = {"sent_ns": [], "rtt_ns": [], "state": []}
        for sample in self.samples:
            if sample["packets"]:
                parts["sent_ns"].append(np.array(sample["packets"]["sent_ns"], np.int64) + sample["start_ns"])
                parts["rtt_ns"].append(np.array(sample["packets"]["rtt_ns"], np.int64))
                parts["state"].append(np.array(sample["packets"]["state"], np.int64))
        return {name: np.concatenate(arrays) if arrays else np.zeros(0, np.int64) for name, arrays in parts.items()}

    def answered(self) -> np.ndarray:
        """Of every packet that was sent, whether it was answered in time."""
        state = self.packets()["state"]
        return state[state != PacketState.NOT_SENT] == PacketState.ANSWERED

    def rtt_ns(self) -> np.ndarray:
        packets = self.packets()
        values = packets["rtt_ns"][packets["state"] == PacketState.ANSWERED]
        assert (values != ABSENT).all()
        return values

    def states(self) -> set[str]:
        return {sample["state"] for sample in self.samples}


@dataclass
class Run:
    """The output of tests.lab.measure."""

    streams: dict[str, Reported]
    events: list[tuple[str, str]]
    refused: dict[str, str]


def truth(log: EmulatorLog, name: str) -> RoundTrips:
    """What became of the packets of a stream made by `stream`: the only one of its kind and family in the log."""
    chosen = log.select(family=int(name[-1]))
    return chosen.echo(OURS) if name.startswith("icmp") else chosen.udp(UDP_PORT, OURS)


class Running:
    """The engine on the near host, its streams added."""

    def __init__(
        self, lab: Lab, streams: Sequence[Mapping[str, object]], *, seconds: float = 60,
        clock: Mapping[str, object] | None = None, environment: Mapping[str, str] | None = None,
        module: str = "tests.lab.measure", **engine: object,
    ) -> None:  # fmt: skip
        """environment: added to this process's; module: what to run, if it does more than `measure`."""
        order = {"streams": streams, "seconds": seconds, "engine": {"span_ns": 10 * SECOND} | engine, "clock": clock}
        pipes = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
        self.process = lab.near.python("-m", module, json.dumps(order), env=os.environ | (environment or {}), **pipes)
        assert self.process.stdout is not None
        self.said = []
        while line := self.process.stdout.readline():
            self.said.append(json.loads(line))
            if "ready" in self.said[-1]:
                return
        raise LabError(f"the engine did not start: {self.process.communicate(timeout=5)[1]}")

    def finish(self, *, timeout: float = 90, by_time: bool = True) -> Run:
        """Wait for the engine's end and sort what it said. Raises LabError when it broke down.

        by_time=False: samples as they came, which is how they were measured where the clock was set meanwhile.
        """
        output, errors = self.process.communicate(timeout=timeout)
        self.said += [json.loads(line) for line in output.splitlines()]
        if self.process.returncode or errors or "done" not in self.said[-1]:
            raise LabError(f"the engine broke down: exit {self.process.returncode}: {errors}")
        run = Run({}, [], {})
        for said in self.said:
            run.refused |= said.get("refused", {})
            if "event" in said:
                run.events.append(tuple(said["event"]))
            if "sample" in said:
                run.streams.setdefault(said["sample"]["probe"], Reported()).samples.append(said["sample"])
        for reported in run.streams.values() if by_time else ():
            reported.samples.sort(key=lambda sample: sample["start_ns"])
        return run


def measure(
    lab: Lab, streams: Sequence[Mapping[str, object]], *, seconds: float = 60,
    clock: Mapping[str, object] | None = None, **engine: object,
) -> Run:  # fmt: skip
    """Run the engine on the near host until its streams have reached their limits."""
    return Running(lab, streams, seconds=seconds, clock=clock, **engine).finish(timeout=seconds + 30)


@contextmanager
def reflector(lab: Lab) -> Iterator[None]:
    """Our echo reflector on the far host, over IPv4 and IPv6."""
    process = lab.far.python(
        "-m", "tests.lab.answer", str(UDP_PORT), lab.far.ipv4, lab.far.ipv6,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise LabError(f"the reflector did not start: {process.communicate(timeout=5)[1]}")
        yield
    finally:
        end(process)
