"""Packages that only some profiles need.

Remedies name the folder, not the package: `minibot` on the index is another program.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Final

WEB: Final = ("fastapi", "uvicorn", "prometheus_client")
WEB_REMEDY: Final = (
    "install the extra, in the project folder: pip install '.[web]', or tools/with_env.py --dev"
)
ALERTS: Final = ("apprise", "telegram")
ALERTS_REMEDY: Final = (
    "install the extra, in the project folder: pip install '.[alerts]', or tools/with_env.py --dev"
)

COMPLETION: Final = ("argcomplete",)
COMPLETION_REMEDY: Final = (
    "install the extra, in the project folder: pip install '.[completion]', or "
    "tools/with_env.py --dev"
)


def missing_packages(names: Sequence[str]) -> str:
    """Return the names of packages that are not installed, in words; empty if all are."""
    return ", ".join(name for name in names if find_spec(name) is None)
