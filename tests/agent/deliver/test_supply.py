"""Batches made ready ahead are the batches that are ordered, and what a server says about lines is about those."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.deliver.answer import Answer, Reply
from agent.deliver.body import compressed
from agent.deliver.line import LineEncoder
from agent.deliver.supply import Consignment, Order, Supply
from agent.store import Store, StoreReader
from probes.core.clock import SystemClock
from probes.core.model import Sample
from tests.fakes.samples import ping


def sample(number: int) -> Sample:
    """Of two layouts in turn; each seventh has no line."""
    one = ping(number) if number % 2 else replace(ping(number), delay=None, variation=None)
    return replace(one, circuit="bad\n") if number % 7 == 6 else one


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[StoreReader]:
    store = Store.open(tmp_path, clock=SystemClock(), site="lab")
    store.append([sample(number) for number in range(200)])
    assert store.flush(10)
    with StoreReader.open(tmp_path) as opened:
        yield opened
    store.close(10)


@pytest.fixture
def supply(reader: StoreReader) -> Iterator[Supply]:
    opened = Supply(reader, LineEncoder("lab", {}), "central", compressed)
    yield opened
    opened.close()


def body_lines(consignment: Consignment) -> list[str]:
    assert consignment.body is not None
    return gzip.decompress(consignment.body.data).decode().splitlines()


def test_all_batches_in_turn_are_all_lines(supply: Supply, reader: StoreReader) -> None:
    order, found, unwritable = Order(0, 80, True), [], []
    while True:
        consignment = supply.take(order)
        found += [line.text for line in consignment.single() if line.text]
        unwritable += [refusal.line.seq for refusal in consignment.unwritable()]
        assert sorted(body_lines(consignment)) == sorted(line.text for line in consignment.single() if line.text)
        if not consignment.full:
            break
        order = replace(order, place=consignment.following)
        supply.make_ready(order)
    plain = LineEncoder("lab", {})
    stored = [item for item in reader.after(0, 1000) if item.sample.circuit != "bad\n"]
    assert found == [plain.encode(item.sample, text=True) for item in stored]
    assert unwritable == list(range(7, 201, 7))


def test_what_was_made_ready_for_another_order_is_not_taken(supply: Supply) -> None:
    supply.make_ready(Order(0, 80, True))
    for order in (Order(0, 80, False), Order(10, 80, True), Order(0, 20, True), Order(0, 80, True, until=30)):
        consignment = supply.take(order)
        assert consignment.order == order
        assert consignment.seq(0) == order.place + 1
        assert len(consignment) == min(order.limit, order.until or 1000)


def test_the_same_order_again_is_not_made_again_unless_more_may_have_come(supply: Supply) -> None:
    full, last = Order(0, 80, True), Order(180, 80, True)
    assert supply.take(full) is supply.take(full)
    assert supply.take(last) is not supply.take(last)


def test_lines_that_the_server_names_are_found_whatever_their_order_in_the_body(supply: Supply) -> None:
    consignment = supply.take(Order(0, 200, True))
    told = body_lines(consignment)
    written = [line.text for line in consignment.single() if line.text]
    assert told != written, "the body is in the order of layouts"
    blamed = {1: "first", 7: "seventh", len(told): "last"}
    found = consignment.in_order(Reply(Answer.REJECTED, blamed={**blamed, 1000: "no such line"})).blamed
    assert found is not None
    assert {written[place - 1]: words for place, words in found.items()} == {
        told[place - 1]: words for place, words in blamed.items()
    }
