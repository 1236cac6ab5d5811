"""Fill assumptions: the same backtest under several, as the band of its result.

A single number depends on its assumption. One number for each assumption shows how much of a
result comes from the market and how much from the assumption. The band has all of `FILL_MODELS`;
`book`, which needs recorded books, is in it only as the profile's own.

`touch` and `queue` differ only in resting limit orders. A backtest under one of them that
sent no limit order is therefore the backtest under the other too, and is not run again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from minibot.backtest.report.review import Review
from minibot.backtest.search.backtest_job import Job, run_job
from minibot.backtest.sources.source_words import RULE, RUN
from minibot.engine.collector import spared_collector
from minibot.engine.decision_record import DecisionRecord
from minibot.engine.worker_pool import Workers, result_of
from minibot.execution.fill_models import FILL_MODELS
from minibot.execution.fills import QUEUE, TOUCH

KEY = "execution.fill_model"

OnDone = Callable[[int, int], None]
"""Called with the number of backtests done and their total."""

OnFirst = Callable[[Review], None]
"""Called with the first review, while workers run the others."""


def night_assumption(job: Job) -> str:
    """Return the profile's own fill assumption, which a night uses."""
    return job.config.execution.fill_model


def is_night(job: Job) -> bool:
    """Return whether a job is a recorded run with its own profile, in recorded order."""
    if not job.words[0].startswith(f"{RUN}:"):
        return False
    from minibot.backtest.sources.recorded_run import RunSource

    market = job.open()
    return isinstance(market, RunSource) and market.is_night_of(job.config)


def band_jobs(job: Job) -> dict[str, Job]:
    """Return the jobs of the band by the names of its lines.

    A recorded run of `is_night` comes first, in recorded order. Then come the profile's own
    assumption and the others of `FILL_MODELS`, all in rule order, so they differ from each other
    only in fills.
    """
    own = night_assumption(job)
    names = [own, *(name for name in FILL_MODELS if name != own)]
    found = {f"night ({own})": job} if is_night(job) else {}
    ruled = job._replace(order=RULE)
    return found | {name: ruled.changed(f"{KEY}={name}") for name in names}


def run_band(
    job: Job,
    jobs: int,
    on_done: OnDone = lambda done, whole: None,
    on_first: OnFirst = lambda review: None,
) -> dict[str, Review]:
    """Return the reviews of the jobs of `band_jobs`, by the same names and in the same order.

    This process runs the first job and keeps the values of its signals for the page. The others
    run in parallel workers if `jobs` is above 1, else here; reviews of their own have no events or
    trades. The later of `touch` and `queue` waits for the earlier. If the earlier sent no limit
    order, its review without events, trades included, is taken for the later too; else this process
    runs the later.

    Args:
        job: The backtest.
        jobs: Number of processes to use.
        on_done: Called after each review, also one that was not run again.
        on_first: Called with the first review, while workers run the others.
    """
    tasks = band_jobs(job)
    reviews: dict[str, Review] = {}
    with Workers(jobs) as workers:
        # The later of a pair waits for the earlier, whose decisions mostly serve both. The page
        # draws a strategy's lines only under the first assumption.
        begun = {
            name: workers.begin(review_of, each._replace(draws=False))
            for at, (name, each) in enumerate(tasks.items())
            if at and jobs > 1 and _twin_of(name, list(tasks)[:at]) is None
        }
        for name, each in tasks.items():
            twin = reviews.get(_twin_of(name, list(reviews)) or "")
            if not reviews:
                review = reviews[name] = Review.of(run_job(each, DecisionRecord(is_for_page=True)))
                on_first(review)
            elif twin is not None and not twin.has_limit_orders:
                reviews[name] = twin.under(each.config.raw)
            elif name in begun:
                reviews[name] = result_of(begun[name])
            else:
                reviews[name] = review_of(each._replace(draws=False))
            on_done(len(reviews), len(tasks))
    return reviews


def _twin_of(name: str, others: Sequence[str]) -> str | None:
    """Return `queue` for `touch` and the reverse, if it is among the others; else None."""
    twin = {TOUCH: QUEUE, QUEUE: TOUCH}.get(name)
    return twin if twin in others else None


def review_of(job: Job) -> Review:
    """Return the review of a job with its digest, without events, trades and candles."""
    with spared_collector(is_last=True):
        result = run_job(job, DecisionRecord(is_for_page=False))
        review = Review.of(result)
        result.forget_events()
        # Candles and trades are drawn only for the first.
        result.prices = {symbol: [] for symbol in result.prices}
    return replace(review, trades=())
