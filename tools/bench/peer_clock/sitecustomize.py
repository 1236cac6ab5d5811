"""Lets a peer's script take its times from the CPU's clock, as minibot's own cases do.

Put in front of a peer's path by `tools.bench.backtest_peers`: on a machine that others use too,
wall time says more of them than of the peer.
"""

import time

time.perf_counter = time.process_time
time.perf_counter_ns = time.process_time_ns
