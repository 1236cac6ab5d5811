"""Lazy list, computed when it is first read, for example for a picture that may not be drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, MutableSequence
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")


class LazyList(MutableSequence[T], Generic[T]):
    """List computed at first use, followed by the values appended to it.

    In another process it arrives as a plain list, unless a subclass says otherwise.

    Args:
        make: Returns the list; called at most once.
    """

    def __init__(self, make: Callable[[], list[T]]) -> None:
        self._make = make
        self._made: list[T] | None = None
        self._more: list[T] = []

    @property
    def _all(self) -> list[T]:
        if self._made is None:
            self._made = [*self._make(), *self._more]
            self._more = []
            self._make = list  # The function and its data are no longer needed.
        return self._made

    def append(self, value: T) -> None:
        """Append a value."""
        (self._more if self._made is None else self._made).append(value)

    @overload
    def __getitem__(self, place: int) -> T: ...

    @overload
    def __getitem__(self, place: slice) -> list[T]: ...

    def __getitem__(self, place: int | slice) -> T | list[T]:
        """Return one value or several."""
        return self._all[place]

    @overload
    def __setitem__(self, place: int, value: T) -> None: ...

    @overload
    def __setitem__(self, place: slice, value: Iterable[T]) -> None: ...

    def __setitem__(self, place: Any, value: Any) -> None:
        """Replace one value or several."""
        self._all[place] = value

    def __delitem__(self, place: int | slice) -> None:
        """Remove one value or several."""
        del self._all[place]

    def insert(self, index: int, value: T) -> None:
        """Insert a value before another."""
        self._all.insert(index, value)

    def __iter__(self) -> Iterator[T]:
        """Yield all values."""
        return iter(self._all)

    def __len__(self) -> int:
        """Return the number of values."""
        return len(self._all)

    def __eq__(self, other: object) -> bool:
        """Return whether another list has equal values."""
        return isinstance(other, list | LazyList) and self._all == list(other)

    __hash__ = None  # type: ignore[assignment]  # as of a list

    def __reduce__(self) -> tuple[Any, ...]:
        """Return the constructor of a plain list with the same values."""
        return list, (self._all,)

    def __repr__(self) -> str:
        """Return the text of the plain list."""
        return repr(self._all)
