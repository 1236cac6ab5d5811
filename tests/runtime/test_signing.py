"""Signing key of a run's seal: pinned in the profile, private half in the secrets file."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from minibot.cli.main import run as minibot
from minibot.kernel.errors import Refusal
from minibot.kernel.signature import new_keys
from minibot.kernel.verify import verify_tree
from minibot.runtime.configuration.config import load_config
from minibot.runtime.secrets import Secrets
from minibot.runtime.signing import SECRET_NAME, private_key, sign_if_pinned
from minibot.watchdog.preflight import _secrets
from tests.kernel.kernel_run import sealed_run

PROFILE = "config/nore-demo.v1.json"


def test_shipped_profiles_sign_nothing(project: Path, var_dir: Path) -> None:
    """Shipped profiles pin no key, so no secret is needed."""
    for path in sorted((project / "config").glob("nore*.json")):
        assert load_config(path).secrets.seal_public_key is None
    assert sign_if_pinned(sealed_run(var_dir), load_config(PROFILE, []).raw, {}) is None


def test_pinned_key_signs_by_the_secrets_file(
    tmp_path: Path, var_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`minibot seal-key` makes the pair that preflight and the run's end use."""
    file = tmp_path / "secrets.env"
    assert minibot(["seal-key", "--to", str(file), "--json"]) == 0
    public = json.loads(capsys.readouterr().out)["public_key"]
    sets = [f"secrets.path={file}", f"secrets.seal_public_key={public}"]
    config = load_config(PROFILE, sets)
    run = sealed_run(var_dir)

    assert _secrets(config).passed
    assert sign_if_pinned(run, config.raw, {}) == public
    assert list(verify_tree(run, public_key=public)) == []
    if sys.platform != "win32":
        assert file.stat().st_mode & 0o077 == 0
    assert file.read_text().strip().partition("=")[2] not in (run / "seal.sig").read_text()


def test_key_that_is_missing_or_another_is_refused_before_the_night(tmp_path: Path) -> None:
    """A missing or other key is refused before the night."""
    private, public = new_keys()
    for values in ({}, {SECRET_NAME: new_keys()[0]}, {SECRET_NAME: "no key"}):
        with pytest.raises(Refusal, match="cannot be signed"):
            private_key(public, Secrets(values, tmp_path))
    assert private_key(public, Secrets({SECRET_NAME: private}, tmp_path)) == private
    assert not _secrets(load_config(PROFILE, [f"secrets.seal_public_key={public}"])).passed


def test_key_file_inside_the_project_or_over_another_is_refused(
    project: Path, tmp_path: Path
) -> None:
    """A key file inside the project, or over an existing file, is refused."""
    inside = project / "var" / "key.env"
    assert minibot(["seal-key", "--to", str(inside)]) == 4
    assert not inside.exists()
    standing = tmp_path / "standing.env"
    standing.write_text("API_KEY=1\n")
    assert minibot(["seal-key", "--to", str(standing)]) == 2
    assert standing.read_text() == "API_KEY=1\n"
