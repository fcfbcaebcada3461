"""From an assessment and its samples to the statement both parties get: pure, the same for the same input."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Final, Literal

from agent.report.statement import drawing, faults, figures, fingerprint, owed, results
from agent.report.statement.document import plain
from agent.report.statement.figures import clean
from agent.report.statement.model import Audience, Content, Digest, Header, Provenance, SeriesPrint, Statement
from agent.report.statement.rows import Fact, PartyRow, TimeAccount
from agent.report.statement.summary import SECTIONS, summary
from agent.sla.assessment import Assessment
from agent.sla.samples.columns import SampleColumns
from agent.sla.terms.contract import Contract
from agent.sla.time.zones import zone
from agent.sla.verdict import Verdict
from agent.sla.words.wording import RATE, quantity

_RECORDS: Final = {
    "ours": "this measurement",
    "theirs": "that of the provider; this measurement stands beside it",
    "agreed": "one that both parties agree on",
}


def build(
    assessment: Assessment,
    series: Mapping[str, SampleColumns] | Sequence[SampleColumns],
    *,
    software: str,
    audience: Audience,
    drawn: SampleColumns | None = None,
    command: str = "",
    source: str = "",
    files: Mapping[str, str] | None = None,
) -> Statement:
    """The statement of one circuit and period.

    series: all samples the judge was given. drawn: the stream to draw, where the judge was not given enough of it.
    software: name and version. command: what makes this report again. source: where the samples came from. files:
    SHA-256 by name of what else the report rests on.
    """
    given = list(series.values()) if isinstance(series, Mapping) else list(series)
    shown = drawn if drawn is not None else drawing.pick(given, assessment.circuit.id)
    period, as_of = assessment.period, assessment.as_of_ns
    exclusions = tuple(faults.exclusion(entry, period.zone) for entry in assessment.ruling.entries)
    ordered = sorted(assessment.incidents, key=lambda item: (item.start_ns, item.id))
    content = Content(
        header=_header(assessment),
        tally=results.tally(assessment.verdicts),
        results=tuple(results.result(verdict, as_of) for verdict in assessment.verdicts),
        trends=drawing.trends(assessment, shown),
        time=tuple(_time(assessment.verdicts, as_of)),
        exclusions=exclusions,
        incidents=tuple(faults.incident(item, number, period.zone) for number, item in enumerate(ordered, 1)),
        repair=faults.repair(assessment.repair),
        credit=owed.note(assessment.settlement, as_of),
        chronic=tuple(owed.chronic(finding) for finding in assessment.settlement.chronic),
        disputes=faults.disputes(assessment, exclusions),
        chart=drawing.chart(assessment, shown),
        methods=tuple(results.method(verdict) for verdict in _one_each(assessment.verdicts)),
        provenance=_provenance(assessment, given, drawn, software, files or {}),
    )
    return Statement(
        audience, summary(content, audience), SECTIONS[audience], content, content_sha256(content), clean(command),
        clean(source),
    )  # fmt: skip


def content_sha256(content: Content) -> str:
    """Of the JSON of the content: keys in the order of the alphabet, no spaces, UTF-8."""
    text = json.dumps(plain(content), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _header(assessment: Assessment) -> Header:
    contract, zone_name = assessment.contract, assessment.period.zone
    return Header(
        contract=clean(contract.id),
        version=clean(contract.version),
        title=clean(contract.title or contract.id),
        circuit=clean(assessment.circuit.id),
        period=figures.window(assessment.period, assessment.as_of_ns),
        as_of=figures.instant(assessment.as_of_ns, zone_name),
        first_sample=figures.perhaps(assessment.first_sample_ns, zone_name),
        parties=tuple(
            PartyRow(party.role.replace("_", " "), clean(party.name or party.id))
            for party in (contract.provider, contract.customer, *contract.others)
        ),
        facts=tuple(_facts(assessment)),
    )


def _facts(assessment: Assessment) -> Iterable[Fact]:
    contract, circuit = assessment.contract, assessment.circuit
    service, measurement = contract.service, contract.measurement
    rate = circuit.committed_rate_bps or service.cir_bps
    charge = assessment.settlement.charge
    points = " to ".join(item for item in (measurement.point_a, measurement.point_b) if item)
    lines = (
        ("Service", " ".join(item for item in (service.kind, service.service_class) if item)),
        ("Ends", " – ".join(service.endpoints)),
        ("Measured to", circuit.target),
        ("Measured from", circuit.site or ""),
        ("Committed rate", quantity(RATE, Fraction(rate)) if rate else ""),
        ("Monthly charge", str(charge) if charge else ""),
        ("Valid", _validity(contract)),
        ("Service hours", contract.hours.text or "as the contract states" if contract.hours else ""),
        ("Method", "; ".join(item for item in (measurement.method, points, measurement.note) if item)),
        ("Measured by", ", ".join(measurement.sources)),
        ("Final record", _RECORDS[measurement.record]),
        ("Modelled on", contract.models),
        ("Notes", contract.notes),
    )
    for label, text in lines:
        if text:
            yield Fact(label, clean(text))


def _validity(contract: Contract) -> str:
    if contract.valid_from is None and contract.valid_to is None:
        return ""
    start, end = contract.valid_from, contract.valid_to
    return f"{start.isoformat() if start else '…'} to {end.isoformat() if end else '…'}"


def _one_each(verdicts: Iterable[Verdict]) -> tuple[Verdict, ...]:
    """The last window of every objective: the others were computed the same way."""
    return tuple({verdict.objective.id: verdict for verdict in verdicts}.values())


def _time(verdicts: Sequence[Verdict], as_of_ns: int) -> Iterable[TimeAccount]:
    """One account for each objective of one window; where there are many windows they are in the samples."""
    for verdict in _one_each(verdicts):
        if sum(item.objective.id == verdict.objective.id for item in verdicts) == 1:
            account = results.time_account(verdict, as_of_ns)
            if account is not None:
                yield account


def _provenance(
    assessment: Assessment,
    given: Sequence[SampleColumns],
    drawn: SampleColumns | None,
    software: str,
    files: Mapping[str, str],
) -> Provenance:
    contract, zone_name = assessment.contract, assessment.period.zone
    hashed = [(item, fingerprint.series_sha256(item)) for item in given]
    prints = sorted((_print(item, sha, zone_name, "judging") for item, sha in hashed), key=_print_order)
    if drawn is not None:
        prints.append(_print(drawn, fingerprint.series_sha256(drawn), zone_name, "drawing"))
    known = {
        f"contract {contract.id} {contract.version}": contract.digest,
        "exclusions": contract.exclusions_digest,
        **files,
    }
    return Provenance(
        software=clean(software),
        time_zone_rules=f"{zone_name} {zone(zone_name).law}",
        data_sha256=fingerprint.data_sha256((item.circuit, item.probe, sha) for item, sha in hashed),
        series=tuple(prints),
        digests=tuple(Digest(clean(name), clean(known[name])) for name in known),
    )


def _print(columns: SampleColumns, sha256: str, zone_name: str, used_for: Literal["judging", "drawing"]) -> SeriesPrint:
    rows = len(columns)
    last = int((columns.start_ns + columns.span_ns).max()) if rows else 0
    return SeriesPrint(
        circuit=clean(columns.circuit),
        probe=clean(columns.probe),
        kind=clean(columns.kind),
        used_for=used_for,
        rows=rows,
        first=figures.instant(int(columns.start_ns[0]), zone_name) if rows else None,
        end=figures.instant(last, zone_name) if rows else None,
        columns=fingerprint.columns_of(columns),
        sha256=sha256,
    )


def _print_order(item: SeriesPrint) -> tuple[str, str, str]:
    return item.circuit, item.probe, item.sha256
