"""Onboarding of symbols while a session runs: what is requested, and for which of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from minibot.events.model import Instrument
from minibot.exchanges.base import REFUSED, SERVER, RestError
from minibot.market.connections import Connections
from minibot.market.rest_scheduler import Answer
from minibot.market.symbol_onboarding import RETRY_MS, SymbolOnboarding
from tests.market.test_market_requests import Tray, requests_of


class Asked:
    """Venue that notes whose rules were requested."""

    def __init__(self) -> None:
        self.symbols: list[str] = []

    def instruments(self, symbols: Sequence[str]) -> list[Instrument]:
        self.symbols += symbols
        return []


@pytest.mark.parametrize("kind", [SERVER, REFUSED])
@pytest.mark.parametrize("others", [[], ["OTHERUSDT"]])
def test_symbol_that_left_while_its_rules_were_requested_is_not_added_by_a_failure(
    kind: str, others: list[str]
) -> None:
    """An answer that fails is no reason to follow a symbol that left the universe meanwhile."""
    tray, asked = Tray(), Asked()
    requests = requests_of(tray)
    pace = requests.pace
    newcomers = SymbolOnboarding(
        requests.feed, requests, cast(Connections, None), requests.clock, pace, warmup_bars=60
    )
    newcomers.add(["NEWUSDT", *others])
    (job,) = tray.jobs
    newcomers.forget(["NEWUSDT"])
    job.done(Answer(job, error=RestError(kind, "later")))
    newcomers.on_clock(pace.now_ms() + RETRY_MS)
    for again in tray.jobs[1:]:
        again.call(cast(Any, asked))

    assert asked.symbols == others
    assert requests.feed.board.take_all() == []
