"""Opens the source that the word `embedded.source` names."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from minibot.exchanges.embedded.frames import Source
from minibot.exchanges.embedded.tape import DEMO_TAPE, Tape
from minibot.kernel.errors import ConfigError

PROJECT: Final = Path(__file__).resolve().parents[3]


def find(text: str) -> Path:
    """Return the path of a file or folder, relative to the working folder or to the project."""
    path = Path(text)
    for candidate in (path, PROJECT / path):
        if candidate.exists():
            return candidate
    return path


def open_source(word: str, rate_per_s: int) -> Source:
    """Return the source.

    Args:
        word: `tape:FILE`, `tape:demo`, `klines:FILE`, `run:DIR` or `generator:SEED`.
        rate_per_s: Messages per second of market time, for sources that make their own.

    Raises:
        ConfigError: The word has none of these forms.
        Refusal: The source cannot be played.
    """
    kind, _, rest = word.partition(":")
    if kind == "tape" and rest == "demo":
        return Tape(DEMO_TAPE, word)
    if kind == "tape" and rest:
        return Tape(find(rest), word)
    raise ConfigError(
        f"embedded.source: {word!r} is no source.",
        ["tape:FILE, tape:demo, klines:FILE, run:DIR or generator:SEED is allowed"],
    )
