"""Parts shared by the cores of strategy, risk and execution: inputs, messages, ids, comparison."""
