"""Process `ops` of a run: started by its launcher; once it serves, it has the lowest priority.

It looks at the status four times a second and hands each new one to its services. It writes no
event, and acts on the run only by request files, as every operator does. When the launcher goes,
its standard input ends; the services then deliver their last messages, and close.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import psutil

from minibot.events.model import READY, JsonObject
from minibot.kernel.errors import MinibotError, Refusal, RunStop
from minibot.kernel.threads import DaemonThread
from minibot.ops.backup_service import BackupService
from minibot.ops.live_status import LOOK_S, LiveStatus
from minibot.runtime.channels import Heartbeat, start_control
from minibot.runtime.configuration.config import config_of_manifest
from minibot.runtime.configuration.config_sections import AlertsSection, Page
from minibot.runtime.extras import ALERTS, ALERTS_REMEDY, WEB, WEB_REMEDY, missing_packages
from minibot.runtime.manifest import Manifest
from minibot.runtime.paths import Var

NICE: Final = 19


class Service(Protocol):
    """Service of `ops`: the page's server, the alerts, or the backups."""

    def take(self, status: JsonObject) -> None:
        """Take a new status; returns at once."""
        ...

    def close(self) -> None:
        """Deliver what is left, within some seconds, and end."""
        ...


def services_of(manifest: Manifest, var: Var) -> list[Service]:
    """Return the services for which the run's profile has a section; the slowest to end last."""
    config = config_of_manifest(manifest.config)
    services: list[Service] = []
    if config.alerts is not None:
        services += alerts_of(config.alerts, manifest, var)
    if config.page is not None:
        services += page_of(config.page, manifest, var)
    if config.backup is not None:
        services.append(BackupService(config.backup, var, manifest))
    return services


def page_of(page: Page, manifest: Manifest, var: Var) -> list[Service]:
    """Return the server of the page.

    There is none, with a warning, where its packages are missing, its port is taken, its token is
    damaged, or token or address cannot be read or written.
    """
    if missing := missing_packages(WEB):
        print(f"WARN no page: {missing} is not installed; {WEB_REMEDY}", file=sys.stderr)
        return []
    # Imported here because a run without a page needs none of its packages.
    from minibot.ops.web.http_server import PortTaken
    from minibot.ops.web.page_server import PageServer

    try:
        return [PageServer(manifest, var, page.port)]
    except PortTaken as error:
        print(f"WARN no page: {error}; choose another: --set page.port=0", file=sys.stderr)
        return []
    except (Refusal, RunStop, OSError) as error:
        # Such as a token that cannot be read: alerts and backups go on without the page.
        print(f"WARN no page: {error}", file=sys.stderr)
        return []


def alerts_of(section: AlertsSection, manifest: Manifest, var: Var) -> list[Service]:
    """Return alerts and chat of a run; either is left out, with a warning, where it cannot be."""
    if missing := missing_packages(ALERTS):
        print(f"WARN no alerts: {missing} is not installed; {ALERTS_REMEDY}", file=sys.stderr)
        return []
    # Imported here because a run without alerts needs none of it.
    from minibot.ops.alerts.run_alerts import service_of

    service = service_of(section, var, manifest)
    services: list[Service] = [] if service is None else [service]
    if section.telegram is not None:
        from minibot.ops.alerts.telegram import chat_of

        chat = chat_of(section, var, manifest)
        services += [] if chat is None else [chat]
    return services


def serve(run_dir: Path) -> None:
    """Serve a run until its launcher is gone."""
    var, manifest = Var(run_dir.parent.parent), Manifest.load(run_dir)
    gone = threading.Event()
    control = start_control(gone.set)
    beat = Heartbeat("ops")
    status = LiveStatus(var.status)
    services = services_of(manifest, var)
    # From here on: on a busy machine the packages of the page would take minutes to load.
    _take_lowest_priority()
    beat.state = READY
    while not control.orphaned:
        beat.turns += 1
        _look(status, manifest.run_id, services)
        gone.wait(LOOK_S)
    _look(status, manifest.run_id, services)
    _close(services)
    beat.end()


def _close(services: Sequence[Service]) -> None:
    """Close all services at once: the launcher waits for all of them no longer than for one."""
    errors: list[Exception] = []

    def close(service: Service) -> None:
        try:
            service.close()
        except Exception as error:  # Raised or logged below, once every other service has closed.
            errors.append(error)

    threads = []
    for service in services:
        thread = DaemonThread(partial(close, service), "close")
        try:
            thread.start()
        except RuntimeError:  # The system provides no thread.
            close(service)
        threads.append(thread)
    for thread in threads:
        thread.join()
    for error in errors[1:]:
        print(f"ops: a service did not close: {error!r}", file=sys.stderr, flush=True)
    if errors:
        raise errors[0]


def _take_lowest_priority() -> None:
    if sys.platform == "win32":
        psutil.Process().nice(psutil.IDLE_PRIORITY_CLASS)
    else:
        psutil.Process().nice(NICE)


def _look(status: LiveStatus, run_id: str, services: Sequence[Service]) -> None:
    # The file holds the status of a former run until this one's first.
    if status.look() and status.latest is not None and status.latest["run_id"] == run_id:
        for service in services:
            service.take(status.latest)


def main(argv: Sequence[str]) -> int:
    """Serve the run named by `--run`; 0 at its end."""
    parser = argparse.ArgumentParser(prog="python -m minibot.ops.process")
    parser.add_argument("--run", type=Path, required=True, help="the run's folder")
    arguments = parser.parse_args(argv)
    # The launcher handles Ctrl-C, and ends the pipe when all is over.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        serve(arguments.run)
    except MinibotError as error:
        print(f"ops: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
