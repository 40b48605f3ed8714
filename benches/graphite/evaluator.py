"""graphite-web in a process of its own: reads a question a line, JSON, and answers each with a line.

Its first argument is a file of series: a line of JSON that says where they begin, their step and their names, and then
the values of one after the other as doubles. They are kept in whisper files, as carbon would. A question is `{"target": …, "from": …, "until": …, "http": …}`, times in
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


def keep_series(path: Path, directory: Path) -> None:
    """Write each series to a whisper file with room for twice as many points."""
    import whisper

    with path.open("rb") as file:
        head = json.loads(file.readline())
        times = [head["start"] + head["step"] * place for place in range(head["points"])]
        for name in head["names"]:
            values = array.array("d", file.read(8 * head["points"]))
            kept = directory / (name.replace(".", "/") + ".wsp")
            kept.parent.mkdir(parents=True, exist_ok=True)
            whisper.create(str(kept), [(head["step"], 2 * head["points"])])
            points = zip(times, values, strict=True)
            whisper.update_many(str(kept), [(at, value) for at, value in points if value == value])


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
            GRAPHITE_SETTINGS_MODULE="whisper_settings",
            GRAPHITE_STORAGE_DIR=storage,
        )
        Path(storage, "log", "webapp").mkdir(parents=True)
        # Written before the settings are read, which leave out directories that are not there.
        keep_series(Path(sys.argv[1]), Path(storage, "whisper"))
        import django

        django.setup()
        logging.disable(logging.CRITICAL)
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
