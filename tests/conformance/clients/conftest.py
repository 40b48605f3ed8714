"""A statlined that clients speak to, and what arrived there of each of them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from common.statlined import Statlined, configuration

# What tells that a sample has arrived as it was meant, of all that a flush emits, and how it is put together over flushes.
TOGETHER: list[tuple[str, str, Callable[[list[float]], float]]] = [
    ("stats_counts.", "", sum),
    ("stats.gauges.", "", lambda values: values[-1]),
    ("stats.sets.", ".count", max),
    ("stats.timers.", ".count", sum),
    ("stats.timers.", ".sum", sum),
    ("stats.timers.", ".upper", max),
]

# How far back what was sent with an instant of its own may lie, in seconds.
PAST_SECONDS = 120


class Daemon:
    """A running statlined."""

    def __init__(self, statlined: Statlined) -> None:
        self.statlined = statlined
        self.directory = statlined.directory
        self.host, self.port = statlined.statsd

    @property
    def tcp_port(self) -> int:
        """Where statsd is taken over TCP."""
        return self.statlined.addresses["statsd_tcp"][1]

    @property
    def unix_datagram(self) -> str:
        """The path of the unix datagram socket."""
        return str(self.directory / "dsd.socket")

    def begin_interval(self) -> None:
        """Wait for a flush, so that what is sent now is in one interval unless the client is slow."""
        self.statlined.next_flush()

    def arrived(self, name: str) -> dict[str, float]:
        """Return what was sent under a name, once it has been flushed: counts added up, levels as they were last."""
        until = int(time.time()) + 1
        self.statlined.await_flush(until)
        found = self.statlined.render(f"seriesByTag('name=~\\b{name}\\b')", until - PAST_SECONDS, until)
        together = {}
        for series, points in found.items():
            values = [value for value in points if value is not None]
            path = series.split(";")[0]
            for prefix, suffix, combine in TOGETHER:
                if values and path.startswith(prefix) and path.endswith(suffix):
                    together[series] = combine(values)
                    break
        return together

    def events(self) -> list[dict[str, Any]]:
        """Return the events of this test's time, in the shape of Graphite's."""
        now = int(time.time())
        answer: list[dict[str, Any]] = json.loads(
            self.statlined.ask(f"/events/get_data?from={now - PAST_SECONDS}&until={now + 1}")
        )
        return answer

    def event(self, title: str) -> dict[str, Any]:
        """Return the one event of a title, once it is there."""

        def ask() -> dict[str, Any] | None:
            return next((event for event in self.events() if event["what"] == title), None)

        return self.statlined.program.wait_for(f"the event {title!r}", ask)

    def refusals(self) -> str:
        """Return the last lines that were refused."""
        return self.statlined.ask("/statsd/refusals")


def _serve(directory: Path, statsd: str) -> Iterator[Daemon]:
    statlined = Statlined(directory, configuration(statsd, 1))
    try:
        yield Daemon(statlined)
    finally:
        assert statlined.stop() == 0


@pytest.fixture(scope="session")
def _daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    yield from _serve(tmp_path_factory.mktemp("udp"), "")


@pytest.fixture(scope="session")
def _streams(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    directory = tmp_path_factory.mktemp("streams")
    sockets = 'tcp_listen = ["127.0.0.1:0"]\nunix_datagram = ["dsd.socket"]\nunix_stream = ["stream.socket"]'
    yield from _serve(directory, sockets)


def _at_its_beginning(daemon: Daemon) -> Iterator[Daemon]:
    before = daemon.refusals()
    daemon.begin_interval()
    yield daemon
    refused = daemon.refusals().removeprefix(before)
    assert refused == "", f"what a client sent was refused: {refused}"


@pytest.fixture
def daemon(_daemon: Daemon) -> Iterator[Daemon]:
    """A daemon that listens on UDP, early in an interval; nothing that a test sends it may be refused."""
    yield from _at_its_beginning(_daemon)


@pytest.fixture
def streams(_streams: Daemon) -> Iterator[Daemon]:
    """A daemon that listens on TCP and unix sockets, too."""
    yield from _at_its_beginning(_streams)
