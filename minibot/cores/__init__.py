"""What the cores of strategy, risk and execution share: inputs, messages, ids and comparison."""
