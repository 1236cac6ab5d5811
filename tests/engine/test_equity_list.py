"""Equity of a backtest, made late and sent to other processes in columns."""

from __future__ import annotations

import pickle

from minibot.engine.run_result import EquityColumns, EquityList, EquityPoint


def test_sent_equity_is_equal_and_goes_on_as_a_list() -> None:
    """Points made late and points appended arrive in order, of any size, and more can follow."""
    points = [EquityPoint(1, 10**25), EquityPoint(2, -5)]
    equity = EquityList(lambda: EquityColumns([1], [10**25]))
    equity.append(points[1])

    sent = pickle.loads(pickle.dumps(equity))
    sent.append(EquityPoint(3, 7))

    assert list(sent) == [*points, EquityPoint(3, 7)]
    assert all(type(point) is EquityPoint for point in sent)


def test_sent_equity_has_no_object_for_each_point() -> None:
    """Ten thousand points take less than the eleven bytes that an object adds to each."""
    times = list(range(10_000))
    equity = EquityList(lambda: EquityColumns(times, times))

    sent = pickle.dumps(equity)

    assert len(sent) < len(pickle.dumps(list(equity))) - 50_000


def test_columns_hold_the_points_made_late_appended_and_replaced() -> None:
    """Columns are those of the list, before and after it was read as points."""
    equity = EquityList(lambda: EquityColumns([1], [10]))
    equity.append(EquityPoint(2, 20))
    before = EquityColumns(*map(list, equity.columns))
    equity.append(EquityPoint(3, 30))

    assert before == ([1, 2], [10, 20])
    assert list(equity) == [(1, 10), (2, 20), (3, 30)]
    equity[0] = EquityPoint(1, 11)
    assert equity.columns == ([1, 2, 3], [11, 20, 30])
