"""Hostile inputs to every parser of packets, a given number to each: `python -m benchmarks.fuzz --inputs 1e7`.

An input is random octets, or a packet of the right form that was damaged: bits flipped, cut short, lengths that lie,
octets at the ends of their ranges, pieces of another packet. What is asked of a parser, of each batch:
no exception and no warning (of the parsers of single messages: none but PacketError); nothing written to its input; the
right number of answers; a row reads the same alone, and among others in any order; and octets behind an input's end do
not matter. A finding is printed with its octets, and the exit code is 1. Inputs come from a seed, the same in each run.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from numpy.typing import NDArray

from probes.core.codec import SessionCodec
from probes.core.errors import PacketError
from probes.wire import ntp_time, payload, stamp, stamp_auth, stamp_tlv, throughput, twamp_control
from probes.wire.checksum import internet_checksum
from probes.wire.icmp import EchoCodec
from probes.wire.stamp_codec import StampCodec
from probes.wire.tcp_info import decode as decode_tcp_info
from probes.wire.twamp_codec import TwampCodec
from probes.wire.twamp_dialogue import Dialogue
from probes.wire.udp_echo import UdpEchoCodec

Octets = NDArray[np.uint8]
Lengths = NDArray[np.int64]
Parser = Callable[[Octets, Lengths], object]

BATCH: Final = 4096
WIDTH: Final = 208
NARROWEST: Final = 32
"""octets of a row of the narrowest buffer"""
KEY: Final = stamp_auth.Key(bytes(range(32)))
NOW_NS: Final = 1_790_000_000 * 10**9
EXTREMES: Final = np.array([0, 1, 0x7F, 0x80, 0xFE, 0xFF], np.uint8)


SAID: Final = b"".join(
    map(
        twamp_control.encode,
        (
            twamp_control.Greeting(1, 1024), twamp_control.ServerStart(0, 1), twamp_control.AcceptSession(0, 18760),
            twamp_control.StartAck(0), twamp_control.StopSessions(),
        ),
    )
)  # fmt: skip
"""by a server of TWAMP-Control, from the first to the last"""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a parser did wrong, and the input with which it did."""

    what: str
    batch: int
    row: int | None
    octets: bytes

    def __str__(self) -> str:
        where = f"batch {self.batch}" + ("" if self.row is None else f", row {self.row}")
        return f"{self.what} ({where}; {len(self.octets)} octets: {self.octets.hex()})"


def packets() -> list[bytes]:
    """One of every form there is; they are what gets damaged."""
    out = np.zeros((1, WIDTH), np.uint8)
    found = []
    for authenticated in (False, True):
        start = stamp.base_size(authenticated)
        stamp.write_requests(
            out, sequence=np.array([7]), stamp=ntp_time.to_ntp(np.array([NOW_NS])), error=0x8587, ssid=9,
            authenticated=authenticated,
        )  # fmt: skip
        at = start
        for write in (stamp_tlv.write_timestamp_information, stamp_tlv.write_follow_up, stamp_tlv.write_hmac):
            at += write(out[:, at:])
        at += stamp_tlv.write_class_of_service(out[:, at:], 46)
        at += stamp_tlv.write_extra_padding(out[:, at:], WIDTH - at)
        if authenticated:
            stamp_auth.sign(out, KEY)
        found.append(out.tobytes())
        found.append(out[:, : start + 30].tobytes())
        found.append(out[:, start:].tobytes())
    for family, transport in ((4, EchoCodec()), (6, EchoCodec()), (4, UdpEchoCodec())):
        size = 64
        row = np.zeros((1, size), np.uint8)
        one, nonce = np.array([1]), np.array([2], np.uint64)
        transport.encode(row, family=family, identifier=0xBEEF, stream=one, sequence=one, nonce=nonce)
        found.append(row.tobytes())
        row[0, 0] = 0 if family == 4 else 129
        found.append(row.tobytes())
    for message in (
        twamp_control.Greeting(7, 1024), twamp_control.ServerStart(0, 1), twamp_control.AcceptSession(0, 18760),
        twamp_control.RequestSession(4, 1, 2, 30, 0, 0, 46), twamp_control.StartAck(0), twamp_control.StopSessions(),
        twamp_control.SetUpResponse(1), twamp_control.StartSessions(),
    ):  # fmt: skip
        found.append(twamp_control.encode(message))
    found.append(throughput.encode(throughput.Hello(1, throughput.Direction.BOTH, 4, 10**10, 10**9)))
    return found


def inputs(chance: np.random.Generator, models: Octets, sizes: Lengths) -> tuple[Octets, Lengths]:
    """A batch of hostile inputs; octets behind an input's end are rubbish, as in a buffer that was used before."""
    n = BATCH
    data: Octets = np.frombuffer(chance.bytes(n * WIDTH), np.uint8).reshape(n, WIDTH).copy()
    length = chance.integers(0, WIDTH + 1, n)
    model, formed = chance.integers(0, len(models), n), chance.random(n) < 0.8
    length[formed] = sizes[model[formed]]
    data = np.where(formed[:, None] & ~behind(data, length), models[model], data)
    for share, values in ((0.012, np.arange(256, dtype=np.uint8)), (0.012, EXTREMES)):
        row, at = some_octets(chance, int(share * n * WIDTH))
        data[row, at] = values[chance.integers(0, len(values), len(row))]
    row, at = some_octets(chance, n // 3)
    data[row, at] ^= np.uint8(1) << chance.integers(0, 8, len(row)).astype(np.uint8)
    row, at = some_octets(chance, n // 3)  # a piece of another input, somewhere else
    source, size = chance.permutation(n)[: len(row)], chance.integers(1, 17)
    at, piece = np.minimum(at, WIDTH - size), np.arange(size)
    data[row[:, None], at[:, None] + piece] = data[source[:, None], at[::-1, None] + piece]
    short = chance.random(n) < 0.3
    length[short] = (length[short] * chance.random(short.sum())).astype(np.int64)
    length[chance.random(n) < 0.02] += chance.integers(1, 40)  # a datagram that was cut to the buffer
    if chance.random() < 0.3:  # a batch whose rows are laid out alike
        data[:, 44:], length[:] = data[0, 44:], length[0]
    if chance.random() < 0.3:
        data = data[:, : chance.integers(NARROWEST, WIDTH)].copy()
    return data, length


def some_octets(chance: np.random.Generator, count: int) -> tuple[Lengths, Lengths]:
    """Rows and columns; only in two rows of three, so that some stay as they are."""
    return chance.integers(0, BATCH * 2 // 3, count), chance.integers(0, WIDTH, count)


def words(data: Octets, _: Lengths) -> object:
    stamps = np.ascontiguousarray(data[:, :8]).view(">u8")[:, 0].astype(np.uint64)
    near = np.ascontiguousarray(data[:, 8:16]).view(">i8")[:, 0].astype(np.int64) >> 1
    estimate = ntp_time.read_error(np.ascontiguousarray(data[:, 16:18]).view(">u2")[:, 0])
    times = ntp_time.from_ntp(stamps, near), ntp_time.from_ptp(stamps, near)
    return *times, estimate, ntp_time.to_ntp(times[0]), ntp_time.to_ptp(times[0])


def behind(data: Octets, length: Lengths) -> NDArray[np.bool_]:
    """Octets that do not belong to the inputs."""
    return np.arange(data.shape[1]) >= length[:, None]


def heedless(parse: Parser) -> Parser:
    """A parser that must not heed what lies behind an input's end."""

    def run(data: Octets, length: Lengths) -> object:
        answer = parse(data, length)
        other = parse(np.where(behind(data, length), ~data, data), length)
        for column, again in zip(columns(answer), columns(other), strict=True):
            assert (column == again).all(), "octets behind the end change what is read"
        return answer

    return run


def read_tlvs(data: Octets, length: Lengths) -> object:
    """All that is read of TLVs, and a reflector's answers into a copy."""
    tlvs = stamp_tlv.read(data, length, 44)
    answer = data.copy()
    zero, stamps = np.zeros(len(data), np.int64), np.zeros(len(data), np.uint64)
    stamp_tlv.answer_flags(answer, tlvs, stamp_tlv.failed(tlvs))
    stamp_tlv.answer_follow_ups(answer, tlvs, zero, stamps, 1)
    stamp_tlv.answer_classes(answer, tlvs, zero, zero, zero)
    stamp_tlv.answer_stamp_sources(answer, tlvs, 1, 2, 2)
    stamp_tlv.answer_counters(answer, tlvs, zero, zero)
    answer[behind(data, length)] = 0
    return (
        stamp_tlv.read_follow_ups(data, tlvs), stamp_tlv.read_classes(data, tlvs), stamp_tlv.failed(tlvs),
        stamp_tlv.read_stamp_sources(data, tlvs), stamp_tlv.read_counters(data, tlvs), answer,
    )  # fmt: skip


def verify(data: Octets, length: Lengths) -> object:
    tlvs = stamp_tlv.read(data, length, stamp.AUTHENTICATED_SIZE)
    return stamp_auth.verify(data, length, KEY), stamp_auth.verify_tlvs(data, tlvs, KEY, stamp.AUTHENTICATED_SIZE)


def echo(transport: EchoCodec | UdpEchoCodec, family: int) -> Parser:
    def parse(data: Octets, length: Lengths) -> object:
        read = transport.decode, transport.decode_quoted
        return tuple(decode(data, length, family=family, identifier=0xBEEF) for decode in read)

    return parse


def sessions(codec: SessionCodec) -> Parser:
    def parse(data: Octets, length: Lengths) -> object:
        return codec.replies(data, length, near_ns=NOW_NS), codec.quoted(data, length)

    return parse


def each(parse: Callable[[bytes], object]) -> Parser:
    """A parser of single messages: PacketError is an answer."""

    def run(data: Octets, length: Lengths) -> object:
        whole, width = data.tobytes(), data.shape[1]
        for at, size in zip(range(0, len(whole), width), length.tolist(), strict=True):
            try:
                parse(whole[at : at + min(size, width)])
            except PacketError:
                continue
        return ()

    return run


def control_message(data: bytes) -> None:
    """Cut to the size of one message or another, as a conversation would."""
    kinds = list(twamp_control.SIZES)
    kind = kinds[(data[0] if data else 0) % len(kinds)]
    twamp_control.decode(kind, data[: twamp_control.SIZES[kind]])


def conversation(data: bytes) -> None:
    """What a server says, in pieces, to a client that answers as soon as it may: all it should, with octets changed."""
    dialogue, said = Dialogue(), bytearray(SAID)
    for at, value in zip(data[: 2 * (data[0] % 8) : 2] if data else b"", data[1::2], strict=False):
        said[at % len(said)] = value
    data = bytes(said[: len(said) - data[-1] % 64]) if data else b""
    ours = {
        "greeted": twamp_control.SetUpResponse(1), "ready": twamp_control.RequestSession(4, 1, 2, 30, 0, 0),
        "session agreed": twamp_control.StartSessions(),
    }  # fmt: skip
    for piece in (data[:70], data[70:]):
        dialogue.receive(piece)
        while dialogue.next_message() is not None or dialogue.state.value in ours:
            if (answer := ours.get(dialogue.state.value)) is not None:
                dialogue.send(answer)
    dialogue.ended()


PARSERS: Final[dict[str, Parser]] = {
    "ntp_time": words,
    "stamp requests": heedless(partial(stamp.read_requests, authenticated=False)),
    "stamp replies": heedless(partial(stamp.read_replies, authenticated=False)),
    "stamp requests, authenticated": heedless(partial(stamp.read_requests, authenticated=True)),
    "stamp replies, authenticated": heedless(partial(stamp.read_replies, authenticated=True)),
    "stamp_tlv": heedless(read_tlvs),
    "stamp_auth": heedless(verify),
    "stamp_codec": sessions(StampCodec(timestamp_information=True, direct_measurement=True)),
    "stamp_codec, authenticated": sessions(StampCodec(key=bytes(range(32)), direct_measurement=True)),
    "twamp_codec": sessions(TwampCodec()),
    "twamp_control": each(control_message),
    "twamp_dialogue": each(conversation),
    "payload": payload.read,
    "icmp": echo(EchoCodec(), 4),
    "icmpv6": echo(EchoCodec(), 6),
    "udp_echo": echo(UdpEchoCodec(), 4),
    "checksum": lambda data, _: internet_checksum(data),
    "throughput": each(throughput.decode),
    "tcp_info": each(decode_tcp_info),
}


def columns(answer: object) -> list[NDArray[np.generic]]:
    """Every array in an answer."""
    if isinstance(answer, np.ndarray):
        return [answer]
    if is_dataclass(answer):
        return [column for field in fields(answer) for column in columns(getattr(answer, field.name))]
    return [column for part in answer for column in columns(part)] if isinstance(answer, tuple) else []


def complaint(parse: Parser, data: Octets, length: Lengths, row: int) -> str | None:
    """What is wrong with a parser's answer to this batch; `row` is parsed alone as well."""
    before = data.copy(), length.copy()
    try:
        answer = columns(parse(data, length))
        turned = columns(parse(data[::-1].copy(), length[::-1].copy()))
        alone = columns(parse(data[row : row + 1], length[row : row + 1]))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if (data != before[0]).any() or (length != before[1]).any():
        return "its input was written to"
    for column, other, single in zip(answer, turned, alone, strict=True):
        if len(column) != len(data):
            return f"{len(column)} answers to {len(data)} inputs"
        if (column != other[::-1]).any():
            return "a row reads differently in another order"
        if (column[row] != single[0]).any():
            return f"row {row} reads {column[row]} among the others and {single[0]} alone"
    return None


def smallest(parse: Parser, data: Octets, length: Lengths, row: int) -> tuple[int | None, str | None]:
    """The first row that is enough for the same sort of complaint."""
    for index in range(len(data)):
        found = complaint(parse, data[index : index + 1], length[index : index + 1], 0)
        if found is not None:
            return index, found
    return None, complaint(parse, data, length, row)


def fuzz(parsers: Mapping[str, Parser], count: int, seed: int = 1) -> dict[str, Finding]:
    """Give each parser `count` inputs and what fills the last batch; the first finding of each that has one."""
    forms = packets()
    models, sizes = np.zeros((len(forms), WIDTH), np.uint8), np.array([min(len(form), WIDTH) for form in forms])
    for model, form in zip(models, forms, strict=True):
        model[: len(form)] = np.frombuffer(form[:WIDTH], np.uint8)
    found: dict[str, Finding] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for batch in range(-(-count // BATCH)):
            chance = np.random.default_rng((seed, batch))
            data, length = inputs(chance, models, sizes)
            row = int(chance.integers(0, BATCH))
            for name in parsers.keys() - found.keys():
                what = complaint(parsers[name], data, length, row)
                if what is not None:
                    index, single = smallest(parsers[name], data, length, row)
                    at = row if index is None else index
                    found[name] = Finding(single or what, batch, index, data[at, : max(length[at], 0)].tobytes())
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--inputs", type=lambda text: int(float(text)), default=1_000_000, help="to each parser")
    options.add_argument("--parser", choices=list(PARSERS), action="append", help="only this one; may be repeated")
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args(arguments)
    parsers = {name: PARSERS[name] for name in chosen.parser or PARSERS}
    begin = time.process_time()
    found = fuzz(parsers, chosen.inputs, chosen.seed)
    given = -(-chosen.inputs // BATCH) * BATCH
    for name in parsers:
        print(f"{name}: {found.get(name) or f'{given:,} inputs, nothing found'}")
    spent = time.process_time() - begin
    print(f"{len(parsers)} parsers, {given:,} inputs each, {len(found)} findings; {spent:.0f} s of CPU")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
