"""An asyncio statsd client: ``stats.incr("my_counter")`` is all that a bot writes.

The way of a line: :mod:`client` makes it, :mod:`packets` holds it and puts it into a packet with others,
:mod:`connection` finds the server and sends the packet, :mod:`counts` knows what became of it.
"""

from .client import AsyncPipeline, AsyncStatsClient, StatsTimer
from .counts import ClientCounts, DropReason

__all__ = ["AsyncPipeline", "AsyncStatsClient", "ClientCounts", "DropReason", "StatsTimer"]
