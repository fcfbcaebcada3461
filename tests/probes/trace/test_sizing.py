"""The search for the path MTU against links of every size, with and without routers that tell."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from probes.core.clock import SECOND
from probes.trace.sizing import STEPS, TRIES, SizeSearch


@dataclass
class Links:
    """What gets through, and what is said of what does not: nothing (told None), or a size (0: none)."""

    mtu: int
    told: int | None = None
    lost: set[int] = field(default_factory=set)
    """packets, counted from 0, that get lost whatever their size"""
    sent: list[int] = field(default_factory=list)


def run(links: Links, *, local: int = 1500, low: int = 60, family: int = 4) -> tuple[SizeSearch, int]:
    search = SizeSearch(family, low, local, 10_000_000, SECOND, limited_answers=True)
    now = begin = 5 * SECOND
    for _ in range(STEPS * TRIES * 4):
        if search.done:
            return search, now - begin
        size = search.next(now)
        if size is None:
            now = max(now + 1, search.wake())
            continue
        search.sent(now)
        links.sent.append(size)
        if len(links.sent) - 1 in links.lost:
            continue
        if size <= links.mtu:
            search.arrived(size)
        elif links.told is not None:
            search.refused(size, links.told)
    raise AssertionError("the search does not end")


def test_a_path_without_a_narrow_link_takes_one_packet() -> None:
    links = Links(1500)
    search, _ = run(links)
    assert (search.proven, search.hole, links.sent) == (1500, None, [1500])


def test_a_router_that_tells_takes_two() -> None:
    links = Links(1400, told=1400)
    search, _ = run(links)
    assert (search.proven, search.hole, links.sent) == (1400, None, [1500, 1400])


@settings(max_examples=150, deadline=None)
@given(st.integers(60, 1500), st.sampled_from([None, 0, 10, 1499, 9000]))
def test_the_size_is_found_exactly_whatever_routers_say(mtu: int, told: int | None) -> None:
    """Told nothing; told no size (before RFC 1191); told nonsense, which counts as no size."""
    links = Links(mtu, told)
    search, took = run(links)
    assert search.proven == mtu
    assert search.hole == (mtu + 1 if told is None and mtu < 1500 else None)
    assert len(links.sent) <= STEPS * TRIES
    assert took < 30 * SECOND


def test_a_router_that_tells_too_much_is_not_believed_to_the_end() -> None:
    assert run(Links(1400, told=1450))[0].proven == 1400


def test_ipv6_routers_do_not_tell_less_than_1280() -> None:
    assert run(Links(1300, told=600), family=6)[0].proven == 1300


def test_lost_packets_do_not_make_a_path_narrow() -> None:
    search, _ = run(Links(1500, lost={0, 1}))
    assert (search.proven, search.hole) == (1500, None)


def test_a_target_that_falls_silent_has_no_path_mtu() -> None:
    search, took = run(Links(1500, lost=set(range(200))))
    assert search.dead
    assert took < 10 * SECOND


def test_what_this_host_does_not_send_is_not_asked_of_the_path() -> None:
    search = SizeSearch(4, 60, 9000, 0, SECOND)
    search.limited(9000)
    assert search.next(0) == 8999
