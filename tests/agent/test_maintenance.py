"""The ledger of maintenance: what notices, confirmations, moves and cancellations come to."""

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent import contract_files, ledger, maintenance_ledger
from agent.cli.maintenance_import import identity
from agent.document import DocumentError
from agent.ledger import LedgerError
from agent.sla.exclusion.exclusions import Standing, rule
from agent.sla.exclusion.maintenance import Book, MaintenanceError, Notice, affected
from agent.sla.judge import judge
from agent.sla.terms.contract import Contract, Metric
from agent.sla.time.calendar import parse_instant as ns
from agent.sla.time.spans import Spans
from probes.core.errors import LocalError
from tests.fakes.columns import SECOND
from tests.fakes.contracts import CIRCUIT, contract, objective, series

DAY = 86400 * SECOND
START, END = ns("2026-11-05T01:00:00Z"), ns("2026-11-05T03:00:00Z")
SENT = ns("2026-10-20T00:00:00Z")
NOW = ns("2026-11-20T00:00:00Z")
HOUR = 3600 * SECOND
FIRST = Notice("Carrier", "CHG-1", "CONFIRMED", START, END, "OUTAGE", (("c1", "OUTAGE"),), 0, SENT, "uid-1")


def noticed(notice: Notice, circuits: tuple[str, ...] = ("c1",), received_ns: int | None = None) -> dict[str, Any]:
    told = notice.stamped_ns if received_ns is None else received_ns
    return {
        "do": "notice", "id": notice.maintenance, "notice": notice.values(), "kind": "maintenance", "reason": "work",
        "circuits": list(circuits), "received_ns": told, "evidence": "notices/x.ics",
    }  # fmt: skip


def confirm(name: str = "CHG-1", **more: object) -> dict[str, Any]:
    return {"do": "confirm", "id": name, "role": "customer", **more}


def book(*deeds: tuple[int, dict[str, Any]]) -> Book:
    """Entries by their time in days after the first notice, as they come back from JSON."""
    found = Book()
    for day, content in deeds:
        found.take(json.loads(json.dumps(content)), at_ns=SENT + day * DAY, by="J. Smith")
    return found


def out(found: Book, now_ns: int = NOW) -> list[tuple[int, int]]:
    """What is out by it in November on c1, by a contract without terms; hours after 2026-11-05 00:00."""
    signed = contract(exclusions=found.exclusions("test"))
    ruling = rule(signed, "c1", start_ns=ns("2026-11-01T00:00:00Z"), end_ns=ns("2026-12-01T00:00:00Z"), now_ns=now_ns)
    begin = ns("2026-11-05T00:00:00Z")
    return [((start - begin) // HOUR, (end - begin) // HOUR) for start, end in ruling.time]


def moved(hours: tuple[float, float], day: int = 3, **more: object) -> Notice:
    begin = ns("2026-11-05T00:00:00Z")
    values = {"sequence": 1, "stamped_ns": SENT + day * DAY} | more
    return replace(FIRST, start_ns=begin + int(hours[0] * HOUR), end_ns=begin + int(hours[1] * HOUR), **values)  # type: ignore[arg-type]


def test_nothing_imported_is_out_until_somebody_confirms_it() -> None:
    assert out(book((0, noticed(FIRST)))) == []
    agreed = book((0, noticed(FIRST)), (1, confirm()))
    assert out(agreed) == [(1, 3)]
    (version,) = agreed.works["CHG-1"].versions
    assert (version.confirmed_by, version.confirmed_role) == ("J. Smith", "customer")
    assert out(agreed, now_ns=SENT + DAY - 1) == [], "what was agreed later was not known then"
    rejected = book((0, noticed(FIRST)), (1, confirm()), (2, {"do": "reject", "id": "CHG-1", "reason": "too often"}))
    assert out(rejected) == []
    assert rejected.works["CHG-1"].newest.rejected == "by J. Smith: too often"
    assert [deed.words for deed in rejected.works["CHG-1"].history][-1] == "CHG-1 rejected: too often"


def test_a_notice_without_impact_takes_nothing_out_even_confirmed() -> None:
    assert out(book((0, noticed(replace(FIRST, impact="NO-IMPACT"))), (1, confirm()))) == []


def test_a_notice_for_no_circuit_of_ours_bears_on_nothing() -> None:
    found = book((0, noticed(FIRST, ())), (1, confirm()))
    assert found.exclusions("test") == ()


@pytest.mark.parametrize(
    ("later", "confirmed_again", "expected", "versions"),
    [
        # A revision that changes nothing but the state keeps the confirmation.
        (moved((1, 3), status="IN-PROCESS"), False, [(1, 3)], 1),
        (moved((1, 3), status="CANCELLED"), False, [], 1),
        (moved((1, 3), status="RESCHEDULED"), False, [], 1),
        # Moved away: the old time is called off, the new one is a proposal of its own.
        (moved((5, 7)), False, [], 2),
        (moved((5, 7), status="RESCHEDULED"), True, [(5, 7)], 2),
        (moved((2, 4)), False, [], 2),
        (moved((2, 4)), True, [(2, 4)], 2),
        # Extended: what was announced stays announced. Shortened: it ends with the new end.
        (moved((1, 5)), False, [(1, 3)], 2),
        (moved((1, 5)), True, [(1, 5)], 2),
        (moved((0, 2)), False, [(1, 3)], 2),
        # No impact any more, or for other circuits: the old time is called off.
        (moved((1, 3), impact="NO-IMPACT"), False, [], 2),
    ],
)  # fmt: skip
def test_later_notices(later: Notice, confirmed_again: bool, expected: list[tuple[int, int]], versions: int) -> None:
    deeds = [(0, noticed(FIRST)), (1, confirm()), (3, noticed(later))]
    if confirmed_again:
        deeds.append((4, confirm()))
    found = book(*deeds)
    if later.start_ns < START and later.end_ns < END:
        expected = [(1, 2)]
    assert out(found) == expected
    assert len(found.works["CHG-1"].versions) == versions
    assert found.works["CHG-1"].notice == later


def test_work_that_is_extended_while_it_goes_on_keeps_what_was_announced() -> None:
    during = moved((1, 6), stamped_ns=START + HOUR)
    found = book((0, noticed(FIRST)), (1, confirm()), (16, noticed(during)))
    assert out(found) == [(1, 3)]
    new = found.works["CHG-1"].newest
    assert (new.notified_ns, new.proposed, new.confirmed_by) == (START + HOUR, True, "")


def test_called_off_by_hand_before_and_during() -> None:
    for hours, expected in ((-2, []), (1, [(1, 2)])):
        deed = {"do": "cancel", "id": "CHG-1", "cancelled_ns": START + hours * HOUR}
        assert out(book((0, noticed(FIRST)), (1, confirm()), (20, deed))) == expected
    with pytest.raises(MaintenanceError, match="later than now"):
        book((0, noticed(FIRST)), (1, {"do": "cancel", "id": "CHG-1", "cancelled_ns": NOW}))


def test_by_hand_in_time_holds_and_afterwards_needs_a_name() -> None:
    entry = {"do": "add", "id": "M-1", "start_ns": START, "end_ns": END, "kind": "customer", "reason": "power off",
             "circuits": [], "contract": "test", "notified_ns": None, "evidence": ""}  # fmt: skip
    assert out(book((1, entry))) == [(1, 3)]
    late = book((20, entry))
    assert out(late) == []
    assert out(book((20, entry), (21, confirm("M-1")))) == [(1, 3)]
    assert late.exclusions("another") == ()
    move = {"do": "move", "id": "M-1", "start_ns": END, "end_ns": END + HOUR, "notified_ns": SENT + 2 * DAY}
    gone = book((1, entry), (2, move))
    assert out(gone) == [(3, 4)]
    assert [version.id for version in gone.works["M-1"].versions] == ["M-1", "M-1.2"]
    back = {**confirm("M-1"), "version": 1}
    assert book((1, entry), (2, move), (3, back)).works["M-1"].versions[0].confirmed_by == "J. Smith"


def test_older_sequences_are_refused_and_later_ones_win() -> None:
    second = replace(FIRST, sequence=1, stamped_ns=SENT + DAY, end_ns=END + HOUR)
    found = book((0, noticed(FIRST)), (1, noticed(second)))
    assert found.weigh(second) == "known"
    assert found.weigh(replace(second, uid="another")) == "known"
    assert found.weigh(replace(second, sequence=2, end_ns=END)) == "later"
    assert found.weigh(replace(second, stamped_ns=SENT + 2 * DAY, end_ns=END)) == "later"
    assert found.weigh(replace(FIRST, maintenance="CHG-2")) == "new"
    for older, told in (
        (FIRST, "has sequence 0, and 1 is known already"),
        (replace(second, stamped_ns=SENT, end_ns=END), "has sequence 1 as what is known, and an earlier time stamp"),
        (replace(second, end_ns=END), "contradicts what is known under the same sequence 1 and time stamp"),
    ):
        with pytest.raises(MaintenanceError, match=told):
            found.weigh(older)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"do": "dance"}, "'dance' is nothing that is done"),
        ({"do": ["add"]}, "is nothing that is done"),
        ({"do": "confirm"}, "the entry `confirm` lacks something"),
        (confirm("CHG-7"), "there is no maintenance CHG-7"),
        (confirm(version=2), "CHG-1 has no version 2"),
        ({"do": "move", "id": "CHG-1", "start_ns": 2, "end_ns": 1, "notified_ns": None}, "ends no later"),
        ({"do": "move", "id": "CHG-1", "start_ns": "x", "end_ns": 1, "notified_ns": None}, "lacks something"),
        ({**noticed(FIRST), "notice": {}}, "lacks something"),
        ({**noticed(FIRST), "kind": "holiday"}, "lacks something"),
        ({"do": "add", "id": "CHG-1", "start_ns": 1, "end_ns": 2, "kind": "customer", "reason": "", "circuits": ["c"],
          "notified_ns": None, "evidence": ""}, "there is a maintenance CHG-1 already"),
        ({"do": "add", "id": "N", "start_ns": 1, "end_ns": 2, "kind": "customer", "reason": "", "circuits": [],
          "notified_ns": None, "evidence": ""}, "for no circuit and no contract"),
    ],
)  # fmt: skip
def test_what_cannot_follow_is_refused(content: dict[str, Any], told: str) -> None:
    with pytest.raises(MaintenanceError, match=told):
        book((0, noticed(FIRST)), (1, content))


def test_objects_are_circuits_by_name_or_label() -> None:
    known = {"AMS-1": ("Carrier-77", "gold"), "FRA-1": ("carrier-78",)}
    notice = replace(
        FIRST, objects=(("ams-1", "OUTAGE"), ("CARRIER-78", "NO-IMPACT"), ("other", "OUTAGE"), ("carrier-77", "OUTAGE"))
    )
    assert affected(notice, known) == (("AMS-1",), ("other",))
    harmless = replace(notice, impact="NO-IMPACT")
    assert affected(harmless, known) == (("AMS-1", "FRA-1"), ("other",))


def test_names_are_safe_and_free() -> None:
    found = book((0, noticed(FIRST)))
    assert identity(found, replace(FIRST, maintenance="WO 12/34 ä")) == "WO-12-34"
    assert identity(found, replace(FIRST, provider="Other Net")) == "Other-Net-CHG-1"
    assert identity(found, replace(FIRST, maintenance="///")) == "notice"


# --- beside the contracts ---------------------------------------------------------------------------------------------

CONTRACT = """
id: basic
version: "1"
provider: P
customer: C
time_zone: UTC
objectives: [{id: loss, metric: loss, target: 1 %}]
"""
LEDGER = """exclusions:
  - {id: E-1, start: 2026-11-06T01:00:00Z, end: 2026-11-06T02:00:00Z, reason: r, entered_at: 2026-11-01T00:00:00Z,
     kind: customer, notified_at: 2026-11-01T00:00:00Z, evidence: a mail, cancelled_at: 2026-11-06T01:30:00Z,
     confirmed_by: J. Smith, confirmed_role: customer}
"""


@pytest.fixture
def contracts(tmp_path: Path) -> Path:
    (tmp_path / "basic.yaml").write_text(CONTRACT)
    return tmp_path


def test_both_ledgers_come_together_under_one_digest(contracts: Path) -> None:
    maintenance_ledger.enter(contracts, noticed(FIRST), at_ns=SENT, by="import")
    done = maintenance_ledger.enter(contracts, confirm(), at_ns=SENT + DAY, by="J. Smith")
    assert done.newest.confirmed_by == "J. Smith"
    alone = contract_files.load(contracts)["basic"]
    assert [item.id for item in alone.exclusions] == ["CHG-1"]
    last = ledger.read(contracts / maintenance_ledger.FILE)[-1]
    assert alone.exclusions_digest == last.sha256
    (contracts / "exclusions").mkdir()
    (contracts / "exclusions" / "basic.yaml").write_text(LEDGER)
    both = contract_files.load(contracts)["basic"]
    assert [item.id for item in both.exclusions] == ["E-1", "CHG-1"]
    assert both.exclusions[0].cancelled_ns == ns("2026-11-06T01:30:00Z")
    assert (both.exclusions[0].kind, both.exclusions[0].confirmed_role) == ("customer", "customer")
    written = hashlib.sha256(LEDGER.encode()).hexdigest()
    assert both.exclusions_digest == hashlib.sha256(f"{written}\n{last.sha256}\n".encode()).hexdigest()


def test_what_cannot_follow_is_not_written(contracts: Path) -> None:
    with pytest.raises(MaintenanceError, match="there is no maintenance CHG-1"):
        maintenance_ledger.enter(contracts, confirm(), at_ns=SENT, by="J. Smith")
    assert ledger.read(contracts / maintenance_ledger.FILE) == []
    with pytest.raises(LocalError, match="there is no directory"):
        maintenance_ledger.enter(contracts / "none", confirm(), at_ns=SENT, by="J. Smith")


def test_a_changed_ledger_is_told_with_the_mistakes_of_the_contracts(contracts: Path) -> None:
    path = contracts / maintenance_ledger.FILE
    for content in (noticed(FIRST), confirm()):
        maintenance_ledger.enter(contracts, content, at_ns=SENT, by="J. Smith")
    path.write_bytes(path.read_bytes().replace(b'"J. Smith"', b'"J. Smyth"', 1))
    with pytest.raises(DocumentError) as refused:
        contract_files.load(contracts)
    assert f"{path}:1:1: this line is not as it was written" in str(refused.value)
    path.unlink()
    ledger.append(path, {"do": "confirm", "id": "none"}, at_ns=SENT, by="somebody")
    with pytest.raises(DocumentError) as refused:
        contract_files.load(contracts)
    assert f"{path}:1:1: there is no maintenance none" in str(refused.value)
    with pytest.raises(LedgerError):
        maintenance_ledger.load(contracts)


def test_a_notice_is_kept_as_it_came(contracts: Path) -> None:
    data = b"BEGIN:VCALENDAR\r\n\xff"
    name = maintenance_ledger.keep(contracts, data)
    assert name == f"notices/{hashlib.sha256(data).hexdigest()}.ics"
    assert maintenance_ledger.keep(contracts, data) == name
    assert [path.name for path in (contracts / "notices").iterdir()] == [name.removeprefix("notices/")]
    assert (contracts / name).read_bytes() == data


# --- invariants -------------------------------------------------------------------------------------------------------


def a_story(seed: int, *, confirms: bool) -> Book:
    """Random deeds, those that are refused left out."""
    chance = random.Random(seed)
    found = Book()
    for step in range(chance.randint(1, 12)):
        begin = START + chance.randint(-6, 6) * HOUR
        times = {"start_ns": begin, "end_ns": begin + chance.randint(1, 4) * HOUR}
        name = chance.choice(("CHG-1", "CHG-2"))
        at = chance.choice((SENT + step * DAY, START - 7 * HOUR + step * HOUR))
        deeds: list[dict[str, Any]] = [
            noticed(replace(FIRST, maintenance=name, sequence=step, status=chance.choice(("CONFIRMED", "CANCELLED")),
                            **times), received_ns=at),
            {"do": "move", "id": name, "notified_ns": at, **times},
            {"do": "cancel", "id": name},
            {"do": "reject", "id": name, "reason": "no"},
        ]  # fmt: skip
        deeds += [confirm(name)] * 2 if confirms else []
        try:
            found.take(chance.choice(deeds), at_ns=at, by="J. Smith")
        except MaintenanceError:
            continue
    return found


def test_no_story_without_a_confirmation_changes_any_verdict(figure: Callable[[str], None]) -> None:
    promises = (objective(Metric.AVAILABILITY, "0.9"), objective(Metric.LOSS, "0.1"))

    def judged(signed: Contract) -> list[object]:
        verdicts = judge(signed, CIRCUIT, samples, now_ns=START + 20 * HOUR, measured_since_ns=START)
        return [(item.state, item.value, item.best, item.worst, item.coverage) for item in verdicts]

    samples = {"icmp": series(START, "..HHHHHH....." * 20)}
    plain = judged(contract(*promises))
    for seed in range(60):
        found = a_story(seed, confirms=False)
        assert judged(contract(*promises, exclusions=found.exclusions("test"))) == plain, seed
    changed = [judged(contract(*promises, exclusions=a_story(seed, confirms=True).exclusions("test"))) != plain
               for seed in range(60)]  # fmt: skip
    assert any(changed), "with confirmations some do"
    figure(f"maintenance: 60 stories without a confirmation change 0 verdicts, with confirmations {sum(changed)} of 60")


def test_whatever_happens_only_confirmed_time_is_out_and_the_order_of_versions_is_of_no_account(
    figure: Callable[[str], None],
) -> None:
    entries = 0
    for seed in range(400):
        found = a_story(seed, confirms=True)
        versions = found.exclusions("test")
        ruling = rule(contract(exclusions=versions), "c1", start_ns=0, end_ns=2**62, now_ns=NOW)
        other = rule(contract(exclusions=versions[::-1]), "c1", start_ns=0, end_ns=2**62, now_ns=NOW)
        assert list(ruling.time) == list(other.time)
        agreed = Spans.of((item.start_ns, item.end_ns) for item in versions if item.confirmed_by)
        assert not len(ruling.time - agreed)
        entries += len(ruling.entries)
        for entry in ruling.entries:
            assert entry.standing is not Standing.APPLIED or entry.exclusion.confirmed_by
    figure(f"maintenance: 400 stories, {entries:,} entries that overlap or come afterwards: each time out once")
