"""Historical data: files read, checked, converted and downloaded; no decisions, no trading."""
