"""graphite-web in a process of its own: reads a question a line, JSON, and answers each with a line.

Its first argument is a file of series: a line of JSON that says where they begin, their step and their names, and then
the values of one after the other as doubles. A question is `{"target": …, "from": …, "until": …, "http": …}`, times in
seconds. The answer says how long its evaluator took for that, without HTTP and JSON, and what came of it; with `http`,
how long the answer to `/render` took, which is JSON.
"""

from __future__ import annotations

import array
import inspect
import json
import logging
import os
import sys
import tempfile
import time
import warnings
from datetime import datetime, timezone
from pathlib import Path


def read_series(path: Path) -> None:
    """Hand the series to the finder."""
    import memory_finder

    with path.open("rb") as file:
        head = json.loads(file.readline())
        memory_finder.START, memory_finder.STEP = head["start"], head["step"]
        for name in head["names"]:
            values = array.array("d", file.read(8 * head["points"]))
            memory_finder.SERIES[name] = [None if value != value else value for value in values]


def main() -> None:
    """Answer until standard input ends."""
    if not hasattr(inspect, "getargspec"):
        # Python 3.11 has them no more, and graphite-web 1.1.10 asks for them.
        inspect.getargspec = inspect.getfullargspec  # type: ignore[attr-defined]
        inspect.formatargspec = lambda *_: ""  # type: ignore[attr-defined]
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(prefix="statline-graphite-web-") as storage:
        os.environ.update(
            DJANGO_SETTINGS_MODULE="graphite.settings",
            GRAPHITE_SETTINGS_MODULE="memory_settings",
            GRAPHITE_STORAGE_DIR=storage,
        )
        Path(storage, "log", "webapp").mkdir(parents=True)
        import django

        django.setup()
        logging.disable(logging.CRITICAL)
        read_series(Path(sys.argv[1]))
        for line in sys.stdin:
            print(json.dumps(answer(json.loads(line))), flush=True)


def answer(question: dict[str, object]) -> dict[str, object]:
    """Answer one question."""
    from django.test import Client
    from graphite.render.evaluator import evaluateTarget

    if question["http"]:
        form = {"target": question["target"], "from": question["from"], "until": question["until"], "format": "json", "noCache": "1"}
        began = time.perf_counter()
        response = Client().get("/render", form)
        took = time.perf_counter() - began
        return {"ms": took * 1000, "status": response.status_code, "bytes": len(response.content)}
    instant = {name: datetime.fromtimestamp(int(str(question[name])), timezone.utc) for name in ("from", "until")}
    context = {
        "startTime": instant["from"],
        "endTime": instant["until"],
        "now": instant["until"],
        "localOnly": False,
        "template": {},
        "tzinfo": timezone.utc,
        "forwardHeaders": {},
        "sourceIdHeaders": {},
        "data": [],
        "prefetched": {},
        "xFilesFactor": 0,
        "maxDataPoints": None,
        "targets": [question["target"]],
        "maxStep": None,
    }
    began = time.perf_counter()
    series = evaluateTarget(context, [question["target"]])
    took = time.perf_counter() - began
    values = [value for one in series for value in one if value is not None]
    return {"ms": took * 1000, "series": len(series), "points": len(values), "sum": sum(values)}


if __name__ == "__main__":
    main()
