"""What the manifests list, held small: a week of two thousand streams is 200,000 series and 30,000 files.

Names are shared between the parts that have the same ones, numbers are arrays; entries are made when looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar, overload

from probes.core.arrays import Int64

Entry = TypeVar("Entry")
Names = tuple[tuple[Any, ...], ...]

_RECENT: Final = 64
_recent: dict[Names, Names] = {}


def shared(names: Names) -> Names:
    """The same names, as the object that is in use already if they have been seen lately."""
    found = _recent.get(names)
    if found is None:
        while len(_recent) >= _RECENT:
            _recent.pop(next(iter(_recent)), None)
        found = _recent.setdefault(names, names)
    return found


class Table(Sequence[Entry]):
    """Entries made of names, numbers and perhaps octets. make: from names, octets and numbers of one, in this order.

    numbers: int64 (entries, columns); octets: the same number for every entry, one after the other.
    """

    __slots__ = ("_make", "_octets", "_places", "names", "numbers")

    def __init__(self, make: Callable[..., Entry], names: Names, numbers: Int64, octets: bytes | None = None) -> None:
        self.names, self.numbers = shared(names), numbers
        self._make, self._octets = make, octets
        self._places: dict[int, dict[Any, list[int]]] = {}

    def places(self, name: int) -> dict[Any, list[int]]:
        """Entries by one of their names, in order."""
        found = self._places.get(name)
        if found is None:
            found = self._places[name] = {}
            for place, names in enumerate(self.names):
                found.setdefault(names[name], []).append(place)
        return found

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, at: int) -> Entry: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Entry, ...]: ...
    def __getitem__(self, at: int | slice) -> Entry | tuple[Entry, ...]:
        if isinstance(at, slice):
            return tuple(self._entry(number) for number in range(*at.indices(len(self))))
        if not -len(self) <= at < len(self):
            raise IndexError(at)
        return self._entry(at % len(self))

    def __iter__(self) -> Iterator[Entry]:
        return (self._entry(number) for number in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(self.names)

    def __deepcopy__(self, _memory: object) -> Table[Entry]:
        return self

    def _entry(self, at: int) -> Entry:
        octets = ()
        if self._octets is not None:
            width = len(self._octets) // len(self)
            octets = (self._octets[at * width : (at + 1) * width],)  # type: ignore[assignment] # one or none
        return self._make(*self.names[at], *octets, *self.numbers[at].tolist())
