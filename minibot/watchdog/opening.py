"""Opening of a run: fresh cash, or the holdings of the last sealed run (U-23)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from hashlib import sha256
from pathlib import Path

from minibot.accounting.portfolio import Portfolio
from minibot.cores.core_profile import KELLY
from minibot.cores.input_order import LineSource
from minibot.events.codec import Codec
from minibot.events.ids import position_id
from minibot.events.intervals import align
from minibot.events.model import Event, Fill, JsonObject, RunOpening
from minibot.events.money import amount_text, parse_amount
from minibot.events.names import CONTROL, FILLS, TICKS, WATCHDOG_ROLE
from minibot.events.registry import Contracts
from minibot.events.roles import Roles
from minibot.events.unit_sizes import DAY_MS, WEEK_MS
from minibot.kernel.audit import finding_line
from minibot.kernel.canonical import encode
from minibot.kernel.errors import Refusal
from minibot.kernel.files import read_hashed
from minibot.kernel.line import LINE_EXTRA_BYTES
from minibot.kernel.queue import open_reader
from minibot.kernel.seal import SEAL_FILE
from minibot.kernel.verify import verify_tree
from minibot.runtime.configuration.config import Config
from minibot.runtime.configuration.risk_policy import policy_violations
from minibot.runtime.manifest import Manifest
from minibot.runtime.paths import Var
from minibot.runtime.runfiles import own_runs, queues_lost
from minibot.runtime.running import last_status
from minibot.watchdog.carried_losses import gains_since
from minibot.watchdog.carried_memory import carried_memory, last_reports
from minibot.watchdog.carried_plans import carried_plans
from minibot.watchdog.carried_trades import carried_trades


def fresh_opening(config: Config) -> RunOpening:
    """Return the opening of a run that starts with only the profile's cash."""
    portfolio = config.portfolio
    return RunOpening(cash={portfolio.quote_asset: portfolio.cash}, lots=(), budgets_used={})


def refuse_gone(config: Config, var: Var) -> None:
    """Refuse to carry on from an older run, or afresh, where the last run has lost its folder.

    The last live status of `var` names that run, also after its end. Call this before the former
    run is recovered: its lines below `var/queues` would give it a folder without a manifest.

    Raises:
        Refusal: The profile says `carry`, and the folder is gone.
    """
    if config.portfolio.start_from == "fresh":
        return
    status, is_simulated = last_status(var), config.embedded is not None
    if status is None or status.get("simulated") != is_simulated:
        return
    run_id = str(status.get("run_id"))
    if os.path.lexists(var.run(run_id)):
        return
    last = last_run(var.runs, is_simulated=is_simulated)
    if last is not None and last.name > run_id:
        return  # A later start, which ended before its first status.
    raise Refusal(
        f"the last run, {run_id}, is gone from {var.runs}, and its account with it.",
        "Put it back, or set portfolio.start_from to fresh.",
    )


def opening_by(
    config: Config,
    runs: Path,
    contracts: Contracts,
    roles: Roles,
    now_ms: Callable[[], int],
) -> tuple[int, RunOpening]:
    """Return the first Unix ms of a run, and its opening; see `opening_of`.

    Verifying and reading the former run takes a while, which is before this run's time.
    """
    origin_ms = now_ms()
    while True:
        opening = opening_of(config, runs, contracts, roles, origin_ms)
        read_ms, origin_ms = origin_ms, now_ms()
        if align(read_ms, DAY_MS) == align(origin_ms, DAY_MS):  # Then it is the same week too.
            return origin_ms, opening


def opening_of(
    config: Config, runs: Path, contracts: Contracts, roles: Roles, origin_ms: int
) -> RunOpening:
    """Return the opening by `portfolio.start_from`; the run begins at `origin_ms`.

    Raises:
        Refusal: The profile says `carry`, and the last run is not sealed, does not verify, had lost
            queues, accounts in another quote asset, has an account too long for a line, or has one
            for which a limit is beyond the risk policy.
    """
    if config.portfolio.start_from == "fresh":
        return fresh_opening(config)
    last = last_run(runs, is_simulated=config.embedded is not None)
    if last is None:
        return fresh_opening(config)
    if not (last / SEAL_FILE).exists():
        # The start has sealed any run whose queues were here: of this one only a part is.
        raise Refusal(
            f"{last.name} is not sealed, and its queues are not in {runs.parent}.",
            "Restore it again, into another folder, or set portfolio.start_from to fresh.",
        )
    finding = next(iter(verify_tree(last)), None)
    if finding is not None:
        raise Refusal(
            f"{last.name} does not verify: {finding_line(finding)}.",
            "Set portfolio.start_from to fresh.",
        )
    for found in queues_lost(last):  # An empty queue in its place would carry nothing on.
        raise Refusal(
            f"{last.name} was recovered without all its queues: {found}.",
            "Set portfolio.start_from to fresh.",
        )
    quote_asset = config.portfolio.quote_asset
    former_quote = Manifest.load(last).config["portfolio"]["quote_asset"]
    if former_quote != quote_asset:  # Equity would add up two currencies.
        raise Refusal(
            f"{last.name} accounts in {former_quote}, the profile in {quote_asset}.",
            "Set portfolio.start_from to fresh.",
        )
    risk = config.risk
    has_week = risk.week_notional_hard is not None or risk.week_loss_hard is not None
    window_ms = risk.kelly_window_market_ms if risk.sizing == KELLY else None
    opening = carried_opening(
        *(last, contracts, roles, origin_ms), has_week=has_week, trades_ms=window_ms
    )
    _refuse_beyond_policy(config, opening)
    _refuse_longer_than_a_line(config, opening, origin_ms)
    return opening


def _refuse_beyond_policy(config: Config, opening: RunOpening) -> None:
    """Refuse limits that the risk policy allows for the profile's cash, but not for the account."""
    if opening.account is not None:
        worth = Fraction(opening.account["high_water_mark"])
    else:
        worth = Fraction(opening.cash.get(config.portfolio.quote_asset, "0"))
        worth += sum(Fraction(lot["qty"]) * Fraction(lot["price"]) for lot in opening.lots)
    found = list(policy_violations(config.raw, config.origin, worth))
    if found:
        raise Refusal(
            f"the account of {opening.from_run} is too small for the profile: {'; '.join(found)}.",
            "Lower these limits, or set portfolio.start_from to fresh.",
        )


def _refuse_longer_than_a_line(config: Config, opening: RunOpening, origin_ms: int) -> None:
    """Refuse an account that the run's first event cannot name, before anything of it is written.

    The envelope of that event has the same length in every run.
    """
    run_id = opening.from_run or ""
    id_ = position_id(run_id, WATCHDOG_ROLE, CONTROL, 1)
    event = Event(origin_ms, id_, WATCHDOG_ROLE, run_id, sha256().hexdigest(), opening)
    size = len(encode(event.to_json())) + LINE_EXTRA_BYTES
    if size > config.queues.line_bytes_max:
        raise Refusal(
            f"the account of {run_id} takes a line of {size} bytes, and queues.line_bytes_max is"
            f" {config.queues.line_bytes_max}.",
            "Raise queues.line_bytes_max, or set portfolio.start_from to fresh.",
        )


def last_run(runs: Path, *, is_simulated: bool) -> Path | None:
    """Return the folder of the newest run on the embedded exchange, or on a real one; or None.

    A demo between two nights has no part in their account. A run without a readable manifest counts
    as of both kinds: no older run replaces it.
    """
    for folder, manifest in own_runs(runs):
        if manifest is None or manifest.simulated == is_simulated:
            return folder
    return None


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

    It names the used budget of the UTC week if `has_week` is set or the run's own opening named it.
    With `trades_ms` it names, for sizing kelly, the trades that closed in the last `trades_ms`
    milliseconds. Account, memory and the plan of each position are the last that the run's risk
    reported, else those of its opening. The memory also has the trades that closed later.
    """
    manifest = Manifest.load(run_dir)
    codec = Codec(contracts, roles, manifest.run_id, manifest.cmdline_hashes())
    queues = run_dir / "queues"
    control = LineSource(open_reader(queues, CONTROL))
    first = control.next()
    # A start that died before its first event leaves the holdings that it was handed.
    opening = (
        RunOpening.from_json(manifest.opening)
        if first is None
        else codec.decode(CONTROL, first.json).payload
    )
    if not isinstance(opening, RunOpening):
        raise Refusal(f"{run_dir.name} has no opening.", "Set portfolio.start_from to fresh.")
    portfolio = Portfolio.from_opening(opening)
    read = partial(_events, queues, codec)
    fills = list(read(FILLS, Fill.TYPE))
    for event in fills:
        if isinstance(event.payload, Fill):
            portfolio.apply(event.payload, event.ts)
    seal: JsonObject = read_hashed(run_dir / SEAL_FILE)
    begins = {"day": align(origin_ms, DAY_MS)}
    if has_week or any(name.startswith("week") for name in opening.budgets_used):
        begins["week"] = align(origin_ms, WEEK_MS)
    quote_asset = manifest.config["portfolio"]["quote_asset"]
    ticks = open_reader(queues, TICKS)
    left = gains_since(tuple(begins.values()), opening, quote_asset, fills, ticks, codec)
    ticks.close()
    used: dict[str, str] = {}
    for (period, begin_ms), gain in zip(begins.items(), left.gains, strict=True):
        used |= budgets_used(
            *(period, begin_ms, gain, opening, portfolio), manifest.clock_origin_ms
        )
    reports = last_reports(opening, read)
    return RunOpening(
        cash=portfolio.opening_cash(),
        lots=tuple(portfolio.opening_lots()),
        budgets_used=used,
        from_run=manifest.run_id,
        from_root=str(seal["root"]),
        account=reports.account,
        memory=carried_memory(opening, manifest.config, reports, read),
        plans=carried_plans(opening, read),
        trades=None
        if trades_ms is None
        else carried_trades(opening, manifest.config, origin_ms - trades_ms, read),
        marks={symbol: amount_text(price) for symbol, price in left.marks.items()} or None,
    )


def _events(queues: Path, codec: Codec, queue: str, text: str) -> Iterator[Event]:
    """Yield the events of a run's queue whose lines contain a text, in their order."""
    lines, wanted = LineSource(open_reader(queues, queue)), text.encode()
    while (line := lines.next()) is not None:
        if wanted in line.json:
            yield codec.decode(queue, line.json)


def budgets_used(
    period: str,
    begin_ms: int,
    gain: int,
    opening: RunOpening,
    portfolio: Portfolio,
    former_origin_ms: int,
) -> dict[str, str]:
    """Return notional and loss of a period that runs have used up to the end of the former one.

    The limits of a day or week hold for it however many runs it has; a night's hold for one run.
    A gain is a negative loss: a later fall counts from the start of the period, as within one run.

    Args:
        period: `day` or `week`, the first word of its budgets' names.
        begin_ms: Its first Unix ms.
        gain: Gain of equity in the period, during the former run; see `gains_since`.
        opening: Opening of the former run, with the use by runs before it.
        portfolio: Portfolio at the end of the former run.
        former_origin_ms: Begin of the former run; if in an earlier period, earlier use no longer
            counts.
    """
    days = [one for number, one in portfolio.days.items() if number * DAY_MS >= begin_ms]
    used = {
        f"{period}_notional": sum(one.entry_notional for one in days),
        f"{period}_loss": -gain,
    }
    if former_origin_ms >= begin_ms:
        for name in used:
            used[name] += parse_amount(opening.budgets_used.get(name, "0"))
    return {name: amount_text(amount) for name, amount in used.items()}
