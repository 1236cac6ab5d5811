"""Resting orders beside the open positions that they protect, as a STOP or an end lists them."""

from __future__ import annotations

from minibot.events.money import amount_text


def with_resting(
    position: dict[str, str], qty: int, stop: int | None, target: int | None
) -> dict[str, str]:
    """Return a listed position with the order that rests for it.

    Args:
        position: As `Portfolio.open_positions` lists it.
        qty: How much of it the order sells, in hundred-millionths.
        stop: A trade here or below triggers the order; None for no such.
        target: A trade here or above triggers it; None for no such.
    """
    said = {"resting_qty": amount_text(qty)}
    if stop is not None:
        said["resting_stop"] = amount_text(stop)
    if target is not None:
        said["resting_target"] = amount_text(target)
    return position | said
