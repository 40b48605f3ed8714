"""What happens while the server, its name or its address come and go."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from statline_client import AsyncStatsClient
from statline_client.connection import LARGEST_BACKOFF, backoff_delay

from .conftest import Listen, UdpServer, eventually

MISSING_HOST = "does-not-exist.invalid"


def resolve_to(monkeypatch: pytest.MonkeyPatch, *hosts: str) -> None:
    """Let every name stand for these addresses, in the running loop."""

    async def getaddrinfo(_host: str, port: int, **_options: Any) -> list[tuple[Any, ...]]:
        infos: list[tuple[Any, ...]] = []
        for host in hosts:
            infos += socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)
        return infos

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)


def loopback_has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not loopback_has_ipv6(), reason="the loopback has no IPv6 here")


@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=needs_ipv6)])
async def test_server_is_reached_over_either_family(listen: Listen, host: str):
    server = await listen(host)
    async with await AsyncStatsClient.create(host, server.port) as stats:
        stats.incr("reached")
        assert await server.packet() == b"reached:1|c"
        assert stats.peer == (host, server.port)


async def test_server_is_reached_by_name(server: UdpServer):
    async with await AsyncStatsClient.create("localhost", server.port) as stats:
        stats.incr("reached")
        assert await server.lines(1) == ["reached:1|c"]


@needs_ipv6
async def test_address_that_refuses_gives_way_to_the_next(server: UdpServer, monkeypatch: pytest.MonkeyPatch):
    resolve_to(monkeypatch, "::1", "127.0.0.1")
    async with await AsyncStatsClient.create("localhost", server.port) as stats:
        stats.incr("reached")
        assert await server.lines(1) == ["reached:1|c"]
        assert stats.peer == ("127.0.0.1", server.port)


async def test_unreachable_family_gives_way_to_the_next(server: UdpServer, monkeypatch: pytest.MonkeyPatch):
    async def getaddrinfo(_host: str, port: int, **_options: Any) -> list[tuple[Any, ...]]:
        return [
            (socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("255.255.255.255", port)),  # EACCES without SO_BROADCAST
            (socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("127.0.0.1", port)),
        ]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    async with await AsyncStatsClient.create("statsd", server.port) as stats:
        stats.incr("reached")
        assert await server.lines(1) == ["reached:1|c"]


async def test_server_that_is_away_raises_nothing_and_is_found_when_it_is_back(
    listen: Listen, unused_port: int, caplog: pytest.LogCaptureFixture
):
    async with await AsyncStatsClient.create("127.0.0.1", unused_port, flush_delay=0.01) as stats:
        with caplog.at_level(logging.WARNING, "statline_client"):
            while stats.counts.socket_errors < 3:
                stats.incr("away")
                await asyncio.sleep(0.02)
        assert len(caplog.records) == 1
        server = await listen("127.0.0.1", unused_port)
        stats.incr("back")
        assert (await server.lines(1))[-1] == "back:1|c"


async def test_lines_given_during_a_dns_failure_at_start_arrive_once_the_name_resolves(
    server: UdpServer, monkeypatch: pytest.MonkeyPatch
):
    stats = await AsyncStatsClient.create(MISSING_HOST, server.port, "bot")
    stats.incr("early")
    assert stats.peer is None
    await eventually(lambda: stats.counts.resolve_failures >= 1)
    resolve_to(monkeypatch, "127.0.0.1")
    stats.incr("later")
    assert await server.lines(2) == ["bot.early:1|c", "bot.later:1|c"]
    assert stats.counts.connects == 1
    await stats.close()
    assert stats.dropped == {}


@pytest.mark.parametrize("error", [UnicodeError("label too long"), RuntimeError("a resolver of its own kind")])
async def test_resolver_that_raises_anything_is_asked_again(
    server: UdpServer, monkeypatch: pytest.MonkeyPatch, error: Exception
):
    async def failing(*_arguments: Any, **_options: Any) -> list[Any]:
        raise error

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", failing)
    async with await AsyncStatsClient.create("statsd", server.port) as stats:
        stats.incr("early")
        resolve_to(monkeypatch, "127.0.0.1")
        assert await server.lines(1) == ["early:1|c"]


async def test_server_that_moves_is_followed(listen: Listen, monkeypatch: pytest.MonkeyPatch):
    former = await listen("127.0.0.1")
    resolve_to(monkeypatch, "127.0.0.1")
    options: dict[str, Any] = {"resolve_interval": 0.05, "flush_delay": 0.01}
    async with await AsyncStatsClient.create("statsd", former.port, **options) as stats:
        stats.incr("one")
        assert await former.lines(1) == ["one:1|c"]
        latter = await listen("127.0.0.2", former.port)
        resolve_to(monkeypatch, "127.0.0.2")
        await eventually(lambda: stats.peer == ("127.0.0.2", former.port))
        stats.incr("two")
        assert await latter.lines(1) == ["two:1|c"]
        assert former.packets.empty()
        connects = stats.counts.connects
        await asyncio.sleep(0.2)
        assert stats.counts.connects == connects == 2


async def test_failed_look_up_later_on_does_not_stop_the_sending(server: UdpServer, monkeypatch: pytest.MonkeyPatch):
    options: dict[str, Any] = {"resolve_interval": 0.05, "flush_delay": 0.01}
    async with await AsyncStatsClient.create("localhost", server.port, **options) as stats:

        async def failing(*_arguments: Any, **_options: Any) -> list[Any]:
            raise socket.gaierror(socket.EAI_AGAIN, "try again")

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", failing)
        await eventually(lambda: stats.counts.resolve_failures >= 1)
        stats.incr("still_here")
        assert await server.lines(1) == ["still_here:1|c"]


async def longest_stall(of: Callable[[], object], seconds: float) -> float:
    """Start something and return for how long at most the loop then stood still."""
    loop = asyncio.get_running_loop()
    longest = 0.0
    began = last = loop.time()
    of()
    while last - began < seconds:
        await asyncio.sleep(0.005)
        now = loop.time()
        longest = max(longest, now - last)
        last = now
    return longest


async def test_slow_resolver_blocks_neither_the_loop_nor_the_caller(server: UdpServer, monkeypatch: pytest.MonkeyPatch):
    real_getaddrinfo = socket.getaddrinfo

    def slow_getaddrinfo(host: str, *arguments: Any, **options: Any) -> Any:
        time.sleep(1.5)
        return real_getaddrinfo("127.0.0.1", *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slow_getaddrinfo)
    loop = asyncio.get_running_loop()
    began = loop.time()
    stats = await AsyncStatsClient.create("statsd", server.port, ready_timeout=0.1)
    assert loop.time() - began < 0.8
    assert await longest_stall(lambda: stats.incr("patient"), 0.5) < 0.4
    assert stats.peer is None
    assert await server.lines(1) == ["patient:1|c"]
    await stats.close()


async def test_buffer_is_bounded_while_the_server_is_unknown_and_keeps_the_newest(
    server: UdpServer, monkeypatch: pytest.MonkeyPatch
):
    stats = await AsyncStatsClient.create(MISSING_HOST, server.port, buffer_limit=2000, flush_delay=0)
    for number in range(1000):
        stats.gauge("level", 1000 + number)
    held = 2000 // len("level:1000|g\n")
    assert stats.dropped == {"buffer_full": 1000 - held}
    resolve_to(monkeypatch, "127.0.0.1")
    assert await server.lines(held) == [f"level:{2000 - held + number}|g" for number in range(held)]
    await stats.close()


async def test_burst_beyond_what_the_socket_takes_is_bounded_and_accounted_for(server: UdpServer):
    async with await AsyncStatsClient.create("127.0.0.1", server.port) as stats:
        assert await longest_stall(lambda: [stats.incr("burst") for _ in range(20_000)], 0.5) < 2.0
    assert stats.counts.lines_sent + sum(stats.dropped.values()) == 20_000


def test_backoff_doubles_up_to_a_limit_and_is_jittered():
    random.seed(1)
    delays = [[backoff_delay(failures) for _ in range(200)] for failures in (1, 2, 3, 50, 100_000)]
    for attempts, longest in zip(delays, [0.5, 1.0, 2.0, LARGEST_BACKOFF, LARGEST_BACKOFF], strict=True):
        assert longest / 2 <= min(attempts) < max(attempts) <= longest
        assert len(set(attempts)) > 100
