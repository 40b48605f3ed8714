"""A statlined that clients speak to, and what arrived there of each of them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from common.statlined import Statlined, configuration

# What tells that a sample has arrived as it was meant, and how it is put together over flushes.
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

# How much of an interval may have passed when a client begins.
YOUNG_SECONDS = 0.3


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
        """See to it that what is sent now is in one interval, unless the client is slow."""
        if time.time() % 1 > YOUNG_SECONDS:
            self.statlined.await_flush(int(time.time()) + 1)

    def arrived(self, name: str) -> dict[str, float]:
        """Return what was sent under a name, once it has been flushed: counts added up, levels as they were last."""
        until = int(time.time()) + 1
        self.statlined.await_flush(until)
        target = f"seriesByTag('name=~.*[.]{name.replace('.', '[.]')}([.].*)?$')"
        found = self.statlined.render(target, until - PAST_SECONDS, until)
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


@pytest.fixture(scope="session")
def _daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    sockets = 'unix_datagram = ["dsd.socket"]\nunix_stream = ["stream.socket"]'
    statlined = Statlined(tmp_path_factory.mktemp("daemon"), configuration(sockets, 1))
    yield Daemon(statlined)
    assert statlined.stop() == 0


@pytest.fixture
def daemon(_daemon: Daemon) -> Iterator[Daemon]:
    """Give a daemon early in an interval; nothing that a test sends it may be refused."""
    before = _daemon.refusals()
    _daemon.begin_interval()
    yield _daemon
    refused = _daemon.refusals().removeprefix(before)
    assert refused == "", f"what a client sent was refused: {refused}"
