#!/usr/bin/env python3
"""Asks a real Grafana for every panel of every shipped dashboard.

Starts the Grafana of --home (default: $GRAFANA_HOME) through demo/grafana.sh in a directory of its own, or takes one
that runs already (--url). The data source takes its addresses from the environment, as
provisioning/datasources/statline.yaml tells. A dashboard passes when Grafana has provisioned it; a panel passes when
each of its queries is answered without an error and one of them with a value; the data source passes when its health
does.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
DATASOURCE = "statline"
START_SECONDS = 180
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def call(url: str, body: dict | None = None) -> dict:
    """Ask `url` and return its JSON, whatever the status; a query in error has a body worth reading."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            text = response.read()
    except urllib.error.HTTPError as error:
        text = error.read()
    try:
        return json.loads(text)
    except ValueError:
        return {"message": text[:200].decode(errors="replace")}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(home: str, plugins: str, data: Path) -> tuple[subprocess.Popen, str]:
    port = free_port()
    script = REPOSITORY / "demo" / "grafana.sh"
    arguments = ["--home", home, "--plugins", plugins, "--data", str(data), "--port", str(port)]
    with (data / "grafana.log").open("wb") as log:
        process = subprocess.Popen([script, *arguments], stdout=log, stderr=subprocess.STDOUT)
    return process, f"http://127.0.0.1:{port}"


def wait_until_ready(url: str, process: subprocess.Popen | None) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process is not None and process.poll() is not None:
            return False
        try:
            # Dashboards are provisioned in the background, after health is good.
            if call(f"{url}/api/health").get("database") == "ok" and len(provisioned(url)) >= len(shipped()):
                return True
        except OSError:
            pass
        time.sleep(0.5)
    return False


def shipped() -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted((REPOSITORY / "dashboards").glob("*.json"))]


def provisioned(url: str) -> list[str]:
    found = call(f"{url}/api/search?type=dash-db&tag=statline")
    return [entry["uid"] for entry in found] if isinstance(found, list) else []


def seconds(relative: str) -> int:
    """`now-24h` or `24h` as seconds."""
    length = relative.removeprefix("now-")
    return int(length[:-1]) * SECONDS[length[-1]]


def ask(url: str, dashboard: dict, panel: dict) -> str | None:
    """Say what is wrong with a panel's answer, or nothing."""
    span = seconds(panel.get("timeFrom") or dashboard["time"]["from"])
    points = 500
    queries = [
        {
            **target,
            "datasource": {"type": target["datasource"]["type"], "uid": DATASOURCE},
            "intervalMs": max(span * 1000 // points, 1000),
            "maxDataPoints": points,
            "timezone": "utc",
        }
        for target in panel["targets"]
    ]
    answer = call(f"{url}/api/ds/query", {"queries": queries, "from": f"now-{span}s", "to": "now"})
    results = answer.get("results")
    if results is None:
        return str(answer.get("message", answer))
    values = 0
    for query in queries:
        result = results.get(query["refId"], {"error": "no answer"})
        if "error" in result:
            return f"{query['refId']}: {result['error']}"
        for frame in result.get("frames", []):
            columns = zip(frame["schema"]["fields"], frame["data"]["values"], strict=True)
            values += sum(v is not None for field, column in columns if field["type"] != "time" for v in column)
    return None if values else "no values"


def report(name: str, problem: str | None) -> bool:
    print(f"{'ok    ' if problem is None else 'failed'} {name}{'' if problem is None else f': {problem}'}", flush=True)
    return problem is None


def check(url: str) -> list[bool]:
    found = provisioned(url)
    health = call(f"{url}/api/datasources/uid/{DATASOURCE}/health")
    outcomes = [report("data source", None if health.get("status") == "OK" else health.get("message", str(health)))]
    for dashboard in shipped():
        there = dashboard["uid"] in found
        outcomes.append(report(f"dashboard {dashboard['title']}", None if there else "not provisioned"))
        outcomes += [
            report(f"{dashboard['title']} / {panel['title']}", ask(url, dashboard, panel))
            for panel in dashboard["panels"]
            if panel.get("targets")
        ]
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", default=os.environ.get("GRAFANA_HOME", ""), help="a Grafana's home directory")
    parser.add_argument("--plugins", default=str(REPOSITORY / "dist"), help="holds statline-stats-datasource/")
    parser.add_argument("--url", help="a Grafana that runs already, such as http://127.0.0.1:3000")
    options = parser.parse_args()
    if not options.url and not options.home:
        print("skipped: no Grafana (set GRAFANA_HOME)\n0 passed, 0 failed, 1 skipped")
        return 0

    with tempfile.TemporaryDirectory(prefix="statline-grafana-") as directory:
        data = Path(directory)
        process, url = (None, options.url) if options.url else start(options.home, options.plugins, data)
        try:
            if not wait_until_ready(url, process):
                if process is not None:
                    print((data / "grafana.log").read_text(errors="replace")[-4000:])
                print(f"grafana at {url} was not ready with its dashboards within {START_SECONDS} s")
                return 1
            outcomes = check(url)
        finally:
            if process is not None:
                process.terminate()
                process.wait(timeout=30)
    print(f"{sum(outcomes)} passed, {len(outcomes) - sum(outcomes)} failed")
    return 0 if all(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
