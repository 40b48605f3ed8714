#!/usr/bin/env python3
"""Everything that CI runs, suite by suite, with the counts of what ran, failed and was skipped at the end.

A suite that fails does not stop the others. Needs nothing but Python, make, cargo, npm and, for what PostgreSQL is
needed for, Debian's package of it, which make installs.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent

# How each runner tells its counts, and the lines by which a test says that it was skipped, and why.
CARGO = re.compile(r"^test result: \w+\. (?P<passed>\d+) passed; (?P<failed>\d+) failed; (?P<skipped>\d+) ignored")
PYTEST = re.compile(r"^=* ?(?:(?P<failed>\d+) failed, )?(?P<passed>\d+) passed(?:, (?P<skipped>\d+) skipped)?")
JEST = re.compile(r"^Tests: +(?:(?P<failed>\d+) failed, )?(?:(?P<skipped>\d+) skipped, )?(?P<passed>\d+) passed")
SKIPPED = re.compile(r"(?:^|\s)skipped: (?P<why>.+)$")


@dataclass
class Suite:
    """A command, and how its counts are read. Without a pattern the command itself is one check."""

    name: str
    command: list[str]
    counts: re.Pattern[str] | None = None
    environment: dict[str, str] = field(default_factory=dict)


@dataclass
class Outcome:
    """What became of a suite."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    reasons: list[str] = field(default_factory=list)
    seconds: float = 0.0


SUITES = [
    Suite("setup", ["make", "--no-print-directory", "setup"]),
    Suite("lint", ["make", "--no-print-directory", "lint"]),
    Suite("build", ["make", "--no-print-directory", "bins", "PROFILE=dev"]),
    Suite("rust", ["cargo", "test", "--workspace", "--locked", "--no-fail-fast", "--", "--nocapture"], CARGO),
    Suite("python", [".venv/bin/pytest", "-q", "clients/python"], PYTEST),
    # Two rounds of generated packets; make conformance sends more.
    Suite("conformance", ["make", "--no-print-directory", "conformance-statsd", "ROUNDS=2"], PYTEST),
    Suite("carbon", ["make", "--no-print-directory", "conformance-carbon", "ROUNDS=3"], PYTEST),
    # Two hundred generated targets beside the table's, over two windows.
    Suite("graphite", ["make", "--no-print-directory", "conformance-graphite", "ROUNDS=2"], PYTEST),
    Suite("clients", ["make", "--no-print-directory", "conformance-clients"], PYTEST),
    Suite("frontend", ["npm", "--prefix", "frontend", "run", "--silent", "test:ci"], JEST),
    Suite("frontend build", ["npm", "--prefix", "frontend", "run", "--silent", "build"]),
    # The demo's panels, unoptimised and with a shorter past, so that it costs seconds.
    Suite("demo", ["make", "--no-print-directory", "demo", "ONESHOT=1", "PROFILE=dev", "DEMO_FLAGS=--history-days 1"]),
]


def run(suite: Suite) -> Outcome:
    """Run a suite, passing on what it prints while counting."""
    print(f"\n=== {suite.name}: {' '.join(suite.command)}", flush=True)
    began = time.monotonic()
    outcome = Outcome()
    process = subprocess.Popen(
        suite.command,
        cwd=REPOSITORY,
        env={**os.environ, **suite.environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    assert process.stdout is not None
    for line in process.stdout:
        print(line, end="", flush=True)
        if suite.counts is not None and (match := suite.counts.match(line)):
            counts = {name: int(count or 0) for name, count in match.groupdict().items()}
            outcome.passed += counts.get("passed", 0)
            outcome.failed += counts.get("failed", 0)
            outcome.skipped += counts.get("skipped", 0)
        if suite.counts is CARGO and (match := SKIPPED.search(line)):
            # Its harness counts a test that skips itself as passed.
            outcome.passed -= 1
            outcome.skipped += 1
            outcome.reasons.append(match["why"])
    status = process.wait()
    outcome.seconds = time.monotonic() - began
    if suite.counts is None:
        outcome.passed += status == 0
    if status != 0 and outcome.failed == 0:
        outcome.failed = 1
    if suite.counts is not None and status == 0 and outcome.passed == 0:
        print(f"{suite.name} ran no test", flush=True)
        outcome.failed += 1
    return outcome


def main() -> int:
    """Run the suites named on the command line, or all of them."""
    wanted = sys.argv[1:]
    unknown = set(wanted) - {suite.name for suite in SUITES}
    if unknown:
        print(f"unknown suite {', '.join(sorted(unknown))}; there are {', '.join(suite.name for suite in SUITES)}")
        return 2
    outcomes = {suite.name: run(suite) for suite in SUITES if not wanted or suite.name in wanted}
    print(f"\n{'suite':<16}{'passed':>8}{'failed':>8}{'skipped':>9}{'seconds':>9}")
    for name, outcome in outcomes.items():
        print(f"{name:<16}{outcome.passed:>8}{outcome.failed:>8}{outcome.skipped:>9}{outcome.seconds:>9.0f}")
        for reason in outcome.reasons:
            print(f"{'':<16}skipped: {reason}")
    passed = sum(outcome.passed for outcome in outcomes.values())
    failed = sum(outcome.failed for outcome in outcomes.values())
    skipped = sum(outcome.skipped for outcome in outcomes.values())
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
