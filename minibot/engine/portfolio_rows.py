"""Walk of the bars of many symbols through the cores, in the order of their events.

All bars have one length and lie on its grid. The bars that open at one moment form a step: first
come their ticks, by time and then by symbol, then each symbol's closed bars, with the beat after
the first of them. Ticks of a symbol without position and order affect no core: they are counted and
skipped, and only its closed bars are delivered. The ticks of any other symbol are delivered one by
one, each with the line number that its event would have.

A symbol is quiet in a step if its ticks are skipped, else loud; a quiet symbol without a position
is so until a known time. A step, or the rest of it, is steady if no position reaches a level
and all positions together reach no bound on equity: then only the listener takes the ticks of held
symbols, and the cores take the last one. In any other step the positions that reach no level are
still: quiet too, but each of their ticks moves equity at its place among the delivered ticks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush, heapreplace
from typing import Final, final

from minibot.cores.event_id import place_id
from minibot.cores.scaled_tick import QuietRange
from minibot.engine.bar_block import CLOSE, HIGH, LOW, OPEN
from minibot.engine.bar_market import BarMarket
from minibot.engine.bar_rows import BEAT, BarRows, Listener
from minibot.engine.intrabar import Shown
from minibot.engine.lockstep import Lockstep
from minibot.engine.market_source import Watch
from minibot.engine.passed_ticks import (
    NO_SYMBOLS,
    NO_TICKS,
    Key,
    PassedTicks,
    Times,
    count_below,
)
from minibot.engine.run_result import NO_CMDLINE
from minibot.events.model import Event
from minibot.events.names import MARKET_ROLE
from minibot.events.unit_sizes import NEVER

Head = tuple[int, int, Shown, Iterator[Shown]]
"""Next tick of a symbol whose ticks are delivered: its key, the tick, and those after it."""
ALL: Final[Key] = (NEVER, 0)


class Steps(Listener):
    """Listener that collects a portfolio's report while its bars are walked."""

    def is_held(self, number: int) -> bool:
        """Return whether a symbol is part of equity."""
        raise NotImplementedError

    def on_opened(self, ts: int, numbers: list[int]) -> None:
        """Take bars that open at a time and whose ticks are skipped."""
        raise NotImplementedError

    def on_mid(self, number: int, mid: int) -> None:
        """Take the mid of a symbol whose tick is skipped, in hundred-millionths."""
        raise NotImplementedError

    def on_tick(self, number: int, shown: Shown, open_ts: int) -> None:
        """Take the tick of a symbol delivered next; `open_ts` is set for its bar's first tick."""
        raise NotImplementedError

    def on_cut(self, number: int, bids: list[int]) -> None:
        """Take the bids of a skipped bar that came before a STOP."""
        raise NotImplementedError


@final
class PortfolioRows:
    """The bars of several symbols, walked once from the first to the last.

    Args:
        markets: Markets with bars of one length and with the same lag.
        lockstep: The lockstep of the cores, whose strategy takes no trades.
        run_id: The run in the event of a tick.
        watch: Levels and open orders of risk.
        listener: Receives the rows that are walked.
        close_ts: When the end is announced: from then on nothing is skipped.

    Attributes:
        seq: The last line of `market_ticks` that was delivered or counted.
        ticks, beats: Numbers of those delivered or counted.
        rows: The rows of each symbol.
    """

    def __init__(
        self,
        markets: Sequence[BarMarket],
        lockstep: Lockstep,
        run_id: str,
        watch: Watch,
        listener: Steps,
        close_ts: int,
    ) -> None:
        self._symbols: list[str] = [market.symbol for market in markets]
        self._numbers: list[int] = list(range(len(markets)))
        self._lockstep: Lockstep = lockstep
        self._run_id: str = run_id
        self._listener: Steps = listener
        self._close_ts: int = close_ts
        self.seq: int = 0
        self.ticks: int = 0
        self.beats: int = 0
        self.rows: list[BarRows] = [
            BarRows(market, lockstep, run_id, watch, listener, close_ts) for market in markets
        ]
        self._length_ms: int = markets[0].length_ms
        self._lag_ms: int = markets[0].lag_ms
        self._heads: list[Head] = []
        # Symbols whose row has had no tick yet.
        self._fresh: set[int] = set()
        # Symbols whose row began late, after the ticks of the row before.
        self._joined: list[int] = []
        self._beat_ts: int = -1
        # Of the step: when it opens, which symbols are passed over, which of them are held, their
        # ticks, how many opens of theirs the listener knows, and for each line that was told where
        # it stands among ticks. Then the positions that are still, which tick of theirs moves
        # equity next, and of which one of them, and behind which tick risk stopped the run.
        self._begin_ts: int = 0
        self._quiet: list[int] = []
        self._held: list[int] = []
        self._passed: PassedTicks = NO_TICKS
        self._opened: int = 0
        self._delivered: list[Key] = []
        self._still: list[int] = NO_SYMBOLS
        self._mark_tick: int = OPEN
        self._mark_place: int = 0
        self._stop: Key | None = None

    def walk(self) -> bool:
        """Walk one step; return whether there are more steps and risk has not stopped the run."""
        rows = self.rows
        begin_ts, last_ts = NEVER, 0
        for each in rows:  # A plain loop when compiled, unlike `min` of a list.
            ts = each.opens_ts
            begin_ts, last_ts = min(begin_ts, ts), max(last_ts, ts)
        members = loud = self._numbers
        for at, _, _, _ in self._heads:  # Behind their row's end; no later row comes before them.
            begin_ts = min(begin_ts, at - at % self._length_ms)
        self._begin_ts = begin_ts
        if begin_ts == NEVER:
            return False
        end_ts = begin_ts + self._length_ms
        if last_ts > begin_ts:
            members = loud = [
                number for number, each in enumerate(rows) if each.opens_ts == begin_ts
            ]
        quiet: list[int] = []
        is_passing = end_ts < self._close_ts
        if is_passing:
            loud = []
            for number in members:
                is_quiet = rows[number].quiet_until > end_ts or self._is_quiet(number, end_ts)
                (quiet if is_quiet else loud).append(number)
        self._quiet, self._opened, self._delivered, self._held = quiet, 0, [], NO_SYMBOLS
        self._still, self._mark_tick, self._mark_place = NO_SYMBOLS, OPEN, 0
        base = self.seq
        if loud and is_passing and not self._heads and self._are_fresh(loud):
            if self._is_steady(loud, end_ts):
                self._quiet, self._held, loud = members, loud, []
                self._pass_held()
            else:
                loud = self._stir(loud, end_ts)
        if loud or self._heads or self._still:
            self._passed = PassedTicks(self._times(), rows, self._quiet)
            self._deliver_ticks(loud, end_ts)
            if self._listener.is_stopped:
                self._cut(base)
                return False
            self._open_until(ALL)
            passed = self._passed.count
        else:
            # Nothing is delivered between them, so their places do not matter.
            self._listener.on_opened(begin_ts, self._quiet[self._opened :])
            passed = 0
            for number in self._quiet:
                passed += rows[number].count
        self.ticks += passed
        self.seq = base + passed + len(self._delivered)
        if self._joined:
            members = sorted((*members, *self._joined))
            self._joined = []
        if members:
            self._close(members, base + passed - len(self._quiet), end_ts)
        return not self._listener.is_stopped

    def settle(self) -> None:
        """Deliver the last touches of skipped rows; called at the end."""
        for each in self.rows:
            each.settle()

    def _is_quiet(self, number: int, end_ts: int) -> bool:
        """Return whether the ticks of a symbol's next row affect no core; remember until when."""
        rows = self.rows[number]
        if rows.last_ts >= self._begin_ts + self._lag_ms or self._listener.is_held(number):
            return False
        until = self._lockstep.quiet_until(self._symbols[number])
        rows.quiet_until = until
        return until > end_ts

    def _are_fresh(self, numbers: list[int]) -> bool:
        """Return whether the last tick of each symbol came before its next row opens."""
        opened_ts = self._begin_ts + self._lag_ms
        return all([self.rows[number].last_ts < opened_ts for number in numbers])

    def _is_steady(self, numbers: list[int], end_ts: int) -> bool:
        """Return whether no symbol reaches a level in its next row, nor all together a bound."""
        fall = rise = 0
        for number in numbers:
            quiet = self._quiet_range(number)
            move = None if quiet is None else self.rows[number].move_in_row(quiet, end_ts)
            if quiet is None or move is None:
                return False
            fall += move[0]
            rise += move[1]
            if quiet.qty and (fall > quiet.fall or rise > quiet.rise):
                return False
        return True

    def _quiet_range(self, number: int) -> QuietRange | None:
        """Return the range in which ticks of a symbol change no more than equity, if any."""
        return self._lockstep.quiet_range(self._symbols[number], delivers_bars=True)

    def _stir(self, numbers: list[int], end_ts: int) -> list[int]:
        """Return the symbols that reach a level in their next row; skip the others.

        The ticks of the others move equity at their places.
        """
        loud: list[int] = []
        still: list[int] = []
        for number in numbers:
            rows, quiet = self.rows[number], self._quiet_range(number)
            if quiet is None or rows.move_in_row(quiet, end_ts) is None:
                loud.append(number)
            else:
                rows.settle()
                still.append(number)
        if still:
            self._held = self._still = still
            self._quiet = sorted(self._quiet + still)
        return loud

    # --- ticks --------------------------------------------------------------------------------

    def _pass_held(self) -> None:
        """Pass all ticks of a steady step to the listener."""
        listener, begin_ts, quiet, held = self._listener, self._begin_ts, self._quiet, self._held
        first = 0
        for number in held:
            place = count_below(quiet, number)
            listener.on_opened(begin_ts, quiet[first:place])
            listener.on_mid(number, self.rows[number].mid_in_row(OPEN))
            listener.on_opened(begin_ts, quiet[place : place + 1])
            first = place + 1
        listener.on_opened(begin_ts, quiet[first:])
        self._opened = len(quiet)
        self._show_held(0)

    def _pass_rest(self, from_ts: int, end_ts: int) -> bool:
        """Skip the rest of the step if it is steady; return whether it is.

        Args:
            from_ts: Time of lows or highs: all ticks before it were delivered.
            end_ts: End of the step.
        """
        times = self._times()[LOW:]
        held = sorted([number for _, number, _, _ in self._heads])
        if self._joined or end_ts >= self._close_ts:
            return False
        if not self._delivered or self._delivered[-1][0] >= from_ts:
            return False
        for at, number, _, _ in self._heads:
            if at not in times or self.rows[number].ends_ts != end_ts or number in self._fresh:
                return False
            if self.rows[number].is_high_first:
                return False
        if not self._is_steady([*held, *self._held], end_ts):
            return False
        self._open_until(ALL)
        self._heads.clear()
        self._still = NO_SYMBOLS
        for number in held:
            self.rows[number].pass_from(LOW + times.index(from_ts))
        self._held = sorted(self._held + held)
        self._passed.join(PassedTicks(self._times(), self.rows, held), from_ts)
        self._quiet = sorted(self._quiet + held)
        self._opened = len(self._quiet)
        self._show_held(from_ts)
        return True

    def _show_held(self, from_ts: int) -> None:
        """Pass lows, highs and closes from a time on to the listener."""
        _, low_ts, high_ts, _ = self._times()
        if low_ts >= from_ts:
            self._show_mids(LOW)
        if high_ts >= from_ts:
            self._show_mids(HIGH)
        self._show_mids(CLOSE)

    def _show_mids(self, tick: int) -> None:
        """Pass the mid of each held position at one of the four ticks on to the listener."""
        listener, rows = self._listener, self.rows
        for number in self._held:
            listener.on_mid(number, rows[number].mid_in_row(tick))

    def _times(self) -> Times:
        """Return the times of the four ticks of the step's rows without orders or levels."""
        begin_ts, length, lag = self._begin_ts, self._length_ms, self._lag_ms
        end_ts = begin_ts + length
        return begin_ts + lag, begin_ts + length // 4, begin_ts + length // 2, end_ts - 1 - lag

    def _time_of(self, tick: int) -> int:
        """Return one of the times of `_times`."""
        opened, low, high, closed = self._times()
        if tick < HIGH:
            return low if tick == LOW else opened
        return high if tick == HIGH else closed

    def _deliver_ticks(self, loud: list[int], end_ts: int) -> None:
        """Deliver the ticks of rows one by one, up to the end of the step."""
        heads, listener = self._heads, self._listener
        for number in loud:
            self._begin(number, end_ts)
        turns = list(self._times()[LOW:CLOSE])
        while heads and heads[0][0] < end_ts:
            at, number, shown, others = heads[0]
            if turns and at >= turns[0]:
                turn = turns.pop(0)
                if not self._mark_until((turn, 0)) or self._pass_rest(turn, end_ts):
                    return
            if not self._mark_until((at, number)):
                return
            self._deliver_tick(number, shown)
            if listener.is_stopped:
                return
            # Fetched at once: the next tick depends on the levels and orders of this moment.
            following = next(others, None)
            if following is not None:
                heapreplace(heads, (following.at, number, following, others))
                continue
            heappop(heads)
            if self.rows[number].ends_ts < end_ts:
                self._close_late(number, shown.at, end_ts)
                if listener.is_stopped:
                    return
        self._mark_until(ALL)

    def _mark_until(self, key: Key) -> bool:
        """Move equity by the ticks of still positions before another tick; False after a STOP."""
        ts, symbol = key
        still = self._still
        while still and self._mark_tick <= CLOSE:
            tick = self._mark_tick
            at = self._time_of(tick)
            while self._mark_place < len(still):
                number = still[self._mark_place]
                if at > ts or (at == ts and number >= symbol):
                    return True
                self._mark_place += 1
                if self.rows[number].has_tick(tick) and not self._mark(number, tick, at):
                    return False
            self._mark_tick, self._mark_place = tick + 1, 0
        return True

    def _mark(self, number: int, tick: int, at: int) -> bool:
        """Move equity by a tick of a still position; return False after a STOP."""
        listener, rows = self._listener, self.rows[number]
        self._open_until((at, number))
        listener.on_time(at)
        listener.on_mid(number, rows.mid_in_row(tick))
        if tick == OPEN:
            self._open_until((at, number + 1))
        before = len(self._delivered) + self._passed.before((at, number))
        rows.mark(tick, at, self.seq + before + 1)
        if listener.is_stopped:
            self._stop = at, number + 1
            return False
        return True

    def _begin(self, number: int, end_ts: int) -> None:
        """Begin delivering the ticks of a symbol's next row."""
        rows = self.rows[number]
        rows.ends_ts, rows.opens_ts = end_ts, NEVER
        others = rows.shown_in_row()
        shown = next(others)
        self._fresh.add(number)
        heappush(self._heads, (shown.at, number, shown, others))

    def _deliver_tick(self, number: int, shown: Shown) -> None:
        """Deliver a tick with the line number of its place among the skipped ones."""
        key, delivered = (shown.at, number), self._delivered
        self._open_until(key)
        open_ts = 0
        if number in self._fresh:
            self._fresh.discard(number)
            open_ts = self.rows[number].ends_ts - self._length_ms
        self._listener.on_tick(number, shown, open_ts)
        delivered.append(key)
        self.ticks += 1
        seq = self.seq + len(delivered) + self._passed.before(key)
        self.rows[number].deliver_shown(shown, seq)

    def _open_until(self, key: Key) -> None:
        """Pass the skipped bars that open before a tick to the listener."""
        quiet, opened = self._quiet, self._opened
        if opened == len(quiet):
            return
        last = self._passed.opened(key)
        if last > opened:
            self._listener.on_opened(self._begin_ts, quiet[opened:last])
            self._opened = last

    def _close_late(self, number: int, ts: int, end_ts: int) -> None:
        """Deliver the bars of a row whose ticks went on into the next row, and begin that."""
        key, rows = (ts, number), self.rows[number]
        # Its strategy may read the touch of every symbol.
        for other in self._quiet:
            if count := self._passed.before_of(other, key):
                tick = self.rows[other].ticks_in_row()[count - 1]
                self.rows[other].show_tick(tick, self._time_of(tick))
        before = self.seq + len(self._delivered) + self._passed.before(key)
        rows.deliver_closed(before)
        self._delivered += [key] * (rows.seq - before)
        if self._listener.is_stopped:
            return
        if rows.ends_ts > self._beat_ts:
            self._delivered.append(key)
            self._deliver_beat(rows.ends_ts, rows.seq + 1)
        opens = rows.opens_ts
        if opens < end_ts:
            if opens + self._length_ms == end_ts:
                self._joined.append(number)
            self._begin(number, opens + self._length_ms)

    def _cut(self, base: int) -> None:
        """Count the ticks up to the one at which risk stopped the run."""
        key = self._stop or self._delivered[-1]
        passed = self._passed.before(key)
        self.ticks += passed
        self.seq = base + passed + len(self._delivered)
        for number in self._quiet:
            if count := self._passed.before_of(number, key):
                self._listener.on_cut(number, self.rows[number].bids_in_row(count))

    # --- closing bars -------------------------------------------------------------------------

    def _close(self, members: list[int], before: int, end_ts: int) -> None:
        """Deliver the bars that close with the step, symbol by symbol, and the beat.

        Args:
            members: The symbols with a bar.
            before: The line before the skipped closes, if nothing were delivered.
            end_ts: When the step is over.
        """
        listener = self._listener
        late = {head[1] for head in self._heads}
        quiet, held, delivered = self._quiet, self._held, self._delivered
        closed_ts = end_ts - 1 - self._lag_ms
        # All later lines come after them.
        self._quiet, self._passed, self._delivered = [], NO_TICKS, []
        self._opened = 0
        # Symbols whose last tick was delivered while others were skipped.
        closing = [number for ts, number in delivered if ts == closed_ts]
        before += len([ts for ts, _ in delivered if ts < closed_ts])
        if quiet:
            listener.on_time(end_ts)
        # These come before any bar, as a strategy may read the touch of every symbol.
        for number in quiet:
            self.rows[number].show_row()
        # All lists rise, so the next quiet, held and closing symbols are known by their place.
        at = passed = 0
        for number in held:
            while quiet[at] < number:
                at += 1
            while passed < len(closing) and closing[passed] < number:
                passed += 1
            self.rows[number].settle_row(before + at + 1 + passed)
        at = passed = kept = 0
        for number in members:
            rows = self.rows[number]
            if at < len(quiet) and quiet[at] == number:
                at += 1
                while passed < len(closing) and closing[passed] < number:
                    passed += 1
                tick_seq = before + at + passed
                if kept < len(held) and held[kept] == number:
                    kept += 1
                    rows.deliver_closed(self.seq)
                elif rows.pass_row(tick_seq, self.seq):
                    rows.quiet_until = 0
                elif end_ts <= self._beat_ts:  # No message followed that could stop the run.
                    self.seq = rows.seq
                    continue
            elif number in late and not self._delivers_due(number, end_ts):
                if listener.is_stopped:
                    return
                continue
            else:
                rows.deliver_closed(self.seq)
            self.seq = rows.seq
            if listener.is_stopped:
                return
            if end_ts > self._beat_ts:
                self.seq += 1
                self._deliver_beat(end_ts, self.seq)
                if listener.is_stopped:
                    return

    def _delivers_due(self, number: int, end_ts: int) -> bool:
        """Deliver a symbol's ticks at the very end of its row; return whether none comes later."""
        heads = self._heads
        while heads and heads[0][:2] == (end_ts, number):
            _, _, shown, others = heads[0]
            self._deliver_tick(number, shown)
            self.seq += 1
            self._delivered = []
            if self._listener.is_stopped:
                return False
            following = next(others, None)
            if following is None:
                heappop(heads)
                return True
            heapreplace(heads, (following.at, number, following, others))
        return False

    def _deliver_beat(self, ts: int, seq: int) -> None:
        self._beat_ts = ts
        self.beats += 1
        beat = Event(ts, place_id(seq), MARKET_ROLE, self._run_id, NO_CMDLINE, BEAT)
        self._lockstep.process(beat, seq)
