"""Exchange protocols behind one interface; clock and limits come in as values."""
