"""PyPI's `statsd`: UDP, TCP, unix sockets, and pipelines over each."""

from __future__ import annotations

from datetime import timedelta

import pytest
import statsd


def send_everything(client: statsd.client.base.StatsClientBase) -> None:
    client.incr("requests")
    client.incr("requests", 4)
    client.decr("requests", 2)
    client.gauge("balance", 5)
    client.gauge("balance", 3, delta=True)
    client.gauge("balance", -1, delta=True)
    client.gauge("below", 7)
    client.gauge("below", -70)
    client.timing("render", 320)
    client.timing("render", timedelta(milliseconds=80))
    client.set("visitors", "alice")
    client.set("visitors", "bob")
    client.set("visitors", "alice")


def everything(name: str) -> dict[str, float]:
    return {
        f"stats_counts.{name}.requests": 3,
        f"stats.gauges.{name}.balance": 7,
        f"stats.gauges.{name}.below": -70,
        f"stats.timers.{name}.render.count": 2,
        f"stats.timers.{name}.render.sum": 400,
        f"stats.timers.{name}.render.upper": 320,
        f"stats.sets.{name}.visitors.count": 2,
    }


def test_every_call_arrives_over_udp(daemon):
    send_everything(statsd.StatsClient(daemon.host, daemon.port, prefix="py.udp"))
    assert daemon.arrived("py.udp") == everything("py.udp")


def test_a_pipeline_arrives_over_udp(daemon):
    with statsd.StatsClient(daemon.host, daemon.port, prefix="py.pipe").pipeline() as pipe:
        send_everything(pipe)
    assert daemon.arrived("py.pipe") == everything("py.pipe")


def test_every_call_arrives_over_tcp(daemon):
    client = statsd.TCPStatsClient(daemon.host, daemon.tcp_port, prefix="py.tcp")
    send_everything(client)
    client.close()
    assert daemon.arrived("py.tcp") == everything("py.tcp")


def test_a_pipeline_arrives_over_tcp(daemon):
    client = statsd.TCPStatsClient(daemon.host, daemon.tcp_port, prefix="py.tcppipe")
    with client.pipeline() as pipe:
        send_everything(pipe)
    client.close()
    assert daemon.arrived("py.tcppipe") == everything("py.tcppipe")


def test_every_call_arrives_over_a_unix_stream(daemon):
    client = statsd.UnixSocketStatsClient(str(daemon.directory / "stream.socket"), prefix="py.unix")
    send_everything(client)
    client.close()
    assert daemon.arrived("py.unix") == everything("py.unix")


def test_sampled_calls_weigh_what_they_stand_for(daemon, monkeypatch):
    monkeypatch.setattr("random.random", lambda: 0.0)
    client = statsd.StatsClient(daemon.host, daemon.port, prefix="py.rate")
    client.incr("requests", 3, rate=0.1)
    client.timing("render", 10, rate=0.25)
    client.gauge("balance", 5, rate=0.5)
    assert daemon.arrived("py.rate") == {
        "stats_counts.py.rate.requests": pytest.approx(30),
        "stats.timers.py.rate.render.count": 4,
        "stats.timers.py.rate.render.sum": 10,
        "stats.timers.py.rate.render.upper": 10,
        "stats.gauges.py.rate.balance": 5,
    }


def test_a_timed_block_and_a_timed_function_arrive(daemon):
    client = statsd.StatsClient(daemon.host, daemon.port, prefix="py.timed")

    @client.timer("function")
    def work() -> None:
        pass

    with client.timer("block"):
        work()
    arrived = daemon.arrived("py.timed")
    assert {name: arrived[name] for name in arrived if name.endswith(".count")} == {
        "stats.timers.py.timed.function.count": 1,
        "stats.timers.py.timed.block.count": 1,
    }
    assert arrived["stats.timers.py.timed.block.sum"] >= arrived["stats.timers.py.timed.function.sum"] > 0
