"""graphite-web beside us: the process of reference.py, and the questions put to it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from common.program import ConformanceError

HERE = Path(__file__).resolve().parent

Parameters = list[tuple[str, str]]


class GraphiteWeb:
    """A running graphite-web; it ends when its standard input does."""

    def __init__(self, log: Path) -> None:
        python = Path(os.environ.get("STATLINE_GRAPHITE_WEB", HERE / ".venv" / "bin" / "python"))
        if not python.is_file():
            raise ConformanceError(f"{python} is missing; make conformance-graphite installs it")
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [str(python), str(HERE / "reference.py")],
                cwd=HERE,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._log = log

    def _ask(self, question: object) -> tuple[int, str]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            last = self._log.read_text(errors="replace").strip().splitlines()[-1:] or ["nothing"]
            raise ConformanceError(f"graphite-web ended: {last[0]}")
        answer = json.loads(line)
        return int(answer["status"]), str(answer["body"])

    def render(self, parameters: Parameters) -> tuple[int, str]:
        """Ask `/render`; the status and the body."""
        return self._ask([*parameters, ("noCache", "1")])

    def functions(self) -> dict[str, dict[str, object]]:
        """Return what `/functions` lists."""
        _, body = self._ask({"functions": True})
        functions: dict[str, dict[str, object]] = json.loads(body)
        return functions

    def stop(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(20)
