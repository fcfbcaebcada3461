"""The sections of the configuration file as models: keys, defaults, and what contradicts what."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal, cast

from agent.config.notation import (
    Target,
    as_address,
    as_charge,
    as_interface,
    as_label_key,
    as_line,
    as_network,
    as_path,
    as_port_or_off,
    as_secret,
    as_target,
    as_url,
    as_word,
    numeric,
)
from agent.config.probe_section import any_probe
from agent.config.secret import SecretSource
from agent.document import (
    Contradiction,
    Field,
    Items,
    Model,
    as_dscp,
    as_duration,
    as_integer,
    as_rate,
    as_size,
    make_model,
)
from probes.core.clock import MILLISECOND, SECOND
from probes.core.units import format_duration

DAY: Final = 86400 * SECOND
MINIMUM_STORE: Final = 256 << 20
MINIMUM_LIVE: Final = 32 << 20
MAXIMUM_LABELS: Final = 3
"""A database pays for every tag."""


class StoreSection(Model):
    """Where samples are kept, and for how long."""

    path: Annotated[Path, as_path()] = Field(
        default=Path("/var/lib/linkwitness"), description="directory; relative to the directory of the main file"
    )
    keep_packets: Annotated[int, as_duration(DAY)] = Field(
        default=35 * DAY, description="how long every single packet is kept"
    )
    keep_samples: Annotated[int, as_duration(DAY)] = Field(
        default=400 * DAY, description="how long samples and their histograms are kept"
    )
    seal_after: Annotated[int, as_duration(DAY)] = Field(
        default=2 * DAY, description="age at which a whole UTC day leaves the live database for compact files"
    )
    keep_bytes: Annotated[int | None, as_size(MINIMUM_STORE)] = Field(
        default=None, description="size of the store beyond which the oldest sealed days leave early, packets first"
    )

    live_bytes: Annotated[int, as_size(MINIMUM_LIVE)] = Field(
        default=512 << 20,
        description="size of the live database beyond which its oldest samples move to compact files early",
    )

    def contradictions(self) -> Iterator[Contradiction]:
        if self.keep_samples < self.keep_packets:
            place = "keep_samples" if "keep_samples" in self.model_fields_set else "keep_packets"
            text = f"`keep_samples`, {format_duration(self.keep_samples)}, is shorter than `keep_packets`, "
            yield (place,), f"{text}{format_duration(self.keep_packets)}: packets belong to a sample"


class SinkSection(Model):
    """A database that gets every sample."""

    name: Annotated[str, as_word("the name of a sink")] = Field(description="unique among the sinks")
    url: Annotated[str, as_url()] = Field(description="server, such as https://influx.example.net:8086")
    api: Literal["auto", "v1", "v2"] = Field(
        default="auto",
        description="v2: InfluxDB 2, 3 and VictoriaMetrics; v1: InfluxDB 1; auto: ask the server once",
    )
    org: Annotated[str | None, as_line()] = Field(default=None, description="v2: organisation, if the server has any")
    bucket: Annotated[str | None, as_line()] = Field(default=None, description="v2: bucket")
    database: Annotated[str | None, as_line()] = Field(default=None, description="v1: database")
    retention_policy: Annotated[str | None, as_line()] = Field(default=None, description="v1: retention policy")
    token: Annotated[SecretSource | None, as_secret()] = Field(default=None, description="where the token is kept")
    username: Annotated[str | None, as_line()] = Field(default=None, description="v1: user")
    password: Annotated[SecretSource | None, as_secret()] = Field(
        default=None, description="v1: where the password is kept"
    )
    ca_file: Annotated[Path | None, as_path()] = Field(
        default=None, description="certificates (PEM) that may sign the server's; the system's where left out"
    )
    batch: Annotated[int, as_integer(1, 50_000)] = Field(default=5000, description="lines in one request")
    timeout: Annotated[int, as_duration(100 * MILLISECOND, 300 * SECOND)] = Field(
        default=10 * SECOND, description="longest wait for the server's answer"
    )
    histograms: bool | None = Field(
        default=None,
        description="send the delay histogram as a text field, so that percentiles can be judged from the database; "
        "where left out: yes for servers that keep text",
    )

    def contradictions(self) -> Iterator[Contradiction]:
        if self.api == "v2" and self.bucket is None:
            yield ("bucket",), "this key is required with `api: v2`"
        if self.api == "v1" and self.database is None:
            yield ("database",), "this key is required with `api: v1`"
        if self.api == "auto" and self.bucket is None and self.database is None:
            yield (), "`bucket` (v2), `database` (v1) or both are required with `api: auto`"
        foreign = {"v1": ("org", "bucket"), "v2": ("database", "retention_policy", "username", "password"), "auto": ()}
        for key in foreign[self.api]:
            if getattr(self, key) is not None:
                yield (key,), f"has no meaning with `api: {self.api}`"
        if self.api != "v2" and (self.username is None) != (self.password is None):
            given, lacking = ("username", "password") if self.password is None else ("password", "username")
            yield (given,), f"`{given}` needs `{lacking}`"
        if self.ca_file is not None and not self.url.startswith("https:"):
            yield ("ca_file",), "certificates need a URL that starts with https://"


class ReflectorSection(Model):
    """What this host answers to other agents. Without this section it answers nobody."""

    listen: Annotated[str, as_address("the address to listen on")] = Field(
        description="address to listen on; 0.0.0.0 or :: for every one of this host"
    )
    echo_port: Annotated[int, as_integer(1, 65535)] = Field(default=8620, description="UDP port of the echo (udp)")
    responder_port: Annotated[int, as_integer(1, 65535)] = Field(
        default=8621, description="TCP port of the responder (tcp, throughput)"
    )
    stamp_port: Annotated[int, as_port_or_off()] = Field(
        default=862, description="UDP port of STAMP and TWAMP-Light (stamp), or off; below 1024 it needs a capability"
    )
    allow: Annotated[Items[Annotated[str, as_network()]], Field(min_length=1)] = Field(
        description="networks that get an answer; everybody else is dropped and counted"
    )
    key: Annotated[SecretSource | None, as_secret()] = Field(
        default=None, description="STAMP: where the key is kept; with it, only what is signed is answered"
    )
    unauthenticated: Items[Annotated[str, as_network()]] = Field(
        default=(), description="STAMP: networks of `allow` that need no key"
    )
    stateful: bool = Field(default=True, description="STAMP: number replies for each session, for loss each way")
    reply_dscp: Items[Annotated[int, as_dscp()]] = Field(
        default=(), description="STAMP: code points a sender may ask for; a reply keeps the request's otherwise"
    )
    stamp_rate: Annotated[int, as_integer(1, 10_000_000)] = Field(
        default=20_000, description="STAMP: requests a second from one source that are answered"
    )
    stamp_gather: Annotated[int, as_duration(0, 100 * MILLISECOND)] = Field(
        default=3 * MILLISECOND,
        description="STAMP: how long requests that come fast may gather; it adds to the residence, not to the delay",
    )

    def contradictions(self) -> Iterator[Contradiction]:
        if self.unauthenticated and self.key is None:
            yield ("unauthenticated",), "has no meaning without `key`: then nobody needs one"


class CircuitSection(Model):
    """One circuit and what is measured on it."""

    name: Annotated[str, as_line()] = Field(description="the circuit's identity, unique over all files")
    customer: Annotated[str | None, as_line()] = Field(default=None, description="who uses the circuit")
    provider: Annotated[str | None, as_line()] = Field(default=None, description="who is responsible for it")
    site: Annotated[str | None, as_line()] = Field(default=None, description="where it ends, if not at this site")
    target: Annotated[Target, as_target()] = Field(description="name or address of the far end")
    source: Annotated[str | None, as_address("the source")] = Field(default=None, description="address to send from")
    interface: Annotated[str | None, as_interface()] = Field(default=None, description="interface to send from")
    dscp: Annotated[int, as_dscp()] = Field(default=0, description="code point: EF, AF41, CS1 ... or 0 to 63")
    family: Literal[4, 6] | None = Field(
        default=None, description="IP version where the target is a name; IPv4 first where left out"
    )
    committed_rate: Annotated[int | None, as_rate(1)] = Field(default=None, description="rate that was sold")
    labels: dict[Annotated[str, as_label_key()], Annotated[str, as_line()]] = Field(
        default_factory=dict, description="more tags for the databases", max_length=MAXIMUM_LABELS
    )
    contract: Annotated[str | None, as_word("the name of a contract")] = Field(
        default=None, description="file in `contracts` without `.yaml`"
    )
    monthly_charge: Annotated[str | None, as_charge()] = Field(
        default=None, description="price that credits are a part of"
    )
    near_end: Annotated[str | None, as_line()] = Field(
        default=None,
        description="name of another circuit that stands for the near side: where it fails as well, "
        "the site is suspected",
    )
    far_end: Annotated[str | None, as_line()] = Field(
        default=None, description="name of another circuit that reaches the far side another way"
    )
    probes: Annotated[Items[Any], Field(min_length=1)] = Field(description="what is measured")

    def contradictions(self) -> Iterator[Contradiction]:
        target = numeric(self.target.host)
        source = None if self.source is None else numeric(self.source)
        if target is not None and self.family not in (None, target.version):
            yield ("family",), f"{self.family} does not fit the target {target}, an IPv{target.version} address"
        if source is not None and target is not None and source.version != target.version:
            yield ("source",), f"an IPv{source.version} source cannot reach the IPv{target.version} target {target}"
        elif source is not None and self.family not in (None, source.version):
            yield ("source",), f"an IPv{source.version} source does not fit `family: {self.family}`"


class ConfigFile(Model):
    """Configuration of linkwitness."""

    site: Annotated[str | None, as_line()] = Field(
        default=None, description="name of the place that measures; the host name where left out"
    )
    interval: Annotated[int, as_duration(SECOND, 300 * SECOND)] = Field(
        default=10 * SECOND, description="length of one sample of a stream; an hour is a multiple of it"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="what is logged")
    contracts: Annotated[Path, as_path()] = Field(
        default=Path("contracts"), description="directory of contract files, relative to the main file's"
    )
    store: StoreSection = Field(default_factory=StoreSection)
    sinks: Items[SinkSection] = Field(default=(), description="databases; without any, samples stay in the store")
    reflector: ReflectorSection | None = None
    circuits: Items[CircuitSection] = Field(default=(), description="what is watched")

    def contradictions(self) -> Iterator[Contradiction]:
        if 3600 * SECOND % self.interval:
            text = f"an hour is not a multiple of {format_duration(self.interval)}"
            yield ("interval",), f"{text} (allowed: 1s, 2s, 5s, 10s, 15s, 20s, 30s, 1m, 2m, 5m ...)"
        if not self.circuits and self.reflector is None:
            yield (), "there are neither `circuits` nor a `reflector`: nothing to do"


@functools.cache
def config_file() -> type[ConfigFile]:
    """The whole model, with the probes of every kind there is."""
    items: Any = cast(Any, Items)
    probes: Any = (items[any_probe()], Field(min_length=1, description="what is measured"))
    circuit = make_model("Circuit", CircuitSection.__doc__ or "", CircuitSection, {"probes": probes})
    circuits: Any = (items[circuit], Field(default=(), description="what is watched"))
    return make_model("Configuration", ConfigFile.__doc__ or "", ConfigFile, {"circuits": circuits})
