"""Plug-ins that let graphite-web read the data set: a finder with whisper's windows, and tags."""

from __future__ import annotations

import fnmatch
import re

from dataset import Series, dataset
from graphite.intervals import Interval, IntervalSet
from graphite.node import BranchNode, LeafNode
from graphite.tags.base import BaseTagDB
from graphite.tags.utils import TaggedSeries

SERIES = {series.name: series for series in dataset()}


class Reader:
    """Reads one series as whisper does: the values of `(from, until]`, each at its step."""

    def __init__(self, series: Series) -> None:
        self._series = series

    def get_intervals(self) -> IntervalSet:
        """Tell that it may have something at any time."""
        return IntervalSet([Interval(0, float("inf"))])

    def fetch(self, start: float, end: float, *_: object) -> tuple[tuple[int, int, int], list[float | None]]:
        """Return the window that is answered, and its values."""
        step = self._series.step
        first = int(start) // step * step + step
        last = max(int(end) // step * step + step, first + step)
        offset = (first - self._series.start) // step
        values = self._series.values
        row = [
            values[index] if 0 <= index < len(values) else None
            for index in range(offset, offset + (last - first) // step)
        ]
        return (first, last, step), row


def _pattern(part: str) -> re.Pattern[str]:
    """Read one part of a path with globs and lists in braces."""
    choices = re.split(r"\{([^{}]*)\}", part)
    text = ""
    for index, piece in enumerate(choices):
        if index % 2:
            text += "(?:" + "|".join(fnmatch.translate(choice)[4:-3] for choice in piece.split(",")) + ")"
        else:
            text += fnmatch.translate(piece)[4:-3]
    return re.compile(text + r"\Z")


class Finder:
    """Finds series by their paths."""

    local = True
    disabled = False
    tags = False

    def __init__(self, *_: object, **__: object) -> None:
        """Take nothing."""

    def find_nodes(self, query: object) -> list[object]:
        """List the nodes of a pattern."""
        pattern = query.pattern  # type: ignore[attr-defined]
        if pattern in SERIES:
            return [LeafNode(pattern, Reader(SERIES[pattern]))]
        parts = [_pattern(part) for part in pattern.split(".")]
        nodes: dict[str, object] = {}
        for name, series in SERIES.items():
            names = name.split(".")
            if ";" in name or len(names) < len(parts):
                continue
            if not all(part.match(text) for part, text in zip(parts, names, strict=False)):
                continue
            path = ".".join(names[: len(parts)])
            nodes[path] = LeafNode(path, Reader(series)) if len(names) == len(parts) else BranchNode(path)
        return list(nodes.values())

    def fetch(
        self, patterns: list[str], start: float, end: float, now: float | None = None, requestContext: object = None
    ) -> list[dict[str, object]]:
        """Return the series of patterns with their values."""
        found = []
        for pattern in patterns:
            query = type("Query", (), {"pattern": pattern})
            for node in self.find_nodes(query):
                if isinstance(node, LeafNode):
                    window, values = node.reader.fetch(start, end)
                    found.append(
                        {"pathExpression": pattern, "name": node.path, "path": node.path, "time_info": window, "values": values}
                    )
        return found

    def get_index(self, requestContext: object = None) -> list[str]:
        """List every path."""
        return sorted(name for name in SERIES if ";" not in name)


class Tags(BaseTagDB):
    """Finds series by their tags, with graphite's own reading of names and of expressions."""

    def _find_series(self, tags: tuple[str, ...], requestContext: object = None) -> list[str]:
        tests = [self.parse_tagspec(tag) for tag in tags]
        if all(self._passes(value, operator, "") for _, operator, value in tests):
            raise ValueError("At least one tagspec must require a non-empty value")
        names = []
        for name in SERIES:
            known = TaggedSeries.parse(name).tags
            if all(self._passes(value, operator, known.get(tag, "")) for tag, operator, value in tests):
                names.append(name)
        return sorted(names)

    @staticmethod
    def _passes(wanted: str, operator: str, value: str) -> bool:
        matches = value == wanted if "~" not in operator else re.match(wanted, value) is not None
        return matches != operator.startswith("!")

    def get_series(self, path: str, requestContext: object = None) -> object:
        """Return a series that is known."""
        return TaggedSeries.parse(path) if path in SERIES else None

    def list_tags(self, tagFilter: str | None = None, limit: int | None = None, requestContext: object = None) -> list[object]:
        """Of no use here."""
        return []

    get_tag = list_values = list_tags

    def tag_series(self, series: str, requestContext: object = None) -> str:
        """Of no use here."""
        return series

    def del_series(self, series: str, requestContext: object = None) -> bool:
        """Of no use here."""
        return True
