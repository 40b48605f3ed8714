"""The configurations that both servers are run with: etsy's keys, and ours that mean the same."""

from __future__ import annotations

from dataclasses import dataclass

from pair import Setup


@dataclass(frozen=True)
class Group:
    """A configuration, and how long what is idle is watched under it."""

    name: str
    setup: Setup
    idle_flushes: int = 1


def _namespace(suffix: str) -> dict[str, object]:
    return {
        "legacyNamespace": False,
        "globalPrefix": "all",
        "prefixCounter": "c",
        "prefixTimer": "t",
        "prefixGauge": "g",
        "prefixSet": "s",
        "globalSuffix": suffix,
    }


_OURS_NAMESPACE = """legacy_namespace = false
global_prefix = "all"
prefix_counter = "c"
prefix_timer = "t"
prefix_gauge = "g"
prefix_set = "s"
"""

GROUPS = [
    Group("defaults", Setup()),
    Group("every 2 s", Setup(interval_seconds=2)),
    Group(
        "new namespace",
        Setup({"graphite": {"legacyNamespace": False}}, "legacy_namespace = false"),
    ),
    Group(
        "prefixes and a suffix",
        Setup(
            {"graphite": _namespace("host-1"), "prefixStats": "own.stats"},
            f'{_OURS_NAMESPACE}global_suffix = "host-1"\nprefix_stats = "own.stats"',
        ),
    ),
    Group(
        "prefixes that are empty",
        Setup(
            {
                "graphite": {
                    "legacyNamespace": False,
                    "globalPrefix": "",
                    "prefixCounter": "",
                    "prefixTimer": "t",
                    "prefixGauge": "g",
                    "prefixSet": "s",
                }
            },
            'legacy_namespace = false\nglobal_prefix = ""\nprefix_counter = ""\n'
            'prefix_timer = "t"\nprefix_gauge = "g"\nprefix_set = "s"',
        ),
    ),
    Group(
        "old namespace, a suffix",
        Setup(
            {
                "graphite": {"globalPrefix": "no", "prefixCounter": "no", "prefixGauge": "no", "globalSuffix": "host"},
                "prefixStats": "own",
            },
            'global_prefix = "no"\nprefix_counter = "no"\nprefix_gauge = "no"\n'
            'global_suffix = "host"\nprefix_stats = "own"',
        ),
    ),
    Group(
        "percent thresholds",
        Setup({"percentThreshold": [90, 99.9, -10, 50]}, "percent_thresholds = [90, 99.9, -10, 50]"),
    ),
    Group(
        "percent thresholds, odd",
        Setup({"percentThreshold": [0.1, -33.3, 100, 5, -60.6]}, "percent_thresholds = [0.1, -33.3, 100, 5, -60.6]"),
    ),
    Group(
        "histograms",
        Setup(
            {
                "histogram": [
                    {"metric": ".nohist", "bins": []},
                    {"metric": ".a", "bins": [1, 10.5, 100, "inf"]},
                    {"metric": "", "bins": [0.1, 50, 500]},
                ]
            },
            'histogram = [{ metric = ".nohist", bins = [] }, { metric = ".a", bins = [1, 10.5, 100, "inf"] }, '
            '{ metric = "", bins = [0.1, 50, 500] }]',
        ),
    ),
    Group("idle: all deleted", Setup({"deleteIdleStats": True}, "delete_idle = true"), idle_flushes=3),
    Group(
        "idle: all but one deleted",
        Setup({"deleteIdleStats": True, "deleteTimers": False}, "delete_idle = true\ndelete_timers = false"),
        idle_flushes=2,
    ),
    Group("idle: counters deleted", Setup({"deleteCounters": True}, "delete_counters = true"), idle_flushes=2),
    Group("idle: timers deleted", Setup({"deleteTimers": True}, "delete_timers = true"), idle_flushes=2),
    Group("idle: gauges deleted", Setup({"deleteGauges": True}, "delete_gauges = true"), idle_flushes=3),
    Group("idle: sets deleted", Setup({"deleteSets": True}, "delete_sets = true"), idle_flushes=2),
    Group(
        "idle: gauges live 3 flushes",
        Setup({"deleteGauges": True, "gaugesMaxTTL": 3}, "delete_gauges = true\ngauges_max_ttl = 3"),
        idle_flushes=5,
    ),
    Group("no counts", Setup({"flush_counts": False}, "flush_counts = false")),
    Group(
        "no counts, new namespace",
        Setup(
            {"flush_counts": False, "graphite": {"legacyNamespace": False}},
            "flush_counts = false\nlegacy_namespace = false",
        ),
    ),
    Group(
        "chosen timer metrics",
        Setup(
            {
                "calculatedTimerMetrics": ["count", "median", "upper_percent", "mean_percent", "histogram"],
                "percentThreshold": [90, -10, 99.9],
                "histogram": [{"metric": ".a", "bins": [10, "inf"]}],
            },
            'calculated_timer_metrics = ["count", "median", "upper_percent", "mean_percent", "histogram"]\n'
            'percent_thresholds = [90, -10, 99.9]\nhistogram = [{ metric = ".a", bins = [10, "inf"] }]',
        ),
    ),
]
