"""Look-ahead check: no decision may depend on data after its moment.

The market is run once as it is. Then, for many moments, it is run again over data that is altered
after the moment (`perturbation`): every event up to the moment has to be the same, first the events
of the source, then those of strategy, risk and execution. The moments are times of
the cores' events, and random times of market events.

The proof covers these moments and this data. Values of feeds are not altered. Three kinds of
look-ahead change an event and are found so: a source that gives a bar's close before the bar has
closed, a model of ticks inside a bar that knows its end, and a strategy that reads the source past
its inputs. A strategy that keeps a copy of the data elsewhere is found when it opens the copy
(`file_access_check`), while it is constructed or while it decides.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b, sha256
from random import Random
from typing import Final, NamedTuple

import msgspec

from minibot.backtest.checks.file_access_check import Reads
from minibot.backtest.checks.perturbation import CUT, KINDS, Perturbation, Seen, perturbed
from minibot.backtest.checks.verdict import DECISIONS, MARKET, RANDOM, Finding, Verdict, as_json
from minibot.backtest.driver import run_cores
from minibot.backtest.search.backtest_job import Job, sound_market
from minibot.backtest.sources.bars import BarSource
from minibot.backtest.sources.feeds import Fed, with_feeds
from minibot.backtest.sources.portfolio import Merged
from minibot.backtest.sources.recorded_run import RunSource
from minibot.backtest.sources.span import Part
from minibot.cores.protocol import Core
from minibot.engine.lockstep import fresh_cores
from minibot.engine.market_source import NOBODY, MarketSource, Root, Watch
from minibot.engine.run_result import Derived
from minibot.engine.worker_pool import in_parallel
from minibot.events.model import Beat, JsonObject, MarketTick
from minibot.events.money import parse_amount
from minibot.events.names import SIGNALS, TICKS
from minibot.exchanges.tapes.kline_bars import next_open, open_of
from minibot.kernel.errors import Refusal, RunStop

MakeCores = Callable[[JsonObject], Mapping[str, Core]]
OnDone = Callable[[int, int], None]

DIGEST_BYTES: Final = 16
# Largest number of findings in a verdict, one for a run: each costs two more runs.
SHOWN_MAX: Final = 5


class Trace(NamedTuple):
    """Trace up to a moment: the number of root and derived events, and a digest of them."""

    roots: int
    derived: int
    digest: str


@dataclass(frozen=True, slots=True)
class Probe:
    """One moment, and one way to alter the data after it."""

    job: Job
    change: Perturbation
    make_cores: MakeCores = fresh_cores


class _Watched:
    """A source whose events are recorded as it yields them, up to a moment."""

    def __init__(self, source: MarketSource, until: int | None, end_ms: int | None) -> None:
        self.name, self.symbols = source.name, source.symbols
        self.origin_ms, self.end_ms = source.origin_ms, end_ms
        self.interval_ms, self.assumptions = source.interval_ms, source.assumptions
        self.source = source
        self.ts: list[int] = []
        self.digests: list[bytes] = []
        self.kept: list[Root] = []
        # After each kept tick of a position: the levels that `Intrabar.ticks` gets next.
        self.levels: dict[tuple[str, int], Sequence[int]] = {}
        self._until = until
        self.keeps = False
        self.reads = Reads()

    def roots(self, watch: Watch = NOBODY) -> Iterator[Root]:
        """Yield the events up to the moment, or until altered data make the source fail.

        An unrecorded beat just after the moment ends them, so that a `run_ending` due between the
        last event and the moment is sent too.
        """
        roots = self.source.roots(watch)
        while (root := self._next(roots)) is not None:
            if self._until is not None and root.ts > self._until:
                break
            self.ts.append(root.ts)
            self.digests.append(_digest(root.queue, root.ts, root.payload))
            if self.keeps:
                self.kept.append(root)
            # The cores process this event until they ask for the next one.
            self.reads.ts, self.reads.is_on = root.ts, True
            yield root
            self.reads.is_on = False
            tick = root.payload
            if self.keeps and isinstance(tick, MarketTick) and watch.is_held(tick.symbol):
                self.levels[tick.symbol, root.ts] = watch.levels(tick.symbol)
        if self._until is not None:
            yield Root(Beat(0, {}), self._until + 1)

    def _next(self, roots: Iterator[Root]) -> Root | None:
        try:
            return next(roots, None)
        except (RunStop, Refusal, ValueError, LookupError):
            # Altered messages contradict each other sooner or later, and a cut may leave no bar.
            if self._until is None:
                raise
            return None


class _Base:
    """The unaltered market, and the events that the cores derived from it."""

    def __init__(self, job: Job, make_cores: MakeCores) -> None:
        config = job.config
        self.market = _Watched(with_feeds(sound_market(job), config), None, None)
        self.market.end_ms = self.market.source.end_ms
        self.intervals = _intervals(self.market.source)
        self.market.keeps = bool(self.intervals)
        with self.market.reads.listening():
            self.market.reads.is_on = True
            cores = make_cores(config.raw)
            self.market.reads.is_on = False
            result = run_cores(self.market, config, cores)
        self.derived = result.derived
        self.derived_digests = [_derived_digest(item) for item in self.derived]
        self._highest: list[int] = []
        for ts in self.market.ts:
            self._highest.append(max(ts, self._highest[-1] if self._highest else ts))

    def trace(self, ts: int) -> Trace:
        """Return the trace up to a moment."""
        count = bisect_right(self._highest, ts)
        derived = [
            digest
            for digest, item in zip(self.derived_digests, self.derived, strict=True)
            if item.event.ts <= ts
        ]
        return _trace(self.market.digests[:count], derived)

    def modelled(self) -> int:
        """Return the number of signals decided on modelled ticks inside bars."""
        ticks = [root.payload for root in self.market.kept if root.queue == TICKS]
        seqs = [item.event.tick_seq for item in self.derived if item.queue == SIGNALS]
        causes = [ticks[seq - 1] for seq in seqs if seq is not None and ticks]
        return sum(isinstance(one, MarketTick) and one.symbol in self.intervals for one in causes)

    def seen(self, ts: int) -> dict[str, Seen]:
        """Return by symbol the seen prices of the bar that is unfinished at a moment."""
        return {symbol: self._seen(symbol, name, ts) for symbol, name in self.intervals.items()}

    def _seen(self, symbol: str, interval: str, ts: int) -> Seen:
        start = open_of(interval, ts)
        end = next_open(interval, start)
        bids: list[_Bid] = []
        for root in self.market.kept[bisect_right(self._highest, start) :]:
            if root.ts >= end:
                break
            if isinstance(root.payload, MarketTick) and root.payload.symbol == symbol:
                levels = self.market.levels.get((symbol, root.ts), ())
                bids.append(_Bid(root.ts, parse_amount(root.payload.price), levels))
        return _seen(bids, ts)


def check_lookahead(
    job: Job,
    jobs: int,
    *,
    decisions: int | None = DECISIONS,
    random_moments: int = RANDOM,
    make_cores: MakeCores = fresh_cores,
    on_done: OnDone = lambda done, whole: None,
) -> Verdict:
    """Check that no event depends on data after its moment, and return the verdict.

    Args:
        job: The backtest; its profile's seed determines the random moments and data.
        jobs: Number of processes to use.
        decisions: Number of moments to try at which a core made an event, spread evenly over all
            such moments; each gets one kind of alteration, in turn. None tries all of them.
        random_moments: Number of random moments to try; each gets every kind of alteration. A
            moment also chosen by `decisions` gets no kind twice.
        make_cores: Makes the cores of a resolved profile.
        on_done: Called with the runs done and their total.

    Raises:
        ConfigError: A source's bars do not make those that the strategy needs.
        Refusal: The strategy decided nothing, so that there is nothing to check.
        RunStop: The market or a core fails even on unaltered data; a STOP by risk is no failure.
    """
    base = _Base(job, make_cores)
    if not any(item.queue == SIGNALS for item in base.derived):
        raise Refusal(
            f"{', '.join(job.words)}: nothing was decided; no decision could be checked.",
            "Use a longer time range: the strategy decides on bars of "
            f"{job.config.strategy.bar_interval}.",
        )
    seed = job.config.seed
    kinds = _kinds(base.market.source)
    moments = _moments(base, decisions, random_moments, seed, kinds)
    probes = [
        Probe(job, Perturbation(ts, kind, seed, base.seen(ts)), make_cores) for ts, kind in moments
    ]
    verdict = Verdict(len({ts for ts, _ in moments}), _decision_count(base, moments))
    verdict.reads, verdict.modelled = base.market.reads.found, base.modelled()
    verdict.is_cut_alone = kinds == (CUT,)
    verdict.feeds = tuple(sorted(job.config.market.feeds or {}))
    for probe, trace in zip(probes, in_parallel(trace_of, probes, jobs), strict=True):
        verdict.runs += 1
        if trace != base.trace(probe.change.ts):
            verdict.differing += 1
            if len(verdict.findings) < SHOWN_MAX:
                verdict.findings.append(_finding(probe))
        on_done(verdict.runs, len(probes))
    return verdict


_opened: dict[str, MarketSource] = {}


def _market_of(job: Job) -> MarketSource:
    """Return a job's market with feeds; the last one is kept, as opening files is slow."""
    key = repr(job)
    if key not in _opened:
        _opened.clear()
        _opened[key] = with_feeds(job.open(), job.config)
    return _opened[key]


def trace_of(probe: Probe) -> Trace:
    """Return the trace up to a probe's moment over the altered data."""
    market, derived = _altered_run(probe, keeps=False)
    return _trace(market.digests, [_derived_digest(item) for item in derived])


def _altered_run(probe: Probe, *, keeps: bool) -> tuple[_Watched, list[Derived]]:
    ts, config = probe.change.ts, probe.job.config
    source = _market_of(probe.job)
    market = _Watched(perturbed(source, probe.change), ts, source.end_ms)
    market.keeps = keeps
    result = run_cores(market, config, probe.make_cores(config.raw))
    return market, [item for item in result.derived if item.event.ts <= ts]


# --- moments ----------------------------------------------------------------------------------


def _kinds(source: MarketSource) -> tuple[str, ...]:
    """Return the kinds of alteration for a source: finished events can only be cut."""
    while isinstance(source, Part | Fed):
        source = source.source
    return (CUT,) if isinstance(source, RunSource) else KINDS


def _moments(
    base: _Base, decisions: int | None, random_moments: int, seed: int, kinds: Sequence[str]
) -> list[tuple[int, str]]:
    """Return the moments with the kind of alteration for each, oldest first."""
    decided = sorted({item.event.ts for item in base.derived})
    if decisions is not None and len(decided) > decisions:
        last = len(decided) - 1
        places = sorted({round(n * last / max(1, decisions - 1)) for n in range(decisions)})
        decided = [decided[place] for place in places]
    found = [(ts, kinds[n % len(kinds)]) for n, ts in enumerate(decided)]
    stamps = sorted(set(base.market.ts))
    drawn = Random(seed).sample(stamps, min(random_moments, len(stamps)))
    found += [(ts, kind) for ts in drawn for kind in kinds]
    return sorted(dict.fromkeys(found))


def _decision_count(base: _Base, moments: Sequence[tuple[int, str]]) -> int:
    stamps = {ts for ts, _ in moments}
    return len({item.event.ts for item in base.derived} & stamps)


def _intervals(source: MarketSource) -> dict[str, str]:
    """Return the bar interval of every symbol whose market is made of bars."""
    if isinstance(source, BarSource):
        return {source.series.symbol: source.series.interval}
    if isinstance(source, Part | Fed):
        return _intervals(source.source)
    if isinstance(source, Merged):
        return {name: each for part in source.sources for name, each in _intervals(part).items()}
    return {}


class _Bid(NamedTuple):
    """Price of a tick inside a bar, and the levels of the position after it."""

    at: int
    price: int
    levels: Sequence[int]


def _seen(bids: Sequence[_Bid], ts: int) -> Seen:
    past = tuple(bid.price for bid in bids if bid.at <= ts)
    if not past:
        return Seen()
    whole = [bid.price for bid in bids]
    left = bids[len(past) :]
    is_close = all(bid.price == past[-1] for bid in left)
    way = _way(bids[len(past) - 1], left[0], ts) if left else 0
    return Seen(past, min(past) == min(whole), max(past) == max(whole), is_close, way)


def _way(last: _Bid, following: _Bid, ts: int) -> int:
    """Return `Seen.way` between two ticks, the time of a level as `Intrabar.ticks` has it."""
    # Later moments belong to other pairs: a pair's own moments are the times of its ticks.
    if ts < max(last.at + 1, last.at + (following.at - last.at) // 2):
        return 0
    way = (following.price > last.price) - (following.price < last.price)
    # Without a level ahead none can be met, however far the altered price goes.
    return way if any((level - last.price) * way > 0 for level in last.levels) else 0


# --- differences ------------------------------------------------------------------------------


def _finding(probe: Probe) -> Finding:
    """Return the first event that differs; both runs are repeated and keep all events."""
    again = Probe(probe.job, Perturbation(probe.change.ts, "", 0), probe.make_cores)
    plain = _plain_run(again)
    other = _altered_run(probe, keeps=True)
    ts, kind = probe.change.ts, probe.change.kind
    roots = [[_shown(MARKET, r.ts, r.payload.TYPE, r.payload.to_json()) for r in market.kept]
             for market, _ in (plain, other)]  # fmt: skip
    found = _first_other(*roots)
    if found is None:
        sides = [
            [_shown(d.queue, d.event.ts, d.event.type, d.event.payload.to_json()) for d in derived]
            for _, derived in (plain, other)
        ]
        found = _first_other(*sides)
    before, after = found or ({}, {})
    one = before or after
    where, event_ts = str(one.get("where", MARKET)), int(one.get("ts", ts))
    return Finding(ts, kind, where, event_ts, before, after)


def _plain_run(probe: Probe) -> tuple[_Watched, list[Derived]]:
    ts, config = probe.change.ts, probe.job.config
    source = with_feeds(probe.job.open(), config)
    market = _Watched(source, ts, source.end_ms)
    market.keeps = True
    result = run_cores(market, config, probe.make_cores(config.raw))
    return market, [item for item in result.derived if item.event.ts <= ts]


def _shown(where: str, ts: int, kind: str, payload: JsonObject) -> JsonObject:
    return {"where": where, "ts": ts, "type": kind, "payload": payload}


def _first_other(
    before: Sequence[JsonObject], after: Sequence[JsonObject]
) -> tuple[JsonObject, JsonObject] | None:
    for one, other in zip(before, after, strict=False):
        if as_json(one) != as_json(other):
            return one, other
    if len(before) == len(after):
        return None
    shared = min(len(before), len(after))
    return (before[shared], {}) if len(before) > shared else ({}, after[shared])


# --- digests ----------------------------------------------------------------------------------


def _digest(queue: str, ts: int, payload: object) -> bytes:
    text = msgspec.json.encode((queue, ts, payload))
    return blake2b(text, digest_size=DIGEST_BYTES).digest()


def _derived_digest(item: Derived) -> bytes:
    event = item.event
    causes = list(event.cause_ids or ())
    return _digest(item.queue, event.ts, [event.id, causes, event.type, event.payload.to_json()])


def _trace(roots: Sequence[bytes], derived: Sequence[bytes]) -> Trace:
    total = sha256(b"".join(roots))
    total.update(b"".join(derived))
    return Trace(len(roots), len(derived), total.hexdigest())
