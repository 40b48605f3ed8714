"""Where `compat=graphite-web` is known to differ from graphite-web, and why. Whatever else differs is an error."""

from __future__ import annotations

import re

# What a target and its window look like, and what is known of it.
KNOWN: tuple[tuple[str, str], ...] = (
    (r"verticalLine\(.*\[zone\]$", "a vertical line under maxDataPoints: two values of one instant"),
    (r"(summarize|smartSummarize)\(verticalLine\(", "the second value of a vertical line is not there to be added up"),
    (r"referenceSeries=", "a series behind a keyword, which graphite-web finds when it has fetched it for something else"),
    (r"moving\w+\(.*[xX]FilesFactor\(", "a factor that is set where a range is fetched again, which does not last there"),
    (r"legendValue\(.*\)", "a figure in a name that is rounded from a sum in another order"),
)


def known_difference(question: str) -> str | None:
    """Return why an answer to a target, with its window behind it in brackets, may differ."""
    return next((why for pattern, why in KNOWN if re.search(pattern, question)), None)
