"""Pictures of the operator's page of a finished run, by an installed Chromium.

    python -m tools.operator_pictures RUN_DIR    draws docs/pictures/operator-*.png

The figures are those of the time when it is drawn, so nothing compares them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tools.bench.operator_nights import NightError
from tools.bench.operator_page import SHOWN, enter, served_record, until
from tools.chromium import Chromium, ChromiumError, found_chromium
from tools.page_pictures import DESK, FOLDER, PHONE

HAS_PRICES = "views.prices?.lines[0]?.points.length > 0"


def draw(chromium: Chromium, run_dir: Path, folder: Path) -> Iterator[Path]:
    """Draw a run's chart on a desk and its figures in the dark on a phone; yield each picture."""
    with served_record(run_dir) as told:
        url = str(told["url"])
        enter(chromium, url, str(told["code"]))
        for kind, tab, size, scheme in (
            ("desk", "chart", DESK, "light"),
            ("phone", "now", PHONE, "dark"),
        ):
            chromium.open(url, *size, prefers_color_scheme=scheme)
            until(chromium, SHOWN)
            chromium.ask(f"at('tab-{tab}').click()")
            if tab == "chart":
                until(chromium, HAS_PRICES)
            path = folder / f"operator-{kind}.png"
            chromium.picture(path, *size)
            yield path


def main(argv: Sequence[str]) -> int:
    """Draw the pictures; 2 where the page or Chromium cannot be had."""
    parser = argparse.ArgumentParser(prog="python -m tools.operator_pictures", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a finished run")
    arguments = parser.parse_args(argv)
    browser = found_chromium()
    if browser is None:
        print("no Chromium here; Debian: apt-get install chromium", file=sys.stderr)
        return 2
    try:
        with Chromium(browser) as chromium:
            for path in draw(chromium, arguments.run, FOLDER):
                print(f"{path.name}: {path.stat().st_size:,} bytes")
    except (ChromiumError, NightError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
