"""Needs of readiness that only a trial meets: an opened page, alerts that arrived (B-77)."""

from __future__ import annotations

from typing import Final

from minibot.ops.alerts.target_trial import digests_of, reached_ms
from minibot.ops.one_time_code import opened_ms
from minibot.report.figures import date_clock
from minibot.report.readiness import Need
from minibot.report.records import read_records
from minibot.runtime.paths import Var

ROW: Final = "B-77"
PAGE_NEED: Final = "a live page that was opened with a code"
ALERTS_NEED: Final = "alerts whose test reached every target"
OPEN_PAGE: Final = "minibot page --open, while a night runs"
TEST_ALERTS: Final = "minibot alert test --config FILE, with the profile of the nights"
PAGE_SET: Final = 'minibot night ... --set \'page={"port":0,"required":true}\''
ALERTS_SET: Final = "minibot new-config, whose last question is about alerts"


def trial_needs(var: Var) -> list[Need]:
    """Return the needs of page and alerts: a section in the newest real run, and a trial.

    The trial may be older than that run. Without a real run the trials alone count: readiness
    lists the missing run anyway.
    """
    real = [record for record in read_records(var) if record.is_real]
    newest = real[-1].manifest if real else None
    if newest is None:
        return [_page(var), _alerts(reached_ms(var))]
    page, alerts = newest.config.get("page"), newest.config.get("alerts")
    found = f"{newest.run_id} had none"
    return [
        _page(var) if page else Need(ROW, PAGE_NEED, False, found, PAGE_SET),
        _alerts(reached_ms(var, digests_of(alerts.get("targets"), alerts.get("commands"))))
        if alerts
        else Need(ROW, ALERTS_NEED, False, found, ALERTS_SET),
    ]


def _page(var: Var) -> Need:
    opened = opened_ms(var)
    if opened is None:
        return Need(ROW, PAGE_NEED, False, "never opened here", OPEN_PAGE)
    return Need(ROW, PAGE_NEED, True, f"opened at {date_clock(opened)} UTC")


def _alerts(tried: int | None) -> Need:
    if tried is None:
        return Need(ROW, ALERTS_NEED, False, "no test of these targets reached all", TEST_ALERTS)
    return Need(ROW, ALERTS_NEED, True, f"tried at {date_clock(tried)} UTC")
