"""Session of the first hour: its steps, and what a person has to see at each.

Commands and files come out of README and guide (`blocks`); this module says which of them make the
hour, in which order, and which promise of the pages each has to keep.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tools.first_hour.blocks import (
    GUIDE,
    PROJECT,
    README,
    WITH_ENV,
    PageError,
    command_of,
    guide_part,
    steps_of,
)
from tools.first_hour.terminal import Ended, Terminal

STEP_S_MAX: Final = 900.0
START, OWN, LOOK = "start", "idea", "look"
PARTS: Final = (START, OWN, LOOK)
CHECKOUT: Final = "minibot"
NIGHT_LIVE: Final = (r"BTCUSDT\s+[\d,]+\.\d\d", r"(?i)result|p&l")
PROVEN: Final = (r"verify clean, replay identical",)


class Wish(NamedTuple):
    """Step of the hour, by the beginning of a page's command, and the page's promises.

    Attributes:
        beginning: First words of the command.
        sees: Patterns that the screen holds once it has ended, in any line breaks.
        live: Patterns that some screen held while it ran.
        opens: True if a browser is asked to open a page.
    """

    beginning: str
    sees: tuple[str, ...] = ()
    live: tuple[str, ...] = ()
    opens: bool = False


class Step(NamedTuple):
    """One step as it is done: a command that is typed, or a file that is written."""

    part: str
    page: str
    wish: Wish
    command: str
    file: str = ""
    text: str = ""


class Done(NamedTuple):
    """A step with what came of it.

    Attributes:
        step: The step.
        ended: How its command ended; None for a file.
        glances: Screens while it ran, by seconds since its start.
        missing: Promises that were not kept; empty where all were.
    """

    step: Step
    ended: Ended | None
    glances: dict[float, str]
    missing: tuple[str, ...]


DEMO: Final = f"{WITH_ENV}-m minibot.nore_run_v1"
# README's own, before and after the guide.
FIRST: Final = (
    Wish(DEMO, (*PROVEN, r"shows the machine, not a strategy", r"minibot demo"), NIGHT_LIVE),
    Wish("minibot", (r"minibot \w+", r"All verbs: minibot --help")),
    Wish("minibot --help", (r"start\s+.*demo", r"proof\s+verify")),
    Wish("minibot replay --set", (r"risk\.order_notional",)),
    Wish("minibot demo", (r"result\s+[-+][\d,.]+", r"market\s+-?[\d.]+ %", r"edge\s"), opens=True),
)
TYPED: Final = {
    wish.beginning: wish
    for wish in (
        Wish("minibot new-strategy", (r"strategies/\w+\.py",)),
        Wish("minibot strategy-check", (r"may run",)),
        Wish(f"{WITH_ENV}-m pytest", (r"\d+ passed",)),
        Wish(
            "minibot backtest",
            (r"market change", r"buy and hold", r"signal_exit", r"report\.html", r"strategy\.name"),
        ),
        Wish("minibot night", PROVEN, NIGHT_LIVE),
        Wish("minibot explain", (r"Trade \d+: bought .* because",)),
    )
}
LAST: Final = (
    Wish("minibot new-config", (r"my-night\.json",)),
    Wish("minibot report", (r"round trips?", r"pullback")),
    Wish("minibot explain --trade 1", (r"Trade 1: bought .* because pullback within a rise",)),
    Wish("minibot verify", (r"\bclean\b",)),
    Wish("minibot replay", (r"\bidentical\b",)),
    Wish("minibot parity", (r"parity",)),
)
# Typed by nobody's page, as every trader looks at the list of what was run.
LISTS: Final = (
    Wish("minibot runs", (r"trades\s+result", r"pullback")),
    Wish("minibot backtests", (r"pullback",)),
)


def steps(parts: Sequence[str] = PARTS) -> Iterator[Step]:
    """Yield the steps of these parts of the hour, in order.

    Raises:
        PageError: A page lacks a command of the hour, or has one without a promise.
    """
    readme = README.read_text(encoding="utf-8")
    if START in parts:
        clone = f"git clone --quiet {shlex.quote(str(PROJECT))} {CHECKOUT} && cd {CHECKOUT}"
        yield Step(START, "", Wish("git clone"), clone)
        for wish in FIRST:
            command = wish.beginning
            if command != CHECKOUT:  # README names the verb that has no word in a sentence.
                command = command_of(readme, command)
            yield Step(START, README.name, wish, command)
    if OWN in parts:
        yield from guide_steps()
    if LOOK in parts:
        for wish in LAST:
            yield Step(LOOK, README.name, wish, command_of(readme, wish.beginning))
        for wish in LISTS:
            yield Step(LOOK, "", wish, wish.beginning)


def guide_steps() -> Iterator[Step]:
    """Yield the steps of the guide, from an idea to a finished paper night."""
    for block in steps_of(guide_part(GUIDE.read_text(encoding="utf-8"))):
        if block.file:
            yield Step(OWN, GUIDE.name, Wish(block.file), "", block.file, block.text)
        for command in block.commands:
            wish = next((w for key, w in TYPED.items() if command.startswith(key)), None)
            if wish is None:
                raise PageError(f"the guide types {command!r}, of which nothing is expected here")
            yield Step(OWN, GUIDE.name, wish, command)


def play(
    terminal: Terminal, folder: Path, hour: Sequence[Step], tell: Callable[[Done], None]
) -> list[Done]:
    """Do the steps in order in a terminal that stands in a folder; return each with its outcome.

    Args:
        terminal: The terminal.
        folder: Folder in which the checkout is cloned.
        hour: The steps.
        tell: Called with each step that has been done.

    Raises:
        TerminalError: A command did not end in time.
    """
    all_done = []
    for step in hour:
        done = _done(terminal, folder / CHECKOUT, step)
        all_done.append(done)
        tell(done)
        if step.wish.beginning in ("git clone", DEMO) and done.missing:
            break  # Nothing of the hour can follow.
    return all_done


def _done(terminal: Terminal, checkout: Path, step: Step) -> Done:
    if step.file:
        path = checkout / step.file
        known = path.exists()
        path.write_text(step.text, encoding="utf-8")
        return Done(step, None, {}, () if known else (f"{step.file} to be replaced",))
    glances: dict[float, str] = {}
    opened = len(terminal.opened())
    ended = terminal.type(step.command, STEP_S_MAX, glances.__setitem__)
    missing = list(unkept(step.wish.sees, [ended.text]))
    missing += unkept(step.wish.live, list(glances.values()))
    if ended.code:
        missing.insert(0, f"exit code 0, found {ended.code}")
    if step.wish.opens and len(terminal.opened()) == opened:
        missing.append("a page that a browser opens")
    return Done(step, ended, glances, tuple(missing))


def unkept(promises: Sequence[str], screens: Sequence[str]) -> Iterator[str]:
    """Yield the patterns that no screen holds, whatever its line breaks."""
    flat = [" ".join(screen.split()) for screen in screens]
    for promise in promises:
        if not any(re.search(promise, screen) for screen in flat):
            yield promise
