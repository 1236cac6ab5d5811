"""Class options for mypyc; never compiled itself, because only the compiler reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr as mypyc_attr
else:

    def mypyc_attr(**options):
        """Return a decorator that changes nothing; mypyc reads its options without calling it."""
        return lambda cls: cls
