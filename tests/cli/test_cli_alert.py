"""`minibot alert test`: one message to each target, and an answer for each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from minibot.ops.alerts.target_trial import tried_ms
from minibot.runtime.configuration.config_sections import AlertsSection
from minibot.runtime.paths import Var
from tests.ops.alert_hosts import WebHost
from tests.runs import verb

PROFILE = "config/nore-demo.v1.json"
SECRET = "sesame-opens"


def tried(tmp_path: Path, targets: dict[str, str], **keys: Any) -> tuple[int, Any, str]:
    """Run the verb on a profile; return exit code, its document and its errors."""
    section = {"required": False, "level_min": "info", "per_minute_max": 5, "targets": targets}
    sets = {"alerts": json.dumps({**section, **keys}), "secrets.path": tmp_path / "secrets.env"}
    words = [word for name, text in sets.items() for word in ("--set", f"{name}={text}")]
    done = verb(tmp_path / "var", "alert", "test", "--config", PROFILE, *words, "--json")
    return done.code, json.loads(done.out or "null"), done.err


def write_secrets(tmp_path: Path, **values: str) -> None:
    """Write a secrets file that its owner alone reads."""
    path = tmp_path / "secrets.env"
    path.write_text("".join(f"{name}={value}\n" for name, value in values.items()))
    path.chmod(0o600)


@pytest.mark.process
def test_each_target_answers_and_a_whole_test_is_noted(tmp_path: Path) -> None:
    """An operator sees before the night that each message arrives; `ready` counts on the note."""
    with WebHost() as host, WebHost() as other:
        write_secrets(tmp_path, HOOK=host.url(), OTHER=other.url())
        code, document, _ = tried(tmp_path, {"hook": "HOOK", "other": "OTHER"})

        assert code == 0
        assert document["targets"] == {
            "hook": {"ok": True, "why": None},
            "other": {"ok": True, "why": None},
        }
        assert len(host.got) == len(other.got) == 1
    section = AlertsSection(
        required=False, level_min="info", per_minute_max=5, targets={"hook": "HOOK"}
    )
    more = AlertsSection(
        required=False, level_min="info", per_minute_max=5, targets={"hook": "H", "third": "T"}
    )
    assert tried_ms(Var(tmp_path / "var"), section) is not None
    assert tried_ms(Var(tmp_path / "var"), more) is None


@pytest.mark.process
def test_target_that_fails_is_named_with_the_reason_and_no_secret(tmp_path: Path) -> None:
    """One dead target is a failure, the others are tried all the same."""
    with WebHost() as host, WebHost(status=403) as refusing:
        write_secrets(tmp_path, HOOK=host.url(), NO=refusing.url(path=f"/{SECRET}"))
        code, document, text = tried(tmp_path, {"hook": "HOOK", "no": "NO", "none": "NONE"})

    assert code == 1
    targets = document["targets"]
    assert targets["hook"]["ok"]
    assert "403" in targets["no"]["why"]
    assert "NONE" in targets["none"]["why"]
    assert SECRET not in json.dumps(document) + text


@pytest.mark.process
def test_profile_without_alerts_is_refused(tmp_path: Path) -> None:
    """A profile that would alert nobody is told so."""
    done = verb(tmp_path / "var", "alert", "test", "--config", PROFILE)

    assert done.code == 2
    assert "no section alerts" in done.err


@pytest.mark.process
def test_alert_test_without_a_profile_tries_the_one_of_this_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Profile, targets and note are those of the nights that start in this folder."""
    monkeypatch.chdir(tmp_path)
    with WebHost() as host:
        write_secrets(tmp_path, HOOK=host.url())
        words = _own_profile(tmp_path, {"hook": "HOOK"})
        done = verb(tmp_path / "var", "alert", "test", *words)

    assert done.code == 0, done.err
    assert len(host.got) == 1
    assert "my-night.json" in done.err


def test_guard_refuses_a_token_without_its_page(tmp_path: Path) -> None:
    """The guard of this machine's night would run in place of the one that was meant."""
    done = verb(tmp_path / "var", "guard", "--token", "token", "--config", "config/nore.v1.json")

    assert (done.code, "--token belongs to --url." in done.err) == (2, True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--url", "http://[::1"), "--url takes the loopback end of a tunnel"),
        (("--set", "guard.ping=PING"), "guard.ping: PING is not an http(s) address."),
    ],
)
def test_guard_refuses_an_address_that_is_none(
    tmp_path: Path, words: tuple[str, ...], told: str
) -> None:
    """A bracket without its end is refused in words, and a secret is not shown."""
    write_secrets(tmp_path, HOOK="json://127.0.0.1:9/x", PING="http://[::1/hidden")
    words += _own_profile(tmp_path, {"hook": "HOOK"})
    words += ("--config", str(tmp_path / "my-night.json"), "--set", "guard.quiet_ms=60000")

    done = verb(tmp_path / "var", "guard", *words)

    assert done.code in (2, 4), done.err
    assert told in done.err
    assert "hidden" not in done.err


@pytest.mark.process
def test_guard_without_a_profile_takes_the_one_of_this_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command of a guard elsewhere names no profile: targets are those of the own one."""
    monkeypatch.chdir(tmp_path)
    write_secrets(tmp_path)
    words = _own_profile(tmp_path, {"hook": "HOOK"})
    remote = ("--url", "http://127.0.0.1:9", "--token", "token")

    done = verb(tmp_path / "var", "guard", *remote, *words)

    assert done.code == 2
    assert "HOOK" in done.err
    assert "no target can be reached" in done.err


def _own_profile(folder: Path, targets: dict[str, str]) -> tuple[str, ...]:
    """Write the one profile of a folder; return the words that name its secrets."""
    section = {"required": False, "level_min": "info", "per_minute_max": 5, "targets": targets}
    head = {"schema": "minibot.config", "extends": "nore.v1.json", "profile": "my-night"}
    (folder / "my-night.json").write_text(json.dumps({**head, "alerts": section}))
    return ("--set", f"secrets.path={folder / 'secrets.env'}")


@pytest.mark.process
def test_address_in_the_profile_itself_is_refused(tmp_path: Path) -> None:
    """A manifest would keep it for ever, so an address may not stand in a profile."""
    write_secrets(tmp_path)
    code, _, text = tried(tmp_path, {"hook": "json://127.0.0.1/x"})

    assert code == 4
    assert "alerts.targets.hook" in text
