"""graphite-web and statlined side by side on the same series: `make conformance-graphite`.

`ROUNDS` says how many hundreds of nested targets are made by chance, `SEED` what they begin from, `ONLY` which targets
are asked, by a regular expression. `--expression TARGET` asks one and shows both answers; `--write` keeps the scores in
docs/graphite.md. The exit status is 1 when `compat=graphite-web` differs from graphite-web in anything.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from common.program import ConformanceError
from common.statlined import REPOSITORY
from compare import ASPECTS, Verdict, compare, read
from daemon import Daemon
from dataset import DAY, END, HOUR
from expressions import nested, table, uncovered
from reference_process import GraphiteWeb, Parameters

ROUNDS = int(os.environ.get("ROUNDS", "4"))
SEED = int(os.environ.get("SEED", "1"))
ONLY = os.environ.get("ONLY", "")

NESTED_A_ROUND = 100
SHOWN = int(os.environ.get("SHOWN", "40"))

# The windows that targets are asked over: aligned, odd and with fewer points than there are, over days in a zone, short.
WINDOWS: dict[str, Parameters] = {
    "aligned": [("from", str(END - HOUR)), ("until", str(END))],
    "odd": [("from", str(END - 5393)), ("until", str(END - 13)), ("maxDataPoints", "37")],
    "zone": [
        ("from", str(END - 2 * DAY - 1234)),
        ("until", str(END - 600)),
        ("tz", "Europe/Berlin"),
        ("maxDataPoints", "100"),
    ],
    "short": [("from", str(END - 307)), ("until", str(END - 60))],
}

MODES = {"compat=graphite-web": [("compat", "graphite-web")], "default": []}

PAGE = REPOSITORY / "docs" / "graphite.md"
BEGIN, FINISH = "<!-- score: make conformance-graphite -->", "<!-- end of the score -->"


@dataclass
class Score:
    """How one mode did."""

    asked: int = 0
    equal: Counter[str] = field(default_factory=Counter)
    # Targets with an answer of theirs and none of ours, or another one.
    wrong: list[str] = field(default_factory=list)

    def add(self, what: str, verdict: Verdict, why: str) -> None:
        """Count a verdict."""
        self.asked += 1
        self.equal.update(aspect for aspect in ASPECTS if getattr(verdict, aspect))
        if not verdict.is_equal:
            self.wrong.append(f"{what}: {why}")


def questions(rounds: int) -> Iterator[tuple[str, str]]:
    """Each target with the window that it is asked over."""
    for target in table():
        for window in WINDOWS if rounds > 2 else ("aligned", "odd"):
            yield target, window
    chance = random.Random(SEED)
    for _ in range(rounds * NESTED_A_ROUND):
        yield nested(chance), chance.choice(list(WINDOWS))


def difference(status: int, body: str, verdict: Verdict) -> str:
    """Say in a few words what is wrong with an answer."""
    if status != 200:
        return f"{status} {body.strip()[:150]}"
    return "other " + ", ".join(aspect for aspect in ASPECTS if not getattr(verdict, aspect))


def run(theirs: GraphiteWeb, ours: Daemon) -> tuple[dict[str, Score], int]:
    """Ask everything; the scores, and how many questions graphite-web itself could not answer."""
    scores = {mode: Score() for mode in MODES}
    failed = 0
    for target, window in questions(ROUNDS):
        if ONLY and not re.search(ONLY, target):
            continue
        parameters = [("target", target), ("format", "json"), *WINDOWS[window]]
        status, body = theirs.render(parameters)
        if status != 200:
            failed += 1
            continue
        expected = read(body.replace("1e9999", "Infinity"))
        for mode, more in MODES.items():
            status, body = ours.render([*parameters, *more])
            answer = read(body.replace("1e9999", "Infinity")) if status == 200 else None
            # A random walk is another one each time.
            verdict = (
                compare(answer, expected, with_values="randomWalk" not in target)
                if answer is not None
                else Verdict(names=False, times=False, values=False, tags=False)
            )
            scores[mode].add(f"{target}  [{window}]", verdict, difference(status, body, verdict))
    return scores, failed


def markdown(scores: dict[str, Score], failed: int) -> str:
    """Lay the scores out as a table."""
    lines = ["| mode | targets | " + " | ".join(ASPECTS) + " |", "| --- " * (2 + len(ASPECTS)) + "|"]
    for mode, score in scores.items():
        lines.append(f"| {mode} | {score.asked} | " + " | ".join(str(score.equal[aspect]) for aspect in ASPECTS) + " |")
    lines.append("")
    lines.append(f"graphite-web itself answered {failed} more with an error.")
    return "\n".join(lines)


def write(text: str) -> None:
    """Keep the scores in the documentation."""
    page = PAGE.read_text()
    before, rest = page.split(BEGIN, 1)
    _, after = rest.split(FINISH, 1)
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{FINISH}{after}")


def show(theirs: GraphiteWeb, ours: Daemon, target: str, window: str) -> None:
    """Print what both answer to one target."""
    parameters = [("target", target), ("format", "json"), *WINDOWS[window]]
    answers = {"graphite-web": theirs.render(parameters)}
    answers |= {mode: ours.render([*parameters, *more]) for mode, more in MODES.items()}
    for who, (status, body) in answers.items():
        print(f"--- {who}: {status}")
        if status != 200:
            print(body.strip()[:2000])
            continue
        for one in read(body.replace("1e9999", "Infinity")):
            points = one["datapoints"]
            print(f"{one['target']}  {one['tags']}  {len(points)} points")
            print("   ", *(f"{at - END}:{value}" for value, at in (points if len(points) < 13 else points[:6] + points[-6:])))


def main() -> int:
    """Ask, count, tell."""
    parser = argparse.ArgumentParser(description="graphite-web and statlined side by side")
    parser.add_argument("--expression", help="show both answers to one target")
    parser.add_argument("--window", choices=WINDOWS, default="aligned")
    parser.add_argument("--write", action="store_true", help="keep the scores in docs/graphite.md")
    parser.add_argument("--show", choices=MODES, default="compat=graphite-web", help="the mode whose differences are listed")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="statline-conformance-") as scratch:
        theirs, ours = GraphiteWeb(Path(scratch) / "graphite-web.log"), Daemon(Path(scratch) / "statlined")
        try:
            if arguments.expression:
                show(theirs, ours, arguments.expression, arguments.window)
                return 0
            missing = uncovered(theirs.functions())
            scores, failed = run(theirs, ours)
        finally:
            theirs.stop()
            ours.stop()
    text = markdown(scores, failed)
    for wrong in scores[arguments.show].wrong[:SHOWN]:
        print(f"differs: {wrong}")
    print(text)
    for name in missing:
        print(f"the table of targets has none for {name}")
    if arguments.write:
        write(text)
    strict = scores["compat=graphite-web"]
    print(f"{strict.asked - len(strict.wrong)} passed" if not strict.wrong and not missing else f"{len(strict.wrong) + len(missing)} failed, {strict.asked - len(strict.wrong)} passed")
    return 1 if strict.wrong or missing else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ConformanceError as error:
        sys.exit(f"conformance: {error}")
