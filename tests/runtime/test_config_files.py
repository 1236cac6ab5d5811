"""Overlays: found, merged one key deep, refused in words, pinned, with layers."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibot import environment
from minibot.kernel.errors import ConfigError, Refusal
from minibot.runtime.configuration import risk_policy
from minibot.runtime.configuration.config import Config, config_with, load_config
from minibot.runtime.configuration.config_files import FILE_BYTES_MAX, leaves, merged, read_profile
from minibot.runtime.configuration.config_schema import SCHEMA_PATH
from minibot.runtime.paths import PROJECT
from minibot.watchdog import run_manifest
from minibot.watchdog.checks import PinnedCheck
from minibot.watchdog.run_manifest import make_manifest

BASE = "nore.v1.json"
NIGHT = PROJECT / "config" / BASE
# What the shipped profiles come to. Since issue 18 night and paper decide on minutes, with the cost
# gate on and a pace (`i18-night`, `i18-pace` in docs/DECISIONS.md); in demo and smoke both are off.
# The three governed ones have had a hard stop since 2026-11-27.
DIGESTS = {
    "nore": "ed78ee17d27edd6cc00351ac071c44b5e47ca7c91ff7d82744756b946a916e2b",
    "nore-demo": "a270d173e115a67c0ffe45ffb1525808220569f2008c3889184b66bdf9fc99ca",
    "nore-smoke": "2446bb4c17bdf259185314529994d08657405ed9d919d49a60cb5f59c8472a42",
    "paper": "30087e29de249728186699aaa46d38417f92cae8b483df082f43fcdf94b28f7e",
    "conservative": "5f22a7ee8a7b88b7963e4fca583f90a65610a0e4ccdab0d21b6d1a743003ade8",
    "balanced": "d0871e723f7cfbe2d07b982f7f0d23919b4359acf286a49dd54f8eb62d95c687",
    "aggressive": "9f62a6f69d60d97f785f200e9bef9d9a4a8c892c7f77805d149e636e8cece883",
}
# Two profiles as JSON: values, and sections of values, some of them objects.
VALUES = st.recursive(
    st.one_of(st.none(), st.integers(0, 3), st.lists(st.integers(0, 3), max_size=2)),
    lambda inner: st.dictionaries(st.sampled_from("xyz"), inner, max_size=2),
    max_leaves=4,
)
PROFILES = st.dictionaries(st.sampled_from("abcd"), VALUES, max_size=4)


def written(folder: Path, name: str = "mine.json", **content: Any) -> Path:
    """Write a profile's file with this content."""
    path = folder / name
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def overlay(folder: Path, **content: Any) -> Path:
    """Write an overlay of the night with this content."""
    return written(folder, extends=BASE, **content)


def base_refused(path: Path) -> str:
    """Return the message that refuses a file for its base, with a remedy."""
    with pytest.raises(ConfigError) as refusal:
        load_config(path)
    assert refusal.value.exit_code == 4
    assert refusal.value.violations == ()
    assert '"extends": "nore.v1.json"' in refusal.value.remedy
    return str(refusal.value)


def night() -> dict[str, Any]:
    """Return the night's profile as in its file."""
    return dict(json.loads(NIGHT.read_bytes()))


# --- shipped profiles ---------------------------------------------------------------------------


@pytest.mark.row("N-91", "N-92")
@pytest.mark.parametrize("name", DIGESTS)
def test_shipped_profile_resolves_to_what_it_was_as_a_whole(name: str) -> None:
    """Each shipped profile resolves to its former whole file, so a changed base shows."""
    config = load_config(PROJECT / "config" / f"{name}.v1.json")

    assert config.sha256 == DIGESTS[name]
    assert "extends" not in config.raw
    assert config.base == (None if name == "nore" else NIGHT)
    assert config.given == {}


@pytest.mark.parametrize("name", sorted(set(DIGESTS) - {"nore"}))
def test_shipped_overlay_names_only_what_differs(name: str) -> None:
    """A shipped overlay has no key with its base's value."""
    path = PROJECT / "config" / f"{name}.v1.json"
    own = set(leaves(json.loads(path.read_bytes()))) - {"schema", "v", "extends"}
    raw, base = read_profile(path).raw, night()

    assert {key for key in own if base.get(key, ...) == raw.get(key)} == set()
    for name, section in json.loads(path.read_bytes()).items():
        if isinstance(section, dict) and base.get(name):
            assert all(base[name].get(key, ...) != value for key, value in section.items())


# --- merging -----------------------------------------------------------------------------------


@given(PROFILES, PROFILES)
def test_merging_takes_each_key_of_a_section_from_the_overlay_else_from_the_base(
    base: Mapping[str, Any], top: Mapping[str, Any]
) -> None:
    """Each key of a section comes from the overlay or else the base; objects are values."""
    raw = merged(dict(base), dict(top))

    assert set(raw) == set(base) | set(top)
    for name in raw:
        if not (isinstance(base.get(name), dict) and isinstance(top.get(name), dict)):
            assert raw[name] == (top if name in top else base)[name]
            continue
        assert set(raw[name]) == set(base[name]) | set(top[name])
        for key, value in raw[name].items():
            assert value == (top if key in top[name] else base)[name][key]


@given(PROFILES)
def test_merging_with_nothing_or_with_itself_changes_nothing(raw: Mapping[str, Any]) -> None:
    """Merging with nothing, or with the base itself, changes nothing."""
    assert merged(dict(raw), {}) == merged(dict(raw), dict(raw)) == merged({}, dict(raw)) == raw


def test_overlay_of_a_few_lines_is_a_whole_profile(tmp_path: Path) -> None:
    """An overlay replaces lists whole; null is a value, and so is a map of parameters."""
    base = night()
    base["strategy"]["parameters"] = {"old": 1, "kept": 2}
    base["risk"]["time_exit_ms"] = 60_000
    written(tmp_path, "whole.json", **base)
    path = written(
        tmp_path,
        extends="whole.json",
        binance={"symbols": ["ETHUSDT"]},
        strategy={"parameters": {"old": 3}},
        risk={"time_exit_ms": None},
        seed=9,
    )

    profile = read_profile(path)
    raw = profile.raw

    assert raw["binance"] == base["binance"] | {"symbols": ["ETHUSDT"]}
    assert raw["strategy"]["parameters"] == {"old": 3}
    assert raw["risk"] == base["risk"] | {"time_exit_ms": None}
    assert load_config(path).seed == 9
    assert (profile.path, profile.base) == (path, tmp_path / "whole.json")


def test_base_beside_the_file_comes_before_the_shipped_one(tmp_path: Path) -> None:
    """A base beside the file precedes the shipped one."""
    shipped = load_config(overlay(tmp_path, seed=2))
    written(tmp_path, BASE, **night() | {"profile": "beside"})

    beside = load_config(tmp_path / "mine.json")

    assert (shipped.profile, shipped.base) == ("nore", NIGHT)
    assert (beside.profile, beside.base) == ("beside", tmp_path / BASE)


def test_section_of_an_overlay_over_null_has_to_name_every_key(tmp_path: Path) -> None:
    """An overlay's section over a null one must name every key."""
    with pytest.raises(ConfigError) as refusal:
        load_config(overlay(tmp_path, embedded={"speed": "10"}))

    missing = {text.split(":")[0] for text in refusal.value.violations}
    assert missing >= {"embedded.source", "embedded.port"}


@pytest.mark.row("N-92", "F146")
def test_overlay_is_judged_as_a_whole_with_the_file_of_each_value(tmp_path: Path) -> None:
    """An overlay is validated as a whole, and each violation names its file."""
    with pytest.raises(ConfigError) as refusal:
        load_config(
            overlay(
                tmp_path,
                risk={"order_notinal": "5", "positions_max": 0, "night_loss_soft": "201"},
                portfolio=None,
                extend="x",
            )
        )

    lines = sorted(refusal.value.violations)
    assert [text.split(" ")[0] for text in lines] == [
        "extend",
        "portfolio",
        "risk.night_loss_soft",
        "risk.order_notinal",
        "risk.positions_max",
    ]
    assert all("(mine.json)" in text for text in lines)
    assert "did you mean extends?" in lines[0]
    assert "risk.night_loss_hard (200)" in lines[2]


# --- refusals of a base ------------------------------------------------------------------------


@pytest.mark.row("F144")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../nore.v1.json", "'..'"),
        ("..", "'..'"),
        ("config/nore.v1.json", "holds a path"),
        ("config\\nore.v1.json", "holds a path"),
        ("/etc/passwd", "holds a path"),
        ("C:nore.v1.json", "relative to a drive"),
        ("", "empty"),
        ("nul", "device name"),
        ("no\x00re.json", "control characters"),
        ("none.json", "is neither beside mine.json nor in config"),
        ("x" * 5000, "is neither"),
        ("mine.json", "is the file itself"),
        (".", "holds a path"),
        (None, "not a file's name"),
        (["nore.v1.json"], "not a file's name"),
        ("nore-demo.v1.json", "extends another profile itself"),
    ],
)
def test_base_that_is_no_whole_profile_beside_or_shipped_is_refused_in_words(
    name: Any, words: str, tmp_path: Path
) -> None:
    """A base that is not a whole profile is refused with file, key, value and remedy."""
    message = base_refused(written(tmp_path, extends=name))

    assert message.startswith("mine.json: extends = ")
    assert words in message
    assert message.isprintable()
    assert len(message) < 500


BASES = {
    "cut": b'{"mode": "NORE",',
    "list": b"[1]",
    "binary": b"\x1f\x8b\xff",
    "twice": b'{"mode": "NORE", "mode": "NORE"}',
    "huge": b" " * (FILE_BYTES_MAX + 1),
}


@pytest.mark.parametrize("name", BASES)
def test_base_that_cannot_be_read_is_refused_by_both_names(name: str, tmp_path: Path) -> None:
    """An unreadable base is refused with both files' names."""
    (tmp_path / "base.json").write_bytes(BASES[name])

    message = base_refused(written(tmp_path, extends="base.json"))

    assert message.startswith('mine.json: extends = "base.json": cannot be the base: base.json: ')


def test_base_that_is_a_folder_or_a_link_to_nothing_is_refused(tmp_path: Path) -> None:
    """A folder or dangling link in the base's place is refused, not replaced by a shipped one."""
    (tmp_path / BASE).mkdir()
    folder = base_refused(overlay(tmp_path))
    (tmp_path / BASE).rmdir()
    try:
        os.symlink(tmp_path / "nothing.json", tmp_path / BASE)
    except OSError:
        pytest.skip("this system lets no user make a link")

    assert "cannot be the base" in folder
    assert "no such file" in base_refused(tmp_path / "mine.json")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no FIFO in a folder")
def test_base_that_is_a_fifo_is_refused_at_once(tmp_path: Path) -> None:
    """A FIFO as base is refused at once."""
    if sys.platform != "win32":
        os.mkfifo(tmp_path / "base.json")

    assert "not a regular file" in base_refused(written(tmp_path, extends="base.json"))


def test_bases_that_extend_each_other_are_refused(tmp_path: Path) -> None:
    """Bases that extend each other are refused at the second file."""
    written(tmp_path, "other.json", extends="mine.json")

    assert "one level" in base_refused(written(tmp_path, extends="other.json"))


@pytest.mark.parametrize("path", [NIGHT, PROJECT / "config" / "nore-demo.v1.json"])
def test_base_is_named_by_a_file_alone(path: Path) -> None:
    """Only a file names a base: neither `--set`, a variable nor a run's profile can."""
    sets = ["extends=paper.v1.json"]
    loads: tuple[Callable[[], Config], ...] = (
        partial(load_config, path, sets),
        partial(load_config, path, [], {"MINIBOT__EXTENDS": "paper.v1.json"}),
        partial(config_with, load_config(path).raw, sets),
    )
    for load in loads:
        with pytest.raises(ConfigError) as refusal:
            load()
        (text,) = refusal.value.violations
        assert "a file alone names its base" in text


# --- layers ------------------------------------------------------------------------------------


def test_origin_and_layer_of_each_key_are_told(tmp_path: Path) -> None:
    """Each key's origin and layer are known: base, overlay, environment, --set, file, run."""
    path = overlay(tmp_path, risk={"positions_max": 2}, universe=None, seed=4)
    environ = {"MINIBOT__RISK__ORDER_NOTIONAL": "200"}
    config = load_config(path, ["portfolio.cash=500"], environ)
    fields = {
        "risk.positions_max": ("mine.json", "overlay"),
        "universe": ("mine.json", "overlay"),
        "seed": ("mine.json", "overlay"),
        "mode": (BASE, "base"),
        "risk.profile": (BASE, "base"),
        "strategy.parameters": (BASE, "base"),
        "risk.order_notional": ("MINIBOT__RISK__ORDER_NOTIONAL", "environment"),
        "portfolio.cash": ("--set", "--set"),
    }

    assert {key: (config.origin[key], config.layer_of(key)) for key in fields} == fields
    assert set(config.origin) == set(leaves(config.raw))
    assert load_config(NIGHT).layer_of("mode") == "file"
    assert config_with(config.raw, ["seed=5"]).layer_of("mode") == "manifest"
    assert config.layer_of("no.such") == ""


def test_keys_of_an_own_overlay_are_chosen_and_those_of_its_base_are_not(tmp_path: Path) -> None:
    """Keys of an own overlay count as chosen, even with the shipped value; its base's do not."""
    path = overlay(tmp_path, strategy={"rsi_period": 14})
    shipped = load_config(path)
    own = night()
    own["strategy"]["ema_fast"] = 7
    written(tmp_path, BASE, **own)

    assert dict(shipped.given) == {"strategy.rsi_period": "mine.json"}
    assert dict(load_config(path).given) == {
        "strategy.rsi_period": "mine.json",
        "strategy.ema_fast": BASE,
    }


def test_editors_lock_beside_a_shipped_profile_refuses_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values of a whole section are compared with shipped profiles, not with a link to nothing."""
    (tmp_path / "nore.v1.json").write_bytes(NIGHT.read_bytes())
    (tmp_path / ".#nore.v1.json").symlink_to("ana@desk.123:456")
    monkeypatch.setattr("minibot.runtime.configuration.config.SHIPPED", tmp_path)
    code = json.dumps(night()["code"])

    assert load_config(NIGHT, [f"code={code}"]).given == {}


# --- other readers of profiles -----------------------------------------------------------------


def test_schema_file_takes_overlays_and_still_refuses_a_whole_file_that_lacks_a_key() -> None:
    """The schema file accepts overlays, and refuses a whole file that lacks a key."""
    judged = jsonschema_rs.Draft202012Validator(json.loads(SCHEMA_PATH.read_bytes()))
    whole = night()
    lacking = {**whole, "risk": {"profile": "x"}}

    for name in DIGESTS:
        path = PROJECT / "config" / f"{name}.v1.json"
        assert judged.is_valid(json.loads(path.read_bytes())), name
    assert judged.is_valid({"extends": BASE})
    assert judged.is_valid({"extends": BASE, **lacking})
    assert not judged.is_valid(lacking)
    assert not judged.is_valid({key: whole[key] for key in whole if key != "risk"})
    assert not judged.is_valid({"extends": BASE, "risk": {"order_notinal": "5"}})
    assert not judged.is_valid({"extends": BASE, "risk": {"positions_max": 0}})
    assert not judged.is_valid({"extends": "../nore.v1.json"})


@pytest.mark.row("N-23")
@pytest.mark.parametrize(
    ("content", "asked"),
    [
        ({"extends": BASE}, True),
        ({"extends": BASE, "code": {}}, True),
        ({"extends": BASE, "code": {"require_manifest": False}}, False),
        ({"extends": "calm.json"}, False),
        ({"extends": "calm.json", "code": {"require_manifest": True}}, True),
        ({"extends": "none.json"}, False),
        ({"extends": 5}, False),
    ],
)
def test_night_of_an_overlay_asks_for_the_list_as_its_base_does(
    content: dict[str, Any], asked: bool, tmp_path: Path
) -> None:
    """A night of an overlay restarts under the code list as its base demands."""
    written(tmp_path, "calm.json", code={"require_manifest": False})
    words = ["--config", str(written(tmp_path, **content))]

    assert environment.asks_for_list("minibot.nore_run_v1", words, {}) == asked


@pytest.mark.parametrize("name", ["whole.json", "mine.json", "policy.json"])
@pytest.mark.parametrize("is_gone", [False, True])
def test_file_that_changes_between_its_reading_and_the_manifest_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, *, is_gone: bool
) -> None:
    """The manifest vouches for the bytes that gave the run its limits, or there is no run."""
    policy = tmp_path / "policy.json"
    policy.write_bytes(risk_policy.POLICY_PATH.read_bytes())
    monkeypatch.setattr(risk_policy, "POLICY_PATH", policy)
    monkeypatch.setattr(run_manifest, "POLICY_PATH", policy)
    whole = load_config(PROJECT / "config" / "conservative.v1.json").raw
    written(tmp_path, "whole.json", **whole)
    path = written(tmp_path, "mine.json", extends="whole.json")
    risk_policy.risk_policy.cache_clear()
    try:
        config = load_config(path)
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes() + b"\n")
        if is_gone:
            (tmp_path / name).unlink()

        with pytest.raises(Refusal, match=f"{name} changed"):
            make_manifest(
                config, path, tmp_path, None, contracts_sha256="", origin_ms=0, opening={}
            )
    finally:
        risk_policy.risk_policy.cache_clear()


@pytest.mark.row("N-23")
def test_manifest_pins_overlay_and_base(tmp_path: Path) -> None:
    """A changed overlay or base during the run is a STOP."""
    written(tmp_path, "whole.json", **night())
    path = written(tmp_path, extends="whole.json", code={"require_manifest": False})
    config = load_config(path)
    manifest = make_manifest(
        config, path, tmp_path, None, contracts_sha256="", origin_ms=0, opening={}
    )
    check = PinnedCheck(manifest.pinned)
    before = check.check()

    written(tmp_path, "whole.json", **night() | {"seed": 22})
    stop = check.check()

    assert set(manifest.pinned) == {
        "config/roles.v1.json",
        "config/contracts.v1.json",
        str(path.resolve()),
        str((tmp_path / "whole.json").resolve()),
    }
    assert before is None
    assert stop is not None
    assert stop.reason_code == "CONFIG_INVALID"
    assert "whole.json changed" in stop.detail
