"""A statsd server for the tests: a real UDP socket on the loopback that keeps every packet it gets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

WAIT = 5.0


class UdpServer(asyncio.DatagramProtocol):
    """Keeps packets until they are asked for."""

    def __init__(self) -> None:
        self.packets: asyncio.Queue[bytes] = asyncio.Queue()
        self.transport: asyncio.DatagramTransport | None = None
        self.port = 0

    @classmethod
    async def listen(cls, host: str = "127.0.0.1", port: int = 0) -> UdpServer:
        transport, server = await asyncio.get_running_loop().create_datagram_endpoint(cls, local_addr=(host, port))
        server.transport = transport
        server.port = transport.get_extra_info("sockname")[1]
        return server

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.packets.put_nowait(data)

    async def packet(self) -> bytes:
        """Wait for the next packet."""
        return await asyncio.wait_for(self.packets.get(), WAIT)

    async def lines(self, count: int) -> list[str]:
        """Wait for the next lines, in however many packets; probes (empty lines) are left out."""
        lines: list[str] = []
        while len(lines) < count:
            lines += [line for line in (await self.packet()).decode().split("\n") if line]
        return lines

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()


Listen = Callable[..., Awaitable[UdpServer]]


@pytest_asyncio.fixture
async def listen() -> AsyncIterator[Listen]:
    servers: list[UdpServer] = []

    async def listen_and_keep(host: str = "127.0.0.1", port: int = 0) -> UdpServer:
        servers.append(await UdpServer.listen(host, port))
        return servers[-1]

    yield listen_and_keep
    for server in servers:
        server.close()


@pytest_asyncio.fixture
async def server(listen: Listen) -> UdpServer:
    return await listen()


@pytest.fixture
def unused_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


async def eventually(condition: Callable[[], object]) -> None:
    """Return when the condition holds; fail when it does not come to hold."""
    deadline = asyncio.get_running_loop().time() + WAIT
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "the condition did not come to hold"
        await asyncio.sleep(0.01)
