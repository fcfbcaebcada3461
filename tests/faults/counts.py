"""How often each harness tries: few times beside the other tests, often by `make faults`."""

from __future__ import annotations

import os


def count(name: str, few: int, many: int) -> int:
    """`few`; `many` where LINKWITNESS_FAULTS is `long`; or what LINKWITNESS_FAULTS_<NAME> says."""
    usual = many if os.environ.get("LINKWITNESS_FAULTS") == "long" else few
    return int(os.environ.get(f"LINKWITNESS_FAULTS_{name}", usual))
