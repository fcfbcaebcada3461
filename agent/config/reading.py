"""From files to the configuration: read all, join, check all, and only then build."""

from __future__ import annotations

import difflib
import os
import socket
from collections.abc import Callable, Iterator, Set
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from agent.config.probe_section import ProbeSection
from agent.config.secret import SecretSource
from agent.config.sections import CircuitSection, ConfigFile, ReflectorSection, SinkSection, config_file
from agent.config.settings import AgentConfig, ReflectorSettings, Role, SinkSettings, StoreSettings
from agent.document import Document, KeyPath, Problem, merge, read_file, require
from probes.core import catalog
from probes.core.catalog import StreamKind
from probes.core.errors import LocalError
from probes.core.model import Circuit, ProbeSetting
from probes.core.units import format_duration, parse_duration

DROP_INS: Final = "conf.d"
"""Directory beside the main file whose *.yaml are read after it, in name order."""
_SUFFIXES: Final = (".yaml", ".yml")
"""Of contract files."""
_DEFAULT_INTERVAL: Final = "10s"


def load(path: Path) -> AgentConfig:
    """Read a main file and its drop-ins. Raises DocumentError with every problem of every file, or LocalError."""
    main = read_file(path)
    directory = path.parent / DROP_INS
    drop_ins = listed(directory) or []
    names = [item for item in drop_ins if item.suffix == ".yaml"]
    document = merge([main, *(read_file(item) for item in names)])
    misnamed = [
        Problem(str(item), 1, 1, "", "is not read because of its name: call it .yaml, or .yml.off to keep it out")
        for item in drop_ins
        if item.suffix == ".yml"
    ]
    document = replace(document, files=(*document.files, *(problem.file for problem in misnamed)))
    home = path.absolute().parent
    found = [] if document.broken else list(across(document, home))
    value = require(document, config_file(), (*misnamed, *found))
    return _build(value, home, (path.absolute(), *(item.absolute() for item in names)))


def listed(directory: Path) -> list[Path] | None:
    """What a directory holds, in name order, but for hidden files (editors' locks); None where there is none.

    Raises LocalError where it may not be read.
    """
    try:
        return sorted(item for item in directory.iterdir() if not item.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise LocalError(
            f"cannot read {directory}: {error.strerror}", hint="check the path and its permissions"
        ) from None


def across(document: Document, home: Path) -> Iterator[Problem]:
    """What is wrong between parts of the configuration. Works on values that may be wrong in any other way."""
    yield from _unique(document, ("circuits",), _name, "the circuit {0} exists already in {1}")
    yield from _unique(document, ("sinks",), _name, "the sink {0} exists already in {1}")
    contracts = document.at(("contracts",))
    directory = home / (contracts if isinstance(contracts, str) else "contracts")
    files = listed(directory)
    known = None if files is None else sorted(item.stem for item in files if item.suffix in _SUFFIXES)
    names = [own[1] for item in _items(document.at(("circuits",))) if (own := _name(item)) is not None]
    streams = {name for name in catalog.names() if isinstance(catalog.load(name), StreamKind)}
    for index, _ in enumerate(_items(document.at(("circuits",)))):
        circuit: KeyPath = ("circuits", index)
        text = "a second probe is called {0}, give it a `name` of its own; the first is in {1}"
        yield from _unique(document, (*circuit, "probes"), _probe_name, text)
        yield from _contract_exists(document, (*circuit, "contract"), directory, known)
        yield from _ends_exist(document, circuit, names)
        yield from _often_enough(document, (*circuit, "probes"), streams)


def _items(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _name(item: object) -> tuple[str, str] | None:
    name = item.get("name") if isinstance(item, dict) else None
    return ("name", name) if isinstance(name, str) else None


def _probe_name(item: object) -> tuple[str, str] | None:
    kind = item.get("kind") if isinstance(item, dict) and item.get("name") is None else None
    return ("kind", kind) if isinstance(kind, str) else _name(item)


def _unique(
    document: Document, path: KeyPath, identity: Callable[[object], tuple[str, str] | None], message: str
) -> Iterator[Problem]:
    """identity gives the key and the value that make an item what it is."""
    first: dict[str, KeyPath] = {}
    for index, item in enumerate(_items(document.at(path))):
        own = identity(item)
        if own is None:
            continue
        place = (*path, index, own[0])
        if own[1] in first:
            yield document.problem(place, message.format(repr(own[1]), document.position(first[own[1]])))
        else:
            first[own[1]] = place


def _contract_exists(document: Document, path: KeyPath, directory: Path, known: list[str] | None) -> Iterator[Problem]:
    name = document.at(path)
    if not isinstance(name, str) or "/" in name or name in (known or ()):
        return
    if known is None:
        yield document.problem(path, f"the directory of contracts, {directory}, does not exist")
        return
    near = difflib.get_close_matches(name, known, 1, 0.6)
    hint = f"did you mean `{near[0]}`? " if near else ""
    allowed = ", ".join(known) or f"none, {directory} is empty"
    yield document.problem(path, f"{name!r} is not a contract ({hint}allowed: {allowed})")


def _ends_exist(document: Document, circuit: KeyPath, names: list[str]) -> Iterator[Problem]:
    """The near and the far end are other circuits of this agent."""
    own = document.at((*circuit, "name"))
    for key in ("near_end", "far_end"):
        name = document.at((*circuit, key))
        if not isinstance(name, str) or not name.strip():
            continue
        if name == own:
            yield document.problem((*circuit, key), "a circuit is not its own end: name another one")
        elif name not in names:
            near = difflib.get_close_matches(name, names, 1, 0.6)
            hint = f" (did you mean `{near[0]}`?)" if near else ""
            yield document.problem((*circuit, key), f"there is no circuit {name!r}{hint}")


def _often_enough(document: Document, path: KeyPath, streams: Set[str]) -> Iterator[Problem]:
    """A stream sends at least once in every interval; otherwise most samples would be missing."""
    interval = _duration(document.at(("interval",)) or _DEFAULT_INTERVAL)
    for index, item in enumerate(_items(document.at(path))):
        kind = item.get("kind") if isinstance(item, dict) else None
        if interval is None or not isinstance(kind, str) or kind not in streams:
            continue
        every = _duration(document.at((*path, index, "every")))
        if every is not None and every > interval:
            text = f"{format_duration(every)} is longer than the interval of a sample, {format_duration(interval)}"
            yield document.problem((*path, index, "every"), f"{text}: there would be samples without a packet")


def _duration(value: object) -> int | None:
    try:
        return parse_duration(value) if isinstance(value, str) else None
    except LocalError:
        return None


def _build(value: ConfigFile, home: Path, files: tuple[Path, ...]) -> AgentConfig:
    store, reflector = value.store, value.reflector
    site = value.site or socket.gethostname()
    roles: dict[str, Role] = {item.name: item.target.role for item in value.circuits if item.target.role is not None}
    config = AgentConfig(
        site=site,
        store=StoreSettings(
            _absolute(home, store.path),
            store.keep_packets,
            store.keep_samples,
            store.seal_after,
            store.keep_bytes,
            store.live_bytes,
        ),
        sinks=tuple(_sink(item, home) for item in value.sinks),
        reflector=None if reflector is None else _reflector(reflector, home),
        circuits=tuple(_circuit(item, home) for item in value.circuits),
        discover=roles,
        span_ns=value.interval,
        contracts=_absolute(home, value.contracts),
        log_level=value.log_level,
        files=files,
        written={},
    )
    return replace(config, written=_written(value, config))


def _absolute(home: Path, path: Path) -> Path:
    return Path(os.path.normpath(home / path))


def _sink(item: SinkSection, home: Path) -> SinkSettings:
    return SinkSettings(
        name=item.name,
        url=item.url,
        api=item.api,
        org=item.org,
        bucket=item.bucket,
        database=item.database,
        retention_policy=item.retention_policy,
        token=_located(item.token, home),
        username=item.username,
        password=_located(item.password, home),
        ca_file=None if item.ca_file is None else _absolute(home, item.ca_file),
        batch=item.batch,
        timeout_ns=item.timeout,
        histograms=item.histograms,
    )


def _reflector(item: ReflectorSection, home: Path) -> ReflectorSettings:
    return ReflectorSettings(
        listen=item.listen,
        echo_port=item.echo_port,
        responder_port=item.responder_port,
        allow=item.allow,
        stamp_port=item.stamp_port,
        key=_located(item.key, home),
        unauthenticated=item.unauthenticated,
        stateful=item.stateful,
        reply_dscp=item.reply_dscp,
        stamp_rate=item.stamp_rate,
        stamp_gather_ns=item.stamp_gather,
    )


def _located(source: SecretSource | None, home: Path) -> SecretSource | None:
    return source if source is None or source.file is None else SecretSource(file=_absolute(home, source.file))


def _circuit(item: CircuitSection, home: Path) -> Circuit:
    probes: tuple[ProbeSection, ...] = item.probes
    return Circuit(
        id=item.name,
        target=item.target.host,
        customer=item.customer,
        provider=item.provider,
        site=item.site,
        source=item.source,
        interface=item.interface,
        dscp=item.dscp,
        family=item.family,
        committed_rate_bps=item.committed_rate,
        labels=item.labels,
        probes=tuple(_probe(probe, home) for probe in probes),
        contract=item.contract,
        monthly_charge=item.monthly_charge,
        near_end=item.near_end,
        far_end=item.far_end,
    )


def _probe(item: ProbeSection, home: Path) -> ProbeSetting:
    setting = item.setting()
    secrets = {name: value for name, value in setting.parameters.items() if isinstance(value, SecretSource)}
    located = {name: _located(source, home) for name, source in secrets.items()}
    return replace(setting, parameters={**setting.parameters, **located}) if secrets else setting


def _written(value: ConfigFile, config: AgentConfig) -> dict[str, object]:
    """The configuration in the words of its file: defaults filled in, paths absolute, what is not set left out."""
    data: dict[str, Any] = {"site": config.site} | value.model_dump(mode="json", exclude_none=True)
    data["contracts"] = str(config.contracts)
    data["store"]["path"] = str(config.store.path)
    for sink, settings in zip(data["sinks"], config.sinks, strict=True):
        for key, source in (("token", settings.token), ("password", settings.password)):
            if source is not None and source.file is not None:
                sink[key] = {"file": str(source.file)}
        if settings.ca_file is not None:
            sink["ca_file"] = str(settings.ca_file)
    if config.reflector is not None and config.reflector.key is not None and config.reflector.key.file is not None:
        data["reflector"]["key"] = {"file": str(config.reflector.key.file)}
    settings_of = (setting for circuit in config.circuits for setting in circuit.probes)
    probes = (probe for circuit in data["circuits"] for probe in circuit["probes"])
    for probe, setting in zip(probes, settings_of, strict=True):
        if "schedule" in probe:
            probe.pop("every", None)
        for name, parameter in setting.parameters.items():
            if isinstance(parameter, SecretSource) and parameter.file is not None:
                probe[name] = {"file": str(parameter.file)}
    return data
