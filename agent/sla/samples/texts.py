"""A text of many samples as one column: a small number for each row, and the few different texts once. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from probes.core.arrays import Int64


@dataclass(frozen=True, slots=True, eq=False)
class Texts(Sequence[str | None]):
    """One entry a row: words[code[k] - 1], or None where code[k] is 0; code: int64 (rows,)."""

    code: Int64
    words: tuple[str, ...] = ()

    @staticmethod
    def of(items: Iterable[str | None]) -> Texts:
        """From a text for each row."""
        if isinstance(items, Texts):
            return items
        known: dict[str | None, int] = {None: 0}
        code = [known.setdefault(item, len(known)) for item in items]
        return Texts(np.array(code, np.int64), tuple(word for word in known if word is not None))

    @staticmethod
    def joined(parts: Iterable[Iterable[str | None]]) -> Texts:
        """One after the other."""
        known: dict[str, int] = {}
        codes = [np.zeros(0, np.int64)]
        for part in map(Texts.of, parts):
            renamed = [0, *(known.setdefault(word, len(known) + 1) for word in part.words)]
            codes.append(np.array(renamed, np.int64)[part.code])
        return Texts(np.concatenate(codes), tuple(known))

    @property
    def there(self) -> NDArray[np.bool_]:
        """True where a row has a text."""
        return self.code > 0

    def __len__(self) -> int:
        return len(self.code)

    @overload
    def __getitem__(self, row: int) -> str | None: ...

    @overload
    def __getitem__(self, row: slice) -> Texts: ...

    def __getitem__(self, row: int | slice) -> str | Texts | None:
        if isinstance(row, slice):
            return self.taken(row)
        code = int(self.code[row])
        return self.words[code - 1] if code else None

    def taken(self, rows: slice | Int64 | NDArray[np.bool_]) -> Texts:
        """Those rows, in the order given."""
        return Texts(self.code[rows], self.words)
