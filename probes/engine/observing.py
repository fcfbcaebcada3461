"""Collects what became of single packets, for whoever watches them live. Costs nothing when nobody does."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from probes.core.arrays import ABSENT, Int64
from probes.engine.farside import OneWayDelays
from probes.engine.streams import Key, PacketEvents


class PacketLog:
    """Outcomes since the last `take`."""

    def __init__(self) -> None:
        self._stream: list[Int64] = []
        self._sequence: list[Int64] = []
        self._state: list[NDArray[np.uint8]] = []
        self._rtt_ns: list[Int64] = []
        self._duplicate: list[NDArray[np.bool_]] = []
        self._ttl: list[Int64] = []
        self._source: list[str] = []
        self._reason: list[str | None] = []
        self._forward_ns: list[Int64] = []
        self._backward_ns: list[Int64] = []

    def add(
        self, stream: Int64, sequence: Int64, state: NDArray[np.uint8], *, rtt_ns: Int64 | None = None,
        duplicate: NDArray[np.bool_] | None = None, ttl: Int64 | None = None, source: list[str] | None = None,
        reason: list[str] | None = None, delays: OneWayDelays | None = None,
    ) -> None:  # fmt: skip
        """Outcomes of n packets; what is not given is absent."""
        n = len(stream)
        self._stream.append(stream)
        self._sequence.append(sequence)
        self._state.append(state)
        self._rtt_ns.append(np.full(n, ABSENT, np.int64) if rtt_ns is None else rtt_ns)
        self._duplicate.append(np.zeros(n, np.bool_) if duplicate is None else duplicate)
        self._ttl.append(np.full(n, ABSENT, np.int64) if ttl is None else ttl)
        self._source.extend([""] * n if source is None else source)
        self._reason.extend([None] * n if reason is None else reason)
        self._forward_ns.append(np.full(n, ABSENT, np.int64) if delays is None else delays.forward_ns)
        self._backward_ns.append(np.full(n, ABSENT, np.int64) if delays is None else delays.backward_ns)

    def take(self, keys: Mapping[int, Key]) -> PacketEvents | None:
        """All of them, None if there are none."""
        if not self._stream:
            return None
        events = PacketEvents(
            keys,
            np.concatenate(self._stream),
            np.concatenate(self._sequence),
            np.concatenate(self._state),
            np.concatenate(self._rtt_ns),
            np.concatenate(self._duplicate),
            np.concatenate(self._ttl),
            tuple(self._source),
            tuple(self._reason),
            np.concatenate(self._forward_ns),
            np.concatenate(self._backward_ns),
        )
        self.__init__()  # type: ignore[misc] # starts over
        return events
