"""PyPI's `datadog`: the whole of DogStatsD, over UDP and a unix datagram socket."""

from __future__ import annotations

import time

import pytest
from datadog.dogstatsd.base import DogStatsd


def client_of(daemon, namespace: str, **options) -> DogStatsd:
    """Make a client that sends each call at once, and nothing of its own."""
    if "socket_path" not in options:
        options |= {"host": daemon.host, "port": daemon.port}
    return DogStatsd(
        namespace=namespace,
        disable_telemetry=True,
        disable_buffering=options.pop("disable_buffering", True),
        origin_detection_enabled=False,
        **options,
    )


def send_everything(client: DogStatsd) -> None:
    client.increment("page.views")
    client.increment("page.views", 4, tags=["page:home", "env:prod"])
    client.decrement("page.views", 2, tags=["env:prod", "page:home"])
    client.count("bytes", 1024.5)
    client.gauge("temperature", 21.5, tags=["room:attic"])
    client.gauge("temperature", -3.25, tags=["room:cellar"])
    client.timing("query", 320)
    client.histogram("size", 10, tags=["kind:a"])
    client.histogram("size", 20, tags=["kind:a"])
    client.distribution("latency", 0.5)
    client.distribution("latency", 1.5)
    client.set("users", "alice")
    client.set("users", "bob")


def everything(name: str, tags: str = "") -> dict[str, float]:
    def timer(leaf: str, count: float, total: float, upper: float, of: str = "") -> dict[str, float]:
        return {
            f"stats.timers.{name}.{leaf}.{figure}{of or tags}": value
            for figure, value in (("count", count), ("sum", total), ("upper", upper))
        }

    return {
        f"stats_counts.{name}.page.views{tags}": 1,
        f"stats_counts.{name}.page.views;env=prod;page=home": 2,
        f"stats_counts.{name}.bytes{tags}": 1024.5,
        f"stats.gauges.{name}.temperature;room=attic": 21.5,
        # DogStatsD has no deltas, and its clients send a level below 0 as it is.
        f"stats.gauges.{name}.temperature;room=cellar": -3.25,
        **timer("query", 1, 320, 320),
        **timer("size", 2, 30, 20, ";kind=a"),
        **timer("latency", 2, 2.0, 1.5),
        f"stats.sets.{name}.users.count{tags}": 2,
    }


def test_every_call_arrives_over_udp(daemon):
    send_everything(client_of(daemon, "dd.udp"))
    assert daemon.arrived("dd.udp") == everything("dd.udp")


def test_a_buffer_of_calls_arrives_over_udp(daemon):
    client = client_of(daemon, "dd.buffer", disable_buffering=False)
    send_everything(client)
    client.flush()
    assert daemon.arrived("dd.buffer") == everything("dd.buffer")


def test_every_call_arrives_over_a_unix_datagram_socket(daemon):
    # In one datagram: the client drops what does not fit the socket's queue, which the kernel keeps to a few datagrams.
    client = client_of(daemon, "dd.unix", socket_path=daemon.unix_datagram, disable_buffering=False)
    send_everything(client)
    client.flush()
    assert daemon.arrived("dd.unix") == everything("dd.unix")


def test_aggregated_calls_arrive_packed(daemon):
    client = client_of(
        daemon, "dd.packed", disable_buffering=False, disable_aggregation=False, max_metric_samples_per_context=100
    )
    send_everything(client)
    client.flush_aggregated_metrics()
    client.flush()
    assert daemon.arrived("dd.packed") == everything("dd.packed")


def test_constant_tags_are_on_every_series(daemon):
    client = client_of(daemon, "dd.constant", constant_tags=["site:berlin", "az:1"])
    client.increment("hits")
    client.timing("query", 5, tags=["table:users"])
    assert daemon.arrived("dd.constant") == {
        "stats_counts.dd.constant.hits;az=1;site=berlin": 1,
        "stats.timers.dd.constant.query.count;az=1;site=berlin;table=users": 1,
        "stats.timers.dd.constant.query.sum;az=1;site=berlin;table=users": 5,
        "stats.timers.dd.constant.query.upper;az=1;site=berlin;table=users": 5,
    }


def test_sampled_calls_weigh_what_they_stand_for(daemon, monkeypatch):
    monkeypatch.setattr("datadog.dogstatsd.base.random", lambda: 0.0)
    client = client_of(daemon, "dd.rate")
    client.increment("hits", 2, sample_rate=0.5)
    client.histogram("size", 7, sample_rate=0.1, tags=["a:b"])
    assert daemon.arrived("dd.rate") == {
        "stats_counts.dd.rate.hits": 4,
        "stats.timers.dd.rate.size.count;a=b": pytest.approx(10),
        "stats.timers.dd.rate.size.sum;a=b": 7,
        "stats.timers.dd.rate.size.upper;a=b": 7,
    }


@pytest.mark.parametrize("tags", [None, ["a:b"]], ids=["without tags", "with tags"])
def test_origin_external_data_and_cardinality_are_taken_along(daemon, monkeypatch, tags):
    monkeypatch.setenv("DD_EXTERNAL_ENV", "it-false,cn-web,pu-810fe89d")
    name = "dd.origin.tags" if tags else "dd.origin.none"
    client = client_of(daemon, name, container_id="ci-0123456789abcdef", cardinality="low")
    client.increment("hits", 3, tags=tags)
    client.gauge("level", 4, tags=tags)
    client.timing("query", 5, tags=tags)
    of = ";a=b" if tags else ""
    assert daemon.arrived(name) == {
        f"stats_counts.{name}.hits{of}": 3,
        f"stats.gauges.{name}.level{of}": 4,
        f"stats.timers.{name}.query.count{of}": 1,
        f"stats.timers.{name}.query.sum{of}": 5,
        f"stats.timers.{name}.query.upper{of}": 5,
    }


def test_samples_with_a_timestamp_are_kept_at_their_instant(daemon):
    client = client_of(daemon, "dd.instant")
    at = int(time.time()) - 30
    client.gauge_with_timestamp("level", 17, at)
    client.count_with_timestamp("hits", 5, at)
    assert daemon.arrived("dd.instant") == {"stats.gauges.dd.instant.level": 17, "stats_counts.dd.instant.hits": 5}
    assert daemon.statlined.render("stats_counts.dd.instant.hits", at - 1, at) == {"stats_counts.dd.instant.hits": [5]}


def test_an_event_is_stored_with_all_that_it_says(daemon):
    client = client_of(daemon, "dd.event", constant_tags=["site:berlin"])
    client.event(
        "Deployed dd.event",
        "version 1.2\nby alice, ü|ber",
        alert_type="warning",
        aggregation_key="deploys",
        source_type_name="ci",
        priority="low",
        hostname="web-1",
        tags=["service:api"],
    )
    event = daemon.event("Deployed dd.event")
    assert event["data"] == "version 1.2\nby alice, ü|ber"
    assert {"service:api", "site:berlin"} <= set(event["tags"])
    assert abs(event["when"] - time.time()) < 30


def test_an_event_of_the_past_is_stored_at_its_instant(daemon):
    at = int(time.time()) - 60
    client_of(daemon, "dd.event").event("Deployed before", "text", date_happened=at)
    assert daemon.event("Deployed before")["when"] == at


@pytest.mark.parametrize(("status", "word"), list(enumerate(["ok", "warning", "critical", "unknown"])))
def test_a_service_check_is_a_gauge_and_an_event(daemon, status, word):
    client = client_of(daemon, "dd.check")
    name = f"dd.check.{word}"
    client.service_check(name, status, tags=["service:api"], hostname="web-1", message=f"all\nm: is {word}")
    assert daemon.arrived(name) == {f"stats.gauges.{name};service=api": status}
    event = daemon.event(name)
    assert "service:api" in event["tags"]
    assert f"is {word}" in event["data"]
