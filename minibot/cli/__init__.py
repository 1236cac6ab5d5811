"""Command line: one file per verb, which parses, calls other rooms and prints what they found."""
