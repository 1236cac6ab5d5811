"""Scanner: scores, filters, what is missing, order of inputs, snapshot."""

import json

import pytest

from minibot.events.decimals import parse_fixed
from minibot.runtime.paths import PROJECT
from minibot.strategies.scanner.factors import BARS_MIN, Factors
from minibot.strategies.scanner.ranking import Measured, Ranked, ranked
from minibot.strategies.scanner.scanner import BAR_WAIT_MS, Scan, Scanner
from minibot.strategies.scanner.settings import ONCHAIN, SOCIAL, ScannerSettings
from tests.strategies.scanner_bars import MIDNIGHT, MINUTES_15, bars, feed, walk

SYMBOLS = ("AUSDT", "BUSDT", "CUSDT", "DUSDT", "EUSDT", "FUSDT")
SETTINGS = ScannerSettings()
EQUAL = (25, 25, 25, 25)


def full(order: tuple[str, ...] = SYMBOLS) -> Scanner:
    """Return a scanner with all bars of six symbols, fed in an order of symbols."""
    scanner = Scanner(SETTINGS)
    for symbol in order:
        feed(scanner, symbol, SYMBOLS.index(symbol))
    return scanner


def told(scan: Scan) -> bytes:
    """Return all that is told of a scan, as bytes."""
    return json.dumps(scan.to_json(), sort_keys=True).encode()


def factors(momentum: float, volume: float = 0.0) -> Factors:
    """Return figures that pass every filter but the score's."""
    return Factors(momentum, 0.0, volume, 0.0, 1_000_000.0, 10.0, 1.0)


def by_symbol(rows: tuple[Ranked, ...]) -> dict[str, Ranked]:
    """Return the rows by their symbol."""
    return {row.symbol: row for row in rows}


def test_scores_of_two_symbols_are_those_computed_by_hand() -> None:
    """Momentum 1 and 3 are -1 and +1 deviations: 50 -+ 25 points * 40 %, all else is equal."""
    measured = {"AUSDT": Measured(factors(1.0)), "BUSDT": Measured(factors(3.0))}

    first, second = ranked(measured, (40, 20, 20, 20), SETTINGS)

    assert (first.symbol, first.rank, first.score) == ("BUSDT", 1, "60.00")
    assert (second.symbol, second.rank, second.score) == ("AUSDT", 2, "40.00")
    assert first.components["momentum"] == "10.00"
    assert first.components["volume"] == "0.00"


def test_components_add_up_to_the_score_as_told() -> None:
    """50 and the components are the score, to the last hundredth."""
    for row in full().scan(MIDNIGHT).rows:
        points = sum(parse_fixed(text, 2) for text in row.components.values())
        assert row.score is not None
        assert 5_000 + points == parse_fixed(row.score, 2)


def test_equal_scores_are_ordered_by_symbol() -> None:
    """Three alike: A before B before C, whatever came first."""
    measured = {name: Measured(factors(1.0)) for name in ("CUSDT", "AUSDT", "BUSDT")}

    assert [row.symbol for row in ranked(measured, EQUAL, SETTINGS)] == ["AUSDT", "BUSDT", "CUSDT"]


@pytest.mark.row("C-11")
def test_social_of_thousand_raises_the_score_by_exactly_ten() -> None:
    """It comes last: the other components and symbols stay as they were; less than 0 adds 0."""
    plain, loud, low = full(), full(), full()
    loud.take_value("social_busdt", 1000.0, MIDNIGHT)
    low.take_value("social_busdt", -1000.0, MIDNIGHT)

    before, after = by_symbol(plain.scan(MIDNIGHT).rows), by_symbol(loud.scan(MIDNIGHT).rows)

    old, new = before["BUSDT"], after["BUSDT"]
    assert old.score is not None
    assert new.score is not None
    assert parse_fixed(new.score, 2) - parse_fixed(old.score, 2) == 1_000
    assert {**new.components, "social": "0.00"} == old.components
    assert list(new.components)[-1] == "social"
    assert after["AUSDT"].score == before["AUSDT"].score
    assert by_symbol(low.scan(MIDNIGHT).rows)["BUSDT"].score == old.score


@pytest.mark.parametrize("prefix", [SOCIAL, ONCHAIN])
def test_key_of_the_feeds_tells_the_names_that_the_scanner_reads(prefix: str) -> None:
    """A feed of any other name gives no points, and nothing says so."""
    schema = json.loads((PROJECT / "config" / "config.v1.schema.json").read_text("utf-8"))
    feeds = schema["properties"]["market"]["properties"]["feeds"]

    assert f"{prefix}btcusdt" in feeds["description"]


def test_social_beyond_its_age_adds_nothing() -> None:
    """A value of a day ago counts, one of a millisecond more does not."""
    fresh, old = full(), full()
    fresh.take_value("social_ausdt", 5.0, MIDNIGHT - SETTINGS.feed_age_ms_max)
    old.take_value("social_ausdt", 5.0, MIDNIGHT - SETTINGS.feed_age_ms_max - 1)

    assert by_symbol(fresh.scan(MIDNIGHT).rows)["AUSDT"].components["social"] == "5.00"
    assert by_symbol(old.scan(MIDNIGHT).rows)["AUSDT"].components["social"] == "0.00"


@pytest.mark.row("C-100")
def test_onchain_off_or_not_robust_leaves_every_score_as_it_is() -> None:
    """One symbol of six without a value: nothing of the others counts."""
    some = full()
    for symbol in SYMBOLS[:-1]:
        some.take_value(f"onchain_{symbol.lower()}", 1e9 * len(symbol), MIDNIGHT)

    assert told(some.scan(MIDNIGHT)) == told(full().scan(MIDNIGHT))


@pytest.mark.row("C-100")
def test_onchain_of_all_symbols_moves_scores_within_its_cap() -> None:
    """It moves scores, by 5 points at most; the four factors are told as before."""
    with_values = full()
    for at, symbol in enumerate(SYMBOLS):
        with_values.take_value(f"onchain_{symbol.lower()}", 10.0**at, MIDNIGHT)
    before = by_symbol(full().scan(MIDNIGHT).rows)

    moved = []
    for row in with_values.scan(MIDNIGHT).rows:
        moved.append(parse_fixed(row.components["onchain"], 2))
        assert {**row.components, "onchain": "0.00"} == before[row.symbol].components

    assert any(moved)
    assert max(map(abs, moved)) <= 500


def test_onchain_influence_is_cut_at_its_cap() -> None:
    """All weight on Volume, and on-chain far from it: 25 * 0.25 * 3 = 18.75 points are cut to 5."""
    measured = {
        f"S{at:02}USDT": Measured(factors(float(at % 3)), onchain=1.0 if at == 7 else 0.0)
        for at in range(40)
    }

    rows = by_symbol(ranked(measured, (0, 0, 100, 0), SETTINGS))

    assert rows["S07USDT"].components["onchain"] == "5.00"


def test_symbol_without_enough_bars_has_no_score_and_says_which_are_missing() -> None:
    """96 of 97 bars are too few; it stands behind all ranked ones, and passes no filter."""
    scanner = full()
    for bar in bars(walk(9, BARS_MIN - 1)):
        scanner.take_bar("ZUSDT", bar)
    scanner.watch([*SYMBOLS, "ZUSDT", "AAUSDT"])

    scan = scanner.scan(MIDNIGHT)

    first, last = scan.rows[-2:]
    assert (first.symbol, first.lacks) == ("AAUSDT", "0 of 97 bars of 15m")
    assert (last.symbol, last.rank, last.score) == ("ZUSDT", None, None)
    assert last.lacks == last.against == "96 of 97 bars of 15m"
    assert not any(one.passed for one in last.filters)
    assert scan.order == full().scan(MIDNIGHT).order


def test_hole_in_the_bars_takes_the_score() -> None:
    """After a missing bar only those behind it count."""
    scanner = Scanner(SETTINGS)
    for at, bar in enumerate(bars(walk(1, BARS_MIN + 30))):
        if at != 60:
            scanner.take_bar("AUSDT", bar)

    assert scanner.scan(MIDNIGHT).rows[0].lacks == "66 of 97 bars of 15m"


def test_symbol_whose_newest_bar_is_too_old_has_no_score() -> None:
    """Two bars late it still counts, a millisecond later it does not."""
    late = MIDNIGHT + 2 * 900_000

    assert full().scan(late).rows[0].rank == 1
    assert {row.lacks for row in full().scan(late + 1).rows} == {"2 newest bars of 15m"}


def test_filters_tell_value_and_threshold_and_the_nearest_reason_against() -> None:
    """A rise of 13.2 % of 12 % allowed is the nearest reason, though the score is far too low."""
    measured = {
        "AUSDT": Measured(factors(1.0)._replace(change_percent=13.2)),
        "BUSDT": Measured(factors(1.0)),
    }
    settings = SETTINGS._replace(score_min="45")

    hot, calm = ranked(measured, EQUAL, settings)

    assert not hot.is_opportunity
    assert hot.against == "change_percent 13.20 <= 12"
    assert [one.passed for one in hot.filters] == [True, True, True, True, False]
    assert calm.is_opportunity
    assert calm.against == "score 50.00 >= 45"


@pytest.mark.parametrize(("rise", "passes"), [(12.0, True), (12.01, False)])
def test_filter_at_its_threshold_passes_and_beyond_it_does_not(rise: float, passes: bool) -> None:
    """The value as told is the one that is judged."""
    settings = SETTINGS._replace(score_min="0")
    measured = {"AUSDT": Measured(factors(1.0)._replace(change_percent=rise))}

    (row,) = ranked(measured, EQUAL, settings)

    assert row.is_opportunity is passes


def test_order_in_which_symbols_come_does_not_change_a_byte() -> None:
    """The same bars, fed forwards and backwards."""
    assert told(full().scan(MIDNIGHT)) == told(full(SYMBOLS[::-1]).scan(MIDNIGHT))


def test_restored_scanner_goes_on_with_the_same_bytes() -> None:
    """A snapshot in the middle, through JSON, then further bars and values to both."""
    kept = full()
    kept.take_value("social_cusdt", 2.5, MIDNIGHT)
    kept.take_value("social_zusdt", 1.5, MIDNIGHT)
    kept.watch(SYMBOLS[:-1])
    kept.due(MIDNIGHT)
    kept.scan(MIDNIGHT)
    other = Scanner(SETTINGS)
    other.restore(json.loads(json.dumps(kept.state())))

    for one in (kept, other):
        for symbol in SYMBOLS:
            for bar in bars([101.0, 103.0], MIDNIGHT + 1_800_000):
                one.take_bar(symbol, bar)

    later = MIDNIGHT + 1_800_000
    assert told(other.scan(later)) == told(kept.scan(later))
    assert other.state() == kept.state()


def test_snapshot_of_an_older_build_is_restored() -> None:
    """Values stood by symbol then: none is known; every symbol with bars is ranked."""
    old = full().state()
    del old["ranked"], old["values"]
    for one in old["symbols"].values():
        one["values"] = {}
    scanner = Scanner(SETTINGS)

    scanner.restore(old)

    assert told(scanner.scan(MIDNIGHT)) == told(full().scan(MIDNIGHT))


@pytest.mark.row("B-07")
def test_scan_is_due_every_five_minutes_once_its_bars_could_come() -> None:
    """Moments are 00:05, 00:10 ...; each is scanned 5 s later, and a silence gives one scan."""
    scanner = Scanner(SETTINGS)
    five = 300_000

    assert scanner.due(MIDNIGHT + 1) is None
    assert scanner.due(MIDNIGHT + five + BAR_WAIT_MS - 1) is None
    assert scanner.due(MIDNIGHT + five + BAR_WAIT_MS) == MIDNIGHT + five
    assert scanner.due(MIDNIGHT + five + BAR_WAIT_MS) is None
    assert scanner.due(MIDNIGHT + 4 * five) == MIDNIGHT + 3 * five
    assert scanner.due(MIDNIGHT + 4 * five + BAR_WAIT_MS) == MIDNIGHT + 4 * five


def test_bar_that_closed_after_the_moment_brings_the_scan_before_it_is_taken() -> None:
    """The bar that closes at the moment belongs to the scan, the next one does not."""
    scanner = Scanner(SETTINGS)
    scanner.due(MIDNIGHT - 1)
    at, after = bars([1.0, 1.0], MIDNIGHT + 900_000, MINUTES_15)
    at.is_live = after.is_live = True

    assert scanner.due(MIDNIGHT, at) is None
    assert scanner.due(MIDNIGHT + 1, after) == MIDNIGHT + 600_000
