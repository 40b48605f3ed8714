"""PyPI's `aiodogstatsd`."""

from __future__ import annotations

import aiodogstatsd


async def test_every_call_arrives(daemon):
    async with aiodogstatsd.Client(
        host=daemon.host, port=daemon.port, namespace="aio", constant_tags={"site": "berlin"}
    ) as client:
        client.increment("hits", value=3, tags={"page": "home"})
        client.decrement("hits", tags={"page": "home"})
        client.gauge("level", value=7)
        client.timing("query", value=20)
        client.histogram("size", value=4)
        client.distribution("latency", value=0.5)
        with client.timeit("block"):
            pass
    arrived = daemon.arrived("aio")
    assert arrived.pop("stats.timers.aio.block.sum;site=berlin") >= 0
    assert arrived.pop("stats.timers.aio.block.upper;site=berlin") >= 0
    assert arrived == {
        "stats_counts.aio.hits;page=home;site=berlin": 2,
        "stats.gauges.aio.level;site=berlin": 7,
        "stats.timers.aio.block.count;site=berlin": 1,
        **{
            f"stats.timers.aio.{leaf}.{figure};site=berlin": value
            for leaf, sample in (("query", 20), ("size", 4), ("latency", 0.5))
            for figure, value in (("count", 1), ("sum", sample), ("upper", sample))
        },
    }
