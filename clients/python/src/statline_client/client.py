"""The client: the methods of PyPI's ``statsd`` clients, sending through asyncio.

Every method returns at once. A line goes into the buffer; the buffer goes out in packets, when one is full or after a
short delay. Nothing raises because of the network, and nothing is altered on its way: a name that would corrupt its
neighbours in a packet is dropped and counted.

Not for use from other threads: there, write ``loop.call_soon_threadsafe(stats.incr, "my_counter")``.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType
from typing import Any, TypeVar

from statsd.client.base import PipelineBase, StatsClientBase
from statsd.client.timer import Timer

from .connection import Connection
from .counts import ClientCounts, DropReason
from .packets import Packet, PacketBuffer

_Function = TypeVar("_Function", bound=Callable[..., Any])

DEFAULT_PACKET_SIZE = 1432
"""Bytes of payload: an Ethernet frame less the largest usual headers, as statsd's own documentation advises."""

_RESERVED = frozenset("\n\r:|")


class StatsTimer(Timer):  # type: ignore[misc]  # statsd is untyped
    """Times a ``with`` block, or each call of a decorated function, async ones included."""

    def __call__(self, function: _Function) -> _Function:
        """Return the function, timed."""
        decorated: _Function = super().__call__(function)
        return decorated


class _StatsMethods(StatsClientBase):  # type: ignore[misc]  # statsd is untyped
    """The stat methods, with types, shared by the client and its pipelines."""

    _prefix: str | None

    def _after(self, data: str | None) -> None:
        """Take an entry: a line, or lines that must share a packet; None stands for one that was sampled away."""
        raise NotImplementedError

    def _drop(self, reason: DropReason, detail: str) -> None:
        raise NotImplementedError

    def incr(self, stat: str, count: float = 1, rate: float = 1) -> None:
        """Add ``count`` to a counter."""
        super().incr(stat, count, rate)

    def decr(self, stat: str, count: float = 1, rate: float = 1) -> None:
        """Take ``count`` from a counter."""
        super().decr(stat, count, rate)

    def timing(self, stat: str, delta: float | timedelta, rate: float = 1) -> None:
        """Record a duration: milliseconds, or a timedelta."""
        super().timing(stat, delta, rate)

    def set(self, stat: str, value: object, rate: float = 1) -> None:
        """Add a value to a set, of which the server counts the distinct ones."""
        super().set(stat, value, rate)

    def gauge(self, stat: str, value: float, rate: float = 1, delta: bool = False) -> None:
        """Set a gauge to ``value``, or with ``delta`` change it by ``value``.

        The protocol reads a leading minus as a change, so a negative level is sent as zero and a change, in one packet.
        """
        if delta or not str(value).startswith("-"):
            super().gauge(stat, value, rate, delta)
            return
        if rate < 1 and random.random() > rate:
            return
        lines = [self._prepare(stat, text, 1) for text in ("0|g", f"{value}|g")]
        if None not in lines:
            self._after("\n".join(lines))

    def timer(self, stat: str, rate: float = 1) -> StatsTimer:
        """Return a timer, to be used in a ``with`` statement or as a decorator."""
        return StatsTimer(self, stat, rate)

    def _prepare(self, stat: str, value: str, rate: float) -> Any:
        payload, _, _type = value.rpartition("|")
        if not _RESERVED.isdisjoint(stat):
            self._drop("invalid_name", f"name={stat!r}")
            return None
        if not _RESERVED.isdisjoint(payload):
            self._drop("invalid_value", f"name={stat!r} value={payload!r}")
            return None
        return super()._prepare(stat, value, rate)


class AsyncPipeline(_StatsMethods, PipelineBase):  # type: ignore[misc]  # statsd is untyped
    """Holds lines back until :meth:`send`, or the end of its ``with`` block, and then queues them in order."""

    _client: _StatsMethods

    def _drop(self, reason: DropReason, detail: str) -> None:
        self._client._drop(reason, detail)

    def _after(self, data: str | None) -> None:
        if data is not None:
            self._stats.append(data)

    def _send(self) -> None:
        while self._stats:
            self._client._after(self._stats.popleft())

    def close(self) -> None:
        """Send what is held; the client stays open."""
        self.send()


class AsyncStatsClient(_StatsMethods):
    """A statsd client on an asyncio datagram transport. Make one with :meth:`create`, or ``async with``.

    ``prefix`` is put before every name, with a dot between. ``max_packet_size``: bytes of payload in a packet.
    ``flush_delay``: seconds a line may wait for others to share its packet. ``buffer_limit``: bytes held while the
    server cannot be resolved or written to. ``family``: ``socket.AF_INET`` or ``AF_INET6`` to insist on one.
    ``resolve_interval``: seconds after which the name is looked up again.
    """

    def __init__(
        self,
        host: str = "localhost",
        port: int = 8125,
        prefix: str | None = None,
        *,
        max_packet_size: int = DEFAULT_PACKET_SIZE,
        flush_delay: float = 0.1,
        buffer_limit: int = 256 * 1024,
        family: int = socket.AF_UNSPEC,
        resolve_interval: float = 60.0,
    ) -> None:
        if not 0 < port < 65536:
            raise ValueError(f"port must be in 1..65535, is {port}")
        if prefix is not None and not _RESERVED.isdisjoint(prefix):
            raise ValueError(f"prefix must hold no line break, ':' or '|', is {prefix!r}")
        if not 0 < max_packet_size <= buffer_limit:
            raise ValueError(
                f"max_packet_size must be positive and no larger than buffer_limit, "
                f"is {max_packet_size} with a buffer_limit of {buffer_limit}"
            )
        if flush_delay < 0 or resolve_interval <= 0:
            raise ValueError(
                f"flush_delay must not be negative and resolve_interval must be positive, "
                f"are {flush_delay} and {resolve_interval}"
            )
        self._prefix = prefix
        self._flush_delay = flush_delay
        self._counts = ClientCounts()
        self._buffer = PacketBuffer(max_packet_size, buffer_limit)
        self._connection = Connection(
            host,
            port,
            family=family,
            resolve_interval=resolve_interval,
            counts=self._counts,
            on_writable=self._schedule_flush,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._flush_handle: asyncio.TimerHandle | None = None
        self._closed = False

    @classmethod
    async def create(
        cls,
        host: str = "localhost",
        port: int = 8125,
        prefix: str | None = None,
        *,
        ready_timeout: float = 1.0,
        **options: Any,
    ) -> AsyncStatsClient:
        """Make a client and start it.

        Waits for the first attempt to reach the server, for ``ready_timeout`` seconds at most. Whether it succeeds or
        not, the client is usable: it holds what it is given and goes on trying by itself. ``options`` are those of the
        class. Only impossible arguments raise (ValueError).
        """
        client = cls(host, port, prefix, **options)
        client.start()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(client._connection.wait_first_attempt(), ready_timeout)
        return client

    @property
    def counts(self) -> ClientCounts:
        """What was sent, dropped and found wrong so far."""
        return self._counts

    @property
    def dropped(self) -> dict[DropReason, int]:
        """The lines dropped so far, by reason."""
        return dict(self._counts.dropped)

    @property
    def peer(self) -> tuple[str, int] | None:
        """The address and port that packets go to, or None while the server has not been found."""
        return self._connection.peer

    def start(self) -> None:
        """Begin to look for the server, in the running loop. :meth:`create` and ``async with`` do it for you."""
        self._loop = asyncio.get_running_loop()
        self._connection.start()

    async def __aenter__(self) -> AsyncStatsClient:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self, timeout: float = 1.0) -> None:
        """Send what is held and close the socket. What cannot be sent within ``timeout`` seconds is dropped."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._connection.is_started:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._drain(), timeout)
        finally:
            if self._flush_handle is not None:
                self._flush_handle.cancel()
            lines_left = self._buffer.clear()
            if lines_left:
                self._counts.drop("closed", lines_left, "the server could not be written to before the end")
            await self._connection.close(timeout)

    def flush(self) -> None:
        """Send what is held, as far as the socket takes it, without waiting for the flush delay."""
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None
        while self._buffer and self._connection.is_writable:
            self._send_packet()

    def pipeline(self) -> AsyncPipeline:
        """Return a pipeline: lines that are queued together, in order."""
        return AsyncPipeline(self)

    def _after(self, data: str | None) -> None:
        if data:
            self._send(data)

    def _send(self, data: str) -> None:
        lines = data.count("\n") + 1
        if self._closed:
            self._counts.drop("closed", lines, f"line={data!r}")
            return
        try:
            payload = data.encode()
        except UnicodeEncodeError:
            self._counts.drop("invalid_name", lines, f"line={data!r}")
            return
        if not self._buffer.fits(payload):
            self._counts.drop("line_too_long", lines, f"bytes={len(payload)} line={data[:80]!r}…")
            return
        lines_lost = self._buffer.add(Packet(payload, lines))
        if lines_lost:
            self._counts.drop("buffer_full", lines_lost, "the server cannot be resolved or written to")
        while self._buffer.holds_full_packet() and self._connection.is_writable:
            self._send_packet()
        if self._buffer:
            self._schedule_flush()

    def _drop(self, reason: DropReason, detail: str) -> None:
        self._counts.drop(reason, 1, detail)

    def _schedule_flush(self) -> None:
        if self._flush_handle is None and self._loop is not None and self._connection.is_writable:
            self._flush_handle = self._loop.call_later(self._flush_delay, self.flush)

    def _send_packet(self) -> None:
        packet = self._buffer.take()
        if self._connection.send(packet.payload):
            self._counts.packets_sent += 1
            self._counts.lines_sent += packet.lines
            self._counts.bytes_sent += len(packet.payload)
        else:
            self._counts.drop("send_failed", packet.lines, "the socket refused a packet twice")

    async def _drain(self) -> None:
        self.flush()
        while self._buffer:
            await self._connection.wait_writable()
            self.flush()
