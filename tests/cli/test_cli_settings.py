"""minibot settings, and starts with what is staged: its layer, its refusals."""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
from pathlib import Path

import pytest

from minibot.cli.main import run
from minibot.cli.support.profile import profile_of_start
from minibot.kernel.errors import ConfigError, Refusal
from minibot.ops.settings import next_start, stage
from minibot.runtime.configuration.config import Config, load_config
from minibot.runtime.configuration.config_layers import STAGED
from minibot.runtime.paths import PROJECT
from tests.runs import verb

GOVERNED = "config/conservative.v1.json"
FILE = PROJECT / GOVERNED
# The same limits under a policy that allows more positions.
WIDER = {"profile": "balanced"}


@pytest.fixture
def ops(tmp_path: Path) -> Path:
    """The folder `var/ops` of nobody's run yet."""
    return tmp_path / "var" / "ops"


def put(ops: Path, file: Path = FILE, **texts: str) -> object:
    """Stage texts by key, `risk__positions_max` for `risk.positions_max`."""
    named = {key.replace("__", "."): text for key, text in texts.items()}
    return stage(ops, file, named, [], who="tester", why="a test")


def start_of(var: Path, *sets: str, config: str = GOVERNED) -> Config:
    """Return the profile with which a night would start on a `var`."""
    arguments = argparse.Namespace(
        config=PROJECT / config, set=[f"paths.var={var}", *sets], var=None
    )
    return profile_of_start(arguments)


def test_staged_value_holds_from_the_next_start_on_and_says_its_origin(ops: Path) -> None:
    """A start takes a staged value, and names the layer it comes from."""
    put(ops, risk__positions_max="2")

    config = start_of(ops.parent)

    assert config.risk.positions_max == 2
    assert config.layer_of("risk.positions_max") == STAGED
    assert load_config(FILE).risk.positions_max == 3


def test_config_shows_and_checks_what_the_next_start_takes(ops: Path) -> None:
    """The resolved profile names a staged value with its layer; its check is that of the start."""
    put(ops, risk__positions_max="2")
    shown = verb(ops.parent, "config", "show", GOVERNED, "--origin", "--json")
    checked = verb(ops.parent, "config", "check", GOVERNED, "--json")

    answer = json.loads(shown.out)
    assert answer["config"]["risk"]["positions_max"] == 2
    assert answer["origin"]["risk.positions_max"] == STAGED
    assert answer["sha256"] == json.loads(checked.out)["sha256"] == start_of(ops.parent).sha256


def test_environment_and_set_are_stronger_than_what_is_staged(
    ops: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value that a person gives at the start itself wins over a staged one."""
    put(ops, risk__positions_max="2", strategy__score_min="70")
    monkeypatch.setenv("MINIBOT__STRATEGY__SCORE_MIN", "80")

    config = start_of(ops.parent, "risk.positions_max=1")

    assert (config.risk.positions_max, config.strategy.score_min) == (1, 80)


def test_other_profile_takes_nothing_of_it(ops: Path) -> None:
    """A value staged for one profile changes no start of another."""
    put(ops, risk__positions_max="2")

    assert start_of(ops.parent, config="config/balanced.v1.json").raw == (
        load_config(PROJECT / "config/balanced.v1.json", [f"paths.var={ops.parent}"]).raw
    )


def test_start_is_refused_where_the_file_no_longer_fits(tmp_path: Path, ops: Path) -> None:
    """A file that changed under what is staged: the start names the key and the way out."""
    mine = tmp_path / "mine.json"
    conservative = json.loads(FILE.read_bytes())
    mine.write_text(json.dumps(conservative | {"risk": {**conservative["risk"], **WIDER}}))
    put(ops, mine, risk__positions_max="5")
    shutil.copy(FILE, mine)

    arguments = argparse.Namespace(config=mine, set=[f"paths.var={ops.parent}"], var=None)
    with pytest.raises(ConfigError, match=r"minibot settings --take-back-all") as refused:
        profile_of_start(arguments)

    assert refused.value.violations[0].startswith("risk.positions_max = 5 (minibot settings)")
    assert next_start(ops, mine).violations == refused.value.violations
    for words in (["--config", str(mine)], [str(mine)]):  # The way out is of the same profile.
        told = verb(ops.parent, "config", "check", *words).err
        assert f"minibot settings --config {shlex.quote(str(mine))} --var" in told


def test_damaged_record_stops_the_next_start_and_says_where(ops: Path) -> None:
    """A start is refused where the record is damaged: its values are unknown."""
    put(ops, risk__positions_max="2")
    path = ops / "settings" / "inbox.jsonl"
    path.write_bytes(
        path.read_bytes().replace(b'"risk.positions_max":2', b'"risk.positions_max":3')
    )

    with pytest.raises(Refusal, match=r"staged settings in .*settings cannot be read"):
        start_of(ops.parent)


def test_verb_stages_shows_and_takes_back(ops: Path) -> None:
    """`minibot settings` does in a terminal what the page does."""
    words = ("--config", str(FILE))
    staged = verb(ops.parent, "settings", "risk.positions_max=2", "--reason", "thin", *words)
    shown = verb(ops.parent, "settings", *words, "--json").document
    taken = verb(ops.parent, "settings", "--take-back-all", *words)

    assert "risk.positions_max 3 -> 2 by" in staged.out
    assert staged.out.rstrip().endswith(": thin")
    assert shown["staged"] == {"risk.positions_max": 2}
    assert "nothing is staged" in taken.out
    assert verb(ops.parent, "settings", "risk.positions_max=9", *words).code == 4
    assert verb(ops.parent, "settings", "risk.positions_max", *words).code == 2


def test_verb_given_one_key_twice_stages_neither_value(ops: Path) -> None:
    """One of the two is a slip, and the command cannot know which."""
    twice = ("risk.positions_max=1", " risk.positions_max =2")

    refused = verb(ops.parent, "settings", *twice, "--config", str(FILE))

    assert refused.code == 2
    assert "risk.positions_max: given twice" in refused.err
    assert next_start(ops, FILE).staged == {}


def test_verb_looks_where_the_profile_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A profile, or the environment, may name a `var` of its own: its starts look there alone."""
    mine = tmp_path / "mine.json"
    mine.write_text(json.dumps(json.loads(FILE.read_bytes()) | {"paths": {"var": "var-mine"}}))
    started = argparse.Namespace(config=mine, set=[], var=None)

    for name in ("var-mine", "var-other"):
        assert profile_of_start(started).var.root == PROJECT / name
        assert run(["settings", "-c", str(mine)]) == 0
        assert capsys.readouterr().out.splitlines()[0].endswith(name)
        monkeypatch.setenv("MINIBOT__PATHS__VAR", "var-other")
