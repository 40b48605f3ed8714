"""graphite-web and statlined side by side on the same series: `make conformance-graphite`.

Every target of the table, and as many nested ones as ROUNDS says, is put to both; names, times, values and tags are
scored apart. The exit status is 1 when `compat=graphite-web` differs from graphite-web in anything, or the default mode
in what docs/graphite.md does not have as a deviation.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from common.program import ConformanceError
from common.statlined import REPOSITORY
from compare import Verdict, compare, differences_beyond_figures, read
from daemon import Daemon
from dataset import DAY, END, HOUR
from deviations import Asked, explained, explained_error, undocumented
from expressions import nested, table, uncovered
from reference_process import GraphiteWeb, Parameters
from score import Score, markdown
from show import side_by_side

NESTED_A_ROUND = 100

# With fewer rounds the targets of the table are asked over these two windows only.
ROUNDS_FOR_ALL_WINDOWS = 3

# The windows that targets are asked over: aligned, odd and with few points, over days in a zone, short.
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

COMPAT = "compat=graphite-web"
MODES: dict[str, Parameters] = {COMPAT: [("compat", "graphite-web")], "default": []}

PAGE = REPOSITORY / "docs" / "graphite.md"
BEGIN, FINISH = "<!-- score: make conformance-graphite -->", "<!-- end of the score -->"


def questions(arguments: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """Each target with the window that it is asked over."""
    every = arguments.rounds >= ROUNDS_FOR_ALL_WINDOWS or arguments.only
    windows = [arguments.window] if arguments.window else list(WINDOWS) if every else ["aligned", "odd"]
    for target in table():
        for window in windows:
            yield target, window
    chance = random.Random(arguments.seed)
    for _ in range(arguments.rounds * NESTED_A_ROUND):
        target, window = nested(chance), chance.choice(list(WINDOWS))
        yield target, arguments.window or window


def parameters(target: str, window: str, mode: str) -> Parameters:
    """Return what is asked in a mode. Since the default one draws fewer points by other rules, it is asked for all."""
    narrow = [(name, value) for name, value in WINDOWS[window] if mode == COMPAT or name != "maxDataPoints"]
    return [("target", target), ("format", "json"), ("now", str(END)), *narrow]


def ask(theirs: GraphiteWeb, ours: Daemon, target: str, window: str) -> dict[str, tuple[int, str]]:
    """Put a target to both; a status and a body for graphite-web and for each mode."""
    question = parameters(target, window, COMPAT)
    answers = {"graphite-web": theirs.render(question)}
    return answers | {mode: ours.render([*question, *more]) for mode, more in MODES.items()}


def asked(window: str) -> Asked:
    """Return what a window means to the deviations."""
    given = dict(WINDOWS[window])
    return Asked(int(given["from"]), int(given["until"]), "tz" in given)


def explanation(target: str, window: str, ours: tuple[int, str], expected: str, verdict: Verdict) -> str | None:
    """Return why the default mode's answer differs, if the documentation says so."""
    status, body = ours
    if status != 200:
        return explained_error(body)
    return explained(target, asked(window), differences_beyond_figures(read(body), read(expected), verdict))


def judge(theirs: GraphiteWeb, ours: Daemon, target: str, window: str, scores: dict[str, Score]) -> bool:
    """Put a target to both in each mode; whether graphite-web had answers."""
    known: dict[str, tuple[int, str]] = {}
    for mode, more in MODES.items():
        question = parameters(target, window, mode)
        status, expected = known.setdefault(str(question), theirs.render(question))
        if status != 200:
            return False
        status, body = ours.render([*question, *more])
        # A random walk is another one each time.
        with_values = "randomWalk" not in target
        verdict = Verdict.nothing()
        if status == 200:
            verdict = compare(read(body), read(expected), with_values=with_values)
        why = None
        if mode != COMPAT and not verdict.is_equal:
            why = explanation(target, window, (status, body), expected, verdict)
        scores[mode].add(f"{target}  [{window}]", status, body, verdict, why)
    return True


def run(theirs: GraphiteWeb, ours: Daemon, arguments: argparse.Namespace) -> tuple[dict[str, Score], int]:
    """Ask everything; the scores, and how many questions graphite-web itself could not answer."""
    scores = {mode: Score() for mode in MODES}
    crashes = 0
    for target, window in questions(arguments):
        if not arguments.only or re.search(arguments.only, target):
            crashes += not judge(theirs, ours, target, window, scores)
    return scores, crashes


def write(text: str) -> None:
    """Keep the scores in the documentation."""
    before, rest = PAGE.read_text().split(BEGIN, 1)
    _, after = rest.split(FINISH, 1)
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{FINISH}{after}")


def read_arguments() -> argparse.Namespace:
    """Read the command line; what the environment says holds where it says nothing."""
    parser = argparse.ArgumentParser(prog="tests/conformance/graphite", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--bin", type=Path, help="the statlined to test, instead of the one in STATLINE_BIN_DIR or target/debug"
    )
    parser.add_argument(
        "--rounds", type=int, default=int(os.environ.get("ROUNDS", "4")), help="hundreds of nested targets"
    )
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED", "1")), help="what they are made from")
    parser.add_argument(
        "--only", default=os.environ.get("ONLY", ""), help="ask only targets that this regex is found in"
    )
    parser.add_argument("--expression", action="append", default=[], help="show both answers to a target of your own")
    parser.add_argument("--window", choices=WINDOWS, help="ask over this window only")
    parser.add_argument("--most", type=int, default=40, help="how many differences are listed")
    parser.add_argument("--write", action="store_true", help="keep the scores in docs/graphite.md")
    return parser.parse_args()


def main() -> int:
    """Ask, count, tell."""
    arguments = read_arguments()
    if arguments.bin:
        os.environ["STATLINE_BIN_DIR"] = str(arguments.bin.absolute().parent)
    with tempfile.TemporaryDirectory(prefix="statline-conformance-") as scratch:
        theirs, ours = GraphiteWeb(Path(scratch) / "graphite-web.log"), Daemon(Path(scratch) / "statlined")
        try:
            for target in arguments.expression:
                for window in [arguments.window] if arguments.window else WINDOWS:
                    print(f"=== {target}  [{window}]")
                    print("\n".join(side_by_side(ask(theirs, ours, target, window), END)))
            if arguments.expression:
                return 0
            missing = uncovered(theirs.functions())
            scores, crashes = run(theirs, ours, arguments)
        finally:
            theirs.stop()
            ours.stop()
    text = markdown(scores, crashes)
    for mode, score in scores.items():
        for wrong in score.wrong[: arguments.most]:
            print(f"{mode} differs: {wrong}")
    print(text)
    for name in missing:
        print(f"the table of targets has none for {name}")
    if arguments.write:
        write(text)
    for why, count in sorted(scores["default"].intended.items()):
        print(f"differs on purpose, {count}: {why}")
    without_row = undocumented(PAGE.read_text())
    for what in without_row:
        print(f"docs/graphite.md has no row for: {what}")
    failed = sum(score.failed for score in scores.values()) + len(missing) + len(without_row)
    passed = sum(score.asked - score.failed for score in scores.values())
    print((f"{failed} failed, " if failed else "") + f"{passed} passed")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ConformanceError as error:
        sys.exit(f"conformance: {error}")
