"""carbon 1.1.10 and statlined side by side: `make conformance-carbon`.

`ROUNDS` says how many rounds there are, each with rules, lists, lines, datagrams and pickles of a seed of its own, and
`SEED` what they begin from. What carbon's cache holds in the end is compared with what statlined's store holds, series
by series and point by point. The exit status is 1 when anything differs.
"""

from __future__ import annotations

import json
import math
import os
import socket
import sys
import tempfile
import time
from pathlib import Path

from common.program import ConformanceError, wait_until
from common.statlined import Statlined, configuration
from generate import Generator, framed
from peer import Carbon, Points, identity

ROUNDS = int(os.environ.get("ROUNDS", "4"))
SEED = int(os.environ.get("SEED", "1"))

LINES = 2000
DATAGRAMS = 300
FRAMES = 60

# Longer than any frequency of the rules, twice.
PATIENCE_SECONDS = 60.0

# How much of what is wrong with a round is shown.
SHOWN_WRONG = 10


def carbon_section(files: dict[str, Path], forward_all: bool) -> str:
    """Write what statlined is told of carbon: old intervals are waited for, since all comes within a few turns."""
    paths = "\n".join(f'{key} = "{path}"' for key, path in files.items())
    return f"""
[carbon]
listen = ["127.0.0.1:0"]
udp_listen = ["127.0.0.1:0"]
pickle_listen = ["127.0.0.1:0"]
forward_all = {str(forward_all).lower()}
max_aggregation_intervals = 100_000
{paths}
"""


class Round:
    """Both sides with the same files, sent the same."""

    def __init__(self, seed: int, scratch: Path) -> None:
        self.generator = Generator(seed, int(time.time()) // 10 * 10 - 600)
        self.files = {}
        for key, text in self.generator.files().items():
            self.files[key] = scratch / key
            self.files[key].write_text(text)
        forward_all = seed % 4 != 0
        self.carbon = Carbon(self.files, forward_all)
        default = configuration("", 1)
        begin, end = default.index("[carbon]"), default.index("[http]")
        self.statlined = Statlined(scratch, default[:begin] + carbon_section(self.files, forward_all) + default[end:])

    def send(self) -> int:
        """Send everything to both, one way after the other, and say how much it was."""
        lines, datagrams = self.generator.lines(LINES), self.generator.lines(DATAGRAMS)
        frames = self.generator.frames(FRAMES)
        self._connect("carbon", b"\n".join(lines))
        self._connect("carbon_pickle", b"".join(framed(frame) for frame in frames))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for line in datagrams:
                sender.sendto(line, self.statlined.addresses["carbon_udp"])
        for line in lines:
            self.carbon.line(line)
        for frame in frames:
            self.carbon.pickle(frame)
        for line in datagrams:
            self.carbon.line(line)
        self.carbon.aggregate()
        return len(lines) + len(datagrams) + len(frames)

    def _connect(self, place: str, sent: bytes) -> None:
        """Send something over a connection, and wait until all of it is stored."""
        before = self._figure("received_total")
        with socket.create_connection(self.statlined.addresses[place]) as stream:
            stream.sendall(sent)

        def is_stored() -> bool | None:
            return True if self._figure("received_total") > before and self._figure("connections") == 0 else None

        wait_until(f"what was sent to {place} being stored", is_stored)

    def _figure(self, name: str) -> float:
        """Return one of statlined's figures of carbon."""
        lines = self.statlined.ask("/metrics").splitlines()
        return float(next((line.split()[1] for line in lines if line.startswith(f"statline_carbon_{name} ")), 0))

    def _stored(self) -> Points:
        """Return what the store holds; what is of now stands at second -1."""
        now = time.time()
        form = {
            "target": "seriesByTag('name=~.+')",
            "from": self.generator.start - 60,
            "until": "now+1min",
            "noNullPoints": 1,
        }
        points: Points = {}
        for series in json.loads(self.statlined.ask("/render", {**form, "format": "json"})):
            held = points.setdefault(identity(series["tags"]), {})
            for value, at in series["datapoints"]:
                if value is not None:
                    held[-1 if abs(at - now) < 60 else at] = {value}
        return points

    def differences(self) -> tuple[int, list[str]]:
        """Compare until both are equal, or long enough; say how many series carbon has, and what is not equal."""
        expected = self.carbon.points()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while wrong := differing(expected, self._own()):
            if time.monotonic() > deadline:
                break
            time.sleep(1.0)
        return len(expected), wrong

    def _own(self) -> Points:
        """Return what came from carbon's protocols: the daemon stores figures of its own, too."""
        figures = ("stats.", "stats_counts.", "statsd.")
        return {series: held for series, held in self._stored().items() if not dict(series)["name"].startswith(figures)}


def differing(expected: Points, got: Points) -> list[str]:
    """List what is not equal, a line each."""
    wrong = []
    for series in expected.keys() | got.keys():
        ours, theirs = got.get(series, {}), expected.get(series, {})
        for at in sorted(ours.keys() | theirs.keys()):
            mine, others = next(iter(ours.get(at, ())), math.nan), theirs.get(at, set())
            if not any(math.isclose(mine, other, rel_tol=1e-9, abs_tol=1e-12) for other in others):
                wrong.append(f"{dict(series)} at {at}: carbon {others or None}, statlined {mine}")
    return wrong


def run_round(seed: int) -> bool:
    """Run one round, and tell of it in a line; whether all was equal."""
    with tempfile.TemporaryDirectory() as scratch:
        both = Round(seed, Path(scratch))
        sent = both.send()
        series, wrong = both.differences()
        rules = {key: path.read_text() for key, path in both.files.items()}
        both.statlined.stop()
    print(f"carbon seed {seed}: {sent} sent, {series} series, {len(wrong)} points wrong", flush=True)
    if wrong:
        print("\n".join(f"    {line}" for line in wrong[:SHOWN_WRONG]))
        print("\n".join(f"    {key}: {text!r}" for key, text in rules.items()), flush=True)
    return not wrong


def main() -> int:
    """Run every round."""
    passed = failed = 0
    for seed in range(SEED, SEED + ROUNDS):
        try:
            good = run_round(seed)
        except (ConformanceError, OSError) as error:
            print(f"carbon seed {seed}: {error}", flush=True)
            good = False
        passed, failed = passed + good, failed + (not good)
    print(f"{failed} failed, {passed} passed" if failed else f"{passed} passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
