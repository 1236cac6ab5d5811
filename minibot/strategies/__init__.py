"""strategy_role, the strategies that ship, and all that an own strategy is checked and run by."""
