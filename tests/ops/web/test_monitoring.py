"""Monitoring: alert rules, dashboard and their page, against the code and a real Prometheus."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from minibot.kernel import canonical
from minibot.ops.web.prometheus import METRICS
from minibot.runtime.paths import Var
from tests.nights.night import Night
from tests.waiting import DEADLINE_S, wait_until

RULES = "deploy/prometheus/minibot.rules.yml"
SCRAPE_FILE = "deploy/prometheus/minibot.yml"
RULE_TESTS = (
    "deploy/prometheus/minibot.rules.test.yml",
    "deploy/prometheus/minibot.trades.test.yml",
)
NAME = re.compile(r"\bminibot_[a-z_]+")
ALERT = re.compile(r"^ *- alert: (\w+)$", re.MULTILINE)
EXPRESSION = re.compile(r"expr: (?:>-\n((?: {10}.*\n)+)|(.*)\n)")
WORDS_MAX = 400
SETS = (
    *('page={"port":0,"required":true}', "ai.enabled=false", "duration_ms=25200000"),
    "risk.account_drawdown_bps_hard=9000",  # Its metric is told where something limits it.
)
SCRAPE = """
global: {{scrape_interval: 10s, scrape_timeout: 10s, evaluation_interval: 1s}}
rule_files: [{rules}]
scrape_configs:
  - job_name: minibot
    authorization: {{credentials_file: {token}}}
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


def test_shipped_scrape_finds_the_token_and_the_documented_port(project: Path) -> None:
    """Prometheus takes a relative path from the folder of its file."""
    text = read(project, SCRAPE_FILE)
    tokens, ports = (
        re.findall(pattern, text) for pattern in (r"credentials_file: (\S+)", r"127\.0\.0\.1:(\d+)")
    )

    answer = (project / SCRAPE_FILE).parent / tokens[0]
    assert answer.resolve() == Var(project / "var").page_token.resolve()
    assert f'"port": {ports[0]}' in read(project, "docs/OPERATING.md")


def program(name: str) -> str:
    """Return an installed program; the test is skipped by its name without it."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"no {name} on this machine; Debian: apt-get install prometheus")
    return path


def read(project: Path, name: str) -> str:
    """Return a file's text."""
    return (project / name).read_text(encoding="utf-8")


def queries(project: Path) -> list[str]:
    """Return every query of the dashboard."""
    board = json.loads(read(project, "deploy/grafana/minibot.json"))
    return [target["expr"] for panel in board["panels"] for target in panel["targets"]]


@pytest.mark.row("C-75")
def test_page_names_each_metric_and_alert_exactly(project: Path) -> None:
    """MONITORING tells what the code has, in its order, with the labels."""
    page = read(project, "docs/MONITORING.md")
    rows = re.findall(r"^\| `(minibot_\w+)` \| ([a-z_, ]*) \| ", page, re.MULTILINE)
    alerts = re.findall(r"^\| `(Minibot\w+)` \| ", page, re.MULTILINE)

    assert [(name, labels.strip()) for name, labels in rows] == [
        (f"minibot_{metric.name}", ", ".join(metric.labels)) for metric in METRICS
    ]
    assert alerts == ALERT.findall(read(project, RULES))
    assert len(page.split()) <= WORDS_MAX


@pytest.mark.row("C-116")
def test_rules_and_dashboard_ask_for_known_metrics_alone(project: Path) -> None:
    """A renamed metric is no silent alert; each metric has its place on the dashboard."""
    known = {f"minibot_{metric.name}" for metric in METRICS}
    asked = set(
        NAME.findall(" ".join("".join(e) for e in EXPRESSION.findall(read(project, RULES))))
    )
    drawn = {name for query in queries(project) for name in NAME.findall(query)}

    assert asked <= known
    assert drawn == known


@pytest.mark.row("C-117")
def test_each_rule_alerts_where_it_should_and_only_there(project: Path) -> None:
    """promtool plays each rule's own series; each rule has such a test."""
    tests = "".join(read(project, name) for name in RULE_TESTS)
    for name in ALERT.findall(read(project, RULES)):
        assert re.search(rf"alertname: {name}\n +exp_alerts", tests), name
        assert re.search(rf"alertname: {name}}}", tests), name


@pytest.mark.row("C-117")
@pytest.mark.process
def test_promtool_finds_each_rule_as_its_tests_say(project: Path) -> None:
    """Both sides of each bound, how long it has to last, labels and words."""
    done = subprocess.run(
        [program("promtool"), "test", "rules", *(str(project / name) for name in RULE_TESTS)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


class Prometheus:
    """A real Prometheus that scrapes one page; ended with the `with` block."""

    def __init__(self, folder: Path, var: Var, project: Path) -> None:
        address = canonical.decode(var.page_address.read_bytes().rstrip(b"\n"))
        port = urlsplit(address["url"]).port
        text = SCRAPE.format(rules=project / RULES, token=var.page_token, port=port)
        (folder / "prometheus.yml").write_text(text, encoding="utf-8")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._at = f"127.0.0.1:{free.getsockname()[1]}"
        argv = [program("prometheus"), f"--config.file={folder / 'prometheus.yml'}"]
        argv += [f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={self._at}"]
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(argv, stdout=log, stderr=log)

    def ask(self, path: str, **given: str) -> Any:
        """Return the data of an answer; None while there is none."""
        try:
            answer = requests.get(f"http://{self._at}/api/v1/{path}", params=given, timeout=60)
        except requests.ConnectionError:
            assert self._process.poll() is None
            return None
        found = answer.json() if answer.ok else {"status": "", "error": answer.text}
        assert "error" not in found or answer.status_code == 503, found
        return found.get("data")

    def series(self, query: str) -> int:
        """Return how many series a query gives now."""
        data = self.ask("query", query=query)
        return 0 if data is None else len(data["result"])

    def end(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(DEADLINE_S)
        finally:
            self._process.kill()


@pytest.fixture
def prometheus(project: Path, tmp_path: Path) -> Iterator[Prometheus]:
    """A Prometheus that scrapes a running night by the shipped rules; both end with the test."""
    program("prometheus")
    night = Night(tmp_path / "var", SETS, source="generator:2", speed="5")
    try:
        night.await_trading()
        var = Var(night.var)
        wait_until(var.page_address.is_file, "the page has its address")
        found = Prometheus(tmp_path, var, project)
        try:
            yield found
        finally:
            found.end()
    finally:
        night.process.kill()
        night.process.communicate()


@pytest.mark.row("S-44", "C-23", "C-115", "C-116")
@pytest.mark.process
def test_every_query_of_the_dashboard_gives_series_on_a_real_prometheus(
    prometheus: Prometheus, project: Path
) -> None:
    """No panel stays empty beside a run; rules are loaded; the token of the file opens."""
    empty = queries(project)

    def is_filled() -> bool:
        empty[:] = [query for query in empty if not prometheus.series(query)]
        return not empty

    try:
        wait_until(is_filled, "every query has given series")
    except AssertionError:
        pytest.fail(f"no series of {empty}")
    is_up = 'up{job="minibot"} == 1'
    wait_until(lambda: prometheus.series(is_up) == 1, "the last scrape was answered")
    groups = prometheus.ask("rules")["groups"]
    assert {rule["health"] for group in groups for rule in group["rules"]} <= {"ok", "unknown"}
    names = [rule["name"] for group in groups for rule in group["rules"]]
    assert names == ALERT.findall(read(project, RULES))
