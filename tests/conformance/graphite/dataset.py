"""The series that both sides are given: steps, gaps, starts, sizes and tags of many kinds, the same each time."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import cache

HOUR = 3600
DAY = 24 * HOUR

# The newest instant of every series: a whole day, so that no window depends on the hour of a run.
END = 1_763_769_600  # 2025-11-22 00:00:00 UTC, a Saturday


@dataclass(frozen=True)
class Series:
    """A series with a value each step, the first at `start`; None where there is none."""

    name: str
    step: int
    start: int
    values: tuple[float | None, ...]


def _series(name: str, step: int, length: int, value: object, *, late: int = 0, gap: float = 0.0) -> Series:
    """Make a series of `length` seconds up to END; its first `late` steps, and some others, are missing."""
    chance = random.Random(name)
    start = END - length + step
    values: list[float | None] = []
    for index in range(length // step):
        seconds = start + index * step
        missing = index < late or chance.random() < gap
        values.append(None if missing else value(seconds, chance))  # type: ignore[operator]
    return Series(name, step, start, tuple(values))


def _wave(mean: float, swing: float, period: int, noise: float) -> object:
    return lambda seconds, chance: round(
        mean + swing * math.sin(2 * math.pi * seconds / period) + noise * (chance.random() - 0.5), 3
    )


def _steps(seconds: int, chance: random.Random) -> float:
    return float(chance.choice((0, 0, 0, 1, 1, 2, 5)))


def _counter(wrap: int) -> object:
    return lambda seconds, chance: float((seconds * 3 + chance.randrange(3)) % wrap)


@cache
def dataset() -> tuple[Series, ...]:
    """Every series; the parts of a name say its step."""
    ten, minute, five = 10, 60, 300
    return (
        _series("ten.web1.cpu.user", ten, 4 * HOUR, _wave(40, 20, HOUR, 10)),
        _series("ten.web1.cpu.system", ten, 4 * HOUR, _wave(10, 5, HOUR, 3)),
        _series("ten.web2.cpu.user", ten, 4 * HOUR, _wave(55, 25, 2 * HOUR, 20), gap=0.1),
        _series("ten.web2.cpu.system", ten, 4 * HOUR, _wave(12, 6, HOUR, 4), gap=0.4),
        _series("ten.web3.cpu.user", ten, 4 * HOUR, _wave(20, 5, HOUR, 2), late=1300),
        _series("min.app.requests", minute, 3 * DAY, _steps),
        _series("min.app.errors", minute, 3 * DAY, _steps, gap=0.5),
        _series("min.app.total", minute, 3 * DAY, _counter(20_000)),
        _series("min.db.size", minute, 3 * DAY, _wave(1.5e12, 2e11, DAY, 1e9)),
        _series("min.db.tiny", minute, 3 * DAY, _wave(3e-9, 2e-9, HOUR, 1e-9)),
        _series("min.db.level", minute, 3 * DAY, _wave(0, 10, 3 * HOUR, 1)),
        # There since long ago and until later, with nothing in between.
        Series("min.db.none", minute, END - 9 * DAY, (1.0, *(None,) * (9 * DAY // minute + 99), 1.0)),
        _series("min.db.flat", minute, 3 * DAY, lambda seconds, chance: 7.0),
        _series("min.db.late", minute, 3 * DAY, _wave(5, 2, HOUR, 1), late=3 * DAY // minute - 40),
        _series("five.load.short", five, 9 * DAY, _wave(2, 1, DAY, 0.5)),
        _series("five.load.long", five, 9 * DAY, _wave(3, 1, DAY, 0.2), gap=0.05),
        _series("five.disk.free", five, 9 * DAY, _wave(500, 20, 7 * DAY, 3)),
        _series("cpu;dc=eu;host=a", minute, 6 * HOUR, _wave(30, 9, HOUR, 4)),
        _series("cpu;dc=eu;host=b", minute, 6 * HOUR, _wave(50, 9, HOUR, 4), gap=0.2),
        _series("cpu;dc=us;host=c", minute, 6 * HOUR, _wave(70, 9, HOUR, 4)),
        _series("cpu;dc=us;host=d;rack=7", minute, 6 * HOUR, _wave(10, 3, HOUR, 2)),
        _series("mem;dc=eu;host=a", minute, 6 * HOUR, _wave(4e9, 1e9, HOUR, 1e8)),
    )


# carbon's storage-schemas.conf for them. They are kept longer than since END, in one tier each.
SCHEMAS = r"""
[ten]
pattern = ^ten\.
retentions = 10s:4000d
[five]
pattern = ^five\.
retentions = 5m:4000d
[rest]
pattern = .*
retentions = 1m:4000d
"""
