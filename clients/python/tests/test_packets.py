"""How lines become packets, and when those are sent."""

from __future__ import annotations

import asyncio

import pytest

from statline_client import AsyncStatsClient
from statline_client.packets import Packet, PacketBuffer

from .conftest import UdpServer


def entries_of(*sizes: int) -> list[Packet]:
    return [Packet(b"x" * size, 1) for size in sizes]


@pytest.mark.parametrize(
    ("sizes", "packet_sizes"),
    [
        ([10], [10]),
        ([4, 5], [10]),
        ([5, 5], [5, 5]),
        ([10, 10], [10, 10]),
        ([1, 1, 1, 1, 1, 1], [9, 1]),
        ([9, 1, 8], [9, 10]),
    ],
)
def test_packet_is_filled_up_to_its_size_and_no_further(sizes: list[int], packet_sizes: list[int]):
    buffer = PacketBuffer(max_packet_size=10, limit=1000)
    for entry in entries_of(*sizes):
        assert buffer.add(entry) == 0
    packets = []
    while buffer:
        packets.append(buffer.take())
    assert [len(packet.payload) for packet in packets] == packet_sizes
    assert sum(packet.lines for packet in packets) == len(sizes)


def test_full_packet_is_known_when_the_next_line_would_not_fit():
    buffer = PacketBuffer(max_packet_size=10, limit=1000)
    buffer.add(Packet(b"x" * 10, 1))
    assert not buffer.holds_full_packet()
    buffer.add(Packet(b"x", 1))
    assert buffer.holds_full_packet()


def test_oldest_lines_give_way_when_the_buffer_is_full():
    buffer = PacketBuffer(max_packet_size=10, limit=22)
    buffer.add(Packet(b"a\na\na", 3))
    buffer.add(Packet(b"b" * 9, 1))
    assert buffer.add(Packet(b"c" * 9, 1)) == 3
    assert len(buffer) == 2
    assert buffer.clear() == 2
    assert not buffer


async def test_many_lines_travel_in_packets_below_the_mtu_and_in_order(server: UdpServer):
    async with await AsyncStatsClient.create("127.0.0.1", server.port, "bot") as stats:
        for number in range(1000):
            stats.incr(f"channels.channel_{number}")
    packets: list[bytes] = []
    while sum(packet.count(b"\n") + 1 for packet in packets) < 1000:
        packets.append(await server.packet())
    assert max(map(len, packets)) <= 1432
    assert all(len(packet) > 1432 - 40 for packet in packets[:-1])
    lines = b"\n".join(packets).decode().split("\n")
    assert lines == [f"bot.channels.channel_{number}:1|c" for number in range(1000)]
    assert stats.counts.lines_sent == 1000
    assert stats.counts.packets_sent == len(packets)
    assert stats.counts.bytes_sent == sum(map(len, packets))


async def test_line_waits_for_company_no_longer_than_the_flush_delay(server: UdpServer):
    loop = asyncio.get_running_loop()
    async with await AsyncStatsClient.create("127.0.0.1", server.port, flush_delay=0.2) as stats:
        began = loop.time()
        stats.incr("one")
        await asyncio.sleep(0.05)
        stats.incr("two")
        assert server.packets.empty()
        assert await server.packet() == b"one:1|c\ntwo:1|c"
        waited = loop.time() - began
        assert 0.19 < waited < 1.5
        await asyncio.sleep(0.25)
        assert server.packets.empty()


async def test_full_packet_does_not_wait_for_the_flush_delay(server: UdpServer):
    async with await AsyncStatsClient.create("127.0.0.1", server.port, max_packet_size=20, flush_delay=3600) as stats:
        for _ in range(3):
            stats.incr("counter")
        assert await server.packet() == b"counter:1|c"
        stats.flush()
        assert await server.packet() == b"counter:1|c"


async def test_line_larger_than_a_packet_is_dropped_and_counted(server: UdpServer):
    async with await AsyncStatsClient.create("127.0.0.1", server.port, max_packet_size=50) as stats:
        stats.incr("n" * 46)
        stats.incr("n" * 47)
        stats.gauge("n" * 30, -1)
        assert await server.packet() == b"n" * 46 + b":1|c"
    assert stats.dropped == {"line_too_long": 3}
