"""statlined, as an operator would run it, and what it answers over HTTP."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from common.program import ConformanceError, Program

REPOSITORY = Path(__file__).resolve().parents[3]

# Beyond any count of series and points of these tests, so that one question is answered in whole.
LIMITS = "[query]\nmax_series = 10_000_000\nmax_points = 100_000_000\nmax_names = 10_000_000\n"

Addresses = dict[str, tuple[str, int]]


def binary() -> Path:
    """Find the daemon: in STATLINE_BIN_DIR, or as `make bins PROFILE=dev` built it."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    path = Path(os.environ.get("STATLINE_BIN_DIR", target / "debug")) / "statlined"
    if not path.is_file():
        raise ConformanceError(f"{path} is missing; build it with make bins PROFILE=dev, or name STATLINE_BIN_DIR")
    return path.absolute()


def configuration(statsd: str, interval_seconds: int) -> str:
    """Write a configuration on loopback ports of the kernel's choice; `statsd` is what more its section says."""
    return f"""
[statsd]
listen = ["127.0.0.1:0"]
tcp_listen = ["127.0.0.1:0"]
flush_interval = "{interval_seconds}s"
{statsd}
[console]
listen = ["127.0.0.1:0"]
[carbon]
listen = []
udp_listen = []
pickle_listen = []
[http]
listen = "127.0.0.1:0"
[flight]
listen = "127.0.0.1:0"
[store]
path = "store"
[log]
format = "json"
{LIMITS}"""


class Statlined:
    """A running daemon."""

    def __init__(self, directory: Path, configuration: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "statlined.toml").write_text(configuration)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("STATLINE_")}
        command = [str(binary()), "serve", "--config", "statlined.toml"]
        self.program = Program("statlined", command, directory, environment)
        self.directory = directory
        self.addresses = self.program.wait_for("being ready", self._addresses)

    def _addresses(self) -> Addresses | None:
        for line in self.program.log().splitlines():
            if not line.startswith("{") or not line.endswith("}"):
                continue
            record = json.loads(line)
            if record.get("message") == "ready":
                return {
                    name: (value.split(",")[0].rsplit(":", 1)[0], int(value.split(",")[0].rsplit(":", 1)[1]))
                    for name, value in record.items()
                    if isinstance(value, str) and value.startswith("127.0.0.1:")
                }
        return None

    @property
    def statsd(self) -> tuple[str, int]:
        """Where statsd packets go."""
        return self.addresses["statsd"]

    def ask(self, path: str, form: dict[str, Any] | None = None) -> str:
        """Return what a path answers; with a form, to a POST of it."""
        host, port = self.addresses["http"]
        body = None if form is None else urllib.parse.urlencode(form, doseq=True).encode()
        try:
            with urllib.request.urlopen(f"http://{host}:{port}{path}", body, timeout=60) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            raise ConformanceError(f"{path} answered {error.code}: {error.read().decode().strip()}") from error

    def render(self, target: str, start: int, end: int) -> dict[str, list[float | None]]:
        """Return the values of each series of a target in (start, end], by name."""
        form = {"target": target, "from": start, "until": end, "format": "json"}
        found = {
            series["target"]: [value for value, _ in series["datapoints"]]
            for series in json.loads(self.ask("/render", form))
        }
        return {name: values for name, values in found.items() if any(value is not None for value in values)}

    def last_flush(self) -> int:
        """When the last flush was that can be read, in seconds since the epoch; 0 before the first."""
        for line in self.ask("/metrics").splitlines():
            if line.startswith("statline_flush_last_timestamp_seconds "):
                return int(float(line.split()[1]))
        return 0

    def flush_at(self, at: int, interval_seconds: int) -> dict[str, float]:
        """Every point of the flush at an instant, once it can be read."""
        self.await_flush(at)
        answer = self.render("seriesByTag('name=~.+')", at - interval_seconds, at)
        return {name: values[-1] for name, values in answer.items() if values and values[-1] is not None}

    def await_flush(self, at: int) -> None:
        """Wait until the flush at an instant can be read."""
        self.program.wait_for(f"the flush at {at}", lambda: True if self.last_flush() >= at else None)

    def next_flush(self) -> int:
        """Wait for the next flush, and say when it was."""
        before = self.last_flush()
        return self.program.wait_for("the next flush", lambda: at if (at := self.last_flush()) > before else None)

    def stop(self) -> int:
        """Ask it to stop, and wait for that."""
        return self.program.stop()
