"""Run profile: read, merged, judged as a whole, then frozen.

`load_config` is the only way in. It collects violations before it refuses, so that one start shows
all that can be judged; a rule whose keys are invalid waits for the next start. The manifest holds
the profile with which a run was started; `config_of_manifest` restores it in other processes. That
reads the schema, and no profile, strategy, feed or environment again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any

from minibot.cores.profile_keys import section_of
from minibot.events.model import JsonObject
from minibot.kernel import canonical
from minibot.kernel.errors import ConfigError
from minibot.runtime.configuration.config_files import (
    MANIFEST,
    SHIPPED,
    Profile,
    is_shipped,
    leaves,
    printable,
    read_profile,
)
from minibot.runtime.configuration.config_layers import (
    SET,
    STAGED,
    Layers,
    file_origin,
    is_variable,
)
from minibot.runtime.configuration.config_rules import rule_violations
from minibot.runtime.configuration.config_schema import (
    coerce_numbers,
    config_schema,
    schema_violations,
    violation,
)
from minibot.runtime.configuration.config_sections import (
    Acceptance,
    ProfileKeys,
    VenueSection,
    keys_that_came_later,
    sections,
    values_that_came_later,
)
from minibot.runtime.configuration.feed_files import feed_violations
from minibot.runtime.configuration.loosening import loosening_violations
from minibot.runtime.configuration.own_source import take_own_source
from minibot.runtime.paths import Var, find, resolve

# Sections that older runs lack, with the values that stood in the code of those runs (U-06).
LATER_SECTIONS: Mapping[str, JsonObject] = {
    "acceptance": {
        "duration_ms_min": 25_200_000,
        "latency_ms_p95_max": 1_000,
        "latency_ms_p99_max": 3_000,
        "feed_errors_percent_max": 5,
        "role_away_ms_max": 60_000,
        "memory_mb_per_hour_max": 10,
    },
}

_REMEDY = "Correct these keys; config/config.v1.schema.json describes each."


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(ProfileKeys):
    """Valid profile: its keys, and their origins.

    `raw` is the whole resolved profile as the manifest holds it; `sha256` is over its canonical
    JSON; `origin` maps each dotted key to the file, the environment variable, `minibot settings` or
    `--set` that gave its value; `given` is the part of `origin` that a person chose, see `_given`;
    `base` is the file that the profile extends, None if it extends none or comes from a manifest;
    `read` is the sha256 of each file's bytes as they were read, empty for a manifest's profile.
    """

    raw: JsonObject
    sha256: str
    origin: Mapping[str, str]
    given: Mapping[str, str]
    base: Path | None
    read: Mapping[Path, str]

    @property
    def var(self) -> Var:
        """The folders that this profile's run writes."""
        return Var(resolve(self.paths.var))

    @property
    def exchange(self) -> VenueSection:
        """The section of the venue that is traded on."""
        section: VenueSection = getattr(self, self.venue)
        return section

    @property
    def speed(self) -> str:
        """Market time per wall-clock time as a decimal string; 1 on the real hosts."""
        return self.embedded.speed if self.embedded else "1"

    def layer_of(self, key: str) -> str:
        """Return the layer that gives a dotted key its value.

        `base` or `overlay`, `file` for a profile without a base, `minibot settings`,
        `environment`, `--set`, or `manifest` for a finished run's profile; empty for a key without
        an origin.
        """
        origin = self.origin.get(key, "")
        if origin in ("", SET, STAGED):
            return origin
        if origin == MANIFEST:
            return "manifest"
        if self.base is not None and origin == file_origin(self.base.name):
            return "base"
        if is_variable(origin):
            return "environment"
        return "file" if self.base is None else "overlay"


def load_config(
    path: str | Path,
    sets: Iterable[str] = (),
    environ: Mapping[str, str] | None = None,
    staged: Mapping[str, Any] | None = None,
) -> Config:
    """Return the profile of a file, changed by staged settings, environment and `--set` texts.

    The file of an own strategy is read as well: its text becomes part of the profile.

    Args:
        path: The file as a person names it; a leading `minibot/` is accepted (X-16).
        sets: Texts `section.key=value`.
        environ: Variables `MINIBOT__SECTION__KEY` count; None means no variables.
        staged: Staged settings by dotted key, see `staged_settings`; None means none.

    Raises:
        ConfigError: With every violation that can be judged: key, value, origin, allowed values,
            nearest key.
    """
    profile = read_profile(find(path))
    origin = {key: file_origin(name) for key, name in profile.origin.items()}
    layers = Layers(profile.raw, origin)
    own = {key: value_of(profile.raw, key) for key in staged or {}}
    layers.put_staged(staged or {})
    layers.put_environ(environ or {})
    layers.put_texts(sets)
    return _judged(layers, str(path), profile, own)


def config_of_manifest(raw: JsonObject) -> Config:
    """Return the profile that a run's manifest holds.

    Raises:
        ConfigError: It is not a profile of this build.
    """
    violations = list(schema_violations(with_later_keys(raw), {}).values())
    if violations:
        raise _refused("manifest.json: config", violations)
    return _config(raw, {}, {}, None, {})


def config_with(
    raw: JsonObject, sets: Iterable[str], environ: Mapping[str, str] | None = None
) -> Config:
    """Return the profile of a finished run, changed as `load_config` does; unchanged without both.

    Raises:
        ConfigError: With every violation.
    """
    texts = list(sets)
    if not texts and not environ:
        return config_of_manifest(raw)
    filled = deepcopy(with_later_keys(raw))
    layers = Layers(filled, dict.fromkeys(leaves(filled), MANIFEST))
    layers.put_environ(environ or {})
    layers.put_texts(texts)
    if not layers.violations and set(layers.origin.values()) <= {MANIFEST}:
        return config_of_manifest(raw)
    return _judged(layers, "the run's profile", None)


def acceptance_of(raw: JsonObject) -> Acceptance:
    """Return the acceptance thresholds of a run's profile, also of an older run."""
    return section_of(Acceptance, with_later_keys(raw)["acceptance"])


def _judged(
    layers: Layers, name: str, profile: Profile | None, own: Mapping[str, Any] | None = None
) -> Config:
    """Return the profile of layers; `own` are the file's values of the keys that are staged."""
    if broken := [_surrogate_violation(path, layers) for path in _lone_surrogates(layers.raw, [])]:
        # No schema and no manifest could hold them.
        raise _refused(name, [*layers.violations, *broken])
    coerce_numbers(layers.raw, config_schema())
    by_key = schema_violations(layers.raw, layers.origin)
    rules = rule_violations(layers.raw, layers.origin, by_key)
    source: Iterable[str] = ()
    if not any(key.startswith("strategy") for key in by_key):
        source = take_own_source(layers.raw, layers.origin)
    feeds: Iterable[str] = ()
    if not any(key.startswith("market") for key in by_key):
        feeds = feed_violations(layers.raw, layers.origin)
    looser: Iterable[str] = ()
    if not any(key.startswith(("risk", "portfolio")) for key in by_key):
        looser = loosening_violations(layers.raw, layers.origin, own or {}, STAGED)
    # From here on the profile has the source of an own strategy.
    files = [*source, *feeds]
    judged = [*by_key.values(), *rules, *looser, *files]
    violations = [*layers.violations, *judged, *_unwritable(layers.raw)]
    if violations:
        raise _refused(name, violations)
    base, read = (None, {}) if profile is None else (profile.base, profile.sha256)
    return _config(layers.raw, layers.origin, _given(layers, profile), base, read)


def _lone_surrogates(node: Any, path: list[str]) -> Iterator[list[str]]:
    """Yield the paths of keys and values with a lone surrogate."""
    if isinstance(node, dict):
        for key, child in node.items():
            if _is_whole(key):
                yield from _lone_surrogates(child, [*path, key])
            else:
                yield [*path, key]
    elif not _is_whole(node if isinstance(node, str) else json.dumps(node, ensure_ascii=False)):
        yield path


def _is_whole(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _surrogate_violation(path: list[str], layers: Layers) -> str:
    words = "holds half a letter (a lone surrogate), which no manifest can keep"
    return violation(path, _value(layers.raw, path), words, layers.origin)


def _given(layers: Layers, profile: Profile | None) -> dict[str, str]:
    """Return the keys that a person chose, with their origin.

    A key set by `--set`, a variable, staging or a user's overlay is chosen. A user's whole file,
    and a section given as a whole, have to name every key: of these, the person chose those whose
    value no shipped profile has.
    """
    chosen = None if profile is None else _own_origin(profile.overlay)
    copy = None if profile is None else _own_origin(profile.whole)
    given, copied = {}, {}
    for key, origin in layers.origin.items():
        if origin == copy or key in layers.by_section:
            copied[key] = origin
        elif origin in (chosen, SET, STAGED) or is_variable(origin):
            given[key] = origin
    if copied:
        shipped = [read_profile(path).raw for path in sorted(SHIPPED.glob("[!.]*.v1.json"))]
        for key, origin in copied.items():
            keys = key.split(".")
            value = _value(layers.raw, keys)
            if all(_value(other, keys) != value for other in shipped):
                given[key] = origin
    return given


def _own_origin(path: Path | None) -> str | None:
    """Return the origin of a file's values, None for a shipped profile or no file."""
    return None if path is None or is_shipped(path) else file_origin(path.name)


def value_of(raw: JsonObject, key: str) -> Any:
    """Return the value of a dotted key; None where the profile lacks it."""
    return _value(raw, key.split("."))


def _value(raw: JsonObject, path: Sequence[str]) -> Any:
    node: Any = raw
    for part in path:
        node = node.get(part) if isinstance(node, dict) else None
    return node


def is_same_profile(one: JsonObject, other: JsonObject) -> bool:
    """Return whether two resolved profiles mean the same, whichever build wrote them."""
    absent = values_that_came_later()
    return absent | with_later_keys(one) == absent | with_later_keys(other)


def with_later_keys(raw: JsonObject) -> JsonObject:
    """Return the profile of an older run with the keys that were added later, as it was run."""
    filled = dict(raw)
    for name, later in keys_that_came_later().items():
        if isinstance(raw.get(name), dict):
            filled[name] = later | raw[name]
    for name, later in LATER_SECTIONS.items():
        filled.setdefault(name, dict(later))
    return filled


def _config(
    raw: JsonObject,
    origin: Mapping[str, str],
    given: Mapping[str, str],
    base: Path | None,
    read: Mapping[Path, str],
) -> Config:
    values = with_later_keys(raw)
    for name, cls in sections().items():
        if values.get(name) is not None:
            values[name] = section_of(cls, values[name])
    return Config(
        raw=raw,
        sha256=sha256(canonical.encode(raw)).hexdigest(),
        origin=MappingProxyType(dict(origin)),
        given=MappingProxyType(dict(given)),
        base=base,
        read=MappingProxyType(dict(read)),
        **values,
    )


def _unwritable(raw: JsonObject) -> Iterator[str]:
    """Yield why a profile has no canonical JSON, as in open parts that no schema describes."""
    try:
        canonical.encode(raw)
    except canonical.CanonicalError as error:
        yield f"the profile cannot be written to a manifest: {printable(str(error))}"


def _refused(name: str, violations: list[str]) -> ConfigError:
    count = len(violations)
    message = f"{name}: {count} violation{'s' if count > 1 else ''} of the configuration."
    return ConfigError(message, violations, _REMEDY)
