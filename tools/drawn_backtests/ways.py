"""Ways of running one backtest: with bars as rows, as events, and with cores that restart."""

from __future__ import annotations

import importlib
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from minibot.backtest.driver import run_cores
from minibot.cores.messages import Message
from minibot.cores.protocol import Core, Input
from minibot.engine.decisions import DecisionDigest
from minibot.engine.lockstep import Lockstep, fresh_cores
from minibot.engine.market_source import NOBODY, MarketSource, Root, Watch
from minibot.engine.run_result import NO_CMDLINE, BacktestResult
from minibot.events.model import Event, JsonObject
from minibot.events.names import STRATEGY_ROLE
from minibot.events.roles import Roles
from minibot.runtime.configuration.config import Config
from minibot.strategies.core import StrategyCore

States = dict[str, Any]
"""The last state of each core."""
RESTARTS: Final = 0.02
"""The share of a core's inputs before which it restarts."""


class AsEvents:
    """Source that gives its ticks as events, whatever else it could do."""

    def __init__(self, source: MarketSource) -> None:
        """Take the source."""
        self.name, self.symbols = source.name, source.symbols
        self.origin_ms, self.end_ms = source.origin_ms, source.end_ms
        self.interval_ms, self.assumptions = source.interval_ms, source.assumptions
        self._source = source

    def roots(self, watch: Watch = NOBODY) -> Iterator[Root]:
        """Yield the source's events."""
        return self._source.roots(watch)


class Noting(Core):
    """Strategy core that notes each root event; any core but the shipped one is fed events."""

    TAKES = StrategyCore.TAKES

    def __init__(self, core: Core) -> None:
        """Take the core that decides."""
        self.core = core
        self.roots: list[tuple[Event, int]] = []

    def process(self, item: Input, seq: int, now: int) -> list[Message] | None:
        """Note an event with its line; return what the core answers."""
        if isinstance(item, Event):
            self.roots.append((item, seq))
        return self.core.process(item, seq, now)

    def state(self) -> JsonObject:
        """Return the state of the core that decides."""
        return self.core.state()


def walked(config: Config, source: MarketSource) -> tuple[BacktestResult, States]:
    """Return the result of a backtest and the last state of each core."""
    cores = fresh_cores(config.raw)
    result = run_cores(source, config, cores)
    return result, _states(cores)


def noted(
    config: Config, source: MarketSource
) -> tuple[BacktestResult, States, Sequence[tuple[Event, int]]]:
    """Return result and last states of a backtest by events alone, and its root events.

    Each root event comes with its line.
    """
    cores = fresh_cores(config.raw)
    strategy = cores[STRATEGY_ROLE] = Noting(cores[STRATEGY_ROLE])
    result = run_cores(source, config, cores)
    return result, _states(cores), strategy.roots


def restarted(
    config: Config, roots: Sequence[tuple[Event, int]], chance: random.Random
) -> tuple[str, States, list[str]]:
    """Return digest and last states of cores that restart now and then, each alone.

    Args:
        config: The profile.
        roots: The root events, each with its line.
        chance: Draws before which inputs a core restarts.

    Returns:
        The decision digest, the last states, and the roles whose state changed in a restart.
    """
    digest = DecisionDigest()
    changed: list[str] = []
    cores = {
        role: _restarting(role, core, config.raw, chance, changed)
        for role, core in fresh_cores(config.raw).items()
    }
    roles = Roles.of_project()
    hashes = dict.fromkeys(roles.cores, NO_CMDLINE)
    lockstep = Lockstep(cores, roles, cmdline_hashes=hashes, take=digest.add)
    for event, seq in roots:
        lockstep.process(event, seq)
    return digest.hex, _states(cores), changed


def _restarting(
    role: str, fresh: Core, config: JsonObject, chance: random.Random, changed: list[str]
) -> Core:
    """Return a core that is made anew from its state as JSON before some of its inputs."""
    module = importlib.import_module(str(Roles.of_project().roles[role].core))

    class Restarting(Core):
        TAKES = fresh.TAKES
        core = fresh

        def process(self, item: Input, seq: int, now: int) -> list[Message] | None:
            if chance.random() < RESTARTS:
                state = json.loads(json.dumps(self.core.state()))
                self.core = module.core_from_state(config, state)
                if self.core.state() != state:
                    changed.append(role)
            return self.core.process(item, seq, now)

        def state(self) -> JsonObject:
            return self.core.state()

    return Restarting()


def _states(cores: Mapping[str, Core]) -> States:
    states = {name: core.state() for name, core in cores.items()}
    for view in states[STRATEGY_ROLE]["symbols"].values():
        del view["now"]  # Set anew whenever a strategy is shown anything.
    return states
