"""One event in one line for a person, exactly as recorded: nothing is rounded, nothing judged.

Texts that came from outside are shown without characters that act on a terminal. Times within an
event are UTC and say so, as the line around them may be of another zone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from minibot.events.model import Event, Fill, JsonObject
from minibot.events.reasons import REASONS
from minibot.replay.explain.checks import check_line, check_words, failed_checks, price_text

TEXT_LENGTH_MAX: Final = 300


def clock_ms(ts: int) -> str:
    """Return a time in Unix milliseconds as UTC to the millisecond, without the zone's name."""
    return f"{datetime.fromtimestamp(ts // 1000, UTC):%H:%M:%S}.{ts % 1000:03d}"


def plain(value: object) -> str:
    """Return the first 300 characters of a value; an unprintable one becomes its hex number."""
    text = str(value)[:TEXT_LENGTH_MAX]
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def event_line(seq: int, event: Event) -> str:
    """Return number, time, type and content of one event."""
    return f"{seq:>7}  {clock_ms(event.ts)}  {event.type:<12}  {event_text(event)}"


def event_text(event: Event) -> str:
    """Return the content of one event in words."""
    payload = event.payload.to_json()
    line_of = _LINES.get(event.type)
    return plain(line_of(payload) if line_of is not None else _fields(payload))


def notes_of(event: Event) -> list[str]:
    """Return the reasons of an event: its reason code's meaning, values against thresholds."""
    payload = event.payload.to_json()
    notes = []
    reason = REASONS.get(str(payload.get("reason_code")))
    if reason is not None:
        notes.append(f"{reason.code}: {reason.meaning}")
        if payload.get("kind") == "STOP":
            notes.append(f"what to do: {reason.remedy}")
    if isinstance(event.payload, Fill):
        touch = f"bid {payload.get('bid')}, ask {payload.get('ask')}"
        latency = f"modelled latency {payload.get('latency_market_ms')} ms"
        notes.append(f"met {touch}, displayed {payload.get('displayed_qty')}; {latency}")
    notes += [check_line(check) for check in payload.get("checks") or ()]
    headroom = payload.get("headroom") or {}
    if headroom:
        left = ", ".join(f"{name} {value}" for name, value in headroom.items())
        notes.append(f"left of the limits: {left}")
    return [plain(note) for note in notes]


def _fields(payload: Mapping[str, Any], *left_out: str) -> str:
    return " ".join(f"{name}={value}" for name, value in payload.items() if name not in left_out)


def _tick(p: JsonObject) -> str:
    touch = f"bid {p['bid']} x {p['bid_qty']}, ask {p['ask']} x {p['ask_qty']}"
    if p["kind"] != "trade":
        return f"{p['symbol']} quote {touch}"
    return f"{p['symbol']} trade {p['price']} x {p.get('qty')} {p.get('taker_side', '')}; {touch}"


def _bar(p: JsonObject) -> str:
    history = ", history" if p["is_history"] else ""
    values = f"open {p['open']} high {p['high']} low {p['low']} close {p['close']}"
    return f"{p['symbol']} {p['interval']} {values} volume {p['volume']}{history}"


def _book(p: JsonObject) -> str:
    levels = f"{len(p['bids'])} bids, {len(p['asks'])} asks"
    best = [f"{side[0][0]} x {side[0][1]}" if side else "none" for side in (p["bids"], p["asks"])]
    return f"{p['symbol']} {levels}; best {best[0]} / {best[1]}; {p['why']}"


def _beat(p: JsonObject) -> str:
    ages = ", ".join(f"{symbol} {age} ms" for symbol, age in p["data_age_ms"].items())
    return f"{p['n']}; data age {ages or 'unknown'}"


def _signal(p: JsonObject) -> str:
    reason = str(p["reason"])
    side = "" if reason.startswith(p["side"]) else f"{p['side']}: "
    score = "" if "score" in reason else f" (score {p['score']}, confidence {p['confidence']})"
    return f"{p['symbol']} {side}{reason}{score}"


def _risk_action(p: JsonObject) -> str:
    failed = ", ".join(map(check_words, failed_checks(p.get("checks"))))
    return f"{p['action']} {p.get('symbol', '')} {p['reason_code']}" + (
        f": {failed}" * bool(failed)
    )


def _standing(p: JsonObject) -> str:
    locks = ", ".join(f"{lock['scope']} {lock['reason_code']}" for lock in p.get("locks") or ())
    return f"{p['state']}, equity {price_text(p['equity'])}" + (f"; locked: {locks}" * bool(locks))


def _plan(p: JsonObject) -> str:
    if "original_qty" not in p:
        return f"{p['symbol']} closed"
    moved = ", ".join(word.replace("_", " ") for word in p["moved"])
    return f"{p['symbol']} {levels_text(p)}; moved: {moved}"


def _recovery(p: JsonObject) -> str:
    return (
        f"{p['choice']} {p['symbol']}: {price_text(p['loss_bps'])} bps below"
        f" {price_text(p['entry_price'])}, row {p['row']} from {price_text(p['row_bps'])} bps;"
        f" campaign {p['campaign_id']}"
    )


def levels_text(plan: JsonObject) -> str:
    """Return where a position is left by its plan, in words."""
    found = [
        f"{name} {price_text(plan[name])} ({plan[f'{name}_reason']})"
        for name in ("stop", "target")
        if plan.get(name) is not None
    ]
    rungs = plan.get("rungs")
    if rungs:
        found.append(f"a part at {' and '.join(map(price_text, rungs))}")
    if plan.get("until_ts") is not None:
        found.append(f"whatever the price at {clock_ms(plan['until_ts'])} UTC")
    return ", ".join(found) or "no level yet"


def _intent(p: JsonObject) -> str:
    price = f" at {p['limit_price']}" if "limit_price" in p else ""
    price += f", stop {p['stop_price']}" if "stop_price" in p else ""
    price += f", target {p['target_price']}" if "target_price" in p else ""
    former = f", replaces {p['replaces']}" if "replaces" in p else ""
    return (
        f"{p['purpose']} {p['side']} {p['qty']} {p['symbol']} {p['order_type']}{price}"
        f"; client order {p['client_order_id']}{former}"
    )


def _cancel(p: JsonObject) -> str:
    return f"{p['symbol']} client order {p['client_order_id']}"


def _result(p: JsonObject) -> str:
    by = f" by a trade at {p['trigger_price']}" if "trigger_price" in p else ""
    done = f"; {p['filled_qty']} filled, {p['remaining_qty']} left" if "filled_qty" in p else ""
    return f"{p['result']} {p.get('reason_code', '')}{by}{done}; order {p['order_id']}"


def _fill(p: JsonObject) -> str:
    return (
        f"{p['side']} {p['qty']} {p['symbol']} at {p['price']}, fee {p['fee']} {p['fee_asset']}"
        f", {p['liquidity']}"
    )


def _health(p: JsonObject) -> str:
    rest = _fields(p, "role", "state", "inputs", "counters", "detail", "reason")
    return f"{p['role']} {p['state']} {rest} {p.get('reason') or p.get('detail') or ''}".rstrip()


def _incident(p: JsonObject) -> str:
    times = f" ({p['count']} times)" if p.get("count", 1) != 1 else ""
    return f"{p['component']} {p['kind']}{times}: {p['detail']}"


def _regime(p: JsonObject) -> str:
    weights = " ".join(str(p[name]) for name in ("momentum", "technical", "volume", "quality"))
    return f"regime {p['name']} since {clock_ms(p['since_ts'])} UTC: weights {weights}"


def _scan(p: JsonObject) -> str:
    best = ", ".join(f"{one['symbol']} {one['score']}" for one in p["ranked"][:3])
    return f"{p['scored']} symbols ranked by bars of {p['interval']}: {best or 'none'}"


def _stop(p: JsonObject) -> str:
    return f"{p['kind']} {p['reason_code']} by {p['component']}: {p['detail']}"


def _run_ending(p: JsonObject) -> str:
    end = f"the run ends at {clock_ms(p['until_ts'])} UTC"
    return f"{p['why']} by {p['who']}: no more entries, {end}"


def _recommendation(p: JsonObject) -> str:
    text = f"buy {p['p_buy']} hold {p['p_hold']} sell {p['p_sell']}"
    return f"{p['symbol']} {text} by {p['model_id']}"


_LINES: Final[Mapping[str, Callable[[JsonObject], str]]] = {
    "market_tick": _tick,
    "bar": _bar,
    "book": _book,
    "beat": _beat,
    "signal": _signal,
    "regime": _regime,
    "scan": _scan,
    "risk_action": _risk_action,
    "risk_state": _standing,
    "position_plan": _plan,
    "recovery_intent": _recovery,
    "order_intent": _intent,
    "order_replace": _intent,
    "order_cancel": _cancel,
    "order_result": _result,
    "fill": _fill,
    "health": _health,
    "incident": _incident,
    "run_ending": _run_ending,
    "stop_journal": _stop,
    "recommendation": _recommendation,
}
