"""Runs the engine in this namespace and prints what it reports: `python -m tests.lab.measure '{"streams": [...]}'`.

One JSON object a line: {"ready": ns, "refused": {probe: text}}, {"event": [kind, text]}, {"sample": {...}},
{"done": ns}. `clock` in the order stands for what the kernel says of its clock.
Ends when every stream has reached its limit, or after `seconds`.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from probes.core.clock import ClockQuality, SystemClock, clock_quality
from probes.core.model import Sample
from probes.engine.loop import Engine
from probes.engine.streams import StreamSpec

_writing = threading.Lock()


def tell(**what: object) -> None:
    with _writing:
        print(json.dumps(what), flush=True)


def plain(sample: Sample) -> dict[str, Any]:
    """A sample as JSON can carry it: arrays as lists, the histogram left out."""
    ways = {
        name: None if (way := getattr(sample, name)) is None else dataclasses.replace(way, histogram=None)
        for name in ("forward", "backward")
    }
    bare = dataclasses.replace(sample, packets=None, histogram=None, **ways)
    packets = sample.packets
    columns = None
    if packets is not None:
        columns = {
            name: None if (column := getattr(packets, name)) is None else column.tolist()
            for name in ("sent_ns", "rtt_ns", "state", "forward_ns", "backward_ns")
        }
    return dataclasses.asdict(bare) | {"packets": columns}


def _spec(stream: dict[str, Any]) -> StreamSpec:
    extras = tuple(
        (name, value.encode() if name == "key" else value) for name, value in sorted(stream.pop("extras", {}).items())
    )
    return StreamSpec(**stream, extras=extras)


def main() -> None:
    order = json.loads(sys.argv[1])
    logging.getLogger("probes").setLevel(logging.ERROR)  # what the engine warns of is told as an event

    def report(samples: Sequence[Sample]) -> None:
        for sample in samples:
            tell(sample=plain(sample))

    told = order.get("clock")
    engine = Engine(
        clock=SystemClock(),
        quality=clock_quality if told is None else lambda: ClockQuality(**told),
        report=report,
        event=lambda kind, text: tell(event=[kind, text]),
        **order.get("engine", {}),
    )
    refused = engine.add([_spec(stream) for stream in order["streams"]])
    engine.start()
    tell(ready=time.time_ns(), refused={probe: str(error) for (_, probe), error in refused.items()})
    deadline = time.monotonic() + order.get("seconds", 60)
    while time.monotonic() < deadline and not engine.done():
        time.sleep(0.05)
    engine.close()
    tell(done=time.time_ns())


if __name__ == "__main__":
    main()
