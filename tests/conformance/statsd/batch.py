"""Many cases at once through a pair of servers: an interval of their first packets, one of their second, and idle ones.

Whatever differs is told by the case that the series belong to. What differs in the servers' own counters belongs to no
case; then the cases are sent again in halves, until it is known which of them it was.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from case import Case, Numbered, owner
from common.program import ConformanceError
from compare import Tally, by_owner, differences
from pair import ATTEMPTS, Exchange, MissedIntervalError, Pair

# How many differences of one case are shown, how much of its packets, and how many cases are told by halving.
SHOWN_DIFFERENCES = 6
SHOWN_CHARACTERS = 600
TOLD_CASES = 12


class Batches:
    """Sends cases through a pair; no two times of sending one share a name."""

    def __init__(self, pair: Pair, idle_flushes: int) -> None:
        self._pair = pair
        self._idle_flushes = idle_flushes
        self._numbers = itertools.count(1)
        # The names that cases claimed; after a failed attempt they are still flushed.
        self._claims: dict[str, int] = {}

    def run(self, cases: list[Case]) -> Tally:
        """Send cases and compare every flush."""
        last: MissedIntervalError | None = None
        for _ in range(ATTEMPTS):
            try:
                tally, wrong, own_differences = self._attempt(cases)
            except MissedIntervalError as missed:
                last = missed
                continue
            if wrong:
                tally.wrong += self._explain(wrong)
            elif own_differences:
                tally.wrong += own_differences + self._culprits(cases)
            return tally
        raise ConformanceError(f"no interval held all packets in {ATTEMPTS} attempts: {last}")

    def _attempt(self, cases: list[Case]) -> tuple[Tally, list[Numbered], list[str]]:
        numbered = [Numbered(case, next(self._numbers)) for case in cases]
        self._claims |= {claim: one.number for one in numbered for claim in one.case.claims}
        tally = Tally(cases=len(cases))
        own_differences: list[str] = []
        for stage, packets in self._stages(numbered):
            exchange = self._pair.exchange(packets)
            tally.packets += len(packets)
            own_differences += self._compare(stage, exchange, numbered, tally)
        return tally, [one for one in numbered if one.wrong], own_differences

    def _stages(self, numbered: list[Numbered]) -> Iterator[tuple[str, list[bytes]]]:
        yield "first", [packet for one in numbered for packet in one.fill(one.case.packets)]
        yield "then", [packet for one in numbered for packet in one.fill(one.case.then)]
        for _ in range(self._idle_flushes):
            yield "idle", []

    def _compare(self, stage: str, exchange: Exchange, numbered: list[Numbered], tally: Tally) -> list[str]:
        etsy, ours = exchange.etsy.values, exchange.ours
        found = differences(etsy, ours)
        tally.series = max(tally.series, len(etsy.keys() | ours.keys()))
        tally.values += len(etsy) - len(found.keys() & etsy.keys())
        here = {one.number: one for one in numbered}
        own_differences = []
        for number, differing in by_owner(found, lambda series: owner(series, self._claims)).items():
            lines = [f"{stage} flush: {series}: {difference}" for series, difference in differing]
            if number is None:
                own_differences += lines
            elif number in here:
                here[number].wrong += lines
        return own_differences

    def _explain(self, wrong: list[Numbered]) -> list[str]:
        """Tell what is wrong with cases: lines that are wrong by themselves, where there are such, else the whole."""
        lines = [
            Case(f"{one.case.title}, a line of it", (line,))
            for one in wrong[:TOLD_CASES]
            for line in dict.fromkeys(b"\n".join(one.case.packets + one.case.then).split(b"\n"))
            if len(one.case.packets) > 1
        ]
        try:
            _, alone, _ = self._attempt(lines)
        except MissedIntervalError:
            alone = []
        explained = {one.case.title.removesuffix(", a line of it") for one in alone}
        return [describe(one) for one in alone + [one for one in wrong if one.case.title not in explained]]

    def _culprits(self, cases: list[Case]) -> list[str]:
        """Find the cases that make the servers' own counters differ."""
        if len(cases) == 1:
            return [f"{cases[0].title}: the servers' own series differ by it; {shown(cases[0])}"]
        found: list[str] = []
        middle = len(cases) // 2
        for half in (cases[:middle], cases[middle:]):
            if len(found) >= TOLD_CASES:
                break
            try:
                _, wrong, own_differences = self._attempt(half)
            except MissedIntervalError:
                continue
            if own_differences and not wrong:
                found += self._culprits(half)
        return found


def shown(case: Case) -> str:
    """Write the packets of a case for people."""
    text = f"sent {list(case.packets)}"
    if case.then:
        text += f", then {list(case.then)}"
    return text if len(text) < SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


def describe(one: Numbered) -> str:
    """Write what was wrong with a case."""
    more = len(one.wrong) - SHOWN_DIFFERENCES
    lines = [f"{one.case.title}: {shown(one.case)}", *one.wrong[:SHOWN_DIFFERENCES]]
    if more > 0:
        lines.append(f"… and {more} more")
    return "\n    ".join(lines)
