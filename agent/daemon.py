"""Composition root: builds the parts, starts them in order, stops them in reverse. Signals, systemd, reload."""

import logging
import signal
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Protocol

from agent import config as configuration
from agent import contract_files
from agent.config import AgentConfig
from agent.deliver import Delivery
from agent.discover import find
from agent.health import HostHealth
from agent.judging import Judging
from agent.live import Live, LiveRow, Totals
from agent.notify import Notifier
from agent.schedule import Schedule, Work
from agent.store import EventRecord, Store, StoreOverflow, StoreReader, StoreStatus
from agent.watch import Key, Watch
from probes.core.clock import MILLISECOND, SECOND, Clock
from probes.core.errors import LocalError
from probes.core.model import Circuit, Sample
from probes.engine.loop import Engine
from probes.engine.resolve import Resolver
from probes.reflect.echo import EchoReflector
from probes.reflect.responder import Responder

log = logging.getLogger(__name__)

STALLED_NS = 30 * SECOND
"""A part that made no progress for so long is stalled, and the watchdog is not fed."""
LOOP_S = 0.5
JUDGE_BUDGET_NS = 250 * MILLISECOND
RETENTION_EVERY_NS = 3600 * SECOND
STATUS_EVERY_NS = 10 * SECOND


@dataclass(frozen=True, slots=True)
class Overview:
    """What to show of a running agent."""

    site: str
    store: Path
    rows: tuple[LiveRow, ...]
    totals: Totals
    host_load: float
    clock_synchronised: bool
    sinks: tuple[str, ...]
    """one line per sink"""


class View(Protocol):
    """Somebody who looks on. All calls come from the daemon's main thread."""

    def started(self, overview: Overview) -> None: ...
    def refresh(self, overview: Overview, fresh: Sequence[Sample]) -> None: ...
    def notice(self, text: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Kept:
    """What a run left behind."""

    totals: Totals
    store: StoreStatus


class Daemon:
    """One agent. `run` returns when SIGTERM or SIGINT came and everything is safely stored."""

    def __init__(self, path: Path, *, clock: Clock, view: View, notifier: Notifier | None = None) -> None:
        self._path, self._clock, self._view = path, clock, view
        self._notifier = notifier or Notifier()
        self._live = Live()
        self._stop, self._hang_up = threading.Event(), threading.Event()
        self._config = configuration.load(path)
        self._circuits: tuple[Circuit, ...] = ()
        self._last_status = 0
        self._stalled: frozenset[str] = frozenset()

    def run(self) -> Kept:
        """Start, work until told to stop, stop. Raises LocalError when the agent cannot start."""
        with ExitStack() as closing:
            self._install_signals(closing)
            self._start(closing)
            self._view.started(self._overview())
            self._notifier.ready(self._status())
            while not self._stop.wait(LOOP_S):
                self._beat()
            self._notifier.stopping("closing streams and storing what was measured")
        self._view.refresh(self._overview(), self._live.fresh())
        with StoreReader.open(self._config.store.path) as reader:
            return Kept(self._live.totals(), reader.status())

    def stop(self) -> None:
        """Ask a running agent to end. Safe from any thread and from a signal handler."""
        self._stop.set()

    def reload(self) -> None:
        """Ask a running agent to read its configuration again."""
        self._hang_up.set()

    def _install_signals(self, closing: ExitStack) -> None:
        def stop(number: int, _frame: FrameType | None) -> None:
            if self._stop.is_set() and number == signal.SIGINT:
                raise KeyboardInterrupt
            self._stop.set()

        handlers = {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: lambda *_: self._hang_up.set()}
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                closing.callback(signal.signal, number, signal.signal(number, handler))

    def _start(self, closing: ExitStack) -> None:
        config, clock = self._config, self._clock
        self._circuits = self._present(config)
        contracts = contract_files.load(config.contracts)
        self._store = Store.open(config.store.path, clock=clock, site=config.site)
        closing.callback(self._store.close, 10.0)
        self._delivery = self._open_delivery()
        closing.callback(lambda: self._delivery.close())
        closing.callback(self._store.flush, 10.0)
        self._reflectors: list[EchoReflector | Responder] = []
        closing.callback(self._close_reflectors)
        self._open_reflectors()
        self._resolver = Resolver()
        closing.callback(self._resolver.close)
        self._health = HostHealth(clock, hold_ns=2 * config.span_ns)
        self._engine = Engine(
            clock=clock, report=self._keep, span_ns=config.span_ns, gate=self._health.gate, event=self._note
        )
        self._engine.start()
        closing.callback(self._engine.close)
        self._schedule = Schedule(clock, event=self._note)
        closing.callback(self._schedule.close)
        self._judging = Judging(config.store.path, clock, self._live.judge)
        self._judging.set(self._circuits, contracts)
        self._watch = Watch(
            engine=self._engine, schedule=self._schedule, resolver=self._resolver, clock=clock,
            span_ns=config.span_ns, record=self._keep, ran=self._store.run, event=self._note,
        )  # fmt: skip
        self._watch.add(self._circuits, self._last_runs())
        for work in self._housekeeping():
            self._schedule.add(work)
        self._schedule.start()

    def _housekeeping(self) -> tuple[Work, ...]:
        span = self._config.span_ns
        return (
            Work("agent: host health", self._health.observe, every_ns=SECOND),
            Work("agent: names", self._watch.tend, every_ns=SECOND, first_after_ns=SECOND),
            Work("agent: absent streams", self._watch.report_absent, every_ns=span, first_after_ns=span),
            Work("agent: verdicts", self._judge, every_ns=SECOND, first_after_ns=SECOND, run_class="background"),
            Work("agent: retention", self._retire, every_ns=RETENTION_EVERY_NS, run_class="background"),
        )

    def _judge(self) -> None:
        self._judging.advance(JUDGE_BUDGET_NS)

    def _retire(self) -> None:
        now, keep = self._clock.wall(), self._config.store
        self._store.retire(packets_before_ns=now - keep.keep_packets_ns, samples_before_ns=now - keep.keep_samples_ns)

    def _keep(self, samples: Sequence[Sample]) -> None:
        self._live.take(samples)
        try:
            self._store.append(samples)
        except StoreOverflow as error:
            log.error("%s", error)

    def _note(self, kind: str, text: str) -> None:
        self._store.event(EventRecord(kind, self._clock.wall(), text))

    def _last_runs(self) -> dict[Key, int]:
        with StoreReader.open(self._config.store.path) as reader:
            return reader.last_runs()

    def _present(self, config: AgentConfig) -> tuple[Circuit, ...]:
        """The configured circuits with discovered targets filled in; what this host does not have is left out."""
        present: list[Circuit] = []
        for circuit in config.circuits:
            role = config.discover.get(circuit.id)
            address = find(role) if role else None
            if role and address is None:
                self._view.notice(f"{circuit.id} is not watched: this host has no {role}")
            else:
                present.append(replace(circuit, target=address) if address else circuit)
        return tuple(present)

    def _open_delivery(self) -> Delivery:
        circuits = {circuit.id: circuit for circuit in self._circuits}
        delivery = Delivery(
            self._config.sinks, self._store, self._config.store.path, circuits, self._config.site, self._clock
        )
        delivery.start()
        return delivery

    def _open_reflectors(self) -> None:
        settings = self._config.reflector
        if settings is None:
            return
        for build, port in ((EchoReflector, settings.echo_port), (Responder, settings.responder_port)):
            try:
                reflector = build(settings.listen, port, allow=settings.allow, clock=self._clock)
                reflector.start()
            except LocalError as error:
                self._view.notice(f"{build.__name__} does not run: {error}")
            else:
                self._reflectors.append(reflector)

    def _close_reflectors(self) -> None:
        while self._reflectors:
            self._reflectors.pop().close()

    def _beat(self) -> None:
        if self._hang_up.is_set():
            self._hang_up.clear()
            self._reload()
        self._feed_watchdog()
        self._view.refresh(self._overview(), self._live.fresh())

    def _feed_watchdog(self) -> None:
        now = self._clock.monotonic()
        progress = {
            "engine": self._engine.progress(),
            "store": self._store.progress(),
            "schedule": self._schedule.progress(),
        }
        stalled = frozenset(name for name, at_ns in progress.items() if now - at_ns > STALLED_NS)
        if not stalled:
            self._notifier.alive()
        elif stalled != self._stalled:
            log.error("no progress for %d s: %s", STALLED_NS // SECOND, ", ".join(sorted(stalled)))
        self._stalled = stalled
        if now - self._last_status >= STATUS_EVERY_NS:
            self._last_status = now
            self._notifier.status(self._status())

    def _reload(self) -> None:
        self._notifier.reloading(self._clock.monotonic())
        try:
            config = configuration.load(self._path)
            contracts = contract_files.load(config.contracts)
        except LocalError as error:
            self._view.notice(f"configuration refused, the old one stays in force:\n{error}")
            self._note("reload_refused", str(error))
        else:
            self._apply(config)
            self._judging.set(self._circuits, contracts)
        self._notifier.ready(self._status())

    def _apply(self, config: AgentConfig) -> None:
        old, change = self._config, configuration.difference(self._config, config)
        self._config = replace(
            config, store=replace(config.store, path=old.store.path), span_ns=old.span_ns, site=old.site
        )
        self._circuits = self._present(config)
        for name, changed in (
            ("store.path", config.store.path != old.store.path), ("interval", change.interval), ("site", change.site),
        ):  # fmt: skip
            if changed:
                self._view.notice(f"`{name}` changed: takes effect when the agent is restarted")
        gone, fresh = {*change.removed, *change.changed}, {*change.added, *change.changed}
        self._watch.remove(gone)
        self._live.forget(gone)
        self._watch.add([item for item in self._circuits if item.id in fresh], self._last_runs())
        if change.sinks or change.described or gone or fresh:
            self._delivery.close()
            self._delivery = self._open_delivery()
        if change.reflector:
            self._close_reflectors()
            self._open_reflectors()
        text = (
            f"configuration reloaded: {len(change.added)} circuits added, {len(change.removed)} removed, "
            f"{len(change.changed)} started anew"
        )
        self._note("reload", text)
        self._view.notice(text)

    def _overview(self) -> Overview:
        refused = self._watch.refused()
        rows = tuple(
            LiveRow(
                circuit.id, probe.name, probe.kind, self._live.newest((circuit.id, probe.name)),
                refused.get((circuit.id, probe.name)), self._live.verdicts(circuit.id), circuit.contract is not None,
            )
            for circuit in self._circuits
            for probe in circuit.probes
        )  # fmt: skip
        state = self._health.state
        sinks = tuple(str(sink) for sink in self._delivery.status())
        return Overview(
            self._config.site, self._config.store.path, rows, self._live.totals(), state.load,
            state.clock_synchronised, sinks,
        )  # fmt: skip

    def _status(self) -> str:
        totals = self._live.totals()
        probes = sum(len(circuit.probes) for circuit in self._circuits)
        return f"{len(self._circuits)} circuits, {probes} probes; {totals.samples} samples kept since the start"
