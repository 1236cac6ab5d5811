"""Page and alerts count once they were tried: the notes, and what `ready` and `doctor` say."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from minibot.cli.support.trial_checks import ALERT_TEST, PAGE_OPENED, trial_checks
from minibot.kernel.files import ensure_folder
from minibot.ops.one_time_code import CODE_S, Codes, opened_ms
from minibot.ops.trial_needs import ALERTS_NEED, PAGE_NEED, trial_needs
from minibot.runtime.configuration.config import load_config
from minibot.runtime.manifest import Manifest
from minibot.runtime.paths import Var
from tests.ops.alert_hosts import WebHost
from tests.ops.web.served import Served, served
from tests.report.nights import HOSTS
from tests.runs import PROJECT, Completed, ShortRun, verb

PROFILE = "config/nore-demo.v1.json"
PAGE: dict[str, Any] = {"port": 0, "required": True}
FAILS = [sys.executable, "-c", "raise SystemExit(1)"]
TAKES = [sys.executable, "-c", "import sys; sys.stdin.read()"]


def alerts_of(**targets: Any) -> dict[str, Any]:
    """Return a section of alerts with targets or commands."""
    return {"required": False, "level_min": "warning", "per_minute_max": 5, **targets}


def words_of(section: dict[str, Any]) -> list[str]:
    """Return the words that name a profile with these alerts and a page."""
    given = {"alerts": section, "page": PAGE}
    sets = [
        text for name, each in given.items() for text in ("--set", f"{name}={json.dumps(each)}")
    ]
    return ["--config", PROFILE, *sets]


def levels(var: Path, section: dict[str, Any]) -> dict[str, str]:
    """Return the level of each check of trials that `doctor` makes for such a profile."""
    config = load_config(PROJECT / PROFILE, words_of(section)[3::2])
    return {each.name: each.level for each in trial_checks(config, Var(var))}


def alert_test(var: Path, section: dict[str, Any], *words: str) -> Completed:
    """Return the answer of `minibot alert test` for these alerts."""
    return verb(var, "alert", "test", *words_of(section), *words)


def missing(var: Path) -> set[str]:
    """Return the names of the needs of trials that are missing."""
    return {need.name for need in trial_needs(Var(var)) if not need.is_met}


def real_night(run: ShortRun, var: Path, run_id: str, **sections: Any) -> None:
    """Add a real night whose profile has these sections."""
    manifest = Manifest.load(run.run_dir)
    folder = Var(var).run(run_id)
    folder.mkdir(parents=True)
    config = {**manifest.config, "page": None, "alerts": None, **sections}
    real: dict[str, Any] = {"run_id": run_id, "simulated": False, "hosts": HOSTS, "config": config}
    replace(manifest, **real).write(folder)


@pytest.fixture
def page(short_run: ShortRun, tmp_path: Path) -> Iterator[Served]:
    """A page over a short run that is told to be going on."""
    with served(short_run, tmp_path) as found:
        yield found


@pytest.mark.row("B-77")
@pytest.mark.process
@pytest.mark.network_mock
def test_ready_lists_page_and_alerts_until_both_were_tried(page: Served, tmp_path: Path) -> None:
    """An installation that could alert nobody, or whose page nobody saw, is not ready."""
    var, secrets = page.var.root, tmp_path / "secrets.env"
    before = verb(var, "ready", "--json").document["needs"]
    with WebHost() as host:
        secrets.write_text(f"HOOK={host.url()}\n")
        secrets.chmod(0o600)
        section = alerts_of(targets={"hook": "HOOK"})
        tried = alert_test(var, section, "--set", f"secrets.path={secrets}")
        page.log_in()
        after = verb(var, "ready", "--json").document["needs"]

    assert tried.code == 0, tried.err
    assert len(host.got) == 1
    named = [need["name"] for need in before if need["row"] == "B-77" and not need["met"]]
    assert set(named) == {PAGE_NEED, ALERTS_NEED}
    assert all(need["remedy"] for need in before if need["name"] in named)
    assert [need["met"] for need in after if need["row"] == "B-77"] == [True, True]


@pytest.mark.process
def test_alerts_count_only_while_the_targets_are_those_that_were_tried(tmp_path: Path) -> None:
    """A target that is new, changed or not reached has yet to prove that it tells anybody."""
    tried = alerts_of(commands={"one": TAKES, "two": TAKES})
    untried = levels(tmp_path, tried)
    assert alert_test(tmp_path, tried).code == 0

    assert untried[ALERT_TEST] == "WARN"
    assert levels(tmp_path, tried)[ALERT_TEST] == "OK"
    assert levels(tmp_path, alerts_of(commands={"one": TAKES}))[ALERT_TEST] == "OK"
    for other in (
        alerts_of(commands={"one": TAKES, "two": FAILS}),
        alerts_of(commands={"one": TAKES, "three": TAKES}),
        alerts_of(commands={"one": TAKES}, targets={"two": "HOOK"}),
    ):
        assert levels(tmp_path, other)[ALERT_TEST] == "WARN"


@pytest.mark.process
def test_test_that_missed_one_target_does_not_count(tmp_path: Path) -> None:
    """Also one that follows a good one: the newest test says how it is now."""
    both = alerts_of(commands={"one": TAKES, "two": FAILS})
    assert alert_test(tmp_path, alerts_of(commands={"one": TAKES})).code == 0
    good = missing(tmp_path)
    assert alert_test(tmp_path, both).code == 1

    assert ALERTS_NEED not in good
    assert ALERTS_NEED in missing(tmp_path)
    assert levels(tmp_path, both)[ALERT_TEST] == "WARN"


@pytest.mark.parametrize("content", [b"", b"{}", b'{"targets":["one"]}'])
def test_damaged_notes_count_for_nothing(tmp_path: Path, content: bytes) -> None:
    """A note that cannot be believed is none."""
    var = Var(tmp_path)
    ensure_folder(var.ops)
    var.alert_test.write_bytes(content)
    var.page_opened.write_bytes(content)

    assert missing(tmp_path) == {PAGE_NEED, ALERTS_NEED}


@pytest.mark.process
def test_newest_real_night_says_which_page_and_alerts_have_to_be_tried(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """A trial of other targets, or a night without page or alerts, proves nothing of the nights."""
    section = alerts_of(commands={"one": TAKES})
    assert alert_test(tmp_path, section).code == 0
    code = Codes(Var(tmp_path).page_code, Var(tmp_path).page_opened)
    assert code.take(code.make())

    assert missing(tmp_path) == set()
    real_night(short_run, tmp_path, "20260105_200000")
    assert missing(tmp_path) == {PAGE_NEED, ALERTS_NEED}
    other = alerts_of(commands={"one": FAILS})
    real_night(short_run, tmp_path, "20260106_200000", page=PAGE, alerts=other)
    assert missing(tmp_path) == {ALERTS_NEED}
    real_night(short_run, tmp_path, "20260107_200000", page=PAGE, alerts=section)
    assert missing(tmp_path) == set()


@pytest.mark.network_mock
def test_page_counts_once_a_good_code_opened_it(page: Served) -> None:
    """A wrong or old code, and a look by the token, are no proof that a person can open it."""
    codes = Codes(page.var.page_code)
    code, old_s = codes.make(), time.time() - CODE_S - 1
    page.ask("/login", "POST", b"code=wrong")
    page.get("/api/v1/live")
    os.utime(page.var.page_code, (old_s, old_s))
    page.ask("/login", "POST", f"code={code}".encode())
    before = opened_ms(page.var)
    section = alerts_of(commands={"one": TAKES})
    unopened = levels(page.var.root, section)
    page.log_in()

    assert before is None
    assert unopened[PAGE_OPENED] == "WARN"
    assert opened_ms(page.var) is not None
    assert levels(page.var.root, section)[PAGE_OPENED] == "OK"


def test_profile_without_page_and_alerts_has_no_check_of_them(tmp_path: Path) -> None:
    """Whoever wants neither is not warned each evening."""
    assert list(trial_checks(load_config(PROJECT / PROFILE), Var(tmp_path))) == []


@pytest.mark.process
def test_doctor_warns_with_the_command_that_mends_it(short_run: ShortRun) -> None:
    """The command is whole: profile, keys and `var` as they were given, so it can be pasted."""
    words = words_of(alerts_of(commands={"one": TAKES}))
    done = verb(short_run.var, "doctor", *words, "--json")

    checks = {check["name"]: check for check in done.document["checks"]}
    assert checks[ALERT_TEST]["level"] == "WARN"
    assert checks[ALERT_TEST]["remedy"].startswith(f"minibot alert test --config {PROFILE} --set ")
    assert str(short_run.var) in checks[ALERT_TEST]["remedy"]
    assert checks[PAGE_OPENED]["level"] == "WARN"
