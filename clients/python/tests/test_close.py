"""How a client ends, and what becomes of what it holds."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from statline_client import AsyncStatsClient

from .conftest import UdpServer


async def test_close_sends_what_is_held(server: UdpServer):
    stats = await AsyncStatsClient.create("127.0.0.1", server.port, flush_delay=3600)
    stats.incr("last")
    assert server.packets.empty()
    await stats.close()
    assert await server.packet() == b"last:1|c"
    assert stats.dropped == {}


async def test_context_manager_starts_and_closes(server: UdpServer):
    async with AsyncStatsClient("127.0.0.1", server.port) as stats:
        stats.incr("inside")
    assert await server.packet() == b"inside:1|c"
    assert stats.dropped == {}


async def test_lines_after_close_are_dropped_and_counted(server: UdpServer):
    stats = await AsyncStatsClient.create("127.0.0.1", server.port)
    await stats.close()
    await stats.close()
    stats.incr("late")
    stats.gauge("late", -1)
    assert stats.dropped == {"closed": 3}


async def test_close_without_a_server_ends_in_time_and_counts_what_was_left(server: UdpServer):
    loop = asyncio.get_running_loop()
    stats = await AsyncStatsClient.create("does-not-exist.invalid", server.port)
    stats.incr("nowhere")
    stats.incr("to_go")
    began = loop.time()
    await stats.close(timeout=0.2)
    assert loop.time() - began < 1.0
    assert stats.dropped == {"closed": 2}


async def test_close_during_a_hanging_look_up_ends_in_time(monkeypatch: pytest.MonkeyPatch):
    async def hanging(*_arguments: Any, **_options: Any) -> list[Any]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", hanging)
    stats = await AsyncStatsClient.create("statsd", 8125, ready_timeout=0.01)
    stats.incr("nowhere")
    await asyncio.wait_for(stats.close(timeout=0.1), 1.0)
    assert stats.dropped == {"closed": 1}
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "statline-client"]


async def test_close_of_a_client_that_never_started():
    stats = AsyncStatsClient("127.0.0.1", 8125)
    stats.incr("never")
    await stats.close()
    assert stats.dropped == {"closed": 1}


async def test_no_socket_is_left_open(server: UdpServer, monkeypatch: pytest.MonkeyPatch):
    opened: list[socket.socket] = []
    real_socket = socket.socket

    def remembered(*arguments: Any, **options: Any) -> socket.socket:
        opened.append(real_socket(*arguments, **options))
        return opened[-1]

    monkeypatch.setattr(socket, "socket", remembered)
    async with await AsyncStatsClient.create("127.0.0.1", server.port) as stats:
        stats.incr("one")
        await server.packet()
    assert [sock.fileno() for sock in opened] == [-1]
