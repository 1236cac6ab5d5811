"""Settings: keys of a profile that an operator may change for its next start, and what is staged.

A change is judged as a start judges it, together with all that is staged already, before it is
recorded (`runtime.configuration.staged_settings`). Only keys of trading can be changed here:
whatever names a file, a program, a host or a secret is changed in the profile's own file. Limits
can be changed only under a risk policy, and only within it; those that it does not bound, and the
cash, never beyond the profile's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from minibot.events.model import JsonObject
from minibot.kernel.errors import ConfigError, Refusal
from minibot.ops.operator import operator_text
from minibot.runtime.clock import wall_ms
from minibot.runtime.configuration.config import Config, load_config, value_of
from minibot.runtime.configuration.config_files import printable, read_profile
from minibot.runtime.configuration.config_layers import parse_value
from minibot.runtime.configuration.config_rules import typed_violations
from minibot.runtime.configuration.config_schema import NEAR_MIN, config_schema, describe, resolved
from minibot.runtime.configuration.loosening import own_bound
from minibot.runtime.configuration.risk_policy import POLICY_PATH, policy_bound
from minibot.runtime.configuration.staged_settings import (
    Change,
    changes_of,
    held_record,
    record_change,
    staged_values,
)
from minibot.runtime.manifest import Manifest
from minibot.runtime.paths import resolve
from minibot.strategies.trial_process import require_runnable

SECTIONS: Final = ("strategy", "risk", "execution", "portfolio", "scanner", "universe", "alerts")
"""Sections whose keys can be changed, in the order in which they are shown."""
TOP_KEYS: Final = ("duration_ms",)
IN_FILE_ONLY: Final = frozenset(
    {
        "strategy.folder",
        "strategy.source",
        "risk.profile",
        "risk.policy_version",
        "portfolio.quote_asset",
        "alerts.required",
        "alerts.targets",
        "alerts.commands",
        "alerts.telegram",
        "alerts.telegram_acts",
    }
)
"""Keys of these sections that name code, people or the policy itself."""
CHANGES_SHOWN: Final = 100
_NO_POLICY: Final = (
    f"this profile names no policy (risk.policy_version, {POLICY_PATH.name}): "
    "its limits are changed in its own file"
)


@dataclass(frozen=True, slots=True)
class NextStart:
    """Settings with which the next start of a profile begins.

    Attributes:
        file: The profile's file.
        own: The profile as its file has it.
        staged: Staged values by dotted key.
        changes: Every recorded change, of other profiles too, oldest first.
        violations: Why the next start would be refused, because of what is staged; empty if it
            would not.
    """

    file: Path
    own: Config
    staged: Mapping[str, Any]
    changes: tuple[Change, ...]
    violations: tuple[str, ...]

    def value(self, key: str) -> Any:
        """Return the value of a dotted key at the next start; None where there is none."""
        return self.staged[key] if key in self.staged else value_of(self.own.raw, key)


def next_start(ops: Path, file: Path) -> NextStart:
    """Return the settings of a profile's next start, without environment and `--set`.

    Args:
        ops: The folder `var/ops`.
        file: The profile's file.

    Raises:
        Refusal: The file is not a valid profile, or the record of changes cannot be read.
    """
    own = load_config(file)
    changes = changes_of(ops)
    staged = staged_values(changes, own.profile)
    violations: tuple[str, ...] = ()
    try:
        if staged:
            load_config(file, staged=staged)
    except ConfigError as error:
        violations = error.violations
    return NextStart(file, own, staged, tuple(changes), violations)


def stage(
    ops: Path,
    file: Path,
    put: Mapping[str, str],
    taken_back: Iterable[str],
    *,
    who: str,
    why: str,
) -> Change:
    """Change what is staged for a profile's next start, and return the recorded change.

    Args:
        ops: The folder `var/ops`.
        file: The profile's file.
        put: Texts by dotted key, as after the `=` of `--set`: JSON if it parses, else text.
        taken_back: Staged keys for which the file's own value is to hold again; one that is also
            put holds as it is put.
        who: The operator, or `page`.
        why: Reason for the record.

    Raises:
        ConfigError: Some keys cannot be changed here; if all can, the start would be refused. It
            has every violation.
        Refusal: Nothing would change, a key is not staged, or somebody else changes settings.
        RunStop: The change cannot be recorded.
    """
    with held_record(ops) as record:
        now = next_start(ops, file)
        named = set(taken_back)
        if unknown := sorted(named - now.staged.keys()):
            raise Refusal(f"{_listed(unknown)}: not staged.", "See: minibot settings")
        if violations := list(_refused_keys(now.own, put)):
            raise ConfigError("settings: nothing was staged.", violations, "")
        gone = sorted(named - put.keys())
        kept = {key: value for key, value in now.staged.items() if key not in gone}
        wished = {key: parse_value(text) for key, text in put.items()}
        config = load_config(file, staged={**kept, **wished})
        if violations := list(typed_violations(config.raw, config.origin)):
            raise ConfigError("settings: nothing was staged.", violations, "")
        require_runnable(config)
        # As the profile holds them: 5 for a decimal is the text "5".
        values = {key: value_of(config.raw, key) for key in wished}
        changed = {key: value for key, value in values.items() if now.value(key) != value}
        if not changed and not gone:
            raise Refusal(
                "nothing changes: these values are already in force.", "See: minibot settings"
            )
        before = {key: now.value(key) for key in (*changed, *gone)}
        words = operator_text(why)
        change = Change(wall_ms(), who, words, now.own.profile, changed, tuple(gone), before)
        record_change(record, change)
        return change


def settings_document(now: NextStart, running: Mapping[str, Any] | None = None) -> JsonObject:
    """Return the settings as page and `minibot settings --json` show them.

    Args:
        now: The settings of the next start.
        running: The profile of a run, for a column with its values; None for none.
    """
    return {
        "profile": now.own.profile,
        "file": str(now.file),
        "violations": list(now.violations),
        "staged": dict(now.staged),
        "settings": [_setting(key, schema, now, running) for key, schema in _keys(now.own)],
        "changes": [change.to_json() for change in reversed(now.changes[-CHANGES_SHOWN:])],
    }


def profile_file_of(manifest: Manifest) -> Path:
    """Return the file of the profile with which a run was started.

    Raises:
        Refusal: It is not there any more.
    """
    # Pinned files are also tables, feeds and, of an overlay, the base.
    paths = [resolve(name) for name in manifest.pinned]
    profiles = [path for path in paths if _profile_named(path) == manifest.profile]
    if not profiles:
        raise Refusal(
            f"the file of the profile {printable(manifest.profile)} is not there any more.",
            "Change settings by minibot settings --config FILE.",
        )
    return next((path for path in profiles if read_profile(path).base is not None), profiles[0])


def _profile_named(path: Path) -> str:
    """Return the name of a profile in a file; empty if it holds none."""
    try:
        return str(read_profile(path).raw.get("profile", ""))
    except ConfigError:
        return ""


def text_of(value: Any) -> str:
    """Return a value as `--set` and the page write it."""
    return value if isinstance(value, str) else json.dumps(value)


def _keys(config: Config) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the keys that are shown, with their schemas: of sections that the profile has."""
    properties = config_schema()["properties"]
    for key in TOP_KEYS:
        yield key, properties[key]
    yield f"{config.venue}.symbols", properties[config.venue]["properties"]["symbols"]
    for section in SECTIONS:
        if isinstance(config.raw.get(section), dict):
            for key, schema in properties[section]["properties"].items():
                if f"{section}.{key}" not in IN_FILE_ONLY:
                    yield f"{section}.{key}", schema


def _setting(
    key: str, schema: Mapping[str, Any], now: NextStart, running: Mapping[str, Any] | None
) -> JsonObject:
    found = resolved(schema)
    fields: JsonObject = {
        "key": key,
        "description": schema.get("description", ""),
        "allowed": "; ".join(filter(None, (describe(schema), _bound(now.own, key)))),
        "choices": _choices(found),
        "why_not": _why_not(now.own, key),
        "is_staged": key in now.staged,
    }
    fields["own"] = text_of(value_of(now.own.raw, key))
    fields["next"] = text_of(now.value(key))
    fields["running"] = None if running is None else text_of(value_of(dict(running), key))
    return fields


def _bound(config: Config, key: str) -> str:
    """Return how far a key may be changed here, in words; empty if only the schema says."""
    if bound := policy_bound(config.raw, key):
        return f"by the risk policy {bound}"
    return own_bound(key, value_of(config.raw, key))


def _choices(schema: Mapping[str, Any]) -> list[str]:
    """Return the texts among which a value is chosen; empty if it is typed."""
    if schema.get("type") == "boolean":
        return ["true", "false"]
    return [text_of(value) for value in schema.get("enum", ())]


def _refused_keys(config: Config, keys: Iterable[str]) -> Iterator[str]:
    known = [key for key, _ in _keys(config)]
    for key in keys:
        if key not in known:
            near = get_close_matches(key, known, 1, NEAR_MIN)
            refusal, hint = "unknown key", "minibot config show lists all keys"
            if _is_key(key):
                refusal, hint = "cannot be changed here", "change it in the profile's own file"
            hint = f"did you mean {near[0]}?" if near else hint
            yield f"{printable(key)}: {refusal}; {hint}"
        elif why_not := _why_not(config, key):
            yield f"{key}: {why_not}"


def _is_key(key: str) -> bool:
    """Return whether a profile may have the key, one of a strategy's parameters included."""
    schema: Mapping[str, Any] = config_schema()
    for name in key.split("."):
        properties = schema.get("properties", {})
        if name not in properties:
            return bool(schema.get("additionalProperties", False))
        schema = resolved(properties[name])
    return True


def _why_not(config: Config, key: str) -> str:
    """Return why a key that is shown cannot be changed; empty if it can."""
    is_limit = key.startswith("risk.")
    return _NO_POLICY if is_limit and config.risk.policy_version is None else ""


def _listed(keys: Iterable[str]) -> str:
    return ", ".join(printable(key) for key in keys)
