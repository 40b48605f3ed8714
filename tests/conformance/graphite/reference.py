"""graphite-web in a process of its own: reads a question a line, JSON, and answers each with a line.

A question is a list of pairs, the parameters of `/render`; `{"functions": true}` asks for `/functions`. An answer is
`{"status": …, "body": …}`.
"""

from __future__ import annotations

import inspect
import json
import logging
import os
import sys
import tempfile
import warnings
from pathlib import Path
from unittest import mock


def main() -> None:
    """Answer until standard input ends."""
    if not hasattr(inspect, "getargspec"):
        # Python 3.11 has them no more, and graphite-web 1.1.10 asks for them.
        inspect.getargspec = inspect.getfullargspec  # type: ignore[attr-defined]
        inspect.formatargspec = lambda *_: ""  # type: ignore[attr-defined]
    try:
        import cairocffi  # noqa: F401
    except (ImportError, OSError):
        # Nothing is drawn here, so a machine without cairo will do.
        sys.modules["cairocffi"] = mock.MagicMock()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(prefix="statline-graphite-web-") as storage:
        os.environ.update(
            DJANGO_SETTINGS_MODULE="graphite.settings",
            GRAPHITE_SETTINGS_MODULE="reference_settings",
            GRAPHITE_STORAGE_DIR=storage,
        )
        Path(storage, "log", "webapp").mkdir(parents=True)
        import django

        django.setup()
        logging.disable(logging.CRITICAL)
        from django.test import Client

        client = Client(raise_request_exception=False)
        for line in sys.stdin:
            question = json.loads(line)
            if isinstance(question, dict):
                answer = client.get("/functions", {"grouped": 0})
            else:
                form: dict[str, list[str]] = {}
                for name, value in question:
                    form.setdefault(name, []).append(value)
                answer = client.get("/render", form)
            text = answer.content.decode(errors="replace")
            print(json.dumps({"status": answer.status_code, "body": text}), flush=True)


if __name__ == "__main__":
    main()
