"""Staged settings: judged as a start judges them, recorded, and in force from the next start on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from minibot.kernel.errors import ConfigError, Refusal
from minibot.ops.settings import next_start, profile_file_of, settings_document, stage
from minibot.runtime.configuration.config import Config, load_config
from minibot.runtime.configuration.staged_settings import changes_of, held_record
from minibot.runtime.manifest import Manifest
from minibot.runtime.paths import PROJECT
from tests.ops.web.served import Served, served
from tests.runs import ShortRun

GOVERNED = "config/conservative.v1.json"
FREE = "config/nore-demo.v1.json"
FILE = PROJECT / GOVERNED


@pytest.fixture
def ops(tmp_path: Path) -> Path:
    """The folder `var/ops` of nobody's run yet."""
    return tmp_path / "var" / "ops"


def start_of(ops: Path, file: Path = FILE) -> Config:
    """Return the profile of a start with all that is staged for it."""
    return load_config(file, staged=next_start(ops, file).staged)


def put(ops: Path, file: Path = FILE, **texts: str) -> object:
    """Stage texts by key, `risk__positions_max` for `risk.positions_max`."""
    named = {key.replace("__", "."): text for key, text in texts.items()}
    return stage(ops, file, named, [], who="tester", why="a test")


def test_taken_back_value_is_the_files_own_again(ops: Path) -> None:
    """A value that is taken back leaves no trace but its two lines in the record."""
    put(ops, risk__positions_max="2")
    stage(ops, FILE, {}, ["risk.positions_max"], who="tester", why="enough")

    assert start_of(ops).risk.positions_max == 3
    first, second = changes_of(ops)
    assert (first.put, first.before) == ({"risk.positions_max": 2}, {"risk.positions_max": 3})
    assert (second.taken_back, second.before) == (
        ("risk.positions_max",),
        {"risk.positions_max": 2},
    )
    assert [change.who for change in (first, second)] == ["tester", "tester"]


@pytest.mark.parametrize(("text", "value"), [("2", 2), ("1", 1), ("3", 3)])
def test_value_that_is_put_holds_also_where_its_key_is_taken_back(
    ops: Path, text: str, value: int
) -> None:
    """All is taken back but what is put in the same change: what was judged is what is staged."""
    put(ops, risk__positions_max="2", strategy__score_min="77")
    staged = list(next_start(ops, FILE).staged)
    stage(ops, FILE, {"risk.positions_max": text}, staged, who="tester", why="all but one")

    assert next_start(ops, FILE).staged == {"risk.positions_max": value}
    change = changes_of(ops)[-1]
    assert change.taken_back == ("strategy.score_min",)
    assert change.before["strategy.score_min"] == 77


def test_value_that_is_put_and_taken_back_and_holds_already_changes_nothing(ops: Path) -> None:
    """The one staged key, put as it is staged while all is taken back, leaves no line."""
    put(ops, risk__positions_max="2")
    with pytest.raises(Refusal, match="nothing changes"):
        stage(ops, FILE, {"risk.positions_max": "2"}, ["risk.positions_max"], who="t", why="")

    assert next_start(ops, FILE).staged == {"risk.positions_max": 2}
    assert len(changes_of(ops)) == 1


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("risk.positions_max", "4", "allowed by risk_policy.v1.json for conservative: at most 3"),
        ("risk.positions_max", "none", "a whole number"),
        ("risk.night_loss_soft", "99999", "allowed"),
        ("risk.night_notional_soft", "50000.01", "at most 50000, the profile's own; to loosen it"),
        ("risk.night_notional_pace", "null", "at most 10, the profile's own; to loosen it"),
        ("risk.left_trading", "hold", "the profile's own alone; to loosen it"),
        ("portfolio.cash", "10000.01", "at most 10000, the profile's own; to loosen it"),
        ("risk.order_notional", "90", "of no effect, as risk.sizing is risk"),
        ("strategy.score_min", "-1", "a whole number from 0 to 110"),
        ("strategy.score_mim", "60", "did you mean strategy.score_min?"),
        ("risk.policy_version", "null", "cannot be changed here"),
        ("risk.profile", "aggressive", "cannot be changed here"),
        ("strategy.folder", "/tmp", "cannot be changed here"),
        ("paths.var", "/tmp", "cannot be changed here"),
        ("alerts.commands", '{"a": ["sh"]}', "cannot be changed here"),
        ("secrets.path", "/etc/passwd", "cannot be changed here"),
        ("", "1", "unknown key; minibot config show lists all keys"),
        ("foo.bar", "1", "unknown key; minibot config show lists all keys"),
        ("risk.nothing.like.it", "1", "unknown key; minibot config show lists all keys"),
        ("risk.positions_mx", "1", "unknown key; did you mean risk.positions_max?"),
        ("embedded.speed", "2", "cannot be changed here; change it in the profile's own file"),
    ],
)
@pytest.mark.row("D-15")
def test_what_a_start_would_refuse_or_only_the_file_may_say_is_not_staged(
    key: str, text: str, said: str, ops: Path
) -> None:
    """A change beyond schema, policy or the keys of trading is refused, and leaves no line."""
    with pytest.raises(ConfigError) as refused:
        stage(ops, FILE, {key: text}, [], who="tester", why="")

    assert said in " ".join(refused.value.violations)
    assert changes_of(ops) == []


def test_limits_without_a_policy_are_changed_in_the_file_alone(ops: Path) -> None:
    """A profile that names no policy keeps its limits; its other keys can be staged."""
    with pytest.raises(ConfigError) as refused:
        put(ops, PROJECT / FREE, risk__positions_max="1")
    put(ops, PROJECT / FREE, strategy__score_min="70")

    assert "names no policy" in refused.value.violations[0]
    assert start_of(ops, PROJECT / FREE).strategy.score_min == 70


def test_limit_that_the_policy_leaves_may_be_tightened(ops: Path) -> None:
    """Limits that no policy bounds, and the cash, can be staged up to the profile's own."""
    put(ops, risk__night_notional_soft="49999", risk__reference_deviation_bps_max="499")
    put(ops, PROJECT / FREE, portfolio__cash="9999.99")

    limits = start_of(ops).risk
    assert (limits.night_notional_soft, limits.reference_deviation_bps_max) == ("49999", 499)
    assert start_of(ops, PROJECT / FREE).portfolio.cash == "9999.99"


def test_changes_that_hold_only_together_are_staged_together(ops: Path) -> None:
    """A pair of limits moves as one; half of it is refused."""
    own = load_config(FILE).strategy
    low, high = str(own.ema_slow + 1), str(own.ema_slow + 9)

    with pytest.raises(ConfigError):
        put(ops, strategy__ema_fast=low)
    put(ops, strategy__ema_fast=low, strategy__ema_slow=high)

    assert start_of(ops).strategy.ema_fast == int(low)


def test_change_that_changes_nothing_is_told(ops: Path) -> None:
    """The value that holds already, and a key that is not staged, are refused."""
    with pytest.raises(Refusal, match="nothing changes"):
        put(ops, risk__positions_max="3")
    with pytest.raises(Refusal, match="not staged"):
        stage(ops, FILE, {}, ["risk.positions_max"], who="tester", why="")

    assert changes_of(ops) == []


def test_second_person_is_refused_while_one_changes_settings(ops: Path) -> None:
    """Two changes at once cannot pass each other."""
    with held_record(ops), pytest.raises(Refusal, match="somebody else changes settings"):
        put(ops, risk__positions_max="2")


# --- the page -----------------------------------------------------------------------------------


@pytest.fixture
def page(short_run: ShortRun, tmp_path: Path) -> Iterator[Served]:
    """The page of a run as if it were running."""
    with served(short_run, tmp_path) as found:
        yield found


@pytest.mark.row("D-15")
def test_page_stages_under_its_own_name_and_the_run_keeps_its_values(page: Served) -> None:
    """A change from the page is recorded as the page's, and changes no value of the run."""
    manifest = (page.var.run(page.run_id) / "manifest.json").read_bytes()

    said = page.post(
        "/api/v1/settings/change",
        {"put": {"strategy.score_min": "77"}, "taken_back": [], "why": "calm"},
    )

    assert said.status == 200, said.body
    (key,) = [each for each in said.document["settings"] if each["is_staged"]]
    assert (key["key"], key["next"], key["running"]) == ("strategy.score_min", "77", "60")
    (change,) = changes_of(page.var.ops)
    assert (change.who, change.why, change.put) == ("page", "calm", {"strategy.score_min": 77})
    assert (page.var.run(page.run_id) / "manifest.json").read_bytes() == manifest
    assert page.get("/api/v1/settings").document == said.document


@pytest.mark.parametrize(
    "body",
    [
        {"put": {"strategy.score_min": "999"}, "taken_back": []},
        {"put": {"risk.positions_max": "1"}, "taken_back": []},
        {"put": {}, "taken_back": ["risk.positions_max"]},
        {"put": {}, "taken_back": []},
    ],
)
def test_page_refuses_what_a_start_would_refuse(body: object, page: Served) -> None:
    """A refused change answers 409 with its reasons, and leaves no line."""
    said = page.post("/api/v1/settings/change", body)

    assert said.status == 409
    assert said.document["detail"]
    assert changes_of(page.var.ops) == []


def test_settings_are_neither_shown_nor_changed_without_the_token(page: Served) -> None:
    """Without token there is no setting; another site's form changes none."""
    body = json.dumps({"put": {"strategy.score_min": "77"}, "taken_back": []}).encode()

    assert page.ask("/api/v1/settings").status == 401
    assert page.ask("/api/v1/settings/change", "POST", body).status == 401
    assert page.ask("/api/v1/settings/change", "POST", body, cookie=page.log_in()).status == 403
    assert changes_of(page.var.ops) == []


def test_every_setting_says_what_it_is_and_what_is_allowed(page: Served, ops: Path) -> None:
    """Each setting has a description and its allowed values, policy bounds included."""
    document = settings_document(next_start(ops, FILE))

    assert all(each["description"] and each["allowed"] for each in document["settings"])
    found = {each["key"]: each["allowed"] for each in document["settings"]}
    assert found["risk.positions_max"].endswith("by the risk policy at most 3")
    assert found["risk.tick_age_ms_max"].endswith("at most 5000, the profile's own")
    manifest = Manifest.load(page.var.run(page.run_id))
    assert load_config(profile_file_of(manifest)).profile == manifest.profile
