"""M5: seven hours of trouble in seven minutes, without one wrong event.

Four hundred made symbols at sixty times the speed of time; every ten minutes of market time
another fault: cuts, stalls, bans, 429, server errors, shutdowns, gaps, repeats, old snapshots,
garbage, dead REST. Each written event is judged by means other than the session's own: books
against a replay of the same synthetic market with a plain dictionary, trades by their ids, limits
by the exchange's counts. Value: violations of any kind.
"""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, Final, Protocol

import orjson
import psutil

from minibot.events.model import Book, Gap, MarketTick, Payload
from minibot.exchanges.base import TRADE
from minibot.kernel.errors import Refusal
from tools.bench.frame import Limit, Measure, median
from tools.bench.market_exchange import Market, symbols_of
from tools.bench.market_session import ANSWER_S, LOOK_S, Running

SYMBOLS: Final = 400
SPEED: Final = 60
HOURS: Final = 7.0
# Messages in a second of wall-clock time; the goal is twice as many.
RATE_PER_S: Final = 3_000
FAULT_EVERY_MARKET_S: Final = 600.0
# Books of every tenth symbol are compared, twice a minute: 33,600 of each run of seven hours.
WATCHED_EVERY: Final = 10
BOOK_INTERVAL_MS: Final = 30_000
WEIGHT_ALLOWED: Final = 3_000
# Requests that may be under way when a limit is announced: each of them is counted, too.
REQUESTS_AT_ONCE: Final = 4
# A second of the exchange's own slowness is a minute of outage at sixty times the speed.
ANSWER_S_MAX: Final = 1.0
# Memory of the last eighth against the second one.
GROWTH_MAX_MB: Final = 40.0

FAULTS: Final[tuple[dict[str, Any], ...]] = (
    {"name": "drop"},
    {"name": "stall", "ms": 45_000},
    {"name": "429", "retry_after": 20},
    {"name": "gap", "n": 40},
    {"name": "5xx", "n": 4},
    {"name": "shutdown", "lead_ms": 20_000},
    {"name": "missing_trades", "n": 30},
    {"name": "418", "ban_ms": 120_000},
    {"name": "duplicate_trades", "n": 30},
    {"name": "close_1008"},
    {"name": "garbage", "kind": "partial_json", "n": 3},
    {"name": "old_snapshot", "n": 6},
    {"name": "crossed_depth", "n": 5},
    {"name": "repeated_diff", "n": 30},
    {"name": "unreachable", "ms": 60_000},
    {"name": "html403", "n": 2},
    {"name": "slow", "ms": 60_000, "delay_ms": 20_000},
    {"name": "disconnect_24h"},
    {"name": "no_ping", "ms": 120_000},
    {"name": "outlier_price", "n": 3},
    {"name": "stray_removal", "n": 10},
)


class Plan(Protocol):
    """Plan of the bench, as far as this measure needs it."""

    def tell(self, runs: int, run_s: float) -> None:
        """Print the expected time when many runs take long."""


class Judge:
    """Judge of every event that the session writes."""

    def __init__(self, symbols: Sequence[str]) -> None:
        self.violations: Counter[str] = Counter()
        self.watched = {name: number for number, name in enumerate(symbols[::WATCHED_EVERY])}
        # Symbol, update id and a digest of both sides, for every watched book.
        self.books = array("q")
        self.ticks = 0
        self.gaps = 0
        self._trade_ids: dict[str, int] = {}
        self._told: set[str] = set()

    def judge(self, payloads: Sequence[tuple[Payload, int]]) -> None:
        """Judge written events, in order."""
        for payload, _ in payloads:
            if isinstance(payload, MarketTick):
                self.ticks += 1
                if payload.trade_id is not None:
                    self._trade(payload.symbol, payload.trade_id)
            elif isinstance(payload, Gap):
                self.gaps += 1
                if payload.stream == TRADE:
                    self._told.add(payload.symbol)
            elif isinstance(payload, Book) and payload.symbol in self.watched:
                number = self.watched[payload.symbol]
                text = digest(payload.bids, payload.asks)
                self.books.extend((number, payload.last_update_id, text))

    def _trade(self, symbol: str, trade_id: int) -> None:
        last = self._trade_ids.get(symbol)
        self._trade_ids[symbol] = trade_id
        if last is None or trade_id == last + 1:
            return
        if trade_id <= last:
            self.violations["trade twice or out of order"] += 1
        elif symbol not in self._told:
            self.violations["trades missing and not told"] += 1
        self._told.discard(symbol)


def digest(bids: Sequence[Sequence[str]], asks: Sequence[Sequence[str]]) -> int:
    """Return a number for the levels of a book, the same in one process."""
    return hash((tuple(map(tuple, bids)), tuple(map(tuple, asks))))


# --- the plain book -----------------------------------------------------------------------------


def wrong_books(judge: Judge, market: Market, levels: int) -> Iterator[str]:
    """Yield a sentence for each wrong book that the session has written.

    The market is generated again, symbol by symbol, and its diffs are applied to a dictionary.
    """
    wanted: dict[int, dict[int, int]] = {}
    for index in range(0, len(judge.books), 3):
        number, update_id, text = judge.books[index : index + 3]
        wanted.setdefault(number, {})[update_id] = text
    for name, number in judge.watched.items():
        yield from _wrong_of(name, wanted.get(number, {}), market, levels)


def _wrong_of(name: str, wanted: dict[int, int], market: Market, levels: int) -> Iterator[str]:
    opening = market.facts.opening_books[name]
    sides: list[dict[str, str]] = [dict(opening["bids"]), dict(opening["asks"])]
    left = dict(wanted)
    left.pop(opening["lastUpdateId"], None)
    for frame in market.frames_of(name):
        if not left:
            return
        if b'"depthUpdate"' not in frame.data:
            continue
        diff = orjson.loads(frame.data)
        for side, rows in zip(sides, (diff["b"], diff["a"]), strict=True):
            for price, qty in rows:
                if float(qty):
                    side[price] = qty
                else:
                    side.pop(price, None)
        if diff["u"] in left and left.pop(diff["u"]) != _plain_digest(sides, levels):
            yield f"{name} at {diff['u']}"
        if diff["u"] > max(left, default=0):
            yield from (f"{name} at {unknown}: no such update" for unknown in left)
            return


def _plain_digest(sides: list[dict[str, str]], levels: int) -> int:
    bids = sorted(sides[0].items(), key=lambda row: -float(row[0]))[:levels]
    asks = sorted(sides[1].items(), key=lambda row: float(row[0]))[:levels]
    return digest(bids, asks)


# --- the run ------------------------------------------------------------------------------------


class Hours:
    """One run over a number of market hours."""

    def __init__(
        self, rate_per_s: int, hours: float, speed: int = SPEED, symbols: int = SYMBOLS
    ) -> None:
        self.names = symbols_of(symbols)
        self.speed = speed
        self.rate = max(1, rate_per_s // speed)
        self.machine_s = hours * 3_600 / speed
        self.fault_every_s = FAULT_EVERY_MARKET_S / speed
        self.judge = Judge(self.names)
        self.rss_mb: list[float] = []
        self.weights: list[int] = []
        self.answers_s: list[float] = []
        self.faults: Counter[str] = Counter()
        self.figures: dict[str, int] = {}
        self.sent = 0
        self.incidents: Counter[str] = Counter()

    def run(self) -> None:
        """Play the hours; `judge.violations` lists every violation."""
        process, random = psutil.Process(), Random(1)
        order = [fault for _ in range(1 + int(self.machine_s)) for fault in _shuffled(random)]
        with Running(
            len(self.names), self.rate, str(self.speed), self.judge.judge, BOOK_INTERVAL_MS
        ) as running:
            began = time.monotonic()
            due = began + self.fault_every_s
            while time.monotonic() < began + self.machine_s and not running.has_ended:
                time.sleep(0.25)
                self.rss_mb.append(process.memory_info().rss / 1e6)
                try:
                    asked = time.monotonic()
                    self.weights.append(int(running.exchange.status()["weight_used"]))
                    self.answers_s.append(time.monotonic() - asked)
                    if time.monotonic() >= due:
                        due += self.fault_every_s
                        self._inject(running, order[sum(self.faults.values())])
                except Refusal:
                    continue  # The exchange is unreachable because the fault says so.
            self._look(running)

    def _inject(self, running: Running, fault: dict[str, Any]) -> None:
        running.exchange.fault(**fault)
        self.faults[fault["name"]] += 1

    def _look(self, running: Running) -> None:
        violations = self.judge.violations
        if running.has_ended:
            said = "; ".join(running.world.last)
            violations[f"the session ended: {running.stopped} after {said}"] += 1
        status = _status_at_last(running)
        counters: dict[str, int] = status["counters"]
        self.sent, self.incidents = int(status["sent"]), running.world.notices
        self.figures = running.session.feed.figures()
        if counters.get("connections_refused", 0):
            violations["connections over the limit of the address"] += 1
        told = {"429": "answered_429", "418": "answered_418"}
        for fault, counter in told.items():
            if counters.get(counter, 0) > REQUESTS_AT_ONCE * self.faults[fault]:
                violations[f"requests after a {fault}"] += counters[counter]
        injected = self.faults["close_1008"] * len(running.session.connections.shards)
        if counters.get("closed_1008", 0) > injected:
            violations["control messages over the limit"] += counters["closed_1008"] - injected
        if max(self.weights, default=0) > WEIGHT_ALLOWED + REQUESTS_AT_ONCE * 50:
            violations[f"weight {max(self.weights)}"] += 1
        if int(status["order_calls"]):
            violations["order calls"] += 1
        mismatches = self.figures["book_mismatches"]
        if mismatches:
            violations["book differs from best quotes"] += mismatches

    def check_books(self) -> int:
        """Compare every watched book; return their number."""
        market = Market(1, self.names, self.rate)
        for wrong in wrong_books(self.judge, market, 20):
            self.judge.violations[f"wrong book: {wrong}"] += 1
        return len(self.judge.books) // 3

    @property
    def growth_mb(self) -> float:
        """Growth of memory from the second eighth to the last."""
        eighth = max(1, len(self.rss_mb) // 8)
        return median(self.rss_mb[-eighth:]) - median(self.rss_mb[eighth : 2 * eighth])


def _status_at_last(running: Running) -> dict[str, Any]:
    """Return the exchange's counts; the last fault may have made it unreachable.

    Raises:
        Refusal: The exchange does not come back.
    """
    deadline = time.monotonic() + ANSWER_S
    while True:
        try:
            return running.exchange.status()
        except Refusal:
            if time.monotonic() > deadline:
                raise
            time.sleep(LOOK_S)


def _shuffled(random: Random) -> list[dict[str, Any]]:
    faults = list(FAULTS)
    random.shuffle(faults)
    return faults


def measure(
    rate_per_s: int, hours: float = HOURS, speed: int = SPEED, *, is_goal: bool = False
) -> Measure:
    """Return M5 at one rate."""
    played = Hours(rate_per_s, hours, speed)
    played.run()
    compared = played.check_books()
    violations = played.judge.violations
    if played.growth_mb > GROWTH_MAX_MB:
        violations[f"memory grew by {played.growth_mb:.0f} MB"] += 1
    return Measure(
        "M5",
        f"{hours:g} hours at {speed}x, {SYMBOLS} symbols, {rate_per_s:,}/s: violations",
        float(sum(violations.values())),
        "violations",
        None if is_goal else Limit(0, 0, is_most=True),
        {
            "messages sent": [float(played.sent)],
            "ticks written": [float(played.judge.ticks)],
            "gaps told": [float(played.judge.gaps)],
            "books compared": [float(compared)],
            "book syncs": [float(played.figures.get("book_syncs", 0))],
            "slowest answer of the exchange, s": [max(played.answers_s, default=0.0)],
            "most weight in a minute": [float(max(played.weights, default=0))],
            "memory, MB": played.rss_mb[:: max(1, len(played.rss_mb) // 16)],
            "memory growth, MB": [played.growth_mb],
        },
        notes=[
            "faults: " + ", ".join(f"{name} {count}" for name, count in played.faults.items()),
            "incidents: " + ", ".join(f"{k} {n}" for k, n in played.incidents.most_common()),
            *_doubt(played),
            *(f"VIOLATION {what}: {count}" for what, count in violations.most_common(10)),
        ],
    )


def _doubt(played: Hours) -> list[str]:
    """Add a note when the machine did not hold the rate: then the exchange was slow."""
    slowest = max(played.answers_s, default=0.0)
    if slowest <= ANSWER_S_MAX:
        return []
    return [
        f"the exchange's own process took {slowest:.1f} s for an answer, at {played.speed}x "
        f"{slowest * played.speed:.0f} s of market time: this machine does not hold the rate"
    ]


def run(plan: Plan) -> list[Measure]:
    """Return M5 at the rate that must be held, and at twice that rate."""
    plan.tell(2, HOURS * 3_600 / SPEED)
    return [measure(RATE_PER_S), measure(2 * RATE_PER_S, is_goal=True)]
