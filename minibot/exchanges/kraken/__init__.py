"""Kraken Spot's book, version 1 and 2 of its streams, with the interface of `exchanges.base`.

No profile can name it: it is not in `exchanges.venues`. It serves to check and cut tapes.
"""
