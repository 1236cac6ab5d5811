"""M1 to M4 and M7: a combined stream through the real market role, beside other clients.

The server is a process on core 0, the role another one on core 1, from the socket to durable
`market_ticks`. Both cores may have other work, so CPU time stands beside wall-clock time. M5 and M6
are compressed hours and reconnects against the embedded exchange.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from tools.bench.frame import Limit, Measure, median, percentile
from tools.bench.market_peers import OWN, PEERS, Clients, compare
from tools.bench.market_run import Outcome, cores, run

HELP = "market: from the socket to durable ticks, bursts, books, latency, hours; M1 to M7"
# So many symbols that one pass over the recording lasts longer than any flood here.
FLOOD_SYMBOLS: Final = 64
FLOOD_S: Final = 60.0
BURSTS: Final = (60_000, 120_000)
BURST_S: Final = 10.0
CALM_RATE: Final = 2000
CALM_S: Final = 5.0
# After this time no message of the burst may wait any more; else the lag has grown for good.
SETTLED_S_MAX: Final = 5.0
# From the sender's clock to the disk; a later message has waited behind others.
LAG_MS_MAX: Final = 250
LATENCY_S: Final = 20.0
SINGLE_RATE: Final = 10_000
SINGLE_S: Final = 20.0
PACED_SYMBOLS: Final = 16
# Time of a run beside its flood: a server and a role start and end.
START_S: Final = 6.0
# About the time of a client of M3 for its messages.
COMPARED_S: Final = 6.0


@dataclass(slots=True)
class Plan:
    """Plan of a measurement.

    Attributes:
        has_peers: True if the other clients run too.
        repeats: Repetitions of each case.
        folder: Folder of the role's queues.
        core: Processor core to which the client is pinned.
        sets: Changes of the role's profile, `section.key=value`.
    """

    has_peers: bool
    repeats: int
    folder: Path
    core: int = 1
    sets: tuple[str, ...] = ()

    @staticmethod
    def tell(runs: int, run_s: float) -> None:
        """Print the expected time when many runs take long."""
        minutes = runs * (run_s + START_S) / 60
        if minutes > 1:
            print(f"   about {minutes:.0f} minutes", file=sys.stderr, flush=True)

    def runs(self, symbols: int, command: Mapping[str, Any], *options: str) -> list[Outcome]:
        """Return the runs of the role under one command to the server."""
        core = self.core if self.core in cores() else cores()[-1]
        folder = self.folder / "market"
        return [
            run(folder, symbols, core, command, *options, sets=self.sets)
            for _ in range(self.repeats)
        ]


def flood(plan: Plan) -> list[Measure]:
    """M1: messages as fast as the role accepts them, every symbol with its book.

    The judged figure has a tick for every quote; the figure under the overload rule stands beside
    it.
    """
    found = []
    cases: list[tuple[str, tuple[str, ...], Limit | None]] = [
        ("a tick for each quote", ("--every-quote",), Limit(40_000, 80_000)),
        ("by the overload rule", (), None),
    ]
    plan.tell(plan.repeats * len(cases), FLOOD_S)
    for what, options, limit in cases:
        runs = plan.runs(FLOOD_SYMBOLS, {"seconds": FLOOD_S}, *options)
        samples = {
            **_samples(runs),
            "memory at the end, MB": [each.rss_mb for each in runs],
            "quotes coalesced": [float(each.counters.get("quotes_coalesced", 0)) for each in runs],
        }
        notes = [_told(each) for each in runs] + [_lost(each) for each in runs if _lost(each)]
        name = f"messages to durable ticks, {FLOOD_S:.0f} s flood, {what}"
        value = median([each.per_s for each in runs])
        found.append(Measure("M1", name, value, "messages/s", limit, samples, notes=notes))
    return found


def burst(plan: Plan) -> list[Measure]:
    """M2: ten seconds of a burst, and the backlog after it."""
    found = []
    plan.tell(plan.repeats * len(BURSTS), BURST_S + CALM_S)
    for rate, limit in zip(BURSTS, (Limit(60_000, 120_000), None), strict=True):
        command = {"phases": [[rate, BURST_S], [CALM_RATE, CALM_S]]}
        kept = str(plan.folder / "market" / "lags.json")
        runs = plan.runs(FLOOD_SYMBOLS, command, "--lags", kept)
        settled = [_settled_s(each) for each in runs]
        taken = [
            _burst_rate(each) if not _lost(each) and lag <= SETTLED_S_MAX else 0.0
            for each, lag in zip(runs, settled, strict=True)
        ]
        samples = {
            "rate that the server reached": [_burst_rate(each) for each in runs],
            "until nothing of it waited, s": settled,
            "oldest trade of the run when durable, ms": [_oldest_ms(each) for each in runs],
            "quotes coalesced": [float(each.counters.get("quotes_coalesced", 0)) for each in runs],
            **_samples(runs),
        }
        name = f"burst of {BURST_S:.0f} s at {rate:,}/s: rate taken without loss"
        notes = [_told(each) for each in runs] + [_lost(each) for each in runs if _lost(each)]
        # The server sends by the clock, so an absorbed burst is slightly below its rate.
        value = median([round(each, -2) for each in taken])
        found.append(Measure("M2", name, value, "messages/s", limit, samples, notes=notes))
    return found


def books(plan: Plan) -> list[Measure]:
    """M3: messages decoded and the book kept, beside the other clients."""
    plan.tell(plan.repeats * (1 + len(PEERS) * plan.has_peers), COMPARED_S)
    found = compare(plan.repeats, plan.core, has_peers=plan.has_peers)
    own, other = found.per_cpu_s(OWN), found.per_cpu_s("cryptofeed")
    ratio = median(own) / median(other) if own and other else None
    samples = {f"{name}, messages per s of CPU": found.per_cpu_s(name) for name in found.runs}
    samples |= {f"{name}, messages per s": found.per_s(name) for name in found.runs}
    return [
        Measure(
            "M3",
            "decode and book only, over cryptofeed (CPU time)",
            ratio,
            "x",
            Limit(1.2, 2.5),
            samples,
            {name: median(found.per_cpu_s(name)) for name in found.runs if name != OWN},
            "messages/s of CPU",
            _missing(found),
        )
    ]


def latency(plan: Plan) -> list[Measure]:
    """M4: latency from the read of the socket to the disk, at a rate with idle time between."""
    trace = plan.folder / "market" / "trace.json"
    plan.tell(plan.repeats, LATENCY_S)
    command = {"seconds": LATENCY_S, "rate": CALM_RATE, "single": True}
    runs = plan.runs(PACED_SYMBOLS, command, "--trace", str(trace))
    waits = [[(row[3] - row[2]) / 1e6 for row in each.trace] for each in runs]
    measures = []
    for share, limit in ((0.5, Limit(2, 0.5, is_most=True)), (0.99, Limit(10, 3, is_most=True))):
        values = [percentile(each, share) for each in waits]
        name = f"socket to synced tick, p{100 * share:.0f}, {CALM_RATE:,} messages/s"
        samples = {"ms": values, "share of a core, %": [_share(r, LATENCY_S) for r in runs]}
        measures.append(Measure("M4", name, median(values), "ms", limit, samples))
    return measures


def single(plan: Plan) -> list[Measure]:
    """M7: cost of ten thousand messages a second that arrive one by one."""
    plan.tell(plan.repeats * (1 + (1 + len(PEERS)) * plan.has_peers), SINGLE_S)
    command = {"seconds": SINGLE_S, "rate": SINGLE_RATE, "single": True}
    runs = plan.runs(PACED_SYMBOLS, command)
    shares = [_share(each, SINGLE_S) for each in runs]
    samples = {"share of a core, %": shares, **_samples(runs)}
    clients = Clients()
    if plan.has_peers:
        clients = compare(
            plan.repeats, plan.core, has_peers=True, rate=SINGLE_RATE, single=True, seconds=1e9
        )
        samples |= {f"{name}, us of CPU": clients.cpu_us(name) for name in clients.runs}
    return [
        Measure(
            "M7",
            f"share of one core at {SINGLE_RATE:,} messages/s one by one, all included",
            median(shares),
            "%",
            Limit(60, 35, is_most=True),
            samples,
            {name: median(clients.cpu_us(name)) for name in clients.runs},
            "us of CPU a message, decode (and book) alone",
            [*(_told(each) for each in runs), *_missing(clients)],
        )
    ]


def hours(plan: Plan) -> list[Measure]:
    """M5: seven hours of trouble in minutes."""
    return _elsewhere("market_hours", plan)


def reconnect(plan: Plan) -> list[Measure]:
    """M6: time from a disconnect until the books are usable again."""
    return _elsewhere("market_reconnect", plan)


def _elsewhere(module: str, plan: Plan) -> list[Measure]:
    """Return the measure of another module, imported only now because it imports this one."""
    measures: list[Measure] = import_module(f"tools.bench.{module}").run(plan)
    return measures


MEASURES: Final[Mapping[str, Callable[[Plan], list[Measure]]]] = {
    "M1": flood,
    "M2": burst,
    "M3": books,
    "M4": latency,
    "M5": hours,
    "M6": reconnect,
    "M7": single,
}


# --- figures ----------------------------------------------------------------------------------


def _samples(runs: Sequence[Outcome]) -> dict[str, list[float]]:
    return {
        "messages/s": [each.per_s for each in runs],
        "messages per s of CPU": [1e6 / each.cpu_us for each in runs],
        "us of CPU a message": [each.cpu_us for each in runs],
    }


def _share(outcome: Outcome, seconds: float) -> float:
    return 100 * outcome.cpu_s / seconds


def _told(outcome: Outcome) -> str:
    counters = outcome.counters
    return (
        f"{outcome.sent['sent']:,} messages, {outcome.sent['trades']:,} trades, "
        f"{outcome.lines:,} lines, {counters['book_checks']:,} books held against quotes, "
        f"{counters['book_mismatches']} differed ({outcome.own_differences} where the recorded "
        "diffs and quotes contradict each other), "
        f"server behind {outcome.sent['behind_ms']:.0f} ms"
    )


def _lost(outcome: Outcome) -> str:
    """Return a note on messages missing from books or queue; empty where none is."""
    counters = outcome.counters
    wrong = [
        f"{counters[name]} {name}"
        for name in ("trade_gaps", "trades_dropped", "frames_invalid", "duplicate_trades")
        if counters[name]
    ]
    differed, own = counters["book_mismatches"], outcome.own_differences
    if differed != own:
        wrong.append(f"{differed} books differed, the recording alone makes {own}")
    if counters["frames"] < outcome.sent["sent"]:
        wrong.append(f"{outcome.sent['sent'] - counters['frames']} messages never came")
    return ", ".join(wrong)


def _burst_rate(outcome: Outcome) -> float:
    begin_ns, end_ns = outcome.sent["begin_ns"], outcome.sent["phases_end_ns"][0]
    burst_s: float = (end_ns - begin_ns) / 1e9
    return float(outcome.sent["phase_sent"][0]) / burst_s


def _settled_s(outcome: Outcome) -> float:
    """Return the time after the burst during which trades still reached the disk late."""
    end_ns: int = outcome.sent["phases_end_ns"][0]
    late = [at_ns for at_ns, lag_ms in outcome.lags if lag_ms > LAG_MS_MAX]
    return max(0, max(late, default=end_ns) - end_ns) / 1e9


def _oldest_ms(outcome: Outcome) -> float:
    return float(max((lag_ms for _, lag_ms in outcome.lags), default=0))


def _missing(clients: Clients) -> list[str]:
    return [f"{name}: not here: {why}" for name, why in clients.missing.items()]
