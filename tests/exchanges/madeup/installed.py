"""Made-up venue in use: its server as a process, and its package in a copy of the product.

Tests register the venue in a copy, because the product accepts no venues from outside. The
additions are the three that docs/ADDING.md names: package, registry line, config section.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from minibot.runtime.deployment import staging
from tests.product import copy_product, in_product
from tests.runs import PROJECT
from tests.server_process import ServerProcess

HERE = Path(__file__).parent
PROFILE = "config/madeup.v1.json"


class MadeUpServer(ServerProcess):
    """The server on a free port; `tell` gives it a word that changes the market or the server."""

    def __init__(self) -> None:
        super().__init__([str(HERE / "server.py")])
        self.port = int(self.first_line)


def install(product: Path, port: int, changes: dict[str, dict[str, Any]]) -> None:
    """Copy the product with the venue, a profile for a server, and a code list of everything."""
    copy_product(product)
    package = product / "minibot" / "exchanges" / "madeup"
    package.mkdir()
    (package / "__init__.py").write_text('"""A made-up venue."""\n', encoding="utf-8")
    shutil.copy2(HERE / "venue.py", package / "venue.py")
    venues = product / "minibot" / "exchanges" / "venues.py"
    line = "from minibot.exchanges.madeup.venue import MADEUP\n"
    put(venues, "import BINANCE\n", f"import BINANCE\n{line}")
    put(venues, "(BINANCE,)", "(BINANCE, MADEUP)")
    sections = product / "minibot" / "runtime" / "configuration" / "config_sections.py"
    put(sections, "VENUES: Final = (VENUE,)", 'VENUES: Final = (VENUE, "madeup")')
    section = "    madeup: VenueSection | None = field(default=None, metadata=OPTIONAL)\n"
    put(sections, "    backtest: BacktestSection", f"{section}    backtest: BacktestSection")
    base = json.loads((product / "config" / "nore.v1.json").read_text(encoding="utf-8"))
    hosts = {"rest_url": f"http://127.0.0.1:{port}", "stream_url": f"ws://127.0.0.1:{port}"}
    overlay: dict[str, Any] = {
        "schema": "minibot.config",
        "v": 1,
        "extends": "nore.v1.json",
        "profile": "madeup",
        "venue": "madeup",
        "madeup": base["binance"] | hosts | changes.pop("madeup", {}),
        **changes,
    }
    (product / PROFILE).write_text(json.dumps(overlay, indent=2), encoding="utf-8")
    tools = product / "tools"
    tools.mkdir()
    for name in ("__init__.py", "config_schema.py"):
        shutil.copy2(PROJECT / "tools" / name, tools / name)
    done = in_product(product, "-m", "tools.config_schema", "--write")
    assert done.code == 0, done.err
    shutil.rmtree(tools)
    staging.adopt(product, None)


def put(path: Path, old: str, new: str) -> None:
    """Replace the only occurrence of a text in a file."""
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{path.name}: {old!r} stands {text.count(old)} times"
    path.write_text(text.replace(old, new), encoding="utf-8")
