"""Our own asyncio client."""

from __future__ import annotations

from datetime import timedelta

from statline_client import AsyncStatsClient


async def test_every_call_arrives(daemon):
    async with await AsyncStatsClient.create(daemon.host, daemon.port, "ours") as stats:
        stats.incr("requests")
        stats.incr("requests", 4)
        stats.decr("requests", 2)
        stats.gauge("balance", 5)
        stats.gauge("balance", 3, delta=True)
        stats.gauge("below", -70)
        stats.timing("render", timedelta(milliseconds=320))
        stats.timing("render", 80)
        stats.set("visitors", "älice")
        stats.set("visitors", "bob")
        with stats.pipeline() as pipe:
            pipe.incr("requests")
            pipe.timing("render", 100)
    assert not stats.dropped
    assert daemon.arrived("ours") == {
        "stats_counts.ours.requests": 4,
        "stats.gauges.ours.balance": 8,
        "stats.gauges.ours.below": -70,
        "stats.timers.ours.render.count": 3,
        "stats.timers.ours.render.sum": 500,
        "stats.timers.ours.render.upper": 320,
        "stats.sets.ours.visitors.count": 2,
    }
