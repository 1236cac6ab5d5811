"""Kraken Spot's book, version 1 and 2 of its streams, behind the words of `exchanges.base`."""
