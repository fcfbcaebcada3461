"""Text, JSON, CSV and HTML: golden files, the published schema, hostile strings, size."""

import base64
import csv
import hashlib
import io
import json
import os
import re
from dataclasses import replace
from fractions import Fraction
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from agent.report.statement import Statement, as_csv, as_json, build, html, text
from agent.report.statement.composing import content_sha256
from agent.report.statement.document import schema
from agent.report.statement.layout import columns as wide
from agent.sla.terms.contract import Party
from agent.sla.terms.incidents import Attribution, Responsible
from agent.sla.verdict import VerdictState
from tests.fakes import assessments as made

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden"
SOFTWARE = "linkwitness 0.1.0"
COMMAND = "linkwitness report ACME-AMS-0042 --window 2026-10-05 --now 2026-11-03T09:00:00Z"
AUDIENCES = ("customer", "provider")


def small(audience: str, *, drawn: bool = True) -> Statement:
    assessment, series = made.small()
    if not drawn:
        series = replace(series, rtt_count=None, histogram=None)
    return build(
        assessment, [series], software=SOFTWARE, audience="provider" if audience == "provider" else "customer",
        command=COMMAND, source="store /var/lib/linkwitness", files={"incidents": made.SHA},
    )  # fmt: skip


@cache
def month(audience: str = "customer") -> Statement:
    assessment, series = made.real_month()
    return build(assessment, [series], software=SOFTWARE, audience="provider" if audience == "provider" else "customer")


FORMS = {
    "report-customer.txt": lambda: text(small("customer")),
    "report-provider-60.txt": lambda: text(small("provider"), 60),
    "report.json": lambda: as_json(small("customer", drawn=False)),
    "report.csv": lambda: as_csv(small("customer", drawn=False)),
}


@pytest.mark.parametrize("name", FORMS)
def test_golden(name: str) -> None:
    """REWRITE_EXPECTED=1 writes them anew."""
    path, told = GOLDEN / name, FORMS[name]().encode()
    told = re.sub(rb"Europe/Berlin \d{4}[a-z] [0-9a-f]{8}", b"Europe/Berlin LAW", told)
    told = told.replace(small("customer", drawn=name.endswith(".txt")).content_sha256.encode(), b"CONTENT-SHA256")
    if os.environ.get("REWRITE_EXPECTED"):
        path.write_bytes(told)
    assert told.decode() == path.read_bytes().decode()


@pytest.mark.parametrize("width", [60, 72, 100, 140])
def test_no_line_of_text_is_wider_than_asked(width: int) -> None:
    long = [line for line in text(month(), width).splitlines() if wide(line) > width]
    assert long == []


def test_the_published_schema_is_that_of_the_code() -> None:
    assert json.loads((ROOT / "docs" / "report.schema.json").read_text("utf-8")) == schema()


def statements() -> dict[str, Statement]:
    met = made.verdict(made.DELAY, VerdictState.MET, Fraction(10**7))
    return {
        "small": small("customer"),
        "month": month("provider"),
        "nothing": build(made.assessment(), [], software=SOFTWARE, audience="customer"),
        "ongoing": build(
            made.assessment(met, incidents=(made.incident("i", made.at("10-30 00:00:00"), None),)), [],
            software=SOFTWARE, audience="provider",
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["small", "month", "nothing", "ongoing"])
def test_json_is_valid_by_the_schema_and_exact(name: str) -> None:
    made_of = statements()[name]
    read: Any = json.loads(as_json(made_of))
    jsonschema.Draft202012Validator(schema()).validate(read)
    canonical = json.dumps(read["content"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(canonical.encode()).hexdigest() == read["content_sha256"] == content_sha256(made_of.content)
    for row, result in zip(read["content"]["results"], made_of.content.results, strict=True):
        exact = row["value"]["exact"]
        assert (None if exact is None else Fraction(exact["exact"])) == result.value.exact


def test_the_schema_refuses_what_is_not_a_report() -> None:
    read: Any = json.loads(as_json(small("customer")))
    read["content"]["results"][0]["state"] = "fine"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema()).validate(read)


def test_csv_has_one_table_with_all_sections() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(month()), newline="")))
    sections = {row["section"] for row in rows}
    assert sections == {"result", "missing", "exclusion", "incident", "credit", "chronic", "dispute", "bucket", "hash",
                        "series"}  # fmt: skip
    assert all(None not in row and row["circuit"] == "ACME-AMS-0042" for row in rows)
    credit = [row for row in rows if row["section"] == "credit"]
    assert [(row["amount"], row["currency"], row["claim"]) for row in credit] == [
        ("48", "EUR", "open"),
        ("24", "EUR", "automatic"),
    ]
    fault = next(row for row in rows if row["section"] == "incident")
    assert (fault["contract_clock_s"], fault["measured_clock_s"], fault["difference_s"]) == ("1450", "2240", "-790")


EVIL = "<script>alert(1)</script>"
HOSTILE = (
    EVIL,
    "\x1b]0;owned\x07",
    "\u202etxt.exe",
    "=HYPERLINK()",
    "</style><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "a" * 400,
    "&amp;\"'><b>",
    "]]>",
    "\ud800",
)


def hostile(word: str, audience: str = "customer") -> Statement:
    """Every text that comes from somebody else is the hostile one."""
    assessment, series = made.small()
    objective = replace(made.AVAILABILITY, id=word, text=word, target=replace(made.AVAILABILITY.target, text=word))
    contract = replace(
        assessment.contract, id=word, title=word, version=word, models=word, notes=word,
        provider=Party("p", "provider", word), customer=Party("c", "customer", word),
    )  # fmt: skip
    verdicts = [replace(item, objective=objective, sentence=word, remark=word) for item in assessment.verdicts[:1]]
    answer = Attribution(Responsible.CUSTOMER, word, (word,), word, Attribution(Responsible.AGENT, word, (word,)))
    faults = tuple(replace(item, id=word, attribution=answer) for item in assessment.incidents[:1])
    return build(
        replace(assessment, contract=contract, verdicts=tuple(verdicts), incidents=faults),
        [replace(series, circuit=word)], software=word, audience="provider" if audience == "provider" else "customer",
        drawn=replace(series, probe=word), command=word, source=word, files={word: word},
    )  # fmt: skip


TAGS = frozenset(
    {"html", "head", "meta", "title", "style", "body", "header", "main", "section", "footer", "p", "h1", "h2", "h3",
     "dl", "div", "dt", "dd", "ul", "ol", "li", "table", "thead", "tbody", "tfoot", "tr", "th", "td", "span", "br",
     "small", "strong", "code", "figure", "figcaption", "svg", "desc", "defs", "pattern", "rect", "circle", "path",
     "text"}
)  # fmt: skip


class Watch(HTMLParser):
    """Every tag and attribute of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: dict[str, set[str]] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, set()).add(value or "")


@pytest.mark.parametrize("word", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("audience", AUDIENCES)
def test_hostile_strings_are_only_text(word: str, audience: str) -> None:
    statement = hostile(word, audience)
    page = html(statement)
    watch = Watch()
    watch.feed(page)
    assert watch.tags <= TAGS
    assert not [
        name for name in watch.attributes if name.startswith("on") or name in ("style", "src", "href", "action")
    ]
    assert page.encode("utf-8")
    told = text(statement)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", told)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", page)
    for row in csv.reader(io.StringIO(as_csv(statement), newline="")):
        assert not [cell for cell in row if cell.startswith(("=", "@"))]
    jsonschema.Draft202012Validator(schema()).validate(json.loads(as_json(statement)))


def test_a_seeded_script_would_be_found() -> None:
    watch = Watch()
    watch.feed(html(small("customer")).replace("</body>", f"{EVIL}</body>"))
    assert not watch.tags <= TAGS


def test_the_page_allows_nothing_but_its_own_style() -> None:
    page = html(month())
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"default-src &#39;none&#39;; style-src &#39;sha256-{digest}&#39;" in page or (
        f"default-src 'none'; style-src 'sha256-{digest}'" in page
    )
    assert not re.search(r"@import|url\((?!#)", page)
    without = page.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "http:" not in without
    assert "https:" not in without
    assert page.count("<svg") == page.count("</svg>")
    assert 'scope="col"' in page
    assert "<title" in page
    assert 'lang="en"' in page


def test_a_month_is_small() -> None:
    assert len(html(month()).encode()) < 200_000


def test_a_month_of_sixty_faults_is_small() -> None:
    assessment, series = made.real_month()
    faults = tuple(
        replace(
            assessment.incidents[0], id=f"fault-{number}", start_ns=made.at("10-02 00:00:00") + number * 11 * made.HOUR
        )
        for number in range(60)
    )
    found = build(replace(assessment, incidents=faults), [series], software=SOFTWARE, audience="provider")
    assert len(html(found).encode()) < 500_000
    assert html(found).count('class="case"') == 60 + len(found.content.exclusions)
