"""Replacement of a peer's clock by CPU time, as minibot's own cases use.

`tools.bench.backtest_peers` puts it first on a peer's path: on a shared machine wall-clock time
depends more on other programs than on the peer.
"""

import time

time.perf_counter = time.process_time
time.perf_counter_ns = time.process_time_ns
