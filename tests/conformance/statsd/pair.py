"""etsy's server and ours side by side, given the same packets in the same interval, and their flushes of it.

Both flush at whole multiples of the interval since the epoch: etsy's because its ticks are counted from the second
nearest to its start, which is chosen to be such a multiple, ours because it always does. Packets are sent when both
have flushed, and the exchange counts only when both say in their next flush that they received just as many.
"""

from __future__ import annotations

import re
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.program import ConformanceError, udp_queue, wait_until
from common.statlined import Statlined, configuration
from etsy import Etsy, Flush

# How many bytes may wait in a server's socket before the sender waits; etsy's has the kernel's usual 208 KiB.
QUEUE_BYTES = 50_000

# How often an exchange is tried in which a server flushed amid the packets.
ATTEMPTS = 4

# The part of an interval in which packets may be sent, so that they are received before the next flush.
SENDING_PART = 0.6

_PACKETS = re.compile(r"(^|\.)(statsd|own|own\.stats)\.packets_received(?=[.;]|$)")


class MissedIntervalError(Exception):
    """A flush came amid the packets, or the kernel dropped some; another attempt may do better."""


@dataclass
class Exchange:
    """The flushes of the interval in which packets were received."""

    at: int
    etsy: Flush
    ours: dict[str, float]


@dataclass
class Setup:
    """How both servers are configured: etsy's object, and what the section `[statsd]` of ours says."""

    etsy: dict[str, Any] = field(default_factory=dict)
    ours: str = ""
    interval_seconds: int = 1


class Pair:
    """Both servers, running."""

    def __init__(self, directory: Path, setup: Setup) -> None:
        self.interval = setup.interval_seconds
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.statlined = Statlined(directory / "ours", configuration(setup.ours, self.interval))
        try:
            # Its ticks are counted from the second that is nearest to its start.
            while self.interval > 1 and time.time() % self.interval > 0.2:
                time.sleep(0.01)
            self.etsy = Etsy(directory / "etsy", setup.etsy, self.interval)
        except BaseException:
            self.statlined.stop()
            raise

    def __enter__(self) -> Pair:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self.etsy.stop()
        self.statlined.stop()

    def warm_up(self) -> None:
        """Wait until both have flushed twice, after which all of their own series are there."""
        begun = self._await_flush()
        for flushes in (1, 2):
            self._await_flush_at(begun + flushes * self.interval)

    def _await_flush(self) -> int:
        """Wait until both have flushed, and the interval is still young."""
        now = time.time()
        at = int(now // self.interval) * self.interval
        if now > at + SENDING_PART * self.interval:
            at += self.interval
        self._await_flush_at(at)
        return at

    def _await_flush_at(self, at: int) -> None:
        time.sleep(max(0.0, at - time.time()))
        self.statlined.await_flush(at)
        self.etsy.flush_at(at)

    def send(self, packets: list[bytes]) -> None:
        """Send packets to both, no faster than both receive."""
        for sent, packet in enumerate(packets):
            for port in (self.etsy.port, self.statlined.statsd[1]):
                self._socket.sendto(packet, ("127.0.0.1", port))
            if sent % 16 == 15:
                self._await_queues(QUEUE_BYTES)
        self._await_queues(0)

    def _await_queues(self, most: int) -> None:
        def ask() -> bool | None:
            queues = [udp_queue(port) for port in (self.etsy.port, self.statlined.statsd[1])]
            if any(queue is None for queue in queues):
                raise ConformanceError(
                    f"a server has closed its socket; etsy's log ends {self.etsy.program.log()[-300:]!r}"
                )
            return True if all(queue is not None and queue[0] <= most for queue in queues) else None

        wait_until("receiving the packets", ask)

    def exchange(self, packets: list[bytes]) -> Exchange:
        """Send packets within an interval, and read what both flush at its end."""
        before = self._await_flush()
        while time.time() > before + SENDING_PART * self.interval:
            before = self._await_flush()
        self.send(packets)
        at = before + self.interval
        time.sleep(max(0.0, at - time.time()))
        etsy, ours = self.etsy.flush_at(at), self.statlined.flush_at(at, self.interval)
        for flushed in (etsy.values, ours):
            received = packets_received(flushed)
            if received != len(packets):
                raise MissedIntervalError(f"{received} of {len(packets)} packets are in the flush at {at}")
        return Exchange(at, etsy, ours)


def packets_received(flushed: dict[str, Any]) -> float:
    """How many packets a flush says it is of. A count and a rate of it are given; the rate is the smaller."""
    return max((float(value) for name, value in flushed.items() if _PACKETS.search(name)), default=0.0)
