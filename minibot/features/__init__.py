"""Indicators and microstructure: pure functions and incremental state, no I/O.

Strategies, the exits of risk and the AI's feature vector compute with them. Every indicator has
`update`, `warmup` (how many updates it needs), `is_ready`, `value` (but for `BarReturns`), `state`
and `from_state`. No indicator refuses a NaN, and one that only a comparison reads leaves no trace,
such as a close in an ATR or a price in order flow: callers check what they feed and what they read
(`lossless.is_finite`).
"""
