"""O1: the page of a finished run in Chromium, from its opening to its figures on the screen."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from minibot.runtime.extras import WEB, WEB_REMEDY, missing_packages
from tools.bench.first_hour import NO_CHROMIUM
from tools.bench.frame import Limit, Measure, median
from tools.bench.machine import PROJECT
from tools.bench.operator_nights import DEADLINE_S, NightError, environ
from tools.chromium import Chromium, found_chromium

FIRST: Final = Limit(1.5, 0.5, is_most=True)
PAN: Final = Limit(30, 60)
WIDTH: Final = 1200
LOOK_S: Final = 0.01
END_S: Final = 30.0
ASKS: Final = "typeof at === 'function' && !at('login').hidden"
SHOWN: Final = "typeof at === 'function' && !at('main').hidden && live !== null"
FRAMES: Final = 120
PAN_SCRIPT: Final = """
(() => {
  window.framesMs = null;
  const price = (n) => 60000 + 500 * Math.sin(n / 900) + n % 37;
  const points = Array.from({length: 100000}, (_, n) => [n * 1000, price(n)]);
  const box = document.createElement("div");
  box.className = "chart";
  at("chart").prepend(box);
  const made = new Chart(box, null), scale = made.chart.timeScale();
  made.show("made", [{points, style: "accent"}, {points: [], style: "bad"}]);
  let frame = 0, began = 0;
  const step = () => {
    began = began || performance.now();
    scale.setVisibleLogicalRange({from: frame * 20, to: 100000 + frame * 20});
    if (frame++ < FRAMES) requestAnimationFrame(step);
    else {
      window.framesMs = performance.now() - began;
      box.remove();
    }
  };
  setTimeout(() => requestAnimationFrame(step), 1000);
})()
""".replace("FRAMES", str(FRAMES))
"""Shows made points and moves all of them sideways, a step for each frame."""


def page(repeats: int, run: Path, ticks: int) -> list[Measure]:
    """Return how long the page of a run takes to its figures, and the frames of its chart.

    Args:
        repeats: How often it is opened.
        run: Folder of the sealed run.
        ticks: Its ticks, for the note.
    """
    name = "page of a finished run, opened to figures on the screen"
    pan_name = "pan over 100,000 points in view, software rendering"
    browser, missing = found_chromium(), missing_packages(WEB)
    if browser is None or missing:
        why = f"not measured: {missing} is not installed; {WEB_REMEDY}" if missing else NO_CHROMIUM
        return [
            Measure("O1", name, None, "s", FIRST, notes=[why]),
            Measure("O1", pan_name, None, "frames/s", PAN, notes=[why]),
        ]
    with served_record(run) as told, Chromium(browser) as chromium:
        enter(chromium, str(told["url"]), str(told["code"]))
        taken = [_opened_s(chromium, str(told["url"])) for _ in range(repeats + 1)][1:]
        frames = [_frames_per_s(chromium) for _ in range(repeats)]
    notes = [f"a run of {ticks:,} ticks, not of seven hours; the run had been read before"]
    return [
        Measure("O1", name, median(taken), "s", FIRST, {"s": taken}, notes=notes),
        Measure("O1", pan_name, median(frames), "frames/s", PAN, {"frames/s": frames}),
    ]


def _frames_per_s(chromium: Chromium) -> float:
    """Return the frames a second while a chart of 100,000 points is moved sideways."""
    chromium.ask("at('tab-chart').click()")
    chromium.ask(PAN_SCRIPT)
    until(chromium, "framesMs !== null")
    return FRAMES * 1000 / float(chromium.ask("framesMs"))


@contextmanager
def served_record(run: Path) -> Iterator[dict[str, Any]]:
    """Serve the page of a finished run by its verb; yield the verb's JSON document.

    Raises:
        NightError: The verb ended before it said where the page is.
    """
    argv = [sys.executable, "-m", "minibot", "page", run.name, "--json"]
    process = subprocess.Popen(
        [*argv, "--var", str(run.parents[1])],
        cwd=PROJECT,
        env=environ(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield _document(process)
    finally:
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _document(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Return the JSON document that a process prints, while it goes on."""
    assert process.stdout is not None
    said = ""
    while line := process.stdout.readline():
        said += line
        try:
            found: dict[str, Any] = json.loads(said)
        except ValueError:
            continue
        return found
    raise NightError(f"minibot page ended: {said[-300:]}")


def enter(chromium: Chromium, url: str, code: str) -> None:
    """Log in by a one-time code.

    Raises:
        NightError: The page did not open.
    """
    chromium.open(url, WIDTH)
    until(chromium, ASKS)
    chromium.ask("document.querySelector('[name=code]').focus()")
    chromium.type(code)
    chromium.press("Enter")
    until(chromium, SHOWN)


def _opened_s(chromium: Chromium, url: str) -> float:
    """Return the seconds from opening the page to its figures."""
    began = time.perf_counter()
    chromium.open(url, WIDTH)
    until(chromium, SHOWN)
    return time.perf_counter() - began


def until(chromium: Chromium, condition: str) -> None:
    """Wait until an expression is true in the page.

    Raises:
        NightError: It did not come true in time.
    """
    deadline = time.monotonic() + DEADLINE_S
    while not chromium.ask(condition):
        if time.monotonic() > deadline:
            raise NightError(f"not within {DEADLINE_S:.0f} s in the page: {condition}")
        time.sleep(LOOK_S)
