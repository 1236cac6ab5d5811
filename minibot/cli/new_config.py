"""minibot new-config: write a profile of your own, an overlay of the shipped one."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from minibot.cli.support.output import show
from minibot.cli.support.own_profile import SCHEMA
from minibot.events.model import JsonObject
from minibot.kernel.errors import ConfigError, Refusal
from minibot.kernel.files import write_atomic
from minibot.runtime.configuration.config import load_config
from minibot.runtime.configuration.config_files import EXTENDS, SHIPPED, read_profile
from minibot.runtime.configuration.config_layers import Layers

HELP = "write a profile of your own: ten lines over the shipped one"
EXAMPLE = "minibot new-config my-night --set binance.symbols='[\"ETHUSDT\"]'"
NAME = re.compile(r"[a-z][a-z0-9-]{0,40}")
BASE = SHIPPED / "nore.v1.json"
# The keys that a trader changes first; they stand in the file with the base's values.
SHOWN = (
    "duration_ms",
    "binance.symbols",
    "strategy.name",
    "risk.order_notional",
    "portfolio.cash",
)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument(
        "name", nargs="?", default="my-night", metavar="NAME", help="small letters, digits and -"
    )
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="a key with the value that the file shall hold",
    )


def run(arguments: argparse.Namespace) -> int:
    """Write NAME.json into the working folder; 4 for keys or values that no profile may have."""
    name = arguments.name
    if not NAME.fullmatch(name):
        raise Refusal(f"{name!r} is no profile's name.", "Use small letters, digits and -.")
    path = Path.cwd() / f"{name}.json"
    if path.exists() or path.is_symlink():
        raise Refusal(f"{path.name} already exists.", "Take another name.")
    overlay = _overlay(name, arguments.set)
    write_atomic(path, _text(overlay).encode())
    try:
        config = load_config(path)
    except ConfigError:
        path.unlink()
        raise
    document = {"profile": config.profile, "file": path.name, "sha256": config.sha256}
    show(
        arguments,
        document,
        [
            f"written: {path.name}, over {BASE.parent.name}/{BASE.name}",
            f"  check   minibot config check {path.name}",
            f"  all     minibot config show {path.name} --origin",
            f"  ready   minibot doctor --config {path.name}",
            f"  night   minibot night --config {path.name}",
        ],
    )
    return 0


def _overlay(name: str, sets: list[str]) -> JsonObject:
    """Return the overlay: the keys that are changed first, and those of `--set`.

    Raises:
        ConfigError: A text of `--set` is none, or names a key inside a value.
    """
    base = read_profile(BASE)
    layers = Layers(base.raw, dict(base.origin))
    layers.put_texts(sets)
    if layers.violations:
        raise ConfigError("--set:", layers.violations, "Write --set section.key=value.")
    changed = [key for key, origin in layers.origin.items() if origin != BASE.name]
    overlay: JsonObject = {"schema": SCHEMA, "v": 1, EXTENDS: BASE.name, "profile": name}
    for key in dict.fromkeys((*SHOWN, *changed)):
        section, _, rest = key.partition(".")
        value = layers.raw[section]
        if rest:
            inner = rest.partition(".")[0]
            overlay.setdefault(section, {})[inner] = value[inner]
        else:
            overlay[section] = value
    return overlay


def _text(overlay: JsonObject) -> str:
    """Return the file's text: one line for each top-level key."""
    lines = [f"  {json.dumps(key)}: {_shown(value)}" for key, value in overlay.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
