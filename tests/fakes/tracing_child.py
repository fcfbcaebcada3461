"""Stands in for the process that traces, and misbehaves as FAKE_CHILD tells."""

from __future__ import annotations

import os
import sys
import time

ANSWERS = {
    "garbage": b"\x00\xff not json\n",
    "strange": b'{"weather":"fine"}\n',
    "half findings": b'{"findings":{"source":"192.0.2.1"}}\n',
    "refuses": b'{"error":"no such thing","hint":"try another","privilege":false}\n',
    "not permitted": b'{"error":"not permitted","hint":"be root","privilege":true}\n',
    "good": b'{"progress":[3,2,1]}\n{"findings":{"source":"192.0.2.1","shots":[],"mtu":null}}\n',
}


def main() -> None:
    told = os.environ["FAKE_CHILD"]
    sys.stdin.buffer.readline()
    if told == "hangs":
        time.sleep(60)
    if told == "dies":
        raise MemoryError("nothing left")
    if told == "talks":
        for _ in range(100):
            sys.stdout.buffer.write(b'{"progress":[1,1,1]}\n' * 5000)
        return
    sys.stdout.buffer.write(ANSWERS[told])


if __name__ == "__main__":
    main()
