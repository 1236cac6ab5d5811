"""Kill storm over whole roles of short runs; see `tools.kill_storm --roles`."""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from minibot.engine.role_replay import Recorded, replay_run
from minibot.events.model import OrderIntent
from minibot.gates.drill_run import TRADING_ROLES, DrillRun, NotInjected
from minibot.kernel.errors import RunStop
from minibot.kernel.verify import verify_tree
from minibot.replay.graph.lineage import verify_lineage
from minibot.runtime.paths import Var

ROLES: Final = (*TRADING_ROLES, "ai_role")
NIGHT_KILLS: Final = 15
PAUSE_S_MAX: Final = 1.5
# One kill in this many meets a role that is just restarting.
AGAIN: Final = 4
AI_RESTARTS: Final = 100
SETS: Final = {
    "duration_ms": 7_200_000,
    "ai.restarts_max": AI_RESTARTS,
    "embedded.source": "generator:2",
    "watchdog.restarts_max_60s": 100,
    "watchdog.restarts_max_300s": 500,
}


def kill_roles(folder: Path, kills: int, seed: int) -> int:
    """Kill roles of runs one after another; return the exit code.

    After each run these must hold: the run ended as planned, every byte and every cause verifies,
    replay is identical with no output missing, and no order or fill occurs twice.
    """
    started = time.monotonic()
    counts: Counter[str] = Counter()
    wrong = []
    left, number = kills, 0
    while left > 0:
        count = min(NIGHT_KILLS, left)
        rnd = random.Random(f"{seed} {number}")
        night = DrillRun("kill_storm", Var(folder / f"night{number}"), sets=SETS, chaos={})
        try:
            digest, found = _storm(night, rnd, count, counts)
        except NotInjected as error:
            digest, found = "", [f"{error}: {night.output()[-600:]}"]
        finally:
            night.clean_up()
        wrong += [f"night {number}: {text}" for text in found]
        if found:
            kept = Path(tempfile.mkdtemp(prefix=f"kill-storm-{seed}-{number}-"))
            shutil.move(folder / f"night{number}", kept)
            wrong.append(f"night {number} is kept in {kept}")
        print(f"night {number}: {count} kills, replay {digest[:16] or 'none'}, {len(found)} wrong")
        left -= count
        number += 1
    for text in wrong:
        print(f"WRONG {text[:900]}")
    shown = ", ".join(f"{role} {counts[role]}" for role in ROLES)
    print(f"killed {shown}; seed {seed}, {time.monotonic() - started:.0f} s")
    print(f"kills {counts.total()}, nights {number}, wrong {len(wrong)}")
    return 1 if wrong else 0


def _storm(
    night: DrillRun, rnd: random.Random, kills: int, counts: Counter[str]
) -> tuple[str, list[str]]:
    """Run one night under fire; return the digest of its replay, and its faults."""
    night.start()
    night.wait_for_trading()
    for number in range(kills):
        role = rnd.choice(ROLES)
        pid = _running(night, role)
        night.kill(pid)
        counts[role] += 1
        night.wait_for(f"the restart of {role}", partial(_other, night, role, pid))
        if number % AGAIN:
            time.sleep(rnd.random() * PAUSE_S_MAX)
    night.wait_to_go_on()
    night.ask_end()
    night.watch_end()
    return _judge(night)


def _judge(night: DrillRun) -> tuple[str, list[str]]:
    run_dir = night.run_dir
    wrong = [] if night.exit_code == 0 else [f"exit {night.exit_code}: {night.output()[-600:]}"]
    wrong += [f"verify: {finding}" for finding in verify_tree(run_dir)]
    recorded = Recorded.open(run_dir)
    wrong += [f"lineage: {finding}" for finding in verify_lineage(recorded)]
    digest = ""
    try:
        replay = replay_run(run_dir)
    except RunStop as error:
        wrong.append(f"replay: {error}")
    else:
        digest = replay.digest
        if not replay.is_identical:
            wrong.append(f"replay: {replay.difference}")
        missing = sum(role.missing + role.unproven for role in replay.roles)
        if missing:
            wrong.append(f"replay: {missing} outputs missing or unproven")
    for queue in ("order_intents", "order_results", "fills"):
        doubled = [key for key, count in Counter(_keys(recorded, queue)).items() if count > 1]
        wrong += [f"{queue}: {key} stands twice" for key in doubled]
    return digest, wrong


def _keys(recorded: Recorded, queue: str) -> Iterator[str]:
    for _, event in recorded.events(queue):
        yield event.id
        if isinstance(event.payload, OrderIntent):  # A cancel bears the id of its order.
            yield event.payload.client_order_id


def _running(night: DrillRun, role: str) -> int:
    return night.wait_for(role, lambda: night.role_pid(role))


def _other(night: DrillRun, role: str, pid: int) -> bool:
    return night.role_pid(role) not in (None, pid)
