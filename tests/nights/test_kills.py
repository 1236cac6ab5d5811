"""SIGKILL of roles and launcher in real nights: nothing lost, nothing doubled."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from decimal import Decimal
from pathlib import Path

import psutil
import pytest

from minibot.engine.role_replay import Recorded, replay_run
from minibot.events.model import OrderIntent
from minibot.kernel.verify import verify_tree
from minibot.ops.live_status import LiveStatus
from minibot.replay.graph.lineage import verify_lineage
from tests.nights.night import Night
from tests.runs import verb
from tests.waiting import DEADLINE_S, wait_until

pytestmark = [pytest.mark.campaign, pytest.mark.process]

ROLES = ("strategy_role", "risk_role", "execution_role", "market_role", "ai_role")


def await_restart(night: Night, name: str, pid: int) -> None:
    """Wait until a role has another process."""
    wait_until(
        lambda: (again := night.role(name)) is not None and again.pid != pid,
        f"{name} is started again",
    )


def await_ticks(night: Night, before: int) -> None:
    """Wait until ticks go on."""
    wait_until(lambda: night.lines("market_ticks") > before, "ticks go on")


@pytest.mark.row("N-14", "N-20", "N-02", "N-121", "N-103", "D-60", "B-70", "I1", "I2", "I7", "F62")
def test_night_with_each_role_killed_once_ends_well_and_replays_identical(tmp_path: Path) -> None:
    """Each role is killed in turn, comes back within its budget, and its outputs are exact."""
    night = Night(tmp_path / "var")
    night.await_trading()
    for name in ROLES:
        victim = night.role(name)
        assert victim is not None, name
        before = night.lines("market_ticks")
        victim.kill()
        await_restart(night, name, victim.pid)
        await_ticks(night, before)
    night.interrupt()
    code, text = night.end()

    assert code == 0, text
    run_dir = night.run_dirs()[-1]
    assert list(verify_tree(run_dir)) == []
    recorded = Recorded.open(run_dir)
    assert list(verify_lineage(recorded)) == []
    replay = replay_run(run_dir)
    assert replay.is_identical
    assert sum(role.missing + role.unproven for role in replay.roles) == 0
    restarts = Counter(event.payload.to_json()["kind"] for _, event in recorded.events("incidents"))
    assert restarts["ROLE_RESTARTED"] == len(ROLES)
    client_orders = [
        event.payload.client_order_id
        for _, event in recorded.events("order_intents")
        if isinstance(event.payload, OrderIntent)
    ]
    assert len(client_orders) == len(set(client_orders))


def resting(night: Night) -> bool:
    """Return whether a position is held and its exits rest with the executor."""
    status = LiveStatus(night.var / "ops" / "status.json")
    if not status.look() or status.latest is None:
        return False
    role = status.latest["roles"].get("execution_role", {})
    facts = role.get("heartbeat", {}).get("facts", {})
    return bool(facts.get("open_positions")) and facts.get("open_orders", 0) > 0


@pytest.mark.row("B-21", "I1", "I2")
def test_roles_killed_with_a_stop_resting_keep_it_and_replay_identical(tmp_path: Path) -> None:
    """Each role, killed while exits rest, comes back and finds them; each fills once."""
    night = Night(tmp_path / "var", ["risk.exits_at=venue", "ai.enabled=false"])
    night.await_trading()
    for name in ("risk_role", "execution_role", "strategy_role", "market_role"):
        wait_until(lambda: resting(night), f"exits rest with the executor, then {name} is killed")
        victim = night.role(name)
        assert victim is not None, name
        before = night.lines("market_ticks")
        victim.kill()
        await_restart(night, name, victim.pid)
        await_ticks(night, before)
    night.interrupt()
    code, text = night.end()

    assert code == 0, text
    run_dir = night.run_dirs()[-1]
    assert list(verify_tree(run_dir)) == []
    recorded = Recorded.open(run_dir)
    assert list(verify_lineage(recorded)) == []
    assert replay_run(run_dir).is_identical
    queue = [event.payload for _, event in recorded.events("order_intents")]
    intents = [payload for payload in queue if isinstance(payload, OrderIntent)]
    assert any(intent.stop_price for intent in intents)
    orders = [intent.client_order_id for intent in intents]
    assert len(orders) == len(set(orders))
    bought: Counter[str] = Counter()
    for _, event in recorded.events("fills"):
        fill = event.payload.to_json()
        sign = 1 if fill["side"] == "BUY" else -1
        bought[fill["symbol"]] += sign * int(Decimal(fill["qty"]) * 10**8)
    # The end of the night sells what is left: no unit is sold twice, or held without a sale.
    assert all(qty >= 0 for qty in bought.values())


@pytest.mark.row("N-89", "N-35", "F67")
def test_killed_launcher_leaves_no_orphan_and_the_next_start_seals_its_run(tmp_path: Path) -> None:
    """A killed launcher ends all roles, and the next start seals the run and says so (F67)."""
    night = Night(tmp_path / "var")
    night.await_trading()
    roles = psutil.Process(night.process.pid).children()
    night.process.kill()
    night.end()
    _, alive = psutil.wait_procs(roles, timeout=DEADLINE_S)
    assert not alive, [process.cmdline() for process in alive]
    (tmp_path / "var" / "STOP.flag").unlink(missing_ok=True)

    again = Night(tmp_path / "var", ["duration_ms=40000"])
    code, text = again.end()

    assert code == 0, text
    assert "interrupted" in text
    former = night.run_dirs()[0]
    assert json.loads((former / "seal.json").read_bytes())["extra"]["state"] == "interrupted"
    assert list(verify_tree(former)) == []
    assert replay_run(former).difference is None


@pytest.mark.row("N-82", "N-105")
def test_byte_changed_between_runs_is_sealed_as_found_and_named(tmp_path: Path) -> None:
    """A queue damaged after a crash is sealed unrepaired, and verify names the damage."""
    night = Night(tmp_path / "var")
    night.await_trading()
    children = psutil.Process(night.process.pid).children()
    night.process.kill()
    night.end()
    psutil.wait_procs(children, timeout=DEADLINE_S)
    (tmp_path / "var" / "STOP.flag").unlink(missing_ok=True)
    inbox = tmp_path / "var" / "queues" / "signals" / "inbox.jsonl"
    data = bytearray(inbox.read_bytes())
    data[90] ^= 1
    inbox.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()

    again = Night(tmp_path / "var", ["duration_ms=40000"])
    code, text = again.end()

    assert code == 0, text
    former = night.run_dirs()[0]
    findings = list(verify_tree(former))
    assert any("signals" in finding.file for finding in findings)
    sealed = (former / "queues" / "signals" / "inbox.jsonl").read_bytes()
    assert hashlib.sha256(sealed).hexdigest() == digest


@pytest.mark.row("D-51", "D-52")
def test_night_that_is_stopped_before_its_roles_have_begun_is_proven(tmp_path: Path) -> None:
    """A night stopped before its roles begin is proven: missing outputs are no difference.

    The amount of market data before the flag is noticed depends on the machine.
    """
    night = Night(tmp_path / "var")
    wait_until(night.run_dirs, "the run")
    (night.var / "STOP.flag").touch()
    code, text = night.end()
    assert code == 10, text

    replayed = verb(night.var, "replay", "--json")
    report = verb(night.var, "report", "--full")
    verified = verb(night.var, "verify")

    assert replayed.code == 0, replayed.out
    assert replayed.document["identical"]
    assert replayed.document["ledger"]["identical"]
    assert verified.code == report.code == 0
    assert "1970" not in report.out
    (run,) = night.run_dirs()
    is_silent = not (run / "queues" / "market_ticks" / "inbox.jsonl").stat().st_size
    (output,) = (line for line in report.out.splitlines() if "market time" in line)
    assert ("market time   none" in output) == is_silent, report.out


def test_night_on_a_frozen_terminal_is_killed_and_sealed(tmp_path: Path) -> None:
    """Ctrl-S holds up what is told of a STOP, and neither the roles' end nor the seal."""
    termios = pytest.importorskip("termios", reason="this system has no POSIX terminals")
    reader, terminal = pytest.importorskip(
        "pty", reason="this system has no POSIX terminals"
    ).openpty()
    night = Night(tmp_path / "var", ["ai.enabled=false"], stderr=terminal)
    night.await_trading()
    roles = psutil.Process(night.process.pid).children()
    termios.tcflow(terminal, termios.TCOOFF)

    assert verb(tmp_path / "var", "kill", "--reason", "nobody looks").code == 0

    (run_dir,) = night.run_dirs()
    wait_until(lambda: (run_dir / "seal.json").exists(), "the run is sealed")
    assert not any(role.is_running() for role in roles)
    assert list(verify_tree(run_dir)) == []
    termios.tcflow(terminal, termios.TCOON)
    code, _ = night.end()
    assert code == 10
    assert b"STOP OPERATOR_KILL" in os.read(reader, 4096)
    os.close(reader)
    os.close(terminal)
