"""minibot new-strategy: write a strategy with its test, ready to be changed."""

from __future__ import annotations

import argparse
import ast
import re
from keyword import iskeyword
from pathlib import Path

from minibot.cli.support.output import show
from minibot.kernel.errors import Refusal
from minibot.kernel.files import ensure_folder, write_atomic
from minibot.runtime.configuration.config_layers import SET
from minibot.runtime.configuration.own_source import FOLDER, SHIPPED, folder_fault
from minibot.runtime.pasting import pasted, with_env
from minibot.runtime.paths import PROJECT, resolve, shown_path
from minibot.strategies.allowed import API, names_of

HELP = "write a strategy of your own, with a test that passes"
EXAMPLE = "minibot new-strategy dip_buyer --from skeleton"
NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
LIBRARY = {
    "ma_cross": "MaCross",
    "breakout": "Breakout",
    "rsi_reversion": "RsiReversion",
    "bollinger": "Bollinger",
    "atr_trend": "AtrTrend",
    "trail_pullback": "TrailPullback",
    "dca": "Dca",
    "maker_grid": "MakerGrid",
}
"""Examples with a result on the shipped bars (`tools.examples`), by name, with their classes."""

NEEDED = {
    "trail_pullback": ("risk.hard_stop_bps=1000",),
    "maker_grid": ("risk.limit_entries_max=3", "execution.order_ttl_market_ms=3600000"),
}
"""Keys that an example needs besides the demo's profile, by its name."""

EXAMPLES = {"skeleton": "Skeleton", "ema_cross": "EmaCross", "rsi_band": "RsiBand", **LIBRARY}

TEST = '''"""What {name} promises.

{command}
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path

from minibot.strategies.trial import Trial, findings

FILE = Path(__file__).with_name("{name}.py")
# Calm, down, up, calm: enough for most ideas to speak once in each direction.
WAVE = (*[100.0] * 120, *[100.0 - n / 10 for n in range(60)], *[94.0 + n / 8 for n in range(90)])


def test_{name}_keeps_to_what_a_strategy_may_do() -> None:
    """No clock, chance, file or network is in it."""
    assert findings(FILE) == []


def test_{name}_goes_in_and_out_on_a_wave() -> None:
    """It buys and sells at least once where the price falls and comes back."""
    trial = Trial(FILE)
    for price in chain(WAVE, WAVE):
        trial.trade(price)
        trial.bar(price)

    sides = [decision.side for decision in trial.decisions]
    assert "BUY" in sides
    assert "SELL" in sides
    assert all(decision.reason for decision in trial.decisions)


def test_{name}_decides_the_same_after_a_restart() -> None:
    """Whatever it keeps comes back from a snapshot, to the last digit."""
    whole, parted = Trial(FILE), Trial(FILE)
    for n, price in enumerate(WAVE):
        if n % 50 == 25:
            parted.restart()
        for trial in (whole, parted):
            trial.trade(price)
            trial.bar(price)

    assert parted.decisions == whole.decisions
'''


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument("name", metavar="NAME", help="small letters, digits and _")
    command.add_argument(
        "--from",
        dest="example",
        choices=sorted(EXAMPLES),
        default="skeleton",
        metavar="EXAMPLE",
        help="what to begin with: skeleton (default), "
        f"{', '.join(LIBRARY)} (results: docs/STRATEGIES.md), rsi_band, ema_cross (on ticks)",
    )
    command.add_argument(
        "--folder", default=FOLDER, help=f"as in strategy.folder of the profile ({FOLDER})"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write both files; refuse if one of them exists."""
    name = arguments.name
    if not NAME.fullmatch(name) or name in SHIPPED or name.startswith("test_"):
        raise Refusal(
            f"{name!r} is not a name for an own strategy.",
            "Use small letters, digits and _; shipped are " + ", ".join(SHIPPED) + ".",
        )
    if class_of(name) in (names_of(API) or ()):
        raise Refusal(
            f"{name!r} would hide {class_of(name)} of {API}.", f"Take another: my_{name}."
        )
    if iskeyword(class_of(name)) or class_of(name) in _imported(arguments.example):
        raise Refusal(
            f"{name!r} would be the class {class_of(name)}, which its file uses otherwise.",
            f"Take another: my_{name}.",
        )
    if why := folder_fault(arguments.folder, {"strategy.folder": SET}):
        raise Refusal(f"--folder {arguments.folder}: {why}.", "Name another one.")
    folder = resolve(arguments.folder)
    test = folder / f"test_{name}.py"
    # Within a text of Python a backslash counts double.
    command = with_env(f"-m pytest {pasted(shown_path(test))}").replace("\\", "\\\\")
    files = {
        folder / f"{name}.py": own_text(arguments.example, name),
        test: TEST.format(name=name, command=command),
    }
    for path in files:
        if path.exists():
            raise Refusal(f"{shown_path(path)} already exists.", "Take another name.")
    ensure_folder(folder)
    for path, text in files.items():
        write_atomic(path, text.encode())
    show(
        arguments,
        {"strategy": name, "files": [str(path) for path in files]},
        _next_steps(name, list(files), arguments.folder, NEEDED.get(arguments.example, ())),
    )
    return 0


def _imported(example: str) -> set[str]:
    """Return the names that an example's file imports."""
    return {
        alias.asname or alias.name
        for node in ast.walk(ast.parse(_example_text(example)))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }


def _example_text(example: str) -> str:
    path = PROJECT / "minibot" / "strategies" / "examples" / f"{example}.py"
    return path.read_text(encoding="utf-8")


def own_text(example: str, name: str) -> str:
    """Return an example's file under another name."""
    text = _example_text(example)
    first, rest = text.split("\n", 1)
    first = re.sub(r'^"""[^:]*:', f'"""{name}:', first)
    return re.sub(rf"\b{EXAMPLES[example]}\b", class_of(name), f"{first}\n{rest}")


def class_of(name: str) -> str:
    """Return the class name for a file's name."""
    return "".join(part.capitalize() for part in name.split("_"))


def _next_steps(name: str, files: list[Path], folder: str, needed: tuple[str, ...]) -> list[str]:
    shown = [shown_path(path) for path in files]
    strategy, test = map(pasted, shown)  # For a line that may be pasted.
    chosen = f"--strategy {name}"
    if folder != FOLDER:
        chosen += f" --set {pasted(f'strategy.folder={folder}')}"
    chosen += "".join(f" --set {text}" for text in needed)
    return [
        f"written: {' and '.join(shown)}",
        f"  check     minibot strategy-check {strategy}",
        f"  test      {with_env(f'-m pytest {test}')}",
        f"  backtest  minibot backtest {chosen} --timeframe 15m",
        f"  night     minibot night --config config/nore-demo.v1.json {chosen}",
    ]
