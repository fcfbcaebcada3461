"""The `linkwitness` command. Knows the commands by name only: listing them imports none of them."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from agent.cli.lazy import HELP_NAMES, Entry, UsageProblem, attribute, group_of
from probes.core.errors import LocalError

DONE, FAILED, USAGE, UNKNOWN, INTERRUPTED = 0, 1, 2, 3, 130

COMMANDS = (
    Entry(
        "probe", "Measure one target now, by any kind of probe.", attribute("agent.cli.probe:app"), "Measure"
    ),
    Entry("run", "Run the agent on its configuration.", attribute("agent.cli.run:command"), "Measure"),
    Entry("reflect", "Answer the probes of others.", attribute("agent.cli.reflect:command"), "Measure"),
    Entry(
        "check",
        "Was the contract kept? One line, exit codes of a plugin.",
        attribute("agent.cli.check:command"),
        "Judge",
        plugin=True,
    ),
    Entry("report", "The report of a month for provider or customer.", attribute("agent.cli.report:command"), "Judge"),
    Entry("contract", "Contracts: mistakes, plain language, list.", attribute("agent.cli.contract:app"), "Judge"),
    Entry("incident", "Tickets and outages: clocks, who answers.", attribute("agent.cli.incident:app"), "Judge"),
    Entry(
        "maintenance", "Maintenance: import notices, confirm, move, list.", attribute("agent.cli.maintenance:app"),
        "Judge",
    ),
    Entry("event", "Calls, requests, notices: import, add, list.", attribute("agent.cli.event:app"), "Judge"),
    Entry("claim", "Claims for credits: file, accept, reject, list.", attribute("agent.cli.claim:app"), "Judge"),
    Entry(
        "status", "What is measured and stored, newest samples.", attribute("agent.cli.status:command"), "Operate"
    ),
    Entry("host", "Was this host fit to measure, second by second?", attribute("agent.cli.host:command"), "Operate"),
    Entry("config", "Check, show or describe the configuration.", attribute("agent.cli.config:app"), "Operate"),
    Entry("store", "What is kept: days, checks, export, import, backup.", attribute("agent.cli.store:app"), "Operate"),
    Entry("sink", "State of the databases delivered to; try one.", attribute("agent.cli.sink:app"), "Operate"),
    Entry(
        "doctor", "Find what keeps this host from measuring, and the remedy.", attribute("agent.cli.doctor:command"),
        "Operate",
    ),
)  # fmt: skip

app = typer.Typer(
    cls=group_of(lambda: COMMANDS),
    rich_markup_mode=None,
    no_args_is_help=True,
    context_settings=HELP_NAMES,
    help="Measures circuits, keeps every sample, and judges the series against the contract.",
    epilog="Exit codes: 0 done, 1 failed or target missed, 2 usage, 130 interrupted; check: 0 OK, 1 WARNING, "
    "2 CRITICAL, 3 UNKNOWN.",
)


def _version(asked: bool) -> None:
    if not asked:
        return
    import platform
    from importlib import metadata

    packages = ("numpy", "scapy", "psutil", "APScheduler", "influxdb-client", "pydantic", "typer", "rich", "duckdb",
                "Jinja2", "icalendar")  # fmt: skip
    typer.echo(f"linkwitness {metadata.version('linkwitness')}")
    typer.echo(f"Python {platform.python_version()}, {platform.system()} {platform.release()} {platform.machine()}")
    typer.echo(", ".join(f"{package} {metadata.version(package)}" for package in packages))
    raise typer.Exit


@app.callback()
def root(
    version: Annotated[  # the callback acts
        bool,
        typer.Option("-V", "--version", callback=_version, is_eager=True, help="Show versions and exit."),
    ] = False,
) -> None:
    """Measures circuits, keeps every sample, and judges the series against the contract."""


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit code. Errors a user can meet go to standard error with their hint."""
    plugin = any(entry.plugin for entry in COMMANDS if [entry.name] == list(arguments[:1]))
    try:
        code = typer.main.get_command(app).main(list(arguments), "linkwitness", standalone_mode=False)
    except UsageProblem as problem:
        problem.show()
        return UNKNOWN if plugin else USAGE
    except LocalError as error:
        print(f"error: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return UNKNOWN if plugin else FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception:
        if not plugin:
            raise
        import traceback

        traceback.print_exc()
        return UNKNOWN
    asked_for_help = not set(arguments).isdisjoint(HELP_NAMES["help_option_names"])
    return UNKNOWN if plugin and asked_for_help else int(code or DONE)


def entry() -> None:
    """Console script: run, then leave quietly even where the reader of our output has gone."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a dash that ASCII lacks must not cost the answer
    try:
        code = run(sys.argv[1:])
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:  # closed by whoever started us
                stream.flush()
    except BrokenPipeError:
        # What is still buffered has nowhere to go; without this the interpreter complains on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILED
    sys.exit(code)


if __name__ == "__main__":
    entry()
