"""`linkwitness reflect`: the far end of the udp, stamp and throughput probes, in the foreground."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from probes.core.clock import Clock
    from probes.reflect.echo import EchoReflector
    from probes.reflect.responder import Responder
    from probes.reflect.stamp import StampReflector

    Reflector = EchoReflector | Responder | StampReflector

REPORT_EVERY_S: Final = 10.0
STAMP_PORT: Final = 862


def command(
    listen: Annotated[str, typer.Option("--listen", help="Numeric address to listen on; :: takes IPv4 too.")],
    allow: Annotated[
        list[str], typer.Option("--allow", help="Network that may ask, such as 192.0.2.0/24. May be repeated.")
    ],
    echo_port: Annotated[int, typer.Option("--echo-port", help="UDP port of the echo; 0 takes any.", min=0)] = 8620,
    responder_port: Annotated[
        int, typer.Option("--responder-port", help="TCP port of the throughput responder; 0 takes any.", min=0)
    ] = 8621,
    stamp_port: Annotated[
        int | None,
        typer.Option(
            "--stamp-port",
            help="UDP port of STAMP and TWAMP-Light; 0 takes any. Below 1024 it needs CAP_NET_BIND_SERVICE.",
            show_default="862, where this user may have it",
            min=0,
        ),
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option("--key-file", help="File with the STAMP key: then only what is signed with it is answered."),
    ] = None,
    unauthenticated: Annotated[
        list[str] | None,
        typer.Option("--unauthenticated", help="Network that needs no key. May be repeated."),
    ] = None,
    stateless: Annotated[
        bool, typer.Option("--stateless", help="STAMP: echo the sender's numbers instead of counting each session.")
    ] = False,
    reply_dscp: Annotated[
        list[str] | None,
        typer.Option("--reply-dscp", help="STAMP: code point a sender may ask for. May be repeated."),
    ] = None,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show the counters every 10 s.")] = False,
) -> None:
    """Answer udp echo, STAMP and throughput probes until stopped (Ctrl-C or SIGTERM), then show what was answered.

    Only the networks named by --allow are answered; all else is dropped, and counted. STAMP's own port, 862, needs
    CAP_NET_BIND_SERVICE (root has it), or a socket passed by systemd as linkwitness-reflector.socket does: without
    either, give --stamp-port a port from 1024 on, or STAMP is not answered.
    """
    from agent.reflecting import counter_line
    from probes.core.clock import SystemClock

    for port in (echo_port, responder_port, stamp_port or 0):
        if port > 65535:
            raise typer.BadParameter(f"{port} is not a port")
    stopped = threading.Event()
    clock = SystemClock()
    with ExitStack() as closing:
        for number in (signal.SIGINT, signal.SIGTERM):
            closing.callback(signal.signal, number, signal.signal(number, lambda *_: stopped.set()))
        echo, responder = _started(closing, listen, allow, echo_port, responder_port, clock)
        stamp = _stamp(
            listen, allow, stamp_port, clock, key_file, tuple(unauthenticated or ()), not stateless, reply_dscp or []
        )
        said = f"echo on UDP port {echo.port}, throughput on TCP port {responder.port}"
        if stamp is not None:
            closing.callback(stamp.close)
            said += f", STAMP on UDP port {stamp.port}{'' if key_file is None else ' (authenticated)'}"
        print(f"listening on {listen}: {said}")
        print(f"answering {', '.join(allow)}; Ctrl-C stops", flush=True)
        parts: dict[str, Reflector] = {"echo": echo, "throughput": responder}
        if stamp is not None:
            parts["stamp"] = stamp
        while not stopped.wait(REPORT_EVERY_S):
            if verbose:
                _show(parts, counter_line)
    _show(parts, counter_line)


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


def _stamp(
    listen: str, allow: list[str], port: int | None, clock: Clock, key_file: Path | None,
    unauthenticated: tuple[str, ...], stateful: bool, reply_dscp: list[str],
) -> StampReflector | None:  # fmt: skip
    """None where nobody asked for its port, and this process may not have it. Raises LocalError."""
    from agent.config.secret import SecretSource
    from agent.notify import passed_datagram_socket
    from probes.core.errors import PrivilegeError
    from probes.core.units import parse_dscp
    from probes.reflect.stamp import StampReflector

    if unauthenticated and key_file is None:
        raise typer.BadParameter("--unauthenticated has no meaning without --key-file: then nobody needs a key")
    key = None if key_file is None else SecretSource(file=key_file).read().reveal().encode()
    reflector = StampReflector(
        listen, STAMP_PORT if port is None else port, allow=allow, clock=clock, key=key, stateful=stateful,
        unauthenticated=unauthenticated, reply_dscp=frozenset(parse_dscp(text) for text in reply_dscp),
    )  # fmt: skip
    try:
        reflector.start(passed_datagram_socket() if port is None else None)
    except PrivilegeError as error:
        if port is not None or key_file is not None:
            raise
        print(f"STAMP is not answered: {error}", file=sys.stderr)
        return None
    return reflector


def _show(parts: Mapping[str, Reflector], line: Callable[[Mapping[str, int]], str]) -> None:
    for name, reflector in parts.items():
        print(f"{name}: {line(reflector.counters())}")
    sys.stdout.flush()
