"""Contract files: what is accepted means exactly what it says; what is refused is told at its place."""

import contextlib
import copy
import errno
import json
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
import yamlcore
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import contract_files, document
from agent.config import load
from agent.contract_language.statistic_section import STATISTICS
from agent.document import DocumentError
from agent.sla.samples.feeds import mismatches
from agent.sla.terms.contract import JitterDefinition, Metric, StatisticType, Unit, Window
from agent.sla.terms.incidents import Stamp
from agent.sla.terms.money import Money
from agent.sla.terms.objective import unit_of
from agent.sla.terms.remedies import ClaimTerms, CreditUnit, Deadline
from probes.core import catalog
from probes.core.errors import LocalError

ROOT = Path(__file__).parents[2]
REJECTS = Path(__file__).parent / "contract_rejects"
EXAMPLES = ROOT / "config" / "contracts"

SMALL = """
id: small
version: "7"
provider: ExampleTel
customer: ACME
time_zone: Europe/Berlin
objectives:
  - {id: loss, metric: loss, target: 0.1 %}
"""


@pytest.mark.parametrize("path", sorted(REJECTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_wrong_contract_is_refused_with_exactly_this_message(path: Path) -> None:
    expected = path.with_suffix(".expected").read_text().replace("KINDS", ", ".join(catalog.names()))
    with pytest.raises(DocumentError) as refused:
        contract_files.parse(path.read_text(), path.name)
    assert "\n".join(str(problem) for problem in refused.value.problems) + "\n" == expected


def test_every_reject_has_its_message_and_there_are_enough() -> None:
    assert {path.stem for path in REJECTS.glob("*.yaml")} == {path.stem for path in REJECTS.glob("*.expected")}
    assert len(list(REJECTS.glob("*.yaml"))) >= 200


def test_the_examples_load_and_keep_to_their_names() -> None:
    contracts = contract_files.load(EXAMPLES)
    assert {"gold-ethernet", "lan-gateway", "loopback"} <= set(contracts)
    assert all((EXAMPLES / f"{identity}.yaml").is_file() for identity in contracts)
    used = {objective.metric for contract in contracts.values() for objective in contract.objectives}
    assert {Metric.AVAILABILITY, Metric.RTT, Metric.JITTER, Metric.LOSS, Metric.THROUGHPUT} <= used


def test_the_default_configuration_can_be_judged_by_its_contracts() -> None:
    config = load(ROOT / "config" / "agent.yaml")
    contracts = contract_files.load(config.contracts)
    for circuit in config.circuits:
        assert circuit.contract is not None
        assert mismatches(contracts[circuit.contract], circuit, config.span_ns) == (), circuit.id


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_examples_fit_the_json_schema(path: Path) -> None:
    document = yaml.load(path.read_text(), Loader=yamlcore.CoreLoader)
    jsonschema.Draft202012Validator(contract_files.json_schema()).validate(document)


def test_gold_ethernet_means_what_it_says() -> None:
    gold = contract_files.load(EXAMPLES)["gold-ethernet"]
    assert (gold.valid_from, gold.valid_to) == (date(2026, 1, 1), date(2028, 12, 31))
    assert (gold.provider.id, gold.customer.id, gold.version) == ("ExampleTel", "ACME Corporation", "2026-01")
    assert len(gold.digest) == 64
    by_id = {objective.id: objective for objective in gold.objectives}
    availability = by_id["availability"]
    assert availability.target.value == Fraction(9995, 10000)
    assert (availability.statistic.dt_ns, availability.statistic.n, availability.statistic.c) == (
        10 * 10**9, 3, Fraction(1, 2),
    )  # fmt: skip
    assert availability.coverage.minimum == Fraction(95, 100)
    assert by_id["delay-p99"].statistic.p == Fraction(99, 100)
    assert by_id["delay-p99"].samples_needed == 100
    assert by_id["delay"].only_available_time
    assert by_id["delay-variation"].statistic.definition is JitterDefinition.PDV
    assert by_id["loss-day"].window == Window("day")
    rate = by_id["rate"]
    assert rate.target.of_committed_rate
    assert rate.target.value == Fraction(9, 10)
    assert rate.window == Window("quarter")
    assert rate.coverage.minimum == Fraction(80, 100)


def test_defaults() -> None:
    contract = contract_files.parse(SMALL, "small.yaml")
    objective = contract.objectives[0]
    assert objective.statistic.type is StatisticType.RATIO
    assert objective.window == Window("month")
    assert objective.coverage.minimum == Fraction(9, 10)
    assert objective.target.value == Fraction(1, 1000)
    assert contract.valid_from is None


@pytest.mark.parametrize(
    ("metric", "statistic", "written", "value"),
    [
        ("availability", "{type: availability_mef}", "99.9 %", Fraction(999, 1000)),
        ("availability", "{type: availability_mef}", "99.999999 %", Fraction(99999999, 100000000)),
        ("loss", "{type: ratio}", "0 %", Fraction(0)),
        ("loss", "{type: ratio}", "0.1%", Fraction(1, 1000)),
        ("rtt", "{type: mean}", "30ms", Fraction(30_000_000)),
        ("rtt", "{type: percentile, p: 99.9}", "1.5ms", Fraction(1_500_000)),
        ("jitter", "{type: mean, definition: rfc3550}", "250us", Fraction(250_000)),
        ("throughput", "{type: mean}", "95Mbit/s", Fraction(95_000_000)),
        ("throughput", "{type: minimum}", "87.5 % of committed_rate", Fraction(7, 8)),
    ],
)
def test_targets_are_exact(metric: str, statistic: str, written: str, value: Fraction) -> None:
    text = SMALL.replace(
        "{id: loss, metric: loss, target: 0.1 %}",
        f"{{id: x, metric: {metric}, statistic: {statistic}, target: {written}}}",
    )
    objective = contract_files.parse(text, "x.yaml").objectives[0]
    assert objective.target.value == value
    assert objective.target.text == written
    assert objective.statistic.p in (None, Fraction(999, 1000))


def test_the_digest_is_that_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SMALL)
    (tmp_path / "other.yml").write_text(SMALL.replace("id: small", "id: other"))
    (tmp_path / "notes.txt").write_text("not a contract")
    contracts = contract_files.load(tmp_path)
    assert set(contracts) == {"small", "other"}
    assert contracts["small"] == contract_files.parse(SMALL, "small.yaml")
    assert contracts["small"].digest != contracts["other"].digest


def test_all_files_are_checked_and_each_is_named_after_its_contract(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SMALL)
    (tmp_path / "b.yaml").write_text(SMALL)
    (tmp_path / "c.yaml").write_text(SMALL.replace("0.1 %", "200 %"))
    (tmp_path / "small.yml").write_text(SMALL)
    with pytest.raises(DocumentError) as refused:
        contract_files.load(tmp_path)
    assert {(Path(item.file).name, item.line, item.message) for item in refused.value.problems} == {
        ("b.yaml", 2, "the file of this contract must be named small.yaml: circuits find it by that name"),
        ("c.yaml", 8, "200 % is more than 100 %: loss is a share"),
        ("small.yml", 2, f"the contract 'small' is defined already in {tmp_path / 'small.yaml'}:2:5"),
    }


def test_no_directory_no_contracts(tmp_path: Path) -> None:
    assert contract_files.load(tmp_path / "none") == {}


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").mkdir()
    with pytest.raises(LocalError, match="cannot read"):
        contract_files.load(tmp_path)


def test_an_editors_lock_file_is_not_a_contract(tmp_path: Path) -> None:
    """Emacs links `.#NAME` to nowhere while a file is edited; a reload must not fail on it."""
    (tmp_path / ".#gold.yaml").symlink_to("somebody@host.4711")
    (tmp_path / ".gold.yaml.swp.yaml").write_text("nonsense")
    assert contract_files.load(tmp_path) == {}


def test_a_directory_that_may_not_be_read_is_told_and_not_taken_for_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(LocalError, match=f"cannot read {tmp_path}: Permission denied"):
        contract_files.load(tmp_path)


def test_the_published_schema_is_that_of_the_loader() -> None:
    published = json.loads((ROOT / "config" / "contract.schema.json").read_text("utf-8"))
    assert published == contract_files.json_schema()


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_examples_fit_the_published_schema(path: Path) -> None:
    jsonschema.validate(document.read(path.read_text(), path.name).data, contract_files.json_schema())


EVERYTHING = """
id: all
version: "1"
title: All keys
models: none
provider: {name: P, contacts: [noc@example.net], locale: en}
customer: C
parties: [{id: duct, role: third_party, name: Duct, contacts: [a]}]
time_zone: Europe/Berlin
valid_from: 2026-01-01
valid_to: 2028-12-31
service_start: 2026-01-15
service: {kind: e-line, class: gold, endpoints: [A, B], monthly_charge: "480.00 EUR", cir: 100Mbit/s, layer: L2,
  redundancy: {members: [a, b], k: 1}}
measurement: {record: theirs, method: m, point_a: A, point_b: B, packet_size: 200B, dscp: EF, timeout: 3s, note: n}
holidays: [2026-12-25, 2026-12-26]
hours: {any: [{days: Mon-Fri, from: "22:00", to: "06:00"}, {days: "Sat,Sun", from: "00:00", to: "24:00"}]}
month_basis: fixed_720h
window: {calendar: billing_month, billing_day: 15}
coverage: {minimum: 95 %, longest_gap: 6h, bridge: 30m, unknown: down}
exclusions:
  - {kind: maintenance, notice: 7d, hours: {days: Mon-Sun, from: "00:00", to: "06:00"}, allowance: 8h, per: month,
     evidence: true, approval: customer, effect: numerator_only, overlap: provider_wins}
clock: {start: ticket, stop: confirmed, earlier: true, pauses: [away], pause_cap: 4h, bridge: 10m}
objectives:
  - {id: up, metric: availability, target: 99.9 %, scope: {members: [a, b], aggregation: at_least, k: 1}}
  - {id: rtt, metric: rtt, statistic: {type: ratio_within, limit: 30ms, of: packets, lost: infinite}, target: 95 %,
     window: {fixed: 720h, anchor: 2026-01-01}, only_available_time: true, kind: icmp, exclusions: [maintenance]}
  - {id: mttr, metric: outage, statistic: {type: mttr, minimum_outage: 1m, join: 5m, clock: contract}, target: 4h,
     severities: [P1]}
  - {id: calls, metric: event, statistic: {type: ratio_within, limit: 20s}, target: 95 %, window: {rolling: 30d},
     events: {kind: call, start: rang, end: answered, hours: {days: Mon-Fri, from: "08:00", to: "18:00"},
     abandoned: late_if_over, pauses: [hold], pause_cap: 1m}}
credits:
  currency: EUR
  rounding: {places: 2, mode: half_even}
  stacking: highest
  caps: [{per: year, price: 3 days}]
  terms:
    - {id: pay, objective: up, basis: band, bands: [{from: 99 %, to: 99.9 %, credit: 10 %}, {to: 99 %, credit: 1/2}],
       caps: [{per: month, price: 100 %}], minimum: 5.00 EUR, automatic: true, cause: down}
    - {id: hours, basis: per_unit, unit: {step: 1h, started: false, deductible: 2h, each_incident: true}, price: 1 day}
    - id: each
      basis: per_event
      minimum_outage: 5m
      bands: [{from: 5m, to: 4h, credit: 5 %}, {from: 4h, credit: 10 %}]
claims: {within: 7 business days, after: ticket_close, ticket_within: 72h, channel: mail}
chronic:
  - {id: three, right: terminate, count: 3, minimum: 30m, within: 30d, exercise: {within: 30 days, after: incident_end}}
  - {id: missed, right: extra_credit, objective: up, missed_windows: 3, missed_of: 6, extra: 100 %}
notes: "the order form goes first"
"""


def test_everything_that_is_written_arrives() -> None:
    found = contract_files.parse(EVERYTHING, "all.yaml")
    assert (found.provider.id, found.provider.contacts) == ("P", ("noc@example.net",))
    assert found.service.monthly_charge == Money(Decimal("480.00"), "EUR")
    assert found.hours is not None
    assert found.hours.text == "Mon-Fri 22:00-06:00, Sat-Sun 00:00-24:00 Europe/Berlin, without holidays"
    assert {(min(day.weekdays), day.start_minute, day.end_minute) for day in found.hours.daily} == {
        (0, 1320, 1440), (1, 0, 360), (5, 0, 1440),
    }  # fmt: skip
    assert found.objectives[0].window == Window("billing_month", billing_day=15)
    assert found.objectives[1].statistic.limit == 30_000_000
    assert found.objectives[1].statistic.lost == "infinite"
    assert found.objectives[2].statistic.clock == "contract"
    assert found.objectives[3].events is not None
    assert found.objectives[3].statistic.limit == 20 * 10**9
    assert [(band.low, band.high) for band in found.credits[0].bands] == [
        (None, Fraction(99, 100)), (Fraction(99, 100), Fraction(999, 1000)),
    ]  # fmt: skip
    assert found.credits[0].bands[0].price.kind == "fraction"
    assert found.credits[1].unit == CreditUnit(Fraction(3600 * 10**9), False, Fraction(7200 * 10**9), True)
    assert found.claims == ClaimTerms(Deadline(7, True, "ticket_close"), 72 * 3600 * 10**9, "mail")
    assert found.chronic[1].missed_of == 6
    assert found.exclusion_terms[0].effect == "numerator_only"
    assert (found.clock.start, found.clock.stop, found.clock.bridge_ns) == (Stamp.TICKET, Stamp.CONFIRMED, 600 * 10**9)
    assert found.measurement.record == "theirs"


STRANGE: list[Any] = [None, True, 7, -1, 0.5, "x", "10 %", "1h", "", [], {}, [1], {"a": 1}, "99 %"]


@settings(max_examples=1000, deadline=None)
@given(st.data())
def test_a_contract_with_anything_taken_away_or_put_in_is_refused_or_loads(data: st.DataObject) -> None:
    """Whatever stands in the file: a contract, or problems with their place; never another error."""
    tree = copy.deepcopy(document.read(EVERYTHING, "all.yaml").data)
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, value in items:
            places.append((node, key))
            walk(value)

    walk(tree)
    for _ in range(data.draw(st.integers(1, 3))):
        node, key = data.draw(st.sampled_from(places))
        value = copy.deepcopy(data.draw(st.sampled_from(STRANGE)))
        if isinstance(node, dict) and data.draw(st.booleans()):
            node.pop(key, None)
        elif isinstance(node, dict) or key < len(node):
            node[key] = value
    with contextlib.suppress(DocumentError):
        contract_files.parse(json.dumps(tree), "all.yaml")


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 99_799), st.sampled_from([-1, 1]))
def test_a_hole_or_an_overlap_of_a_thousandth_is_found(edge: int, by: int) -> None:
    text = EVERYTHING.replace("[{from: 99 %, to: 99.9 %, credit: 10 %}, {to: 99 %, credit: 1/2}]",
                              f"[{{from: {edge / 1000:.3f} %, to: 99.9 %, credit: 10 %}}, "
                              f"{{to: {(edge - by) / 1000:.3f} %, credit: 1/2}}]")  # fmt: skip
    with pytest.raises(DocumentError) as refused:
        contract_files.parse(text, "all.yaml")
    word = "hole" if by > 0 else "overlaps"
    assert [problem for problem in refused.value.problems if word in problem.message]


LADDER = """credits:
  currency: EUR
  terms:
    - {id: pay, objective: loss, basis: band, bands: [BANDS]}
"""


def ladder(edges: list[int], *, gap: int = 0, at: int = 0) -> str:
    """Bands of loss from 0.1 % on, at these thousandths of a per cent; the band number `at` begins `gap` later."""
    bands = []
    for number, low in enumerate(edges):
        start = low + (gap if number == at else 0)
        end = f", to: {edges[number + 1] / 1000:.3f} %" if number + 1 < len(edges) else ""
        bands.append(f"{{from: {start / 1000:.3f} %{end}, credit: {number + 1} %}}")
    return SMALL + LADDER.replace("BANDS", ", ".join(reversed(bands)))


EDGES = st.lists(st.integers(102, 99_990), min_size=1, max_size=8, unique=True).map(lambda found: [100, *sorted(found)])


@settings(max_examples=100, deadline=None)
@given(EDGES, st.integers(0, 100_000))
def test_any_ladder_without_holes_loads_and_pays_each_breach_once(edges: list[int], value: int) -> None:
    (terms,) = contract_files.parse(ladder(edges), "small.yaml").credits
    assert sum(band.holds(Fraction(value, 100_000)) for band in terms.bands) == (value >= 100)


@settings(max_examples=100, deadline=None)
@given(EDGES, st.data())
def test_a_hole_of_one_thousandth_anywhere_in_a_ladder_is_found(edges: list[int], data: st.DataObject) -> None:
    text = ladder(edges, gap=1, at=data.draw(st.integers(0, len(edges) - 1)))
    with pytest.raises(DocumentError, match=r"leaves a hole .*line|ends at or below its start"):
        contract_files.parse(text + "surplus: 1\n", "small.yaml")


NEEDED = {"p": "95", "bin": "5m", "run": "1h", "span": "15m", "block": "5m", "tau": "1s"}
OF_METRIC = {
    Metric.LOSS: ("1 %", "1 %"), Metric.MOS: ("4.0", "4.0"), Metric.THROUGHPUT: ("50Mbit/s", "50Mbit/s"),
    Metric.AVAILABILITY: ("99.9 %", ""), Metric.OUTAGE: ("4h", ""), Metric.EVENT: ("2h", "20s"),
}  # fmt: skip
KEYS = {
    StatisticType.PERCENTILE: ("p",), StatisticType.BIN_MEAN: ("bin",), StatisticType.SUSTAINED: ("bin", "run"),
    StatisticType.MAX_WINDOW: ("span",), StatisticType.AVAILABILITY_BLOCKS: ("block",),
}  # fmt: skip
LIMITED = (StatisticType.RATIO_WITHIN, StatisticType.RATIO_OVER, StatisticType.SUSTAINED)


@pytest.mark.parametrize(("metric", "kind"), [(metric, kind) for metric, kinds in STATISTICS.items() for kind in kinds])
def test_every_statistic_of_every_metric_loads_with_no_more_than_it_needs(metric: Metric, kind: StatisticType) -> None:
    target, limit = OF_METRIC.get(metric, ("20ms", "30ms"))
    unit = unit_of(metric, kind)
    target = {Unit.RATIO: "99 %", Unit.COUNT: "0"}.get(unit, target)
    parts = [f"type: {kind}", *(f"{key}: {NEEDED[key]}" for key in KEYS.get(kind, ()))]
    parts += [f"limit: {limit}"] if kind in LIMITED else []
    parts += ["definition: ipdv"] if metric is Metric.JITTER and kind is StatisticType.PERCENTILE else []
    parts += ["direction: forward"] if metric is Metric.DELAY else []
    events = ", events: {kind: call}" if metric is Metric.EVENT else ""
    text = SMALL + (
        f"  - {{id: up, metric: availability, target: 99.9 %}}\n"
        f"  - {{id: x, metric: {metric}, statistic: {{{', '.join(parts)}}}, target: {target}{events}}}\n"
    )
    found = contract_files.parse(text, "small.yaml").objectives[2]
    assert (found.metric, found.statistic.type, found.unit) == (metric, kind, unit)


def test_a_rate_by_share_of_the_committed_one_may_have_bands() -> None:
    text = SMALL + (
        "  - {id: rate, metric: throughput, statistic: {type: mean}, target: 90 % of committed_rate}\n"
        + LADDER.replace("objective: loss", "objective: rate").replace(
            "BANDS", "{from: 50Mbit/s, to: 90Mbit/s, credit: 10 %}, {to: 50Mbit/s, credit: 25 %}"
        )
    )
    assert [band.high for band in contract_files.parse(text, "small.yaml").credits[0].bands] == [
        50_000_000, 90_000_000,
    ]  # fmt: skip


def test_an_excess_may_be_more_than_the_target() -> None:
    text = SMALL + LADDER.replace("basis: band", "basis: excess_relative").replace(
        "BANDS", "{to: 150 %, credit: 10 %}, {from: 150 %, credit: 25 %}"
    )
    assert contract_files.parse(text, "small.yaml").credits[0].bands[1].low == Fraction(3, 2)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("metric: loss", "metric: lossy"),
        ("target: 0.1 %", "goal: 0.1 %"),
        ("provider: ExampleTel\n", ""),
        ('version: "7"', 'version: "7"\nsurplus: 1'),
    ],
)
def test_a_wrong_contract_does_not_fit_the_published_schema(right: str, wrong: str) -> None:
    schema = json.loads((ROOT / "config" / "contract.schema.json").read_text("utf-8"))
    jsonschema.validate(document.read(SMALL, "small.yaml").data, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document.read(SMALL.replace(right, wrong), "small.yaml").data, schema)
