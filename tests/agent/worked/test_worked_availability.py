"""Availability worked by hand: sequences, month ends, the pending tail, gaps, maintenance, blocks, plain outages,
        groups.

One letter is an interval of 10 s with ten packets: `.` all answered, `H` all lost, `5` so many lost, `?` not measured,
`x` impaired. C is 50 %, n is 3, unless the case says otherwise. Intervals are numbered from 0, the window's first.
"""

from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np
import pytest

from agent.sla.case import Feed, Moment
from agent.sla.downtime.uptime import down_and_unknown
from agent.sla.samples.measured import Pace
from agent.sla.statistic.scope import at_least
from agent.sla.terms.contract import Metric, Objective, Scope, Statistic, StatisticType
from agent.sla.terms.incidents import ClockTerms, Incident, Pause, Repair, Stamp, Ticket
from agent.sla.terms.objective import Coverage
from agent.sla.time.spans import Spans
from agent.sla.verdict import VerdictState
from probes.core.arrays import ABSENT, Packets
from probes.core.model import PacketState
from tests.fakes.columns import SECOND, SPAN
from tests.fakes.contracts import contract, objective, series
from tests.fakes.evaluated import T0, evaluated, state_of, window
from tests.fakes.worked import Case

T = StatisticType
MET, BREACHED, UNSURE = VerdictState.MET, VerdictState.BREACHED, VerdictState.INCONCLUSIVE
ON_TRACK, RISK = VerdictState.ON_TRACK, VerdictState.AT_RISK
MINUTE = 60 * SECOND
BOUNDS = Coverage(Fraction(9, 10))


def share(up: int, of: int) -> Fraction:
    return Fraction(up, of)


def uptime(
    target: str, kind: StatisticType = T.AVAILABILITY_MEF, *, coverage: Coverage = BOUNDS, **how: object
) -> Objective:
    return objective(Metric.AVAILABILITY, target, Statistic(kind, **how), coverage=coverage)  # type: ignore[arg-type]


def at(first: int, end: int) -> Spans:
    """The time of those intervals."""
    return Spans.of([(T0 + first * SPAN, T0 + end * SPAN)])


@dataclass(frozen=True)
class Given:
    """text: from interval `early` on. The window is [0, samples)."""

    promise: Objective
    text: str
    samples: int
    early: int = 0
    more: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Then:
    value: Fraction | None
    best: Fraction | None
    worst: Fraction | None
    state: VerdictState | None = None


def same(up: int, of: int, state: VerdictState | None = None) -> Then:
    return Then(share(up, of), share(up, of), share(up, of), state)


FIXED = contract(month_basis="fixed_720h")
BRIDGED = uptime("0.55", T.AVAILABILITY_OUTAGE, n=1, coverage=replace(BOUNDS, bridge_ns=30 * SECOND))
TICKET = ClockTerms(start=Stamp.TICKET, stop=Stamp.CONFIRMED)


def incident(first: int, end: int, *pauses: tuple[int, int]) -> Incident:
    """On the contract's clock from interval `first` to `end`, standing in the pauses."""
    start, stop = T0 + first * SPAN, T0 + end * SPAN
    stamps = {Stamp.TICKET: start, Stamp.CONFIRMED: stop}
    stood = tuple(Pause(T0 + a * SPAN, T0 + b * SPAN, "customer") for a, b in pauses)
    ticket = Ticket("T-1", ("c1",), stamps, start, stood)
    return Incident(
        "i", "c1", start, stop, "both", at(first, end), at(first, end), (ticket,),
        repair=Repair(None, None, 0, start, stop), stamps=stamps,
    )  # fmt: skip


CASES = [
    Case(
        "three high intervals are down from the first",
        """. . . H H H . . . . : H(3..5) is a run of 3: A(3) = 0. H(6..8) are low: A(6) = 1. Seven of ten are up.""",
        Given(uptime("0.7"), "...HHH....", 10),
        same(7, 10, MET),
    ),
    Case(
        "exactly C lost is not high",
        """5 of 10 lost is 50 %, not above C = 50 %: no interval is high, all ten are up. 6 of 10 would be.""",
        Given(uptime("1"), "...555....", 10),
        same(10, 10, MET),
    ),
    Case(
        "one packet more is high",
        """6 of 10 lost is 60 % > 50 %: three of them in a row are down: 7/10.""",
        Given(uptime("0.9"), "...666....", 10),
        same(7, 10, BREACHED),
    ),
    Case(
        "the target itself is met",
        """97 of 100 up, target 97 %: equal meets.""",
        Given(uptime("0.97"), "." * 50 + "HHH" + "." * 47, 100),
        same(97, 100, MET),
    ),
    Case(
        "an interval less and it is missed",
        """Four high ones: 96 of 100 up, target 97 %.""",
        Given(uptime("0.97"), "." * 50 + "HHHH" + "." * 46, 100),
        same(96, 100, BREACHED),
    ),
    Case(
        "two low intervals do not end an outage",
        """H H H . . H . . . : down from 0, the low ones 3 and 4 are only two, 6..8 are three: up from 6. Three of
        nine.""",
        Given(uptime("0.5"), "HHH..H...", 9),
        same(3, 9, BREACHED),
    ),
    Case(
        "the month inherits the outage of the month before",
        """Before the window: . H H H; in it H . . . . .: interval 0 is still high, 1..3 are low: up from 1: 5 of 6.""",
        Given(uptime("0.8"), ".HHHH.....", 6, early=-4, more={"since_ns": T0 - 4 * SPAN}),
        same(5, 6, MET),
    ),
    Case(
        "two high intervals at the month's end need the next month",
        """Window of 8: . . . . . . H H, then H . . .: H(6..8) is a run of 3 that begins in the window: 6 and 7 are
        down.""",
        Given(uptime("0.9"), "......HHH...", 8),
        same(6, 8, BREACHED),
    ),
    Case(
        "the same two, and the next month begins well",
        """. . . . . . H H | . . . .: no run of three: all eight are up.""",
        Given(uptime("0.9"), "......HH....", 8),
        same(8, 8, MET),
    ),
    Case(
        "an outage over the month's end is split by time",
        """Window of 8: . . . . H H H H | H H . . .: down from 4 to the end: 4 of 8; the rest is the next month's.""",
        Given(uptime("0.9"), "....HHHHHH...", 8),
        same(4, 8, BREACHED),
    ),
    Case(
        "the pending tail of an open window",
        """Now is the end of interval 9 of 20: . . . . . . . . H H: 8 and 9 are down if the next is high, else up.
        Certain
        are 8 of 10 up: between 8/10 and 10/10; 8 of the 8 that are decided are up.""",
        Given(uptime("0.9"), "........HH", 20, more={"now_ns": T0 + 10 * SPAN + 31 * SECOND}),
        Then(share(8, 8), share(10, 10), share(8, 10)),
    ),
    Case(
        "a gap inside an outage cannot have ended it",
        """H H H ? ? H H H . . . .: two unknown intervals hold no run of three low ones: down from 0 to 7: 4 of 12.""",
        Given(uptime("0.9"), "HHH??HHH....", 12),
        same(4, 12, BREACHED),
    ),
    Case(
        "a longer gap inside an outage may have",
        """H H H ? ? ? H H H . . .: three unknown: up or down. Down 0..2 and 6..8, up 9..11, unknown 3..5. Best 6/12,
        worst 3/12, of what is known 3/9.""",
        Given(uptime("0.4"), "HHH???HHH...", 12),
        Then(share(3, 9), share(6, 12), share(3, 12), UNSURE),
    ),
    Case(
        "unknown that cannot matter",
        """99 intervals up, one unknown between: one is no run of three. All 100 are up.""",
        Given(uptime("1"), "." * 50 + "?" + "." * 49, 100),
        same(100, 100, MET),
    ),
    Case(
        "unknown time counts as down where the contract says so",
        """. . . ? ? ? . . . .: the unknown three are down: 7 of 10, whatever the coverage.""",
        Given(uptime("0.8", coverage=replace(BOUNDS, unknown="down")), "...???....", 10),
        same(7, 10, BREACHED),
    ),
    Case(
        "unknown time counts as up where the contract says so",
        """The same three are up: 10 of 10.""",
        Given(uptime("0.8", coverage=replace(BOUNDS, unknown="up")), "...???....", 10),
        same(10, 10, MET),
    ),
    Case(
        "maintenance over an outage leaves both out",
        """. . H H H H H . . . with 2..4 excluded: of the seven that count 5 and 6 are down: 5 of 7. The machine
        runs on:
        the outage began at 2.""",
        Given(uptime("0.7"), "..HHHHH...", 10, more={"excluded": at(2, 5)}),
        same(5, 7, MET),
    ),
    Case(
        "maintenance over all of it",
        """. . H H H . . . . . with 2..4 excluded: all seven that count are up.""",
        Given(uptime("1"), "..HHH.....", 10, more={"excluded": at(2, 5)}),
        same(7, 7, MET),
    ),
    Case(
        "an interval that maintenance touches is out whole",
        """Excluded from the middle of 2 to the middle of 3: 2 and 3 are out. H at 3..5: 4 and 5 are down: 6 of 8.""",
        Given(
            uptime("0.7"), "...HHH....", 10,
            more={"excluded": Spans.of([(T0 + 2 * SPAN + 5 * SECOND, T0 + 3 * SPAN + 5 * SECOND)])},
        ),
        same(6, 8, MET),
    ),
    Case(
        "credited time counts as up and stays in the ratio",
        """. . H H H H H . . . with 2..4 credited: down are 5 and 6: 8 of 10.""",
        Given(uptime("0.8"), "..HHHHH...", 10, more={"credited": at(2, 5)}),
        same(8, 10, MET),
    ),
    Case(
        "high loss intervals while available",
        """. H . H H . H H H . . .: 1, 3 and 4 are high and available; 6..8 are an outage. Three, target 3.""",
        Given(uptime("3", T.HIGH_LOSS_INTERVALS), ".H.HH.HHH...", 12),
        Then(Fraction(3), Fraction(3), Fraction(3), MET),
    ),
    Case(
        "runs of two or more of them",
        """The same: 1 is alone, 3 and 4 are a run of two: one. p = 2 < n = 3.""",
        Given(uptime("0", T.CONSECUTIVE_HIGH_LOSS, p_intervals=2), ".H.HH.HHH...", 12),
        Then(Fraction(1), Fraction(1), Fraction(1), BREACHED),
    ),
    Case(
        "a block with more than c lost is down",
        """Blocks of 1 min, 60 packets; c = 20 %. Block 0: 12 lost = 20 %, not above. Block 1: 13 lost: down. Two of
        three
        blocks are up.""",
        Given(uptime("0.6", T.AVAILABILITY_BLOCKS, block_ns=MINUTE, c=Fraction(1, 5)), "H2....H3..........", 18),
        same(2, 3, MET),
    ),
    Case(
        "a block that is decided whatever its hole held",
        """Blocks of 1 min, c = 20 %: H H . . . ?: 20 of 50 lost; the hole holds at most 11 packets (10 and one more at
        its edge): at best 20/61 = 32.8 % > 20 %: down all the same. 2 of 3.""",
        Given(uptime("0.9", T.AVAILABILITY_BLOCKS, block_ns=MINUTE, c=Fraction(1, 5)), "......HH...?......", 18),
        same(2, 3, BREACHED),
    ),
    Case(
        "a block that its hole decides",
        """1 . . . . ?: 1 of 50 lost; with 11 more lost 12/61 = 19.7 % < 20 %: up all the same. 3 . . . . ?: 3 of 50;
        worst 14/61 = 23 %: unknown. Blocks: up, unknown, up: between 2/3 and 3/3, of what is known 2/2.""",
        Given(uptime("0.6", T.AVAILABILITY_BLOCKS, block_ns=MINUTE, c=Fraction(1, 5)), "1....?3....?......", 18),
        Then(share(2, 2), share(3, 3), share(2, 3), MET),
    ),
    Case(
        "plain outage time",
        """. H H H . . . H H H H . . . . . . . . .: with n = 1 30 s and 40 s of 200 s: 1 - 70/200 = 13/20.""",
        Given(uptime("0.65", T.AVAILABILITY_OUTAGE, n=1), ".HHH...HHHH.........", 20),
        same(13, 20, MET),
    ),
    Case(
        "outages shorter than the minimum do not count",
        """The same with a minimum of 40 s: only the second: 1 - 40/200 = 4/5.""",
        Given(uptime("0.8", T.AVAILABILITY_OUTAGE, n=1, minimum_ns=40 * SECOND), ".HHH...HHHH.........", 20),
        same(16, 20, MET),
    ),
    Case(
        "counted from the threshold",
        """Minimum 40 s, counted from there on: the second has lasted just 40 s: nothing is left of it: 200/200.""",
        Given(
            uptime("1", T.AVAILABILITY_OUTAGE, n=1, minimum_ns=40 * SECOND, count_from="threshold"),
            ".HHH...HHHH.........", 20,
        ),
        same(20, 20, MET),
    ),
    Case(
        "outages closer than the joining gap are one",
        """They are 30 s apart, joined below 40 s: one from 1 to 11, 100 s with the time between: 1 - 100/200.""",
        Given(uptime("0.6", T.AVAILABILITY_OUTAGE, n=1, join_ns=40 * SECOND), ".HHH...HHHH.........", 20),
        same(10, 20, BREACHED),
    ),
    Case(
        "exactly as far apart as the gap are two",
        """Joined below 30 s: 30 s apart is not: 30 + 40 s: 13/20.""",
        Given(uptime("0.6", T.AVAILABILITY_OUTAGE, n=1, join_ns=30 * SECOND), ".HHH...HHHH.........", 20),
        same(13, 20, MET),
    ),
    Case(
        "joined outages reach the minimum together",
        """Minimum 80 s, joined below 40 s: 100 s together: counts; 1 - 100/200.""",
        Given(
            uptime("0.6", T.AVAILABILITY_OUTAGE, n=1, join_ns=40 * SECOND, minimum_ns=80 * SECOND),
            ".HHH...HHHH.........", 20,
        ),
        same(10, 20, BREACHED),
    ),
    Case(
        "an outage over the edge is long enough with the time outside",
        """Two intervals before the window and two in it, minimum 40 s: it lasts 40 s, of which 20 s are in the
        window of
        100 s: 1 - 20/100.""",
        Given(
            uptime("0.9", T.AVAILABILITY_OUTAGE, n=1, minimum_ns=40 * SECOND), "..HHHH........", 10, early=-4,
            more={"since_ns": T0 - 4 * SPAN},
        ),
        same(8, 10, BREACHED),
    ),
    Case(
        "a month of 720 hours",
        """An outage of 432 s in a month of 720 h = 2,592,000 s is 1/6000; here 44 intervals = 440 s down:
        1 - 440/2592000 = 64789/64800.""",
        Given(
            replace(uptime("0.999", T.AVAILABILITY_OUTAGE, n=1), window=replace(uptime("1").window, calendar="month")),
            "." * 10 + "H" * 44 + "." * 26, 80, more={"contract": FIXED},
        ),
        same(64_789, 64_800, MET),
    ),
    Case(
        "the contract's clock runs from ticket to confirmation",
        """Measured down 2..5; the ticket's clock runs 3..9 = 60 s, less a pause 4..6 = 20 s: 40 s of 200 s: 4/5.""",
        Given(
            uptime("0.8", T.AVAILABILITY_OUTAGE, n=1, clock="contract"), "..HHH...............", 20,
            more={"contract": contract(clock=TICKET), "incidents": (incident(3, 9, (4, 6)),)},
        ),
        same(16, 20, MET),
    ),
    Case(
        "a short gap between two outages is bridged, the bounds know nothing of it",
        """. H H ? H H . . . . with n = 1: 40 s certainly down, 50 s at worst. The hole lies between two times
        down and is
        no longer than 30 s: the estimate takes it for down: 1 - 50/100.""",
        Given(BRIDGED, ".HH?HH....", 10),
        Then(share(5, 10), share(6, 10), share(5, 10), BREACHED),
    ),
    Case(
        "a gap longer than the bridge is not",
        """. H H ? ? H H . . . with a bridge of 10 s: 40 s down, 60 s at worst; of 80 s that are known 40 s are up.""",
        Given(
            uptime("0.3", T.AVAILABILITY_OUTAGE, n=1, coverage=replace(BOUNDS, bridge_ns=SPAN)), ".HH??HH...", 10,
        ),
        Then(share(4, 8), share(6, 10), share(4, 10), MET),
    ),
    Case(
        "plain outage time with unknown time as down",
        """. H H ? . . ? . . .: by the contract the unknown are down: 40 s of 100 s.""",
        Given(
            uptime("0.6", T.AVAILABILITY_OUTAGE, n=1, coverage=replace(BOUNDS, unknown="down")), ".HH?..?...", 10,
        ),
        same(6, 10, MET),
    ),
    Case(
        "plain outage time with unknown time as up",
        """The same with unknown as up: 20 s of 100 s.""",
        Given(
            uptime("0.8", T.AVAILABILITY_OUTAGE, n=1, coverage=replace(BOUNDS, unknown="up")), ".HH?..?...", 10,
        ),
        same(8, 10, MET),
    ),
    Case(
        "unknown time may hold lossy intervals",
        """. H ? . . . with n = 3: one is certain; if the unknown one is high too, two in a row are no outage: two.""",
        Given(uptime("1", T.HIGH_LOSS_INTERVALS), ".H?...", 6),
        Then(Fraction(1), Fraction(1), Fraction(2)),
    ),
    Case(
        "impaired samples are unknown, not down",
        """. . x x x . . . . .: three unknown in a row: between 7/10 and 10/10.""",
        Given(uptime("0.8"), "..xxx.....", 10),
        Then(share(7, 7), share(10, 10), share(7, 10), UNSURE),
    ),
    Case(
        "service hours: what lies outside is excluded",
        """Hours hold 0..4; the outage 3..7 counts with 3 and 4 only: 3 of 5.""",
        Given(uptime("0.7"), "...HHHHH..", 10, more={"excluded": at(5, 10)}),
        same(3, 5, BREACHED),
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_working_is_what_is_computed(case: Case[Given, Then]) -> None:
    given, then = case.given, case.expected
    data = series(T0 + given.early * SPAN, given.text)
    found = evaluated(given.promise, data, given.samples, **given.more)
    estimate = found.findings.estimate
    assert (estimate.value, estimate.best, estimate.worst) == (then.value, then.best, then.worst), case.steps
    if then.state is not None:
        assert state_of(given.promise, found) is then.state, case.steps


def test_ten_bad_seconds_are_unavailable_nine_are_not() -> None:
    """Y.1563 and G.826 from packets, ten a second. Seconds 5..13 lose 6 of 10: nine severe seconds are still available.
    Seconds 20..29 are ten: down, until 30, from where ten seconds are not severe: 5 of 10 is not more than half. Of 40
    seconds 30 are available. Had the nine come after the ten, with less than ten between, they would be down too."""
    lost = dict.fromkeys(range(5, 14), 6) | dict.fromkeys(range(20, 30), 6) | {34: 5}
    stored = {}
    for k in range(4):
        state = np.zeros(100, np.uint8)
        for second in range(10):
            state[second * 10 : second * 10 + lost.get(k * 10 + second, 0)] = PacketState.LOST
        sent = np.arange(100, dtype=np.int64) * 10**8
        stored[T0 + k * SPAN] = Packets(sent, np.where(state == 0, 10**7, ABSENT), state)
    rows = [
        {"start_ns": T0 + k * SPAN, "sent": 100, "lost": sum(lost.get(k * 10 + s, 0) for s in range(10)), "not_sent": 0}
        for k in range(4)
    ]
    promise = uptime("0.7", T.AVAILABILITY_SECONDS, n=10)
    found = evaluated(promise, rows, 4, every_ns=10**8, packets=lambda _probe, at: [stored.get(int(one)) for one in at])
    estimate = found.findings.estimate
    assert (estimate.value, estimate.best, estimate.worst) == (Fraction(3, 4),) * 3


def test_at_least_one_of_two_and_both() -> None:
    """A: . . . H H H . . . . ; B: . . . . . . H H H . — one of the two is up all the time; both are up in 0..2 and 9:
    A is down 3..5, B 6..8, and the last interval is up in both."""
    feeds = {
        "A": Feed(series(T0, "...HHH...."), Pace(SECOND, False)),
        "B": Feed(series(T0, "......HHH."), Pace(SECOND, False)),
    }
    moment = Moment(T0 + 10**15, T0)

    def group(k: int) -> Fraction | None:
        promise = replace(uptime("0.9"), scope=Scope(("A", "B"), "at_least", k))
        return at_least(promise, feeds, window(10), Fraction(9, 10), moment).findings.estimate.best

    assert group(1) == 1
    assert group(2) == Fraction(4, 10)


def test_down_and_unknown_for_the_incidents() -> None:
    """. H H H . . . ? ? ? . . .: down 1..3, unknown 7..9; excluded time changes nothing here."""
    data = series(T0, ".HHH...???...")
    agreed = contract(uptime("0.9"))
    moment = Moment(T0 + 10**15, T0, excluded=at(0, 13))
    down, unknown = down_and_unknown(agreed, Feed(data, Pace(SECOND, False)), T0, T0 + 13 * SPAN, moment)
    assert list(down) == list(at(1, 4))
    assert list(unknown) == list(at(7, 10))
