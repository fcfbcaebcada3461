"""Composition root: builds the parts, starts them in order, stops them in reverse. Systemd, reload, mending."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from agent import config as configuration
from agent import contract_files, remembered
from agent.canary import Canary
from agent.carrier import Carriers
from agent.closing import Closing
from agent.config import AgentConfig
from agent.deliver.care import AttendedDelivery
from agent.discover import find
from agent.gate import Gate
from agent.health import HostHealth
from agent.judging import Judging, unfit
from agent.live import Live, LiveRow
from agent.notify import Notifier
from agent.overview import Kept, Overview, View
from agent.reflecting import Reflecting
from agent.schedule import Schedule, Work
from agent.signals import Signals
from agent.store import EventRecord, Store, StoreOverflow, StoreReader
from agent.store.sealed.keeper import Keeper
from agent.store.session import disturbed
from agent.watch import Watch
from probes.core.clock import SECOND, Clock
from probes.core.errors import LocalError
from probes.core.model import Circuit, Sample
from probes.engine.loop import Engine
from probes.engine.resolve import Resolver

log = logging.getLogger(__name__)

STALLED_NS = 30 * SECOND
"""A part that made no progress for so long is stalled, and the watchdog is not fed."""
LOOP_S = 0.5
RETENTION_EVERY_NS = 60 * SECOND
RETENTION_FIRST_NS = 60 * SECOND
STATUS_EVERY_NS = 10 * SECOND
MEND_EVERY_NS = 30 * SECOND
"""How often what this host lacked (a gateway, a free port) is looked for again."""
RELOAD_DELIVERY_S = 0.5
"""What delivery may still send before it starts anew; the rest follows from the store."""
OURS = ("agent", "probes")
DELIVERY = "delivery"


class Daemon:
    """One agent. `run` returns when SIGTERM or SIGINT came and everything is safely stored."""

    def __init__(self, path: Path, *, clock: Clock, view: View, notifier: Notifier | None = None) -> None:
        self._path, self._clock, self._view = path, clock, view
        self._notifier = notifier or Notifier()
        self._signals = Signals()
        self._live = Live()
        self._config = configuration.load(path)
        self._contracts = contract_files.load(self._config.contracts)
        self._circuits: tuple[Circuit, ...] = ()
        self._reflecting = Reflecting(clock, lambda kind, text: self._note(kind, text))
        self._stalled: frozenset[str] = frozenset()
        self._troubles: dict[str, str] = {}
        """what is wrong until it is mended, by what it concerns"""
        self._status_ns = self._mend_ns = self._lost = 0
        self._unshown = ""

    def run(self) -> Kept:
        """Start, work until told to stop, stop. Raises LocalError when the agent cannot start or not end in order,
        KeyboardInterrupt when somebody did not wait for the end.
        """
        with self._signals:
            closing = Closing(self._clock)
            try:
                self._start(closing)
                self._view.started(self._overview())
                self._notifier.ready(self._status())
                while not self._signals.stopping:
                    self._beat()
                    self._signals.wait(LOOP_S)
                self._notifier.stopping("closing streams and storing what was measured")
                self._view.notice("stopping: storing what was measured; Ctrl-C again leaves at once")
            finally:
                self._end(closing)
            self._show()
        return self._kept()

    def _kept(self) -> Kept:
        """Raises LocalError where the store cannot be read, with what that cost."""
        dropped = self._store.counters()["dropped"]
        try:
            with StoreReader.open(self._config.store.path) as reader:
                return Kept(self._live.totals(), reader.status(), dropped)
        except LocalError as error:
            raise LocalError(f"{error.message}; {dropped} samples could not be kept", hint=error.hint) from None

    def stop(self) -> None:
        """Ask a running agent to end. Safe from any thread and from a signal handler."""
        self._signals.stop()

    def reload(self) -> None:
        """Ask a running agent to read its configuration again."""
        self._signals.hang_up()

    def _end(self, closing: Closing) -> None:
        closing.begin(self._signals.wake)
        while not closing.finished and closing.overdue is None:
            self._signals.wait(0.1)
            if self._signals.hurried:
                closing.hurry()
        if self._signals.hurried:
            raise KeyboardInterrupt
        if closing.overdue is not None:
            raise LocalError(f"{closing.overdue} did not end in time; what was stored until now is safe")

    def _start(self, closing: Closing) -> None:
        config, clock = self._config, self._clock
        self._set_log_level(config)
        self._circuits = self._present(config)
        self._tell_unfit(config, self._circuits)
        self._store = Store.open(config.store.path, clock=clock, site=config.site)
        closing.add("store", self._store.close, 3.0)
        self._keeper = Keeper(config.store.path, self._store, clock, self._note)
        closing.add("retention", self._keeper.close)
        self._delivery = self._open_delivery()
        closing.add("delivery", lambda limit_s: self._delivery.close(limit_s), 4.0)
        closing.add("store (commit)", self._store.flush, 2.0)
        closing.add("reflectors", lambda _: self._reflecting.close())
        self._open_reflectors()
        self._resolver = Resolver(clock=clock)
        closing.add("resolver", lambda _: self._resolver.close())
        self._health, self._carriers = HostHealth(clock), Carriers(clock, self._store.event)
        self._engine = Engine(
            clock=clock,
            report=self._keep,
            span_ns=config.span_ns,
            gate=lambda: self._gate.gate(),
            event=self._note,
            disturbed=lambda one: self._store.event(disturbed(one)),
        )
        self._gate = Gate(
            clock, self._health, span_ns=config.span_ns, lateness=self._engine.take_lateness,
            counters=self._engine.counters, carriers_down=self._carriers.down, canary=Canary(clock),
            keep=self._store.note, event=self._store.event,
        )  # fmt: skip
        self._gate.remember(remembered.last_day(config.store.path, clock.wall()))
        closing.add("host seconds", lambda _: self._gate.close())
        self._engine.start()
        closing.add("streams", self._engine.close)
        self._schedule = Schedule(clock, event=self._note)
        self._judging = Judging(config.store.path, clock, self._live.judge)
        self._judge_these()
        self._watch = Watch(
            engine=self._engine, schedule=self._schedule, resolver=self._resolver, clock=clock,
            span_ns=config.span_ns, record=self._keep, ran=self._store.note, event=self._note,
            known_paths=lambda keys: remembered.last_paths(config.store.path, keys),
        )  # fmt: skip
        closing.add("schedule", self._close_schedule)
        self._watch.add(self._circuits, remembered.last_runs(config.store.path))
        for work in self._housekeeping():
            self._schedule.add(work)
        self._schedule.start()
        self._mend_ns = clock.monotonic()

    def _close_schedule(self, limit_s: float) -> None:
        self._watch.stop()
        self._schedule.close(limit_s)
        self._watch.finish()
        self._judging.close()

    def _housekeeping(self) -> tuple[Work, ...]:
        return (
            Work("agent: host health", self._gate.observe, every_ns=SECOND, run_class="prompt"),
            Work("agent: streams", self._watch.tend, every_ns=SECOND, first_after_ns=SECOND, run_class="prompt"),
            Work("agent: verdicts", self._judging.advance, every_ns=SECOND, first_after_ns=SECOND,
                 run_class="background"),
            Work("agent: carrier", lambda: self._carriers.observe(self._circuits), every_ns=SECOND,
                 run_class="background"),
            Work("agent: retention", lambda: self._keeper.watch(self._config.store), every_ns=RETENTION_EVERY_NS,
                 first_after_ns=RETENTION_FIRST_NS, run_class="background"),
        )  # fmt: skip

    def _keep(self, samples: Sequence[Sample]) -> None:
        """From any thread; never waits."""
        self._live.take(samples)
        self._watch.hear(samples)
        try:
            self._store.append(samples)
        except StoreOverflow as error:
            self._lost += 1
            if self._lost & (self._lost - 1) == 0:
                log.error("%s", error)

    def _note(self, kind: str, text: str, circuit: str | None = None) -> None:
        self._store.event(EventRecord(kind, self._clock.wall(), text, circuit=circuit))

    def _set_log_level(self, config: AgentConfig) -> None:
        for name in OURS:
            logging.getLogger(name).setLevel(config.log_level.upper())

    def _present(self, config: AgentConfig) -> tuple[Circuit, ...]:
        """The configured circuits with discovered targets filled in; what this host does not have is left out."""
        present: list[Circuit] = []
        for circuit in config.circuits:
            role = config.discover.get(circuit.id)
            address = find(role) if role else None
            if role and address is None:
                self._trouble(circuit.id, f"{circuit.id} is not watched: this host has no {role}")
            else:
                self._troubles.pop(circuit.id, None)
                present.append(replace(circuit, target=address) if address else circuit)
        return tuple(present)

    def _trouble(self, subject: str, text: str) -> None:
        """Say it once, show it until it is mended."""
        if self._troubles.get(subject) != text:
            self._troubles[subject] = text
            self._view.warn(text)

    def _tell_unfit(self, config: AgentConfig, circuits: Sequence[Circuit]) -> None:
        for sentence in unfit(circuits, self._contracts, config.span_ns):
            self._view.warn(sentence)

    def _open_delivery(self) -> AttendedDelivery:
        circuits = {circuit.id: circuit for circuit in self._circuits}
        delivery = AttendedDelivery(
            self._config.sinks, self._store, self._config.store.path, circuits, self._config.site, self._clock
        )
        delivery.start()
        return delivery

    def _open_reflectors(self) -> None:
        wrong, mended = self._reflecting.open(self._config.reflector)
        for text in wrong:
            self._view.warn(text)
        for text in mended:
            self._view.notice(text)

    def _beat(self) -> None:
        if self._signals.take_hang_up():
            self._reload()
        now = self._clock.monotonic()
        if now - self._mend_ns >= MEND_EVERY_NS:
            self._mend_ns = now
            self._mend()
        self._feed_watchdog(now)
        self._show()
        if self._view.gone:
            log.warning("the terminal is gone: stopping")
            self._signals.stop()

    def _show(self) -> None:
        try:
            self._view.refresh(self._overview, self._live.fresh())
        except Exception as error:  # whatever is wrong with what is shown, measuring goes on
            if str(error) != self._unshown:
                log.exception("the view failed")
            self._unshown = str(error)

    def _mend(self) -> None:
        """A gateway may have come, gone or changed; a port may be free now."""
        self._open_reflectors()
        if DELIVERY in self._troubles:
            self._renew_delivery()
        before = self._circuits
        circuits = self._present(self._config)
        if circuits != before:
            self._adopt(circuits)
            text = f"discovered anew: {', '.join(configuration.moved(before, circuits))}"
            self._note("discover", text)
            self._view.notice(text)

    def _feed_watchdog(self, now: int) -> None:
        progress = {
            "engine": self._engine.progress(), "store": self._store.progress(),
            "schedule": self._schedule.progress(), "streams": self._watch.progress(),
        }  # fmt: skip
        stalled = frozenset(name for name, at_ns in progress.items() if now - at_ns > STALLED_NS)
        if not stalled:
            self._notifier.alive()
        elif stalled != self._stalled:
            log.error("no progress for %d s: %s", STALLED_NS // SECOND, ", ".join(sorted(stalled)))
        self._stalled = stalled
        if now - self._status_ns >= STATUS_EVERY_NS:
            self._status_ns = now
            self._notifier.status(self._status())

    def _reload(self) -> None:
        self._notifier.reloading(self._clock.monotonic())
        try:
            config = configuration.load(self._path)
            contracts = contract_files.load(config.contracts)
        except LocalError as error:
            self._view.warn(f"configuration refused, the old one stays in force:\n{error}")
            self._note("reload_refused", str(error))
        else:
            self._contracts = contracts
            self._apply(config)
        self._notifier.ready(self._status())

    def _apply(self, config: AgentConfig) -> None:
        old, change = self._config, configuration.difference(self._config, config)
        for name, changed in (
            ("store.path", config.store.path != old.store.path), ("interval", change.interval), ("site", change.site),
        ):  # fmt: skip
            if changed:
                self._view.warn(f"`{name}` changed: takes effect when the agent is restarted")
        self._config = replace(
            config, store=replace(config.store, path=old.store.path), span_ns=old.span_ns, site=old.site
        )
        self._set_log_level(config)
        for name in [*change.removed, *change.changed]:
            self._troubles.pop(name, None)
        self._adopt(self._present(config), sinks_changed=change.sinks)
        if change.reflector:
            self._reflecting.close()
            self._open_reflectors()
        self._tell_unfit(self._config, self._circuits)
        text = (
            f"configuration reloaded: {len(change.added)} circuits added, {len(change.removed)} removed, "
            f"{len(change.changed)} started anew"
        )
        self._note("reload", text)
        self._view.notice(text)

    def _adopt(self, circuits: tuple[Circuit, ...], *, sinks_changed: bool = False) -> None:
        """Watch these circuits from now on; those that are measured as before go on undisturbed."""
        before, self._circuits = self._circuits, circuits
        change = configuration.circuits_changed(before, circuits)
        gone, fresh = {*change.removed, *change.changed}, {*change.added, *change.changed}
        self._watch.remove(gone)
        self._live.forget(gone)
        last_runs = remembered.last_runs(self._config.store.path) if fresh else {}
        self._watch.add([item for item in circuits if item.id in fresh], last_runs)
        self._judge_these()
        if sinks_changed or circuits != before:
            self._renew_delivery()

    def _judge_these(self) -> None:
        self._judging.set(
            self._circuits, self._contracts, discovered=self._config.discover, span_ns=self._config.span_ns,
            ledgers=self._config.contracts,
        )  # fmt: skip

    def _renew_delivery(self) -> None:
        self._delivery.close(RELOAD_DELIVERY_S)
        try:
            self._delivery = self._open_delivery()
        except LocalError as error:
            self._trouble(DELIVERY, f"nothing is delivered: {error}")
        else:
            self._troubles.pop(DELIVERY, None)

    def _overview(self) -> Overview:
        refused, due, running = self._watch.refused(), self._watch.next_runs(), self._watch.running()
        keys = [(circuit, probe) for circuit in self._circuits for probe in circuit.probes]
        rows = []
        for circuit, probe in keys:
            key = (circuit.id, probe.name)
            next_run = due.get(key)
            rows.append(
                LiveRow(
                    *key, probe.kind, self._live.newest(key), refused.get(key), self._live.verdicts(circuit.id),
                    circuit.contract is not None, int(next_run.timestamp() * SECOND) if next_run else None,
                    key in running,
                )
            )  # fmt: skip
        state = self._health.state
        return Overview(
            self._config.site, self._config.store.path, self._clock.wall(), self._config.span_ns, tuple(rows),
            self._live.totals(), state.load, state.clock_synchronised, tuple(self._delivery.status()),
            tuple(self._ailments()), self._gate.share(),
        )  # fmt: skip

    def _ailments(self) -> list[str]:
        """What is wrong with the agent itself."""
        found = [*self._troubles.values(), *self._reflecting.troubles.values(), *self._delivery.troubles()]
        failure, dropped = self._store.failure(), self._store.counters()["dropped"]
        if failure is not None:
            found.append(f"the store cannot write, samples wait in memory: {failure}")
        if dropped:
            found.append(f"{dropped} samples could not be kept")
        lost = self._engine.counters()["reports_lost"]
        if lost:
            found.append(f"{lost} reports of the engine were lost: this host is too slow")
        if self._stalled:
            found.append(f"no progress: {', '.join(sorted(self._stalled))}")
        if (alarm := self._gate.alarm()) is not None:
            found.append(alarm)
        return found

    def _status(self) -> str:
        totals = self._live.totals()
        probes = sum(len(circuit.probes) for circuit in self._circuits)
        text = f"{len(self._circuits)} circuits, {probes} probes; {totals.samples} samples since the start"
        return "; ".join([text, *self._reflecting.counted(), *self._ailments()])
