"""Request and connection budget of this IP address, remembered over restarts.

The venue counts connection attempts and bans by address, not by process: a restarted role, or the
next run, inherits the state of the one before it. Times are milliseconds of the run's clock, which
for a real venue is Unix time.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from minibot.events.names import MARKET_ROLE
from minibot.events.reasons import ATOMICITY_VIOLATION
from minibot.exchanges.loopback import is_loopback
from minibot.exchanges.venue_facts import ConnectionLimits
from minibot.kernel.errors import IntegrityError
from minibot.kernel.files import ensure_folder, read_hashed, write_hashed


class Memory(Protocol):
    """Storage in which the address's state outlives the process."""

    def load(self) -> dict[str, Any]:
        """Return the saved state; empty without any."""

    def save(self, state: dict[str, Any]) -> None:
        """Save the state; durable on return."""


class NoMemory:
    """A memory that keeps nothing: for a venue that no later run will meet."""

    def load(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def save(self, state: dict[str, Any]) -> None:
        """Discard the state."""


class AddressFile:
    """State of the address in one hashed file, replaced atomically.

    Args:
        path: Path of the file; its folder is created when needed.
        clock: Name of the clock of its times. A simulated clock means nothing to the next run, so
            state saved on another clock is ignored.
    """

    def __init__(self, path: Path, clock: str) -> None:
        self._path = path
        self._clock = clock

    def load(self) -> dict[str, Any]:
        """Return the state that was saved on the same clock; empty without any.

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


def venue_file(root: Path, venue: str, rest_url: str) -> AddressFile:
    """Return the file below `var` of this machine's address at a venue.

    A host of this machine has one of its own: no ban of a played exchange is the venue's.
    """
    is_played = is_loopback(urlsplit(rest_url).hostname or "")
    name = f"{venue}-loopback" if is_played else venue
    return AddressFile(root / "exchange" / f"{name}.json", "unix")


class Address:
    """Connection attempts of the address, and the silence that the venue asked for."""

    def __init__(self, memory: Memory, now_ms: int, limits: ConnectionLimits) -> None:
        self._memory = memory
        self._limits = limits
        state = memory.load()
        try:
            stamps = sorted(int(stamp) for stamp in state.get("attempts_ms", ()))
            silent_until_ms = int(state.get("silent_until_ms", 0))
            self.is_banned = bool(state.get("is_banned", False))
        except (TypeError, ValueError) as error:
            raise IntegrityError(
                MARKET_ROLE, ATOMICITY_VIOLATION, f"state of the address: {error}"
            ) from error
        self._attempts = deque(min(stamp, now_ms) for stamp in stamps)
        self.silent_until_ms = min(silent_until_ms, now_ms + limits.ban_ms_max)
        if self.silent_until_ms < silent_until_ms or (stamps and stamps[-1] > now_ms):
            self._save()  # A clock was ahead; else every later start would wait for as long again.

    def attempts(self, now_ms: int) -> int:
        """Return how many attempts the venue's window holds now."""
        while self._attempts and self._attempts[0] <= now_ms - self._limits.attempts_ms:
            self._attempts.popleft()
        return len(self._attempts)

    def free_at_ms(self, now_ms: int) -> int:
        """Return the first time at which the address may connect; `now_ms` if it may now."""
        surplus = self.attempts(now_ms) - self._limits.attempts_max
        return now_ms if surplus < 0 else self._attempts[surplus] + self._limits.attempts_ms

    def on_attempt(self, now_ms: int) -> None:
        """Count an attempt to connect; to be called before it is made, and saved at once."""
        self._attempts.append(now_ms)
        self.attempts(now_ms)
        self._save()

    def on_silence(self, until_ms: int, *, is_ban: bool) -> None:
        """Note that the venue wants no request before `until_ms`."""
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
