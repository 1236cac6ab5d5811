"""Trial of the alerts: one message to each target, and its note in `var/ops`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from minibot.events.model import JsonObject
from minibot.kernel import canonical
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
    """Send a message to all targets at once; return the outcomes by name.

    A target without a usable address has an outcome that is not sent and says why.
    """
    found, _ = targets_of(section, secrets)
    title = "minibot: a test of the alerts"
    text = "Sent by minibot alert test. Nothing is wrong."
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
    """Return the reason why a name is not a target; empty for a target."""
    secret = (section.targets or {}).get(name)
    if secret is None:
        return ""
    try:
        address_of(name, secret, secrets)
    except Refusal as error:
        return str(error)
    return ""


def note_trial(
    var: Var, profile: str, section: AlertsSection, outcomes: Mapping[str, Outcome]
) -> None:
    """Note a trial in `var/ops/alert_test.json`: the targets that it reached, and others.

    Raises:
        RunStop: The disk refuses.
    """
    ensure_folder(var.root)
    ensure_folder(var.ops)
    record: JsonObject = {
        "schema": "minibot.alert_test",
        "profile": profile,
        "tried_ms": wall_ms(),
        "targets": {
            name: digest
            for name, digest in digests_of(section.targets, section.commands).items()
            if outcomes[name].is_sent
        },
        "failed": sorted(name for name, each in outcomes.items() if not each.is_sent),
    }
    write_hashed(var.alert_test, record, generation=1)


def digests_of(targets: JsonObject | None, commands: JsonObject | None) -> dict[str, str]:
    """Return the sha256 of each target's entry: a command's words, or an address's secret name."""
    given = {"targets": targets or {}, "commands": commands or {}}
    return {
        name: hashlib.sha256(canonical.encode({kind: value})).hexdigest()
        for kind, named in given.items()
        for name, value in named.items()
    }


def tried_ms(var: Var, section: AlertsSection) -> int | None:
    """Return when the last test was, Unix ms, if it reached every target of a profile; else None.

    The test may be of another profile with the same entries; an earlier test does not count. A
    changed entry of the profile counts as not reached. A new address in the secrets file under
    the same name goes unnoticed.
    """
    return reached_ms(var, digests_of(section.targets, section.commands))


def reached_ms(var: Var, digests: Mapping[str, str] | None = None) -> int | None:
    """Return when the last test was, Unix ms, if it reached all the given targets.

    Args:
        var: The folder with the note.
        digests: The targets; None for those of the test itself.
    """
    try:
        record = read_hashed(var.alert_test)
        reached, failed, found = (
            dict(record["targets"]),
            list(record["failed"]),
            int(record["tried_ms"]),
        )
    except (OSError, RunStop, KeyError, TypeError, ValueError):
        return None
    if digests is None:
        return found if reached and not failed else None
    return found if digests and digests.items() <= reached.items() else None
