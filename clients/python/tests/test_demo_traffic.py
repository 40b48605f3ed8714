"""The demo's traffic, as a server receives it."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest

from .conftest import UdpServer

DEMO = Path(__file__).parents[3] / "demo"
LINE = re.compile(r"bot\.([\w.-]+):(-?[\d.]+)\|(c|g|ms)")
WIRE_TYPES = {"counter": "c", "gauge": "g", "timing": "ms"}

pytestmark = pytest.mark.skipif(not (DEMO / "traffic.py").exists(), reason="the demo is not part of this copy")


async def start_traffic(port: int, *options: str) -> asyncio.subprocess.Process:
    words = [str(DEMO / "traffic.py"), "--port", str(port), "--seed", "1", *options]
    return await asyncio.create_subprocess_exec(sys.executable, *words, stderr=asyncio.subprocess.PIPE)


async def test_every_metric_of_the_catalogue_arrives_at_once_and_no_other(server: UdpServer):
    catalogue = json.loads((DEMO / "community.json").read_text())["metrics"]
    traffic = await start_traffic(server.port, "--duration", "3", "--speed", "600")
    _, log = await asyncio.wait_for(traffic.communicate(), 20)
    assert traffic.returncode == 0, log.decode()
    assert b"dropped=0" in log

    lines: list[str] = []
    while not server.packets.empty():
        lines += server.packets.get_nowait().decode().split("\n")
    samples = [match.groups() for match in map(LINE.fullmatch, lines) if match]
    assert len(samples) == len(lines), "a line is not of the expected form"
    assert {(name, kind) for name, _, kind in samples} == {
        (metric["name"], WIRE_TYPES[metric["type"]]) for metric in catalogue
    }

    totals: Counter[str] = Counter()
    for name, value, kind in samples:
        if kind == "c":
            totals[name] += int(value)
    assert totals["messages"] == sum(count for name, count in totals.items() if name.startswith("channels."))
    closed = sum(count for name, count in totals.items() if name.startswith("help.dormant_calls."))
    assert closed == totals["help.sessions.answered"] + totals["help.sessions.unanswered"]
    assert closed == sum(1 for name, _, _ in samples if name == "help.in_use_time")

    levels = {name: int(value) for name, value, kind in samples if kind == "g"}
    assert sum(levels[f"help.total.{state}"] for state in ("in_use", "available", "dormant")) == 42


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
async def test_signal_ends_it_cleanly(server: UdpServer, asked: signal.Signals):
    traffic = await start_traffic(server.port)
    await server.packet()
    traffic.send_signal(asked)
    _, log = await asyncio.wait_for(traffic.communicate(), 5)
    assert traffic.returncode == 0, log.decode()
    assert b"sent lines=" in log
    assert b"Traceback" not in log
