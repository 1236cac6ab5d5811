"""Fill models by name: `execution.fill_model` of the configuration."""

from __future__ import annotations

from typing import Final

from minibot.events.names import EXECUTION_ROLE
from minibot.events.reasons import CONFIG_INVALID
from minibot.execution.book_fills import BookFills
from minibot.execution.fills import BOOK, QUEUE, TOUCH, WORSE, FillModel, WorseFills
from minibot.execution.queue_fills import QueueFills
from minibot.kernel.errors import RunStop

FILL_MODELS: Final = (TOUCH, WORSE, QUEUE)
"""Models that a backtest compares; a profile without the key uses the first."""

BY_NAME: Final = (*FILL_MODELS, BOOK)
"""All names; `book` needs recorded books, so not every backtest can use it."""


def fill_model_of(name: str) -> FillModel:
    """Return a fresh model by its name, `execution.fill_model`.

    Raises:
        RunStop: CONFIG_INVALID, for a model that does not exist.
    """
    if name == TOUCH:
        return FillModel()
    if name == WORSE:
        return WorseFills()
    if name == QUEUE:
        return QueueFills()
    if name == BOOK:
        return BookFills()
    raise RunStop(
        EXECUTION_ROLE,
        CONFIG_INVALID,
        f"execution.fill_model: expected one of {', '.join(BY_NAME)}, found {name}",
    )
