"""Checks of `minibot doctor` that only a trial meets: alerts that arrived, a page that was opened.

Each is a warning: a night starts without them, and `minibot ready` counts them as missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from minibot.ops.alerts.target_trial import tried_ms
from minibot.ops.one_time_code import opened_ms
from minibot.ops.trial_needs import OPEN_PAGE
from minibot.report.figures import date_clock
from minibot.runtime.configuration.config import Config
from minibot.runtime.paths import Var
from minibot.watchdog.preflight import CheckResult

ALERT_TEST, PAGE_OPENED = "alert test", "page opened"
TEST_VERB: Final = "minibot alert test"


def trial_checks(config: Config, var: Var, words: str = "") -> Iterator[CheckResult]:
    """Yield whether the alerts and the page of a profile were tried; nothing where it has none.

    Args:
        config: The profile.
        var: The folder with the notes of both.
        words: Words of a command line that name the profile, for the remedy.
    """
    if config.alerts is not None:
        tried = tried_ms(var, config.alerts)
        if tried is None:
            text = "no test has reached every target that the profile now names"
            yield CheckResult(ALERT_TEST, True, text, f"{TEST_VERB} {words}".rstrip())
        else:
            text = f"a test reached every target at {date_clock(tried)} UTC"
            yield CheckResult(ALERT_TEST, True, text)
    if config.page is not None:
        opened = opened_ms(var)
        if opened is None:
            yield CheckResult(PAGE_OPENED, True, "never, with a code", OPEN_PAGE)
        else:
            yield CheckResult(PAGE_OPENED, True, f"at {date_clock(opened)} UTC, with a code")
