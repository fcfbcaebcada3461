"""The flight table against an oracle of dictionaries."""

from dataclasses import dataclass, field

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.core.arrays import ABSENT
from probes.core.clock import SECOND
from probes.core.model import PacketState
from probes.engine.flight import PENDING, FlightTable
from probes.engine.roundtrip import Reading

OFFSET = 1_800_000_000 * SECOND
TIMEOUT = 3 * SECOND
STREAMS = 3


@dataclass
class Packet:
    nonce: int
    sent: int
    state: int = PENDING
    rtt: int | None = None
    duplicates: int = 0


@dataclass
class Oracle:
    """What must come out, one packet at a time."""

    packets: dict[tuple[int, int], Packet] = field(default_factory=dict)
    known_from: dict[int, int] = field(default_factory=lambda: dict.fromkeys(range(STREAMS), 0))

    def answer(self, stream: int, sequence: int, nonce: int, received: int) -> str:
        packet = self.packets.get((stream, sequence))
        if packet is None or sequence < self.known_from[stream]:
            return "forgotten"
        if packet.nonce != nonce:
            return "forged"
        if packet.rtt is not None:
            packet.duplicates += 1
            return "duplicate"
        packet.rtt = received - packet.sent
        packet.state = PacketState.ANSWERED if packet.rtt <= TIMEOUT else PacketState.LATE
        return "first"


action = st.one_of(
    st.tuples(st.just("send"), st.lists(st.integers(0, STREAMS - 1), min_size=1, max_size=STREAMS, unique=True)),
    st.tuples(
        st.just("replies"),
        st.lists(
            st.tuples(st.integers(0, STREAMS - 1), st.integers(0, 12), st.booleans(), st.integers(0, 5 * SECOND)),
            min_size=1,
            max_size=8,
        ),
    ),
    st.tuples(st.just("reject"), st.tuples(st.integers(0, STREAMS - 1), st.integers(0, 12), st.booleans())),
    st.tuples(st.just("report"), st.tuples(st.integers(0, STREAMS - 1), st.integers(0, 12))),
)


def send(table: FlightTable, stream: int, sequence: int, nonce: int, now: int) -> None:
    one, number = np.array([stream]), np.array([sequence])
    rows = table.rows(one, number)
    table.launch(rows, number, np.array([nonce], np.uint64), now + OFFSET, OFFSET, np.zeros(1, np.int64))
    table.transmitted(rows, np.array([now + OFFSET]))


@given(st.lists(action, max_size=40))
@settings(max_examples=300)
def test_equals_the_oracle(actions: list[tuple[str, object]]) -> None:
    table, oracle = FlightTable(), Oracle()
    for stream in range(STREAMS):
        table.open(stream, 16, TIMEOUT, 0)
    following = [0] * STREAMS
    now = SECOND
    for kind, argument in actions:
        now += SECOND // 10
        if kind == "send":
            for stream in argument:
                sequence = following[stream]
                if sequence - oracle.known_from[stream] >= 16:
                    continue
                following[stream] += 1
                nonce = 1000 * stream + sequence + 7
                send(table, stream, sequence, nonce, now)
                oracle.packets[stream, sequence] = Packet(nonce, now)
        elif kind == "replies":
            rows = [
                (stream, number, 1000 * stream + number + 7 + (not genuine), now + after)
                for stream, number, genuine, after in argument
            ]
            check_replies(table, oracle, rows, now)
        elif kind == "reject":
            stream, sequence, genuine = argument
            nonce = 1000 * stream + sequence + 7 + (not genuine)
            hit = table.reject(stream, sequence, nonce, PacketState.REJECTED)
            packet = oracle.packets.get((stream, sequence))
            expected = (
                packet is not None and genuine and packet.state == PENDING and sequence >= oracle.known_from[stream]
            )
            assert (hit is not None) == expected
            if expected:
                packet.state = PacketState.REJECTED
        else:
            stream, sequence = argument
            limit = min(max(sequence, oracle.known_from[stream]), following[stream])
            table.known_from[stream] = oracle.known_from[stream] = limit
    compare(table, oracle, following)


def check_replies(table: FlightTable, oracle: Oracle, rows: list[tuple[int, int, int, int]], now: int) -> None:
    expected = [oracle.answer(*row) for row in rows]
    stream, sequence, nonce, received = (np.array(column) for column in zip(*rows, strict=True))
    answers = table.answer(
        stream, sequence, nonce.astype(np.uint64), received + OFFSET, Reading(now + 20 * SECOND, OFFSET)
    )
    for row, name in enumerate(expected):
        found = {kind for kind in ("first", "duplicate", "forged", "forgotten") if getattr(answers, kind)[row]}
        assert found == {name}


def compare(table: FlightTable, oracle: Oracle, following: list[int]) -> None:
    streams = np.arange(STREAMS)
    first = np.array([oracle.known_from[stream] for stream in range(STREAMS)])
    which, rows = table.gather(streams, first, np.array(following))
    got = [
        (int(stream), int(table.sequence[row]), int(table.state[row]), int(table.rtt_ns[row]),
         int(table.duplicates[row]))
        for stream, row in zip(which, rows, strict=True)
    ]  # fmt: skip
    expected = [
        (stream, sequence, packet.state, ABSENT if packet.rtt is None else packet.rtt, packet.duplicates)
        for (stream, sequence), packet in sorted(oracle.packets.items())
        if sequence >= oracle.known_from[stream]
    ]
    assert got == expected


def test_a_stamp_older_than_the_call_is_not_this_packets() -> None:
    table = FlightTable()
    table.open(0, 16, TIMEOUT, 0)
    rows = table.rows(np.array([0]), np.array([0]))
    table.launch(rows, np.array([0]), np.array([9], np.uint64), OFFSET + 100, OFFSET, np.array([0]))
    table.transmitted(rows, np.array([OFFSET + 99]))
    assert table.transmitted_ns[rows[0]] == ABSENT
    table.transmitted(rows, np.array([OFFSET + 130]))
    assert table.transmitted_ns[rows[0]] == OFFSET + 130


def test_wire_numbers_beyond_16_and_32_bits() -> None:
    for base in (2**16 - 5, 2**32 - 5, 2**62):
        table = FlightTable()
        table.open(0, 16, TIMEOUT, base)
        for sequence in range(base, base + 10):
            send(table, 0, sequence, sequence, SECOND)
        sequence = np.arange(base, base + 10)
        answers = table.answer(
            np.zeros(10, np.int64), sequence, sequence.astype(np.uint64),
            np.full(10, SECOND + OFFSET + 5), Reading(2 * SECOND, OFFSET),
        )  # fmt: skip
        assert answers.first.all()


def test_a_closed_ring_is_used_again_and_knows_nothing_of_its_past() -> None:
    table = FlightTable()
    table.open(0, 16, TIMEOUT, 0)
    send(table, 0, 0, 77, SECOND)
    rows = len(table.sequence)
    table.close(0)
    table.open(1, 16, TIMEOUT, 0)
    assert len(table.sequence) == rows
    assert table.offset[1] == table.offset[0]
    answers = table.answer(
        np.array([1]), np.array([0]), np.array([77], np.uint64), np.array([SECOND + OFFSET]), Reading(SECOND, OFFSET)
    )
    assert answers.forgotten.all()


def test_open_packets_and_timeouts() -> None:
    table = FlightTable()
    table.open(0, 16, TIMEOUT, 0)
    for sequence in range(4):
        send(table, 0, sequence, 1, sequence * SECOND)
    one, first, end = np.array([0]), np.array([0]), np.array([4])

    def opened(now: int, patience: int) -> int:
        return int(table.open_packets(one, first, end, Reading(now, OFFSET), patience=patience)[0])

    assert opened(3 * SECOND, 1) == 4
    assert opened(3 * SECOND + 1, 1) == 3
    assert opened(3 * SECOND + 1, 2) == 4
    assert opened(9 * SECOND + 1, 2) == 0
    rows, stream = table.time_out(one, first, end, Reading(4 * SECOND + 1, OFFSET))
    assert table.sequence[rows].tolist() == [0, 1]
    assert stream.tolist() == [0, 0]
    again, _ = table.time_out(one, first, end, Reading(4 * SECOND + 1, OFFSET))
    assert not len(again)
    late = table.answer(
        one, one, np.array([1], np.uint64), np.array([OFFSET + 5 * SECOND]), Reading(5 * SECOND, OFFSET)
    )
    assert late.first.all()
    assert table.state[rows[0]] == PacketState.LATE
