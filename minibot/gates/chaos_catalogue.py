"""Catalogue of faults: each with its description, injection, and the end that the run must have.

Ids such as F63 stand in the project's fault list (docs/reference/faults.md), ids such as N-35 in
the requirements. Every run is a real one: the smoke profile, its synthetic market from the
generator, every role a process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from minibot.events import reasons
from minibot.events.names import EXECUTION_ROLE, RISK_ROLE, STRATEGY_ROLE, TICKS
from minibot.gates import chaos_files as files
from minibot.gates import chaos_processes as processes
from minibot.gates import chaos_venue as venue
from minibot.gates.chaos_fault import (
    AI,
    ANY_ROLE,
    END,
    EXECUTION,
    KILLED_EXIT,
    MARKET,
    REFUSE,
    REFUSED_EXIT,
    RISK,
    STOP,
    STOPPED_EXIT,
    STRATEGY,
    SURVIVE,
    WATCHDOG,
    Fault,
    Inject,
)
from minibot.gates.smoke_run import EAGER

# At this speed the duration, an hour of market time, takes three minutes, at that of `FAST` one:
# longer than any drill, so that the drill ends the run.
BASE: Final[Mapping[str, object]] = {
    "duration_ms": 3_600_000,
    "embedded.speed": "20",
    "ai.train": False,
    **EAGER,
}
# The fastest speed that the profile allows: an outage of 120 s of market time takes 2 s.
FAST: Final[Mapping[str, object]] = {"embedded.speed": "60"}
# Good lines before the one that a writer spoils; for a poison event the number of the line itself.
PLANT_AFTER_LINES: Final = 2
POISON_LINE: Final = 3000
SIGNALS_READERS: Final = (*RISK, *AI)
# Every reader of market data may be the one that stops: a slow one may not have passed the harmed
# line when it is harmed.
TICKS_READERS: Final = (*STRATEGY, *RISK, *EXECUTION, *AI)
# Wall-clock time after the launcher's start by which the run trades, even on a slow machine.
PLANT_AFTER_MS: Final = 8_000


def _stop(
    name: str,
    ids: str,
    what: str,
    inject: Inject,
    code: str,
    components: tuple[str, ...],
    also: tuple[str, ...] = (),
    **fields: Any,
) -> Fault:
    return Fault(
        name,
        ids,
        what,
        STOP,
        inject,
        codes=(code, *also),
        components=components,
        exit_code=STOPPED_EXIT,
        **fields,
    )


def _survive(name: str, ids: str, what: str, inject: Inject, **fields: Any) -> Fault:
    return Fault(name, ids, what, SURVIVE, inject, **fields)


def _planted(
    name: str, ids: str, what: str, code: str, *, writer: str, queue: str, readers: tuple[str, ...]
) -> Fault:
    """Return a fault whose writer breaks the contract in the third event of a queue.

    One of `readers` has to stop with the code and to set the event aside; the fault's name says to
    the run how the event is spoiled.
    """
    return _stop(
        name,
        ids,
        what,
        processes.planted_line(queue, PLANT_AFTER_LINES + 1),
        code,
        readers,
        ready="run",
        chaos={"plant": name, "role": writer, "queue": queue, "after": PLANT_AFTER_LINES},
        damaged=(queue,),
        dead_letter=True,
    )


EVENTS: Final = (
    _planted(
        "bad_schema",
        "F92 N-81",
        "the strategy writes a signal with an empty payload",
        reasons.SCHEMA_INVALID,
        writer=STRATEGY_ROLE,
        queue="signals",
        readers=SIGNALS_READERS,
    ),
    _planted(
        "no_cmdline_hash",
        "F97 N-87",
        "risk writes an intent without cmdline_hash",
        reasons.CMDLINE_HASH_INVALID,
        writer=RISK_ROLE,
        queue="order_intents",
        readers=EXECUTION,
    ),
    _planted(
        "malformed_cmdline_hash",
        "F97 N-87",
        "risk writes an intent whose cmdline_hash is no hash",
        reasons.CMDLINE_HASH_INVALID,
        writer=RISK_ROLE,
        queue="order_intents",
        readers=EXECUTION,
    ),
    _planted(
        "foreign_cmdline_hash",
        "F97 N-09",
        "execution writes a result with the hash of an unknown process",
        reasons.CMDLINE_HASH_MISMATCH,
        writer=EXECUTION_ROLE,
        queue="order_results",
        readers=RISK,
    ),
    _planted(
        "unknown_type",
        "F94 N-81",
        "execution writes a result of a type that no contract knows",
        reasons.TYPE_UNKNOWN,
        writer=EXECUTION_ROLE,
        queue="order_results",
        readers=RISK,
    ),
    _planted(
        "wrong_version",
        "F93 N-81",
        "risk writes an intent of contract version 2",
        reasons.SCHEMA_VERSION,
        writer=RISK_ROLE,
        queue="order_intents",
        readers=EXECUTION,
    ),
    _planted(
        "wrong_run_id",
        "F96 N-81",
        "risk writes an intent of another run",
        reasons.RUN_ID_MISMATCH,
        writer=RISK_ROLE,
        queue="order_intents",
        readers=EXECUTION,
    ),
    _planted(
        "forbidden_source",
        "F95 N-36",
        "an intent appears that names ai_role as its writer",
        reasons.SOURCE_FORBIDDEN,
        writer=RISK_ROLE,
        queue="order_intents",
        readers=EXECUTION,
    ),
)

QUEUES: Final = (
    _stop(
        "bad_sha256",
        "F11 N-82",
        "a bit flips in a published line that a role has not read",
        files.flip_byte,
        reasons.QUEUE_CORRUPT,
        TICKS_READERS,
        damaged=(TICKS,),
    ),
    _stop(
        "line_edited",
        "F18 N-82",
        "a published line is replaced by another valid one",
        files.edit_line,
        reasons.QUEUE_CHAIN,
        TICKS_READERS,
        damaged=(TICKS,),
    ),
    _stop(
        "queue_truncated",
        "F14",
        "a queue is cut below its head",
        files.truncate_queue,
        reasons.QUEUE_TRUNCATED,
        ANY_ROLE,
        # A writer that was just about to append leaves a gap, and readers find a wrong line there.
        also=(reasons.QUEUE_CORRUPT,),
        damaged=(TICKS,),
    ),
    _stop(
        "queue_foreign_write",
        "F26",
        "another program appends to a queue",
        files.append_foreign,
        reasons.QUEUE_FOREIGN_WRITE,
        MARKET,
        damaged=(TICKS,),
    ),
    _stop(
        "queue_missing",
        "F19",
        "a queue's file is deleted while it is written",
        files.delete_queue,
        reasons.QUEUE_MISSING,
        MARKET,
        damaged=(TICKS,),
    ),
    _stop(
        "queue_replaced",
        "F20",
        "a queue's file is replaced by another file",
        files.replace_queue,
        reasons.QUEUE_REPLACED,
        MARKET,
        damaged=(TICKS,),
    ),
    _stop(
        "torn_cursor",
        "F43 N-83",
        "a cursor is half written",
        files.tear_cursor,
        reasons.ATOMICITY_VIOLATION,
        (*WATCHDOG, *RISK),
        damaged=("control",),
    ),
    _stop(
        "cursor_ahead",
        "F33 N-86",
        "a cursor points beyond the end of its queue",
        files.cursor_ahead,
        reasons.CURSOR_AHEAD,
        WATCHDOG,
        damaged=("control",),
    ),
    _stop(
        "cursor_foreign_run",
        "F37 N-86",
        "a cursor of another run is put in place",
        files.cursor_foreign_run,
        reasons.CURSOR_FOREIGN_RUN,
        WATCHDOG,
    ),
    _stop(
        "cursor_link",
        "F143",
        "a cursor is replaced by a symbolic link",
        files.cursor_link,
        reasons.PERMISSIONS_UNSAFE,
        (*WATCHDOG, *RISK),
        damaged=("control", "seal.json"),  # A tree with a link in it is not sealed.
    ),
)

PROCESSES: Final = (
    _survive(
        "poison_event",
        "F66",
        "one line of market data crashes risk whenever it takes it",
        processes.poison,
        ready="run",
        chaos={
            "plant": "poison_event",
            "role": RISK_ROLE,
            "queue": "market_ticks",
            "after": POISON_LINE,
        },
        evidence=("role_restarted", reasons.POISON_EVENT),
    ),
    _stop(
        "poison_decision",
        "F66 F65",
        "one signal crashes risk whenever it takes it",
        processes.wait_for_stop,
        reasons.ROLE_CRASH_LOOP,
        WATCHDOG,
        ready="run",
        chaos={
            "plant": "poison_event",
            "role": RISK_ROLE,
            "queue": "signals",
            "after": PLANT_AFTER_LINES,
        },
    ),
    _survive(
        "role_kill",
        "F62 N-20",
        "market, strategy, risk and execution are killed in turn",
        processes.kill_each_role,
        evidence=("role_restarted",),
    ),
    Fault(
        "drain_kill",
        "F62",
        "the executor is killed while the run drains",
        END,
        processes.kill_while_draining,
        codes=(reasons.OPERATOR,),
        components=WATCHDOG,
        sets={"watchdog.hung_execution_ms": 60_000},
        evidence=("role_restarted",),
    ),
    _stop(
        "role_hang",
        "F63 N-35",
        "the strategy is frozen",
        processes.freeze_strategy,
        reasons.ROLE_HUNG,
        WATCHDOG,
    ),
    _stop(
        "executor_hang",
        "F63 N-35",
        "the executor is frozen",
        processes.freeze_execution,
        reasons.ROLE_HUNG,
        WATCHDOG,
    ),
    _stop(
        "crash_loop",
        "F65 N-35",
        "a role dies as often as it is started",
        processes.kill_again_and_again,
        reasons.ROLE_CRASH_LOOP,
        WATCHDOG,
    ),
    _stop(
        "role_memory",
        "F57",
        "roles need more memory than the profile allows",
        processes.wait_for_stop,
        reasons.ROLE_MEMORY,
        WATCHDOG,
        ready="run",
        sets={"watchdog.rss_mb_max": 24},
    ),
    _stop(
        "lag",
        "F76",
        "the strategy gets so little time that it falls behind",
        processes.slow_strategy,
        reasons.CONSUMER_LAG,
        WATCHDOG,
        sets={**FAST, "queues.backlog_max": 1000, "watchdog.hung_ms": 60_000},
    ),
    _survive(
        "second_writer",
        "F44",
        "a second process of a running role is started",
        processes.start_role_twice,
    ),
    Fault(
        "watchdog_kill",
        "F67 N-35",
        "the launcher is killed; the next start recovers the run",
        STOP,
        processes.kill_launcher,
        codes=(reasons.WATCHDOG_LOST,),
        exit_code=KILLED_EXIT,
        afterwards=processes.after_killed_launcher,
    ),
    _stop(
        "watchdog_hang",
        "F68 N-90",
        "the launcher is frozen until execution has stopped",
        processes.freeze_launcher,
        reasons.WATCHDOG_LOST,
        EXECUTION,
    ),
    _survive(
        "second_start", "F69", "a second run is started on the same var", processes.start_twice
    ),
    _survive(
        "terminal_frozen",
        "N-115",
        "the live table is frozen for the rest of the run",
        processes.freeze_table,
        shows=True,
    ),
)

OPERATOR: Final = (
    _stop(
        "stop_flag_by_hand",
        "F71 N-89",
        "STOP.flag is created by hand",
        files.raise_flag_by_hand,
        reasons.OPERATOR_KILL,
        WATCHDOG,
    ),
    Fault(
        "operator_stop",
        "F72",
        "minibot stop",
        END,
        processes.operator_stop,
        codes=(reasons.OPERATOR,),
        components=WATCHDOG,
    ),
    _stop(
        "operator_kill",
        "F72 B-64",
        "minibot kill",
        processes.operator_kill,
        reasons.OPERATOR_KILL,
        WATCHDOG,
    ),
    Fault(
        "ctrl_c",
        "F72",
        "Ctrl-C once",
        END,
        processes.interrupt,
        codes=(reasons.OPERATOR,),
        components=WATCHDOG,
    ),
    _stop(
        "ctrl_c_twice",
        "F72",
        "Ctrl-C a second time while the run is closing",
        processes.interrupt_twice,
        reasons.OPERATOR_KILL,
        WATCHDOG,
    ),
    Fault(
        "start_with_flag",
        "F70 N-89",
        "a start while STOP.flag exists",
        REFUSE,
        processes.start_with_flag,
        exit_code=REFUSED_EXIT,
        ready="none",
    ),
    _stop(
        "config_changed",
        "F147 N-83",
        "the profile changes during the run",
        files.change_profile,
        reasons.CONFIG_INVALID,
        WATCHDOG,
    ),
)

MACHINE: Final = (
    _stop(
        "disk_low",
        "F51",
        "free space falls below the floor",
        processes.wait_for_stop,
        reasons.DISK_LOW,
        WATCHDOG,
        chaos={"plant": "disk_low", "after_ms": PLANT_AFTER_MS, "amount": -(10**15)},
    ),
    _stop(
        "disk_full",
        "F04 F52",
        "the disk is full to its last byte",
        files.fill_disk,
        reasons.IO_ENOSPC,
        ANY_ROLE,
        sets={"watchdog.disk_free_min_mb": 1},
        disk_mb=48,
    ),
    _stop(
        "file_size_limit",
        "F55",
        "a quota refuses what the market role writes",
        processes.limit_file_size,
        reasons.IO_EIO,
        MARKET,
    ),
    _stop(
        "descriptors",
        "F56",
        "the risk role has no file descriptors left",
        processes.limit_descriptors,
        reasons.FD_EXHAUSTED,
        RISK,
    ),
    _stop(
        "clock_jump",
        "F79",
        "the wall clock jumps by an hour",
        processes.wait_for_stop,
        reasons.CLOCK_JUMP,
        WATCHDOG,
        chaos={"plant": "clock_jump", "after_ms": PLANT_AFTER_MS, "amount": 3_600_000},
    ),
    _stop(
        "suspend",
        "F77 F81",
        "the machine sleeps for an hour",
        processes.wait_for_stop,
        reasons.CLOCK_JUMP,
        WATCHDOG,
        chaos={"plant": "suspend", "after_ms": PLANT_AFTER_MS, "amount": 3_600_000},
    ),
    _stop(
        "risk_breach",
        "F120 N-85",
        "a hard limit of drawdown is reached",
        processes.wait_for_stop,
        reasons.RISK_LIMIT,
        RISK,
        ready="run",
        sets={"risk.drawdown_bps_soft": 1, "risk.drawdown_bps_hard": 1},
    ),
)

EXCHANGE: Final = (
    _stop(
        "exchange_down",
        "F103 N-84",
        "the exchange refuses every connection",
        venue.faulty("unreachable", ms=venue.FOREVER_MS),
        reasons.EXCHANGE_UNREACHABLE,
        MARKET,
        sets=FAST,
    ),
    _stop(
        "exchange_killed",
        "F103 N-84",
        "the exchange's process dies",
        venue.kill_exchange,
        reasons.EXCHANGE_UNREACHABLE,
        MARKET,
        sets=FAST,
    ),
    _stop(
        "exchange_errors",
        "F104 F107 N-84",
        "every request is answered by HTTP 503",
        venue.faulty("5xx", ms=venue.FOREVER_MS),
        reasons.EXCHANGE_ERROR_RATE,
        MARKET,
        sets=FAST,
    ),
    _stop(
        "exchange_flapping",
        "F104 N-84",
        "the exchange drops every connection again",
        venue.drop_again_and_again,
        reasons.EXCHANGE_ERROR_RATE,
        MARKET,
        sets={**FAST, "binance.reconnects_max": 5},
    ),
    _stop(
        "exchange_ban",
        "F106",
        "the exchange bans the address for three days",
        venue.faulty("418", ban_ms=venue.THREE_DAYS_MS),
        reasons.EXCHANGE_BANNED,
        MARKET,
    ),
    _stop(
        "feed_stall",
        "F108",
        "connections are open, but no data comes",
        venue.faulty("stall", ms=venue.FOREVER_MS),
        reasons.FEED_STALE,
        MARKET,
        sets=FAST,
    ),
    _stop(
        "feed_garbage",
        "F109",
        "unreadable frames keep coming between the good ones",
        venue.send_garbage,
        reasons.FEED_INVALID,
        MARKET,
    ),
    _survive(
        "rate_limit_429",
        "F105",
        "the exchange answers 429 with Retry-After",
        venue.noticed("429", reasons.RATE_LIMITED, retry_after=20),
        evidence=(reasons.RATE_LIMITED,),
    ),
    _survive(
        "exchange_drop",
        "F102",
        "the exchange drops the connection",
        venue.noticed("drop", reasons.CONNECTION_LOST),
        evidence=(reasons.CONNECTION_LOST,),
    ),
    _survive(
        "sequence_gap",
        "F117",
        "updates of the book are missing",
        venue.noticed("gap", "book_lost", n=3),
        evidence=("book_lost",),
    ),
    _survive(
        "exchange_shutdown",
        "F112",
        "the exchange announces a shutdown",
        venue.noticed("shutdown", "server_shutdown", lead_ms=20_000),
        evidence=("server_shutdown",),
    ),
    _survive(
        "disconnect_24h",
        "F112",
        "the exchange ends a connection that is a day old",
        venue.noticed("disconnect_24h", reasons.CONNECTION_LOST),
        evidence=(reasons.CONNECTION_LOST,),
    ),
)

ADVISER: Final = (
    _stop(
        "ai_order",
        "F127 N-101",
        "the AI worker sends an order",
        venue.worker_sends_order,
        reasons.AI_ISOLATION_BREACH,
        AI,
        ready="run",
        chaos={"ai_worker": "order_intent"},
    ),
    _survive(
        "ai_killed",
        "F135",
        "the AI's worker and then its clerk are killed",
        venue.kill_ai,
        evidence=("role_restarted",),
    ),
    _survive(
        "ai_flood",
        "F132 F135",
        "the AI worker floods its pipe",
        venue.worker_goes_bad,
        sets={"ai.restarts_max": 0},
        chaos={"ai_worker": "flood"},
    ),
    _survive(
        "ai_garbage",
        "F142",
        "the AI worker sends what is no draft",
        venue.worker_goes_bad,
        sets={"ai.restarts_max": 0},
        chaos={"ai_worker": "huge_line"},
    ),
)

FAULTS: Final[Mapping[str, Fault]] = {
    fault.name: fault
    for group in (EVENTS, QUEUES, PROCESSES, OPERATOR, MACHINE, EXCHANGE, ADVISER)
    for fault in group
}
"""Every fault by name, in the order of the catalogue."""
