"""Trial of the alerts: one message to each target, and its note in `var/ops`."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from minibot.events.model import JsonObject
from minibot.kernel.errors import Refusal, RunStop
from minibot.kernel.files import ensure_folder, read_hashed, write_hashed
from minibot.ops.alerts.alert import INFO, Alert
from minibot.ops.alerts.targets import Outcome, address_of, message_of, names_of, targets_of
from minibot.runtime.clock import wall_ms
from minibot.runtime.configuration.config_sections import AlertsSection
from minibot.runtime.paths import Var
from minibot.runtime.secrets import Secrets

KIND: Final = "test"


def try_targets(section: AlertsSection, secrets: Secrets) -> dict[str, Outcome]:
    """Send a message to each target at once; return how each went, also of those without one."""
    found, _ = targets_of(section, secrets)
    title = "minibot: a test of the alerts"
    text = "You get this since somebody ran minibot alert test. Nothing is wrong."
    alert = Alert.of("", KIND, str(wall_ms()), INFO, title, text, is_always=True)
    message = message_of(alert, is_repeat=False)
    outcomes = {
        name: Outcome(False, fault_of(name, section, secrets)) for name in names_of(section)
    }
    if found:
        with ThreadPoolExecutor(len(found)) as pool:
            sent = pool.map(lambda target: target.send(message), found)
            outcomes |= dict(zip([target.name for target in found], sent, strict=True))
    return outcomes


def fault_of(name: str, section: AlertsSection, secrets: Secrets) -> str:
    """Return why a name is no target; empty for one that is."""
    secret = (section.targets or {}).get(name)
    if secret is None:
        return ""
    try:
        address_of(name, secret, secrets)
    except Refusal as error:
        return str(error)
    return ""


def note_trial(var: Var, profile: str, outcomes: Mapping[str, Outcome]) -> None:
    """Note a trial in `var/ops/alert_test.json`.

    Raises:
        RunStop: The disk refuses.
    """
    ensure_folder(var.root)
    ensure_folder(var.ops)
    said: JsonObject = {
        "schema": "minibot.alert_test",
        "profile": profile,
        "tried_ms": wall_ms(),
        "targets": {name: each.is_sent for name, each in outcomes.items()},
    }
    write_hashed(var.alert_test, said, generation=1)


def tried_ms(var: Var, section: AlertsSection) -> int | None:
    """Return when a test last reached every target of a profile, Unix ms; None if none did."""
    try:
        said = read_hashed(var.alert_test)
    except (OSError, RunStop):
        return None
    reached = {name for name, is_sent in said.get("targets", {}).items() if is_sent}
    return int(said["tried_ms"]) if set(names_of(section)) <= reached else None
