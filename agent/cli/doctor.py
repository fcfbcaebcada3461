"""`linkwitness doctor`: what keeps this host from measuring, keeping or delivering, each with its remedy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.finding import Finding, State
from agent.cli.run import DEFAULT_CONFIG

if TYPE_CHECKING:
    from agent.config import AgentConfig, SinkSettings

SCHEMA = "linkwitness.doctor/1"


def command(
    config: Annotated[Path, typer.Option("-c", "--config", help="Configuration file.")] = DEFAULT_CONFIG,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Examine this host, this installation and the configuration. Exits 1 when something cannot work.

    Sends nothing to the circuits; asks each configured sink whether it would take samples.
    """
    findings = list(examine(config))
    failed = any(finding.state is State.FAIL for finding in findings)
    if json_output:
        print(json.dumps(document(findings), ensure_ascii=False, indent=2))
    else:
        for finding in findings:
            print("\n".join(finding.lines()))
    raise typer.Exit(1 if failed else 0)


def document(findings: list[Finding]) -> dict[str, object]:
    """All findings for machines; `remedy` is null where there is nothing to do."""
    return {
        "schema": SCHEMA,
        "ok": all(finding.state is not State.FAIL for finding in findings),
        "findings": [
            {
                "subject": finding.subject,
                "state": finding.state.value,
                "text": finding.text,
                "remedy": finding.remedy or None,
            }
            for finding in findings
        ],
    }


def examine(path: Path) -> Iterator[Finding]:
    """Everything, in the order of dependence: the host, the configuration, then what it asks for."""
    from agent.cli import host_findings
    from probes.core.clock import clock_quality

    yield from host_findings.packages()
    yield from host_findings.privileges(_open_icmp)
    yield host_findings.clock(clock_quality())
    yield host_findings.sqlite()
    yield host_findings.service()
    found, settings = _configuration(path)
    yield from found
    if settings is not None:
        yield from _configured(settings)


def _open_icmp(family: int) -> bool:
    from probes.engine.sockets import open_icmp

    endpoint = open_icmp(family)
    endpoint.socket.close()
    return endpoint.raw


def _configuration(path: Path) -> tuple[list[Finding], AgentConfig | None]:
    from agent import contract_files
    from agent.cli.config import misfits
    from agent.config import load
    from agent.document import DocumentError
    from probes.core.errors import LocalError

    subject = "configuration"
    try:
        settings = load(path)
        contracts = contract_files.load(settings.contracts)
    except DocumentError as error:
        return [Finding(subject, State.FAIL, str(problem)) for problem in error.problems], None
    except LocalError as error:
        return [Finding(subject, State.FAIL, error.message, f"{error.hint}; -c names another file")], None
    text = f"{path}: {len(settings.circuits)} circuits, {len(settings.sinks)} sinks, {len(contracts)} contracts"
    remedy = "add the probe, or name another contract"
    unfit = [Finding("contracts", State.WARN, sentence, remedy) for sentence in misfits(settings, contracts)]
    return [Finding(subject, State.OK, text), *unfit], settings


def _configured(settings: AgentConfig) -> Iterator[Finding]:
    from agent.cli import config_findings
    from agent.discover import find

    yield from config_findings.files(settings)
    yield from config_findings.store(settings.store.path)
    yield config_findings.receive_buffer(settings)
    yield from config_findings.circuits(settings, find)
    for sink in settings.sinks:
        trouble = list(config_findings.secrets(sink))
        yield from trouble
        if not any(finding.state is State.FAIL for finding in trouble):
            yield _reach(sink)
    if not settings.sinks:
        yield Finding("sinks", State.OK, "none configured: samples stay in the store")


def _reach(sink: SinkSettings) -> Finding:
    """Ask the server what it is. Nothing is written, so a wrong bucket shows by `linkwitness sink check` only."""
    from agent.deliver.sink import Sink

    opened = Sink(sink)
    try:
        obstacle = opened.open()
        server = opened.server
    finally:
        opened.close()
    subject = f"sink {sink.name}"
    if obstacle is None:
        return Finding(subject, State.OK, f"{sink.url} answers: {server}")
    remedy = "check `url`, name resolution and firewall; samples wait in the store until it answers"
    return Finding(subject, State.FAIL, f"{sink.url}: {obstacle.words}", remedy)
