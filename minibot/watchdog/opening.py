"""Opening of a run: fresh cash, or the holdings of the last sealed run (U-23)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from minibot.accounting.portfolio import Portfolio
from minibot.cores.core_profile import KELLY
from minibot.cores.input_order import LineSource
from minibot.events.codec import Codec
from minibot.events.intervals import align
from minibot.events.model import Event, Fill, JsonObject, RunOpening
from minibot.events.money import amount_text, parse_amount
from minibot.events.registry import Contracts
from minibot.events.roles import Roles
from minibot.events.unit_sizes import DAY_MS, WEEK_MS
from minibot.kernel.errors import Refusal
from minibot.kernel.files import read_hashed
from minibot.kernel.queue import open_reader
from minibot.kernel.seal import SEAL_FILE
from minibot.kernel.verify import verify_tree
from minibot.runtime.configuration.config import Config
from minibot.runtime.manifest import Manifest
from minibot.runtime.runfiles import run_folders
from minibot.watchdog.carried_memory import carried_memory, told_last
from minibot.watchdog.carried_plans import carried_plans
from minibot.watchdog.carried_trades import carried_trades


def fresh_opening(config: Config) -> RunOpening:
    """Return the opening of a run that starts with the profile's cash alone."""
    portfolio = config.portfolio
    return RunOpening(cash={portfolio.quote_asset: portfolio.cash}, lots=(), budgets_used={})


def opening_of(
    config: Config, runs: Path, contracts: Contracts, roles: Roles, origin_ms: int
) -> RunOpening:
    """Return the opening by `portfolio.start_from`; the run begins at `origin_ms`.

    Raises:
        Refusal: `carry` is asked for and the last run is not sealed or does not verify.
    """
    if config.portfolio.start_from == "fresh":
        return fresh_opening(config)
    last = last_run(runs)
    if last is None:
        return fresh_opening(config)
    if not (last / SEAL_FILE).exists():
        raise Refusal(f"{last.name} is not sealed.", "Set portfolio.start_from to fresh.")
    finding = next(iter(verify_tree(last)), None)
    if finding is not None:
        raise Refusal(
            f"{last.name} does not verify: {finding}", "Set portfolio.start_from to fresh."
        )
    risk = config.risk
    has_week = risk.week_notional_hard is not None or risk.week_loss_hard is not None
    window_ms = risk.kelly_window_market_ms if risk.sizing == KELLY else None
    return carried_opening(
        *(last, contracts, roles, origin_ms), has_week=has_week, trades_ms=window_ms
    )


def last_run(runs: Path) -> Path | None:
    """Return the folder of the newest run, or None."""
    found = run_folders(runs)  # A newest run without manifest counts: no older run replaces it.
    return found[-1] if found else None


def carried_opening(
    run_dir: Path,
    contracts: Contracts,
    roles: Roles,
    origin_ms: int,
    *,
    has_week: bool = False,
    trades_ms: int | None = None,
) -> RunOpening:
    """Return the opening that a sealed run leaves: its own with its fills applied.

    With `has_week` it names what the UTC week has used. With `trades_ms` it names, for sizing
    kelly, the trades that closed in the last `trades_ms` milliseconds. Account, memory and plans
    are those that risk told last; the memory also has the trades that closed later. A run that told
    none hands on those of its own opening.
    """
    manifest = Manifest.load(run_dir)
    codec = Codec(contracts, roles, manifest.run_id, manifest.cmdline_hashes())
    queues = run_dir / "queues"
    control = LineSource(open_reader(queues, "control"))
    first = control.next()
    if first is None:
        raise Refusal(f"{run_dir.name} has no opening.", "Set portfolio.start_from to fresh.")
    opening = codec.decode("control", first.json).payload
    if not isinstance(opening, RunOpening):
        raise Refusal(f"{run_dir.name} has no opening.", "Set portfolio.start_from to fresh.")
    portfolio = Portfolio.from_opening(opening)
    fills = LineSource(open_reader(queues, "fills"))
    while (line := fills.next()) is not None:
        event = codec.decode("fills", line.json)
        if isinstance(event.payload, Fill):
            portfolio.apply(event.payload, event.ts)
    seal: JsonObject = read_hashed(run_dir / SEAL_FILE)
    used = day_budgets(opening, portfolio, manifest.clock_origin_ms, origin_ms)
    if has_week:
        used |= week_budgets(opening, portfolio, manifest.clock_origin_ms, origin_ms)
    read = partial(_events, queues, codec)
    told = told_last(opening, read)
    return RunOpening(
        cash=portfolio.opening_cash(),
        lots=tuple(portfolio.opening_lots()),
        budgets_used=used,
        from_run=manifest.run_id,
        from_root=str(seal["root"]),
        account=told.account,
        memory=carried_memory(opening, manifest.config, told, read),
        plans=carried_plans(opening, read),
        trades=None
        if trades_ms is None
        else carried_trades(opening, manifest.config, origin_ms - trades_ms, read),
    )


def _events(queues: Path, codec: Codec, queue: str, text: str) -> Iterator[Event]:
    """Yield the events of a run's queue whose lines contain a text, in their order."""
    lines, wanted = LineSource(open_reader(queues, queue)), text.encode()
    while (line := lines.next()) is not None:
        if wanted in line.json:
            yield codec.decode(queue, line.json)


def day_budgets(
    opening: RunOpening, portfolio: Portfolio, former_origin_ms: int, origin_ms: int
) -> dict[str, str]:
    """Return the budgets that the UTC day on which a run begins has used already.

    A day's limits hold for the day, however many runs it has; a night's hold for one run.
    """
    day = origin_ms // DAY_MS
    totals = portfolio.day(day)
    used = {
        "day_notional": totals.entry_notional,
        "day_loss": max(0, totals.fees - totals.realised_pnl),
    }
    if former_origin_ms // DAY_MS == day:
        for name in used:
            used[name] += parse_amount(opening.budgets_used.get(name, "0"))
    return {name: amount_text(amount) for name, amount in used.items()}


def week_budgets(
    opening: RunOpening, portfolio: Portfolio, former_origin_ms: int, origin_ms: int
) -> dict[str, str]:
    """Return the budgets that the UTC week in which a run begins has used already."""
    week = align(origin_ms, WEEK_MS)
    days = [one for number, one in portfolio.days.items() if number * DAY_MS >= week]
    lost = sum(one.fees for one in days) - sum(one.realised_pnl for one in days)
    used = {
        "week_notional": sum(one.entry_notional for one in days),
        "week_loss": max(0, lost),
    }
    if align(former_origin_ms, WEEK_MS) == week:
        for name in used:
            used[name] += parse_amount(opening.budgets_used.get(name, "0"))
    return {name: amount_text(amount) for name, amount in used.items()}
