"""Parts that the cores of strategy, risk and execution share: inputs, messages, ids, comparison."""
