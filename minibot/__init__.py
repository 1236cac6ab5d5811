"""minibot trades on paper through the night and can prove in the morning what it did."""

__version__ = "0.1.0"
