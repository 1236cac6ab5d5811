"""Makes `tests/fixtures/contracts` from recordings: `python -m tests.contracts.make_fixtures`.

Every market value (prices, quantities, times, ids, rules, error texts) comes from the recorded line
that the fixture names; decisions are those that minibot writes for it. An invalid example is the
valid one with one fault, and the reason code that must follow.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

from minibot.events.ids import derive_id, position_id
from minibot.events.model import PAYLOAD_CLASSES, Event, JsonObject, Payload
from minibot.events.roles import Roles
from minibot.runtime.cmdline import cmdline_hash
from minibot.runtime.stop import stop_id

PROJECT = Path(__file__).resolve().parents[2]
OUT = PROJECT / "tests" / "fixtures" / "contracts"
DATA = PROJECT.parent / "shared" / "data"

RUN_ID = "20240808_235413"  # the first receive time of the tape, in UTC
TAPE = "binance-ws-hft/btcusdt_20240808.gz"
TAPE_ORIGIN = "nkaz001/hftbacktest@5f3ec40:examples/spot/btcusdt_20240808.gz, MIT"
INFO = "binance-ws-cryptofeed/2021-10-11_BINANCE.0.gz"
INFO_ORIGIN = "bmoscon/cryptofeed@b90fa9b:sample_data/BINANCE.0, MIT-style (X11 text)"
KLINES = "binance-ws-cryptofeed/2021-04-04_BINANCE-ee25be.0.gz"
KLINES_ORIGIN = "bmoscon/cryptofeed@2997020:sample_data/BINANCE-ee25be.0, MIT-style (X11 text)"
ERRORS = "error-bodies/binance_errors.jsonl"
ERRORS_ORIGIN = "github.com/ccxt/ccxt/issues/14639, quoted briefly"

SNAPSHOT_LINE, QUOTE_LINE, TRADE_LINE, INFO_LINE, KLINE_LINE, BAN_LINE = 8, 3, 4, 1, 2592, 1

# For types that several roles write, or that a reader writes beside its queue.
ONE_OF_SEVERAL = {
    "health": "market_role",
    "incident": "market_role",
    "stop_journal": "market_role",
    "ack": "risk_role",
    "dead_letter": "risk_role",
}
ROLES = Roles.of_project()


def writer_of(type_: str) -> str:
    """Return a role that writes a type."""
    found = ONE_OF_SEVERAL.get(type_)
    return found or next(
        role.name
        for role in ROLES.roles.values()
        if any(type_ in types for types in role.writes.values())
    )


def hash_of(role: str) -> str:
    """Return the command line hash of a role in the fixtures."""
    return cmdline_hash(["python", "-m", "minibot.runtime.role", role, "--run", RUN_ID])


def line_of(name: str, number: int) -> str:
    """Return a line of a recording, from 1."""
    path = DATA / name
    if path.suffix == ".gz":
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            return next(line for at, line in enumerate(lines, 1) if at == number).rstrip("\n")
    return path.read_text(encoding="utf-8").split("\n")[number - 1]


def recorded() -> dict[str, Any]:
    """Return the recorded messages behind the fixtures."""
    quote_ns, quote = line_of(TAPE, QUOTE_LINE).split(" ", 1)
    trade_ns, trade = line_of(TAPE, TRADE_LINE).split(" ", 1)
    snapshot_ns, snapshot = line_of(TAPE, SNAPSHOT_LINE).split(" ", 1)
    info = json.loads(line_of(INFO, INFO_LINE).partition(": ")[2])
    kline_s, _, kline = line_of(KLINES, KLINE_LINE).partition(": ")
    ban = json.loads(line_of(ERRORS, BAN_LINE))
    return {
        "quote": json.loads(quote)["data"],
        "quote_ns": int(quote_ns),
        "trade": json.loads(trade)["data"],
        "trade_ns": int(trade_ns),
        "snapshot": json.loads(snapshot),
        "snapshot_ns": int(snapshot_ns),
        "symbol": next(item for item in info["symbols"] if item["symbol"] == "BTCUSDT"),
        "kline": json.loads(kline)["data"]["k"],
        "kline_ms": int(float(kline_s) * 1000),
        "ban": json.loads(ban["body"])["msg"],
        "ban_raw": json.dumps(ban),
    }


def payloads(said: dict[str, Any]) -> dict[str, tuple[str, JsonObject]]:
    """Return for each type its source, and its payload as JSON."""
    quote, trade, book, rules = said["quote"], said["trade"], said["snapshot"], said["symbol"]
    kline, symbol = said["kline"], trade["s"]
    filters = {item["filterType"]: item for item in rules["filters"]}
    ts = said["trade_ns"] // 1_000_000
    tick = position_id(RUN_ID, "market_role", "market_ticks", 2)
    signal = derive_id(RUN_ID, "strategy_role", tick, 0)
    action = derive_id(RUN_ID, "risk_role", signal, 0)
    intent = derive_id(RUN_ID, "risk_role", signal, 1)
    result = derive_id(RUN_ID, "execution_role", intent, 0)
    check = {"name": "spread_bps", "value": "0.0016", "threshold": "8.0", "passed": True}
    tape = f"{TAPE} line {TRADE_LINE} and {QUOTE_LINE} ({TAPE_ORIGIN})"
    campaign_id = derive_id(RUN_ID, "risk_role", signal, 0)
    campaign = {
        "entries": 2,
        "entries_max": 3,
        "loss_max": "50",
        "entered_ts": ts,
        "spent": "100.1",
        "received": "49.9",
        "qty": trade["q"],
        "row": 1,
        "stop": quote["b"],
    }
    errors = f"{ERRORS} line {BAN_LINE} ({ERRORS_ORIGIN})"
    lineage = {"cause_ids": [tick], "tick_seq": 2}
    who = {"who": "operator", "why": said["ban"]}
    return {
        "market_tick": (
            tape,
            {
                "symbol": symbol,
                "price": trade["p"],
                "kind": "trade",
                "bid": quote["b"],
                "bid_qty": quote["B"],
                "ask": quote["a"],
                "ask_qty": quote["A"],
                "recv_mono_ns": said["trade_ns"],
                "exchange_ts": trade["T"],
                "qty": trade["q"],
                "taker_side": "SELL" if trade["m"] else "BUY",
                "trade_id": trade["t"],
            },
        ),
        "bar": (
            f"{KLINES} line {KLINE_LINE} ({KLINES_ORIGIN})",
            {
                "symbol": kline["s"],
                "interval": kline["i"],
                "open_ts": kline["t"],
                "close_ts": kline["T"],
                "open": kline["o"],
                "high": kline["h"],
                "low": kline["l"],
                "close": kline["c"],
                "volume": kline["v"],
                "is_history": False,
                "quote_volume": kline["q"],
                "taker_buy_volume": kline["V"],
                "trades": kline["n"],
            },
        ),
        "book": (
            f"{TAPE} line {SNAPSHOT_LINE}, first three levels ({TAPE_ORIGIN})",
            {
                "symbol": symbol,
                "bids": book["bids"][:3],
                "asks": book["asks"][:3],
                "last_update_id": book["lastUpdateId"],
                "why": "resync",
            },
        ),
        "instrument": (
            f"{INFO} line {INFO_LINE}, symbol BTCUSDT ({INFO_ORIGIN})",
            {
                "symbol": rules["symbol"],
                "base_asset": rules["baseAsset"],
                "quote_asset": rules["quoteAsset"],
                "status": rules["status"],
                "price_increment": filters["PRICE_FILTER"]["tickSize"],
                "qty_increment": filters["LOT_SIZE"]["stepSize"],
                "qty_min": filters["LOT_SIZE"]["minQty"],
                "qty_max": filters["LOT_SIZE"]["maxQty"],
                "notional_min": filters["MIN_NOTIONAL"]["minNotional"],
                "origin": "exchange",
                "market_qty_max": filters["MARKET_LOT_SIZE"]["maxQty"],
                "bid_percent_up": filters["PERCENT_PRICE"]["multiplierUp"],
                "bid_percent_down": filters["PERCENT_PRICE"]["multiplierDown"],
            },
        ),
        "universe": (
            f"{INFO} line {INFO_LINE}, symbol BTCUSDT ({INFO_ORIGIN})",
            {
                "mode": "dynamic",
                "quote_asset": rules["quoteAsset"],
                "traded": [rules["symbol"]],
                "watched": [],
                "kept": [],
                "missing_bases": ["KAS"],
                "excluded": {"volume": ["ETHUSDT"]},
                "quote_volumes": {rules["symbol"]: kline["q"]},
                "generation": 1,
            },
        ),
        "beat": (tape, {"n": 1, "data_age_ms": {symbol: (said["snapshot_ns"] // 10**6) - ts}}),
        "gap": (
            tape,
            {
                "symbol": symbol,
                "stream": "trade",
                "from_ts": said["quote_ns"] // 10**6,
                "to_ts": said["snapshot_ns"] // 10**6,
                "why": "reconnect",
                **lineage,
            },
        ),
        "price_mark": (
            tape,
            {
                "symbol": symbol,
                "price": trade["p"],
                "stream": "miniTicker",
                "exchange_ts": trade["E"],
            },
        ),
        "average_price": (
            f"{KLINES} line {KLINE_LINE} ({KLINES_ORIGIN})",
            {"symbol": kline["s"], "price": kline["c"], "minutes": 5, "to_ts": kline["T"] + 1},
        ),
        "feed_value": (tape, {"feed": "mood", "value": "-12.50", "value_ts": ts}),
        "signal": (
            tape,
            {
                "symbol": symbol,
                "side": "BUY",
                "score": 62,
                "confidence": 55,
                "horizon_ms": 60000,
                "reason": "spread 0.0016 bps against 8.0 bps at most",
                "reason_code": "momentum_up",
                "checks": [check],
                "strategy": "nore_strategy_v1",
                "params_hash": hashlib.sha256(symbol.encode()).hexdigest(),
                **lineage,
            },
        ),
        "risk_action": (
            tape,
            {
                "action": "ALLOW",
                "reason_code": "allowed",
                "symbol": symbol,
                "signal_id": signal,
                "checks": [check],
                "profile": "nore-v1",
                "campaign_id": campaign_id,
                "headroom": {"order_notional": "500"},
                "cause_ids": [signal],
                "tick_seq": 2,
            },
        ),
        "risk_state": (
            tape,
            {
                "state": "REDUCING",
                "tier": 1,
                "equity": "9500",
                "high_water_mark": "10000",
                "drawdown_bps": "500.0000",
                "headroom": {"night_notional": "500"},
                "locks": [{"scope": "*", "reason_code": "max_drawdown", "until_ts": ts + 60000}],
                "memory": {
                    "trips": [],
                    "trades": [],
                    "closed": "-1",
                    "start": "10000",
                    "locks": {},
                    "streaks": {},
                    "left": {},
                },
                "cause_ids": [tick],
                "tick_seq": 2,
            },
        ),
        "regime": (
            tape,
            {
                "name": "trending",
                "since_ts": ts,
                **{"momentum": 50, "technical": 20, "volume": 20, "quality": 10},
                "symbols": 3,
                "missing": 1,
                "volatility": "31.20",
                "above": "66.67",
                "thrust": "72.22",
                "cause_ids": [tick],
                "tick_seq": 2,
            },
        ),
        "scan": (
            tape,
            {
                "as_of_ts": ts,
                "interval": "15m",
                "ranked": [{"symbol": symbol, "score": "61.20", "passes": True}],
                "scored": 1,
                "lacking": 2,
                "cause_ids": [tick],
                "tick_seq": 2,
            },
        ),
        "position_plan": (
            tape,
            {
                "symbol": symbol,
                "qty": trade["q"],
                "moved": ["stop_trailing"],
                "stop": quote["b"],
                "stop_reason": "trailing_stop",
                "target": quote["a"],
                "target_reason": "take_profit",
                "rungs": [quote["a"]],
                "until_ts": ts + 60000,
                "original_qty": trade["q"],
                "entry_price": trade["p"],
                "opened_ts": ts,
                "age_row": 1,
                "stop_hard": quote["b"],
                "stop_entry": quote["b"],
                "stop_break_even": quote["b"],
                "stop_trailing": quote["b"],
                "peak": quote["a"],
                "atr": "12.5",
                "campaign_id": campaign_id,
                "campaign": {**campaign, "keep_qty": "0", "at_risk": "-1.5"},
                "cause_ids": [tick],
                "tick_seq": 2,
            },
        ),
        "recovery_intent": (
            tape,
            {
                "symbol": symbol,
                "campaign_id": campaign_id,
                "choice": "de-risk",
                "row": 2,
                "loss_bps": "512.5",
                "row_bps": "500",
                "entry_price": trade["p"],
                "bid": quote["b"],
                "cause_ids": [tick],
                "tick_seq": 2,
            },
        ),
        "order_intent": (
            tape,
            {
                "symbol": symbol,
                "side": "BUY",
                "qty": trade["q"],
                "order_type": "LIMIT",
                "client_order_id": intent,
                "purpose": "ENTRY",
                "limit_price": quote["a"],
                "time_in_force": "IOC",
                "campaign_id": campaign_id,
                "expires_ts": ts + 5000,
                "cause_ids": [action, signal],
                "tick_seq": 2,
            },
        ),
        "order_replace": (
            tape,
            {
                "symbol": symbol,
                "side": "SELL",
                "qty": trade["q"],
                "order_type": "OCO",
                "client_order_id": result,
                "purpose": "EXIT",
                "expires_ts": ts + 5000,
                "stop_price": "61000.00",
                "target_price": "63000.00",
                "replaces": intent,
                "cause_ids": [action, signal],
                "tick_seq": 2,
            },
        ),
        "order_cancel": (
            tape,
            {
                "symbol": symbol,
                "client_order_id": intent,
                "cause_ids": [action, signal],
                "tick_seq": 2,
            },
        ),
        "order_result": (
            tape,
            {
                "client_order_id": intent,
                "order_id": result,
                "result": "FILLED",
                "symbol": symbol,
                "reason_code": "filled",
                "filled_qty": trade["q"],
                "remaining_qty": "0.00000000",
                "cause_ids": [intent, tick],
                "tick_seq": 2,
            },
        ),
        "fill": (
            tape,
            {
                "order_id": result,
                "client_order_id": intent,
                "symbol": symbol,
                "side": "BUY",
                "qty": trade["q"],
                "price": quote["a"],
                "fee": "1.23675280",  # 61837.64 * 0.02 * 10 bps
                "fee_asset": "USDT",
                "liquidity": "TAKER",
                "bid": quote["b"],
                "ask": quote["a"],
                "displayed_qty": quote["A"],
                "latency_market_ms": 50,
                "cause_ids": [intent, tick],
                "tick_seq": 2,
            },
        ),
        "run_opening": (
            tape,
            {
                "cash": {"USDT": "10000"},
                "lots": [{"symbol": symbol, "qty": trade["q"], "price": trade["p"], "ts": ts}],
                "budgets_used": {"day_notional": "0"},
                "from_run": "20240807_235413",
                "from_root": hashlib.sha256(b"seal").hexdigest(),
                "account": {"high_water_mark": "10000", "tier": 0},
                "plans": [
                    {
                        "symbol": symbol,
                        "qty": trade["q"],
                        "original_qty": trade["q"],
                        "entry_price": trade["p"],
                        "opened_ts": ts,
                        "age_row": 0,
                        "stop_hard": quote["b"],
                        "campaign": {"id": campaign_id, **campaign},
                    }
                ],
                "trades": {"closed": [[ts, "0.01000000"]], "open": []},
                "marks": {symbol: trade["p"]},
            },
        ),
        "run_ending": (errors, {"who": "duration", "why": said["ban"], "until_ts": ts + 10000}),
        "halt": (errors, who),
        "resume": (errors, who),
        "exit_position": (errors, {**who, "symbol": symbol}),
        "lock_symbol": (errors, {**who, "symbol": symbol, "until_ts": ts + 60000}),
        "model_active": (errors, {**who, "model_id": "lightgbm-20240808_235413"}),
        "health": (
            tape,
            {
                "role": "market_role",
                "state": "READY",
                "uptime_s": 10,
                "turns": 1000,
                "rss_bytes": 50_000_000,
                "latency_us": 1250,
                "endpoint": "/api/v3/time",
                "ok": True,
                "data_age_ms": (said["snapshot_ns"] // 10**6) - ts,
                "inputs": {"market_ticks": {"position": 2, "backlog": 0, "age_ms": 1}},
            },
        ),
        "incident": (
            errors,
            {"component": "market_role", "kind": "rate_limited", "detail": said["ban"], "count": 1},
        ),
        "stop_journal": (
            errors,
            {
                "component": "market_role",
                "reason_code": "EXCHANGE_BANNED",
                "detail": said["ban"],
                "kind": "STOP",
                "open_positions": [
                    {"symbol": symbol, "qty": trade["q"], "entry_price_avg": trade["p"]}
                ],
            },
        ),
        "recommendation": (
            tape,
            {
                "symbol": symbol,
                "model_id": "baseline",
                "p_buy": "0.333333",
                "p_hold": "0.333334",
                "p_sell": "0.333333",
                "horizon_ms": 60000,
                "baseline": True,
                "top_features": ["spread_bps"],
                **lineage,
            },
        ),
        "ack": (
            tape,
            {
                "reader": "risk_role",
                "queue": "market_ticks",
                "from_seq": 1,
                "to_seq": 2,
                "n": 1,
                "taken_ts": ts,
                "took_us": 120,
            },
        ),
        "dead_letter": (
            f"{TAPE} line {TRADE_LINE} ({TAPE_ORIGIN})",
            {
                "queue": "signals",
                "seq": 2,
                "offset": 512,
                "reason_code": "SCHEMA_INVALID",
                "detail": "$.payload: 'side' is a required property",
                "line": json.dumps(trade, separators=(",", ":")),
                "line_sha256": hashlib.sha256(json.dumps(trade).encode()).hexdigest(),
            },
        ),
    }


def event_of(type_: str, payload: JsonObject, ts: int) -> JsonObject:
    """Return the event that minibot would write for a payload."""
    source = writer_of(type_)
    typed: Payload = PAYLOAD_CLASSES[type_].from_json(payload)
    id_ = position_id(RUN_ID, source, type_, 1)
    if type_ == "stop_journal":
        id_ = stop_id(RUN_ID, source)
    causes = tuple(payload["cause_ids"]) if "cause_ids" in payload else None
    event = Event(ts, id_, source, RUN_ID, hash_of(source), typed, causes, payload.get("tick_seq"))
    return event.to_json()


def invalid_of(type_: str, event: JsonObject, schema: JsonObject) -> list[JsonObject]:
    """Return broken versions of a valid event, each with the reason code that must follow."""
    found: list[JsonObject] = []

    def add(why: str, code: str, change: Any) -> None:
        broken = deepcopy(event)
        change(broken)
        found.append({"why": why, "code": code, "event": broken})

    add("extra envelope key", "SCHEMA_INVALID", lambda e: e.update(note="x"))
    add("version 2", "SCHEMA_VERSION", lambda e: e.update(v=2))
    add("id is uuid version 1", "SCHEMA_INVALID", lambda e: e.update(id=_version_1(e["id"])))
    first = schema["required"][0]
    add(f"payload lacks {first}", "SCHEMA_INVALID", lambda e: e["payload"].pop(first))
    for name in schema["required"]:
        value, why = _broken(schema, schema["properties"][name], event["payload"][name])
        add(
            f"{name}: {why}",
            "SCHEMA_INVALID",
            lambda e, n=name, v=value: e["payload"].update({n: v}),
        )
        if schema["properties"][name].get("$ref", "").endswith("/decimal_positive"):
            add(
                f"{name}: zero",
                "SCHEMA_INVALID",
                lambda e, n=name: e["payload"].update({n: "0.00000000"}),
            )
    return found


def _version_1(id_: str) -> str:
    return id_[:14] + "1" + id_[15:]


def _broken(schema: JsonObject, part: JsonObject, value: Any) -> tuple[Any, str]:
    name = part.get("$ref", "").rpartition("/")[2]
    part = {**schema["$defs"].get(name, {}), **part}
    if name.startswith("decimal"):
        return value + "\n", "a newline after the number"
    if "enum" in part:
        return "no_such_word", "a word off the list"
    if part["type"] == "integer":
        return True, "a boolean is no integer"
    if part["type"] == "boolean":
        return "true", "text is no boolean"
    if part["type"] == "array":
        return {}, "an object is no list"
    if part["type"] == "object":
        return [], "a list is no object"
    if "pattern" in part:
        return value + "\n", "a newline at the end"
    return 1, "a number is no text"


def main() -> int:
    """Write the fixtures and their sums."""
    fields = recorded()
    made = payloads(fields)
    OUT.mkdir(parents=True, exist_ok=True)
    sums = []
    for type_ in PAYLOAD_CLASSES:
        source, payload = made[type_]
        ts = fields["kline_ms"] if type_ == "bar" else fields["trade_ns"] // 1_000_000
        schema = json.loads((PROJECT / "contracts" / f"{type_}.v1.schema.json").read_bytes())
        event = event_of(type_, payload, ts)
        page = {"source": source, "valid": event, "invalid": invalid_of(type_, event, schema)}
        text = json.dumps(page, indent=1) + "\n"
        (OUT / f"{type_}.json").write_text(text, encoding="utf-8", newline="\n")
        name = f"tests/fixtures/contracts/{type_}.json"
        sums.append(f"{hashlib.sha256(text.encode()).hexdigest()}  {name}\n")
    (OUT / "manifest.sha256").write_text("".join(sums), encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
