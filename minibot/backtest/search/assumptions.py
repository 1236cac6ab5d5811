"""The same backtest under each fill assumption: the band in which a result has to be read.

Whoever reads one number believes the assumption behind it. Three numbers side by side show how much
of a result is the market's and how much the assumption's.
"""

from __future__ import annotations

from collections.abc import Callable

from minibot.backtest.search.backtest_job import Job, run_job
from minibot.backtest.sources.recorded_run import RULE, RunSource
from minibot.backtest.sources.source_spec import RUN
from minibot.engine.run_result import BacktestResult
from minibot.engine.worker_pool import in_parallel
from minibot.execution.fill_models import FILL_MODELS

KEY = "execution.fill_model"

OnDone = Callable[[int, int], None]
"""Told how many of how many are done."""


def night_assumption(job: Job) -> str:
    """Return what the profile itself assumes, as a night with it does."""
    return job.config.execution.fill_model


def is_night(job: Job) -> bool:
    """Return whether a job is a recorded night with its own profile, gone through in its order."""
    if not job.words[0].startswith(f"{RUN}:"):
        return False
    market = job.open()
    return isinstance(market, RunSource) and market.is_night_of(job.config)


def band_jobs(job: Job) -> dict[str, Job]:
    """Return what to run, by the name of its line, what the night itself assumes first.

    A recorded night stands first as it was. All three assumptions then go by rule order, so that
    they differ from each other in their fills alone and not in who came first.
    """
    own = night_assumption(job)
    names = [own, *(name for name in FILL_MODELS if name != own)]
    found = {f"night ({own})": job} if is_night(job) else {}
    ruled = job._replace(order=RULE)
    return found | {name: ruled.changed(f"{KEY}={name}") for name in names}


def run_band(
    job: Job, jobs: int, on_done: OnDone = lambda done, whole: None
) -> dict[str, BacktestResult]:
    """Return the result under every fill assumption by its name, the night's own first.

    Args:
        job: The backtest.
        jobs: How many processes to use.
        on_done: Told after each.
    """
    tasks = band_jobs(job)
    results: dict[str, BacktestResult] = {}
    for name, result in zip(tasks, in_parallel(run_job, list(tasks.values()), jobs), strict=True):
        results[name] = result
        on_done(len(results), len(tasks))
    return results
