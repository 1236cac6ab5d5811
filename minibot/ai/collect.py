"""Datasets from finished runs: verified lines of permitted queues of our own runs.

A run is our own when its folder lies under `var/runs`, bears its run id, and is sealed. Every line
is read through the journal (hash, chain, head) and the codec (contract, run id, command line), so
an edited, foreign or misplaced event ends the collection instead of entering it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from minibot.ai.dataset import Dataset, RowMaker, merged
from minibot.ai.rows import Windows
from minibot.ai.settings import AiSettings, market_of
from minibot.events.codec import Codec
from minibot.events.names import AI_ROLE
from minibot.events.registry import Contracts
from minibot.events.roles import PERMITTED_QUEUES, Roles
from minibot.kernel.errors import Refusal
from minibot.kernel.queue import open_reader
from minibot.kernel.seal import SEAL_FILE
from minibot.runtime.manifest import Manifest

_BATCH: Final = 1024


def collect(run_dirs: Sequence[Path], runs_root: Path, settings: AiSettings) -> Dataset:
    """Return the labelled rows of finished runs, in order of the runs.

    Raises:
        Refusal: A folder is not a sealed run of this `var`, is named twice (its rows would pass for
            twice as many), or played another market than the settings name.
        IntegrityError or ContractError: A queue of a run is damaged or holds foreign events.
    """
    known: set[Path] = set()
    for folder in (run_dir.resolve() for run_dir in run_dirs):
        if folder in known:
            raise Refusal(f"{folder.name} is named twice.", "Name each run once.")
        known.add(folder)
    return merged([_collect(run_dir, runs_root, settings) for run_dir in run_dirs])


def _collect(run_dir: Path, runs_root: Path, settings: AiSettings) -> Dataset:
    manifest = _own_run(run_dir, runs_root)
    market, wanted = market_of(manifest.config), settings.training.market
    if market != wanted:
        raise Refusal(
            f"{run_dir.name} played a {market} market, not a {wanted} one as the last run named.",
            "Train on runs of one kind only.",
        )
    contracts = Contracts.of_project()
    roles = Roles.of_project()
    codec = Codec(contracts, roles, manifest.run_id, manifest.cmdline_hashes(), AI_ROLE)
    maker = RowMaker(
        manifest.run_id,
        settings.permitted,
        Windows(list(manifest.symbols), settings.bar_interval, settings.trend_interval),
        bar_interval=settings.bar_interval,
        horizon_ms=settings.horizon_ms,
        label_bps_min=settings.label_bps_min,
    )
    # Only market data makes rows. Other permitted queues are read too, so that the manifest of a
    # model can never claim a queue that was not verified.
    for queue in sorted(settings.permitted & PERMITTED_QUEUES):
        reader = open_reader(run_dir / "queues", queue)
        try:
            while lines := reader.read(_BATCH):
                for line in lines:
                    maker.take(queue, line.seq, codec.decode(queue, line.json))
        finally:
            reader.close()
    return maker.dataset()


def _own_run(run_dir: Path, runs_root: Path) -> Manifest:
    if run_dir.resolve().parent != runs_root.resolve():
        raise Refusal(f"{run_dir} is not a run of {runs_root}.", "Train on runs of this var alone.")
    if not (run_dir / SEAL_FILE).exists():
        raise Refusal(
            f"{run_dir.name} is not sealed.",
            "Wait for its end; if it was interrupted, the next start seals it.",
        )
    manifest = Manifest.load(run_dir)
    if manifest.run_id != run_dir.name:
        raise Refusal(
            f"{run_dir} holds run {manifest.run_id}.", "Do not rename or copy runs of others."
        )
    return manifest
