"""The same backtest under each fill assumption: the band in which a result has to be read.

Whoever reads one number believes the assumption behind it. Three numbers side by side show how much
of a result is the market's and how much the assumption's.
"""

from __future__ import annotations

from collections.abc import Callable

from minibot.backtest.jobs import Job, run_job
from minibot.backtest.result import BacktestResult
from minibot.backtest.workers import in_parallel
from minibot.execution.fill_models import FILL_MODELS
from minibot.execution.fills import TOUCH

KEY = "execution.fill_model"

OnDone = Callable[[int, int], None]
"""Told how many of how many are done."""


def night_assumption(job: Job) -> str:
    """Return what the profile itself assumes, as a night with it does."""
    return str(job.config.raw["execution"].get("fill_model", TOUCH))


def run_band(
    job: Job, jobs: int, on_done: OnDone = lambda done, whole: None
) -> dict[str, BacktestResult]:
    """Return the result under every fill assumption by its name, the night's own first.

    Args:
        job: The backtest.
        jobs: How many processes to use.
        on_done: Told after each.
    """
    own = night_assumption(job)
    names = [own, *(name for name in FILL_MODELS if name != own)]
    tasks = [job.changed(f"{KEY}={name}") for name in names]
    results: dict[str, BacktestResult] = {}
    for name, result in zip(names, in_parallel(run_job, tasks, jobs), strict=True):
        results[name] = result
        on_done(len(results), len(names))
    return results
