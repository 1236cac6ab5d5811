"""Store of kept backtests: `var/backtests/<id>/` with `result.json`, charts and `report.html`.

Each file is written atomically, the document last; the three together are not, so a failed write
may leave a new page with an earlier document. The document carries its own sha256. The same
backtest of the same build has the same id and bytes; keeping it again only makes it the newest. A
build whose figures differ replaces the result of the same id.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from minibot.backtest.report.documents import SCHEMA
from minibot.backtest.report.kept_charts import CHARTS_FILE
from minibot.events.model import JsonObject
from minibot.kernel.errors import Refusal, RunStop
from minibot.kernel.files import ensure_folder, read_hashed, write_atomic, write_hashed
from minibot.runtime.paths import Var
from minibot.runtime.runfiles import refuse_closed

RESULT_FILE: Final = "result.json"
PAGE_FILE: Final = "report.html"
# Number that `minibot backtests prune` keeps; six months of prices take two to five megabytes.
KEEP_DEFAULT: Final = 50


@dataclass(frozen=True, slots=True)
class Kept:
    """One kept backtest; `trouble` says why it cannot be read."""

    folder: Path
    document: JsonObject
    trouble: str = ""

    @property
    def name(self) -> str:
        """Id of the backtest, which names its folder."""
        return self.folder.name


def folder_of(var: Var) -> Path:
    """Return the folder of kept backtests, sweeps and searches."""
    return var.backtests


def keep(document: JsonObject, page: str, var: Var, charts: JsonObject | None = None) -> Path:
    """Keep a backtest, with its charts for a later page, and return its folder.

    Raises:
        RunStop: The disk refuses a write; an earlier result.json is unchanged.
    """
    folder = folder_of(var) / str(document["id"])
    ensure_folder(folder)
    write_atomic(folder / PAGE_FILE, page.encode("utf-8"))
    if charts is not None:
        write_hashed(folder / CHARTS_FILE, charts, generation=1)
    # Written last, as it makes the folder count. Its generation stays 1: equal runs, equal bytes.
    write_hashed(folder / RESULT_FILE, document, generation=1)
    return folder


def kept(var: Var) -> list[Kept]:
    """Return every kept backtest, also one that cannot be read, the latest last.

    Raises:
        Refusal: Only another user may look into their folder.
    """
    refuse_closed(folder_of(var))
    return [_read(folder) for folder in _folders(var)]


def folders_named(name: str, var: Var) -> list[Path]:
    """Return the folders that fit a name: none, one, or all whose ids begin or end with it."""
    folders = _folders(var)
    if name == "latest":
        return folders[-1:]
    if not name:
        return []
    if (Path(name) / RESULT_FILE).is_file():
        return [Path(name)]
    return [folder for folder in folders if folder.name == name] or [
        folder for folder in folders if folder.name.startswith(name) or folder.name.endswith(name)
    ]


def find_kept(name: str, var: Var) -> Kept:
    """Return a kept backtest by id, part of an id (beginning or end), folder, or `latest`.

    `latest` is the newest one, even if it cannot be read and an older one can.

    Raises:
        Refusal: No kept backtest fits, several do, or the fitting one cannot be read.
    """
    fitting = folders_named(name, var)
    if len(fitting) == 1:
        return _readable(fitting[0])
    if fitting:
        names = ", ".join(folder.name for folder in fitting)
        raise Refusal(f"{name} fits several backtests: {names}.", "Give more of the id.")
    refuse_closed(folder_of(var))
    raise Refusal(
        f"{name} is not a backtest under {folder_of(var)}.", "See: minibot backtests list"
    )


def prune(var: Var, count: int) -> list[str]:
    """Remove all kept backtests but the newest `count` and return the ids of those removed.

    Backtests that cannot be read count too; sweeps and searches neither count nor go.
    """
    refuse_closed(folder_of(var))
    folders = _folders(var)
    gone = folders[: max(0, len(folders) - count)]
    for folder in gone:
        # The document goes first: if this is interrupted, a folder without it does not count.
        (folder / RESULT_FILE).unlink()
        shutil.rmtree(folder)
    return [folder.name for folder in gone]


def _folders(var: Var) -> list[Path]:
    return sorted((path.parent for path in folder_of(var).glob(f"*/{RESULT_FILE}")), key=_age)


def _age(folder: Path) -> tuple[int, str]:
    return (folder / RESULT_FILE).stat().st_mtime_ns, folder.name


def _read(folder: Path) -> Kept:
    try:
        document = dict(read_hashed(folder / RESULT_FILE))
    except RunStop as error:
        return Kept(folder, {}, error.detail)
    if document.get("schema") != SCHEMA or document.get("v") != 1:
        return Kept(folder, {}, "it is from another version of minibot")
    return Kept(folder, document)


def _readable(folder: Path) -> Kept:
    found = _read(folder)
    if found.trouble:
        raise Refusal(f"{found.folder / RESULT_FILE}: {found.trouble}.", "Run that backtest again.")
    return found
