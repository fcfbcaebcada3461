"""The agent as a user who may not send ICMP, in a network namespace of its own: told with the remedy, never fatal."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from probes.core.model import SampleState
from tests.agent.running import Agent, circuit, reflector, tcp, udp, write

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]
ECHO, RESPONDER = 8620, 8621
"""free in a namespace of its own"""


def test_what_this_user_may_not_do_is_marked_with_the_remedy_and_all_else_runs(tmp_path: Path) -> None:
    icmp = {"kind": "icmp", "every": "100ms", "timeout": "500ms"}
    config = write(
        tmp_path / "a",
        [
            circuit("echo", udp(ECHO)), circuit("connect", tcp(RESPONDER)), circuit("ping", icmp),
            circuit("ping6", icmp, target="::1"),
        ],
        reflector=reflector(ECHO, RESPONDER),
    )  # fmt: skip
    for package in ("agent", "probes"):
        shutil.copytree(ROOT / package, tmp_path / "a" / package)
    _hand_over(tmp_path, "nobody")
    # A fresh namespace has net.ipv4.ping_group_range closed; nobody has no capability.
    enter = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
    become = ("setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "env", f"PYTHONPATH={tmp_path}/a")
    with Agent(config, through=(*enter, *become)) as run:
        run.line("echo/udp ok", count=3)
        run.line("connect/tcp ok")
        (told, *_) = run.line("ping/icmp invalid")
        assert "ping_group_range" in told or "CAP_NET_RAW" in told
        assert "(hint: " in told
        run.line("ping6/icmp invalid")
        assert run.end(signal.SIGINT) == 0, run.text
        assert "Traceback" not in run.text
        with run.reader() as reader:
            assert reader.read("echo", "udp", ("lost",), 0, 2**62).column("lost").sum() == 0
            refused = reader.read("ping", "icmp", ("sent",), 0, 2**62)
            assert set(refused.state.tolist()) == {SampleState.INVALID.code}
            ends = (refused.start_ns + refused.span_ns).tolist()
            assert ends[:-1] == refused.start_ns[1:].tolist(), "not being allowed leaves no gap either"


def _hand_over(folder: Path, user: str) -> None:
    """Everything in the folder belongs to this user, who may get there."""
    for place in (folder, *folder.parents):
        if (
            place.stat().st_uid == os.geteuid()
            and place != Path(place.root)
            and place.name.startswith(("pytest", "popen"))
        ):
            place.chmod(0o755)
    folder.chmod(0o755)
    shutil.chown(folder, user)
    for path in folder.rglob("*"):
        shutil.chown(path, user)
