"""Evening of nights for tests: one `var`, and sinks that note what arrives."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final

import psutil

from minibot.ops.alerts.delivery import PAUSE_S
from minibot.ops.alerts.incident_rules import INCIDENT_RULES
from minibot.ops.alerts.outbox import DONE, FAILED, OUTBOX, TRY
from minibot.ops.alerts.targets import REPEAT
from minibot.ops.live_status import LiveStatus
from minibot.runtime.clock import wall_ms
from minibot.runtime.paths import Var
from minibot.runtime.stop import standing_flags
from tests.nights.night import Night
from tests.ops.alert_hosts import Got, WebHost
from tests.ops.watched_nights import ALERTS, start, to_program
from tests.runs import LINE_PREFIX
from tests.waiting import wait_until

NONE: Final = "/none/"
# A busy machine stands still by itself, and each run on it may have alerts of that.
PAUSED: Final = "PAUSED"
STOOD_STILL: Final = INCIDENT_RULES[PAUSED].title
SOON_MS: Final = 10_000
# A program that notes each message, and kills who sent the first one whose id has some text.
LOG: Final = """
import json, os, signal, sys
path, deadly = sys.argv[1:]
said = json.loads(sys.stdin.read())
with open(path, "a+") as file:
    file.seek(0)
    is_first = deadly not in file.read()
    file.write(json.dumps(said) + "\\n")
if is_first and deadly in said["alerts"][0]["id"]:
    os.kill(os.getppid(), signal.SIGKILL)
"""


def logged(path: Path, deadly: str = NONE) -> dict[str, Any]:
    """Return a section of alerts that go to that program alone; `deadly` is that text."""
    return to_program([sys.executable, "-c", LOG, str(path), deadly])


def noted(path: Path) -> list[dict[str, Any]]:
    """Return the messages in a file of that program, oldest first, but one half written."""
    if not path.exists():
        return []
    lines = path.read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def kinds_of(messages: list[dict[str, Any]], run_id: str) -> list[str]:
    """Return the kinds of a run's alerts, in the order in which they came."""
    ids = [each["id"] for message in messages for each in message["alerts"]]
    return [name.split("/")[1] for name in ids if name.startswith(run_id)]


class Evening:
    """Evening of nights whose alerts go to a program, and to a webhook if there is one."""

    def __init__(self, folder: Path, hook: WebHost | None = None, deadly: str = NONE) -> None:
        self.folder = folder
        self.var = Var(folder / "var")
        self._hook = hook
        self._path = folder / "told.jsonl"
        self.alerts = logged(self._path, deadly)
        if hook is not None:
            self.alerts["targets"] = ALERTS["targets"]

    @property
    def hook(self) -> WebHost:
        """The webhook."""
        assert self._hook is not None
        return self._hook

    # --- nights -------------------------------------------------------------------------------

    def start(self, *sets: str, speed: str = "20") -> Night:
        """Start a night, and wait until its chain works."""
        before = self.runs()
        night = start(self.folder, *sets, alerts=self.alerts, speed=speed)
        wait_until(lambda: self.runs() > before or night.process.poll() is not None, "a run")
        night.await_trading()
        return night

    def stop(self, night: Night) -> None:
        """Stop a night by hand, and wait for its end."""
        self.var.flag.write_text("by hand")
        code, text = night.end()
        assert code == 10, text

    def free(self) -> None:
        """Take away the flags of a STOP, as an operator does before the next night."""
        for flag in standing_flags(self.var):
            flag.unlink()

    def runs(self) -> list[str]:
        """Return the ids of all runs, oldest first."""
        return sorted(path.parent.name for path in self.var.runs.glob("*/manifest.json"))

    @property
    def run_id(self) -> str:
        """Id of the newest run."""
        return self.runs()[-1]

    @property
    def run_dir(self) -> Path:
        """Folder of the newest run."""
        return self.var.run(self.run_id)

    def status(self) -> dict[str, Any]:
        """Return the newest status of the newest run."""

        def found() -> dict[str, Any] | None:
            status = LiveStatus(self.var.status)
            status.look()
            latest = status.latest
            return latest if latest is not None and latest["run_id"] == self.run_id else None

        return wait_until(found, "this night tells its status")

    # --- the program --------------------------------------------------------------------------

    def log(self) -> list[dict[str, Any]]:
        """Return the messages that came to the program, with the alerts that each tells of.

        None of `PAUSED`, here and at the webhook: a busy machine stands still by itself.
        """
        return [each for each in noted(self._path) if not each["title"].endswith(STOOD_STILL)]

    def has_paused(self) -> bool:
        """Return whether the program was told that the newest run stood still."""
        return PAUSED in kinds_of(noted(self._path), self.run_id)

    def kinds(self, run_id: str) -> list[str]:
        """Return the kinds of the alerts of a run that came to the program, in order."""
        return kinds_of(self.log(), run_id)

    def message(self, kind: str) -> dict[str, Any]:
        """Return the one message of a kind of the newest run."""
        start = f"{self.run_id}/{kind}/"
        (found,) = [each for each in self.log() if each["alerts"][0]["id"].startswith(start)]
        return found

    def await_kinds(self, *kinds: str) -> None:
        """Wait until the program has as many alerts of the newest run, and find these."""
        wait_until(lambda: len(self.kinds(self.run_id)) >= len(kinds), f"{kinds} come")
        came = self.kinds(self.run_id)
        assert came == list(kinds), came

    # --- the webhook --------------------------------------------------------------------------

    def all_hooked(self) -> list[str]:
        """Return all titles that the webhook took, in order, with the mark of a repeat."""
        return [title for title in self.hook.titles() if not title.endswith(STOOD_STILL)]

    def hooked(self, run_id: str) -> list[str]:
        """Return the titles of a run that the webhook took, in order, without their mark."""
        titles = [title.removeprefix(REPEAT) for title in self.all_hooked()]
        return [title for title in titles if title.split()[1].rstrip(":") == run_id]

    def take_stop_first(self) -> None:
        """Let the webhook refuse everything until it is asked to take a STOP, and nothing then."""
        hook = self.hook

        def answer(got: Got) -> dict[str, str]:
            if "STOPPED" in got.json["title"]:
                hook.status = 200
            return {}

        hook.status, hook.answer = 503, answer

    def await_hook(self) -> None:
        """Wait until the webhook has as many alerts of the newest run as the program has."""
        run_id = self.run_id
        wait_until(lambda: len(self.hooked(run_id)) >= len(self.kinds(run_id)), "the hook has all")

    def is_pausing(self) -> bool:
        """Return whether nothing is on its way to either sink, nor soon to the failed webhook."""
        lines = (self.var.ops / OUTBOX / "inbox.jsonl").read_bytes().split(b"\n")[:-1]
        notes = [json.loads(line[LINE_PREFIX:]) for line in lines]
        last = {each["target"]: each for each in notes if each["what"] in (TRY, DONE, FAILED)}
        if last["hook"]["what"] != FAILED or last["log"]["what"] != DONE:
            return False
        failures = [each for each in notes if each["what"] == FAILED]
        pause_ms = int(PAUSE_S * 1000) << (len(failures) - 1)
        return bool(wall_ms() - last["hook"]["at_ms"] < pause_ms - SOON_MS)

    def assert_all_came_once(self) -> None:
        """Find each alert once at either sink: by its id, in no digest, marked as no repeat."""
        messages = self.log()
        ids = [each["id"] for message in messages for each in message["alerts"]]
        assert len(ids) == len(set(ids)) == len(messages)
        assert [each["title"] for each in messages if each["is_repeat"]] == []
        hooked = [title.removeprefix(REPEAT) for title in self.all_hooked()]
        assert Counter(hooked) == Counter(each["title"] for each in messages)


def again(night: Night, name: str) -> psutil.Process:
    """Kill a process of a night, and return the one that is started for it."""
    first = wait_until(lambda: night.role(name), f"{name} runs")
    first.kill()
    return other(night, name, first)


def other(night: Night, name: str, first: psutil.Process) -> psutil.Process:
    """Return the process that is started for one that has died."""

    def second() -> psutil.Process | None:
        found = night.role(name)
        return found if found is not None and found.pid != first.pid else None

    return wait_until(second, f"{name} is started again")
