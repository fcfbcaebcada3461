"""The engine beside fping on the same path at the same time: by the log, and by each other."""

from collections.abc import Callable

import numpy as np
import pytest

from tests.lab.namespaces import Lab
from tests.lab.reported import MS, Running, stream

pytestmark = [pytest.mark.root, pytest.mark.serial]


@pytest.mark.parametrize("family", [4, 6], ids=["ipv4", "ipv6"])
def test_fping_and_the_engine_agree(make_lab: Callable[..., Lab], family: int) -> None:
    """Losses are the log's for both, fping's packets told from ours by their ICMP identifier; medians within 0.1 ms."""
    lab = make_lab(forward={"delay_ns": 10 * MS, "loss": 0.05}, backward={"delay_ns": 10 * MS}, seed="peers")
    running = Running(lab, [stream(lab, "icmp", family, every_ns=25 * MS, limit=200)])
    words = ["fping", f"-{family}", "-q", "-C", "200", "-p", "25", "-t", "1000", lab.far.address(family)]
    theirs = lab.near.run(words, check=False).stderr.split(" : ", 1)[1].split()
    reported = running.finish().streams[f"icmp{family}"]
    log = lab.log().select(family=family, protocol="icmp")
    identifiers = np.unique(log.select(icmp="request").frames["identifier"])
    flows = [log.select(identifier=int(value)).echo() for value in identifiers]
    fates = [(flow.fate == "answered").tolist() for flow in flows]
    assert len(fates) == 2
    assert reported.answered().tolist() in fates
    assert [word != "-" for word in theirs] in fates
    assert reported.count("lost") + theirs.count("-") == sum(flow.lost for flow in flows) > 0
    own = np.median(reported.rtt_ns()) / MS
    assert abs(own - np.median([float(word) for word in theirs if word != "-"])) < 0.1
    assert min(abs(own - np.median(flow.rtt_ns[flow.rtt_ns >= 0]) / MS) for flow in flows) < 0.1
