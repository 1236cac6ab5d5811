"""Pictures of a night's report and of a backtest's page by an installed Chromium.

    python -m tools.page_pictures NIGHT.html BACKTEST.html            measure both pages
    python -m tools.page_pictures NIGHT.html BACKTEST.html --write    and draw docs/pictures

A page is measured with everything that is folded opened: nothing may reach over the edge of the
window, scroll sideways, or be broken inside a word or a figure.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tools.chromium import Chromium, ChromiumError, found_chromium

FOLDER: Final = Path(__file__).resolve().parent.parent / "docs" / "pictures"
BYTES_MAX: Final = 400_000
PHONE, DESK = (390, 844), (1000, 780)
WIDTHS: Final = range(400, 199, -20)
# What no line may break: text between spaces, and of that what lies between hyphens of words.
MEASURE: Final = """
(() => {
  for (const fold of document.querySelectorAll('details')) fold.open = true;
  const root = document.documentElement, over = [], broken = [], heights = [];
  const named = e => e.tagName + '.' + e.className + ' ' + e.textContent.slice(0, 60);
  for (const e of document.querySelectorAll('body *')) {
    if (e.closest('svg') && e.tagName !== 'svg') continue;
    const box = e.getBoundingClientRect();
    if (box.width && (box.right > root.clientWidth + 0.5 || box.left < -0.5)) over.push(named(e));
    else if (e.tagName !== 'svg' && e.scrollWidth > e.clientWidth + 1 &&
             getComputedStyle(e).overflowX !== 'visible') over.push(named(e));
  }
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode());) {
    if (node.parentElement.closest('svg, .hash')) continue;
    for (const word of node.textContent.matchAll(/\\S+?(?:(?<=[a-z])-(?=[a-z])|\\/|(?!\\S))/gi)) {
      const range = document.createRange();
      range.setStart(node, word.index);
      range.setEnd(node, word.index + word[0].length);
      const boxes = [...range.getClientRects()].filter(box => box.width > 0);
      if (new Set(boxes.map(box => Math.round(box.top))).size > 1) broken.push(word[0]);
    }
  }
  for (const text of document.querySelectorAll('svg text')) {
    const height = text.getBoundingClientRect().height;
    if (height) heights.push(height);
  }
  return {scroll: root.scrollWidth, over, broken, label: Math.min(...heights, 99)};
})()
"""


class Measured(NamedTuple):
    """Measures of a page in a window of one width.

    Attributes:
        scroll: Width that the page takes, CSS pixels.
        over: Elements that reach over the edge, or scroll sideways.
        broken: Words and figures with a line break inside.
        label: Height of the smallest label of a picture, CSS pixels.
    """

    scroll: int
    over: tuple[str, ...]
    broken: tuple[str, ...]
    label: float


def measured(chromium: Chromium, page: Path, width: int) -> Measured:
    """Return the measures of a page in a window of a width."""
    chromium.show(page, width)
    found = chromium.ask(MEASURE)
    return Measured(
        int(found["scroll"]), tuple(found["over"]), tuple(found["broken"]), float(found["label"])
    )


def narrowest(chromium: Chromium, pages: Sequence[Path]) -> int | None:
    """Return the least width in which no page scrolls sideways, in steps of 20 px below 400."""
    least = None
    for width in WIDTHS:
        found = [measured(chromium, page, width) for page in pages]
        if any(each.scroll > width or each.over for each in found):
            break
        least = width
    return least


def draw(chromium: Chromium, night: Path, backtest: Path, folder: Path) -> Iterator[Path]:
    """Draw both pages, on a desk and in the dark on a phone; yield each picture."""
    for name, page in (("night", night), ("backtest", backtest)):
        for kind, size, scheme in (("desk", DESK, "light"), ("phone", PHONE, "dark")):
            path = folder / f"{name}-{kind}.png"
            chromium.show(page, *size, prefers_color_scheme=scheme)
            chromium.picture(path, *size)
            yield path


def main(argv: Sequence[str]) -> int:
    """Measure two pages, and draw them; 1 where one of them does not fit a phone."""
    parser = argparse.ArgumentParser(prog="python -m tools.page_pictures", description=__doc__)
    parser.add_argument("night", type=Path, help="report.html of a night")
    parser.add_argument("backtest", type=Path, help="report.html of a backtest")
    parser.add_argument("--write", action="store_true", help="draw docs/pictures/*.png")
    arguments = parser.parse_args(argv)
    path = found_chromium()
    if path is None:
        print("no Chromium here; Debian: apt-get install chromium", file=sys.stderr)
        return 2
    try:
        with Chromium(path) as chromium:
            pages = [arguments.night, arguments.backtest]
            found = [measured(chromium, page, PHONE[0]) for page in pages]
            said = {str(page): each._asdict() for page, each in zip(pages, found, strict=True)}
            print(json.dumps({"narrowest": narrowest(chromium, pages), "at 390": said}, indent=2))
            if arguments.write:
                drawn = list(draw(chromium, arguments.night, arguments.backtest, FOLDER))
                size = sum(each.stat().st_size for each in drawn)
                print(f"{len(drawn)} pictures, {size:,} of {BYTES_MAX:,} bytes")
                if size > BYTES_MAX:
                    return 1
    except ChromiumError as error:
        print(error, file=sys.stderr)
        return 2
    return 0 if all(not each.over and not each.broken for each in found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
