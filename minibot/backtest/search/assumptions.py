"""Fill assumptions: the same backtest under each, as the band of its result.

A single number depends on the assumption behind it. Three numbers side by side show how much of a
result comes from the market and how much from the assumption.
"""

from __future__ import annotations

from collections.abc import Callable

from minibot.backtest.report.review import Review
from minibot.backtest.search.backtest_job import Job, run_job
from minibot.backtest.sources.recorded_run import RULE, RunSource
from minibot.backtest.sources.source_spec import RUN
from minibot.engine.worker_pool import Workers, result_of
from minibot.execution.fill_models import FILL_MODELS

KEY = "execution.fill_model"

OnDone = Callable[[int, int], None]
"""Told how many of how many are done."""


def night_assumption(job: Job) -> str:
    """Return the fill assumption of the profile itself, as of a night with it."""
    return job.config.execution.fill_model


def is_night(job: Job) -> bool:
    """Return whether a job is a recorded night with its own profile, in recorded order."""
    if not job.words[0].startswith(f"{RUN}:"):
        return False
    market = job.open()
    return isinstance(market, RunSource) and market.is_night_of(job.config)


def band_jobs(job: Job) -> dict[str, Job]:
    """Return the jobs to run by the name of their line, the profile's own assumption first.

    A recorded night comes first as it was. All three assumptions then run in rule order, so they
    differ from each other in their fills alone and not in the order of events.
    """
    own = night_assumption(job)
    names = [own, *(name for name in FILL_MODELS if name != own)]
    found = {f"night ({own})": job} if is_night(job) else {}
    ruled = job._replace(order=RULE)
    return found | {name: ruled.changed(f"{KEY}={name}") for name in names}


def run_band(job: Job, jobs: int, on_done: OnDone = lambda done, whole: None) -> dict[str, Review]:
    """Return the review under every fill assumption by its name, the profile's own first.

    This process runs the first, of which the page draws every signal, and so sends none of its
    events; workers run the others beside it, and keep theirs but for the digest.

    Args:
        job: The backtest.
        jobs: Number of processes to use.
        on_done: Called after each backtest.
    """
    tasks = band_jobs(job)
    first, *others = tasks.values()
    reviews: list[Review] = []
    with Workers(jobs) as workers:
        # A page shows the lines of the first alone.
        others = [other._replace(draws=False) for other in others]
        begun = [workers.begin(review_of, other) for other in others] if jobs > 1 else []
        reviews.append(Review.of(run_job(first)))
        on_done(1, len(tasks))
        for review in map(result_of, begun) if begun else map(review_of, others):
            reviews.append(review)
            on_done(len(reviews), len(tasks))
    return dict(zip(tasks, reviews, strict=True))


def review_of(job: Job) -> Review:
    """Return the review of a job with its digest, without the events that it was made of."""
    result = run_job(job)
    review = Review.of(result)
    result.forget_events()
    return review
