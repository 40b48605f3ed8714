"""A program that runs while a test needs it, on loopback ports, and what the kernel knows of its sockets."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

# The longest that anything may take to start, to stop, or to show.
PATIENCE_SECONDS = 20.0


class ConformanceError(Exception):
    """What was expected of a program and did not happen, in one line."""


def wait_until(what: str, ask: Callable[[], T | None], patience: float = PATIENCE_SECONDS) -> T:
    """Ask until there is an answer."""
    deadline = time.monotonic() + patience
    while (answer := ask()) is None:
        if time.monotonic() > deadline:
            raise ConformanceError(f"{what} did not happen within {patience:.0f} s")
        time.sleep(0.005)
    return answer


def free_port(kind: socket.SocketKind) -> int:
    """Find a port of loopback that nobody uses at the moment."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def udp_queue(port: int) -> tuple[int, int] | None:
    """Tell the bytes that wait at a UDP port and the packets that were dropped there; None before it is bound."""
    wanted = f":{port:04X}"
    found = None
    for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(wanted):
            waiting, dropped = found or (0, 0)
            found = (waiting + int(fields[4].split(":")[1], 16), dropped + int(fields[-1]))
    return found


class Program:
    """A child process with its output in a file."""

    def __init__(self, name: str, command: list[str], directory: Path, environment: dict[str, str]) -> None:
        self.name = name
        self.log_path = directory / f"{name}.log"
        if setpriv := shutil.which("setpriv"):
            # It ends with the test, even when that is killed.
            command = [setpriv, "--pdeathsig", "TERM", *command]
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=directory, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    @property
    def pid(self) -> int:
        """Its id."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Its exit status, None while it runs."""
        return self._process.poll()

    def log(self) -> str:
        """Return what it has printed so far."""
        return self.log_path.read_text(errors="replace")

    def wait_for(self, what: str, ask: Callable[[], T | None], patience: float = PATIENCE_SECONDS) -> T:
        """Ask until there is an answer, or the program has ended."""

        def ask_while_it_runs() -> T | None:
            answer = ask()
            if answer is None and self.status is not None:
                last = self.log().strip().splitlines()[-1:] or ["nothing"]
                raise ConformanceError(f"{self.name} ended with status {self.status} before {what}: {last[0]}")
            return answer

        return wait_until(f"{self.name}: {what}", ask_while_it_runs, patience)

    def pause(self) -> None:
        """Let it do nothing until it is resumed."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> int:
        """Ask it to stop, and wait for that."""
        if self.status is None:
            self._process.terminate()
        try:
            return self._process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def scratch_directory() -> tempfile.TemporaryDirectory[str]:
    """Make a directory that goes when the test does."""
    return tempfile.TemporaryDirectory(prefix="statline-conformance-")
