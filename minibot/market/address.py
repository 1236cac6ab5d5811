"""What this address has used of the venue's patience, remembered over restarts.

The venue counts connection attempts and bans by address, not by process: a role that is restarted,
or a run that follows another, stands where the one before it stood. Times are milliseconds of the
run's clock, which for a real venue is Unix time.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any, Protocol

from minibot.events.names import MARKET_ROLE
from minibot.events.reasons import ATOMICITY_VIOLATION
from minibot.exchanges.venue_facts import ConnectionLimits
from minibot.kernel.errors import IntegrityError
from minibot.kernel.files import ensure_folder, read_hashed, write_hashed


class Memory(Protocol):
    """Where the address's state outlives the process."""

    def load(self) -> dict[str, Any]:
        """Return what was saved, empty without anything."""

    def save(self, state: dict[str, Any]) -> None:
        """Keep the state; durable on return."""


class NoMemory:
    """Keeps nothing: for a venue that nobody else will meet."""

    def load(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def save(self, state: dict[str, Any]) -> None:
        """Forget it."""


class AddressFile:
    """One hashed file, replaced atomically.

    Args:
        path: Of the file; its folder is made when needed.
        clock: Name of the clock that its times are of: a simulated one means nothing to the next
            run, so what another clock has left is no state.
    """

    def __init__(self, path: Path, clock: str) -> None:
        self._path = path
        self._clock = clock

    def load(self) -> dict[str, Any]:
        """Return what was saved on the same clock.

        Raises:
            IntegrityError: ATOMICITY_VIOLATION; the file is damaged.
        """
        if not self._path.exists():
            return {}
        state = read_hashed(self._path)
        return dict(state) if state.get("clock") == self._clock else {}

    def save(self, state: dict[str, Any]) -> None:
        """Replace the file."""
        ensure_folder(self._path.parent)
        write_hashed(self._path, {**state, "clock": self._clock})


class Address:
    """Attempts to connect and the silence that the venue asked for."""

    def __init__(self, memory: Memory, now_ms: int, limits: ConnectionLimits) -> None:
        self._memory = memory
        self._limits = limits
        state = memory.load()
        try:
            stamps = [min(int(stamp), now_ms) for stamp in state.get("attempts_ms", ())]
            silent_until_ms = int(state.get("silent_until_ms", 0))
            self.is_banned = bool(state.get("is_banned", False))
        except (TypeError, ValueError) as error:
            raise IntegrityError(
                MARKET_ROLE, ATOMICITY_VIOLATION, f"state of the address: {error}"
            ) from error
        self._attempts: deque[int] = deque(sorted(stamps))
        self.silent_until_ms = min(silent_until_ms, now_ms + limits.ban_ms_max)

    def attempts(self, now_ms: int) -> int:
        """Return how many attempts the venue's window holds now."""
        while self._attempts and self._attempts[0] <= now_ms - self._limits.attempts_ms:
            self._attempts.popleft()
        return len(self._attempts)

    def free_at_ms(self, now_ms: int) -> int:
        """Return when the address may try to connect, `now_ms` if it may now."""
        surplus = self.attempts(now_ms) - self._limits.attempts_max
        return now_ms if surplus < 0 else self._attempts[surplus] + self._limits.attempts_ms

    def on_attempt(self, now_ms: int) -> None:
        """A connection is about to be tried; saved before it is."""
        self._attempts.append(now_ms)
        self.attempts(now_ms)
        self._save()

    def on_silence(self, until_ms: int, *, is_ban: bool) -> None:
        """The venue wants no request until then."""
        if until_ms > self.silent_until_ms:
            self.silent_until_ms, self.is_banned = until_ms, is_ban
            self._save()

    def _save(self) -> None:
        self._memory.save(
            {
                "attempts_ms": list(self._attempts),
                "silent_until_ms": self.silent_until_ms,
                "is_banned": self.is_banned,
            }
        )
