"""Recorder of raw streams onto tapes: every message with its receive time, and marks for losses.

There is one reader thread for each connection and one for REST; the loop here only writes. Nothing
is decoded, so messages that minibot does not understand are on the tape too. Each part begins with
the rules of the instruments, and the depth of every connected symbol is requested anew, so that a
part can be played by itself: a symbol's book begins with the answer. After a broken connection the
depth is requested again, and a mark says whose streams were missed, and from when to when.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from minibot.events.unit_sizes import NS_PER_MS
from minibot.exchanges.base import LOOK, LOOK_AFTER_MS, Rest, Venue
from minibot.exchanges.tapes.lines import Missed, depth_message, missed_mark, unreadable_mark
from minibot.exchanges.weight_budget import WeightBudget
from minibot.market.backoff import Backoff
from minibot.market.elapsed_clock import ElapsedClock
from minibot.market.inbox import Inbox
from minibot.market.reader import Frames, FromReader, Lost, Opened, Reader
from minibot.market.requests import is_refusal
from minibot.market.rest_scheduler import Answer, Job, RestScheduler
from minibot.market.shard import Shard
from minibot.market.succession import OVERLAP_MS
from minibot.market.wall_clock import WallClock

FLUSH_MS: Final = 1_000
WAIT_S_MAX: Final = 0.2
JOIN_S: Final = 5.0
# A run at the same time shares the address: its 240 attempts and these stay below the venue's 300.
# They are counted here alone, from each start anew, and not in the address's file.
ATTEMPTS_MAX: Final = 50
# No message at all on a connection with a hundred streams: it is dead, whatever the socket says.
SILENCE_MS_MAX: Final = 60_000
RENEWAL_RETRY_MS: Final = 60_000
SILENT: Final = "no more data came"
SHUTDOWN_BYTES_MAX: Final = 300
# A connection that was silent for longer before its successor opened may have missed messages.
QUIET_MS_MAX: Final = 4_000
# Wait before a failed snapshot is requested again.
RETRY_MS: Final = 5_000


class Part(Protocol):
    """One part of a recording that is being written; `size` in bytes."""

    size: int

    def add(self, at_ns: int, message: bytes) -> None:
        """Append one line."""

    def flush(self) -> None:
        """Flush all lines so far to the disk."""


class Recording(Protocol):
    """A recording that holds the parts, such as `data.recording.Recording`."""

    folder: Path
    parts: list[Path]

    def open(self, now_ns: int) -> Part:
        """Begin a part."""

    def close(self) -> Path | None:
        """Close the open part and return its path; None without one, or if it has no lines."""

    def saved(self) -> list[tuple[Path, int, int]]:
        """Close parts that a crash left open; return each with its line count and its last time."""

    def last_ns(self) -> int:
        """Return the receive time of the last line; 0 without any."""


@dataclass(frozen=True, slots=True)
class RecorderConfig:
    """Settings of a recording; durations in milliseconds.

    A part is closed when it reaches either limit, in bytes or in time.
    """

    part_bytes_max: int
    part_ms_max: int
    backoff_min_ms: int
    backoff_max_ms: int
    seed: int
    weight_share_max_percent: int
    renew_after_ms: int


class Recorder:
    """Recorder of a venue: it writes the frames of the shards into a recording.

    Args:
        config: Its settings.
        venue: What is recorded.
        recording: Holds the parts; only this object writes the open one.
        rest: For depth; used by one thread of its own.
        shards: At least one.
        rules: The rules of the symbols in the venue's words, first in every part.
        clock: The wall clock.
        print_line: Takes a message for the operator when something has happened.
    """

    def __init__(
        self,
        config: RecorderConfig,
        venue: Venue,
        recording: Recording,
        rest: Rest,
        shards: Sequence[Shard],
        rules: bytes,
        clock: WallClock,
        print_line: Callable[[str], None],
    ) -> None:
        self.config = config
        self._snapshot = venue.limits.snapshot(venue.limits.levels_deep)
        self._levels = venue.limits.levels_deep
        self._limits = venue.streams.limits
        self._shutdown = b'"' + venue.streams.shutdown + b'"'
        self.recording = recording
        self.shards = list(shards)
        self.missed: list[Missed] = []
        self.lines = 0
        self.snapshots = 0
        self.unreadable = 0
        self._rules = rules
        self._clock = clock
        self._print_line = print_line
        self._inbox: Inbox[FromReader | Answer] = Inbox()
        budget = WeightBudget(config.weight_share_max_percent, venue.limits.weight_per_minute)
        pace = ElapsedClock(clock, clock.machine_ns)
        self._courier = RestScheduler((rest,), budget, pace, self._inbox.put)
        self._of_reader: dict[int, Shard] = {}
        self._connections = 0
        self._attempts: deque[int] = deque()
        self._retries: deque[tuple[int, str]] = deque()
        self._part_ms = self._flush_ms = 0
        self._part: Part | None = None
        for number, shard in enumerate(self.shards):
            seed = config.seed + number
            shard.backoff = Backoff(seed, config.backoff_min_ms, config.backoff_max_ms)

    # --- the loop -----------------------------------------------------------------------------

    def run(self, is_ended: Callable[[], bool]) -> None:
        """Record until asked to end; the last part is closed on return, also after an error.

        A part that the disk refused stays as after a crash: the next recorder saves it.

        Raises:
            RunStop: The disk refused a write, or a path other than public data was requested.
        """
        self._courier.start()
        try:
            self._resume()
            while not is_ended():
                self._turn()
        finally:
            self._end()

    def _resume(self) -> None:
        """Go on after an earlier recorder; the time between is marked as missed."""
        saved = self.recording.saved()
        for path, lines, _ in saved:
            self._print_line(f"{path.name}: saved {lines} lines that a crash had left open")
        last_ns = max((at_ns for *_, at_ns in saved), default=0) or self.recording.last_ns()
        self._new_part()
        everyone = tuple(symbol for shard in self.shards for symbol in shard.symbols)
        self._print_line(f"recording {len(everyone)} symbols into {self.recording.folder}")
        now_ns = self._clock.now_ns()
        for shard in self.shards:
            shard.last_ns = now_ns  # A host that never answers is silent from here on.
        if last_ns:
            self._mark(Missed(last_ns, now_ns, everyone, "the recorder did not run"))

    def _turn(self) -> None:
        items = self._inbox.take(WAIT_S_MAX)
        if self._clock.has_slept:  # Before new times are written by the old clock.
            self._on_sleep()
        for item in items:
            if isinstance(item, Frames):
                self._on_frames(item)
            elif isinstance(item, Answer):
                item.deliver()
            elif isinstance(item, Opened):
                self._on_opened(item.connection)
            else:
                self._on_lost(item)
        self._on_clock(self._clock.now_ms())

    def _on_sleep(self) -> None:
        """Go on after the machine slept: with a new part by the new clock, on new connections."""
        self._new_part()
        now_ns = self._clock.now_ns()
        for shard in self.shards:
            if shard.is_open:
                self._mark(Missed(shard.last_ns, now_ns, shard.symbols, "the machine slept"))
                shard.last_ns = now_ns
                self._give_up(shard)
        self._print_line("the machine slept; every stream is requested again")

    def _on_clock(self, now_ms: int) -> None:
        for shard in self.shards:
            if shard.due_ms is not None and now_ms >= shard.due_ms and self._may_connect(now_ms):
                self._connect(shard, now_ms)
            self._watch_silence(shard, now_ms)
            self._watch_age(shard, now_ms)
        while self._retries and self._retries[0][0] <= now_ms:
            self._ask_depth(self._retries.popleft()[1])
        part = self._part
        if part is None:
            return
        age_ms = now_ms - self._part_ms
        if part.size >= self.config.part_bytes_max or age_ms >= self.config.part_ms_max:
            self._new_part()
        elif now_ms - self._flush_ms >= FLUSH_MS:
            self._flush_ms = now_ms
            part.flush()

    def _watch_silence(self, shard: Shard, now_ms: int) -> None:
        """Give up a connection that brings nothing; its end is reported through the inbox."""
        if shard.is_open and now_ms - shard.last_ns // 10**6 > SILENCE_MS_MAX:
            self._give_up(shard)

    def _give_up(self, shard: Shard) -> None:
        if not shard.is_given_up and shard.reader is not None:
            shard.is_given_up = True
            shard.reader.abort()

    def _watch_age(self, shard: Shard, now_ms: int) -> None:
        """Open a successor before the venue ends an old connection, and hand over to it."""
        if not shard.is_open or shard.reader is None:
            return
        if shard.hand_over_ms is not None and now_ms >= shard.hand_over_ms:
            shard.reader.abort()
        elif shard.standby is None and now_ms >= shard.renew_at_ms and self._may_connect(now_ms):
            reader = self._reader(shard, now_ms)
            shard.begin_renewal(reader, self._connections)
            reader.start()

    # --- connections --------------------------------------------------------------------------

    def _may_connect(self, now_ms: int) -> bool:
        while self._attempts and now_ms - self._attempts[0] >= self._limits.attempts_ms:
            self._attempts.popleft()
        return len(self._attempts) < min(ATTEMPTS_MAX, self._limits.attempts_max)

    def _connect(self, shard: Shard, now_ms: int) -> None:
        shard.due_ms = None
        shard.reader = self._reader(shard, now_ms)
        shard.number = self._connections
        shard.reader.start()

    def _reader(self, shard: Shard, now_ms: int) -> Reader:
        self._attempts.append(now_ms)
        self._connections += 1
        self._of_reader[self._connections] = shard
        return Reader(self._connections, shard.open_stream(), self._inbox.put)

    def _on_opened(self, number: int) -> None:
        shard = self._of_reader.get(number)
        if shard is None:
            return
        now_ns = self._clock.now_ns()
        if number == shard.standby_number:
            shard.standby_opened_ns = now_ns
            shard.hand_over_ms = now_ns // NS_PER_MS + OVERLAP_MS
            return
        shard.is_open, shard.is_given_up = True, False
        shard.renew_at_ms = now_ns // 10**6 + self.config.renew_after_ms
        self._mark_lost(shard, now_ns)
        shard.last_ns = now_ns
        for symbol in shard.symbols:
            self._ask_depth(symbol)

    def _mark_lost(self, shard: Shard, now_ns: int) -> None:
        if shard.lost_why:
            self._mark(Missed(shard.last_ns, now_ns, shard.symbols, shard.lost_why))
            self._print_line(f"missed {(now_ns - shard.last_ns) / 10**9:.1f} s: {shard.lost_why}")
        shard.lost_why = ""

    def _on_lost(self, lost: Lost) -> None:
        shard = self._of_reader.pop(lost.connection, None)
        if shard is None:
            return
        now_ms = self._clock.now_ms()
        if lost.connection == shard.standby_number:
            shard.forget_standby()
            shard.renew_at_ms = now_ms + RENEWAL_RETRY_MS
            return
        if shard.hand_over_ms is not None:
            self._hand_over(shard, now_ms)
            return
        if shard.is_open:
            why = SILENT if shard.is_given_up else lost.why
            shard.lost_why = why
            self._print_line(f"stream ended: {why}")
        was_open = shard.is_open
        shard.promote()  # A successor on its way is the next attempt.
        if shard.reader is None:
            wait_ms = shard.backoff.next().wait_ms
            shard.due_ms = now_ms + wait_ms
            if not was_open:
                self._print_retry(shard, lost.why, wait_ms)

    def _print_retry(self, shard: Shard, why: str, wait_ms: int) -> None:
        silent_ms = (self._clock.now_ns() - shard.last_ns) // NS_PER_MS
        look = f"; {LOOK}" if silent_ms >= LOOK_AFTER_MS else ""
        self._print_line(f"{why}; next attempt in {wait_ms / 1000:.1f} s{look}")

    def _hand_over(self, shard: Shard, now_ms: int) -> None:
        from_ns, to_ns = shard.last_ns, shard.standby_opened_ns
        held, words = list(shard.held()), "nothing was missed"
        # The successor alone brought something: the old connection may have been dead before.
        if held and to_ns - from_ns > QUIET_MS_MAX * NS_PER_MS:
            self._mark(Missed(from_ns, to_ns, shard.symbols, SILENT))
            words = f"missed {(to_ns - from_ns) / 10**9:.1f} s: {SILENT}"
            for symbol in shard.symbols:
                self._ask_depth(symbol)
        for at_ns, data in held:
            self._keep(at_ns, data)
        # A successor may have landed on a server that closes next.
        is_leaving = shard.is_standby_leaving
        shard.promote()
        shard.renew_at_ms = 0 if is_leaving else now_ms + self.config.renew_after_ms
        self._print_line(f"a new connection has taken over; {words}")

    # --- messages -----------------------------------------------------------------------------

    def _on_frames(self, frames: Frames) -> None:
        at_ns = self._clock.ns_of(frames.recv_mono_ns)
        for data in frames.messages:
            self._on_frame(frames.connection, at_ns, data)

    def _on_frame(self, connection: int, at_ns: int, data: bytes) -> None:
        shard = self._of_reader.get(connection)
        if shard is not None:
            is_leaving = len(data) <= SHUTDOWN_BYTES_MAX and self._shutdown in data
            if connection == shard.standby_number:
                shard.hold(at_ns, data)
                shard.is_standby_leaving |= is_leaving
                return
            shard.last_ns = max(shard.last_ns, at_ns)
            shard.backoff.reset()
            shard.hear(data)
            if is_leaving:
                shard.renew_at_ms = 0
        self._keep(at_ns, data)

    def _keep(self, at_ns: int, data: bytes) -> None:
        if data[:1] != b"{" or data[-1:] != b"}" or b"\n" in data:
            self.unreadable += 1
            data = unreadable_mark(data)
        self._write(at_ns, data)

    def _write(self, at_ns: int, message: bytes) -> None:
        if self._part is not None:
            self._part.add(at_ns, message)
            self.lines += 1

    def _mark(self, missed: Missed) -> None:
        self.missed.append(missed)
        self._write(self._clock.now_ns(), missed_mark(missed))

    # --- depth --------------------------------------------------------------------------------

    def _ask_depth(self, symbol: str) -> None:
        def done(answer: Answer) -> None:
            self._on_depth(symbol, answer)

        self._courier.send(
            Job(*self._snapshot, lambda rest: rest.snapshot_body(symbol, self._levels), done)
        )

    def _on_depth(self, symbol: str, answer: Answer) -> None:
        if is_refusal(answer.error):  # Such as of a symbol that is listed no longer.
            self._print_line(
                f"{symbol}: no depth ({answer.error}); requested again in the next part"
            )
            return
        if answer.error is not None:
            self._print_line(f"{symbol}: no depth ({answer.error}); requested again in 5 s")
            self._retries.append((self._clock.now_ms() + RETRY_MS, symbol))
            return
        self.snapshots += 1
        at_ns = self._clock.ns_of(answer.received_ns)
        self._write(at_ns, depth_message(answer.value, symbol))

    # --- parts --------------------------------------------------------------------------------

    def _new_part(self) -> None:
        """Close the open part and begin the next: rules first, and new depth of every symbol."""
        self._part = None  # Nothing is written into it any more, also if there is no next one.
        closed = self.recording.close()
        if closed is not None:
            self._print_line(f"{closed.name}: closed, {closed.stat().st_size / 1e6:.1f} MB")
        self._shift(self._clock.settle())
        now_ns = self._clock.now_ns()
        self._part = self.recording.open(now_ns)
        self._part_ms = self._flush_ms = now_ns // 10**6
        self._write(now_ns, self._rules)
        for shard in self.shards:
            for symbol in shard.symbols if shard.is_open else ():
                self._ask_depth(symbol)

    def _shift(self, step_ns: int) -> None:
        """Move all noted times by a step of the wall clock: no wait becomes longer or shorter."""
        step_ms = step_ns // NS_PER_MS
        self._attempts = deque(at_ms + step_ms for at_ms in self._attempts)
        self._retries = deque((due_ms + step_ms, symbol) for due_ms, symbol in self._retries)
        for shard in self.shards:
            shard.shift(step_ns)

    def _end(self) -> None:
        self._inbox.close()
        for shard in self.shards:
            for reader in (shard.reader, shard.standby):
                if reader is not None:
                    reader.abort()
                    reader.join(JOIN_S)
        for item in self._inbox.take(0):
            if isinstance(item, Frames):
                self._on_frames(item)
        for shard in self.shards:
            for at_ns, data in shard.held():
                self._keep(at_ns, data)
            self._mark_lost(shard, self._clock.now_ns())
        self._courier.close(JOIN_S)
        self._part = None
        self.recording.close()
