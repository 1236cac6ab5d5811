"""strategy_role, the shipped strategies, and the checks and protocol of an own strategy."""
