"""minibot new-config: write a profile of your own, an overlay of the shipped one."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from minibot.cli.support.evening_questions import QUESTIONS, Question, default_of, values_of
from minibot.cli.support.output import say, show
from minibot.cli.support.own_profile import SCHEMA
from minibot.cli.support.profile import as_typed
from minibot.events.decimals import unpadded
from minibot.events.model import JsonObject
from minibot.events.money import parse_amount
from minibot.kernel.errors import ConfigError, Refusal
from minibot.kernel.files import write_atomic
from minibot.runtime.configuration.config import Config, load_config
from minibot.runtime.configuration.config_files import EXTENDS, SHIPPED, read_profile
from minibot.runtime.configuration.config_layers import SET, Layers
from minibot.runtime.secrets import ENVIRONMENT_KEY

HELP = "write a profile of your own by five questions, each also a flag"
EXAMPLE = "minibot new-config my-night --cash 5000 --pairs ETH/USDT --risk careful"
NAME = re.compile(r"[a-z][a-z0-9-]{0,40}")
BASE = SHIPPED / "nore.v1.json"
# The keys that a trader changes first. They stand in every file, also with the base's values.
SHOWN = (
    "duration_ms",
    "binance.symbols",
    "strategy.name",
    "risk.position_notional_max",
    "portfolio.cash",
)
ANSWERED: Final = "the answers"
NOTHING_WRITTEN: Final = "Nothing was written; begin again, or give the answers as flags."


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument(
        "name", nargs="?", default="my-night", metavar="NAME", help="small letters, digits and -"
    )
    group = command.add_argument_group(
        "the questions",
        "asked on a terminal; elsewhere a missing one has its default, which is shown",
    )
    group.add_argument("--quote", metavar="ASSET", help="the asset that pays, as USDT")
    group.add_argument("--cash", metavar="AMOUNT", help="how much of it a fresh start has")
    group.add_argument("--pairs", metavar="BTC/USDT,ETH/USDT", help="what it trades")
    group.add_argument("--risk", metavar="careful", help="careful, standard or bold")
    group.add_argument(
        "--at-end",
        metavar="close",
        help="positions at the end: close, or carry into the next night",
    )
    group.add_argument(
        "--alerts",
        metavar="none",
        help="none, 'run PROGRAM WORDS', or a target's name: with telegram, the secrets file holds "
        "TELEGRAM=address",
    )
    command.add_argument("--defaults", action="store_true", help="ask nothing")
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="a key with the value that the file shall hold; stronger than an answer",
    )


def run(arguments: argparse.Namespace) -> int:
    """Write NAME.json into the working folder; 4 for keys or values that no profile may have."""
    name = arguments.name
    if not NAME.fullmatch(name):
        raise Refusal(f"{name!r} is not a profile's name.", "Use small letters, digits and -.")
    path = Path.cwd() / f"{name}.json"
    if path.exists() or path.is_symlink():
        raise Refusal(f"{path.name} already exists.", "Take another name.")
    try:
        overlay = _overlay(name, arguments)
    except KeyboardInterrupt as error:  # At a question, or between two.
        print(file=sys.stderr)
        raise Refusal("interrupted.", NOTHING_WRITTEN) from error
    try:
        # A lone surrogate, which the check refuses, has no UTF-8: JSON's escape replaces it.
        write_atomic(path, _text(overlay).encode(errors="backslashreplace"))
        config = load_config(path)
        as_typed(load_config(path, arguments.set))
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    document = {"profile": config.profile, "file": path.name, "sha256": config.sha256}
    show(
        arguments,
        document,
        [
            f"written: {path.name}, over {BASE.parent.name}/{BASE.name}",
            f"  risk    {_risk_text(config)}",
            f"  check   minibot config check {path.name}",
            f"  all     minibot config show {path.name} --origin",
            *_alert_lines(config, path.name),
            f"  ready   minibot doctor --config {path.name}",
            f"  night   minibot night --config {path.name}",
        ],
    )
    return 0


def _risk_text(config: Config) -> str:
    """Return the dearest entry and the loss that stops a night, in the quote asset."""
    # Imported here because `--help` needs none of it.
    from minibot.replay.explain.size_question import largest_entry

    bounds = (largest_entry(config.raw, symbol) for symbol in config.exchange.symbols)
    most = max((bound.leaves or "" for bound in bounds), key=parse_amount)
    quote, loss = config.portfolio.quote_asset, config.risk.night_loss_hard
    return f"entries up to {unpadded(most)} {quote}; a loss of {loss} stops it"


def _alert_lines(config: Config, name: str) -> Iterator[str]:
    """Yield where the addresses of the alerts belong, and how to try them."""
    if config.alerts is None:
        return
    where = config.secrets.path or f"a file of yours, named by secrets.path or {ENVIRONMENT_KEY}"
    for secret in (config.alerts.targets or {}).values():
        yield f"  write   {secret}=address into {where}"
    yield f"  alerts  minibot alert test --config {name}"


# --- the answers ------------------------------------------------------------------------------


def _answers(arguments: argparse.Namespace, layers: Layers) -> dict[str, str]:
    """Return the answer of each question: by `--set`, its flag, the terminal or its default.

    Alerts that `--set` names need no answer, and are no answer of one line.

    Raises:
        ConfigError: A flag's answer is invalid.
        Refusal: The terminal's input ended.
    """
    answers: dict[str, str] = {}
    is_asked = not arguments.defaults and sys.stdin.isatty() and sys.stderr.isatty()
    base = read_profile(BASE).raw
    for question in QUESTIONS:
        given = getattr(arguments, question.name.replace("-", "_"))
        default = default_of(question, base, answers)
        if (value := _set_value(question, layers, answers)) is not None:
            answers[question.name] = value
        elif given is not None:
            try:
                answers[question.name] = question.read(given, answers)
            except ValueError as error:
                raise ConfigError(f"{question.flag}: {error}.", ()) from error
        elif question.is_section and _sets_targets(layers):
            continue
        elif is_asked:
            answers[question.name] = _terminal_answer(question, default, answers)
        else:
            answers[question.name] = default
            say(f"without {question.flag}: {default}")
    return answers


def _set_value(question: Question, layers: Layers, before: Mapping[str, str]) -> str | None:
    """Return the answer that `--set` gives, in the form of a typed one; None without it."""
    if question.is_section or layers.origin.get(question.key) != SET:
        return None
    section, _, key = question.key.partition(".")
    value = layers.raw[section][key]
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    try:
        return question.read(text, before)
    except ValueError as error:
        raise ConfigError(f"{SET} {question.key}: {error}.", ()) from error


def _sets_targets(layers: Layers) -> bool:
    """Return whether `--set` names the targets of alerts."""
    named = ("alerts", "alerts.targets", "alerts.commands")
    return any(
        origin == SET and (key in named or key.startswith(("alerts.targets.", "alerts.commands.")))
        for key, origin in layers.origin.items()
    )


def _terminal_answer(question: Question, default: str, before: Mapping[str, str]) -> str:
    """Return the terminal's answer, asking again until it is valid.

    Raises:
        Refusal: The input ended.
    """
    while True:
        print(f"{question.asks} [{default}]: ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            print(file=sys.stderr)
            raise Refusal("the input ended before the last question.", NOTHING_WRITTEN)
        try:
            return question.read(line, before) if line.strip() else default
        except ValueError as error:
            say(f"  {error}")


# --- the file ---------------------------------------------------------------------------------


def _overlay(name: str, arguments: argparse.Namespace) -> JsonObject:
    """Return the overlay: the keys usually changed first, the answers, and the keys of `--set`.

    Raises:
        ConfigError: A text of `--set` is invalid, see `_layers`; or an answer is.
    """
    given = _layers(arguments.set)
    answers = _answers(arguments, given)
    layers = _layers(())
    is_own = given.origin.get("strategy.name") == SET
    for keys, value in values_of(answers, read_profile(BASE).raw, is_own_strategy=is_own):
        layers.put(keys, value, ANSWERED)
    layers.put_texts(arguments.set)
    changed = [key for key, origin in layers.origin.items() if origin != BASE.name]
    overlay: JsonObject = {"schema": SCHEMA, "v": 1, EXTENDS: BASE.name, "profile": name}
    for key in dict.fromkeys((*SHOWN, *changed)):
        section, _, rest = key.partition(".")
        value = layers.raw[section]
        if rest and isinstance(value, dict):
            inner = rest.partition(".")[0]
            overlay.setdefault(section, {})[inner] = value[inner]
        else:
            overlay[section] = value
    return overlay


def _layers(sets: Sequence[str]) -> Layers:
    """Return the base with the texts of `--set` over it.

    Raises:
        ConfigError: A text is no `key=value`, names a key inside a value, or gives a whole section.
    """
    base = read_profile(BASE)
    layers = Layers(base.raw, dict(base.origin))
    sections = {name for name, value in base.raw.items() if isinstance(value, dict)}
    layers.put_texts(sets)
    for name in sorted(sections.intersection(text.partition("=")[0].strip() for text in sets)):
        if isinstance(layers.raw[name], dict):
            # An overlay is merged: the answers in the section would be lost without a word.
            layers.violations.append(f"{name}: a whole section; set its keys one by one")
    if layers.violations:
        raise ConfigError(
            "new-config: nothing was written.", layers.violations, f"Write {SET} section.key=value."
        )
    return layers


def _text(overlay: JsonObject) -> str:
    """Return the file's text: one line for each top-level key."""
    lines = [f"  {json.dumps(key)}: {_shown(value)}" for key, value in overlay.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
