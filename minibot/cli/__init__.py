"""One file per verb: parse, call one room, print; no logic."""
