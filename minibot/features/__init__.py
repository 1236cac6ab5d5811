"""Indicators and microstructure: pure functions and incremental state, no I/O.

Strategies, the exits of risk and the AI's feature vector compute with them. Every indicator has
`update`, `warmup` (how many updates it needs), `is_ready`, `value`, `state` and `from_state`, and
says methods, formula, seed and warm-up in its docstring. None refuses a NaN: callers check what
they feed and what they read (`lossless.is_finite`).
"""
