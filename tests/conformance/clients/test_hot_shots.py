"""npm's `hot-shots`, by a script that says everything that it can."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


def run_script(protocol: str, port: int, prefix: str) -> None:
    node = shutil.which("node")
    assert node is not None, "node is missing; install nodejs 18 or newer"
    subprocess.run([node, HERE / "hot_shots.js", protocol, str(port), prefix], check=True, timeout=30)


def everything(name: str) -> dict[str, float]:
    site, kind = ";site=berlin", ";kind=a;site=berlin"
    return {
        f"stats_counts.{name}.hits{site}": 3,
        f"stats_counts.{name}.these{site}": 1,
        f"stats_counts.{name}.those{site}": 1,
        f"stats.gauges.{name}.level{site}": 123.45,
        f"stats.gauges.{name}.moved{site}": 7,
        f"stats.gauges.{name}.up;service=api;site=berlin": 1,
        f"stats.sets.{name}.users.count{site}": 2,
        **{
            f"stats.timers.{name}.{leaf}.{figure}{tags}": value
            for leaf, count, total, upper, tags in (
                ("query", 1, 42, 42, site),
                ("size", 2, 30, 20, kind),
                ("latency", 1, 0.5, 0.5, site),
            )
            for figure, value in (("count", count), ("sum", total), ("upper", upper))
        },
    }


@pytest.mark.parametrize("name", ["node.single", "node.buffered"])
def test_every_call_arrives_over_udp(daemon, name):
    run_script("udp", daemon.port, name)
    assert daemon.arrived(name) == everything(name)


def test_every_call_arrives_over_tcp(daemon):
    run_script("tcp", daemon.tcp_port, "node.tcp")
    assert daemon.arrived("node.tcp") == everything("node.tcp")


def test_an_event_is_stored(daemon):
    run_script("udp", daemon.port, "node.event")
    # The client puts its prefix before titles, too.
    event = daemon.event("node.event.deployed")
    assert event["data"] == "version 1.2\nby alice"
    assert {"service:api", "site:berlin"} <= set(event["tags"])
