"""Live statsd traffic of a made-up community, sent with the asyncio client.

What it sends, how often and at which level stands in community.json beside this file. Most counters are chance events
at those rates. Messages choose their channels by the channels' shares. The help channels are played out: they are
claimed, stay in use for a while, close for one of several reasons and rest before they are offered again, so that
gauges, counters and timings fit together.

Time inside runs ``--speed`` times as fast as outside: at 60 a day passes in 24 minutes and a counter grows 60 times as
fast as in the back-filled history; at 1 the traffic carries on where the history ends. Durations are those inside.
It opens with one event of every kind, so that no panel has to wait for a rare one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import heapq
import json
import logging
import math
import random
import signal
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from statline_client import AsyncStatsClient

logger = logging.getLogger("traffic")

CATALOGUE = Path(__file__).with_name("community.json")
TICK_SECONDS = 0.25
GAUGE_SECONDS = 5.0
LARGEST_BACKLOG_TICKS = 40
CLOSE_REASONS = "help.dormant_calls."
CHANNELS = "channels."


@dataclass(frozen=True)
class Metric:
    """One entry of the catalogue; its "about" says what each field means."""

    name: str
    kind: str
    mean: float
    spread: float
    daily: float
    per_hour: float
    growth_per_day: float
    category: str | None


@dataclass(frozen=True)
class Catalogue:
    """The metrics of the community, and its rhythm."""

    metrics: dict[str, Metric]
    peak_hour: float
    weekend_factor: float
    channels_offered: int

    @classmethod
    def read(cls, path: Path) -> Catalogue:
        """Read the catalogue's file."""
        whole: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        metrics = [
            Metric(
                name=entry["name"],
                kind=entry["type"],
                mean=entry["mean"],
                spread=entry["spread"],
                daily=entry["daily"],
                per_hour=entry.get("per_hour", 0.0),
                growth_per_day=entry.get("growth_per_day", 0.0),
                category=entry.get("category"),
            )
            for entry in whole["metrics"]
        ]
        return cls(
            metrics={metric.name: metric for metric in metrics},
            peak_hour=whole["peak_hour_utc"],
            weekend_factor=whole["weekend_factor"],
            channels_offered=whole["help_channels"]["available"],
        )

    def named(self, prefix: str) -> list[Metric]:
        """Return the metrics whose names begin so."""
        return [metric for metric in self.metrics.values() if metric.name.startswith(prefix)]

    def swing(self, daily: float, at: datetime) -> float:
        """Return the factor of the time of day."""
        hour = at.hour + at.minute / 60
        return 1 + daily * math.cos(2 * math.pi * (hour - self.peak_hour) / 24)

    def events_per_hour(self, metric: Metric, at: datetime) -> float:
        """Return the expected rate of a counter, or of a timing's events."""
        rate = metric.per_hour if metric.kind == "timing" else metric.mean
        return rate * self.swing(metric.daily, at) * (self.weekend_factor if at.weekday() >= 5 else 1.0)


class Chance:
    """The dice: a seeded source of the distributions that the simulation needs."""

    def __init__(self, seed: int | None) -> None:
        self.source = random.Random(seed)

    def events(self, expected: float) -> int:
        """Return how many chance events happened where so many were expected (Poisson)."""
        if expected > 50:
            return max(0, round(self.source.gauss(expected, math.sqrt(expected))))
        threshold = math.exp(-expected)
        product = self.source.random()
        events = 0
        while product > threshold:
            events += 1
            product *= self.source.random()
        return events

    def duration(self, metric: Metric) -> float:
        """Return one timing, in its unit (log-normal)."""
        variance = math.log(1 + metric.spread**2)
        return self.source.lognormvariate(math.log(metric.mean) - variance / 2, math.sqrt(variance))

    def factor(self, spread: float) -> float:
        """Return a positive factor around 1."""
        return self.source.gammavariate(1 / spread**2, spread**2) if spread > 0 else 1.0

    def one_of(self, metrics: list[Metric]) -> Metric:
        """Return one of the metrics, by their means."""
        return self.source.choices(metrics, weights=[metric.mean for metric in metrics])[0]


class HelpChannels:
    """The help channels: offered, in use or dormant, and what is counted when one moves."""

    def __init__(self, catalogue: Catalogue, chance: Chance, stats: AsyncStatsClient, now: datetime) -> None:
        self._chance = chance
        self._stats = stats
        self._time_in_use = catalogue.metrics["help.in_use_time"]
        self._reasons = catalogue.named(CLOSE_REASONS)
        self._outcomes = catalogue.named("help.sessions.")
        self._invokers = catalogue.named("help.dormant_invoke.")
        self._offered_count = catalogue.channels_offered
        self._dormant = [metric for metric in catalogue.named(CHANNELS) if metric.category == "Help"]
        chance.source.shuffle(self._dormant)
        self._offered = [self._dormant.pop() for _ in range(self._offered_count)]
        # (when it closes, its name, the channel, when it was claimed); the name settles which of two comes first
        self._in_use: list[tuple[datetime, str, Metric, datetime]] = []
        level = catalogue.metrics["help.total.in_use"]
        for _ in range(min(len(self._dormant), round(level.mean * catalogue.swing(level.daily, now)))):
            duration = self._draw_duration()
            self._occupy(self._dormant.pop(), now - duration * chance.source.random(), duration)
        self.send_levels()

    def channel_for_message(self, drawn: Metric) -> Metric:
        """Return the channel a message for a help channel goes to: one in use, whatever was drawn."""
        return self._chance.source.choice(self._in_use)[2] if self._in_use else drawn

    def claim(self, now: datetime) -> None:
        """Let somebody open a session, if a channel is offered."""
        if not self._offered:
            self._stats.incr("help.out_of_channel_alerts")
            return
        channel = self._offered.pop(0)
        self._occupy(channel, now, self._draw_duration())
        self._stats.incr("help.claimed")
        self._offer()
        if len(self._offered) + len(self._dormant) <= 4:
            self._stats.incr("help.running_low_alerts")
        self.send_levels()

    def close_due(self, now: datetime) -> None:
        """Close the sessions whose time is over."""
        while self._in_use and self._in_use[0][0] <= now:
            self._close(self._chance.one_of(self._reasons), self._chance.one_of(self._outcomes))

    def close_for_each_reason(self) -> None:
        """Close as many sessions as there are reasons to close one, one for each."""
        for number, reason in enumerate(self._reasons):
            if self._in_use:
                self._close(reason, self._outcomes[number % len(self._outcomes)])

    def send_levels(self) -> None:
        """Send how many channels are in each state."""
        self._stats.gauge("help.total.in_use", len(self._in_use))
        self._stats.gauge("help.total.available", len(self._offered))
        self._stats.gauge("help.total.dormant", len(self._dormant))

    def _draw_duration(self) -> timedelta:
        return timedelta(milliseconds=self._chance.duration(self._time_in_use))

    def _occupy(self, channel: Metric, claimed: datetime, duration: timedelta) -> None:
        heapq.heappush(self._in_use, (claimed + duration, channel.name, channel, claimed))

    def _close(self, reason: Metric, outcome: Metric) -> None:
        closes, _name, channel, claimed = heapq.heappop(self._in_use)
        self._stats.timing(self._time_in_use.name, closes - claimed)
        self._stats.incr(reason.name)
        self._stats.incr(outcome.name)
        if reason.name == CLOSE_REASONS + "command":
            self._stats.incr("commands.close")
            self._stats.incr(self._chance.one_of(self._invokers).name)
        self._dormant.append(channel)
        self._offer()
        self.send_levels()

    def _offer(self) -> None:
        while self._dormant and len(self._offered) < self._offered_count:
            self._offered.append(self._dormant.pop(0))


class Community:
    """Everything that happens, one step of inside time after another."""

    # What the help channels bring about by themselves as they are played out.
    PLAYED_OUT = (
        "help.claimed",
        "help.sessions.",
        CLOSE_REASONS,
        "help.dormant_invoke.",
        "help.running_low_alerts",
        "help.out_of_channel_alerts",
        "help.total.",
        "help.in_use_time",
        "commands.close",
    )

    def __init__(self, catalogue: Catalogue, chance: Chance, stats: AsyncStatsClient, now: datetime) -> None:
        self._catalogue = catalogue
        self._chance = chance
        self._stats = stats
        self._began = self._now = now
        self._channels = catalogue.named(CHANNELS)
        self._messages = catalogue.metrics["messages"]
        self._claims = catalogue.metrics["help.claimed"]
        others = [
            metric
            for metric in catalogue.metrics.values()
            if not metric.name.startswith(self.PLAYED_OUT) and metric is not self._messages
        ]
        self._gauges = [metric for metric in others if metric.kind == "gauge"]
        self._counters = [
            metric for metric in others if metric.kind == "counter" and not metric.name.startswith(CHANNELS)
        ]
        self._deviations = {metric.name: 0.0 for metric in self._gauges}
        self._hourly_factors: dict[str, float] = {}
        self._draw_hourly_factors()
        self._help = HelpChannels(catalogue, chance, stats, now)

    def open_with_one_of_each(self) -> None:
        """Let one event of every kind happen."""
        for metric in self._counters:
            self._stats.incr(metric.name)
        for channel in self._channels:
            self._write_message(channel)
        self._help.close_for_each_reason()
        self._help.claim(self._now)
        for metric in self._catalogue.named("help.dormant_invoke."):
            self._stats.incr(metric.name)
        self._stats.incr("help.running_low_alerts")
        self._stats.incr("help.out_of_channel_alerts")
        self.send_gauges()

    def step(self, seconds: float) -> None:
        """Let so much inside time pass."""
        hour_before = self._now.hour
        self._now += timedelta(seconds=seconds)
        if self._now.hour != hour_before:
            self._draw_hourly_factors()
        for metric in self._counters:
            count = self._events(metric, seconds)
            if count:
                self._stats.incr(metric.name, count)
        for _ in range(self._events(self._messages, seconds)):
            drawn = self._chance.one_of(self._channels)
            self._write_message(self._help.channel_for_message(drawn) if drawn.category == "Help" else drawn)
        for _ in range(self._events(self._claims, seconds)):
            self._help.claim(self._now)
        self._help.close_due(self._now)

    def send_gauges(self) -> None:
        """Send every level; each wanders slowly around what the catalogue says of this hour."""
        days = (self._now - self._began) / timedelta(days=1)
        for metric in self._gauges:
            wandered = 0.97 * self._deviations[metric.name] + self._chance.source.gauss(0, metric.spread * 0.24)
            self._deviations[metric.name] = wandered
            level = metric.mean * self._catalogue.swing(metric.daily, self._now) * (1 + wandered)
            self._stats.gauge(metric.name, max(0, round(level + metric.growth_per_day * days)))
        self._help.send_levels()

    def _write_message(self, channel: Metric) -> None:
        self._stats.incr(channel.name)
        self._stats.incr("messages")

    def _events(self, metric: Metric, seconds: float) -> int:
        rate = self._catalogue.events_per_hour(metric, self._now) * self._hourly_factors[metric.name]
        return self._chance.events(rate * seconds / 3600)

    def _draw_hourly_factors(self) -> None:
        for metric in (*self._counters, self._messages, self._claims):
            self._hourly_factors[metric.name] = self._chance.factor(metric.spread)


async def play(community: Community, speed: float, duration: float) -> None:
    """Run the community in step with the clock, for ``duration`` seconds outside, or for ever when that is 0."""
    loop = asyncio.get_running_loop()
    community.open_with_one_of_each()
    next_tick = began = loop.time()
    next_gauges = began + GAUGE_SECONDS
    while duration == 0 or loop.time() - began < duration:
        next_tick += TICK_SECONDS
        # A machine that slept has a backlog; what is left out of it did not happen.
        next_tick = max(next_tick, loop.time() - LARGEST_BACKLOG_TICKS * TICK_SECONDS)
        await asyncio.sleep(max(0.0, next_tick - loop.time()))
        community.step(TICK_SECONDS * speed)
        if loop.time() >= next_gauges:
            next_gauges += GAUGE_SECONDS
            community.send_gauges()


async def run(arguments: argparse.Namespace) -> None:
    """Send traffic until the duration is over or a signal asks to stop."""
    catalogue = Catalogue.read(arguments.catalogue)
    stats = await AsyncStatsClient.create(arguments.host, arguments.port, arguments.prefix)
    community = Community(catalogue, Chance(arguments.seed), stats, datetime.now(timezone.utc))
    player = asyncio.create_task(play(community, arguments.speed, arguments.duration))
    stop_on_signals(player.cancel)
    logger.info(
        "%d metrics to %s:%d, speed %g", len(catalogue.metrics), arguments.host, arguments.port, arguments.speed
    )
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await player
    finally:
        await stats.close()
        counts = stats.counts
        logger.info(
            "sent lines=%d packets=%d dropped=%s", counts.lines_sent, counts.packets_sent, dict(counts.dropped) or 0
        )


def stop_on_signals(stop: Callable[[], object]) -> None:
    """Call ``stop`` at SIGINT and SIGTERM; where a loop knows no signals, Ctrl-C remains."""
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(name, stop)


def parse(words: Iterable[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Send the statsd traffic of a made-up community.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8125)
    parser.add_argument("--prefix", default="bot", help="put before every name (default: %(default)s)")
    parser.add_argument(
        "--speed", type=float, default=60.0, help="seconds inside for one outside (default: %(default)g)"
    )
    parser.add_argument("--duration", type=float, default=0.0, help="seconds to run for; 0, the default, is for ever")
    parser.add_argument("--seed", type=int, help="makes the dice repeat themselves")
    parser.add_argument("--catalogue", type=Path, default=CATALOGUE, help="the metrics (default: %(default)s)")
    arguments = parser.parse_args(list(words))
    if arguments.speed <= 0 or arguments.duration < 0:
        parser.error("--speed must be positive and --duration must not be negative")
    return arguments


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s", stream=sys.stderr)
    asyncio.run(run(parse(sys.argv[1:])))
