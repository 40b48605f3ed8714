"""The lines that wait to be sent, and how they are put together into packets.

Pure: no socket, no clock. Entries keep their order. An entry is one line, or a few that must share a packet,
joined by line breaks; it is never split.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple


class Packet(NamedTuple):
    """The payload of one datagram, and the number of lines in it."""

    payload: bytes
    lines: int


class PacketBuffer:
    """A bounded queue of entries that is taken out packet by packet.

    ``max_packet_size``: bytes of payload. ``limit``: bytes held at most; beyond it the oldest entries give way,
    since the newest level of a gauge is worth more than an older one.
    """

    def __init__(self, max_packet_size: int, limit: int) -> None:
        self._max_packet_size = max_packet_size
        self._limit = limit
        self._entries: deque[Packet] = deque()
        self._size = 0  # bytes, a line break counted after every entry

    def __len__(self) -> int:
        """Return the number of lines held."""
        return sum(entry.lines for entry in self._entries)

    def __bool__(self) -> bool:
        return bool(self._entries)

    def fits(self, payload: bytes) -> bool:
        """Tell whether an entry is small enough for a packet of its own."""
        return len(payload) <= self._max_packet_size

    def add(self, entry: Packet) -> int:
        """Append an entry that fits; return how many older lines had to give way."""
        entry_size = len(entry.payload) + 1
        lines_lost = 0
        while self._entries and self._size + entry_size > self._limit:
            lines_lost += self._pop().lines
        self._entries.append(entry)
        self._size += entry_size
        return lines_lost

    def holds_full_packet(self) -> bool:
        """Tell whether waiting longer could not make the next packet any fuller."""
        return self._size - 1 > self._max_packet_size

    def take(self) -> Packet:
        """Remove and return as many of the oldest entries as one packet holds; at least one must be held."""
        first = self._pop()
        payloads = [first.payload]
        size = len(first.payload)
        lines = first.lines
        while self._entries and size + 1 + len(self._entries[0].payload) <= self._max_packet_size:
            entry = self._pop()
            payloads.append(entry.payload)
            size += 1 + len(entry.payload)
            lines += entry.lines
        return Packet(b"\n".join(payloads), lines)

    def clear(self) -> int:
        """Forget everything; return how many lines were held."""
        lines = len(self)
        self._entries.clear()
        self._size = 0
        return lines

    def _pop(self) -> Packet:
        entry = self._entries.popleft()
        self._size -= len(entry.payload) + 1
        return entry
