"""Features, datasets and packs of the AI: from events to rows, and data that must stay out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibot.ai.baseline import baseline_probabilities
from minibot.ai.dataset import (
    BUY,
    HOLD,
    HOLDOUT_PERCENT,
    SELL,
    Dataset,
    QueueForbidden,
    RowMaker,
    check_permitted,
)
from minibot.ai.feature_store import ROWS_BYTES_MAX, FeaturePackRefused, read_pack, write_pack
from minibot.ai.row_ring import Row
from minibot.ai.rows import Windows, row_of
from minibot.ai.trainer import ROWS_MAX
from minibot.ai.vector import FEATURES, SCALE, FeatureWindow
from minibot.events.model import Book, Event, Gap, Payload
from minibot.kernel.errors import ConfigError
from tests.ai.ai_rows import RUN_ID, dataset
from tests.ai.ai_stage import START_TS, SYMBOL, bar, history, market, quote


def events(batches: Iterator[list[tuple[Payload, int]]], run_id: str = RUN_ID) -> list[Event]:
    """Return a market as events."""
    return [
        Event(ts, f"{number}", "market_role", run_id, "0" * 64, payload)
        for number, (payload, ts) in enumerate(pair for batch in batches for pair in batch)
    ]


def maker(horizon_ms: int = 10_000, bar_interval: str = "1s") -> RowMaker:
    """Return a row maker of one symbol."""
    return RowMaker(
        RUN_ID,
        frozenset({"market_ticks", "signals", "fills"}),
        Windows([SYMBOL], bar_interval, "1m"),
        bar_interval=bar_interval,
        horizon_ms=horizon_ms,
        label_bps_min=2.0,
    )


def rising(second: int) -> float:
    """Return a price that rises by 1 bp each second."""
    return 60_000.0 * (1 + second / 10_000)


def feed(rows: RowMaker, listed: list[Event]) -> None:
    """Feed events as lines of market_ticks."""
    for seq, event in enumerate(listed, start=1):
        rows.take("market_ticks", seq, event)


def test_rows_of_a_rising_market_are_labelled_buy_after_the_horizon() -> None:
    """Rows of a rising market are labelled BUY by the price ten seconds later."""
    rows = maker()
    feed(rows, events(history(rising)) + events(market(0, 60, prices=rising)))

    made = rows.dataset()

    assert len(made.rows) == 50  # The last ten seconds have no later price yet.
    assert {row.label for row in made.rows} == {BUY}
    assert made.manifest()["source_queues"] == ["market_ticks"]


@pytest.mark.parametrize(
    ("per_second", "label"), [(-1, SELL), (0, HOLD), (0.19, HOLD), (0.21, BUY), (1, BUY)]
)
def test_label_follows_the_move_over_the_horizon(per_second: float, label: int) -> None:
    """A move below the threshold of 2 bps is HOLD; from the threshold on it is BUY or SELL."""

    def prices(second: int) -> float:
        return 60_000.0 * (1 + per_second * second / 10_000)

    rows = maker()
    feed(rows, events(history(prices)) + events(market(0, 45, prices=prices)))
    assert {row.label for row in rows.dataset().rows} == {label}


def minutes(delays_ms: list[int]) -> list[Event]:
    """Return the touch and bar of each minute, received that long after the bar's close."""
    return events(
        iter(
            [
                (quote(60_000.0), START_TS + number * 60_000 + delay_ms),
                (
                    bar("1m", 60_000.0, START_TS + number * 60_000),
                    START_TS + number * 60_000 + delay_ms,
                ),
            ]
            for number, delay_ms in enumerate(delays_ms)
        )
    )


def test_row_is_due_by_the_close_of_its_bar_however_late_bars_arrive() -> None:
    """Bars of a minute that arrive by turns 300 and 100 ms late label every row but the last."""
    rows = maker(horizon_ms=60_000, bar_interval="1m")
    feed(rows, events(history(rising)) + minutes([300, 100] * 20))
    assert len(rows) == 39
    assert rows.refused == 0


@pytest.mark.parametrize(("delays_ms", "count"), [([5_000, 0], 1), ([5_001, 0], 0)])
@pytest.mark.parametrize("is_early", [True, False])
def test_row_is_labelled_near_the_end_of_its_horizon_alone(
    delays_ms: list[int], count: int, is_early: bool
) -> None:
    """A row is refused whose next bar comes over five seconds before or after its horizon ends."""
    rows = maker(horizon_ms=60_000, bar_interval="1m")
    feed(rows, events(history(rising)) + minutes(delays_ms if is_early else delays_ms[::-1]))
    assert (len(rows), rows.refused) == (count, 1 - count)


@pytest.mark.parametrize(
    ("horizon_ms", "count"), [(90_000, 0), (60_000, 3), (55_000, 3), (54_999, 0), (115_000, 2)]
)
def test_horizon_that_no_bar_ends_near_labels_nothing_and_says_so(
    horizon_ms: int, count: int
) -> None:
    """A horizon over five seconds short of the next bar labels no row, which its maker tells."""
    rows = maker(horizon_ms=horizon_ms, bar_interval="1m")
    feed(rows, events(history(rising)) + minutes([0] * 4))

    assert len(rows) == count
    assert rows.labels_none == (count == 0)


@pytest.mark.parametrize(("after_ms", "count"), [(499, 0), (500, 1)])
def test_row_of_a_short_horizon_is_labelled_after_half_of_it(after_ms: int, count: int) -> None:
    """Bars of two seconds that arrive at once label nothing over a horizon of one."""
    rows = maker(horizon_ms=1_000)
    feed(rows, events(history(rising)) + events(market(0, 1, prices=rising)))
    feed(rows, events(iter([[(bar("1s", 60_000.0, START_TS + 1_000), START_TS + after_ms)]])))
    assert len(rows) == count


@pytest.mark.parametrize(("stream", "count"), [("trade", 0), ("depth", 5)])
def test_rows_across_a_gap_are_not_labelled(stream: str, count: int) -> None:
    """Rows across a gap get no label, because prices are unknown; without a book they are known."""
    rows = maker()
    feed(rows, events(history(rising)) + events(market(0, 5, prices=rising)))
    gap = Gap(SYMBOL, stream, START_TS + 5000, START_TS + 9000, "disconnect")
    feed(rows, events(iter([[(gap, START_TS + 5000)]])))
    feed(rows, events(market(9, 16, prices=rising)))
    assert len(rows) == count


@pytest.mark.parametrize(("stream", "imbalance"), [("depth", 0), ("trade", 800_000)])
def test_book_that_is_lost_counts_as_balanced_until_the_next(stream: str, imbalance: int) -> None:
    """A book whose updates are missing says nothing of the market, which goes on without it."""
    rows = maker()
    heavy = Book(SYMBOL, (("59999.99", "9.00000"),), (("60000.01", "1.00000"),), 1, "interval")
    lost = Gap(SYMBOL, stream, START_TS, START_TS, "updates missing")
    feed(rows, events(history(rising)) + events(market(0, 1, prices=rising)))
    feed(rows, events(iter([[(heavy, START_TS), (lost, START_TS)]])))

    vector = rows.windows.by_symbol[SYMBOL].vector()

    assert vector is not None
    assert vector[FEATURES.index("book_imbalance_5")] == imbalance


def test_rows_are_made_of_nothing_that_comes_later() -> None:
    """Features of a second do not change with later events: no look-ahead."""

    def crash(second: int) -> float:
        return rising(second) if second < 40 else 10_000.0

    one, two = maker(), maker()
    feed(one, events(history(rising)) + events(market(0, 60, prices=rising)))
    feed(two, events(history(rising)) + events(market(0, 60, prices=crash)))
    early = [row.features for row in one.dataset().rows if row.ts < START_TS + 40_000]
    assert early == [row.features for row in two.dataset().rows if row.ts < START_TS + 40_000]


@pytest.mark.row("N-72", "F140")
@pytest.mark.parametrize(
    "queue", ["control", "order_intents", "risk_actions", "health", "recommendations"]
)
def test_dataset_refuses_a_queue_that_is_not_permitted(queue: str) -> None:
    """A forbidden queue is refused in the configuration and as the source of an event."""
    with pytest.raises(ConfigError, match="may not learn from") as caught:
        check_permitted(["market_ticks", queue])
    assert queue in caught.value.violations[0]
    event = events(market(0, 1, prices=rising))[0]
    with pytest.raises(QueueForbidden):
        maker().take(queue, 1, event)


@pytest.mark.row("F140")
def test_dataset_refuses_events_of_another_run() -> None:
    """An event of another run is refused, so that copied lines train nothing."""
    event = events(market(0, 1, prices=rising), run_id="20990101_000000")[0]
    with pytest.raises(QueueForbidden, match="20990101_000000"):
        maker().take("market_ticks", 1, event)


def test_split_leaves_a_gap_so_that_no_label_looks_into_the_test() -> None:
    """A split leaves one horizon between training and test rows."""
    train, holdout = dataset(1, rows=400).split(30_000)
    assert max(row.ts for row in train) + 30_000 < min(row.ts for row in holdout)
    assert len(holdout) == 100


def test_vector_waits_for_its_bars_and_its_touch() -> None:
    """A vector needs 31 bars and a touch; a flat market gives neutral values."""
    window = FeatureWindow()
    for _ in range(30):
        window.take_bar(101.0, 99.0, 100.0, 1.0, 0.5)
    window.take_touch(99.9, 1.0, 100.1, 1.0)
    assert window.vector() is None
    window.take_bar(101.0, 99.0, 100.0, 1.0, 0.5)
    vector = window.vector()
    assert vector is not None
    named = dict(zip(FEATURES, vector, strict=True))
    assert named["return_5_bps"] == 0
    assert named["rsi_14"] == 50 * SCALE
    assert named["taker_buy_share_5"] == SCALE // 2
    assert named["spread_bps"] == 20 * SCALE
    assert named["touch_imbalance"] == 0
    assert named["atr_bps"] == 200 * SCALE


@settings(max_examples=100, deadline=None)
@given(
    numbers=st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=4, max_size=4),
    bar=st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=5, max_size=5),
)
def test_vector_of_any_numbers_is_bounded_integers_or_none(
    numbers: list[float], bar: list[float]
) -> None:
    """A vector holds bounded integers or is None, also for NaN and infinity."""
    window = FeatureWindow()
    for _ in range(40):
        window.take_bar(101.0, 99.0, 100.0, 1.0, 0.5)
    window.take_bar(*bar)
    window.take_touch(*numbers)
    vector = window.vector()
    if vector is not None:
        assert all(type(value) is int and abs(value) <= 10**15 for value in vector)
        assert sum(baseline_probabilities(vector)) == SCALE


def test_rows_and_windows_agree_on_events() -> None:
    """Bars of the trend interval and unknown symbols leave rows and windows unchanged."""
    windows = Windows([SYMBOL], "1s", "1m")
    for event in events(history(rising)) + events(market(0, 2, prices=rising)):
        row = row_of(event.payload)
        if row is not None:
            windows.take(row)
            windows.take([row[0], "OTHER", *row[2:]])
    assert list(windows.by_symbol) == [SYMBOL]
    assert windows.by_symbol[SYMBOL].vector() is not None


@pytest.mark.parametrize("row", [[], ["touch"], ["touch", SYMBOL, "x", "1", "1", "1"], [1, SYMBOL]])
def test_row_that_is_malformed_is_a_value_error_or_ignored(row: list[object]) -> None:
    """A malformed row raises ValueError or is ignored, so the worker has one kind of failure."""
    windows = Windows([SYMBOL], "1s", "1m")
    try:
        windows.take(row)
    except ValueError:
        return
    assert windows.by_symbol[SYMBOL].mid is None


def test_baseline_leans_with_the_market_and_never_excludes_a_side() -> None:
    """The baseline leans to BUY with momentum, buying takers and a heavy bid; mirrored, to SELL."""
    up = [0] * len(FEATURES)
    up[FEATURES.index("return_15_bps")] = 10 * SCALE
    up[FEATURES.index("taker_buy_share_20")] = SCALE
    up[FEATURES.index("touch_imbalance")] = SCALE
    sell, hold, buy = baseline_probabilities(tuple(up))
    assert buy > hold > sell > 0
    down = [-value for value in up]
    down[FEATURES.index("taker_buy_share_20")] = 0
    assert baseline_probabilities(tuple(down)) == (buy, hold, sell)


@pytest.mark.row("N-71")
def test_pack_is_versioned_and_a_changed_byte_is_refused(tmp_path: Path) -> None:
    """A pack names its version and sha256; any changed byte in any file is refused."""
    root = tmp_path / "ai"
    made = dataset(1, rows=40)
    version = write_pack(root, made, created_ts=5)
    pack = read_pack(root, version)
    assert pack.manifest["version"] == version
    assert pack.manifest["dataset"]["source_queues"] == ["market_ticks"]
    assert [row.features for row in pack.rows] == [row.features for row in made.rows]
    assert write_pack(root, made, created_ts=6) == version

    for name in ("rows.jsonl", "manifest.json", "sha256"):
        path = root / "packs" / version / name
        whole = path.read_bytes()
        path.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
        with pytest.raises(FeaturePackRefused):
            read_pack(root, version)
        path.write_bytes(whole)
    read_pack(root, version)


def test_pack_of_the_most_and_widest_rows_of_a_training_is_small_enough_to_be_read(
    tmp_path: Path,
) -> None:
    """The rows of as many nights as `minibot train` takes make a pack that can be read again."""
    widest = Row(START_TS, "X" * 20, (-(10**15),) * len(FEATURES), SELL)
    version = write_pack(tmp_path, Dataset([widest]), created_ts=5)

    line = (tmp_path / "packs" / version / "rows.jsonl").stat().st_size

    assert line * ROWS_MAX * 100 // (100 - HOLDOUT_PERCENT) <= ROWS_BYTES_MAX


def test_pack_without_its_sums_is_written_again_over_any_damage(tmp_path: Path) -> None:
    """A damaged manifest that a pack was left with ends no training."""
    data = Dataset([Row(START_TS, SYMBOL, (0,) * len(FEATURES), SELL)])
    version = write_pack(tmp_path, data, created_ts=5)
    (tmp_path / "packs" / version / "sha256").unlink()
    (tmp_path / "packs" / version / "manifest.json").write_bytes(b"{}\n")

    assert write_pack(tmp_path, data, created_ts=5) == version
    assert list(read_pack(tmp_path, version).rows) == list(data.rows)


@pytest.mark.parametrize("version", ["../../etc", "features-v1-" + "0" * 15, "", "/abs", "x" * 300])
def test_pack_of_a_foreign_name_is_refused(tmp_path: Path, version: str) -> None:
    """A pack's version must be a name of ours, never a path."""
    with pytest.raises(FeaturePackRefused):
        read_pack(tmp_path, version)


def test_rows_of_a_dataset_are_not_touched_by_later_events() -> None:
    """Rows of a dataset are a copy, which later events do not change."""
    rows = maker()
    feed(rows, events(history(rising)) + events(market(0, 30, prices=rising)))
    before = rows.dataset()
    count = len(before.rows)
    feed(rows, events(market(30, 60, prices=rising)))
    assert len(before.rows) == count
    assert replace(before.rows[0]) == rows.dataset().rows[0]
