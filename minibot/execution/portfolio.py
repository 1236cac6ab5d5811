"""The virtual portfolio on disk: `portfolio.json` and `open_positions.json` in the run's `var`.

Both are projections for people and programs that do not read queues; the fills are the truth. They
are written atomically once their fills are durable, and can be deleted at any time: the next change
or restart writes them again. The shell writes them once a second and at the end. `run_opening` and
the fills alone give `portfolio.json`; one that contradicts them is STOP(NONDETERMINISM).
`open_positions.json` holds the positions with resting orders, campaign, levels of the plan and
mark; it is only written, never compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from minibot.accounting.ledger import Ledger
from minibot.accounting.portfolio import Portfolio
from minibot.events.model import JsonObject
from minibot.events.money import amount_text
from minibot.events.reasons import NONDETERMINISM
from minibot.kernel.errors import IntegrityError
from minibot.kernel.files import read_hashed, write_hashed
from minibot.runtime.clock import machine_ns

PORTFOLIO_FILE: Final = "portfolio.json"
OPEN_POSITIONS_FILE: Final = "open_positions.json"
SHOWN_NS: Final = 5_000_000_000


class PortfolioStore:
    """Store of the two files of one run; `check` reads `portfolio.json` alone.

    The generation of both files is one more than their number of fills. Equal portfolios of a run
    give an equal `portfolio.json`; levels and marks of the other file move without a fill.
    """

    def __init__(self, folder: Path, run_id: str, clock_ns: Callable[[], int] = machine_ns) -> None:
        """Write below `folder`; files of another run there are replaced."""
        self._portfolio = folder / PORTFOLIO_FILE
        self._open_positions = folder / OPEN_POSITIONS_FILE
        self._run_id = run_id
        self._fills = -1
        self._listed: JsonObject = {}
        self._shown: dict[str, JsonObject] = {}
        self._clock_ns = clock_ns
        self._shown_ns = 0

    def save(
        self,
        portfolio: Portfolio,
        ledger: Ledger,
        listed: list[dict[str, str]] | None = None,
        balances: dict[str, dict[str, str]] | None = None,
        levels: Mapping[str, JsonObject] | None = None,
        marks: Mapping[str, int] | None = None,
        *,
        is_last: bool = True,
    ) -> None:
        """Write both files if fills, resting orders or balances changed since the last time.

        If only levels or marks moved, `open_positions.json` is written every five seconds: each
        atomic write is a commit of the file system, which delays the syncs of decisions.

        Args:
            portfolio: The present portfolio.
            ledger: The present ledger.
            listed: Open positions with the orders that rest for them; None for positions only.
            balances: Free and reserved balance by asset; None if the profile lists none.
            levels: Levels of the plans, by symbol; a position that is dust shows none.
            marks: Marks by symbol.
            is_last: Whether levels and marks are written regardless of the five seconds.

        Raises:
            IntegrityError: At the first call, the file of this run contradicts the portfolio.
            RunStop: The disk refuses.
        """
        positions = portfolio.open_positions() if listed is None else listed
        held: JsonObject = {"run_id": self._run_id, "positions": positions}
        if balances is not None:
            held["balances"] = balances
        shown = {each["symbol"]: _shown(each, levels or {}, marks or {}) for each in positions}
        is_moved = portfolio.fills != self._fills or held != self._listed
        now_ns = self._clock_ns()
        if not is_moved:
            is_due = is_last or now_ns - self._shown_ns >= SHOWN_NS
            if shown == self._shown or not is_due:
                return
        if self._fills < 0:
            self.check(portfolio, ledger)
        generation = portfolio.fills + 1
        if is_moved:
            whole = portfolio_json(self._run_id, portfolio, ledger)
            write_hashed(self._portfolio, whole, generation=generation)
        document = {**held, "positions": [{**each, **shown[each["symbol"]]} for each in positions]}
        write_hashed(self._open_positions, document, generation=generation)
        self._fills, self._listed = portfolio.fills, held
        self._shown, self._shown_ns = shown, now_ns

    def check(self, portfolio: Portfolio, ledger: Ledger) -> None:
        """Compare `portfolio.json` with a portfolio made from at least as many fills.

        A missing file, a file of another run and a file with fewer fills pass.

        Raises:
            IntegrityError: NONDETERMINISM where it contradicts the fills; ATOMICITY_VIOLATION
                where it fails its own hash.
        """
        if not self._portfolio.exists():
            return
        found = read_hashed(self._portfolio)
        if found.get("run_id") != self._run_id:
            return
        fills = found["portfolio"]["fills"]
        expected = portfolio_json(self._run_id, portfolio, ledger)
        is_equal = all(found.get(name) == value for name, value in expected.items())
        if fills > portfolio.fills or (fills == portfolio.fills and not is_equal):
            raise IntegrityError(
                "execution.portfolio",
                NONDETERMINISM,
                f"{PORTFOLIO_FILE} does not follow from the fills",
                expected=f"the portfolio after {portfolio.fills} fills",
                found=f"another one after {fills}",
            )


def _shown(
    position: Mapping[str, str], levels: Mapping[str, JsonObject], marks: Mapping[str, int]
) -> JsonObject:
    """Return levels and mark of a listed position, if they are known."""
    symbol = position["symbol"]
    found: JsonObject = {}
    if symbol in levels and "dust_qty" not in position:
        found["levels"] = levels[symbol]
    if symbol in marks:
        found["mark"] = amount_text(marks[symbol])
    return found


def portfolio_json(run_id: str, portfolio: Portfolio, ledger: Ledger) -> JsonObject:
    """Return the contents of `portfolio.json`, without generation and hash."""
    return {"run_id": run_id, "portfolio": portfolio.to_json(), "ledger": ledger.to_json()}
