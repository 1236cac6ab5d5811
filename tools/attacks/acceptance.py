"""Attacks on the acceptance: runs that are no nights and claim to be, nights that lack a part."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil

from tools.attacks.frame import PROJECT, Found, Lab, Night, NotPlayable, attack, clean_environ

NIGHT = "config/nore.v1.json"
PAPER = "config/paper.v1.json"
# A run of one second of wall-clock time, at the venue's own pace.
SECOND = {
    "duration_ms": "1000",
    "portfolio.close_market_ms": "0",
    "code.require_manifest": "false",
    "queues.events_per_s_min": "0",
}
DAYS = "B-74"


@contextmanager
def served_exchange() -> Iterator[dict[str, Any]]:
    """Serve an exchange on loopback at the present time, as anybody may."""
    argv = [sys.executable, "-m", "minibot", "exchange", "serve", "--port", "0", "--json"]
    argv += ["--source", "generator:7", "--rebase-to-now", "--start", "now"]
    process = subprocess.Popen(
        argv, cwd=PROJECT, env=clean_environ(), stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        text = ""
        for line in process.stdout:
            text += line
            if line.startswith("}"):
                break
        if not text:
            raise NotPlayable("the exchange does not start")
        yield json.loads(text)
    finally:
        process.kill()
        process.communicate()


def short_run(lab: Lab, profile: str) -> int:
    """Play a run of one second on an exchange of this machine, judge it, return its exit code."""
    with served_exchange() as served:
        urls = {"binance.rest_url": served["rest"], "binance.stream_url": served["streams"]}
        code = lab.start_night(SECOND | urls, profile=profile, is_embedded=False).wait().code
    lab.minibot("accept", "latest")
    return code


def need(lab: Lab, row: str) -> tuple[int, dict[str, Any]]:
    """Return the exit code of `ready` and its answer for a row."""
    done = lab.minibot("ready", "--json")
    return done.code, next(item for item in done.document["needs"] if item["row"] == row)


def lines_of_verdict(lab: Lab) -> tuple[int, dict[str, Any], dict[str, dict[str, Any]]]:
    """Return exit code and verdict of `accept`, and its lines by name."""
    done = lab.minibot("accept", "latest", "--json")
    document = done.document
    return done.code, document, {item["name"]: item for item in document["criteria"]}


@attack("A9", "a run of a second in mode NORE is judged and counted", "ready: 0 days")
def run_of_a_second_makes_no_day(lab: Lab) -> Found:
    """Play a real-time run on an exchange that is not embedded, then ask `ready`."""
    played = short_run(lab, NIGHT)
    code, days = need(lab, DAYS)
    said = f"the run ends with {played}, ready counts {days['found']}"
    return Found(said, code, played == 0 and code == 1 and days["found"] == "0 days")


@attack("A9", "a run in mode PAPER is accepted and counted", "accept: no PASS, ready: 0 days")
def run_in_mode_paper_makes_no_day(lab: Lab) -> Found:
    """Play a run in mode PAPER on such an exchange, then ask `accept` and `ready`."""
    played = short_run(lab, PAPER)
    _, document, _ = lines_of_verdict(lab)
    code, days = need(lab, DAYS)
    said = f"accept: {document['verdict']}, ready counts {days['found']}"
    is_refused = document["verdict"] != "PASS" and not document["counts_as_night"]
    return Found(said, code, played == 0 and is_refused and days["found"] == "0 days")


@attack("A9", "a night is run without its AI", "accept: a line of its own that does not pass")
def night_without_ai_is_told(lab: Lab) -> Found:
    """Switch the AI off in the profile, then ask `accept`."""
    done = lab.start_night({"ai.enabled": "false", "ai.required": "false"}).wait()
    code, document, lines = lines_of_verdict(lab)
    line = lines.get("the AI", {"found": "no such line", "verdict": "PASS"})
    holds = line["verdict"] != "PASS" and not document["counts_as_night"]
    return Found(f"the AI: {line['found']}", code, done.code == 0 and holds)


@attack("A9", "the AI's worker dies before it is jailed", "accept: isolation does not pass")
def night_without_jail_is_told(lab: Lab) -> Found:
    """End the AI's worker while it is starting, then ask `accept`."""
    night = lab.start_night({"ai.required": "false", "ai.restarts_max": "0"})
    worker = night.wait_until(lambda: worker_of(night), "the AI's worker")
    worker.kill()
    done = night.wait()
    code, document, lines = lines_of_verdict(lab)
    line = lines.get("isolation of the AI", {"found": "no such line", "verdict": "PASS"})
    holds = line["found"] == "never reported" and line["verdict"] != "PASS"
    said = f"isolation of the AI: {line['found']}, {document['verdict']}"
    return Found(said, code, done.code == 0 and holds and not document["counts_as_night"])


def worker_of(night: Night) -> psutil.Process | None:
    """Return the worker of the AI's clerk once it runs; the preflight tries another one first."""
    clerk = night.roles().get("ai_role")
    try:
        return next(iter(clerk.children()), None) if clerk is not None else None
    except psutil.Error:
        return None


@attack("A9", "a night is run without the code list", "accept: a line of its own, not passed")
def night_without_code_list_is_told(lab: Lab) -> Found:
    """Ask `accept` about a finished run whose profile does not demand the code list."""
    lab.finished_run()
    code, _, lines = lines_of_verdict(lab)
    line = lines.get("code list", {"found": "no such line", "verdict": "PASS"})
    return Found(f"code list: {line['found']}", code, line["verdict"] != "PASS")


@attack("A9", "logs that an earlier run rotated are shown as a night's own", "accept counts none")
def logs_of_an_earlier_run_count_for_nothing(lab: Lab) -> Found:
    """Set the logs of a finished run aside as full, run another one, then ask `accept`."""
    lab.finished_run()
    for path in sorted((lab.var / "logs").glob("*_role.jsonl")):
        path.rename(path.with_name(f"{path.stem}.1.jsonl"))
    done = lab.start_night().wait()
    code, _, lines = lines_of_verdict(lab)
    line = lines["rotation"]
    holds = " 0 rotated" in line["found"] and line["verdict"] != "PASS"
    return Found(f"rotation: {line['found']}", code, done.code == 0 and holds)


@attack("A9", "the thresholds of the acceptance are loosened", "exit 4, the key is named")
def looser_threshold_is_refused(lab: Lab) -> Found:
    """Allow an answer time of one hour in the profile, then start."""
    done = lab.start_night({"acceptance.latency_ms_p95_max": "3600000"}).wait()
    is_named = done.says("acceptance.latency_ms_p95_max")
    return Found(done.last_words(), done.code, done.code == 4 and is_named)
