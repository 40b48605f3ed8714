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
    for one in series:
        one["target"] = str(one["target"])
    return series


def equal_values(ours: float | None, theirs: float | None) -> bool:
    """Tell whether two values are the same, or as good as."""
    if ours is None or theirs is None:
        return ours is theirs
    if math.isinf(ours) or math.isinf(theirs):
        return ours == theirs
    return abs(ours - theirs) <= TOLERANCE * max(abs(ours), abs(theirs), 1e-300)


# A number in a legend that tells a value, as legendValue writes it.
LEGEND_VALUE = re.compile(r"(?<=: )-?\d+(?:\.\d+)?(?:e[-+]\d+)?(?=\))")


def _name(series: dict[str, Any]) -> str | None:
    """Return what a series is called, with the values in it to as many digits as values have to be equal."""
    name: str | None = series["target"]
    return name and LEGEND_VALUE.sub(lambda match: f"{float(match[0]):.6g}", name)


def compare(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], *, with_values: bool = True) -> Verdict:
    """Compare the answers to one question, series by series in their order."""
    names = [_name(one) for one in ours] == [_name(one) for one in theirs]
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
