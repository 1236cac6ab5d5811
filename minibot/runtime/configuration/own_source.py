"""Source file of an operator's own strategy: found by name, read once, kept in the profile.

`load_config` puts `{api, path, sha256, text}` into `strategy.source` of the resolved profile. So
the manifest of a run holds the exact source text that decided; roles, replay and backtest read it
from there and never read the file again. Changing the file during a night changes nothing in the
run.
"""

from __future__ import annotations

import hashlib
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from minibot.events.model import JsonObject
from minibot.kernel.files import is_endless
from minibot.runtime.configuration.config_files import MANIFEST
from minibot.runtime.configuration.config_layers import SET
from minibot.runtime.configuration.config_schema import violation
from minibot.runtime.paths import PROJECT, escape_reason, is_within, project_name, resolve

SHIPPED: Final = (
    *("atr_trend", "bollinger", "breakout", "dca", "ema_cross", "ma_cross", "maker_grid"),
    *("nore_strategy_v1", "rsi_band", "rsi_reversion", "trail_pullback"),
)
"""Strategies that the package brings; every other name is a file in `strategy.folder`."""

FOLDER: Final = "strategies"
"""Where the shipped profiles look for own strategies."""

SOURCE_BYTES_MAX: Final = 200_000

UNLESS: Final = "unless --set strategy.name names a file"

API: Final = 2
"""Version of the strategy API; `strategies.verdicts` says what came with which."""


def own_files(folder: str) -> list[Path]:
    """Return the files of own strategies in a folder, sorted; their tests do not count."""
    files = sorted(resolve(folder).glob("*.py"))
    return [path for path in files if not path.stem.startswith("test_")]


def name_fault(section: Mapping[str, str]) -> str:
    """Return why the strategy of a profile's section cannot be found by its name, else "".

    A name is a shipped strategy or a file, and never both: one of them would be run unasked.
    """
    path = resolve(section["folder"]) / f"{section['name']}.py"
    if section["name"] in SHIPPED:
        if not path.is_file():
            return ""
        return f"exists twice: minibot ships it, and there is {project_name(path)}; rename the file"
    return "" if path.exists() else _unknown(section)


def own_file(section: Mapping[str, str]) -> Path | None:
    """Return the path of the chosen strategy's file, or None for a shipped strategy."""
    if section["name"] in SHIPPED:
        return None
    return resolve(section["folder"]) / f"{section['name']}.py"


def unmarked(data: bytes) -> bytes:
    """Return a file's bytes without the mark with which editors on Windows may begin a text."""
    return data.removeprefix(BOM_UTF8)


def take_own_source(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
    """Put an own strategy's file into a profile; yield the reasons if that is impossible.

    It acts only when iterated. The source in a manifest stays as it is, unless a person chooses a
    strategy now, be it the same one: then its file counts, as it is today.
    """
    section = raw["strategy"]
    if "source" in section and _is_recorded(origin):
        if origin.get("strategy.name") == MANIFEST:
            return
        del section["source"]
    if "source" in section:
        words = "refused: minibot writes it from the file of strategy.name; remove the key"
        yield violation(["strategy", "source"], "...", words, origin)
        return
    if why := folder_fault(section["folder"], origin):
        yield violation(["strategy", "folder"], section["folder"], why, origin)
        return
    path = own_file(section)
    if path is None:
        # In a finished run the shipped one decided, whatever the folder holds now.
        if origin.get("strategy.name") != MANIFEST and (why := name_fault(section)):
            yield violation(["strategy", "name"], section["name"], why, origin)
        return
    try:
        if is_endless(path):
            raise ValueError("is not a regular file")
        with path.open("rb") as file:
            data = file.read(SOURCE_BYTES_MAX + 1)
        if len(data) > SOURCE_BYTES_MAX:
            raise ValueError(f"is larger than {SOURCE_BYTES_MAX} bytes")
        data = unmarked(data)
        text = data.decode("utf-8")
    except FileNotFoundError:
        yield violation(["strategy", "name"], section["name"], _unknown(section), origin)
        return
    except (OSError, ValueError) as error:
        yield violation(["strategy", "name"], section["name"], f"{path}: {error}", origin)
        return
    section["source"] = {
        "api": API,
        "path": project_name(path),
        "sha256": _digest(data),
        "text": text,
    }


def change_since(raw: JsonObject) -> str:
    """Return one sentence if the strategy's file differs from the profile's text, else "".

    The profile's text counts, for replay too, unless the file is chosen anew.
    """
    source = raw["strategy"].get("source")
    if source is None:
        return ""
    path = resolve(source["path"])
    try:
        found = _digest(unmarked(path.read_bytes()))
    except OSError:
        return f"{source['path']} is gone since; the text that the run recorded is used, {UNLESS}"
    if found == source["sha256"]:
        return ""
    return (
        f"{source['path']} has changed since (sha256 {source['sha256'][:16]} then, {found[:16]} "
        f"now); the text that the run recorded is used, {UNLESS}"
    )


def _is_recorded(origin: Mapping[str, str]) -> bool:
    keys = [key for key in origin if key.startswith("strategy.source")]
    return all(origin[key] == MANIFEST for key in keys)


def _unknown(section: Mapping[str, str]) -> str:
    known = [*SHIPPED, *(path.stem for path in own_files(section["folder"]))]
    near = get_close_matches(section["name"], known, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}."
    return (
        f"no file {section['folder']}/{section['name']}.py; {hint} To "
        f"make one: minibot new-strategy {section['name']}"
    )


def folder_fault(text: str, origin: Mapping[str, str]) -> str:
    """Return why a folder may not hold own strategies, empty if it may."""
    if why := escape_reason(text):
        return f"{why}; allowed: a plain path (CONFIG_PATH_ESCAPE)"
    folder = resolve(text)
    if is_within(folder, PROJECT / "minibot"):
        return "allowed: a folder outside the package"
    if origin.get("strategy.folder") not in (SET, MANIFEST) and not is_within(folder, PROJECT):
        # A typed path is intended; a file or an environment may be another person's.
        return "leads out of the project; allowed: a folder in it, or any by --set"
    return ""


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
