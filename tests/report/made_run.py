"""Small run with fixed data: a few hundred events, written as a run's folder has them."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from minibot.events.codec import Codec
from minibot.events.model import PAYLOAD_CLASSES, Event, MarketTick, Payload, RunOpening
from minibot.events.names import (
    AI_ROLE,
    CONTROL,
    EXECUTION_ROLE,
    MARKET_ROLE,
    RISK_ROLE,
    STRATEGY_ROLE,
    TICKS,
    WATCHDOG_ROLE,
)
from minibot.events.registry import Contracts
from minibot.events.roles import Roles
from minibot.events.unit_sizes import MINUTE_MS
from minibot.kernel.queue import make_queue, open_writer
from minibot.runtime.configuration.config import load_config
from minibot.runtime.paths import PROJECT
from tests.manifests import made_manifest

FIXTURE = PROJECT / "tests" / "fixtures" / "reports" / "run.json"
WRITERS = {
    "fills": EXECUTION_ROLE,
    "order_results": EXECUTION_ROLE,
    "order_intents": RISK_ROLE,
    "risk_actions": RISK_ROLE,
    "signals": STRATEGY_ROLE,
    "incidents": MARKET_ROLE,
    "health": AI_ROLE,
    CONTROL: WATCHDOG_ROLE,
    TICKS: MARKET_ROLE,
}
ORDER_IDS = ("order_id", "client_order_id")
NOT_DERIVED = ("gap", "health", "incident", "instrument", "lock_symbol")
# Above the numbers of events.
ORDERS_FROM = 1 << 40


def read_fixture() -> dict[str, Any]:
    """Return the fixed data."""
    found: dict[str, Any] = json.loads(FIXTURE.read_text(encoding="utf-8"))
    return found


def made_run(var: Path, data: dict[str, Any] | None = None) -> Path:
    """Write the run of fixed data into a `var`, unsealed; return its folder.

    Args:
        var: Where.
        data: The data; the fixture's by default.
    """
    data = read_fixture() if data is None else data
    run_dir = var / "runs" / str(data["run_id"])
    run_dir.mkdir(parents=True)
    config = load_config(PROJECT / "config" / "nore-smoke.v1.json").raw
    manifest = made_manifest(
        data["run_id"],
        config,
        {role: (role,) for role in dict.fromkeys(WRITERS.values())},
        data["from_ts"],
        symbols=tuple(data["prices"]),
    )
    manifest.write(run_dir)
    roles = Roles.of_project()
    contracts = Contracts.of_project()
    codec = Codec(contracts, roles, manifest.run_id, manifest.cmdline_hashes(), "test")
    hashes = {role: process.cmdline_hash for role, process in manifest.processes.items()}
    events = _events(data, hashes)
    for name in roles.queues:
        make_queue(run_dir / "queues", name, roles.queues[name].primary_reader)
        writer = open_writer(run_dir / "queues", name, sync=False)
        writer.append_json([codec.encode(name, each) for each in events.get(name, [])])
        writer.close()
    return run_dir


def _events(data: dict[str, Any], hashes: dict[str, str]) -> dict[str, list[Event]]:
    """Return the events of each queue."""
    found: dict[str, list[Event]] = {}
    number = 0

    def add(queue: str, ts: int, payload: Payload, tick_seq: int | None = None) -> None:
        nonlocal number
        number += 1
        role = WRITERS[queue]
        # A derived event has to name a cause: here the run's opening.
        causes = None if tick_seq is None else (_id(1),)
        event = Event(
            ts, _id(number), role, data["run_id"], hashes[role], payload, causes, tick_seq
        )
        found.setdefault(queue, []).append(event)

    begin = data["from_ts"]
    cash, lots = {"USDT": data["cash"]}, tuple(data.get("lots", ()))
    add(CONTROL, begin, RunOpening(cash, lots, {}, data.get("from_run")))
    for at, minute in enumerate(data["minutes"]):
        ts = begin + minute * MINUTE_MS
        for symbol, prices in data["prices"].items():
            if prices[at] is None:
                continue
            half = Decimal(data["half_spread"][symbol])
            bid, ask = (str(Decimal(prices[at]) + each) for each in (-half, half))
            touch = {"bid": bid, "bid_qty": "9", "ask": ask, "ask_qty": "9"}
            facts = {"symbol": symbol, "price": bid, "kind": "quote", "recv_mono_ns": number}
            add(TICKS, ts, MarketTick.from_json({**touch, **facts}))
        for each in data["events"]:
            if each["minute"] == minute:
                answer = each["payload"]
                ids = {name: _order_id(answer[name]) for name in ORDER_IDS if name in answer}
                payload = PAYLOAD_CLASSES[each["type"]].from_json(answer | ids)
                is_derived = each["type"] not in NOT_DERIVED
                add(each["queue"], ts, payload, len(found[TICKS]) if is_derived else None)
    return found


def _order_id(name: str) -> str:
    """Return the id of an order that the data call by a short name."""
    return _id(int.from_bytes(name.encode()) + ORDERS_FROM)


def _id(number: int) -> str:
    return str(UUID(int=number << 32, version=4))
