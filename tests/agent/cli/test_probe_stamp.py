"""`probe stamp` on loopback against a plain reflector, as a user types it; its summary from samples made by hand."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from agent.cli import directions
from agent.cli.probe_summary import milliseconds
from probes.core.arrays import ABSENT, Packets
from probes.core.model import Delay, OneWay, Quality, Residence, Sample, SampleState, Variation
from tests.agent.cli.commands import linkwitness

MS = 1_000_000
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def reflector() -> Iterator[int]:
    """A plain STAMP reflector on a port of its own; its clock claims to be synchronised."""
    words = (sys.executable, "-m", "tests.lab.stamp_answer", "0", "0", str(0x8E61), "127.0.0.1")
    process = subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield int(process.stdout.readline().split()[1])
    process.communicate("", timeout=10)


def test_lines_and_summary(reflector: int) -> None:
    done = linkwitness("probe", "stamp", "127.0.0.1", "-p", reflector, "-c", 5, "-i", "50ms", "--dscp", "EF")
    assert done.stderr == ""
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0] == f"stamp 127.0.0.1 (127.0.0.1), port {reflector}, 184 octets every 50ms, timeout 3s, DSCP 46"
    replies = [line for line in lines if line.startswith("reply from 127.0.0.1: seq=")]
    assert len(replies) == 5
    assert all(re.search(r"ttl=\d+ time=\d+\.\d{3} ms", line) for line in replies)
    text = done.stdout
    assert re.search(r"^forward: lost 0 of 5, jitter .* arrived with DSCP 46, TTL 64$", text, re.M)
    assert re.search(r"^backward: lost 0 of 5, jitter .* arrived with DSCP 0, TTL 64$", text, re.M)
    assert re.search(r"^residence min/mean/max = .* ms inside the far end, no part of any delay$", text, re.M)
    assert re.search(r"^follow-up: [45] of 5 replies with the far kernel's time of sending$", text, re.M)
    withheld = "forward delay withheld: this host's clock is not synchronised" in text
    shown = all(" forward=" in line and " backward=" in line for line in replies)
    assert withheld != shown
    assert ("clock: this host's is not synchronised" in text) == withheld


def test_json(reflector: int) -> None:
    done = linkwitness(
        "probe", "stamp", "127.0.0.1", "-p", reflector, "-c", 4, "-i", "50ms", "--json", "--no-follow-up"
    )
    found = json.loads(done.stdout)
    assert found["parameters"]["follow_up"] is False
    assert found["parameters"]["key"] is None
    assert found["residence"]["count"] == 4
    for way in ("forward", "backward"):
        assert (found[way]["sent"], found[way]["lost"]) == (4, 0)
        assert found[way]["jitter"]["ipdv"]["pairs"] == 3
        assert (found[way]["delay"] is None) == (found[way]["withheld"] is not None)
        assert found["quality"]["clock_synchronised"] == (found[way]["withheld"] is None)
    assert (found["forward"]["stamped"], found["backward"]["stamped"]) == (4, 0)


def test_a_key_file_that_others_can_read_is_refused(reflector: int, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("0123456789abcdef\n", "utf-8")
    key.chmod(0o644)
    done = linkwitness("probe", "stamp", "127.0.0.1", "-p", reflector, "-c", 1, "--key-file", key)
    assert done.returncode == 1
    assert "is open to other users" in done.stderr
    assert "0123456789abcdef" not in done.stdout + done.stderr


def test_a_size_that_does_not_hold_what_is_asked_for(reflector: int) -> None:
    done = linkwitness("probe", "stamp", "127.0.0.1", "-p", reflector, "-c", 1, "-s", 50)
    assert done.returncode == 1
    assert "size 50 B is out of range" in done.stderr
    assert "from 72 B" in done.stderr


def sample(start_s: int, forward_ms: list[int | None], **way: object) -> Sample:
    n = len(forward_ms)
    forward = np.array([ABSENT if value is None else value * MS for value in forward_ms], np.int64)
    packets = Packets(np.arange(n) * MS, np.full(n, 9 * MS), np.zeros(n, np.uint8), forward, forward + MS)
    given: dict[str, object] = {
        "sent": n, "lost": 0, "error_ns": MS, "variation": Variation(n - 1, 2 * MS, MS, MS, 7), "dscp": 46, "ttl": 60,
        "stamped": n, "delay": Delay(n, 1, 1, 1, 1, 1, 1, 1),
    }  # fmt: skip
    return Sample(
        "C", "stamp", "stamp", start_s * 10**9, 10**9, SampleState.OK, packets=packets,
        quality=Quality(clock_synchronised=True, clock_error_ns=start_s),
        forward=OneWay(**(given | way)), backward=OneWay(**(given | way)),  # type: ignore[arg-type]
        residence=Residence(n, n * start_s, 1, start_s),
    )  # fmt: skip


def test_samples_add_up_and_withheld_ones_give_no_delay() -> None:
    total = directions.totals(
        [sample(1, [2, 4, None]), sample(2, [900, 900], withheld="the far clock is not synchronised", delay=None)]
    )
    assert total.forward is not None
    assert total.backward is not None
    assert total.forward.delay is not None
    assert (total.forward.delay.count, total.forward.delay.minimum_ns, total.forward.delay.maximum_ns) == (
        2,
        2 * MS,
        4 * MS,
    )
    assert (total.forward.sent, total.forward.lost, total.forward.stamped) == (5, 0, 5)
    assert total.forward.withheld == "the far clock is not synchronised"
    assert total.forward.variation is not None
    assert total.forward.variation.ipdv_pairs == 3
    assert total.residence == Residence(5, 3 + 4, 1, 2)
    assert total.clock_error_ns == 2
    said = directions.lines(total, milliseconds)
    assert "forward delay withheld: the far clock is not synchronised" in said
    assert any(line.startswith("forward min/mean/p50/p95/p99/max = 2.000/3.000/") for line in said)


def test_a_direction_that_one_sample_does_not_know_is_not_known() -> None:
    total = directions.totals([sample(1, [2, 4]), sample(2, [3, 3], sent=None, lost=None)])
    assert total.forward is not None
    assert total.forward.sent is total.forward.lost is None
    assert "forward: loss not known" in directions.lines(total, milliseconds)[0]


def test_kinds_without_a_far_clock_have_none_of_it() -> None:
    plain = Sample("C", "icmp", "icmp", 0, 1, SampleState.OK)
    assert directions.lines(directions.totals([plain]), milliseconds) == []
    found = directions.documents(directions.totals([plain]), lambda _: {}, lambda _: {})
    assert found == {"forward": None, "backward": None, "residence": None}
