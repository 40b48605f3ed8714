"""How many answers of ours are equal to graphite-web's, and which are not."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from compare import ASPECTS, Verdict

# What statlined says of a function that it does not have.
UNKNOWN = re.compile(r"unknown function (\w+)")


@dataclass
class Score:
    """How one mode did."""

    asked: int = 0
    equal: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    # Functions that are not there yet, with the count of targets that could not be answered for it.
    absent: Counter[str] = field(default_factory=Counter)
    # Differences that are known, by why.
    intended: Counter[str] = field(default_factory=Counter)

    def add(self, question: str, status: int, body: str, verdict: Verdict, intended: str | None = None) -> None:
        """Count the verdict on an answer; `intended` says why it may differ."""
        self.asked += 1
        self.equal.update(aspect for aspect in ASPECTS if getattr(verdict, aspect))
        if verdict.is_equal:
            return
        if status != 200 and (match := UNKNOWN.search(body)):
            self.absent[match[1]] += 1
        elif intended is not None:
            self.intended[intended] += 1
        else:
            self.wrong.append(f"{question}: {_difference(status, body, verdict)}")

    @property
    def failed(self) -> int:
        """How many answers are not what they should be."""
        return len(self.wrong) + self.absent.total()


def _difference(status: int, body: str, verdict: Verdict) -> str:
    """Say in a few words what is wrong with an answer."""
    if status != 200:
        return f"{status} {body.strip()[:150]}"
    return "other " + ", ".join(aspect for aspect in ASPECTS if not getattr(verdict, aspect))


def markdown(scores: dict[str, Score], crashes: int) -> str:
    """Lay the scores out as a table."""
    lines = ["| mode | targets | " + " | ".join(ASPECTS) + " |", "| --- " * (2 + len(ASPECTS)) + "|"]
    for mode, score in scores.items():
        equal = " | ".join(str(score.equal[aspect]) for aspect in ASPECTS)
        lines.append(f"| {mode} | {score.asked} | {equal} |")
    lines.append("")
    if default := scores.get("default"):
        lines.append(
            f"The default mode is asked without `maxDataPoints`. It differs in {default.intended.total()} answers for "
            f"reasons in the table above, and in {default.failed} for no known one."
        )
    lines.append(f"graphite-web itself answered {crashes} more with an error.")
    if absent := sorted(set().union(*(score.absent for score in scores.values()))):
        lines.append("Not there yet: " + ", ".join(f"`{name}`" for name in absent) + ".")
    return "\n".join(lines)
