"""Oracle of fills: the same entries, stops and targets through minibot and two other engines."""
