"""`linkwitness maintenance`: from a carrier's notice to what it is worth by each contract."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from agent import ledger
from agent.cli.main import run as run_main
from agent.cli.maintenance import app

CONFIG = """site: here
store: {path: store}
contracts: contracts
circuits:
  - {name: AMS-1, target: 192.0.2.9, contract: basic, labels: {carrier_id: XC-77}, probes: [{kind: icmp}]}
  - {name: FRA-1, target: 192.0.2.10, contract: basic, probes: [{kind: icmp}]}
"""
CONTRACT = """id: basic
version: "1"
provider: P
customer: C
time_zone: UTC
objectives: [{id: loss, metric: loss, target: 1 %}]
"""
NOTICE = """BEGIN:VCALENDAR
BEGIN:VEVENT
SUMMARY:Fibre repair
DTSTART:{start:%Y%m%dT%H%M%SZ}
DTEND:{end:%Y%m%dT%H%M%SZ}
DTSTAMP:20260101T000000Z
UID:42
SEQUENCE:{sequence}
X-MAINTNOTE-PROVIDER:Carrier
X-MAINTNOTE-ACCOUNT:7
X-MAINTNOTE-MAINTENANCE-ID:CHG-1
X-MAINTNOTE-IMPACT:OUTAGE
X-MAINTNOTE-OBJECT-ID:xc-77
X-MAINTNOTE-OBJECT-ID:XC-99
X-MAINTNOTE-STATUS:{status}
END:VEVENT
END:VCALENDAR
"""
SOON = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(days=2)


class Site:
    """A configuration with its contracts."""

    def __init__(self, home: Path) -> None:
        self.home, self.config, self.contracts = home, home / "agent.yaml", home / "contracts"
        self.config.write_text(CONFIG)
        self.contracts.mkdir()
        (self.contracts / "basic.yaml").write_text(CONTRACT)

    def do(self, *words: object, code: int = 0) -> Result:
        done = CliRunner().invoke(app, [*map(str, words), "-c", str(self.config)])
        assert done.exit_code == code, done.output
        return done

    def read(self, *words: object) -> Any:
        return json.loads(self.do(*words, "--json").stdout)

    def notice(self, hours: int = 2, sequence: int = 0, status: str = "CONFIRMED") -> Path:
        path = self.home / f"n{sequence}.ics"
        text = NOTICE.format(start=SOON, end=SOON + timedelta(hours=hours), sequence=sequence, status=status)
        path.write_text(text)
        return path

    def entries(self) -> list[Any]:
        return self.read("list")["entries"]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_from_a_notice_to_excluded_time(site: Site) -> None:
    told = site.do("import", site.notice()).stdout
    assert told == (
        "CHG-1: notice 0, confirmed; AMS-1; outage; proposed: excludes nothing until it is confirmed; "
        "unknown here: XC-99\n"
    )
    (entry,) = site.entries()
    assert (entry["circuits"], entry["standing"], entry["applied_ns"]) == (["AMS-1"], "proposed", 0)
    assert entry["sentence"] == "not applied: imported and confirmed by nobody"
    assert "known already" in site.do("import", site.notice()).stdout
    done = site.do("confirm", "CHG-1", "--by", "J. Smith", "--role", "customer")
    assert "outage; confirmed by J. Smith for the customer" in done.stdout
    (entry,) = site.entries()
    assert (entry["standing"], entry["applied_ns"]) == ("applied", 2 * 3600 * 10**9)
    assert entry["evidence"].startswith("notices/")
    assert (site.contracts / entry["evidence"]).read_bytes() == site.notice().read_bytes()
    assert "2 h" in site.do("list").stdout


def test_a_later_notice_and_one_that_comes_late(site: Site) -> None:
    site.do("import", site.notice())
    site.do("confirm", "CHG-1", "--by", "J. Smith")
    document = site.read("import", site.notice(sequence=2, status="CANCELLED"), site.notice(hours=4, sequence=1))
    later, late = document["notices"]
    assert later["outcome"] == "notice 2, cancelled: called off by the provider"
    assert late["outcome"].startswith("not taken: the notice on CHG-1 of Carrier has sequence 1, and 2 is known")
    assert document["failed"] is False
    assert [entry["standing"] for entry in site.entries()] == ["cancelled"]
    shown = site.read("show", "CHG-1")
    assert (shown["notice"]["sequence"], shown["notice"]["status"]) == (2, "CANCELLED")
    assert [deed["by"] for deed in shown["history"]] == ["import", "J. Smith", "import"]
    assert "called off by the provider" in site.do("show", "CHG-1").stdout


def test_by_hand_move_reject_and_what_is_refused(site: Site) -> None:
    start, end = SOON.isoformat(), (SOON + timedelta(hours=1)).isoformat()
    words = ("add", "--id", "M-1", "--start", start, "--end", end, "--reason", "power off", "--by", "me")
    site.do(*words, code=1)
    site.do(*words, "--circuit", "none", code=2)
    site.do(*words, "--circuit", "FRA-1", "--kind", "customer")
    assert site.entries()[0]["standing"] == "applied"
    site.do(*words, "--circuit", "FRA-1", code=1)
    later = (SOON + timedelta(hours=5)).isoformat()
    site.do("move", "M-1", "--start", end, "--end", later, "--by", "me", "--notified", later, code=2)
    site.do("move", "M-1", "--start", end, "--end", later, "--by", "me")
    assert {item["id"]: item["standing"] for item in site.entries()} == {"M-1": "cancelled", "M-1.2": "applied"}
    site.do("reject", "M-1.2", "--by", "J. Smith", "--reason", "not agreed")
    assert {item["id"]: item["standing"] for item in site.entries()} == {"M-1": "cancelled", "M-1.2": "rejected"}
    site.do("confirm", "M-2", "--by", "J. Smith", code=1)
    site.do("confirm", "M-1", "--by", "J. Smith", "--role", "king", code=2)
    site.do("confirm", "M-1", "--by", " ", code=2)
    site.do("cancel", "M-1.2", "--by", "me", "--at", later, code=1)
    site.do("add", "--id", "a b", *words[3:], "--circuit", "FRA-1", code=2)
    assert len(ledger.read(site.contracts / "maintenance.jsonl")) == 3


def test_a_malformed_file_is_told_and_the_others_are_taken(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    bad = site.home / "bad.ics"
    bad.write_text(site.notice().read_text().replace("SEQUENCE:0", "RRULE:FREQ=DAILY"))
    done = site.do("import", bad, site.home / "none.ics", site.notice(), code=1)
    assert f"{bad}:8: the event repeats (RRULE)" in done.stderr
    assert "cannot read" in done.stderr
    assert done.stdout.startswith("CHG-1: notice 0")
    assert len(list((site.contracts / "notices").iterdir())) == 1, "what is refused is not kept"
    assert run_main(["maintenance", "show", "none", "-c", str(site.config)]) == 1
    assert capsys.readouterr().err.splitlines()[0] == "error: there is no maintenance none"


def test_a_notice_that_names_none_of_the_circuits_is_listed(site: Site) -> None:
    path = site.notice()
    path.write_text(path.read_text().replace("xc-77", "xc-78"))
    site.do("import", path)
    document = site.read("list")
    assert document["entries"] == []
    assert [item["id"] for item in document["for_no_circuit"]] == ["CHG-1"]
    assert "CHG-1 names no circuit of this site: xc-78, XC-99" in site.do("list").stdout


def test_nothing_at_all(site: Site) -> None:
    assert site.do("list").stdout == "no maintenance is known\n"
    assert site.read("list")["entries"] == []
    site.do("list", "--month", "2026-13", code=1)
