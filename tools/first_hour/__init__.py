"""First hour of a trader with minibot, typed in a terminal and looked at in a browser.

The command is `python -m tools.first_hour --out DIR`; `tools.bench first_hour` times its steps.
"""
