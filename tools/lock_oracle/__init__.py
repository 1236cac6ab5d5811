"""Oracle of locks: the same closed trades through minibot's protections and freqtrade's own."""
