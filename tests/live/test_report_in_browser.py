"""Reports in a real browser: nothing is loaded, nothing runs over, everything can be read, and it prints well.

SHOTS=DIRECTORY keeps pictures and PDF files for people to look at.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import pytest

from agent.report.statement import build, html
from agent.sla.terms.settlement import Settlement
from agent.sla.verdict import VerdictState
from tests.fakes import assessments as made
from tests.live.browser import Browser, browser

pytestmark = [pytest.mark.live("chromium", "poppler-utils"), pytest.mark.root("iproute2")]

A4_INNER = 688
"""CSS pixels between the margins of an A4 page: 210 mm - 2 x 14 mm."""
CONTRAST = 4.5
"""WCAG 2.2, 1.4.3, level AA."""


@cache
def page(name: str) -> str:
    """The kinds of report people get."""
    assessment, series = made.real_month()
    given = [series]
    if name == "faults":
        faults = tuple(
            replace(
                assessment.incidents[number % 4], id=f"{'very-long-name-' * 5}{number}",
                start_ns=made.at("10-02 00:00:00") + number * 11 * made.HOUR,
            )
            for number in range(60)
        )  # fmt: skip
        assessment = replace(assessment, incidents=faults)
    if name == "nothing":
        nothing = Settlement((), None, None, obstacle="the circuit has no monthly charge")
        verdict = made.verdict(
            made.DELAY, VerdictState.INCONCLUSIVE, None, coverage=Fraction(0),
            sentence="round-trip time mean: no verdict for 2026-10: nothing was measured by probe icmp",
        )  # fmt: skip
        assessment, given = made.assessment(verdict, settlement=nothing), []
    if name == "day":
        assessment, series = made.small()
        given = [series]
    command = "linkwitness report ACME-AMS-0042 --window 2026-10 --now 2026-11-03T09:00:00Z"
    statement = build(
        assessment, given, software="linkwitness 0.1.0", command=command, source="store /var/lib/linkwitness",
        audience="provider" if name in ("provider", "faults") else "customer",
    )  # fmt: skip
    return html(statement)


NAMES = ("customer", "provider", "faults", "nothing", "day")


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    for name in NAMES:
        (tmp_path / f"{name}.html").write_text(page(name), "utf-8")
    return tmp_path


def keep(chromium: Browser, name: str) -> None:
    if directory := os.environ.get("SHOTS"):
        chromium.picture(Path(directory) / f"{name}.png")


WIDER = """
[...document.querySelectorAll('body *')].filter(e => {
  const box = e.getBoundingClientRect(), wide = e.closest('.wide');
  return box.right > document.documentElement.clientWidth + 1 && !(ALLOWED && wide);
}).map(e => e.tagName + ' ' + e.className + ' ' + e.textContent.slice(0, 40))
"""
CLIPPED = """
[...document.querySelectorAll('svg.smoke text')].filter(e => {
  const box = e.getBoundingClientRect(), all = e.ownerSVGElement.getBoundingClientRect();
  return box.left < all.left - 1 || box.right > all.right + 1 || box.bottom > all.bottom + 1 || box.top < all.top - 1;
}).map(e => e.textContent)
"""
FAINT = """
(() => {
  const numbers = c => c.match(/[0-9.]+/g).map(Number);
  const light = c => { const [r, g, b] = numbers(c).map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 :
    Math.pow((v + 0.055) / 1.055, 2.4)); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ground = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
    if (numbers(c).length === 3) return c; } return 'rgb(255, 255, 255)'; };
  return [...document.querySelectorAll('body *')].filter(e => !e.closest('title, desc') &&
    [...e.childNodes].some(n => n.nodeType === 3 &&
    n.textContent.trim())).map(e => { const s = getComputedStyle(e); const c = e.closest('svg') ? s.fill : s.color;
    const [a, b] = [light(c), light(ground(e))].sort((x, y) => y - x);
    return [(a + 0.05) / (b + 0.05), e.textContent.trim().slice(0, 30)]; }).filter(([ratio]) => ratio < LEAST);
})()
"""


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [1200, 800, 390])
def test_nothing_is_loaded_and_nothing_runs_over(chromium: Browser, saved: Path, name: str, width: int) -> None:
    chromium.open(saved / f"{name}.html", width=width)
    assert chromium.requests() == [(saved / f"{name}.html").as_uri()]
    assert chromium.evaluate("document.documentElement.scrollWidth") <= width
    assert chromium.evaluate(WIDER.replace("ALLOWED", "true")) == []
    assert chromium.evaluate(CLIPPED) == []
    assert chromium.evaluate("document.scripts.length + document.querySelectorAll('[style], iframe, img').length") == 0
    assert not [event for event in chromium.events if event["method"] == "Log.entryAdded"]
    keep(chromium, f"{name}-{width}")


def test_a_seeded_overflow_and_a_seeded_request_are_caught(chromium: Browser, saved: Path) -> None:
    bad = page("day").replace("<footer>", f"<p class='keep'>{'too wide ' * 400}</p><footer>")
    bad = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", bad)
    bad = bad.replace("</body>", '<img src="http://192.0.2.1/x.png"></body>')
    (saved / "bad.html").write_text(bad, "utf-8")
    chromium.open(saved / "bad.html")
    assert chromium.evaluate("document.documentElement.scrollWidth") > 1200
    assert len(chromium.requests()) == 2


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", ["customer", "nothing"])
def test_text_can_be_read_in_light_and_dark(chromium: Browser, saved: Path, name: str, dark: bool) -> None:
    chromium.open(saved / f"{name}.html", dark=dark)
    assert chromium.evaluate(FAINT.replace("LEAST", str(CONTRAST))) == []
    assert chromium.evaluate(FAINT.replace("LEAST", "22")) != []  # 21 is the most there is: the question finds text
    keep(chromium, f"{name}-{'dark' if dark else 'light'}")


@pytest.mark.parametrize("name", NAMES)
def test_a_printed_page_holds_its_columns(chromium: Browser, saved: Path, name: str) -> None:
    chromium.open(saved / f"{name}.html", width=A4_INNER, media="print")
    assert chromium.evaluate(WIDER.replace("ALLOWED", "false")) == []


def printed(chromium: Browser, saved: Path, name: str) -> list[str]:
    """Text of each printed page."""
    chromium.open(saved / f"{name}.html")
    path = Path(os.environ.get("SHOTS", saved)) / f"{name}.pdf"
    chromium.print(path)
    text = subprocess.run(
        ["pdftotext", "-layout", str(path), "-"], check=True, capture_output=True, text=True, timeout=30
    ).stdout
    return text.removesuffix("\f").split("\f")


def test_a_month_is_a_few_pages_with_numbers(chromium: Browser, saved: Path) -> None:
    pages = printed(chromium, saved, "customer")
    assert 5 <= len(pages) <= 9
    for number, text in enumerate(pages, 1):
        assert f"Page {number} of {len(pages)}" in text
        assert len(text.split()) > 25, f"page {number} is almost empty"
    assert "2 promises of 8 were broken" in pages[0]


def test_sixty_faults_repeat_the_head_of_their_table(chromium: Browser, saved: Path) -> None:
    pages = printed(chromium, saved, "faults")
    with_faults = [text for text in pages if len(re.findall(r"Disputed:|no probe of the far end", text)) > 2]
    assert len(with_faults) > 3
    assert all("Difference" in text for text in with_faults)


def test_a_report_of_nothing_is_two_or_three_pages(chromium: Browser, saved: Path) -> None:
    assert len(printed(chromium, saved, "nothing")) <= 3
