"""What is sent in one request: lines, compressed."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

LEVEL: Final = 1
"""Of gzip. Lines are alike: level 5 takes a sixth less room and more than twice the time (benchmarks/encode.py)."""
_GZIP: Final = 16 + zlib.MAX_WBITS


@dataclass(frozen=True, slots=True)
class Body:
    """Octets as they go over the wire. encoding: their Content-Encoding."""

    data: bytes
    encoding: str


def compressed(parts: Iterable[bytes]) -> Body:
    """gzip of what follows one after the other. The same lines give the same octets."""
    press = zlib.compressobj(LEVEL, zlib.DEFLATED, _GZIP)
    return Body(b"".join((*map(press.compress, parts), press.flush())), "gzip")


def plain(parts: Iterable[bytes]) -> Body:
    """As it is."""
    return Body(b"".join(parts), "identity")
