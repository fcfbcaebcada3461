"""STAMP streams of the engine and irtt on the same emulated link at the same time: they agree on delay, IPDV and loss.

20 ms there with 15 ms of jitter, 4 ms back with 1 ms, losses each way, no packet overtakes another; IPv4 and IPv6. Both
ends have the same clock. The link's log is the referee of both. Two probers never meet the same jitter: how far the
packets of one fared better than the other's is known from the log and taken off; what is left is the probers' own.
Losses of each are compared one by one with the log.
"""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from probes.core.arrays import ABSENT
from tests.lab.namespaces import Lab
from tests.lab.reported import MS, SECOND, Reported, Running, stream
from tests.lab.stamp_lab import PORT, Ways, column, ways
from tests.live import irtt_run
from tests.live.irtt_run import Told

pytestmark = [pytest.mark.root, pytest.mark.live("irtt", "iproute2"), pytest.mark.serial]

FAMILIES = (4, 6)
COUNT = 400
PERIOD_MS = 20
SIZE = 184
FORWARD = {"delay_ns": 20 * MS, "jitter_ns": 15 * MS, "loss": 0.04}
BACKWARD = {"delay_ns": 4 * MS, "jitter_ns": 1 * MS, "loss": 0.12}
OURS_NS = 100_000
"""How far a median or a mean of kernel stamps may be from the log: two passages through the stack."""
THEIRS_NS = 2_000_000
"""The same of irtt, whose stamps are taken in user space when it gets to run: 0.1 ms, on a busy host up to 1 ms."""
SIGMAS = 5
WAYS = ("forward", "backward", "round trip")


@dataclass(frozen=True, slots=True)
class Seen:
    """What one prober told, and the truth about the same packets."""

    told: Told
    truth: Ways

    def medians(self) -> tuple[list[float], list[float]]:
        """Delays as told, as true; forward, backward, round trip; ns."""
        kept = self.told.answered()
        known = (self.truth.forward_ns[kept], self.truth.backward_ns[kept], self.truth.rtt_ns[kept])
        return [float(np.median(values)) for values in self.told.delays()], [float(np.median(v)) for v in known]

    def ipdv(self) -> tuple[list[float], list[float]]:
        """Mean of |IPDV| as told, as true; ns."""
        pairs = self.told.answered()[1:] & self.told.answered()[:-1]
        known = (self.truth.forward_ns, self.truth.backward_ns, self.truth.rtt_ns)
        return list(self.told.ipdv_ns), [float(np.abs(np.diff(values))[pairs].mean()) for values in known]

    def lost(self) -> tuple[int, int]:
        """Truly lost forward and backward."""
        return int(self.truth.lost_forward.sum()), int(self.truth.lost_backward.sum())

    def against_the_log(self, tolerance_ns: float) -> list[str]:
        """What does not hold."""
        wrong = []
        for name, (told, known) in (("delay", self.medians()), ("ipdv", self.ipdv())):
            pairs = zip(WAYS, told, known, strict=True)
            wrong += [f"{way} {name}" for way, one, other in pairs if abs(one - other) > tolerance_ns]
        if self.told.answered().tolist() != (self.truth.backward_ns >= 0).tolist():
            wrong.append("which packets were answered")
        unknown = self.told.lost[2]
        for way, told, known in zip(WAYS, self.told.lost, self.lost(), strict=False):
            if not known - unknown <= told <= known:
                wrong.append(f"{way} loss")
        if sum(self.told.lost) != sum(self.lost()):
            wrong.append("loss")
        return wrong


def against_each_other(ours: Seen, theirs: Seen) -> list[str]:
    """What the two disagree on: delay and IPDV less what chance made of them, losses within what chance may do."""
    wrong = []
    for name in ("medians", "ipdv"):
        (told, known), (their, their_known) = getattr(ours, name)(), getattr(theirs, name)()
        apart = (np.array(told) - np.array(their)) - (np.array(known) - np.array(their_known))
        wrong += [f"{way} {name}" for way, off in zip(WAYS, apart, strict=True) if abs(off) > OURS_NS + THEIRS_NS]
    for number, way in enumerate(WAYS[:2]):
        one, other = (seen.told.lost[number] / len(seen.told) for seen in (ours, theirs))
        ratio, unknown = (one + other) / 2, (ours.told.lost[2] + theirs.told.lost[2]) / COUNT
        if abs(one - other) > SIGMAS * (2 * ratio * (1 - ratio) / COUNT) ** 0.5 + unknown:
            wrong.append(f"{way} loss")
    return wrong


def of_engine(reported: Reported) -> Told:
    """Signed differences of single packets, whether or not this host's clock lets the samples show delays.

    Losses of the last second that no reply brackets are of unknown direction.
    """
    assert reported.count("not_sent") == reported.count("late") == 0
    whole = [sample for sample in reported.samples if sample["forward"]["lost"] is not None]
    variations = [[s[way] if way == "variation" else s[way]["variation"] for s in reported.samples]
                  for way in ("forward", "backward", "variation")]  # fmt: skip
    lost = [sum(sample[way]["lost"] for sample in whole) for way in ("forward", "backward")]
    return Told(
        forward_ns=column(reported, "forward_ns"),
        backward_ns=column(reported, "backward_ns"),
        rtt_ns=reported.packets()["rtt_ns"],
        ipdv_ns=tuple(sum(v["ipdv_abs_sum_ns"] for v in of) / sum(v["ipdv_pairs"] for v in of) for of in variations),
        lost=(lost[0], lost[1], reported.count("lost") - sum(lost)),
    )


@dataclass(frozen=True, slots=True)
class Both:
    """By IP version; `answered` is what our reflector counted."""

    ours: dict[int, Seen]
    theirs: dict[int, Seen]
    answered: int


def side_by_side(lab: Lab, folder: Path) -> Both:
    reflector = lab.far.popen(
        [sys.executable, "-m", "agent.cli.main", "reflect", "--listen", "::", "--allow", "198.51.100.0/24",
         "--allow", "2001:db8:77::/64", "--stamp-port", str(PORT), "--echo-port", "0", "--responder-port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert reflector.stdout is not None
    assert "STAMP on UDP port 862" in reflector.stdout.readline()
    settings = {"port": PORT, "size": SIZE, "every_ns": PERIOD_MS * MS, "limit": COUNT}
    with irtt_run.server(lab):
        files = {family: folder / f"irtt{family}.json" for family in FAMILIES}
        clients = [
            irtt_run.client(lab, family, file, count=COUNT, every_ms=PERIOD_MS, size=SIZE)
            for family, file in files.items()
        ]
        specs = [stream(lab, "stamp", family, **settings) for family in FAMILIES]
        run = Running(lab, specs, span_ns=SECOND).finish()
        for process in clients:
            output, errors = process.communicate(timeout=60)
            assert process.returncode == 0, output + errors
    reflector.terminate()
    said = reflector.communicate(timeout=10)[0]
    counters = re.search(r"^stamp: in (\d+), answered (\d+)", said, re.MULTILINE)
    assert counters is not None, said
    assert counters[1] == counters[2]
    assert not run.refused
    log = lab.log()
    ours = {family: Seen(of_engine(run.streams[f"stamp{family}"]), ways(log, family)) for family in FAMILIES}
    theirs = {family: Seen(irtt_run.read(files[family]), irtt_run.truth(log, family)) for family in FAMILIES}
    return Both(ours, theirs, int(counters[2]))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("irtt")
    lab = Lab(folder, seed="beside irtt", forward=FORWARD, backward=BACKWARD)
    try:
        found = side_by_side(lab, folder)
        lab.audit()
        yield found
    finally:
        lab.close()


def table(both: Both, family: int) -> Iterator[str]:
    """Delay and IPDV in ms, losses in packets: as told, in brackets as the log has it."""
    for name, seen in (("linkwitness", both.ours[family]), ("irtt", both.theirs[family])):
        for what, (told, known) in (("median delay", seen.medians()), ("mean |IPDV|", seen.ipdv())):
            cells = [f"{one / MS:.3f} ({other / MS:.3f})" for one, other in zip(told, known, strict=True)]
            yield f"IPv{family} {name}: {what} in ms, forward, backward, round trip (log): {', '.join(cells)}"
        (there, back, open_), known = seen.told.lost, seen.lost()
        losses = f"forward {there} ({known[0]}), backward {back} ({known[1]}), of unknown direction {open_}"
        yield f"IPv{family} {name}: lost of {len(seen.told)} packets (log): {losses}"


@pytest.mark.parametrize("family", FAMILIES)
def test_both_tell_what_the_log_says(both: Both, family: int, figure: Callable[[str], None]) -> None:
    for line in table(both, family):
        figure(line)
    ours, theirs = both.ours[family], both.theirs[family]
    assert len(ours.told) == len(ours.truth) == COUNT
    assert len(theirs.told) == len(theirs.truth) > COUNT * 0.9, "irtt leaves out what it is too late for"
    assert ours.against_the_log(OURS_NS) == []
    assert theirs.against_the_log(THEIRS_NS) == []


@pytest.mark.parametrize("family", FAMILIES)
def test_they_agree_with_each_other(both: Both, family: int) -> None:
    assert against_each_other(both.ours[family], both.theirs[family]) == []


def test_our_reflector_answered_what_the_link_brought(both: Both) -> None:
    assert both.answered == sum(int((seen.truth.forward_ns >= 0).sum()) for seen in both.ours.values())


def test_directions_exchanged_would_be_seen(both: Both) -> None:
    """The seeded fault of this file, by both of its comparisons."""
    seen = both.ours[4]
    one, two, three = seen.told.ipdv_ns
    swapped = dataclasses.replace(
        seen.told, forward_ns=seen.told.backward_ns, backward_ns=seen.told.forward_ns, ipdv_ns=(two, one, three),
        lost=(seen.told.lost[1], seen.told.lost[0], seen.told.lost[2]),
    )  # fmt: skip
    exchanged = dataclasses.replace(seen, told=swapped)
    found = {f"{way} {name}" for way in WAYS[:2] for name in ("delay", "ipdv", "loss")}
    assert set(exchanged.against_the_log(OURS_NS)) == found
    assert set(against_each_other(exchanged, both.theirs[4])) >= {f"{way} medians" for way in WAYS[:2]}


def test_a_reply_taken_for_the_next_packets_would_be_seen(both: Both) -> None:
    """The same numbers, one packet on: medians and IPDV stay, the fates of single packets do not."""
    seen = both.ours[6]
    rolled = dataclasses.replace(seen.told, rtt_ns=np.roll(seen.told.rtt_ns, 1))
    assert (rolled.rtt_ns == ABSENT).sum() == (seen.told.rtt_ns == ABSENT).sum()
    assert "which packets were answered" in dataclasses.replace(seen, told=rolled).against_the_log(OURS_NS)
