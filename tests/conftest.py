"""Tests that cannot run here say so: as a skip with its reason for a person, as a failure where CI=true.

`root` and `live` tests need what tests/packages.txt lists under their marker; `@pytest.mark.live("fping")` narrows that
to the packages named. A summary section lists what was not run, and why.
"""

import functools
import os
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

PACKAGES_FILE = Path(__file__).with_name("packages.txt")
SBIN = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))


def in_ci() -> bool:
    return os.environ.get("CI", "").strip().lower() in ("true", "1", "yes")


@functools.cache
def packages(marker: str) -> dict[str, str]:
    """Debian package to its command, for one marker."""
    rows = (line.split() for line in PACKAGES_FILE.read_text("utf-8").splitlines() if not line.startswith("#"))
    return {package: command for kind, package, command in rows if kind == marker}


@functools.cache
def without_namespaces() -> str | None:
    """Why this process cannot create network namespaces, or None."""
    if os.geteuid() != 0:
        return "needs root (network namespaces, raw sockets): run `sudo make test`"
    done = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True, check=False, timeout=10)
    return None if done.returncode == 0 else f"root here may not create network namespaces: {done.stderr.strip()}"


@functools.cache
def missing(marker: str, wanted: tuple[str, ...]) -> str | None:
    """Why packages of a marker are missing, or None. `wanted` empty means all of the marker's."""
    known = packages(marker)
    if unknown := [name for name in wanted if name not in known]:
        raise pytest.UsageError(f"tests/packages.txt has no {marker} package {', '.join(unknown)}")
    absent = [name for name in wanted or known if shutil.which(known[name], path=SBIN) is None]
    return f"needs the Debian packages {' '.join(absent)}: run `sudo make setup`" if absent else None


def omission(item: pytest.Item) -> str | None:
    """Why this test cannot run on this machine, or None."""
    root = item.get_closest_marker("root")
    if root is not None and (reason := without_namespaces() or missing("root", tuple(root.args))):
        return reason
    live = item.get_closest_marker("live")
    return None if live is None else missing("live", tuple(live.args))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if reason := omission(item):
        pytest.skip(reason)


def skip_reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    longrepr = report.longrepr
    return str(longrepr[2]).removeprefix("Skipped: ") if isinstance(longrepr, tuple) else str(longrepr)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and in_ci():
        report.user_properties.append(("not run", skip_reason(report)))
        report.outcome = "failed"
        report.longrepr = f"not run, and in CI nothing may be missing: {skip_reason(report)}"
    return report


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Prints one line of figures when all tests are over, and at once under `-s`."""

    def tell(text: str) -> None:
        print(text)
        record_property("figure", text)

    return tell


@pytest.fixture
def tallied(record_property: Callable[[str, object], None]) -> Callable[[str, int], None]:
    """Adds a number to a subject; when all tests are over one line tells the sum and from how many cases it is."""

    def tell(subject: str, number: int) -> None:
        record_property("tallied", (subject, number))

    return tell


def figures(reports: Iterable[pytest.TestReport]) -> list[str]:
    """What the tests have told, in their order; sums last."""
    told: list[str] = []
    sums: defaultdict[str, list[int]] = defaultdict(list)
    for name, value in (item for report in reports for item in report.user_properties):
        if name == "figure":
            told.append(str(value))
        elif name == "tallied":
            subject, number = value
            sums[subject].append(number)
    return [*told, *(f"{subject}: {sum(found):,} in {len(found)} cases" for subject, found in sums.items())]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if told := figures([*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]):
        terminalreporter.section("faults, in figures")
        for text in told:
            terminalreporter.line(text)
    reasons: defaultdict[str, list[str]] = defaultdict(list)
    for report in terminalreporter.getreports("skipped"):
        reasons[skip_reason(report)].append(report.nodeid)
    for report in (*terminalreporter.getreports("failed"), *terminalreporter.getreports("error")):
        for name, value in getattr(report, "user_properties", ()):
            if name == "not run":
                reasons[str(value)].append(report.nodeid)
    if not reasons:
        return
    terminalreporter.section("not run, and why", bold=True)
    for reason, nodes in sorted(reasons.items()):
        terminalreporter.line(f"{len(nodes)} x {reason}")
        for node in sorted(nodes):
            terminalreporter.line(f"    {node}")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A module that skips itself while being collected has no test report to fail: fail the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if in_ci() and reporter is not None and reporter.stats.get("skipped") and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
