"""strategy_role and the strategies it can run, one file each."""
