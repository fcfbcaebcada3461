"""One record of the emulator's log: what was done to one frame, in one definition for the writer and the reader."""

from __future__ import annotations

import struct
from enum import IntEnum

HEAD = 128
"""octets of the frame kept, from the Ethernet header on"""

MAGIC = b"LWEMULOG1\n"

FIELDS = (
    ("number", "Q", "<u8"),  # of the frame, in order of reading, over both directions
    ("arrival_ns", "q", "<i8"),  # kernel receive stamp, UTC
    ("due_ns", "q", "<i8"),  # when it was to leave; 0 for a dropped frame
    ("departure_ns", "q", "<i8"),  # UTC just before the send call; 0 for a dropped frame
    ("released_ns", "q", "<i8"),  # UTC just after the send call: the true departure is between the two
    ("length", "I", "<u4"),  # octets of the whole frame
    ("direction", "B", "u1"),
    ("action", "B", "u1"),
    ("reason", "B", "u1"),  # impairment.Reason
    ("flags", "B", "u1"),  # impairment.REORDERED, CORRUPTED, EXEMPT
    ("head", f"{HEAD}s", f"({HEAD},)u1"),
)

LAYOUT = struct.Struct("<" + "".join(code for _, code, _ in FIELDS))
DTYPE = [(name, kind) for name, _, kind in FIELDS]


class Way(IntEnum):
    """Direction of a frame: FORWARD is from the near host to the far one."""

    FORWARD = 0
    BACKWARD = 1


class Action(IntEnum):
    """What was done. A duplicated frame has a PASSED record and one COPIED record more, with the same number."""

    PASSED = 0
    DROPPED = 1
    COPIED = 2
