"""What is shipped for Prometheus and Grafana, held against the real programs and the real names."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from upload.pipeline import rig, wait_for

from http_pages.site import TOKEN, Site, served

FOLDER = Path(__file__).parent.parent.parent / "deploy" / "monitoring"

#: How a daemon is scraped and judged, at the pace of a test.
CONFIG = """
global: {{scrape_interval: 200ms, evaluation_interval: 200ms}}
rule_files: [rules.yml]
scrape_configs:
  - job_name: megamax-sync
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
    authorization: {{credentials_file: token}}
"""


def test_promtool_finds_nothing(require_program: Callable[[str], str]) -> None:
    """The rules and the example are right, and each alert fires when it should."""
    promtool = require_program("promtool")
    for order in (
        ["check", "rules", "alerts.yml"],
        ["check", "config", "prometheus.example.yml"],
        ["test", "rules", "alerts.test.yml"],
    ):
        ran = subprocess.run([promtool, *order], cwd=FOLDER, capture_output=True, check=False)
        assert ran.returncode == 0, ran.stdout.decode() + ran.stderr.decode()


def test_metrics_are_named_as_the_guide_says(
    kept_site: Site, bearer: httpx.Client, require_program: Callable[[str], str]
) -> None:
    """promtool's linter has nothing against any name, help text or unit."""
    kept_site.done("/media/a.mkv")
    kept_site.meters.called("file", None)
    text = bearer.get("/metrics").content
    promtool = require_program("promtool")
    ran = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, check=False
    )
    assert ran.returncode == 0, ran.stdout.decode() + ran.stderr.decode()


def test_rules_and_dashboard_ask_for_what_there_is(kept_site: Site, bearer: httpx.Client) -> None:
    """Each metric that an alert or a panel names is one that is exported."""
    kept_site.done("/media/a.mkv")
    kept_site.meters.called("file", None)
    exported = set(
        re.findall(r"^(megamax_\w+|process_\w+)", bearer.get("/metrics").text, re.MULTILINE)
    )
    dashboard = json.loads((FOLDER / "grafana-dashboard.json").read_text())
    questions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    questions += re.findall(
        r"expr: ([^\n]+(?:\n          [^\n]+)*)", (FOLDER / "alerts.yml").read_text()
    )
    assert len(questions) > 25
    named = {name for one in questions for name in re.findall(r"\b(?:megamax|process)_\w+", one)}
    assert named - exported == set()


def ask(port: int, path: str, **query: str) -> Any:
    """What Prometheus answers; None before it does."""
    try:
        url = f"http://127.0.0.1:{port}/api/v1/{path}"
        return httpx.get(url, params=query, trust_env=False).json()["data"]
    except (httpx.TransportError, ValueError):
        return None


def value(port: int, query: str) -> float | None:
    """The one value of a query."""
    found = (ask(port, "query", query=query) or {}).get("result")
    return float(found[0]["value"][1]) if found else None


def test_a_real_prometheus_scrapes_and_an_alert_fires(
    tmp_path: Path, require_program: Callable[[str], str]
) -> None:
    """A real daemon's upload arrives in a real Prometheus; a lost folder fires its alert."""
    prometheus = require_program("prometheus")
    with rig(tmp_path) as made, served(made, HTTP_TOKEN=TOKEN) as url:
        (tmp_path / "token").write_text(TOKEN)
        # Minutes are nothing here; what is asked stays as it is shipped.
        rules = re.sub(r"for: \w+", "for: 0s", (FOLDER / "alerts.yml").read_text())
        (tmp_path / "rules.yml").write_text(rules)
        (tmp_path / "prometheus.yml").write_text(CONFIG.format(port=url.rpartition(":")[2]))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        options = [
            f"--config.file={tmp_path / 'prometheus.yml'}",
            f"--storage.tsdb.path={tmp_path / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=error",
        ]
        with subprocess.Popen([prometheus, *options], stderr=subprocess.PIPE) as process:
            try:
                wait_for(lambda: value(port, "up") == 1, 30, what="no scrape")
                data = made.put("a.mkv", size=5000)
                made.wait_done("a.mkv")
                sent = "megamax_upload_sent_bytes_total"
                wait_for(lambda: value(port, sent) == len(data), 20, what="no bytes")
                done = 'megamax_stage_duration_seconds_count{stage="convert"}'
                wait_for(lambda: value(port, done) == 1, 20, what="no conversion")
                arrived = 'megamax_uploads_total{outcome="arrived"}'
                wait_for(lambda: value(port, arrived) == 1, 20, what="no upload")
                made.drop.rename(tmp_path / "gone")
                made.daemon.watcher.coverage.check()
                wait_for(lambda: "MegamaxSyncWatchDegraded" in firing(port), 40, what="no alert")
                (tmp_path / "gone").rename(made.drop)
            finally:
                process.terminate()
                process.communicate()


def firing(port: int) -> set[str]:
    """The alerts that fire."""
    alerts = (ask(port, "alerts") or {}).get("alerts", [])
    return {one["labels"]["alertname"] for one in alerts if one["state"] == "firing"}
