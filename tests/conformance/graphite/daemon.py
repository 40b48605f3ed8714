"""statlined with the data set in its store, and the questions put to it."""

from __future__ import annotations

import http.client
import socket
import urllib.parse
import urllib.request
from pathlib import Path

from common.program import wait_until
from common.statlined import LIMITS, Statlined
from dataset import SCHEMAS, dataset

CONFIGURATION = f"""
[statsd]
listen = ["127.0.0.1:0"]
tcp_listen = ["127.0.0.1:0"]
flush_interval = "10s"
[console]
listen = []
[carbon]
listen = ["127.0.0.1:0"]
udp_listen = []
pickle_listen = []
[http]
listen = "127.0.0.1:0"
[flight]
listen = "127.0.0.1:0"
[store]
path = "store"
schemas = "storage-schemas.conf"
[log]
format = "json"
{LIMITS}"""


class Daemon:
    """A running statlined that has taken in the data set."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "storage-schemas.conf").write_text(SCHEMAS)
        self._statlined = Statlined(directory, CONFIGURATION)
        self._http = self._statlined.addresses["http"]
        self._connection = http.client.HTTPConnection(*self._http, timeout=60)
        self._feed()

    def _feed(self) -> None:
        lines = [
            f"{series.name} {value!r} {series.start + index * series.step}\n"
            for series in dataset()
            for index, value in enumerate(series.values)
            if value is not None
        ]
        with socket.create_connection(self._statlined.addresses["carbon"]) as connection:
            connection.sendall("".join(lines).encode())
        url = f"http://{self._http[0]}:{self._http[1]}/metrics"

        def taken() -> bool | None:
            with urllib.request.urlopen(url, timeout=60) as answer:
                text = answer.read().decode()
            counts = [line for line in text.splitlines() if line.startswith("statline_carbon_points_total")]
            return (bool(counts) and float(counts[0].rsplit(" ", 1)[1]) >= len(lines)) or None

        wait_until("statlined takes the data set", taken, 60)

    def render(self, parameters: list[tuple[str, str]]) -> tuple[int, str]:
        """Ask `/render`; the status and the body."""
        form = urllib.parse.urlencode(parameters)
        self._connection.request("POST", "/render", form, {"Content-Type": "application/x-www-form-urlencoded"})
        answer = self._connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")

    def stop(self) -> None:
        """End it."""
        self._connection.close()
        self._statlined.stop()
