"""minibot page: the running run's page, with a code that opens it once; RUN: a finished run's."""

from __future__ import annotations

import argparse
import sys
import threading
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

from minibot.cli.support.numbers import PORT_MAX, between
from minibot.cli.support.output import progress_bar, show
from minibot.cli.support.selection import find_run, var_of
from minibot.kernel.errors import Refusal
from minibot.ops.operator import require_running
from minibot.runtime.paths import Var
from minibot.runtime.running import running_run

if TYPE_CHECKING:
    from minibot.ops.web.record_page import RecordPage

HELP = "address of the running night's page, and a code that opens it once; RUN: a finished run's"
EXAMPLE = "minibot page --open"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument(
        "run_name",
        nargs="?",
        metavar="RUN",
        help="a finished run: id, directory or latest; its page is served until Ctrl-C",
    )
    command.add_argument("--open", action="store_true", help="open it in the browser too")
    command.add_argument(
        "--port",
        type=between(0, PORT_MAX),
        help="with RUN: port on 127.0.0.1 (default: any)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print address and code; 3 when no run is running, 2 when it has no page."""
    var = var_of(arguments)
    if arguments.run_name is not None:
        return _serve_record(arguments, var)
    if arguments.port is not None:
        raise Refusal(
            "--port goes with RUN.",
            "The port of a running night's page is its profile's page.port.",
        )
    # Imported here because `--help` needs none of it.
    from minibot.cli.support.page_opening import page_of
    from minibot.ops.one_time_code import Codes

    run_id = require_running(var)
    found = page_of(var)
    if found.get("run_id") != run_id:
        raise Refusal(
            f"{run_id} has no page.",
            'Start a run with one: --set \'page={"port":0,"required":true}\'; see also'
            f" {var.logs / 'ops.err.log'}",
        )
    _show_address(arguments, run_id, str(found["url"]), Codes(var.page_code).make())
    return 0


def _serve_record(arguments: argparse.Namespace, var: Var) -> int:
    """Serve the page of a finished run until Ctrl-C; 0 then."""
    run_dir = find_run(arguments.run_name, var)
    if running_run(var) == run_dir.name and run_dir == var.run(run_dir.name).resolve():
        raise Refusal(f"{run_dir.name} is running.", "Open its own page: minibot page")
    page = _record_page(run_dir, var, arguments.port or 0)
    try:
        _show_address(arguments, run_dir.name, page.url, page.make_code(), "Ctrl-C ends it")
        sys.stdout.flush()
        threading.Event().wait()
    except KeyboardInterrupt:
        return 0
    finally:
        page.close()
    return 0


def _record_page(run_dir: Path, var: Var, port: int) -> RecordPage:
    from minibot.cli.support.damage import note_altered
    from minibot.report.night import Night
    from minibot.runtime.extras import WEB, WEB_REMEDY, missing_packages

    if missing := missing_packages(WEB):
        raise Refusal(f"no page: {missing} is not installed.", f"To {WEB_REMEDY}")
    from minibot.ops.web.http_server import PortTaken
    from minibot.ops.web.record_page import RecordPage

    note_altered(run_dir)
    with progress_bar(f"reading {run_dir.name}") as progress:
        night = Night.open(run_dir, progress)
    try:
        return RecordPage(night, var, port)
    except PortTaken as error:
        raise Refusal(f"no page: {error}.", "Choose another: --port 0") from error


def _show_address(
    arguments: argparse.Namespace, run_id: str, url: str, code: str, *more: str
) -> None:
    from minibot.ops.one_time_code import CODE_S

    opened = arguments.open and webbrowser.open(url)
    lines = [
        f"page of {run_id}: {url}",
        f"code {code} (once, within {CODE_S / 60:.0f} minutes)",
        *more,
    ]
    if arguments.open and not opened:
        lines.append("no browser could be opened here")
    show(arguments, {"run_id": run_id, "url": url, "code": code}, lines)
