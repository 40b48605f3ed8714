"""What each method puts on the wire."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

import pytest
import statsd

from statline_client import AsyncStatsClient

from .conftest import UdpServer


async def test_lines_are_those_of_the_synchronous_client(server: UdpServer):
    def use(client: statsd.StatsClient | AsyncStatsClient) -> None:
        client.incr("plain")
        client.incr("by", 5)
        client.decr("down", 3)
        client.gauge("level", 7)
        client.gauge("change", 4, delta=True)
        client.gauge("change", -4, delta=True)
        client.timing("took", 1234.56789)
        client.timing("delta", timedelta(seconds=1, microseconds=5))
        client.set("who", "somebody")
        client.incr("always", rate=1)

    synchronous = statsd.StatsClient("127.0.0.1", server.port, prefix="bot")
    use(synchronous)
    synchronous.close()
    expected = await server.lines(10)

    async with await AsyncStatsClient.create("127.0.0.1", server.port, "bot") as stats:
        use(stats)
        assert await server.lines(10) == expected
    assert expected[0] == "bot.plain:1|c"
    assert expected[6] == "bot.took:1234.567890|ms"


async def test_sampled_lines_carry_their_rate(server: UdpServer):
    async with await AsyncStatsClient.create("127.0.0.1", server.port) as stats:
        for _ in range(2000):
            stats.incr("sampled", rate=0.5)
        await asyncio.sleep(0)
        stats.flush()
        sent = stats.counts.lines_sent
    assert 800 < sent < 1200
    assert set(await server.lines(sent)) == {"sampled:1|c|@0.5"}
    assert stats.dropped == {}


@pytest.mark.parametrize("value", [-5, -0.5, -0.0])
async def test_negative_gauge_is_zero_then_a_change_in_one_packet(server: UdpServer, value: float):
    async with await AsyncStatsClient.create("127.0.0.1", server.port, "bot") as stats:
        stats.gauge("temperature", value)
        assert await server.packet() == f"bot.temperature:0|g\nbot.temperature:{value}|g".encode()


async def test_negative_gauge_is_not_torn_apart_by_a_packet_boundary(server: UdpServer):
    async with await AsyncStatsClient.create("127.0.0.1", server.port, max_packet_size=40) as stats:
        stats.incr("x" * 16)
        stats.gauge("temperature", -5)
        assert await server.packet() == b"x" * 16 + b":1|c"
        assert await server.packet() == b"temperature:0|g\ntemperature:-5|g"


async def test_pipeline_holds_lines_back_and_keeps_their_order(server: UdpServer):
    async with await AsyncStatsClient.create("127.0.0.1", server.port, "bot", flush_delay=0) as stats:
        pipe = stats.pipeline()
        pipe.incr("first")
        pipe.gauge("second", -1)
        with pipe.pipeline() as inner:
            inner.timing("third", 3)
        stats.incr("before")
        assert await server.lines(1) == ["bot.before:1|c"]
        pipe.send()
        assert await server.packet() == b"bot.first:1|c\nbot.second:0|g\nbot.second:-1|g\nbot.third:3.000000|ms"


async def test_timer_times_blocks_functions_and_async_functions(server: UdpServer):
    async with await AsyncStatsClient.create("127.0.0.1", server.port) as stats:

        @stats.timer("function")
        def function() -> str:
            return "done"

        @stats.timer("coroutine")
        async def coroutine() -> str:
            await asyncio.sleep(0.05)
            return "done"

        with stats.timer("block"):
            assert function() == "done"
        assert await coroutine() == "done"
        lines = await server.lines(3)
    names = [line.partition(":")[0] for line in lines]
    milliseconds = [float(line.partition(":")[2].removesuffix("|ms")) for line in lines]
    assert names == ["function", "block", "coroutine"]
    assert 0 <= milliseconds[0] <= milliseconds[1] < 1000
    assert 45 < milliseconds[2] < 2000


@pytest.mark.parametrize("name", ["a\nb", "a:b", "a|b", "a\r", "\ud800"])
async def test_name_that_would_corrupt_its_neighbours_is_dropped_counted_and_logged_once(
    server: UdpServer, caplog: pytest.LogCaptureFixture, name: str
):
    async with await AsyncStatsClient.create("127.0.0.1", server.port) as stats:
        with caplog.at_level(logging.WARNING, "statline_client"):
            stats.incr("before")
            stats.incr(name)
            stats.gauge(name, -1)
            with stats.pipeline() as pipe:
                pipe.timing(name, 1)
            stats.incr("after")
        assert await server.packet() == b"before:1|c\nafter:1|c"
    # a negative gauge is two lines
    assert stats.dropped == {"invalid_name": 4}
    assert len(caplog.records) == 1


async def test_set_value_that_would_corrupt_its_neighbours_is_dropped(server: UdpServer):
    async with await AsyncStatsClient.create("127.0.0.1", server.port) as stats:
        stats.set("who", "me|s\nforged:1|c")
        stats.set("who", "me")
        assert await server.packet() == b"who:me|s"
    assert stats.dropped == {"invalid_value": 1}


async def test_names_and_values_are_sent_as_they_are(server: UdpServer):
    async with await AsyncStatsClient.create("127.0.0.1", server.port) as stats:
        stats.incr("kanal straße/1")
        stats.gauge("nan", float("nan"))
        assert await server.lines(2) == ["kanal straße/1:1|c", "nan:nan|g"]


@pytest.mark.parametrize(
    "arguments",
    [
        {"port": 0},
        {"port": 65536},
        {"prefix": "a:b"},
        {"max_packet_size": 0},
        {"buffer_limit": 100},
        {"flush_delay": -1},
        {"resolve_interval": 0},
    ],
)
def test_impossible_arguments_are_refused(arguments: dict[str, object]):
    with pytest.raises(ValueError, match=r"is |are "):
        AsyncStatsClient(**arguments)
