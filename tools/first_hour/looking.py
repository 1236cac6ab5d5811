"""Pages that the hour has made, looked at in a Chromium: pictures, and the narrowest window."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tools.chromium import Chromium
from tools.page_pictures import DESK, PHONE, measured, narrowest

PICTURES: Final = (("desk", DESK, "light"), ("phone", PHONE, "dark"))


class Looked(NamedTuple):
    """Findings of a look at all pages.

    Attributes:
        narrowest: Least width in which no page scrolls sideways; None where 400 px are too few.
        faults: For each page on a phone, what reaches over the edge or is broken.
    """

    narrowest: int | None
    faults: dict[str, list[str]]


def pages_of(var: Path) -> list[Path]:
    """Return the pages below a folder of runs, oldest first."""
    return sorted(var.rglob("*.html"), key=lambda page: page.stat().st_mtime_ns)


def look_at(browser: str, pages: Sequence[Path], folder: Path) -> Looked:
    """Draw each page on a desk and on a phone into a folder, beside a copy of it; measure all.

    Args:
        browser: Path of a Chromium.
        pages: The pages.
        folder: Where pictures and copies go.

    Raises:
        ChromiumError: It cannot be driven here.
    """
    faults = {}
    with Chromium(browser) as chromium:
        for number, page in enumerate(pages, 1):
            name = f"{number:02}-{page.parent.name if page.stem == 'report' else page.stem}"
            if page.parent.name == "report":
                name = f"{number:02}-{page.parent.parent.name}"
            shutil.copyfile(page, folder / f"{name}.html")
            for kind, size, scheme in PICTURES:
                chromium.show(page, *size, prefers_color_scheme=scheme)
                chromium.picture(folder / f"{name}-{kind}.png", *size)
            found = measured(chromium, page, PHONE[0])
            said = [f"over the edge: {each}" for each in found.over]
            said += [f"broken: {each}" for each in found.broken]
            if found.scroll > PHONE[0]:
                said.append(f"{found.scroll} px wide at {PHONE[0]}")
            if said:
                faults[name] = said
        return Looked(narrowest(chromium, pages), faults)
