"""Historical data: files read, checked, converted and downloaded; it decides and trades nothing."""
