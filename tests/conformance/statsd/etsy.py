"""etsy's statsd under node, with a sink in carbon's place that keeps the very lines that carbon would be sent."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.program import ConformanceError, Program, free_port, udp_queue

STATSD = Path(__file__).resolve().parent / "node_modules" / "statsd"

# What a point is worth, or the text where etsy's server sent none.
Value = float | str


@dataclass
class Flush:
    """The points of one flush, by the name that carbon would know the series by."""

    at: int
    values: dict[str, Value] = field(default_factory=dict)


def read_flush(payload: str) -> Flush:
    """Read lines of carbon's plaintext protocol. Of two points of a series the later counts, as in a whisper file."""
    values: dict[str, Value] = {}
    at = 0
    for line in payload.split("\n"):
        parts = line.rsplit(" ", 1)
        if len(parts) != 2 or not parts[1].isdigit():
            continue
        name, _, text = parts[0].partition(" ")
        try:
            values[name] = float(text)
        except ValueError:
            values[name] = text
        at = at or int(parts[1])
    return Flush(at, values)


class Sink:
    """Accepts connections as carbon does; each of them carries one flush."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._flushes: dict[int, Flush] = {}
        self._arrived = threading.Condition()
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                pieces = []
                while piece := connection.recv(1 << 16):
                    pieces.append(piece)
            flush = read_flush(b"".join(pieces).decode(errors="replace"))
            with self._arrived:
                self._flushes[flush.at] = flush
                self._arrived.notify_all()

    @property
    def last(self) -> int:
        """When the last flush was; 0 before the first."""
        with self._arrived:
            return max(self._flushes, default=0)

    def flush_at(self, at: int) -> Flush | None:
        """Return the flush at an instant."""
        with self._arrived:
            return self._flushes.get(at)

    def close(self) -> None:
        """Accept no more."""
        self._listener.close()


class Etsy:
    """A running server of etsy's."""

    def __init__(self, directory: Path, config: dict[str, Any], interval_seconds: int, server: str = "udp") -> None:
        node = shutil.which("node")
        if node is None:
            raise ConformanceError("node is missing; install nodejs 18 to 22")
        if not STATSD.is_dir():
            raise ConformanceError(f"{STATSD} is missing; run make conformance, which installs it")
        directory.mkdir(parents=True, exist_ok=True)
        self.sink = Sink()
        self._server = server
        self.port = free_port(socket.SOCK_DGRAM if server == "udp" else socket.SOCK_STREAM)
        ours = {
            "server": f"./servers/{server}",
            "address": "127.0.0.1",
            "port": self.port,
            "mgmt_address": "127.0.0.1",
            "mgmt_port": free_port(socket.SOCK_STREAM),
            "graphiteHost": "127.0.0.1",
            "graphitePort": self.sink.port,
            "flushInterval": interval_seconds * 1000,
            "automaticConfigReload": False,
            "title": False,
        }
        (directory / "config.js").write_text(json.dumps({**ours, **config}))
        command = [node, "--no-deprecation", str(STATSD / "stats.js"), "config.js"]
        self.program = Program("etsy", command, directory, dict(os.environ))
        self.program.wait_for("listening", self._is_listening)

    def _is_listening(self) -> bool | None:
        if "server is up" not in self.program.log():
            return None
        if self._server == "tcp":
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
                return True if probe.connect_ex(("127.0.0.1", self.port)) == 0 else None
        return True if udp_queue(self.port) is not None else None

    def flush_at(self, at: int) -> Flush:
        """Wait for the flush at an instant. One that was skipped is an empty one."""

        def ask() -> Flush | None:
            return self.sink.flush_at(at) or (Flush(at) if self.sink.last > at else None)

        return self.program.wait_for(f"the flush at {at}", ask)

    def bad_lines(self) -> list[str]:
        """Each bad value's line, as the log has it."""
        marker = '" in msg "'
        return [line for line in self.program.log().splitlines() if "Bad line: " in line or marker in line]

    def stop(self) -> int:
        """Ask it to stop, and wait for that."""
        status = self.program.stop()
        self.sink.close()
        return status
