"""The last path of every path probe, whether its newest run found one, live or sealed; and how it is shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agent.cli import main
from agent.cli.watch_table import sample_line
from agent.report.samples import one_way_words, path_words, sample_document
from agent.report.store_status import StoreReport, document, grids
from agent.store import Store, StoreReader
from probes.core.arrays import ABSENT
from probes.core.errors import LocalError
from probes.core.model import Hop, Label, SampleState
from probes.core.model import Path as Route
from probes.core.path_text import from_text, to_text
from tests.fakes.samples import START, ping, stamped, traced
from tests.fakes.sealed import release_all, seal_all

SECOND = 10**9
FAILED = {"state": SampleState.INVALID, "path": None, "reason": "scapy is not there"}


def test_the_last_path_is_not_that_of_a_run_that_failed(store: Store, reader: StoreReader, store_path: Path) -> None:
    store.append([ping(0), stamped(0, [1], [2])])
    store.append([traced(0, "192.0.2.1"), traced(1, "192.0.2.1", None, "192.0.2.3"), traced(2, **FAILED)])
    store.append([traced(0, "192.0.2.9", circuit="B"), traced(500, circuit="never", **FAILED)])
    assert store.flush(10.0)
    meant = [("ACME-1", ("192.0.2.1", None, "192.0.2.3")), ("B", ("192.0.2.9",))]

    def found() -> list[tuple[str, tuple[str | None, ...]]]:
        return [(item.circuit, item.path.addresses) for item in reader.last_paths() if item.path is not None]

    assert found() == meant
    parts = seal_all(store_path)
    assert found() == meant
    assert release_all(store, parts) > 0
    assert found() == meant
    store.append([traced(400, **FAILED)])
    assert store.flush(10.0)
    assert found() == meant, "live runs without a path hide no sealed one"
    store.append([traced(401, None, "192.0.2.4")])
    assert store.flush(10.0)
    assert found()[0] == ("ACME-1", (None, "192.0.2.4"))


def test_status_shows_hops_and_age(
    store: Store, reader: StoreReader, store_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store.append([traced(0, "192.0.2.1", None, "192.0.2.3"), traced(1, **FAILED)])
    store.append([traced(0, "192.0.2.1", circuit="B"), stamped(0, [4 * 10**6, 5 * 10**6], [3 * 10**6, 10**6])])
    assert store.flush(10.0)
    now = START + 4000 * SECOND
    report = StoreReport(now, reader.status(), reader.latest(), [], [], (), reader.last_paths())
    notes = {f"{row[0].text}/{row[1]}": (row[7], row[8].text) for row in grids(report)[0].rows}  # type: ignore[union-attr]
    assert notes == {
        "ACME-1/path": ("56m38s", "scapy is not there; last path 1h6m38s ago: 3 hops, 1 of them silent, MTU 1500"),
        "ACME-1/stamp": ("1h6m30s", "↑4.500 ↓2.000 ±0.020 ms"),
        "B/path": ("1h6m38s", "1 hop, MTU 1500"),
    }
    paths = document(report)["paths"]
    assert isinstance(paths, list)
    assert [(item["circuit"], item["hops"], item["age_ns"]) for item in paths] == [
        ("ACME-1", 3, 3998 * SECOND), ("B", 1, 3998 * SECOND),
    ]  # fmt: skip
    assert main.run(["status", "--store", str(store_path)]) == 0
    assert "3 hops, 1 of them silent" in capsys.readouterr().out


def test_words_of_what_was_measured_one_way() -> None:
    sample = stamped(0, [-400, -200], [3000, 5000])
    assert one_way_words(sample) == "↑-0.000 ↓0.004 ±0.020 ms"
    assert sample.forward is not None
    withheld = replace(sample.forward, delay=None, withheld="the clock is not synchronised")
    assert one_way_words(replace(sample, forward=withheld)) == "↓0.004 ±0.020 ms"
    nothing = replace(sample, forward=withheld, backward=None)
    assert one_way_words(nothing) == "one way withheld: the clock is not synchronised"
    assert one_way_words(ping(0)) == one_way_words(stamped(0, [ABSENT], [ABSENT])) == ""
    assert sample_line(nothing).endswith("one way withheld: the clock is not synchronised")
    assert sample_line(sample).endswith("lost 0/2 one way ↑-0.000 ↓0.004 ±0.020 ms")
    assert sample_line(traced(0, "192.0.2.1", None)).endswith("ok path 2 hops, 1 of them silent, MTU 1500")
    assert path_words(Route("tcp", False, ())) == "0 hops; target not reached"


def test_the_document_of_a_sample_has_both_ways_and_the_path() -> None:
    found = sample_document(stamped(0, [-400, -200, ABSENT], [3000, 5000, ABSENT]))
    assert found["forward"] == {
        "sent": 3, "lost": 1, "error_ns": 20_000, "withheld": None, "dscp": 46, "ttl": 62, "stamped": 2,
        "delay": {"count": 2, "sum_ns": -600, "min_ns": -400, "max_ns": -200, "p50_ns": -400, "p95_ns": -200,
                  "p99_ns": -200, "stddev_ns": 100},
        "variation": {"ipdv_pairs": 1, "ipdv_abs_sum_ns": 200, "ipdv_p95_ns": 200, "pdv_p95_ns": 200,
                      "rfc3550_ns": 12},
    }  # fmt: skip
    assert found["residence"] == {"count": 2, "sum_ns": 6000, "min_ns": 3000, "max_ns": 3000}
    assert (found["path"], sample_document(ping(0))["forward"]) == (None, None)
    labelled = Hop(1, "192.0.2.1", 3, 2, 1, 3, 2, (Label(16, 5, True, 254),), 46, 1400, "admin prohibited")
    path = sample_document(traced(0, path=Route("icmp", False, (labelled,))))["path"]
    assert path == {
        "protocol": "icmp", "reached": False, "mtu": None,
        "hops": [{
            "ttl": 1, "address": "192.0.2.1", "sent": 3, "received": 2, "min_ns": 1, "sum_ns": 3, "max_ns": 2,
            "dscp": 46, "mtu": 1400, "error": "admin prohibited",
            "labels": [{"value": 16, "traffic_class": 5, "bottom": True, "ttl": 254}],
        }],
    }  # fmt: skip


def test_a_path_is_one_text() -> None:
    path = Route(
        "udp", True, (Hop(1, "192.0.2.1", 3, 3, 1, 3, 2, (Label(16, 0, True, 254),)), Hop(2, None, 3, 0)), 1500
    )
    text = (
        '{"protocol":"udp","reached":true,"mtu":1500,"hops":[{"ttl":1,"address":"192.0.2.1","sent":3,"received":3,'
        '"minimum_ns":1,"sum_ns":3,"maximum_ns":2,"labels":[[16,0,1,254]]},{"ttl":2,"sent":3,"received":0}]}'
    )
    assert (to_text(path), from_text(text)) == (text, path)


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", '{"protocol":"udp","reached":true}', '{"protocol":1,"reached":true,"hops":[]}',
        '{"protocol":"udp","reached":1,"hops":[]}', '{"protocol":"udp","reached":true,"hops":[],"more":1}',
        '{"protocol":"udp","reached":true,"hops":[{"ttl":1,"sent":3}]}', "[" * 100_000,
        '{"protocol":"udp","reached":true,"hops":[{"ttl":1.5,"sent":3,"received":3}]}',
        '{"protocol":"udp","reached":true,"hops":[{"ttl":1,"sent":3,"received":3,"labels":[[1,2,3]]}]}',
        '{"protocol":"udp","reached":true,"hops":[{"ttl":1,"sent":3,"received":3,"x":1}]}',
    ],
)  # fmt: skip
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(LocalError, match="a stored path cannot be read"):
        from_text(text)
