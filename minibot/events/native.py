"""What a class may say to mypyc; never compiled itself, because only the compiler reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr as mypyc_attr
else:

    def mypyc_attr(**options):
        """Say to mypyc, which reads this word and does not call it, what a class allows."""
        return lambda cls: cls
