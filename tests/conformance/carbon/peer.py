"""carbon 1.1.10's own receivers, lists, rules, aggregator and cache, in this process and without its reactor."""

from __future__ import annotations

import time
from pathlib import Path

from carbon import events, state
from carbon.aggregator.buffers import BufferManager
from carbon.aggregator.processor import AggregationProcessor
from carbon.aggregator.rules import RuleManager
from carbon.cache import CacheFeedingProcessor, MetricCache
from carbon.conf import settings
from carbon.pipeline import run_pipeline, run_pipeline_generated
from carbon.protocols import MetricLineReceiver, MetricPickleReceiver
from carbon.regexlist import BlackList, WhiteList
from carbon.rewrite import RewriteProcessor, RewriteRuleManager
from carbon.util import TaggedSeries, get_unpickler
from twisted.python import log as twisted_log

# What carbon logs of a point that it cannot take is not of interest.
twisted_log.startLoggingWithObserver(lambda _: None, setStdout=False)

# A series by its tags, the name among them.
Series = frozenset[tuple[str, str]]
# The value at each second; several where carbon has them under several names that are one path, in no order.
Points = dict[Series, dict[int, set[float]]]


class Carbon:
    """carbon-aggregator-cache, as far as points go before they are written."""

    def __init__(self, files: dict[str, Path], forward_all: bool) -> None:
        settings.update(FORWARD_ALL=forward_all, LOG_AGGREGATOR_MISSES=False, LOG_LISTENER_CONN_SUCCESS=False)
        state.events = events
        state.instrumentation = __import__("carbon.instrumentation", fromlist=["instrumentation"])
        self._read(files)
        MetricCache().clear()
        MetricCache().size = 0
        writer = CacheFeedingProcessor()
        state.pipeline_processors = [RewriteProcessor("pre"), AggregationProcessor(), RewriteProcessor("post"), writer]
        state.pipeline_processors_generated = [writer]
        for event, handler in ((events.metricReceived, run_pipeline), (events.metricGenerated, run_pipeline_generated)):
            event.handlers = [handler]
        self.lines = MetricLineReceiver()
        self.pickles = MetricPickleReceiver()
        self.pickles.unpickler = get_unpickler(insecure=False)
        self.lines.peerName = self.pickles.peerName = "peer"

    def _read(self, files: dict[str, Path]) -> None:
        """Read the files, without the tasks that would read them again."""
        for name, regexes in (("whitelist", WhiteList), ("blacklist", BlackList)):
            regexes.list_file, regexes.rules_last_read = str(files[name]), 0.0
            regexes.read_list()
        for name, manager in (("rewrite_rules", RewriteRuleManager), ("aggregation_rules", RuleManager)):
            manager.clear()
            manager.rules_file, manager.rules_last_read = str(files[name]), 0.0
            manager.read_rules()

    def line(self, line: bytes) -> None:
        """Receive one line; what carbon has no answer to ends its connection, and is nothing here."""
        try:
            self.lines.lineReceived(line)
        except (UnicodeDecodeError, ValueError, OverflowError):
            return

    def pickle(self, frame: bytes) -> None:
        """Receive one pickle."""
        self.pickles.stringReceived(frame)

    def aggregate(self) -> None:
        """Write what every buffer holds, as at its turn."""
        for buffer in list(BufferManager.buffers.values()):
            buffer.compute_value()
        BufferManager.clear()

    def points(self) -> Points:
        """Return what was cached under names that are names; what is of now stands at second -1."""
        points: Points = {}
        now = time.time()
        for metric, datapoints in MetricCache().items():
            try:
                tags = TaggedSeries.parse(metric).tags
            except Exception:  # carbon raises plain ones, and goes on with the name as it is
                continue
            series = points.setdefault(identity(tags), {})
            for timestamp, value in datapoints.items():
                series.setdefault(-1 if abs(timestamp - now) < 60 else int(timestamp), set()).add(value)
        return points


def identity(tags: dict[str, str]) -> Series:
    """Tell which series it is; a path is one of directories, in which empty parts are nothing."""
    name = tags["name"]
    if len(tags) == 1:
        name = ".".join(part for part in name.split(".") if part)
    return frozenset({**tags, "name": name}.items())
