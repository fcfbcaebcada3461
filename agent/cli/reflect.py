"""`linkwitness reflect`: the far end of the udp and throughput probes, in the foreground."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from probes.core.clock import Clock
    from probes.reflect.echo import EchoReflector
    from probes.reflect.responder import Responder

REPORT_EVERY_S: Final = 10.0


def command(
    listen: Annotated[str, typer.Option("--listen", help="Numeric address to listen on; :: takes IPv4 too.")],
    allow: Annotated[
        list[str], typer.Option("--allow", help="Network that may ask, such as 192.0.2.0/24. May be repeated.")
    ],
    echo_port: Annotated[int, typer.Option("--echo-port", help="UDP port of the echo; 0 takes any.", min=0)] = 8620,
    responder_port: Annotated[
        int, typer.Option("--responder-port", help="TCP port of the throughput responder; 0 takes any.", min=0)
    ] = 8621,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show the counters every 10 s.")] = False,
) -> None:
    """Answer udp echo and throughput probes until stopped (Ctrl-C or SIGTERM), then show what was answered.

    Only the networks named by --allow are answered; all else is dropped, and counted.
    """
    from probes.core.clock import SystemClock

    for port in (echo_port, responder_port):
        if port > 65535:
            raise typer.BadParameter(f"{port} is not a port")
    stopped = threading.Event()
    clock = SystemClock()
    with ExitStack() as closing:
        for number in (signal.SIGINT, signal.SIGTERM):
            closing.callback(signal.signal, number, signal.signal(number, lambda *_: stopped.set()))
        echo, responder = _started(closing, listen, allow, echo_port, responder_port, clock)
        print(f"listening on {listen}: echo on UDP port {echo.port}, throughput on TCP port {responder.port}")
        print(f"answering {', '.join(allow)}; Ctrl-C stops", flush=True)
        while not stopped.wait(REPORT_EVERY_S):
            if verbose:
                _show(echo, responder)
    _show(echo, responder)


def _started(
    closing: ExitStack, listen: str, allow: list[str], echo_port: int, responder_port: int, clock: Clock
) -> tuple[EchoReflector, Responder]:
    from probes.reflect.echo import EchoReflector
    from probes.reflect.responder import Responder

    echo = EchoReflector(listen, echo_port, allow=allow, clock=clock)
    echo.start()
    closing.callback(echo.close)
    responder = Responder(listen, responder_port, allow=allow, clock=clock)
    responder.start()
    closing.callback(responder.close)
    return echo, responder


def _show(echo: EchoReflector, responder: Responder) -> None:
    for name, counters in (("echo", echo.counters()), ("throughput", responder.counters())):
        print(f"{name}: {_line(counters)}")
    sys.stdout.flush()


def _line(counters: Mapping[str, int]) -> str:
    """What came in, then every counter that is not 0: `in 12, answered 10, dropped_source 2`."""
    said = [f"{name} {value}" for name, value in counters.items() if value or name == "in"]
    return ", ".join(said)
