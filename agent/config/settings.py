"""The configuration as the rest of the agent sees it: frozen, complete, in base units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from agent.config.secret import SecretSource
from probes.core.model import Circuit

Role = Literal["gateway", "resolver"]
"""What `{discover: ...}` finds on this host when the agent starts."""


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Where samples are kept and for how long."""

    path: Path
    keep_packets_ns: int
    keep_samples_ns: int
    seal_after_ns: int = 2 * 86_400 * 10**9
    """age at which a whole UTC day is sealed"""
    keep_bytes: int | None = None
    """of the whole store; None: no bound"""
    live_bytes: int = 512 << 20
    """of the live database; beyond it the oldest samples are sealed early"""


@dataclass(frozen=True, slots=True)
class SinkSettings:
    """One database that gets every sample."""

    name: str
    url: str
    """without a slash at the end"""
    api: Literal["auto", "v1", "v2"] = "auto"
    org: str | None = None
    bucket: str | None = None
    database: str | None = None
    retention_policy: str | None = None
    token: SecretSource | None = None
    username: str | None = None
    password: SecretSource | None = None
    ca_file: Path | None = None
    batch: int = 5000
    """lines in one request"""
    timeout_ns: int = 10 * 10**9
    histograms: bool | None = None
    """send the histogram text field; None decides by the server found"""


@dataclass(frozen=True, slots=True)
class ReflectorSettings:
    """What this host answers to others."""

    listen: str
    """numeric address"""
    echo_port: int
    """UDP echo"""
    responder_port: int
    """TCP throughput"""
    allow: tuple[str, ...]
    """networks that get an answer, CIDR"""
    stamp_port: int = 0
    """UDP STAMP; 0: off"""
    key: SecretSource | None = None
    """of STAMP; None: unauthenticated"""
    unauthenticated: tuple[str, ...] = ()
    """networks that need no key"""
    stateful: bool = True
    reply_dscp: tuple[int, ...] = ()
    """code points that a sender may ask for"""
    stamp_rate: int = 20_000
    """a second, from one source"""
    stamp_gather_ns: int = 3_000_000


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """Everything `linkwitness run` needs to know. All paths are absolute."""

    site: str
    store: StoreSettings
    sinks: tuple[SinkSettings, ...]
    reflector: ReflectorSettings | None
    circuits: tuple[Circuit, ...]
    discover: Mapping[str, Role]
    """circuit id to what its target is on this host; such a circuit's `target` is the role's name"""
    span_ns: int
    """length of a sample of a stream"""
    contracts: Path
    """directory of contract files"""
    log_level: Literal["debug", "info", "warning", "error"]
    files: tuple[Path, ...] = field(compare=False)
    """what was read: the main file, then conf.d in name order"""
    written: Mapping[str, object] = field(compare=False, repr=False)
    """the same in the words of the file, defaults filled in"""
