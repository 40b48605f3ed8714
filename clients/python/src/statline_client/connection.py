"""The way to the server: name resolution, the socket, and getting both back when they fail.

One task owns it all. It asks the resolver through the loop (one look-up at a time, in the loop's executor), opens a
connected datagram socket, looks the name up again now and then, and starts over with back-off and jitter when the
socket reports an error. While it does so the socket in use stays in use. Nothing here raises to the caller.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import random
import socket
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from .counts import ClientCounts, logger

FIRST_BACKOFF = 0.5
LARGEST_BACKOFF = 30.0
PROBE_WAIT = 0.05
EMPTY_LINE = b"\n"


class Address(NamedTuple):
    """One of the addresses a host name stands for."""

    family: int
    sockaddr: tuple[Any, ...]


def backoff_delay(failures: int) -> float:
    """Return the seconds to wait after so many failures in a row (1 or more): doubling, then capped, with jitter."""
    longest = min(LARGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(failures - 1, 16))
    return longest * random.uniform(0.5, 1.0)


def literal_address(host: str, port: int) -> Address | None:
    """Return the address that ``host`` spells out, or None when it is a name (or needs a scope) to be resolved."""
    try:
        parsed = ipaddress.ip_address(host)
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv4Address):
        return Address(socket.AF_INET, (host, port))
    return None if parsed.scope_id else Address(socket.AF_INET6, (host, port, 0, 0))


class _Endpoint(asyncio.DatagramProtocol):
    """One connected socket. It tells its connection when it may be written to and what went wrong."""

    def __init__(self, address: Address, connection: Connection) -> None:
        self.address = address
        self.writable = True
        self.last_error: Exception | None = None
        self.failed = asyncio.Event()
        self.closed = asyncio.Event()
        self._connection = connection
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def pause_writing(self) -> None:
        self.writable = False
        self._connection.endpoint_changed(self)

    def resume_writing(self) -> None:
        self.writable = True
        self._connection.endpoint_changed(self)

    def error_received(self, exc: Exception) -> None:
        self.last_error = exc
        self.failed.set()
        self._connection.endpoint_failed(self, exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self.writable = False
        self.closed.set()
        self._connection.endpoint_changed(self)
        if exc is not None:
            self.error_received(exc)

    def send(self, payload: bytes) -> bool:
        """Hand a packet to the socket; tell whether it took it."""
        if self._transport is None or self._transport.is_closing():
            return False
        self.last_error = None
        self._transport.sendto(payload)
        return self.last_error is None

    def close(self) -> None:
        """Close once everything that was handed over is sent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()


class Connection:
    """Keeps a datagram socket open to wherever ``host`` is.

    ``resolve_interval``: seconds between look-ups while all is well. ``on_writable``: called whenever sending becomes
    possible again.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        family: int,
        resolve_interval: float,
        counts: ClientCounts,
        on_writable: Callable[[], None],
    ) -> None:
        self._host = host
        self._port = port
        self._family = family
        self._resolve_interval = resolve_interval
        self._counts = counts
        self._on_writable = on_writable
        self._literal = literal_address(host, port)
        self._endpoint: _Endpoint | None = None
        self._writable = asyncio.Event()
        self._troubled = asyncio.Event()
        self._first_attempt_done = asyncio.Event()
        self._maintainer: asyncio.Task[None] | None = None
        self._trouble_logged = False

    @property
    def is_started(self) -> bool:
        """Whether a task looks after the socket."""
        return self._maintainer is not None

    @property
    def is_writable(self) -> bool:
        """Whether there is a socket that takes packets."""
        return self._writable.is_set()

    @property
    def peer(self) -> tuple[str, int] | None:
        """The address and port packets go to, or None while there is none."""
        return None if self._endpoint is None else self._endpoint.address.sockaddr[:2]

    def start(self) -> None:
        """Begin to look for the server, in a task of the running loop. Starting twice is starting once."""
        if self._maintainer is None:
            self._maintainer = asyncio.get_running_loop().create_task(self._maintain(), name="statline-client")

    async def wait_first_attempt(self) -> None:
        """Return when the first attempt has succeeded or failed."""
        await self._first_attempt_done.wait()

    async def wait_writable(self) -> None:
        """Return when packets can be sent."""
        await self._writable.wait()

    def send(self, payload: bytes) -> bool:
        """Hand a packet to the socket; tell whether it took it.

        A datagram socket reports what happened to an earlier packet by refusing the next one, so a refused packet is
        tried once more.
        """
        endpoint = self._endpoint
        return endpoint is not None and (endpoint.send(payload) or endpoint.send(payload))

    async def close(self, timeout: float) -> None:
        """Stop looking for the server, and close the socket after what it still holds, for ``timeout`` at most."""
        if self._maintainer is not None:
            self._maintainer.cancel()
            await asyncio.wait([self._maintainer])
        endpoint = self._endpoint
        if endpoint is None:
            return
        endpoint.close()
        try:
            await asyncio.wait_for(endpoint.closed.wait(), timeout)
        except asyncio.TimeoutError:
            logger.debug("socket still had packets to send after %.1f s", timeout)
        finally:
            endpoint.abort()

    def endpoint_changed(self, endpoint: _Endpoint) -> None:
        """Note that an endpoint may now be written to, or no longer."""
        if endpoint is not self._endpoint:
            return
        if endpoint.writable:
            self._writable.set()
            self._on_writable()
        else:
            self._writable.clear()

    def endpoint_failed(self, endpoint: _Endpoint, error: Exception) -> None:
        """Note that an endpoint's socket reported an error."""
        if endpoint is self._endpoint:
            self._counts.socket_errors += 1
            self._troubled.set()
            self._log_trouble("sending to", error)

    async def _maintain(self) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            connected = await self._connect_safely()
            self._first_attempt_done.set()
            if connected:
                connected_at = loop.time()
                if await self._trouble_before_next_look_up():
                    was_stable = loop.time() - connected_at > LARGEST_BACKOFF
                    failures = 0 if was_stable else failures
                else:
                    failures = 0
                    self._log_recovery()
                    continue
            failures += 1
            await asyncio.sleep(backoff_delay(failures))

    async def _trouble_before_next_look_up(self) -> bool:
        seconds = self._resolve_interval * random.uniform(0.9, 1.1)
        try:
            await asyncio.wait_for(self._troubled.wait(), seconds)
        except asyncio.TimeoutError:
            return False
        return True

    async def _connect_safely(self) -> bool:
        try:
            return await self._connect()
        except Exception as error:  # the task must outlive whatever a resolver or an event loop may raise
            self._log_trouble("reaching", error)
            return False

    async def _connect(self) -> bool:
        """Make sure of a socket to one of the host's addresses; tell whether there is one that is not refused."""
        try:
            addresses = await self._resolve()
        except (OSError, UnicodeError) as error:
            self._counts.resolve_failures += 1
            self._log_trouble("resolving", error)
            return False
        current = self._endpoint.address if self._endpoint is not None else None
        if current in addresses and not self._troubled.is_set():
            return True
        opened: list[_Endpoint] = []
        try:
            return await self._open_one_of(_after(addresses, current), opened)
        finally:
            for endpoint in opened:
                if endpoint is not self._endpoint:
                    endpoint.abort()

    async def _open_one_of(self, addresses: list[Address], opened: list[_Endpoint]) -> bool:
        """Adopt a socket to the first address that does not refuse; failing that, to the first that can be opened.

        Adds every socket it opens to ``opened``. Tells whether the adopted one was not refused.
        """
        for address in addresses:
            try:
                endpoint = await self._open(address)
            except OSError as error:
                self._log_trouble("reaching", error)
                continue
            opened.append(endpoint)
            if len(addresses) == 1 or not await self._is_refused(endpoint):
                self._adopt(endpoint)
                return True
        if opened:
            self._adopt(opened[0])
        return False

    async def _resolve(self) -> list[Address]:
        if self._literal is not None:
            return [self._literal]
        loop = asyncio.get_running_loop()
        infos = await loop.getaddrinfo(self._host, self._port, family=self._family, type=socket.SOCK_DGRAM)
        addresses = [Address(family, sockaddr) for family, _type, _proto, _name, sockaddr in infos]
        return list(dict.fromkeys(addresses))

    async def _open(self, address: Address) -> _Endpoint:
        sock = socket.socket(address.family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            sock.connect(address.sockaddr)  # only sets the peer: no packet, no waiting
            _transport, endpoint = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: _Endpoint(address, self), sock=sock
            )
        except BaseException:
            sock.close()
            raise
        return endpoint

    async def _is_refused(self, endpoint: _Endpoint) -> bool:
        """Tell whether nobody listens there, as ``localhost`` on IPv6 when the server has only IPv4."""
        endpoint.send(EMPTY_LINE)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(endpoint.failed.wait(), PROBE_WAIT)
        return endpoint.failed.is_set()

    def _adopt(self, endpoint: _Endpoint) -> None:
        former = self._endpoint
        self._endpoint = endpoint
        self._troubled.clear()
        self._counts.connects += 1
        if former is None or former.address != endpoint.address:
            logger.info("statsd server %s:%s is at %s", self._host, self._port, endpoint.address.sockaddr[0])
        if former is not None:
            former.close()
        self.endpoint_changed(endpoint)

    def _log_trouble(self, doing: str, error: Exception) -> None:
        if not self._trouble_logged:
            self._trouble_logged = True
            logger.warning(
                "%s statsd server %s:%s failed, trying again by itself: %s", doing, self._host, self._port, error
            )

    def _log_recovery(self) -> None:
        if self._trouble_logged:
            self._trouble_logged = False
            logger.info("statsd server %s:%s is well again", self._host, self._port)


def _after(addresses: list[Address], current: Address | None) -> list[Address]:
    """Return the addresses in the order to try them: the one in use, having failed, comes last."""
    if current not in addresses:
        return addresses
    position = addresses.index(current) + 1
    return addresses[position:] + addresses[:position]
