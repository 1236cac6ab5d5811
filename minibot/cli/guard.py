"""minibot guard: watch a run from a process of its own and alarm when nothing moves."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Callable
from pathlib import Path

from minibot.cli.support.output import say
from minibot.cli.support.own_profile import ELSE_OWN, take_profile
from minibot.cli.support.profile import own_var, profile_of
from minibot.cli.support.selection import add_profile, var_of
from minibot.kernel.errors import Refusal, RunStop
from minibot.kernel.threads import SignalEvent

HELP = "watch a night from a process of its own: alarm when nothing moves or is heard"
EXAMPLE = "minibot guard --config my-night.json"
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    add_profile(command, needed=False, else_=ELSE_OWN)
    command.add_argument(
        "--url",
        metavar="URL",
        help="ask the page of a night elsewhere, through a tunnel: http://127.0.0.1:PORT",
    )
    command.add_argument(
        "--token",
        type=Path,
        metavar="FILE",
        help="file with that page's token (a copy of its var/ops/token)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Watch until Ctrl-C or SIGTERM; 0 then, 2 without alerts or if another guard runs."""
    # Imported here because `--help` needs none of it.
    from minibot.kernel.codes import QUEUE_LOCKED
    from minibot.ops.alerts.delivery import Delivery
    from minibot.ops.alerts.outbox import GUARD_OUTBOX, Outbox
    from minibot.ops.alerts.targets import secrets_of, targets_of
    from minibot.ops.guard_sources import Source, UrlSource, VarSource
    from minibot.ops.night_guard import PING_EVERY_MS, QUIET_MS, Guard, LeftBehind

    if arguments.token is not None and arguments.url is None:
        raise Refusal("--token belongs to --url.", "Name the page: --url http://127.0.0.1:PORT")
    take_profile(arguments)
    config = profile_of(arguments, *own_var(arguments))
    var = var_of(arguments) if arguments.var is not None else config.var
    if config.alerts is None:
        raise Refusal(f"{config.profile} has no section alerts.", "See docs/OPERATING.md.")
    secrets = secrets_of(config.secrets.path)
    targets, faults = targets_of(config.alerts, secrets)
    for fault in faults:
        say(f"WARN {fault}")
    if not targets:
        raise Refusal("no target can be reached.", "Try them: minibot alert test")
    alerts = config.alerts

    def further(left: Outbox) -> Delivery:
        """Return a delivery with its own targets: its end cancels their messages."""
        return Delivery.of_profile(left, alerts, targets_of(alerts, secrets)[0])

    section, ping_url = config.guard, ""
    if section is not None and section.ping is not None:
        ping_url = _address(section.ping, secrets.names, secrets.reveal)
    source: Source = VarSource(var)
    if arguments.url is not None:
        source = UrlSource(_page(arguments.url), _token(arguments.token))
    try:
        outbox = Outbox(var.ops, GUARD_OUTBOX)
    except RunStop as error:
        if error.reason_code != QUEUE_LOCKED:
            raise
        raise Refusal(
            f"another guard watches {var.root}.", "End it, or name another --var."
        ) from error
    quiet_ms = QUIET_MS if section is None else section.quiet_ms
    every_ms = None if section is None else section.ping_every_ms
    guard = Guard(
        source,
        Delivery.of_profile(outbox, alerts, targets),
        quiet_ms / 1000,
        ping_url,
        (every_ms or PING_EVERY_MS) / 1000,
        None if arguments.url is not None else LeftBehind(var, further),
    )
    ended = SignalEvent()
    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: ended.set())
    say(f"guard: watching {arguments.url or var.root}, {quiet_ms / 1000:.0f} s of quiet alarm")
    guard.serve(ended)
    return 0


def _address(name: str, names: tuple[str, ...], reveal: Callable[[str], str]) -> str:
    # Imported here because `--help` needs no client of HTTP.
    from minibot.exchanges.single_get import parts_of

    if name not in names:
        raise Refusal(
            f"guard.ping: {name} is not in the secrets file.",
            "Write it there as NAME=address; secrets.path names the file.",
            4,
        )
    url = reveal(name)
    if parts_of(url).scheme not in ("http", "https"):
        raise Refusal(f"guard.ping: {name} is not an http(s) address.", "Give the monitor's.", 4)
    return url


def _page(url: str) -> str:
    from minibot.exchanges.single_get import parts_of

    parts = parts_of(url)
    try:
        is_plain = parts.scheme == "http" and not parts.username and parts.port != 0
    except ValueError:  # Of a port that is no number, or too high.
        is_plain = False
    if not is_plain or parts.hostname not in LOOPBACK:
        raise Refusal(
            "--url takes the loopback end of a tunnel, as http://127.0.0.1:8765.",
            "Make one: ssh -L 8765:127.0.0.1:8765 HOST",
        )
    return f"http://{parts.netloc}"


def _token(path: Path | None) -> str:
    if path is None:
        raise Refusal("--url needs the page's token.", "Name its file: --token FILE")
    try:
        return path.read_text("ascii").strip()
    except (OSError, ValueError) as error:
        raise Refusal(f"{path} cannot be read: {error}.", "Copy var/ops/token there.") from error
