"""minibot trades on paper through the night and can prove in the morning what it did."""

import os

__version__ = "0.1.0"

if os.environ.get("MINIBOT_COMPILED"):
    from minibot.compiled import take_into_use

    take_into_use()
