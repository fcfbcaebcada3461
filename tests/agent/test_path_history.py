"""What counts as a changed path."""

from __future__ import annotations

from agent.path_history import BALANCED, REMEMBERED, PathHistory, in_a_row
from probes.core.model import Hop, Path


def path(text: str, *, reached: bool = True, protocol: str = "udp") -> Path:
    """`a b * t`: hops from 1 on, `*` for silence."""
    hops = tuple(
        Hop(ttl, None if name == "*" else name, 3, 0 if name == "*" else 3) for ttl, name in enumerate(text.split(), 1)
    )
    return Path(protocol, reached, hops)


def told(*paths: str | Path) -> list[str | None]:
    history = PathHistory()
    return [history.take(path(item) if isinstance(item, str) else item, "t") for item in paths]


def test_the_first_path_and_the_same_again_are_no_news() -> None:
    assert told("a b t", "a b t", "a b t") == [None] * 3


def test_a_change_says_where_and_both_paths() -> None:
    assert told("a b c t", "a x c t")[1] == "hop 2 is now x, was b; before: a b c t; now: a x c t"


def test_longer_and_shorter_paths() -> None:
    assert told("a b t", "a b c t")[1] == (
        "hop 3 is now c, was t; 4 hops, were 3; before: a b t; now: a b c t"
    )  # fmt: skip
    assert told("a b c t", "a b t")[1] == "hop 3 is now t, was c; 3 hops, were 4; before: a b c t; now: a b t"


def test_silence_is_compatible_with_anything() -> None:
    assert told("a b c t", "a * c t", "a b * t", "* * * t", "a b c t") == [None] * 5
    assert told("a * c t", "a b c t", "a b c t") == [None] * 3, "a hop that speaks for the first time"


def test_a_change_behind_silence_is_seen_against_what_spoke_last() -> None:
    assert told("a b c t", "a * c t", "a x c t")[2] == "hop 2 is now x, was b; before: a * c t; now: a x c t"


def test_a_path_that_ends_early_is_not_another_one() -> None:
    assert told("a b c t", path("a b * * *", reached=False), "a b c t") == [None] * 3
    assert told("a b c t", path("a x * * *", reached=False))[1] == (
        "hop 2 is now x, was b; before: a b c t; now: a x ..."
    )  # fmt: skip


def test_there_and_back_is_two_changes() -> None:
    assert [said is not None for said in told("a b t", "a x t", "a x t", "a b t")] == [False, True, False, True]


def test_a_load_balancer_is_told_no_more_and_a_third_way_is() -> None:
    news = [said is not None for said in told(*(["a b t", "a x t"] * 5), "a y t")]
    assert news[: BALANCED + 1] == [False, *[True] * BALANCED]
    assert not any(news[BALANCED + 1 : 10])
    assert news[10]


def test_what_was_long_ago_is_forgotten() -> None:
    steady = ["a b t", "a x t", "a b t", "a x t", *["a x t"] * REMEMBERED, "a b t"]
    assert told(*steady)[-1] is not None


def test_another_protocol_is_another_flow() -> None:
    assert told("a b t", path("a x t", protocol="icmp"), path("a x t", protocol="icmp")) == [None] * 3


def test_another_target_is_said_and_begins_anew() -> None:
    history = PathHistory()
    history.take(path("a b t"), "t")
    assert history.take(path("a c u"), "u") == "the target is now u, was t; before: a b t; now: a c u"
    assert history.take(path("a c u"), "u") is None


def test_a_row() -> None:
    assert in_a_row(path("a * t")) == "a * t"
    assert in_a_row(path("a b * *", reached=False)) == "a b ..."
    assert in_a_row(path("*", reached=False)) == "..."
