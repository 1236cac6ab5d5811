"""Groups of verbs: what `minibot --help` and `minibot help` show, the usual verb of each first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

GROUPS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "start": (
        "set up and run a night",
        (
            "next",
            "demo",
            "night",
            "doctor",
            "new-config",
            "config",
            "settings",
            "probe",
            "service",
            "stage",
            "seal-key",
        ),
    ),
    "watch": (
        "look at the running night",
        ("watch", "page", "status", "health", "risk", "tail", "metrics", "alert", "guard"),
    ),
    "stop": (
        "act on the running night",
        (
            "stop",
            "kill",
            "halt",
            "resume",
            "exit-position",
            "lock-symbol",
            "unlock-symbol",
            "clear-stop",
        ),
    ),
    "ask": (
        "ask what happened and why",
        ("report", "explain", "scan", "size", "profit", "runs", "diff"),
    ),
    "backtest": (
        "write a strategy and try it on history",
        ("new-strategy", "strategy-check", "backtest", "backtests", "optimise", "parity"),
    ),
    "data": (
        "download, check and record market data",
        ("download-data", "list-data", "data", "record", "tape"),
    ),
    "proof": (
        "check that nothing was lost, altered or made up",
        ("verify", "replay", "accept", "ready", "ai-proof", "tamper-demo"),
    ),
    "keep": ("back runs up, hand them on, make room", ("backup", "restore", "bundle", "prune")),
    "expert": (
        "single hours, models, faults, the exchange alone",
        (
            "execute-hour",
            "replay-hour",
            "replay-window",
            "replay-manifest",
            "replay-tool",
            "train",
            "model",
            "chaos",
            "gate",
            "exchange",
            "completion",
            "help",
        ),
    ),
}
"""Each group's purpose and its verbs, in the order in which they are shown."""

_NAME_WIDTH: Final = 11
_LINE_WIDTH: Final = 78


def overview(width: int = _LINE_WIDTH) -> str:
    """Return the screen of `minibot --help`: every verb by group, within 24 lines of 80 columns.

    Args:
        width: Columns of a narrower terminal.
    """
    lines = ["Paper trading through the night, with proof in the morning.", ""]
    for name, (_purpose, verbs) in GROUPS.items():
        lines += _filled(name, verbs, min(width, _LINE_WIDTH))
    return "\n".join(
        [
            *lines,
            "",
            "  minibot              what to do next here",
            "  minibot help --all   every verb with a line on what it does",
            "  minibot help VERB    its flags and an example; also minibot VERB --help",
        ]
    )


def _filled(name: str, verbs: tuple[str, ...], width: int) -> list[str]:
    """Return a group's name and its verbs, wrapped between verbs."""
    lines, label = [], name
    rest = list(verbs)
    while rest:
        line = f"  {label:<{_NAME_WIDTH}}{rest.pop(0)}"
        while rest and len(line) + 2 + len(rest[0]) <= width:
            line += f"  {rest.pop(0)}"
        lines.append(line)
        label = ""
    return lines
