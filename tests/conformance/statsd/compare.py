"""Two flushes of the same packets, compared name by name and value by value."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from etsy import Value

# How far two values may lie apart and be equal: doubles that were added up in another order.
RELATIVE_TOLERANCE = 1e-9

# What each server says of its own haste. The series must be there, and their values have no reason to be equal.
_OWN_HASTE = re.compile(
    r"\.(processing_time|graphiteStats\.(calculationtime|flush_time|flush_length|last_flush))(?=\.|$)"
)


@dataclass
class Tally:
    """What came of comparing."""

    cases: int = 0
    packets: int = 0
    series: int = 0
    values: int = 0
    deviating: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Take in another one's counts."""
        self.cases += other.cases
        self.packets += other.packets
        self.series += other.series
        self.values += other.values
        self.deviating += other.deviating
        self.wrong += other.wrong

    def line(self, name: str) -> str:
        """Write the counts in a line."""
        return (
            f"{name:<28}{self.cases:>6} cases {self.packets:>6} packets {self.series:>7} series "
            f"{self.values:>8} values equal {self.deviating:>4} deviating as documented {len(self.wrong):>4} wrong"
        )


def is_equal(left: Value, right: Value) -> bool:
    """Whether two values are the same but for the rounding of sums."""
    if isinstance(left, str) or isinstance(right, str):
        return left == right
    return left == right or math.isclose(left, right, rel_tol=RELATIVE_TOLERANCE)


def differences(etsy: Mapping[str, Value], ours: Mapping[str, Value]) -> dict[str, str]:
    """Tell what is wrong with our flush, by series."""
    found = {name: f"etsy has {etsy[name]!r}, statlined has no such series" for name in etsy.keys() - ours.keys()}
    found |= {name: f"statlined has {ours[name]!r}, etsy has no such series" for name in ours.keys() - etsy.keys()}
    for name in etsy.keys() & ours.keys():
        if not _OWN_HASTE.search(name) and not is_equal(etsy[name], ours[name]):
            found[name] = f"etsy has {etsy[name]!r}, statlined has {ours[name]!r}"
    return found


def by_owner(series: Mapping[str, str], owner: Callable[[str], int | None]) -> dict[int | None, list[tuple[str, str]]]:
    """Differences by the case that their series belong to."""
    owned: dict[int | None, list[tuple[str, str]]] = {}
    for name, difference in sorted(series.items()):
        owned.setdefault(owner(name), []).append((name, difference))
    return owned
