"""Runs our echo reflector in this namespace until standard input ends: `python -m tests.lab.answer PORT ADDRESS...`."""

from __future__ import annotations

import contextlib
import json
import sys

from probes.core.clock import SystemClock
from probes.reflect.echo import EchoReflector


def main() -> None:
    port, addresses = int(sys.argv[1]), sys.argv[2:]
    with contextlib.ExitStack() as stack:
        reflectors = []
        for address in addresses:
            reflector = EchoReflector(address, port, allow=["0.0.0.0/0", "::/0"], clock=SystemClock())
            reflector.start()
            stack.callback(reflector.close)
            reflectors.append(reflector)
        print("ready", flush=True)
        sys.stdin.read()
        print(json.dumps([dict(reflector.counters()) for reflector in reflectors]), flush=True)


if __name__ == "__main__":
    main()
