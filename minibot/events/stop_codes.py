"""Codes of the stop journal: STOP codes of the fault catalogue, planned ends, CLEARED, REFUSED.

Codes that the kernel raises are constants of `kernel.codes`; their texts stand here.
"""

from __future__ import annotations

from typing import Final

from minibot.events.reason import END_GROUP, STOP_GROUP, define
from minibot.kernel import codes


def _stop(code: str, meaning: str, remedy: str) -> str:
    return define(STOP_GROUP, code, meaning, remedy)


def _end(code: str, meaning: str, remedy: str) -> str:
    return define(END_GROUP, code, meaning, remedy)


# --- the operator ------------------------------------------------------------------------------

OPERATOR_KILL: Final = _stop(
    "OPERATOR_KILL",
    "An operator ended the run at once by `minibot kill` or a second Ctrl-C.",
    "Look at the listed open positions, then run `minibot clear-stop --reason ...`.",
)

# --- queues on disk ----------------------------------------------------------------------------

_stop(
    codes.QUEUE_CORRUPT,
    "A line that was already published fails its hash or its format.",
    "Keep the files, run `minibot verify` to see line and offset, and check the disk.",
)
_stop(
    codes.QUEUE_TRUNCATED,
    "A queue file is shorter than what was published from it.",
    "Keep the files and check disk and file system; data that was synced is gone.",
)
_stop(
    codes.QUEUE_CHAIN,
    "Lines are valid one by one, but their hash chain is broken: one was added, moved or edited.",
    "Treat the run as tampered with and keep the files as evidence.",
)
_stop(
    codes.QUEUE_TAIL_TOO_LONG,
    "More than one batch above the published head is damaged, so nothing was cut.",
    "Keep the files and check the disk before the next start.",
)
_stop(
    codes.QUEUE_MISSING,
    "A queue file is gone although data from it was published.",
    "Restore the file from a backup or keep the run as it is; nothing is recreated silently.",
)
_stop(
    codes.QUEUE_REPLACED,
    "A queue file was replaced by another file while it was in use.",
    "Find the program that touches `var/queues` and keep it away.",
)
_stop(
    codes.QUEUE_FOREIGN_WRITE,
    "A queue file grew by bytes that its writer did not write.",
    "Find the program that writes into `var/queues` and keep it away.",
)
_stop(
    codes.QUEUE_LOCKED,
    "Another process holds the writer's lock of a queue.",
    "End the other run on this `var`, or give this one its own with `--var`.",
)
LOCK_LOST: Final = _stop(
    "LOCK_LOST",
    "The file of a lock that this run holds was removed or replaced while the run went on.",
    "Find the program that deletes files under `var`; another run could have written beside this.",
)
VAR_LOST: Final = _stop(
    "VAR_LOST",
    "The folder `var` was moved, removed or replaced while the run wrote into it.",
    "Find who moved it; the detail says where it is now. Put it back before you clear the stop.",
)
_stop(
    codes.QUEUE_MANIFEST,
    "A sealed segment is missing, changed or does not match its entry in `segments.json`.",
    "Keep the files and run `minibot verify` to see which segment.",
)

# --- the run's own files ------------------------------------------------------------------------

RUN_FILE_CHANGED: Final = _stop(
    "RUN_FILE_CHANGED",
    "The run's folder, or a file in it that the launcher wrote, is gone or no longer as written.",
    "Find who touches `var/runs`, keep what is left; `minibot verify` names what is missing.",
)

# --- cursors -----------------------------------------------------------------------------------

_stop(
    codes.CURSOR_AHEAD,
    "A reader's position lies beyond the end of its queue.",
    "Check whether `var` was restored from an older copy; queues and cursors must go together.",
)
_stop(
    codes.CURSOR_CORRUPT,
    "A cursor is intact as a file but its content makes no sense, or it is missing without acks.",
    "Keep the files; the input log shows the reader's position.",
)
_stop(
    codes.CURSOR_FOREIGN_RUN,
    "A cursor belongs to another run, queue or reader.",
    "Do not copy files between runs; start on a clean `var`.",
)
_stop(
    codes.CURSOR_REGRESSED,
    "A cursor went back behind a position that it had already published.",
    "Check whether another program restores files under `var`.",
)

# --- events ------------------------------------------------------------------------------------

_stop(
    codes.SCHEMA_INVALID,
    "An event does not satisfy its contract or is not canonical JSON.",
    "Read the dead letter of that queue: it names the field; then fix the writer.",
)
SCHEMA_VERSION: Final = _stop(
    "SCHEMA_VERSION",
    "An event names a schema or a version that this build does not know.",
    "Run all roles from the same build.",
)
TYPE_UNKNOWN: Final = _stop(
    "TYPE_UNKNOWN",
    "An event has a type without an entry in `config/contracts.v1.json`.",
    "Register the contract, or fix the writer.",
)
SOURCE_FORBIDDEN: Final = _stop(
    "SOURCE_FORBIDDEN",
    "A role wrote an event, or into a queue, that the role x type table does not grant it.",
    "Fix the writer; `config/roles.v1.json` says who may write what.",
)
RUN_ID_MISMATCH: Final = _stop(
    "RUN_ID_MISMATCH",
    "An event belongs to another run, or its run id is malformed.",
    "Do not copy lines or files between runs.",
)
CMDLINE_HASH_INVALID: Final = _stop(
    "CMDLINE_HASH_INVALID",
    "An event lacks `cmdline_hash`, or it is not 64 lowercase hex digits.",
    "Fix the writer; every event carries the hash of its process's command line.",
)
CMDLINE_HASH_MISMATCH: Final = _stop(
    "CMDLINE_HASH_MISMATCH",
    "An event carries a command line hash that the manifest does not list for its role.",
    "Find out which process wrote it; only processes started by this run may write.",
)
EVENT_ID_CONFLICT: Final = _stop(
    "EVENT_ID_CONFLICT",
    "Two events have the same id and different content.",
    "Keep the files; a role was not deterministic or a line was forged.",
)

# --- disk, memory, descriptors -----------------------------------------------------------------

_stop(
    codes.IO_ENOSPC,
    "The disk is full or has no inodes left.",
    "Free space under `var`, then clear the stop and start again.",
)
_stop(
    codes.IO_EIO,
    "Reading or writing a file failed in the device, the quota or the size limit.",
    "Check the disk and its limits before the next start.",
)
_stop(
    codes.IO_FSYNC,
    "The system could not make written data durable; that file is not used again.",
    "Check the disk; unsynced data of the last batch may be lost.",
)
_stop(
    codes.IO_RENAME,
    "A file could not be replaced by its new version.",
    "Check permissions and programs that hold files under `var` open.",
)
_stop(
    codes.IO_READONLY,
    "The file system of `var` became read-only, or a permission there forbids the access.",
    "Mount it writable, or give this user the file that the detail names; then start again.",
)
_stop(
    codes.FD_EXHAUSTED,
    "The process or the system has no file descriptors left.",
    "Raise the limit (`ulimit -n`) and look for the growth in `health`.",
)
DISK_LOW: Final = _stop(
    "DISK_LOW",
    "Free space fell below `watchdog.disk_free_min_mb`.",
    "Free space; the run stopped while it could still write its journal.",
)
_stop(
    codes.ATOMICITY_VIOLATION,
    "A critical file fails its own hash, its generation went back, or its pin changed.",
    "Find the program that wrote it without the kernel; keep the file as evidence.",
)
_stop(
    codes.PERMISSIONS_UNSAFE,
    "A file or folder under `var` is a link, has a wrong owner or is open to others.",
    "Remove the link or tighten owner and mode, then start again.",
)

# --- processes ---------------------------------------------------------------------------------

ROLE_CRASH_LOOP: Final = _stop(
    "ROLE_CRASH_LOOP",
    "A role crashed more often than its restart budget allows, or could not be started.",
    "Read the role's log and its last incident; the cause repeats.",
)
ROLE_HUNG: Final = _stop(
    "ROLE_HUNG",
    "A role is alive but makes no progress.",
    "Read the role's log. Without an error the machine was too busy (`minibot probe`) or, in "
    "strategy_role, your strategy has a loop without an end.",
)
ROLE_MEMORY: Final = _stop(
    "ROLE_MEMORY",
    "A role uses more memory than it may.",
    "Compare `rss_bytes` in `health` over the run; raise `watchdog.rss_mb_max` only knowingly.",
)
WATCHDOG_LOST: Final = _stop(
    "WATCHDOG_LOST",
    "A role lost its launcher, so nobody supervises it.",
    "Find out why the launcher died or hung; then clear the stop and start again.",
)
CONSUMER_LAG: Final = _stop(
    "CONSUMER_LAG",
    "A reader fell too far behind its queue, or a disk call took too long.",
    "Use a faster disk or fewer symbols; see backlog and sync times in the metrics.",
)
INVARIANT_BROKEN: Final = _stop(
    "INVARIANT_BROKEN",
    "A state was reached that the code holds to be impossible.",
    "Please report it with the run's manifest; the detail names the invariant.",
)
CODE_CHANGED: Final = _stop(
    "CODE_CHANGED",
    "Code changed on disk while the run went on, so a process of it could not be started again.",
    "After `git pull` or an edit look at the open positions, run `minibot clear-stop --reason "
    "...`, start again, and change code between nights alone.",
)
CLOCK_JUMP: Final = _stop(
    "CLOCK_JUMP",
    "The machine's clock jumped or drifted, or the machine stood still, by more than is allowed.",
    "Repair time synchronisation (NTP), and keep the machine awake, before the next start.",
)

# --- the exchange ------------------------------------------------------------------------------

EXCHANGE_UNREACHABLE: Final = _stop(
    "EXCHANGE_UNREACHABLE",
    "The exchange was unreachable for longer than the venue's `outage_stop_market_ms`.",
    "Check the network; `minibot doctor` says which host is unreachable.",
)
EXCHANGE_ERROR_RATE: Final = _stop(
    "EXCHANGE_ERROR_RATE",
    "Too many calls to the exchange failed, or too many connections to it were lost.",
    "Check the network and the exchange's status page.",
)
EXCHANGE_BANNED: Final = _stop(
    "EXCHANGE_BANNED",
    "The exchange banned this address (HTTP 418) for longer than an outage or a start may last.",
    "Wait until the ban is over; look for other programs that use the same address.",
)
FEED_STALE: Final = _stop(
    "FEED_STALE",
    "A connected stream brought no data, or late data, for longer than allowed.",
    "Check the network; a half-open connection looks like this.",
)
FEED_INVALID: Final = _stop(
    "FEED_INVALID",
    "Too many messages of the feed were malformed or implausible.",
    "Check what stands between this machine and the exchange; see the incidents.",
)
REAL_ORDER_ATTEMPT: Final = _stop(
    "REAL_ORDER_ATTEMPT",
    "Something tried to reach an order, account or withdrawal endpoint.",
    "Treat the installation as compromised; minibot has no such code.",
)

# --- trading -----------------------------------------------------------------------------------

RISK_LIMIT: Final = _stop(
    "RISK_LIMIT",
    "A hard risk limit was exceeded; checks and detail name which one.",
    "Review the run before you change a limit; open positions are listed.",
)
NONDETERMINISM: Final = _stop(
    "NONDETERMINISM",
    "The same inputs gave other outputs than before.",
    "Keep the run; `minibot replay` names the first event that differs.",
)
STRATEGY_ERROR: Final = _stop(
    "STRATEGY_ERROR",
    "Your strategy raised an error, or returned something other than a Decision or None.",
    "Correct the line that the detail names, then run `minibot strategy-check` on the file.",
)

# --- ai ----------------------------------------------------------------------------------------

AI_ISOLATION_BREACH: Final = _stop(
    "AI_ISOLATION_BREACH",
    "The AI sent a draft of a type that is forbidden to it.",
    "Treat model files as hostile; keep the run and run `minibot gate ai_isolation`.",
)
AI_ISOLATION_UNAVAILABLE: Final = _stop(
    "AI_ISOLATION_UNAVAILABLE",
    "The AI's sandbox could not be set up and the profile requires the AI.",
    "Use a system that has the sandbox, or a profile with `ai.required` false.",
)

# --- configuration and secrets -----------------------------------------------------------------

CONFIG_INVALID: Final = _stop(
    "CONFIG_INVALID",
    "Configuration or contracts are incomplete, wrong, or changed during the run.",
    "Correct the key, file or symbol that it names, then start again.",
)
CONFIG_PATH_ESCAPE: Final = _stop(
    "CONFIG_PATH_ESCAPE",
    "A path in the configuration leads out of where it must stay; only starts are refused for it.",
    "Give a plain relative path without `..`, device names or foreign characters.",
)
SECRET_IN_OUTPUT: Final = _stop(
    "SECRET_IN_OUTPUT",
    "A secret was about to appear in an output; no build raises it: known secrets are masked.",
    "Replace the secret and report where it appeared.",
)

# --- planned ends ------------------------------------------------------------------------------

DURATION_REACHED: Final = _end(
    "DURATION_REACHED",
    "The run lasted as long as planned.",
    "Nothing to do; read the report.",
)
SOURCE_ENDED: Final = _end(
    "SOURCE_ENDED",
    "The recorded or generated source of market data came to its end.",
    "Nothing to do; read the report.",
)
COMPLETED: Final = _end(
    "COMPLETED",
    "The run did all that it was started for; no build writes it, but `DURATION_REACHED`.",
    "Nothing to do; read the report.",
)
OPERATOR: Final = _end(
    "OPERATOR",
    "An operator ended the run in order.",
    "Nothing to do; read the report.",
)
REFUSED: Final = _end(
    "REFUSED",
    "A start was refused after it had taken the lock of `var`; no run began.",
    "Do what the refusal says, then start again.",
)
CLEARED: Final = _end(
    "CLEARED",
    "An operator removed STOP.flag, on record, with a reason.",
    "Nothing to do; the next start is allowed again.",
)
