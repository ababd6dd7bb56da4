"""Long test runs in slices: `pytest -p slices --slice FILE --slice-seconds 500`, until nothing is left.

FILE remembers what passed, for this very state of the code. A slice leaves that out, and begins no test after its
time; what failed is run again by the next one. Needs this folder on PYTHONPATH.
"""

import hashlib
import json
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
KEY = pytest.StashKey()


def fingerprint():
    """Of all that the outcome of a test depends on."""
    found = hashlib.sha256()
    for path in sorted(
        path for folder in ("scc_numba", "reference", "tests") for path in (ROOT / folder).rglob("*.py")
    ):
        found.update(path.read_bytes())
    return found.hexdigest()


class Slice:
    """One slice: a pytest plugin.

    Args:
        file: what passed, a line of JSON each, after the code's fingerprint.
        seconds: after which no test is begun.
    """

    def __init__(self, file, seconds):
        self.file, self.seconds, self.left = Path(file), seconds, 0
        lines = self.file.read_text(encoding="utf-8").splitlines() if self.file.exists() else []
        self.code = fingerprint()
        self.passed = set()
        if lines[:1] == [self.code]:
            for line in lines[1:]:
                try:
                    self.passed.add(json.loads(line))
                except ValueError:
                    continue  # cut short: that test is run again
        self.start = time.monotonic()

    def pytest_collection_modifyitems(self, config, items):
        """Leave out what passed."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text("\n".join([self.code, *map(json.dumps, sorted(self.passed))]) + "\n", encoding="utf-8")
        done = [item for item in items if item.nodeid in self.passed]
        items[:] = [item for item in items if item.nodeid not in self.passed]
        self.left = len(items)
        config.hook.pytest_deselected(items=done)

    def pytest_runtest_logreport(self, report):
        """Note what passed, or is skipped here, at once."""
        if (report.when == "call" and not report.failed) or (report.when == "setup" and report.skipped):
            with self.file.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(report.nodeid) + "\n")
            self.left -= 1

    def pytest_runtest_logfinish(self, nodeid):
        """Begin no other test once the time is over."""
        if time.monotonic() - self.start > self.seconds and self.session.items[-1].nodeid != nodeid:
            self.session.shouldstop = "the slice's time is over"

    def pytest_sessionstart(self, session):
        """Keep the session, to stop it."""
        self.session = session

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session, exitstatus):
        """A slice that ends in time is no failure, nor is one with nothing left to do."""
        if (
            exitstatus in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.NO_TESTS_COLLECTED)
            and session.testsfailed == 0
        ):
            session.exitstatus = pytest.ExitCode.OK if session.shouldstop or self.left == 0 else exitstatus

    def pytest_terminal_summary(self, terminalreporter):
        """Say how much is left."""
        state = f"{self.left} tests are left: run it again" if self.left else "all tests of all slices passed"
        terminalreporter.write_line(state)


def pytest_addoption(parser):
    """The two options."""
    group = parser.getgroup("slices")
    group.addoption("--slice", metavar="FILE", help="remember in FILE what passed, and leave it out")
    group.addoption(
        "--slice-seconds", type=float, default=500.0, metavar="SECONDS", help="begin no test after this"
    )


def pytest_configure(config):
    """Nothing unless asked for."""
    if config.getoption("--slice"):
        config.pluginmanager.register(Slice(config.getoption("--slice"), config.getoption("--slice-seconds")))
