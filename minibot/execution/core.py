"""The core that `execution_role` runs: always the paper executor of the NORE night."""

from __future__ import annotations

from minibot.events.model import JsonObject
from minibot.execution.paper_executor_nore_v1 import PaperExecutorNoreV1


def core_from_config(config: JsonObject) -> PaperExecutorNoreV1:
    """Return a fresh executor from the whole resolved configuration."""
    return PaperExecutorNoreV1(config)


def core_from_state(config: JsonObject, state: JsonObject) -> PaperExecutorNoreV1:
    """Return the executor that a `state()` described."""
    return PaperExecutorNoreV1.from_state(config, state)
