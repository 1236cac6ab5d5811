"""Equity of a backtest, made late and sent to other processes in columns."""

from __future__ import annotations

import pickle

from minibot.engine.run_result import EquityList, EquityPoint


def test_sent_equity_is_equal_and_goes_on_as_a_list() -> None:
    """Points made late and points appended arrive in order, of any size, and more can follow."""
    points = [EquityPoint(1, 10**25), EquityPoint(2, -5)]
    equity = EquityList(lambda: points[:1])
    equity.append(points[1])

    sent = pickle.loads(pickle.dumps(equity))
    sent.append(EquityPoint(3, 7))

    assert list(sent) == [*points, EquityPoint(3, 7)]
    assert all(type(point) is EquityPoint for point in sent)


def test_sent_equity_has_no_object_for_each_point() -> None:
    """Ten thousand points take less than the eleven bytes that an object adds to each."""
    equity = EquityList(lambda: [EquityPoint(at, at) for at in range(10_000)])

    sent = pickle.dumps(equity)

    assert len(sent) < len(pickle.dumps(list(equity))) - 50_000
