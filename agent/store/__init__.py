"""The store: every sample kept in SQLite, one writer, many readers.

Store, StoreReader and the records they speak in are imported from here.
"""

from agent.store.hostseconds import HostSeconds
from agent.store.reader import StoreReader
from agent.store.records import (
    EventRecord,
    ParkedLine,
    Retired,
    RunRecord,
    RunState,
    Series,
    SinkPosition,
    StoredSample,
    StoreOverflow,
    StoreStatus,
)
from agent.store.writer import Store

__all__ = [
    "EventRecord",
    "HostSeconds",
    "ParkedLine",
    "Retired",
    "RunRecord",
    "RunState",
    "Series",
    "SinkPosition",
    "Store",
    "StoreOverflow",
    "StoreReader",
    "StoreStatus",
    "StoredSample",
]
