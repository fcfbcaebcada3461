"""What judging reads of sealed days: packed columns, and histograms summed by day; single ones follow where asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from agent.sla.samples.columns import SampleColumns
from agent.sla.samples.histograms import DayHistograms, Histograms
from agent.store.sealed import layout, packed
from agent.store.sealed.manifest import SeriesKey
from agent.store.sealed.reading import SealedDays
from probes.core.arrays import Int64
from probes.core.errors import LocalError

Later = Callable[[SeriesKey, Int64], Callable[[int, int], Histograms]]
"""For a series and the starts of its rows: what gives the histograms of the rows from one to another."""


def read(
    sealed: SealedDays,
    key: SeriesKey,
    wanted: Sequence[str],
    live: SampleColumns,
    start_ns: int,
    end_ns: int,
    later: Later | None,
) -> SampleColumns | None:
    """Sealed rows, then the live ones, as StoreReader.read; None where the packed columns do not have them.

    later: None where histograms are wanted one by one.
    """
    names = layout.required_integers(wanted)
    shaped = "histogram" in wanted
    if {*wanted} - {*names, "histogram"} or not {*names} <= {*packed.NAMES} or (shaped and later is None):
        return None
    found = sealed.packed(
        key, (*names, packed.THERE) if shaped else names, start_ns, end_ns, len(live), fixed=later is not None
    )
    if found is None or not found.edges[-1]:
        return None
    rows = int(found.edges[-1])
    columns: dict[str, Any] = {name: found.columns[name] for name in names}
    for name in names if len(live) else ():
        columns[name][rows:] = live.column(name)
    start = columns["start_ns"]
    if not (start[1:] > start[:-1]).all():  # parts of one day: put in order by the usual way
        return None
    if shaped and later is not None:
        there = found.columns[packed.THERE] == 1
        there[rows:] = Histograms.of(live.histogram or ()).there
        edges, sums = np.append(found.edges, len(there)), (*found.sums, None)
        columns["histogram"] = DayHistograms(there, edges, sums, later(key, start))
    return SampleColumns(circuit=key[0], probe=key[1], kind=key[2], **columns)


def bare(columns: SampleColumns) -> bool:
    """Whether any sample with answers has no histogram."""
    given = columns.histogram
    there = (given if isinstance(given, DayHistograms) else Histograms.of(given or ())).there
    return bool((~there).any()) and (columns.rtt_count is None or bool(((columns.rtt_count > 0) & ~there).any()))


def later(again: Callable[[str, str, Sequence[str], int, int, str], SampleColumns]) -> Later:
    """Reads histograms of rows that have been read before. What it gives raises LocalError where they are gone.

    again: StoreReader.read.
    """

    def of(key: SeriesKey, starts_ns: Int64) -> Callable[[int, int], Histograms]:
        circuit, probe, kind = key

        def load(first: int, last: int) -> Histograms:
            wanted = starts_ns[first:last]
            if not len(wanted):
                return Histograms.of(())
            found = again(circuit, probe, ("histogram",), int(wanted[0]), int(wanted[-1]) + 1, kind)
            if not np.array_equal(found.start_ns, wanted):
                raise LocalError(
                    f"samples of {circuit} {probe} went while they were looked at",
                    hint="try again: retention has removed sealed days, or damaged ones were left out",
                )
            return Histograms.of(found.histogram or ())

        return load

    return of
