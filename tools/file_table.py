"""Table of every file that a run leaves: writer, reader, and the outcome of each damage.

The table has its one home here. `tools.file_faults` plays its cells with real runs and writes its
page; a test holds its patterns against the files that a night really left.

An outcome during the run is `STOP CODE` (with `|` between codes where timing decides), `goes on`
(the night ends in order, verify is clean), `found after` (the night ends, verify then names the
file) or `not sealed` (the night ends with exit code 1 and says why it could not be sealed). An
outcome after the run is `found` (verify names the file), `no part` (the file is not part of the
proof; verify stays clean) or `-` (the file exists only while a run lives).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final

FAULTS: Final = ("changed", "truncated", "deleted", "folder", "link", "fifo")
EACH: Final = "each"
FOUND, NO_PART, NOT_THERE = "found", "no part", "-"
GOES_ON, FOUND_AFTER, NOT_SEALED = "goes on", "found after", "not sealed"

Outcomes = Mapping[str, str]


@dataclass(frozen=True)
class Row:
    """Files of one kind.

    Attributes:
        name: Name in the table, below `var/`.
        patterns: Paths of these files, `RUN` for a run's id.
        writer, readers: Roles, verbs or people.
        during: Outcome by fault while the run lives; `each` for all other faults.
        after: Outcome by fault after the run.
        played: Path that the campaign damages during a night; the first match.
        played_after: Path that it damages afterwards, in the run's folder unless `-`.
        note: Further remark for the page.
    """

    name: str
    patterns: tuple[str, ...]
    writer: str
    readers: str
    during: Outcomes = field(default_factory=dict)
    after: Outcomes = field(default_factory=dict)
    played: str = ""
    note: str = ""

    def expected_during(self, fault: str) -> str:
        """Return the outcome of a fault while the run lives."""
        return self.during.get(fault, self.during.get(EACH, NOT_THERE))

    def expected_after(self, fault: str) -> str:
        """Return the outcome of a fault after the run is sealed."""
        return self.after.get(fault, self.after.get(EACH, NOT_THERE))

    def holds(self, path: str) -> bool:
        """Return whether a path below `var/` is of this kind."""
        return any(fnmatchcase(path, pattern) for pattern in self.patterns)


def _queue(name: str) -> tuple[str, ...]:
    return (f"queues/*/{name}", f"runs/RUN/queues/*/{name}")


CHANGED: Final = "STOP RUN_FILE_CHANGED"
ALL_FOUND: Final = {EACH: FOUND}
NEVER_PROOF: Final = {EACH: NO_PART}

ROWS: Final = (
    Row(
        "runs/RUN/manifest.json",
        ("runs/RUN/manifest.json",),
        "launcher, once",
        "every role at its start, every verb of proof",
        {EACH: CHANGED},
        ALL_FOUND,
        "runs/*/manifest.json",
    ),
    Row(
        "runs/RUN/clock.json",
        ("runs/RUN/clock.json",),
        "launcher, once",
        "every role, the embedded exchange",
        {EACH: CHANGED},
        ALL_FOUND,
        "runs/*/clock.json",
    ),
    Row(
        "runs/RUN (the folder)",
        (),
        "launcher",
        "every role at its start, every verb of proof",
        {EACH: CHANGED, "changed": NOT_THERE, "truncated": NOT_THERE},
        {},
        "runs/*",
        "Its queues and its seal are then written into a recreated folder, and nothing else.",
    ),
    Row(
        "runs/RUN/hourly_state.jsonl",
        ("runs/RUN/hourly_state.jsonl",),
        "launcher, before the seal",
        "replay, report",
        {},
        ALL_FOUND,
    ),
    Row(
        "runs/RUN/metrics.json",
        ("runs/RUN/metrics.json",),
        "launcher, before the seal",
        "replay",
        {},
        ALL_FOUND,
    ),
    Row(
        "runs/RUN/seal.json",
        ("runs/RUN/seal.json", "runs/RUN/seal.sig"),
        "launcher, or the next start",
        "verbs of proof, the next start",
        {},
        ALL_FOUND,
    ),
    Row(
        "runs/RUN/SHA256SUMS",
        ("runs/RUN/SHA256SUMS",),
        "launcher, or the next start",
        "`sha256sum -c`, verify",
        {},
        ALL_FOUND,
    ),
    Row(
        "runs/RUN/report/",
        ("runs/RUN/report/*",),
        "report, accept",
        "people, runs",
        {},
        NEVER_PROOF,
        "",
        "Made again by `minibot report`.",
    ),
    Row(
        "QUEUE/inbox.jsonl",
        (*_queue("inbox.jsonl"), *_queue("inbox.[0-9]*.jsonl"), *_queue("segments.json")),
        "the queue's writer",
        "the queue's readers, every verb of proof",
        {
            EACH: "STOP QUEUE_REPLACED|QUEUE_MISSING|QUEUE_FOREIGN_WRITE|PERMISSIONS_UNSAFE",
            "changed": "STOP QUEUE_CORRUPT|QUEUE_CHAIN|found after",
            "truncated": "STOP QUEUE_TRUNCATED|QUEUE_FOREIGN_WRITE",
        },
        ALL_FOUND,
        "queues/signals/inbox.jsonl",
        "Full segments are `inbox.NUMBER.jsonl`. Bytes that every reader has passed are found by"
        " verify.",
    ),
    Row(
        "QUEUE/inbox.head",
        _queue("inbox.head"),
        "the queue's writer",
        "the queue's readers, watchdog, verbs of proof",
        {EACH: "STOP", "changed": "STOP|goes on", "truncated": "STOP|goes on"},
        ALL_FOUND,
        "queues/signals/inbox.head",
        "One wrong bit or one lost half falls in one of two slots, which the next append renews.",
    ),
    Row(
        "QUEUE/acks.jsonl",
        _queue("acks.jsonl"),
        "the primary reader",
        "that reader after a restart, replay",
        {EACH: "STOP|found after"},
        ALL_FOUND,
        "queues/signals/acks.jsonl",
    ),
    Row(
        "QUEUE/acks.head",
        _queue("acks.head"),
        "the primary reader",
        "that reader after a restart, replay",
        {
            EACH: "STOP|found after",
            "changed": "STOP|found after|goes on",
            "truncated": "STOP|found after|goes on",
        },
        ALL_FOUND,
        "queues/signals/acks.head",
        "The next range writes it again, whole.",
    ),
    Row(
        "QUEUE/deadletter.*",
        (*_queue("deadletter.jsonl"), *_queue("deadletter.head"), *_queue("deadletter.lock")),
        "the primary reader",
        "that reader after a restart, replay",
        {
            EACH: "STOP|found after|goes on",
            "link": "STOP|found after|goes on|not sealed",
            "fifo": "STOP|found after|goes on|not sealed",
        },
        ALL_FOUND,
        "queues/signals/deadletter.head",
        "An empty one is made again by the reader that needs it.",
    ),
    Row(
        "QUEUE/cursor.json",
        (*_queue("cursor.json"), *_queue("snapshot.json"), *_queue("suspect.json")),
        "the primary reader",
        "that reader after a restart, watchdog each second",
        {EACH: "STOP CURSOR_CORRUPT|PERMISSIONS_UNSAFE|ATOMICITY_VIOLATION", "deleted": "goes on"},
        ALL_FOUND,
        "queues/market_ticks/cursor.json",
        "A hint: one that is gone is written again.",
    ),
    Row(
        "QUEUE/readers/ROLE/acks.*",
        (*_queue("readers/*/acks.jsonl"), *_queue("readers/*/acks.head")),
        "the further reader",
        "that reader after a restart, replay",
        {EACH: "STOP|found after"},
        ALL_FOUND,
        "queues/market_ticks/readers/risk_role/acks.jsonl",
    ),
    Row(
        "QUEUE/readers/ROLE/cursor.json",
        (*_queue("readers/*/cursor.json"), *_queue("readers/*/snapshot.json")),
        "the further reader",
        "that reader after a restart, watchdog each second",
        {EACH: "STOP CURSOR_CORRUPT|PERMISSIONS_UNSAFE|ATOMICITY_VIOLATION", "deleted": "goes on"},
        ALL_FOUND,
        "queues/market_ticks/readers/execution_role/cursor.json",
        "A hint: one that is gone is written again.",
    ),
    Row(
        "QUEUE/parts/ROLE.jsonl",
        (*_queue("parts/*.jsonl"),),
        "the role",
        "watchdog, which merges it; executor (`stop_journal`)",
        {EACH: "STOP|found after"},
        ALL_FOUND,
        "queues/health/parts/risk_role.jsonl",
    ),
    Row(
        "QUEUE/parts/ROLE.head",
        (*_queue("parts/*.head"),),
        "the role",
        "watchdog, which merges it; executor (`stop_journal`)",
        {
            EACH: "STOP|found after",
            "changed": "STOP|found after|goes on",
            "truncated": "STOP|found after|goes on",
        },
        ALL_FOUND,
        "queues/health/parts/risk_role.head",
        "The next append writes it again, whole.",
    ),
    Row(
        "QUEUE/*.lock",
        (
            "queues/*/writer.lock",
            "queues/*/acks.lock",
            "queues/*/parts/*.lock",
            "queues/*/readers/*/*.lock",
        ),
        "whoever writes the journal",
        "nobody; the kernel keeps the lock",
        {EACH: "goes on|STOP", "link": "STOP|found after", "fifo": "STOP|found after"},
        {},
        "queues/signals/writer.lock",
        "The lock is the open descriptor's, not the name's. A link or a FIFO among the queues keeps"
        " the run from being sealed, which is told.",
    ),
    Row(
        "QUEUE/quarantine/, *.suspect",
        (
            *_queue("quarantine/*"),
            *(
                name
                for depth in ("", "parts/", "readers/*/")
                for name in _queue(f"{depth}*.suspect")
            ),
        ),
        "the writer: the next start that cuts a damaged end; a sync that failed",
        "people; the next start, which appends to nothing suspect",
        note="What was cut bears its sha256 in its name.",
    ),
    Row(
        "current.json",
        ("current.json",),
        "launcher at its start",
        "the next start, every verb about a live run",
        {EACH: "goes on|STOP"},
        {},
        "current.json",
        "The next start refuses one that it cannot read.",
    ),
    Row(
        "run.lock",
        ("run.lock", "prune.lock"),
        "launcher; prune",
        "nobody; the kernel keeps the lock",
        {EACH: "goes on|STOP"},
        {},
        "run.lock",
    ),
    Row(
        "stop/ROLE.armed",
        ("stop/*.armed", "stop/operator.ended", "stop/exclusion.lock"),
        "the role at its start",
        "whoever stops, who links it to `STOP.flag`",
        {EACH: "goes on"},
        {},
        "stop/strategy_role.armed",
        "Without it the flag is a file of its own.",
    ),
    Row(
        "stop/ROLE.reserve",
        ("stop/*.reserve",),
        "the role at its start",
        "nobody; it is given back at a STOP",
        {EACH: "goes on"},
        {},
        "stop/strategy_role.reserve",
    ),
    Row(
        "STOP.flag",
        ("STOP.flag",),
        "whoever stops",
        "every role, launcher, the next start",
        {},
        {},
        "",
        "Whatever stands there by that name is a STOP, also a dangling link.",
    ),
    Row(
        "stop_journal.*",
        ("stop_journal.jsonl", "stop_journal.head", "stop_journal.lock"),
        "whoever holds `run.lock`",
        "people, status, runs, metrics",
        {},
        {},
        "",
        "Written at a run's end; a damaged one is set aside then, and told; the run's own stands.",
    ),
    Row(
        "requests/",
        ("requests/*",),
        "verbs of an operator, the AI's clerk",
        "launcher, which removes them",
        {},
        {},
        "",
        "What is no request of this run is set aside.",
    ),
    Row(
        "logs/ROLE.jsonl",
        ("logs/*_role*.jsonl",),
        "the role",
        "people, accept",
        {EACH: GOES_ON},
        NEVER_PROOF,
        "logs/strategy_role.jsonl",
        "Lines that cannot be written are counted and lost.",
    ),
    Row(
        "logs/NAME.err.log",
        ("logs/*.err.log",),
        "the process",
        "people",
        {EACH: GOES_ON},
        NEVER_PROOF,
        "logs/strategy_role.err.log",
    ),
    Row(
        "metrics/metrics.json",
        ("metrics/*.json",),
        "launcher",
        "people, metrics, the run's end",
        {EACH: "STOP|goes on"},
        NEVER_PROOF,
        "metrics/metrics.json",
        "Beside it its snapshots, each with run and time in its name.",
    ),
    Row(
        "portfolio.json",
        ("portfolio.json", "open_positions.json"),
        "executor",
        "people",
        {EACH: "STOP|goes on"},
        NEVER_PROOF,
        "portfolio.json",
        "A projection of the fills.",
    ),
    Row(
        "ops/status.json",
        ("ops/status.json", "ops/backup.json", "ops/alert_test.json", "ops/page_opened.json"),
        "launcher, each second; the backups after each",
        "ops, guard, watch",
        {EACH: GOES_ON},
        NEVER_PROOF,
        "ops/status.json",
        "A hint: each second replaces it.",
    ),
    Row(
        "ops/outbox, ops/guard_outbox",
        ("ops/outbox/*", "ops/guard_outbox/*"),
        "ops, guard",
        "ops, guard, the next start",
        {EACH: GOES_ON},
        NEVER_PROOF,
        "",
        "A damaged one is set aside and told.",
    ),
    Row(
        "ops/token, code, page.json",
        ("ops/token", "ops/code", "ops/page.json"),
        "ops, `minibot page`",
        "ops, `minibot page`, clients of the page",
        {EACH: GOES_ON},
        NEVER_PROOF,
    ),
    Row(
        "exchange/embedded.json",
        ("exchange/*.json",),
        "market",
        "market after a restart",
        {EACH: GOES_ON},
        NEVER_PROOF,
        "exchange/embedded.json",
    ),
    Row(
        "ai/patterns, ai/recommendations",
        ("ai/patterns/RUN/*", "ai/recommendations/RUN/*"),
        "the AI's clerk",
        "people, model training",
        {EACH: GOES_ON},
        NEVER_PROOF,
        "ai/recommendations/*/*.jsonl",
    ),
    Row(
        "ai/packs, ai/snapshots",
        ("ai/packs/*/*", "ai/snapshots/*/*", "ai/active.json"),
        "the AI's clerk, model verbs",
        "the jail, each by its pinned sha256",
        {},
        {},
        "",
        "No part of any run: one that is not as pinned is not loaded.",
    ),
    Row(
        "ops/settings/",
        ("ops/settings/*", "ops/settings/*/*"),
        "`minibot settings`, the page",
        "each start, the page",
        note="A queue: what is staged, and who staged it.",
    ),
    Row(
        "backtests/ID/",
        ("backtests/*/*",),
        "backtest, optimise, demo",
        "people, backtests, ready",
        note="`result.json`, `charts.json`, `report.html`; of a sweep `sweep.json`, of a search"
        " `optimise.json`, of `--twice` `twice.json`. The same backtest makes them again.",
    ),
    Row(
        "comparisons/, pruned/",
        ("comparisons/*", "pruned/*"),
        "`runs` and `backtests show A B --html`; prune",
        "people",
        note="Pages of two side by side; reports of removed runs.",
    ),
    Row(
        "data/, tapes/",
        ("data/*", "tapes/*"),
        "download-data, record",
        "backtest, scan, list-data, tape",
        note="`list-data --verify` and `tape check` prove them.",
    ),
    Row(
        "lab/NAME/, unpacked/",
        ("lab/*", "unpacked/*"),
        "drills, gates, chaos, doctor, probe; verbs that were given a bundle",
        "the same",
        note="Each drill has a `var` of its own here; both may be removed.",
    ),
)


def row_of(path: str, run_id: str) -> Row | None:
    """Return the row of a path below `var/`, None for a path that the table forgot."""
    plain = "/".join("RUN" if part == run_id else part for part in path.split("/"))
    return next((row for row in ROWS if row.holds(plain)), None)
