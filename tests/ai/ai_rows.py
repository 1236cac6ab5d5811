"""Rows for trainings of the tests: some follow a rule, others are noise."""

from __future__ import annotations

import random

from minibot.ai.booster import LightGbm
from minibot.ai.dataset import Dataset, Source
from minibot.ai.model_text import cut_behind_trees
from minibot.ai.row_ring import Row
from minibot.ai.vector import FEATURES, SCALE

RUN_ID = "20251120_000000"


def dataset(
    seed: int, *, rows: int = 400, noise: float = 0.1, step_ms: int = 1000, from_ms: int = 0
) -> Dataset:
    """Return rows whose label follows the first feature, except for a share of noise."""
    chance = random.Random(seed)
    made = []
    for number in range(rows):
        features = [chance.randrange(-10 * SCALE, 10 * SCALE) for _ in FEATURES]
        for name in ("taker_buy_share_5", "taker_buy_share_20"):
            features[FEATURES.index(name)] = chance.randrange(0, SCALE)
        label = 0 if features[0] < -3 * SCALE else 2 if features[0] > 3 * SCALE else 1
        if chance.random() < noise:
            label = chance.randrange(3)
        made.append(Row(from_ms + number * step_ms, "BTCUSDT", tuple(features), label))
    return Dataset(made, [Source(RUN_ID, "market_ticks", 1, rows)])


def model_text(seed: int = 1) -> str:
    """Return a small model in LightGBM's text, without the part after its trees."""
    data = dataset(seed, rows=300)
    return cut_behind_trees(
        LightGbm().train(
            [row.features for row in data.rows],
            [row.label for row in data.rows],
            FEATURES,
            rounds=5,
            seed=seed,
        )
    )
