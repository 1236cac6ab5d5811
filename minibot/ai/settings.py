"""Settings of the clerk from a run's configuration, checked once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from minibot.ai.dataset import check_permitted
from minibot.ai.isolation import level_min_here
from minibot.ai.training import REAL, SYNTHETIC, TrainingSettings
from minibot.ai.worker_supervisor import WorkerLimits
from minibot.cores.core_profile import venue_name
from minibot.kernel.errors import MinibotError
from minibot.runtime.manifest import Manifest
from minibot.runtime.paths import find

# The profile, and runs that are each played by the one before; an edited manifest may name itself.
_PROFILES_MAX: Final = 8


@dataclass(frozen=True, slots=True)
class AiSettings:
    """The AI's part of a profile; durations are market time."""

    run_id: str
    root: Path
    symbols: tuple[str, ...]
    permitted: frozenset[str]
    bar_interval: str
    trend_interval: str
    interval_ms: int
    stale_ms: int
    horizon_ms: int
    label_bps_min: float
    uses_model: bool
    trains: bool
    train_interval_ms: int
    is_required: bool
    limits: WorkerLimits
    training: TrainingSettings
    misbehave: str

    @property
    def memory_mb(self) -> int:
        """Return the memory limit of a sandboxed process in MB."""
        return self.training.memory_mb


def ai_settings(
    config: Mapping[str, Any], *, run_id: str, root: Path, symbols: tuple[str, ...]
) -> AiSettings:
    """Return the settings of a resolved configuration.

    Raises:
        ConfigError: `ai.permitted_queues` names a queue that the AI may not learn from.
    """
    ai = config["ai"]
    isolation_min = level_min_here(ai["isolation_min"])
    return AiSettings(
        run_id=run_id,
        root=root,
        symbols=symbols,
        permitted=check_permitted(ai["permitted_queues"]),
        bar_interval=config["strategy"]["bar_interval"],
        trend_interval=config["strategy"]["trend_interval"],
        interval_ms=ai["interval_market_ms"],
        stale_ms=config[venue_name(dict(config))]["tick_stale_market_ms"],
        horizon_ms=ai["horizon_ms"],
        label_bps_min=float(ai["label_bps_min"]),
        uses_model=ai["model"] == "lightgbm",
        trains=ai["train"],
        train_interval_ms=ai["train_interval_market_ms"],
        is_required=ai["required"],
        limits=WorkerLimits(isolation_min, ai["restarts_max"], ai["drafts_per_s_max"]),
        training=TrainingSettings(
            memory_mb=ai["memory_mb_max"],
            isolation_min=isolation_min,
            rows_min=ai["train_min_rows"],
            horizon_ms=ai["horizon_ms"],
            bar_interval=config["strategy"]["bar_interval"],
            trend_interval=config["strategy"]["trend_interval"],
            label_bps_min=ai["label_bps_min"],
            market=market_of(config),
            seed=config["seed"],
        ),
        misbehave=_misbehaviour(config.get("chaos")),
    )


def market_of(config: Mapping[str, Any]) -> str:
    """Return the market of a profile: `SYNTHETIC` where its prices may come from a seed, or `REAL`.

    A recorded run played again has the market of that run; where nothing tells it, as behind seven
    such runs, prices count as made. So do those of a server on this machine. A tape is taken for
    real.
    """
    for _ in range(_PROFILES_MAX):
        embedded = config["embedded"]
        if embedded is None:
            # Only hosts of this machine are spoken to without TLS.
            is_here = config[venue_name(dict(config))]["rest_url"].startswith("http:")
            return SYNTHETIC if is_here else REAL
        kind, _, rest = embedded["source"].partition(":")
        if kind != "run":
            return SYNTHETIC if kind == "generator" else REAL
        try:
            config = Manifest.load(find(rest)).config
        except (OSError, MinibotError):
            break
    return SYNTHETIC


def _misbehaviour(chaos: Mapping[str, Any] | None) -> str:
    """Return the misbehaviour of a chaos run, from `{"ai_worker": "hang"}`; empty for none."""
    return str((chaos or {}).get("ai_worker", ""))
