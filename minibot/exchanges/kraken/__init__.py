"""Kraken Spot's book, version 1 and 2 of its streams, with the interface of `exchanges.base`."""
