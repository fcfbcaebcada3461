"""STAMP reflector over real sockets: octets of the replies, every guard, and that in = answered + dropped."""

from __future__ import annotations

import logging
import os
import random
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from probes.core.clock import SECOND
from probes.core.errors import LocalError, PrivilegeError
from probes.reflect.stamp import StampReflector
from probes.wire import stamp, stamp_tlv
from tests.fakes.clock import FakeClock
from tests.fakes.plain_reflector import Seen, reply
from tests.probes.reflect.stamp_asking import (
    CLOCK,
    KEY,
    asked,
    asker,
    now,
    plain,
    reflecting,
    settled,
    signed,
    silent,
    tlv,
)  # fmt: skip

ASK_ALL = (
    tlv(stamp_tlv.TIMESTAMP_INFORMATION, bytes(4))
    + tlv(stamp_tlv.CLASS_OF_SERVICE, bytes((46 << 2, 0, 0, 0)))
    + tlv(stamp_tlv.DIRECT_MEASUREMENT, (77).to_bytes(4, "big") + bytes(8))
    + tlv(10, b"elsewhere!")
    + tlv(12, bytes(12))
    + tlv(stamp_tlv.EXTRA_PADDING, bytes(range(30)))
)


def seen_in(data: bytes, *, authenticated: bool, **known: object) -> Seen:
    """The reflector's own fields as its reply has them."""
    at = (0, 16, 24, 32, 80) if authenticated else (0, 4, 12, 16, 40)
    return Seen(
        int.from_bytes(data[at[0] : at[0] + 4], "big"), data[at[2] : at[2] + 2], data[at[3] : at[3] + 8],
        data[at[1] : at[1] + 8], data[at[4]] if len(data) > at[4] else 64, **known,  # type: ignore[arg-type]
    )  # fmt: skip


def quality(data: bytes, at: int) -> tuple[bool, bool, int]:
    word = int.from_bytes(data[at : at + 2], "big")
    return bool(word & 0x8000), bool(word & 0x4000), word & 255


@pytest.mark.parametrize("to", ["127.0.0.1", "127.0.0.77", "::1"])
@pytest.mark.parametrize("size", [44, 45, 60, 200, 1472, 9000])
def test_replies_are_what_a_plain_reflector_would_say(to: str, size: int) -> None:
    with reflecting() as reflector, asker("::1" if ":" in to else "127.0.0.1") as mine:
        request = plain(7, ssid=9).ljust(size, b"\xaa")
        mine.sendto(request, (to, reflector.port))
        data, source = mine.recvfrom(70_000)
        assert source[:2] == (to, reflector.port)
        assert data == reply(request, seen_in(data, authenticated=False), authenticated=False)
        fields = stamp.read_replies(np.frombuffer(data, np.uint8)[None], np.array([len(data)]), authenticated=False)
        assert (fields.sender_sequence[0], fields.sender_ttl[0], fields.ssid[0]) == (7, 64, 9)
        assert 0 <= int(fields.stamp[0]) - int(fields.received[0]) < 5 << 32
        assert abs(int(fields.stamp[0]) - now()) < 5 << 32
        assert quality(data, 12)[2] != 0


@pytest.mark.parametrize("ptp", [False, True])
@pytest.mark.parametrize("authenticated", [False, True])
@pytest.mark.parametrize("stateful", [False, True])
def test_extensions_are_answered(ptp: bool, authenticated: bool, stateful: bool) -> None:
    key = KEY if authenticated else None
    with reflecting(key=key, stateful=stateful, reply_dscp=frozenset({46})) as reflector, asker() as mine:
        error = 0x4101 if ptp else 0x0101
        for count in (1, 2):
            stamp_word = int.from_bytes(struct.pack(">II", int(CLOCK.wall() / SECOND), 5), "big") if ptp else now()
            make = signed if authenticated else plain
            request = make(count + 10, error=error, stamp=stamp_word, more=ASK_ALL)
            data = asked(mine, request, reflector)
            counts = (count, count) if stateful else None
            sync = 0 if quality(data, 24 if authenticated else 12)[0] else 5
            seen = seen_in(
                data, authenticated=authenticated, key=key, counts=counts, sync=sync, reply_dscp=frozenset({46})
            )
            assert data == reply(request, seen, authenticated=authenticated)
            assert seen.number == (count - 1 if stateful else count + 10)
            assert bool(seen.error[0] & 0x40) is ptp
            seconds = int.from_bytes(seen.sent[:4], "big") - (0 if ptp else 2_208_988_800)
            assert abs(seconds - CLOCK.wall() / SECOND) < 5


def test_a_seeded_mistake_is_caught_by_the_plain_reflector(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oracle sees a reply whose sender TTL stands one octet too early."""
    from probes.wire import stamp_answer

    wrong = stamp_answer.Form(44, False, struct.Struct(">IQHHQ"), struct.Struct(">IQHHQIQHxBxxxx"), 4)
    monkeypatch.setattr("probes.reflect.answering.UNAUTHENTICATED", wrong)
    with reflecting() as reflector, asker() as mine:
        data = asked(mine, plain(), reflector)
    assert data != reply(plain(), seen_in(data, authenticated=False), authenticated=False)


@pytest.mark.parametrize(("listen", "to"), [("127.0.0.1", "127.0.0.1"), ("::", "127.0.0.1"), ("::", "::1")])
def test_follow_up_tells_the_true_time_of_earlier_replies_once(listen: str, to: str) -> None:
    ask = plain(more=tlv(stamp_tlv.FOLLOW_UP, bytes(16)))
    with reflecting(listen) as reflector, asker(to) as mine:
        told, sent = {}, {}
        for _ in range(20):
            data = asked(mine, ask, reflector, to)
            number, word, method = struct.unpack_from(">IQB", data, 48)
            sent[int.from_bytes(data[:4], "big")] = int.from_bytes(data[4:12], "big")
            if method:
                assert number not in told
                told[number] = word
                assert method == stamp_tlv.STAMP_SOFTWARE
    assert len(told) >= 15
    late = [told[number] - sent[number] for number in told]
    assert all(0 <= value < 2 << 32 for value in late), "the kernel's stamp is later than ours"
    with reflecting(stateful=False) as reflector, asker() as mine:
        for _ in range(2):
            assert asked(mine, ask, reflector)[44:] == tlv(stamp_tlv.FOLLOW_UP, bytes(16), 0)


@pytest.mark.parametrize("to", ["127.0.0.1", "::1"])
@pytest.mark.parametrize(("allowed", "carried", "refused"), [((), 10, 1), ((46,), 46, 0)])
def test_the_reply_has_the_dscp_of_the_request_or_the_one_asked(
    to: str, allowed: tuple[int, ...], carried: int, refused: int
) -> None:
    with (
        reflecting(reply_dscp=frozenset(allowed)) as reflector,
        asker("::1" if ":" in to else "127.0.0.1") as mine,
    ):
        level, mark, report = (41, 67, 66) if ":" in to else (0, 1, 13)
        mine.setsockopt(level, mark, 10 << 2 | 1)
        mine.setsockopt(level, report, 1)
        mine.sendto(plain(more=tlv(4, bytes((46 << 2, 0, 0, 0)))), (to, reflector.port))
        data, ancillary, _, _ = mine.recvmsg(2000, 100)
        assert ancillary[0][2][0] >> 2 == carried
        assert data[48:50] == bytes((46 << 2 | 10 >> 4, (10 << 4 & 255) | 1 << 2 | refused)), "DSCP1, DSCP2, ECN, RP"
        mine.sendto(plain(), (to, reflector.port))
        assert mine.recvmsg(2000, 100)[1][0][2][0] == 10 << 2, "ECN is not reflected"


def test_twamp_light_is_answered_where_a_reply_fits() -> None:
    with reflecting() as reflector, asker() as mine:
        for size in (14, 27, 40):
            mine.sendto(plain()[:size], ("127.0.0.1", reflector.port))
        assert settled(reflector, 3)["dropped_size"] == 3
        for size in (41, 42, 43):
            request = plain(size)[:14] + random.Random(size).randbytes(size - 14)
            data = asked(mine, request, reflector)
            assert data == reply(request, seen_in(data, authenticated=False), authenticated=False)
            assert len(data) == size
        assert silent(mine)


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "signed"])
def test_never_more_octets_out_than_in(key: bytes | None) -> None:
    """Every size from 0 to 1500, as a request and as noise."""
    noise = random.Random(3)
    with reflecting(key=key, unauthenticated=("127.0.0.0/9",) if key else ()) as reflector, asker() as mine:
        out = 0
        for size in range(1501):
            for request in (plain(size).ljust(size, b"\x01")[:size], noise.randbytes(size)):
                mine.sendto(request, ("127.0.0.1", reflector.port))
                if size >= 41:
                    assert len(mine.recv(70_000)) == size
                    out += 1
        assert silent(mine)
        counters = settled(reflector, 2 * (1501 - 14))
        assert (counters["answered"], counters["dropped_size"]) == (out, 2 * (41 - 14))
        assert counters["kernel_dropped"] == 2 * 14


def test_short_datagrams_end_in_the_kernel_where_all_must_be_signed() -> None:
    with reflecting(key=KEY) as reflector, asker() as mine:
        for size in (13, 44, 111):
            mine.sendto(bytes(size), ("127.0.0.1", reflector.port))
        assert asked(mine, signed(), reflector)
        counters = settled(reflector, 1)
        assert (counters["in"], counters["kernel_dropped"]) == (1, 3)


def test_with_a_key_only_what_is_signed_is_answered_but_for_listed_networks() -> None:
    with (
        reflecting(key=KEY, unauthenticated=("127.0.0.5/32",)) as reflector,
        asker() as mine,
        asker("127.0.0.5") as listed,
    ):
        for request in (plain(), plain(more=tlv(1, bytes(100))), signed(2, key=KEY + b"x"), signed()[:111]):
            mine.sendto(request, ("127.0.0.1", reflector.port))
        assert len(asked(mine, signed(3), reflector)) == 112
        counters = settled(reflector, 5)
        assert (counters["dropped_unauthenticated"], counters["dropped_hmac"], counters["sessions"]) == (2, 2, 1)
        assert len(asked(listed, plain(), reflector)) == 44
        data = asked(listed, signed(4), reflector)
        assert data == reply(signed(4, stamp=int.from_bytes(data[64:72], "big")), seen_in(
            data, authenticated=True, key=KEY), authenticated=True)  # fmt: skip


def test_an_hmac_tlv_protects_the_others() -> None:
    import hashlib
    import hmac

    body = tlv(3, bytes(4)) + tlv(1, bytes(9))
    code = hmac.new(KEY, (5).to_bytes(4, "big") + body, hashlib.sha256).digest()[:16]
    right, wrong = body + tlv(8, code), body + tlv(8, bytes(16))
    padded, followed = right + tlv(1, bytes(3)), right + tlv(3, bytes(4))
    with reflecting(key=KEY, unauthenticated=("127.0.0.0/8",)) as reflector, asker() as mine:
        for more, broken in ((right, False), (padded, False), (wrong, True), (followed, True)):
            for request in (plain(5, more=more), signed(5, ssid=len(more) + broken, more=more)):
                data = asked(mine, request, reflector)
                authenticated = request[16:24] != bytes(8)
                size = 112 if authenticated else 44
                sync = 5 if not quality(data, 24 if authenticated else 12)[0] else 0
                assert data == reply(
                    request, seen_in(data, authenticated=authenticated, key=KEY, sync=sync), authenticated=authenticated
                )
                assert bool(data[size] & stamp_tlv.INTEGRITY) is broken


def test_replayed_requests_get_no_second_answer() -> None:
    with reflecting(key=KEY) as reflector, asker() as mine:
        recording = [signed(number) for number in range(100, 140)]
        for request in recording:
            assert asked(mine, request, reflector)
        for request in recording:
            mine.sendto(request, ("127.0.0.1", reflector.port))
        assert settled(reflector, 80)["dropped_replay"] == 40
        assert asked(mine, signed(7), reflector), "a sender that begins again has a later T1"
        mine.sendto(recording[0], ("127.0.0.1", reflector.port))
        old = signed(2**31 - 5, stamp=now(-90))
        mine.sendto(old, ("127.0.0.1", reflector.port))
        assert asked(mine, signed(8), reflector)
        counters = settled(reflector, 84)
        assert counters["dropped_replay"] >= 41
        assert silent(mine) or counters["dropped_replay"] == 41


def test_stale_requests_are_dropped_where_both_clocks_are_synchronised(monkeypatch: pytest.MonkeyPatch) -> None:
    from probes.core.clock import ClockQuality

    monkeypatch.setattr("probes.reflect.answering.clock_quality", lambda: ClockQuality(True, 10, 1000))
    with reflecting(key=KEY) as reflector, asker() as mine:
        mine.sendto(signed(1, error=0x8101, stamp=now(-61)), ("127.0.0.1", reflector.port))
        data = asked(mine, signed(2, error=0x8101, stamp=now(-58)), reflector)
        assert quality(data, 24)[0], "synchronised"
        assert asked(mine, signed(3, error=0x0101, ssid=4, stamp=now(-3600)), reflector), "the sender's clock is free"
        assert settled(reflector, 3)["dropped_replay"] == 1


def test_error_estimate_while_the_clock_is_not_synchronised(monkeypatch: pytest.MonkeyPatch) -> None:
    from probes.core.clock import ClockQuality

    monkeypatch.setattr("probes.reflect.answering.clock_quality", lambda: ClockQuality(False, None, None))
    with reflecting() as reflector, asker() as mine:
        data = asked(mine, plain(), reflector)
    synchronised, ptp, multiplier = quality(data, 12)
    assert (synchronised, ptp) == (False, False)
    assert multiplier * 2 ** (data[12] & 63) / 2**32 >= 16


def test_what_a_reflector_sent_is_never_answered() -> None:
    """Whatever its port: the shape of a reply decides."""
    with reflecting() as reflector, asker() as mine:
        data = asked(mine, plain(more=tlv(1, bytes(20))), reflector)
        mine.sendto(data, ("127.0.0.1", reflector.port))
        mine.sendto(asked(mine, plain()[:41], reflector), ("127.0.0.1", reflector.port))
        assert settled(reflector, 4)["dropped_reply"] == 2
        assert silent(mine)
    with reflecting(key=KEY) as reflector, asker() as mine:
        mine.sendto(asked(mine, signed(), reflector), ("127.0.0.1", reflector.port))
        assert settled(reflector, 2)["dropped_reply"] == 1


def test_sources_that_are_not_allowed_and_loops_get_nothing() -> None:
    with (
        reflecting("127.0.0.1", allow=["127.0.0.5/32"]) as reflector,
        asker() as stranger,
        asker("127.0.0.5") as friend,
    ):
        stranger.sendto(plain(), ("127.0.0.1", reflector.port))
        assert asked(friend, plain(), reflector)
        with asker("127.0.0.5", reflector.port) as forger:
            forger.sendto(plain(), ("127.0.0.1", reflector.port))
            counters = settled(reflector, 3)
        assert (counters["answered"], counters["dropped_source"], counters["dropped_port"]) == (1, 1, 1)
        assert silent(stranger)


@pytest.mark.root
def test_privileged_source_ports_get_nothing() -> None:
    with reflecting("127.0.0.1") as reflector, asker(port=1023) as service:
        service.sendto(plain(), ("127.0.0.1", reflector.port))
        assert settled(reflector, 1)["dropped_port"] == 1


def test_the_rate_of_a_source_is_limited() -> None:
    clock = FakeClock()
    with reflecting(rate_per_source=20, clock=clock) as reflector, asker() as flooder, asker("127.0.0.5") as other:
        for _ in range(100):
            flooder.sendto(plain(), ("127.0.0.1", reflector.port))
        counters = settled(reflector, 100)
        assert (counters["answered"], counters["dropped_rate"]) == (40, 60)
        assert asked(other, plain(), reflector), "another source has its own allowance"
        clock.advance(SECOND // 2)
        for _ in range(100):
            flooder.sendto(plain(), ("127.0.0.1", reflector.port))
        assert settled(reflector, 201)["answered"] == 40 + 1 + 10


def test_sessions_count_apart_and_the_oldest_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("probes.reflect.stamp_sessions.SessionTable.__init__.__defaults__", (2,))
    with reflecting() as reflector, asker() as mine, asker() as other:
        numbers = [
            int.from_bytes(asked(one, plain(ssid=ssid), reflector)[:4], "big")
            for one, ssid in ((mine, 0), (mine, 0), (other, 0), (mine, 0), (mine, 5), (other, 0), (mine, 5))
        ]
        assert numbers == [0, 1, 0, 2, 0, 0, 1]
        counters = settled(reflector, 7)
        assert (counters["sessions"], counters["sessions_evicted"]) == (2, 2)


def test_drops_make_one_line_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    with (
        caplog.at_level(logging.WARNING),
        reflecting(allow=["127.0.0.9/32"], clock=clock) as reflector,
        asker() as mine,
    ):
        for number in range(1, 6):
            mine.sendto(plain(), ("127.0.0.1", reflector.port))
            settled(reflector, number)
        clock.advance(61 * SECOND)
        mine.sendto(plain(), ("127.0.0.1", reflector.port))
        settled(reflector, 6)
        for _ in range(2000):
            if len(caplog.records) == 2:
                break
            reflector._closing.wait(0.001)
    assert [record.getMessage().split(": ")[1] for record in caplog.records] == [
        "1 requests dropped since the last line", "5 requests dropped since the last line",
    ]  # fmt: skip


def test_counters_add_up_when_it_is_closed_in_a_flood() -> None:
    reflector = StampReflector("127.0.0.1", 0, allow=["127.0.0.0/8"], clock=CLOCK, rate_per_source=100)
    reflector.start()
    with asker() as mine:
        for number in range(3000):
            mine.sendto(plain(number)[: 14 + number % 40], ("127.0.0.1", reflector.port))
            if number == 1500:
                settled(reflector, 1)
                reflector.close()
        counters = reflector.counters()
        replies = 0
        while not silent(mine):
            replies += 1
    assert 0 < counters["in"] <= 1501
    assert counters["in"] == counters["answered"] + sum(v for k, v in counters.items() if k.startswith("dropped_"))
    assert replies <= counters["answered"]


def test_refusals_name_the_remedy() -> None:
    with pytest.raises(LocalError, match="allow-list of the reflector is empty"):
        StampReflector("::", 0, allow=[], clock=CLOCK)
    with pytest.raises(LocalError, match="too short"):
        StampReflector("::", 0, allow=["::1/128"], key=b"short", clock=CLOCK)
    with reflecting() as reflector:
        taken = StampReflector("::", reflector.port, allow=["::1/128"], clock=CLOCK)
        with pytest.raises(LocalError, match=r"cannot listen on :: UDP port \d+: Address already in use") as error:
            taken.start()
    assert "another STAMP or TWAMP reflector" in error.value.hint
    with pytest.raises(LocalError, match="'localhost' is not an address"):
        StampReflector("localhost", 0, allow=["::1/128"], clock=CLOCK).start()


@pytest.mark.root
def test_port_862_without_the_capability_is_a_privilege_error() -> None:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setuid(65534)
            StampReflector("127.0.0.1", 862, allow=["127.0.0.0/8"], clock=CLOCK).start()
        except PrivilegeError as error:
            code = 0 if "CAP_NET_BIND_SERVICE" in error.hint else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


SHAPES = st.lists(
    st.builds(
        lambda kind, size, value, flags: struct.pack(">BBH", flags, kind, size) + value,
        st.integers(0, 13), st.sampled_from([0, 1, 3, 4, 8, 12, 16, 17, 255, 65535]), st.binary(max_size=24),
        st.integers(0, 255),
    ),
    max_size=20,
).map(b"".join)  # fmt: skip


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "signed"])
def test_malformed_extensions_come_back_as_the_plain_reflector_has_them(key: bytes | None) -> None:
    with (
        reflecting(key=key, unauthenticated=("127.0.0.0/8",) if key else (), stateful=False) as reflector,
        asker() as mine,
    ):

        @settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(more=SHAPES)
        def compare(more: bytes) -> None:
            request = plain(more=more)
            data = asked(mine, request, reflector)
            sync = 0 if quality(data, 12)[0] else 5
            assert data == reply(request, seen_in(data, authenticated=False, key=key, sync=sync), authenticated=False)

        compare()
