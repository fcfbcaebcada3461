"""One small month assessed once more, in plain loops over seconds and samples: what an assessment is compared with.

Everything is counted from the start of the window. A sample holds ten packets and lasts ten seconds; exclusions, stamps
and pauses lie on whole seconds. Nothing of the judge is used here: its types are read, none of its functions called.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor

STEP = 10
TOLERANCE = 3600
FOLLOWED = 24 * 3600
HOUR = 3600


@dataclass(frozen=True)
class Out:
    """An exclusion [start, end): notified, entered, confirmed; proposed ones wait for confirmation."""

    id: str
    start: int
    end: int
    entered: int
    confirmed: bool = False
    proposed: bool = False
    kind: str = "maintenance"
    notified: int | None = None


@dataclass(frozen=True)
class Paper:
    """A ticket: stamps by name, pauses as (start, end, reason), the party somebody entered."""

    id: str
    stamps: dict[str, int]
    entered: int
    pauses: tuple[tuple[int, int | None, str], ...] = ()
    party: str = ""
    disputed: bool = False


@dataclass(frozen=True)
class Terms:
    """One kind of exclusion as the contract permits it. hours: of the day in seconds, None is all."""

    kind: str
    notice: int = 0
    allowance: int | None = None
    credited: bool = False


@dataclass(frozen=True)
class Credit:
    """how: band, minutes, each, event, share. bands: (from, to, per cent) of the value, or of seconds for `event`."""

    how: str
    bands: tuple[tuple[Fraction | None, Fraction | None, int], ...] = ()
    step: int = 60
    started: bool = True
    free: int = 0
    percent: int = 1
    least: int = 0
    cap_month: int | None = None
    cap_incident: int | None = None


@dataclass(frozen=True)
class Month:
    """Everything that a month is made of. rows: letters as in contracts.series, from `before` samples before it."""

    rows: str
    before: int
    length: int
    now: int
    dt: int
    n: int
    c: Fraction
    target: Fraction
    unknown: str = "bounds"
    outs: tuple[Out, ...] = ()
    terms: tuple[Terms, ...] = ()
    papers: tuple[Paper, ...] = ()
    start: str = "fault"
    stop: str = "restored"
    reasons: tuple[str, ...] | None = None
    pause_cap: int | None = None
    bridge: int = 1800
    credits: tuple[Credit, ...] = ()
    stacking: str = "sum"
    cap_all: int | None = None
    charge: int = 480
    chronic: tuple[int, int, int] = (2, 60, 3600)


@dataclass
class Outage:
    """An incident. downs: certain; ends: None while it lasts."""

    downs: list[tuple[int, int]]
    start: int
    end: int | None
    ongoing: bool = False
    papers: list[Paper] = field(default_factory=list)
    counted: int = 0
    counted_inside: int = 0
    clock: int | None = None

    @property
    def measured(self) -> int | None:
        return self.downs[-1][1] - self.downs[0][0] if self.downs else None

    @property
    def party(self) -> str:
        """Of the ticket entered last of those that say anything about it."""
        return next((item.party for item in reversed(self.papers) if item.party or item.disputed), "")

    @property
    def excused(self) -> bool:
        """By tickets that all say so, none of them disputed."""
        told = [item for item in self.papers if item.party or item.disputed]
        return bool(told) and all(item.party in ("customer", "agent") and not item.disputed for item in told)

    @property
    def disputed(self) -> bool:
        return next((item.disputed for item in reversed(self.papers) if item.party or item.disputed), False)


@dataclass(frozen=True)
class Found:
    """What the month comes to."""

    value: Fraction | None
    best: Fraction | None
    worst: Fraction | None
    state: str
    loss: Fraction | None
    outages: tuple[Outage, ...]
    count: int
    total: int
    mttr: Fraction | None
    lines: tuple[tuple[int, Fraction, Fraction], ...]
    """(place of the terms, before caps, owed) of every line that pays"""
    chronic: bool


def assess(month: Month, state: str = "") -> Found:
    """state: taken as it is where not all that is missing is without a record."""
    out, up = _exclusions(month)
    per = month.dt // STEP
    size = month.length // month.dt
    first = floor(Fraction(-month.before, per))
    flags = [_interval(month, k) for k in range(first, size + month.n)]
    best = _machine([bool(flag) for flag in flags], month.n, up=True)[-first : -first + size]
    worst = _machine([flag is None or flag for flag in flags], month.n, up=True)[-first : -first + size]
    raw_best, raw_worst = list(best), list(worst)
    for k in range(size):
        if _touched(up, k * month.dt, (k + 1) * month.dt):
            best[k] = worst[k] = True
    if month.unknown == "up":
        worst = list(best)
    if month.unknown == "down":
        best = list(worst)
    counts = [not _touched(out, k * month.dt, (k + 1) * month.dt) for k in range(size)]
    total = sum(counts)
    ups = sum(counts[k] and worst[k] for k in range(size))
    downs = sum(counts[k] and not best[k] for k in range(size))
    known = ups + downs
    value = Fraction(ups, known) if known else None
    high = Fraction(total - downs, total) if total else None
    low = Fraction(ups, total) if total else None
    state = state or _state(month, value, high, low)
    outages = _outages(month, out, up)
    inside = [item for item in outages if _starts(month, item, out, up)]
    faults = [item for item in inside if item.counted]
    clocks = [item.clock for item in _clocked(month, outages, out, up) if item.clock is not None]
    seconds = {s for item in outages for begin, end in item.downs for s in range(begin, end)}
    seconds |= {s for item in outages for s in _bridges(month, item)}
    span = {s for s in seconds if 0 <= s < min(month.length, month.now) and s not in out and s not in up}
    loss = _loss(month, out, up, raw_best, raw_worst, per)
    lines = _lines(month, state, value, downs * month.dt, outages)
    return Found(
        value, high, low, state, loss, tuple(outages), len(faults), len(span),
        Fraction(sum(clocks), len(clocks)) if clocks else None, lines, _chronic(month, outages),
    )  # fmt: skip


def _letter(month: Month, index: int) -> int | None:
    """Packets lost of ten, None where nothing was measured."""
    place = index + month.before
    letter = month.rows[place] if 0 <= place < len(month.rows) else "?"
    return None if letter in "?x" else 10 if letter == "H" else 0 if letter == "." else int(letter)


def _interval(month: Month, k: int) -> bool | None:
    """H(k); None where some of it was not measured."""
    per = month.dt // STEP
    letters = [_letter(month, index) for index in range(k * per, (k + 1) * per)]
    lost = [item for item in letters if item is not None]
    if len(lost) < per:
        return None
    return Fraction(sum(lost), 10 * per) > month.c


def _machine(high: Sequence[bool], n: int, *, up: bool) -> list[bool]:
    """MEF 10.4 section 8.8.7 as it is written, one interval after the other, looking n - 1 ahead."""
    states: list[bool] = []
    before = up
    for k in range(len(high)):
        ahead = [high[j] if j < len(high) else None for j in range(k, k + n)]
        if before and all(item is True for item in ahead):
            before = False
        elif not before and all(item is False for item in ahead):
            before = True
        states.append(before)
    return states


def _exclusions(month: Month) -> tuple[set[int], set[int]]:
    """(out, counted as up), every second for itself."""
    out: set[int] = set()
    up: set[int] = set()
    items = [*month.outs, *_from_papers(month)]
    good = []
    for item in sorted(items, key=lambda one: (one.start, one.end, one.id)):
        late = item.entered > item.start
        if item.entered > month.now or ((late or item.proposed) and not item.confirmed):
            continue
        good.append(item)
    if not month.terms:
        for item in good:
            out |= set(range(item.start, item.end))
        return out, up
    for terms in month.terms:
        left = terms.allowance
        fit = [
            item
            for item in good
            if item.kind == terms.kind
            and (not terms.notice or (item.notified is not None and item.notified + terms.notice <= item.start))
        ]
        asked = {s for item in fit for s in range(item.start, item.end)} - out - up
        for second in sorted(asked):
            if left is not None:
                if not left:
                    break
                left -= 1
            (up if terms.credited else out).add(second)
    return out, up


def _from_papers(month: Month) -> Iterable[Out]:
    for item in month.papers:
        if item.party not in ("customer", "third_party") or item.disputed or item.entered > month.now:
            continue
        ends = [item.stamps[name] for name in ("restored", "confirmed", "closed") if name in item.stamps]
        start = min(item.stamps.values())
        end = min(ends) if ends else max(item.stamps.values())
        if end > start:
            yield Out(item.id, start, end, item.entered, True, False, item.party)


def _touched(seconds: set[int], start: int, end: int) -> bool:
    return any(second in seconds for second in range(start, end)) if seconds else False


def _state(month: Month, value: Fraction | None, high: Fraction | None, low: Fraction | None) -> str:
    if value is None:
        return "inconclusive"
    if low is not None and low >= month.target:
        return "met"
    if high is not None and high < month.target:
        return "breached"
    return "inconclusive"  # nothing is on record of why it is missing, and it could change it


def _outages(month: Month, out: set[int], up: set[int]) -> list[Outage]:
    per = month.dt // STEP
    until = min(month.now, month.length + FOLLOWED)
    first = floor(Fraction(-month.before, per))
    last = ceil(Fraction(until, month.dt))
    flags = [_interval(month, k) for k in range(first, last + month.n)]
    best = _machine([bool(flag) for flag in flags], month.n, up=True)
    worst = _machine([flag is None or flag for flag in flags], month.n, up=False)
    unknown: set[int] = set()
    runs: list[list[int]] = []
    for place in range(last - first):
        start, end = (first + place) * month.dt, min((first + place + 1) * month.dt, until)
        if not best[place]:
            if runs and runs[-1][1] == start:
                runs[-1][1] = end
            else:
                runs.append([start, end])
        elif not worst[place]:
            unknown |= set(range(start, end))
    found: list[Outage] = []
    for start, end in runs:
        previous = found[-1].downs[-1][1] if found else None
        if (
            previous is not None
            and start - previous <= month.bridge
            and all(second in unknown for second in range(previous, start))
        ):
            found[-1].downs.append((start, end))
        else:
            found.append(Outage([(start, end)], start, end))
    for item in found:
        end = item.downs[-1][1]
        item.ongoing = end >= until or all(second in unknown for second in range(end, until))
    joined = _join(month, found)
    for item in joined:
        seconds = {s for begin, end in item.downs for s in range(begin, end)} - out - up
        item.counted = len(seconds)
        item.counted_inside = len({s for s in seconds if 0 <= s < month.length})
    return joined


def _reach(paper: Paper) -> tuple[int, int | None]:
    start = paper.stamps.get("fault", min(paper.stamps.values()))
    end = next((paper.stamps[name] for name in ("restored", "confirmed") if name in paper.stamps), None)
    return start, None if end is None else max(start, end)


def _away(outage: Outage, start: int, end: int) -> int:
    after = 0 if outage.ongoing else start - outage.downs[-1][1]
    return max(0, after, outage.downs[0][0] - end)


def _join(month: Month, found: list[Outage]) -> list[Outage]:
    """Tickets with the outages they are about; what hangs together is one."""
    papers = sorted((item for item in month.papers if item.entered <= month.now), key=lambda one: (one.entered, one.id))
    links: list[set[int]] = []
    for paper in papers:
        start, end = _reach(paper)
        near = sorted((_away(item, start, start if end is None else end), k) for k, item in enumerate(found))
        closest = {near[0][1]} if near and near[0][0] <= TOLERANCE else set()
        if end is not None:
            links.append({k for k, item in enumerate(found) if _away(item, start, end) == 0} or closest)
            continue
        chain = set(closest)
        for k in range(max(chain) + 1, len(found)) if chain else ():
            begin = found[k].downs[0][0]
            if begin - found[k - 1].downs[-1][1] > TOLERANCE or begin > paper.stamps.get("closed", begin):
                break
            chain.add(k)
        links.append(chain)
    groups: list[tuple[set[int], set[int]]] = [({k}, set()) for k in range(len(found))]
    for place, about in enumerate(links):
        mine = [group for group in groups if group[0] & about]
        merged = (set().union(*(group[0] for group in mine)), {place}.union(*(group[1] for group in mine)))
        groups = [group for group in groups if group not in mine] + [merged]
    loose = [group for group in groups if not group[0]]
    groups = [group for group in groups if group[0]]
    while loose:
        group = loose.pop()
        met = [other for other in loose if any(_meet(papers[a], papers[b]) for a in group[1] for b in other[1])]
        if met:
            loose = [other for other in loose if other not in met]
            loose.append((set(), group[1].union(*(other[1] for other in met))))
        else:
            groups.append(group)
    made = [_incident(month, [found[k] for k in sorted(a)], [papers[k] for k in sorted(b)]) for a, b in groups]
    return sorted(made, key=lambda item: item.start)


def _meet(one: Paper, other: Paper) -> bool:
    (a, b), (c, d) = _reach(one), _reach(other)
    return a <= (c if d is None else d) and c <= (a if b is None else b)


def _incident(month: Month, outages: list[Outage], papers: list[Paper]) -> Outage:
    ongoing = any(item.ongoing for item in outages)
    downs = [pair for item in outages for pair in item.downs]
    stamps: dict[str, int] = {}
    for name in ("fault", "detected", "ticket", "response", "restored", "confirmed", "closed"):
        given = [item.stamps[name] for item in papers if name in item.stamps and item.stamps[name] <= month.now]
        if given:
            stamps[name] = min(given) if name in ("fault", "detected", "ticket", "response") else max(given)
        elif downs and name == "fault":
            stamps[name] = downs[0][0]
        elif downs and name == "detected" and downs[0][0] + month.n * month.dt <= month.now:
            stamps[name] = downs[0][0] + month.n * month.dt
        elif downs and name == "restored" and not ongoing:
            stamps[name] = downs[-1][1]
    reaches = [_reach(item) for item in papers]
    ends = [pair[1] for pair in downs] + [end for _, end in reaches if end is not None]
    if not outages and not ends:
        ends = [item.stamps["closed"] for item in papers if "closed" in item.stamps]
    start = min([pair[0] for pair in downs] + [begin for begin, _ in reaches])
    found = Outage(downs, start, None if ongoing or not ends else max(start, *ends), ongoing, papers)
    begin, stop = stamps.get(month.start), stamps.get(month.stop)
    found.clock = None
    if begin is not None:
        lasts = found.end is None and bool(downs)
        end = stop if stop is not None else (downs[-1][1] if lasts else month.now)
        found.clock = _clock(month, papers, begin, end, set())
    return found


def _clock(month: Month, papers: Sequence[Paper], begin: int, end: int, out: set[int]) -> int:
    """Seconds on the contract's clock: not in excluded time, not in the first pause_cap of agreed pauses."""
    pauses = [pause for item in papers for pause in item.pauses if month.reasons is None or pause[2] in month.reasons]
    running, paused = 0, 0
    for second in range(begin, end):
        if second in out:
            continue
        stands = any(start <= second < (end if stop is None else stop) for start, stop, _ in pauses)
        if stands and (month.pause_cap is None or paused < month.pause_cap):
            paused += 1
        else:
            running += 1
    return running


def _clocked(month: Month, outages: Sequence[Outage], out: set[int], up: set[int]) -> list[Outage]:
    """Outages of the window whose clock has begun, with the clock less what is excluded."""
    found = []
    for item in outages:
        if item.clock is None or (item.downs and not item.counted):
            continue
        if not item.papers and (month.start not in ("fault", "detected") or month.stop != "restored"):
            continue  # no ticket starts or stops its clock
        stamps = _stamps_of(month, item)
        begin = stamps[month.start]
        stop = stamps.get(month.stop)
        lasts = item.end is None and bool(item.downs)
        end = stop if stop is not None else (item.downs[-1][1] if lasts else month.now)
        if end > begin and all(s in out or s in up for s in range(begin, end)):
            continue
        down = sorted(s for a, b in item.downs for s in range(a, b) if s not in out and s not in up)
        start = down[0] if down else stamps.get("fault", begin)
        if 0 <= start < min(month.length, month.now):
            made = Outage(item.downs, item.start, item.end, item.ongoing, item.papers)
            made.clock = _clock(month, item.papers, begin, end, out | up)
            found.append(made)
    return found


def _stamps_of(month: Month, item: Outage) -> dict[str, int]:
    stamps: dict[str, int] = {}
    for name, pick in (("fault", min), ("detected", min), ("ticket", min), ("response", min)):
        given = [paper.stamps[name] for paper in item.papers if name in paper.stamps]
        if given:
            stamps[name] = pick(given)
    for name in ("restored", "confirmed", "closed"):
        given = [paper.stamps[name] for paper in item.papers if name in paper.stamps]
        if given:
            stamps[name] = max(given)
    if item.downs:
        stamps.setdefault("fault", item.downs[0][0])
        if item.downs[0][0] + month.n * month.dt <= month.now:
            stamps.setdefault("detected", item.downs[0][0] + month.n * month.dt)
        if not item.ongoing:
            stamps.setdefault("restored", item.downs[-1][1])
    return stamps


def _starts(month: Month, item: Outage, out: set[int], up: set[int]) -> bool:
    """In the window, when the first second of it that counts does."""
    down = [s for a, b in item.downs for s in range(a, b) if s not in out and s not in up]
    return bool(down) and 0 <= min(down) < min(month.length, month.now)


def _bridges(month: Month, item: Outage) -> set[int]:
    """Unknown time within an outage, which passes as down."""
    found: set[int] = set()
    for (_, end), (start, _) in zip(item.downs, item.downs[1:], strict=False):
        if start - end <= month.bridge and _unknown_between(month, end, start):
            found |= set(range(end, start))
    return found


def _unknown_between(month: Month, start: int, end: int) -> bool:
    per = month.dt // STEP
    first = floor(Fraction(-month.before, per))
    last = ceil(Fraction(min(month.now, month.length + FOLLOWED), month.dt))
    flags = [_interval(month, k) for k in range(first, last + month.n)]
    best = _machine([bool(flag) for flag in flags], month.n, up=True)
    worst = _machine([flag is None or flag for flag in flags], month.n, up=False)
    return all(best[s // month.dt - first] != worst[s // month.dt - first] for s in range(start, end))


def _loss(month: Month, out: set[int], up: set[int], best: list[bool], worst: list[bool], per: int) -> Fraction | None:
    """Of samples in available time that touch nothing excluded."""
    lost, sent = 0, 0
    for index in range(month.length // STEP):
        value = _letter(month, index)
        if value is None or _touched(out | up, index * STEP, (index + 1) * STEP):
            continue
        if not best[index // per] or not worst[index // per]:
            continue
        lost, sent = lost + value, sent + 10
    return Fraction(lost, sent) if sent else None


def _excused(item: Outage) -> bool:
    return not item.counted or item.excused


def _lines(
    month: Month, state: str, value: Fraction | None, down: int, outages: Sequence[Outage]
) -> tuple[tuple[int, Fraction, Fraction], ...]:
    drafts: list[list[Fraction]] = []  # order, exact, left, start of the outage
    counting = [item for item in outages if item.counted_inside and item.start < month.length]
    excused = bool(counting) and all(
        item.papers and all(one.party in ("customer", "agent") for one in item.papers if one.party or one.disputed)
        and item.party
        for item in counting
    )  # fmt: skip
    touching = [item for item in outages if item.start < month.length and (item.end is None or item.end > 0)]
    excused &= not any(item.disputed for item in touching)
    charge = Fraction(month.charge)
    for order, credit in enumerate(month.credits):
        price = charge * credit.percent / 100
        payable = [item for item in outages if not _excused(item) and item.counted >= max(1, credit.least)]
        if credit.how in ("band", "minutes", "share"):
            if state != "breached" or excused or value is None:
                continue
            if credit.how == "band":
                exact = _band(credit, value, charge)
            elif credit.how == "minutes":
                exact = _units(credit, down) * price
            else:
                exact = charge * min(Fraction(max(0, down - credit.free), month.length), Fraction(1))
            drafts.append([Fraction(order), exact, exact, Fraction(-1)])
            continue
        for item in sorted(payable, key=lambda one: one.start):
            if not 0 <= item.start < month.length:
                continue
            exact = _band(credit, Fraction(item.counted), charge) if credit.how == "event" else price * _units(
                credit, item.counted
            )  # fmt: skip
            drafts.append([Fraction(order), exact, exact, Fraction(item.start)])
    drafts = [draft for draft in drafts if draft[1]]
    for order, credit in enumerate(month.credits):
        left = None if credit.cap_month is None else charge * credit.cap_month / 100
        for draft in (one for one in drafts if one[0] == order):
            limits = [draft[2]] + ([left] if left is not None else [])
            if credit.cap_incident is not None and credit.how in ("event", "each"):
                limits.append(charge * credit.cap_incident / 100)
            draft[2] = min(limits)
            left = None if left is None else left - draft[2]
    if month.stacking == "highest" and drafts:
        sums = {order: sum(one[2] for one in drafts if one[0] == order) for order in {one[0] for one in drafts}}
        winner = min(sums, key=lambda order: (-sums[order], order))
        for draft in drafts:
            if draft[0] != winner:
                draft[2] = Fraction(0)
    left = None if month.cap_all is None else charge * month.cap_all / 100
    for draft in drafts:
        if left is not None:
            draft[2] = min(draft[2], left)
            left -= draft[2]
    return _rounded(month, charge, drafts)


def _rounded(
    month: Month, charge: Fraction, drafts: Sequence[Sequence[Fraction]]
) -> tuple[tuple[int, Fraction, Fraction], ...]:
    """To cents, half up; downwards where a cap leaves no room."""
    used_by: dict[Fraction, Fraction] = {}
    used, found = Fraction(0), []
    for order, exact, left, _ in drafts:
        credit = month.credits[int(order)]
        cents = Fraction(floor(left * 100 + Fraction(1, 2)), 100)
        room: list[Fraction] = []
        if left and credit.cap_month is not None:
            room.append(charge * credit.cap_month / 100 - used_by.get(order, Fraction(0)))
        if left and credit.cap_incident is not None and credit.how in ("event", "each"):
            room.append(charge * credit.cap_incident / 100)
        if left and month.cap_all is not None:
            room.append(charge * month.cap_all / 100 - used)
        if room and cents > min(room):
            cents = Fraction(floor(min(*room, left) * 100), 100)
        used_by[order] = used_by.get(order, Fraction(0)) + cents
        used += cents
        found.append((int(order), exact, cents))
    return tuple(found)


def _band(credit: Credit, value: Fraction, charge: Fraction) -> Fraction:
    for low, high, percent in credit.bands:
        if (low is None or value >= low) and (high is None or value < high):
            return charge * percent / 100
    return Fraction(0)


def _units(credit: Credit, seconds: int) -> int:
    rest = max(0, seconds - credit.free)
    return -(-rest // credit.step) if credit.started else rest // credit.step


def _chronic(month: Month, outages: Sequence[Outage]) -> bool:
    """So many outages, each so long, of which the last starts in the window and the first less than so long before."""
    number, least, within = month.chronic
    starts = sorted(item.start for item in outages if not _excused(item) and item.counted >= max(1, least))
    return any(
        sum(last - within < start <= last for start in starts) >= number
        for last in starts
        if 0 <= last < min(month.length, month.now)
    )
