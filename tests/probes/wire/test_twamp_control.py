"""Messages of TWAMP-Control by hand and round; the table of states, exhausted."""

import itertools
import re
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.core.errors import PacketError
from probes.wire import twamp_control as tc
from probes.wire.twamp_dialogue import MOST_UNREAD, Dialogue, OutOfTurn, State

U8, U16, U32, U64 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32, 64))

MESSAGES = st.one_of(
    st.builds(tc.Greeting, U32, U32),
    st.builds(tc.SetUpResponse, U32),
    st.builds(tc.ServerStart, U8, U64),
    st.builds(tc.RequestSession, st.sampled_from([4, 6]), U16, U16, U32, U64, U64, st.integers(0, 63)),
    st.builds(tc.AcceptSession, U8, U16, st.binary(min_size=16, max_size=16)),
    st.just(tc.StartSessions()),
    st.builds(tc.StartAck, U8),
    st.builds(tc.StopSessions, U8, U32),
)

OK = {
    tc.Greeting: tc.Greeting(tc.Mode.UNAUTHENTICATED, 1024),
    tc.ServerStart: tc.ServerStart(0, 1),
    tc.AcceptSession: tc.AcceptSession(0, 18760, b"s" * 16),
    tc.StartAck: tc.StartAck(0),
    tc.StopSessions: tc.StopSessions(),
}
OURS = (tc.SetUpResponse(1), tc.RequestSession(4, 1, 2, 30, 0, 0), tc.StartSessions(), tc.StopSessions())
PATH: list[tc.Message] = [
    OK[tc.Greeting], OURS[0], OK[tc.ServerStart], OURS[1], OK[tc.AcceptSession], OURS[2], OK[tc.StartAck],
]  # fmt: skip
"""from CONNECTED to RUNNING"""


def reached(steps: int) -> Dialogue:
    dialogue = Dialogue()
    for message in PATH[:steps]:
        if message in OURS:
            assert dialogue.send(message) == tc.encode(message)
        else:
            dialogue.receive(tc.encode(message))
            assert dialogue.next_message() == message
    return dialogue


@given(MESSAGES)
def test_every_message_comes_back(message: tc.Message) -> None:
    data = tc.encode(message)
    assert len(data) == tc.SIZES[type(message)]
    assert tc.decode(type(message), data) == message


def test_octets_by_hand() -> None:
    assert tc.encode(tc.Greeting(7, 1024)) == bytes(12) + b"\0\0\0\7" + bytes(32) + b"\0\0\4\0" + bytes(12)
    assert tc.encode(tc.SetUpResponse(1)) == b"\0\0\0\1" + bytes(160)
    assert tc.encode(tc.ServerStart(3, 0x0102030405060708)) == (
        bytes(15) + b"\3" + bytes(16) + bytes.fromhex("0102030405060708") + bytes(8)
    )
    request = tc.RequestSession(6, 0x1122, 0x3344, 0x55667788, 0x0102030405060708, 3 << 32, 46)
    assert tc.encode(request) == (
        b"\5\6\0\0" + bytes(8) + bytes.fromhex("11223344") + bytes(48) + bytes.fromhex("55667788 0102030405060708")
        + bytes.fromhex("0000000300000000 2e000000") + bytes(8) + bytes(16)
    )  # fmt: skip
    assert tc.encode(tc.AcceptSession(1, 0x4948, bytes(range(16)))) == b"\1\0\x49\x48" + bytes(range(16)) + bytes(28)
    assert tc.encode(tc.StartSessions()) == b"\2" + bytes(31)
    assert tc.encode(tc.StartAck(5)) == b"\5" + bytes(31)
    assert tc.encode(tc.StopSessions(0, 1)) == b"\3\0\0\0\0\0\0\1" + bytes(24)


@given(MESSAGES, st.integers(1, 200))
def test_what_is_ignored_may_be_anything(message: tc.Message, seed: int) -> None:
    """Octets that must be zero, challenges and digests do not change what is read."""
    data = bytearray(tc.encode(message))
    filler = tc.encode(message)
    for at in range(len(data)):
        changed = bytearray(filler)
        changed[at] ^= 255
        try:
            same = tc.decode(type(message), bytes(changed)) == message
        except PacketError:
            same = False
        if same:
            data[at] = (seed * (at + 1)) % 256
    assert tc.decode(type(message), bytes(data)) == message


@given(st.sampled_from(list(tc.SIZES)), st.binary(max_size=200))
def test_any_octets_are_a_message_or_a_packet_error(kind: type[tc.Message], data: bytes) -> None:
    data = data if len(data) % 3 else data.ljust(tc.SIZES[kind], b"\1")[: tc.SIZES[kind]]
    try:
        found = tc.decode(kind, data)
    except PacketError:
        return
    assert isinstance(found, kind)


@pytest.mark.parametrize(
    "message",
    [tc.StopSessions(256), tc.RequestSession(4, 65536, 1, 0, 0, 0), tc.Greeting(-1), tc.AcceptSession(0, -1)],
)
def test_what_does_not_fit_is_refused(message: tc.Message) -> None:
    with pytest.raises(PacketError, match="does not fit"):
        tc.encode(message)


def test_words_for_answers_and_modes() -> None:
    assert [tc.accept_text(value) for value in (3, 5, 9)] == [
        "something that was asked for is not supported", "temporary resource limitation", "unknown answer 9",
    ]  # fmt: skip
    assert tc.modes_text(0) == "none"
    assert tc.modes_text(6) == "authenticated, encrypted"
    assert tc.modes_text(0x80000005) == "unauthenticated, encrypted, others (0x80000000)"


def test_a_conversation_from_end_to_end_octet_by_octet() -> None:
    dialogue = Dialogue()
    seen = []
    for message in PATH:
        if message in OURS:
            dialogue.send(message)
            continue
        for octet in tc.encode(message):
            assert dialogue.next_message() is None
            dialogue.receive(bytes([octet]))
        seen.append(dialogue.next_message())
    assert seen == [message for message in PATH if message not in OURS]
    assert dialogue.state is State.RUNNING
    dialogue.send(OURS[3])
    dialogue.ended()
    assert dialogue.state is State.OVER


@pytest.mark.parametrize(("steps", "ours"), list(itertools.product(range(8), OURS)))
def test_only_the_message_that_is_due_can_be_sent(steps: int, ours: tc.Message) -> None:
    dialogue = reached(steps)
    state = dialogue.state
    if (PATH[steps] if steps < 7 else OURS[3]) == ours:
        dialogue.send(ours)
        assert dialogue.state is not state
        return
    with pytest.raises(OutOfTurn, match=type(ours).__name__):
        dialogue.send(ours)
    assert dialogue.state is state


@pytest.mark.parametrize("steps", range(8))
def test_a_server_that_goes_away_is_broken(steps: int) -> None:
    dialogue = reached(steps)
    with pytest.raises(PacketError, match="closed the control connection while"):
        dialogue.ended()
    assert dialogue.state is State.BROKEN


@pytest.mark.parametrize("steps", [1, 3, 5])
def test_a_server_that_speaks_out_of_turn_is_broken(steps: int) -> None:
    dialogue = reached(steps)
    dialogue.receive(b"x")
    with pytest.raises(OutOfTurn, match="1 octets out of turn"):
        dialogue.next_message()
    assert dialogue.state is State.BROKEN


@pytest.mark.parametrize("steps", [1, 3, 5])
def test_a_server_that_answers_before_it_is_asked_is_broken(steps: int) -> None:
    dialogue = reached(steps)
    dialogue.receive(tc.encode(PATH[steps + 1]))
    with pytest.raises(OutOfTurn, match="octets out of turn"):
        dialogue.send(PATH[steps])
    assert dialogue.state is State.BROKEN


def test_a_server_that_talks_without_end_is_broken() -> None:
    dialogue = reached(1)
    dialogue.receive(bytes(MOST_UNREAD))
    with pytest.raises(PacketError, match="nobody asked for"):
        dialogue.receive(b"x")
    assert dialogue.state is State.BROKEN


@pytest.mark.parametrize("command", [0, 2, 5, 255])
def test_anything_but_a_stop_while_running_is_broken(command: int) -> None:
    dialogue = reached(7)
    dialogue.receive(bytes([command]) + bytes(31))
    with pytest.raises(PacketError, match=f"command {command}"):
        dialogue.next_message()
    assert dialogue.state is State.BROKEN


@pytest.mark.parametrize(
    ("steps", "message", "state", "words"),
    [
        (0, tc.Greeting(0), State.REFUSED, "no mode; allow this host"),
        (0, tc.Greeting(6), State.REFUSED, "only authenticated, encrypted; permit unauthenticated"),
        (0, tc.Greeting(0x100), State.REFUSED, r"only others \(0x100\)"),
        (2, tc.ServerStart(1), State.REFUSED, "ServerStart: refused without a reason"),
        (4, tc.AcceptSession(5, 0), State.READY, "AcceptSession: temporary"),
        (4, tc.AcceptSession(0, 0), State.REFUSED, "on port 0"),
        (6, tc.StartAck(2), State.REFUSED, "StartAck: internal error"),
    ],
)
def test_refusals(steps: int, message: tc.Message, state: State, words: str) -> None:
    dialogue = reached(steps)
    dialogue.receive(tc.encode(message))
    assert dialogue.next_message() == message
    assert dialogue.state is state
    assert re.search(words, f"{dialogue.trouble}; {dialogue.hint}")


def test_modes_beyond_unauthenticated_do_not_matter() -> None:
    dialogue = Dialogue()
    dialogue.receive(tc.encode(tc.Greeting(0xFFFFFFFF)))
    dialogue.next_message()
    assert dialogue.state is State.GREETED


def test_a_refused_session_may_be_asked_for_again() -> None:
    dialogue = reached(4)
    dialogue.receive(tc.encode(tc.AcceptSession(1, 19000)))
    assert dialogue.next_message() == tc.AcceptSession(1, 19000)
    dialogue.send(tc.RequestSession(4, 1, 19000, 30, 0, 0))
    assert dialogue.state is State.REQUESTING


def test_the_servers_stop_ends_it() -> None:
    dialogue = reached(7)
    dialogue.receive(tc.encode(tc.StopSessions(1, 1)))
    assert dialogue.next_message() == tc.StopSessions(1, 1)
    assert dialogue.state is State.OVER
    dialogue.receive(struct.pack("I", 7))
    assert dialogue.next_message() is None, "what follows is of no interest"
