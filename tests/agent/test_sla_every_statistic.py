"""Every statistic against a second implementation in plain loops, and its bounds against what was hidden.

A whole world is drawn, some of it is hidden: samples that are missing, packets that were not sent. What is computed
from the rest must be what plain loops make of the rest, and the truth must lie between its best and its worst.
Delays are below 128 ns, where every ns is a bucket of its own, so that percentiles are exact; those for MOS are ms.
"""

import itertools
import random
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sla.case import Evaluation
from agent.sla.samples.distribution import Distribution
from agent.sla.statistic import amounts, binned, statistics, streaks
from agent.sla.terms.contract import JitterDefinition, Metric, Objective, Statistic, StatisticType
from agent.sla.time.spans import Spans
from probes.core.arrays import Int64
from probes.metrics import voice
from tests.fakes.columns import SPAN, columns
from tests.fakes.contracts import MS, objective
from tests.fakes.evaluated import T0, evaluated, row
from tests.fakes.plainly import PACKETS, Heard, Told, mos, statistic
from tests.faults.counts import count

T = StatisticType
LIMIT = 127
"""No answer takes longer, ns."""


def promises(chance: random.Random, per: int) -> Objective:
    """Any statistic of any metric that samples give, with limits that some packets keep."""
    metric = chance.choice((Metric.RTT, Metric.RTT, Metric.LOSS, Metric.JITTER, Metric.MOS))
    bins = {"bin_ns": per * SPAN}
    limit = {
        Metric.RTT: Fraction(chance.randint(1, 127)), Metric.LOSS: Fraction(chance.randint(0, 10), 10),
        Metric.JITTER: Fraction(chance.randint(0, 60)), Metric.MOS: Fraction(chance.randint(10, 45), 10),
    }[metric]  # fmt: skip
    by_place = [
        Statistic(T.BIN_MEAN, **bins),
        Statistic(chance.choice((T.RATIO_WITHIN, T.RATIO_OVER)), limit=limit, of="bins", **bins),
        Statistic(T.SUSTAINED, limit=limit, run_ns=chance.randint(1, 3) * per * SPAN, **bins),
        Statistic(T.MAX_WINDOW, span_ns=per * SPAN),
    ]
    p = chance.choice((Fraction(1, 20), Fraction(1, 2), Fraction(9, 10), Fraction(99, 100)))
    shares = Statistic(chance.choice((T.RATIO_WITHIN, T.RATIO_OVER)), limit=limit)
    by_count = [Statistic(T.MEAN), Statistic(T.PERCENTILE, p=p), shares]
    if metric is Metric.LOSS:
        how = chance.choice([Statistic(T.RATIO), *by_place])
    elif metric is Metric.JITTER:
        pdv, rfc, ipdv = JitterDefinition.PDV, JitterDefinition.RFC3550, JitterDefinition.IPDV
        how = chance.choice(
            [replace(item, definition=pdv) for item in by_count]
            + [replace(item, definition=rfc) for item in (*by_count, *by_place)]
            + [replace(item, definition=ipdv) for item in (by_count[0], *by_place)]
        )
    else:
        more = [Statistic(T.MINIMUM)] if metric is Metric.MOS else [replace(shares, lost="infinite")]
        if metric is Metric.RTT:
            more += [replace(by_place[1], lost="infinite"), replace(by_place[2], lost="infinite")]
        how = chance.choice([*by_count, *by_place, *more])
    if metric is Metric.MOS:
        how = replace(how, codec=chance.choice(("g711", "g711_plc", "g729a")))
    return objective(metric, "0", how, min_samples=1)


def world(chance: random.Random, length: int, unit: int) -> Told:
    """Every sample of the window, ten packets each."""
    told: Told = {}
    bad = chance.choice((0.05, 0.3))
    before = None
    for place in range(length):
        lost = chance.choice((0, 0, 1, chance.randint(0, PACKETS), PACKETS)) if chance.random() < 2 * bad else 0
        top = LIMIT if chance.random() < bad else 40
        delays = tuple(chance.randint(1, top) * unit for _ in range(PACKETS - lost))
        line = ([before] if before is not None else []) + list(delays)
        told[place] = Heard(delays, lost, tuple(abs(b - a) for a, b in itertools.pairwise(line)), chance.randint(0, 99))
        before = delays[-1] if delays and not lost else None
    return told


def sample(place: int, item: Heard, unsent: int = 0) -> dict[str, object]:
    found = row(place, item.delays, item.lost, not_sent=unsent)
    found |= {"ipdv_pairs": len(item.pairs), "ipdv_abs_sum_ns": sum(item.pairs)}
    return found | ({"rfc3550_ns": item.smoothed} if item.delays else {})


def seen_of(chance: random.Random, told: Told, promise: Objective) -> tuple[Told, dict[int, int]]:
    """What of the world was measured, and how many packets of each sample were never sent."""
    seen, unsent = {}, {}
    holes = chance.choice((0.0, 0.0, 0.2, 0.6))
    packets = promise.metric is not Metric.JITTER and chance.random() < 0.3
    for place, item in told.items():
        if chance.random() < holes:
            continue
        gone = chance.randint(0, len(item.delays)) if packets and chance.random() < 0.3 and len(item.delays) else 0
        gone = min(gone, item.sent - 1)
        seen[place] = replace(item, delays=item.delays[gone:])
        unsent[place] = gone
    return seen, unsent


def tried(chance: random.Random) -> tuple[Objective, Told, Told, int, int, Evaluation]:
    length, per = chance.randint(1, 14), chance.randint(1, 5)
    promise = promises(chance, per)
    unit = MS if promise.metric is Metric.MOS else 1
    told = world(chance, length, unit)
    seen, unsent = seen_of(chance, told, promise)
    out = {place for place in told if chance.random() < chance.choice((0.0, 0.3))} if per == 1 else set()
    rows = [sample(place, item, unsent[place]) for place, item in seen.items()] or [{"start_ns": T0 - SPAN}]
    excluded = Spans.of((T0 + place * SPAN, T0 + (place + 1) * SPAN) for place in out)
    found = evaluated(promise, rows, length, timeout_ns=LIMIT * unit, excluded=excluded)
    keep = {place: item for place, item in told.items() if place not in out}
    if promise.metric is Metric.MOS:
        seen = {place: item for place, item in seen.items() if not unsent[place]}
    return promise, keep, {place: item for place, item in seen.items() if place in keep}, length, per, found


def wrong(seed: int) -> str:
    """Empty where all is right."""
    chance = random.Random(seed)
    promise, told, seen, length, per, found = tried(chance)
    kind, estimate = promise.statistic.type, found.findings.estimate
    name = f"{seed}: {promise.metric} {promise.statistic}"
    skips = per == 1 and len(told) < length and kind in (T.SUSTAINED,)
    whole = len(seen) == len(told) and estimate.best == estimate.worst
    if kind is not T.MAX_WINDOW or whole:
        expected = statistic(promise, seen, length, per=per)
        if not seen and kind is T.SUSTAINED:
            expected = None
        if estimate.value != expected and not skips and not (kind is T.SUSTAINED and estimate.value is None):
            return f"{name}: {estimate.value} is not {expected}"
    truth = statistic(promise, told, length, per=per)
    if truth is None or skips:
        return ""
    low, high = (estimate.worst, estimate.best) if promise.comparison == "min" else (estimate.best, estimate.worst)
    if (low is not None and truth < low) or (high is not None and truth > high):
        return f"{name}: {truth} is not within {low} .. {high}"
    return ""


def test_every_statistic_is_what_plain_loops_make_of_it_and_its_bounds_hold_the_truth() -> None:
    found = [text for seed in range(count("STATISTICS", 1_500, 200_000)) if (text := wrong(seed))]
    assert found == []


@pytest.mark.parametrize("bug", ["limit", "rank", "bins", "bounds", "streaks", "windows"])
def test_the_harness_catches_a_seeded_bug(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if bug == "limit":  # at the limit counts as beyond
        right = amounts.beyond

        def touching(total: Int64, counted: Int64, limit: Fraction, scale: amounts.Scale) -> object:
            return right(total, counted, limit - Fraction(1, 10**9) * (-1 if scale.low_is_bad else 1), scale)

        monkeypatch.setattr(binned, "beyond", touching)
    elif bug == "rank":  # the rank rounded down
        value = statistics._Ranked.value
        monkeypatch.setattr(statistics._Ranked, "value", lambda self, rank: value(self, max(1, rank - 1)))
    elif bug == "bins":  # the rest of the window is always a bin of its own
        monkeypatch.setattr(
            binned,
            "sum_of_means",
            lambda total, counted: Fraction(int(total.sum()) * len(total), int(counted.sum()) or 1),
        )
    elif bug == "bounds":  # half of what is unknown is forgotten
        unknown = binned.Stretches.unknown
        monkeypatch.setattr(binned.Stretches, "unknown", lambda self, missing: unknown(self, missing) // 3)
    elif bug == "streaks":  # a hole never joins two runs
        monkeypatch.setattr(binned, "streak_bounds", lambda sure, _maybe, n: (streaks.counted(sure, n),) * 2)
    else:  # windows end one sample early
        sums = binned._sums
        monkeypatch.setattr(binned, "_sums", lambda start, values, begin, end: sums(start, values, begin, end - SPAN))
    assert any(wrong(seed) for seed in range(2_000))


def test_the_order_of_the_rows_changes_nothing() -> None:
    for seed in range(150):
        chance = random.Random(seed)
        promise = promises(chance, 2)
        told = world(chance, 9, MS if promise.metric is Metric.MOS else 1)
        rows = [sample(place, item) for place, item in told.items() if chance.random() < 0.8]
        if not rows:
            continue
        one = evaluated(promise, rows, 9)
        chance.shuffle(rows)
        other = evaluated(promise, columns(rows), 9)
        assert one.findings == other.findings
        assert (one.evidence, one.details, one.missing) == (other.evidence, other.details, other.missing)


def test_only_available_time_counts() -> None:
    """What the machine of the contract's availability calls down is left out, sample by sample."""
    left_out = 0
    for seed in range(400):
        chance = random.Random(seed)
        length, per = chance.randint(4, 14), chance.randint(1, 4)
        promise = promises(chance, per)
        if promise.statistic.type in (T.MAX_WINDOW, T.SUSTAINED):
            continue
        told = world(chance, length, MS if promise.metric is Metric.MOS else 1)
        rows = [sample(place, item) for place, item in told.items()]
        clock = objective(Metric.AVAILABILITY, "0.9", Statistic(T.AVAILABILITY_MEF, n=1))
        found = evaluated(promise, rows, length, timeout_ns=LIMIT, available=clock)
        up = {place: item for place, item in told.items() if 2 * item.lost <= item.sent}
        left_out += len(told) - len(up)
        assert found.findings.estimate.value == statistic(promise, up, length, per=per), (seed, promise)
    assert left_out


def of_runs(how: Statistic, rates: dict[int, int], length: int, per: int) -> Fraction | None:
    """Throughput in plain loops: one run a minute, `per` minutes in a bin or a worst window."""
    values, limit = [Fraction(rates[k]) for k in sorted(rates)], how.limit or Fraction(0)
    if how.type is T.MAX_WINDOW:
        slid = [[rates[k] for k in range(at, at + per) if k in rates] for at in sorted(rates) if at + per <= length]
        return min((Fraction(sum(part), len(part)) for part in slid if part), default=None)
    number = max(1, (2 * length + per) // (2 * per))
    ends = [per * (k + 1) for k in range(number - 1)] + [length]
    bins = [[rates[k] for k in range(a, b) if k in rates] for a, b in zip([0, *ends], ends, strict=False)]
    means = [Fraction(sum(part), len(part)) for part in bins if part]
    if not values:
        return None
    if how.type is T.CAPACITY:
        return Fraction(min(max(part) for part in bins if part))
    if how.type is T.BIN_MEAN:
        return sum(means, Fraction(0)) / len(means)
    if how.type is T.SUSTAINED:
        flags = [bool(part) and Fraction(sum(part), len(part)) < limit for part in bins]
        length_needed = -(-(how.run_ns or 0) // (how.bin_ns or 1))
        return Fraction(sum(flag and len(list(run)) >= length_needed for flag, run in itertools.groupby(flags)))
    if how.type in (T.RATIO_WITHIN, T.RATIO_OVER):
        below = [value < limit for value in (means if how.of == "bins" else values)]
        over = Fraction(sum(below), len(below))
        return over if how.type is T.RATIO_OVER else 1 - over
    if how.type is T.MEAN:
        return sum(values, Fraction(0)) / len(values)
    return sorted(values)[max(0, -(-(how.p or Fraction(0)) * len(values) // 1) - 1)]


def test_every_statistic_of_runs_and_its_bounds() -> None:
    minute = 60 * 10**9
    for seed in range(count("RUNS", 700, 50_000)):
        chance = random.Random(seed)
        length, per = chance.randint(1, 12), chance.randint(1, 4)
        limit, p = Fraction(chance.randint(1, 99)), Fraction(chance.randint(1, 9), 10)
        bins = {"bin_ns": per * minute}
        how = chance.choice(
            [
                Statistic(T.MEAN), Statistic(T.MINIMUM), Statistic(T.PERCENTILE, p=p), Statistic(T.BIN_MEAN, **bins),
                Statistic(chance.choice((T.RATIO_WITHIN, T.RATIO_OVER)), limit=limit, of="runs"),
                Statistic(chance.choice((T.RATIO_WITHIN, T.RATIO_OVER)), limit=limit, of="bins", **bins),
                Statistic(T.SUSTAINED, limit=limit, run_ns=chance.randint(1, 2) * per * minute, **bins),
                Statistic(T.CAPACITY, **bins), Statistic(T.MAX_WINDOW, span_ns=per * minute),
            ]
        )  # fmt: skip
        truth = {k: chance.randint(1, 99) for k in range(length)}
        hidden = chance.choice((0.0, 0.3))
        seen = {k: rate for k, rate in truth.items() if chance.random() >= hidden}
        rows = [{"start_ns": T0 + k * minute, "forward_bps": rate, "backward_bps": 100} for k, rate in seen.items()]
        promise = objective(Metric.THROUGHPUT, "0", how, min_samples=1)
        found = evaluated(promise, rows or [{"start_ns": T0 - minute}], length * 6, every_ns=minute, attempts=True)
        estimate, why = found.findings.estimate, (seed, how, seen)
        if how.type is not T.MAX_WINDOW or seen == truth:
            assert estimate.value == of_runs(how, seen, length, per), why
        expected = of_runs(how, truth, length, per)
        low, high = (estimate.worst, estimate.best) if promise.comparison == "min" else (estimate.best, estimate.worst)
        if expected is None:
            continue
        assert low is None or low <= expected, why
        assert high is None or expected <= high, why


def test_two_halves_merged_are_the_whole() -> None:
    """Sums of sums, distributions beside each other, bins and windows by the sums they are made of."""
    for seed in range(200):
        chance = random.Random(seed)
        values = np.array([chance.randint(0, 500) for _ in range(chance.randint(2, 40))], np.int64)
        weight = np.array([chance.randint(1, 9) for _ in values], np.int64)
        cut = chance.randint(0, len(values))
        whole = Distribution(values, values + 3, weight)
        halves = Distribution(values[:cut], values[:cut] + 3, weight[:cut]) + Distribution(
            values[cut:], values[cut:] + 3, weight[cut:]
        )
        p, unknown = Fraction(chance.randint(1, 99), 100), chance.randint(0, 5)
        assert statistics.of_delays(halves, p, 900).at(unknown) == statistics.of_delays(whole, p, 900).at(unknown)
        limit = Fraction(chance.randint(0, 500))
        assert statistics.within(halves, limit, {}).at(unknown) == statistics.within(whole, limit, {}).at(unknown)
        scale = amounts.Scale("packets", "sum", most=900)
        left, right = (
            int((part * weight[at]).sum())
            for part, at in ((values[:cut], slice(cut)), (values[cut:], slice(cut, None)))
        )
        together = amounts.mean_of(left + right, int(weight.sum()), scale)
        assert together.at(unknown) == amounts.mean_of(int((values * weight).sum()), int(weight.sum()), scale).at(
            unknown
        )


def test_two_windows_judged_alone_add_up_to_the_whole() -> None:
    for seed in range(150):
        chance = random.Random(seed)
        told = world(chance, 12, 1)
        rows = [sample(place, item) for place, item in told.items() if chance.random() < 0.8]
        cut = 2 * chance.randint(1, 5)
        promise = objective(Metric.LOSS, "0", Statistic(T.RATIO))
        parts = [
            evaluated(promise, rows, cut),
            evaluated(promise, rows, 12 - cut, start=cut),
            evaluated(promise, rows, 12),
        ]
        for name in ("sent", "lost", "samples"):
            first, second, whole = (item.evidence[name] for item in parts)
            assert first + second == whole, name
        assert parts[0].measured_ns + parts[1].measured_ns == parts[2].measured_ns


@settings(max_examples=300, deadline=None)
@given(st.text("01?", max_size=14), st.integers(1, 4))
def test_the_bounds_of_runs_are_the_extremes_of_all_completions(text: str, length: int) -> None:
    holes = [k for k, letter in enumerate(text) if letter == "?"][:9]
    text = "".join("0" if letter == "?" and k not in holes else letter for k, letter in enumerate(text))
    found = set()
    for code in range(2 ** len(holes)):
        flags = [letter == "1" for letter in text]
        for bit, place in enumerate(holes):
            flags[place] = bool(code >> bit & 1)
        runs, now = 0, 0
        for flag in flags:
            now = now + 1 if flag else 0
            runs += now == length
        found.add(runs)
    certain = np.array([letter == "1" for letter in text], np.bool_)
    possible = np.array([letter != "0" for letter in text], np.bool_)
    assert streaks.bounds(certain, possible, length) == (min(found), max(found))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2**40), st.integers(0, 2**20)), max_size=12), st.booleans())
def test_the_extreme_of_fractions_is_exact(pairs: list[tuple[int, int]], smallest: bool) -> None:
    total, below = (np.array([pair[k] for pair in pairs], np.int64) for k in (0, 1))
    values = [Fraction(a, b) for a, b in pairs if b]
    expected = (min(values) if smallest else max(values)) if values else None
    assert amounts.extreme(total, below, smallest=smallest) == expected
    assert amounts.sum_of_means(total[below > 0], below[below > 0]) == sum(values, Fraction(0))


def test_the_e_model_in_integers_is_its_formula() -> None:
    chance = random.Random(107)
    for _ in range(3_000):
        codec = chance.choice(("g711", "g711_plc", "g729a"))
        lost, sent = chance.randint(0, 20), 20
        delay = chance.choice((0, chance.randint(0, 10**6), chance.randint(0, 10**9)))
        item = Heard((delay,) * (sent - lost), lost)
        half = np.array([-(-delay // 2)], np.int64)
        got = voice.sample_mos(half, np.array([lost]), np.array([sent]), codec)
        assert Fraction(int(got[0]), 10**6) == mos(item, codec), (codec, delay, lost)


@pytest.mark.parametrize(
    ("rating", "expected", "why"),
    [
        (0, 1_000_000, "R = 0: 1"),
        (-50_000, 1_000_000, "R below 0: 1"),
        (30_000, 1_000_000, "R = 3: 1 + 0.105 - 0.116 = 0.989 by the cubic, which is not below 1"),
        (500_000, 2_575_000, "R = 50: 1 + 1.75 + 7e-6 * 50 * (-10) * 50 = 2.575"),
        (600_000, 3_100_000, "R = 60: the cubic is 0: 1 + 2.1"),
        (900_000, 4_339_000, "R = 90: 1 + 3.15 + 7e-6 * 90 * 30 * 10 = 4.339"),
        (1_000_000, 4_500_000, "R = 100: 4.5"),
        (1_200_000, 4_500_000, "above: 4.5"),
    ],
)
def test_mos_of_a_rating(rating: int, expected: int, why: str) -> None:
    assert int(voice.mos(np.array([rating], np.int64))[0]) == expected, why
