"""Runs the engine in this namespace and prints what it reports: `python -m tests.lab.measure '{"streams": [...]}'`.

One JSON object a line: {"ready": ns, "refused": {probe: text}}, {"event": [kind, text]}, {"sample": {...}},
{"done": ns}.
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

from probes.core.clock import SystemClock
from probes.core.model import Sample
from probes.engine.loop import Engine
from probes.engine.streams import StreamSpec

_writing = threading.Lock()


def tell(**what: object) -> None:
    with _writing:
        print(json.dumps(what), flush=True)


def plain(sample: Sample) -> dict[str, Any]:
    """A sample as JSON can carry it: arrays as lists, the histogram left out."""
    bare = dataclasses.replace(sample, packets=None, histogram=None)
    packets = sample.packets
    columns = None
    if packets is not None:
        columns = {name: getattr(packets, name).tolist() for name in ("sent_ns", "rtt_ns", "state")}
    return dataclasses.asdict(bare) | {"packets": columns}


def main() -> None:
    order = json.loads(sys.argv[1])
    logging.getLogger("probes").setLevel(logging.ERROR)  # what the engine warns of is told as an event

    def report(samples: Sequence[Sample]) -> None:
        for sample in samples:
            tell(sample=plain(sample))

    engine = Engine(
        clock=SystemClock(),
        report=report,
        event=lambda kind, text: tell(event=[kind, text]),
        **order.get("engine", {}),
    )
    refused = engine.add([StreamSpec(**stream) for stream in order["streams"]])
    engine.start()
    tell(ready=time.time_ns(), refused={probe: str(error) for (_, probe), error in refused.items()})
    deadline = time.monotonic() + order.get("seconds", 60)
    while time.monotonic() < deadline and not engine.done():
        time.sleep(0.05)
    engine.close()
    tell(done=time.time_ns())


if __name__ == "__main__":
    main()
