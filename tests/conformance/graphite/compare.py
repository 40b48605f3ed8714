"""What two answers have in common: names, times, values and tags, each by itself."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

ASPECTS = ("names", "times", "values", "tags")

# How far two values may be apart, as a share of the larger one.
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Verdict:
    """Which aspects are equal."""

    names: bool
    times: bool
    values: bool
    tags: bool

    @classmethod
    def nothing(cls) -> Verdict:
        """Make that of an answer that is none."""
        return cls(names=False, times=False, values=False, tags=False)

    @property
    def is_equal(self) -> bool:
        """Whether all of them are."""
        return self.names and self.times and self.values and self.tags


def read(body: str) -> list[dict[str, Any]]:
    """Read an answer; its series in their order. Both sides write an infinite value as 1e9999."""
    series: list[dict[str, Any]] = json.loads(body)
    return series


def equal_values(ours: float | None, theirs: float | None) -> bool:
    """Tell whether two values are the same, or as good as."""
    if ours is None or theirs is None:
        return ours is theirs
    if math.isinf(ours) or math.isinf(theirs):
        return ours == theirs
    return abs(ours - theirs) <= TOLERANCE * max(abs(ours), abs(theirs), 1e-300)


FIGURE = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]\d+)?")


def without_last_digits(text: str) -> str:
    """Write the figures in a name or a tag to as many digits as values have to be equal, whole ones as any others."""
    return FIGURE.sub(lambda match: f"{float(match[0]):.6g}", text)


def differences_beyond_figures(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], verdict: Verdict) -> list[str]:
    """List the aspects in which two answers differ by more than the last digits of figures in names and tags."""
    texts = {
        "names": [[without_last_digits(str(one["target"])) for one in answer] for answer in (ours, theirs)],
        "tags": [
            [{tag: without_last_digits(value) for tag, value in one["tags"].items()} for one in answer]
            for answer in (ours, theirs)
        ],
    }
    alike = [aspect for aspect, (mine, its) in texts.items() if mine == its]
    return [aspect for aspect in ASPECTS if not getattr(verdict, aspect) and aspect not in alike]


def compare(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], *, with_values: bool = True) -> Verdict:
    """Compare the answers to one question, series by series in their order."""
    names = [one["target"] for one in ours] == [one["target"] for one in theirs]
    if len(ours) != len(theirs):
        return Verdict(names, times=False, values=False, tags=False)
    pairs = list(zip(ours, theirs, strict=True))
    times = all([at for _, at in one["datapoints"]] == [at for _, at in other["datapoints"]] for one, other in pairs)
    values = not with_values or all(
        len(one["datapoints"]) == len(other["datapoints"])
        and all(
            equal_values(mine, its) for (mine, _), (its, _) in zip(one["datapoints"], other["datapoints"], strict=True)
        )
        for one, other in pairs
    )
    return Verdict(names, times, values, all(one["tags"] == other["tags"] for one, other in pairs))
