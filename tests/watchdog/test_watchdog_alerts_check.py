"""Check of the alerts before a start: required ones are a refusal, others a warning."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from minibot.runtime import extras
from minibot.runtime.configuration.config import Config, load_config
from minibot.runtime.secrets import ENVIRONMENT_KEY
from minibot.watchdog import preflight as checks
from minibot.watchdog.ops_process import is_wanted, ops_environ
from minibot.watchdog.preflight import ALERTS_CHECK, CheckResult, preflight

PROFILE = "config/nore-demo.v1.json"


def profile(tmp_path: Path, *, required: bool, name: str = "HOOK") -> Config:
    """Return a profile with one target, whose address is that of HOOK."""
    secrets = tmp_path / "secrets.env"
    secrets.write_text("HOOK=json://127.0.0.1:9/x\n")
    secrets.chmod(0o600)
    section = {"required": required, "level_min": "info", "per_minute_max": 5}
    alerts = json.dumps({**section, "targets": {"hook": name}})
    sets = [f"alerts={alerts}", f"secrets.path={secrets}", f"paths.var={tmp_path / 'var'}"]
    return load_config(PROFILE, [*sets, "ai.enabled=false"])


def check(config: Config) -> CheckResult:
    """Return the check of the alerts."""
    return next(each for each in preflight(config, config.var) if each.name == ALERTS_CHECK)


def test_alerts_that_can_be_pass_and_make_the_process_ops_wanted(tmp_path: Path) -> None:
    """A section is enough for `ops` to run; without one nothing is started or checked."""
    config = profile(tmp_path, required=True)
    assert check(config).passed
    assert is_wanted(config)

    without = load_config(PROFILE, [f"paths.var={tmp_path / 'var'}", "ai.enabled=false"])
    assert not is_wanted(without)
    assert ALERTS_CHECK not in {each.name for each in preflight(without, without.var)}


@pytest.mark.parametrize("required", [True, False])
def test_address_that_is_missing_refuses_only_what_is_required(
    tmp_path: Path, required: bool
) -> None:
    """A night that may not be silent does not start; another one does, with a warning."""
    found = check(profile(tmp_path, required=required, name="OTHER"))

    assert found.passed is not required
    assert "OTHER" in found.found


@pytest.mark.parametrize("required", [True, False])
def test_missing_extra_refuses_only_what_is_required(
    tmp_path: Path, required: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start without the packages says which command installs them."""
    monkeypatch.setattr(checks, "ALERTS", ("a_package_that_nobody_has",))
    found = check(profile(tmp_path, required=required))

    assert found.passed is not required
    assert "a_package_that_nobody_has is not installed" in found.found
    assert extras.ALERTS_REMEDY in found.found + found.remedy


def test_ops_learns_where_the_secrets_are_and_no_role_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The place of the secrets file reaches `ops` alone, and only where alerts need it."""
    monkeypatch.setenv(ENVIRONMENT_KEY, "/elsewhere/secrets.env")
    assert ops_environ(profile(tmp_path, required=False))[ENVIRONMENT_KEY]

    assert ENVIRONMENT_KEY not in ops_environ(load_config(PROFILE))


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs symbolic links")
@pytest.mark.parametrize("is_link", [True, False])
def test_folder_of_status_and_alerts_that_cannot_be_written_refuses_the_start(
    tmp_path: Path, is_link: bool
) -> None:
    """A night whose status nobody can read has neither page nor alerts, and its guard no news."""
    config = profile(tmp_path, required=True)
    config.var.root.mkdir()
    if is_link:
        config.var.ops.symlink_to(tmp_path, target_is_directory=True)
    else:
        config.var.ops.write_bytes(b"")

    found = preflight(config, config.var)[-1]

    assert (found.name, found.passed) == ("var", False)
    assert str(config.var.ops) in found.found
