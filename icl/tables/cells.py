"""Cells of text, for whoever reads numbers or dates in them: trimmed, and told from cells that say they are missing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

# Cells that are missing wherever they stand ...
MISSING_WORDS = ("NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "<NA>", "#N/A", "#NA", "NaT")
# ... and those that mean it in a column of numbers or dates only: there "-" is no level.
GAPS = (
    "", "?", "??", "-", "--", "---", "–", "—", ".", "..", "...", "…", "*", "x", "/", "n/a", "n.a.", "n. a.", "na",
    "nan", "none", "null", "nil", "missing", "unknown", "k.a.", "k. a.", "k.a", "n.v.", "n.d.", "nd", "s/d", "s.d.",
    "#n/a", "#na", "<na>", "nat", "(null)", "(blank)", "tbd", "#value!", "#div/0!", "#ref!", "#num!", "#name?",
    "#null!", "#nv",
)  # fmt: skip


def is_text(column: pd.Series) -> bool:
    """Whether a column may hold text: what pandas calls str, string or object, Arrow's strings."""
    import pandas as pd

    return str(column.dtype) in ("str", "string", "object") or (
        isinstance(column.dtype, pd.ArrowDtype) and "string" in str(column.dtype)
    )


def all_text(column: pd.Series) -> bool:
    """Whether every cell that is not missing is text."""
    return is_text(column) and (column.dtype != object or all(isinstance(cell, str) for cell in column.dropna()))


def as_arrow(column: pd.Series) -> pa.Array:
    """(n,) text as it stands; null where a cell is missing or is no text."""
    import pyarrow as pa

    if column.dtype == object:
        return pa.array([cell if isinstance(cell, str) else None for cell in column], pa.large_string())
    cells = pa.array(column, from_pandas=True)
    if isinstance(cells, pa.ChunkedArray):
        cells = cells.combine_chunks()
    return cells.cast(pa.large_string())


def text_of(column: pd.Series) -> pa.Array:
    """(n,) text, trimmed; null where a cell is missing or is no text."""
    import pyarrow.compute as pc

    return pc.utf8_trim_whitespace(as_arrow(column))


@dataclass(frozen=True)
class Coded:
    """The cells of a column of text as (n,) codes of its different texts, trimmed; -1 where it has none."""

    codes: np.ndarray
    texts: pa.Array

    @classmethod
    def of(cls, column: pd.Series) -> Coded:
        import pyarrow.compute as pc

        coded = pc.dictionary_encode(text_of(column))
        return cls(coded.indices.fill_null(-1).to_numpy(zero_copy_only=False), coded.dictionary)

    @classmethod
    def of_one(cls, text: str) -> Coded:
        """A column of one cell, as it stands."""
        import numpy as np
        import pyarrow as pa

        return cls(np.zeros(1, int), pa.array([text], pa.large_string()))

    @cached_property
    def shapes(self) -> Shapes:
        """Of the different texts."""
        return Shapes.of(self.texts)

    def times(self) -> np.ndarray:
        """How often each text comes."""
        import numpy as np

        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.texts))

    def counts(self) -> dict[str, int]:
        """How often each text comes that is no gap among numbers and dates."""
        gaps = says_missing(self.texts).to_pylist()
        counts = zip(self.texts.to_pylist(), self.times().tolist(), gaps)
        return {text: n for text, n, gap in counts if not gap}

    def head(self) -> dict[str, int]:
        """The first different texts that are no gaps."""
        texts = self.texts.slice(0, 100)
        return {text: 1 for text, gap in zip(texts.to_pylist(), says_missing(texts).to_pylist()) if not gap}

    def spread(self, of_texts: np.ndarray, missing: Any) -> np.ndarray:
        """(n,) values of the cells from those of the different texts."""
        import numpy as np

        return np.append(of_texts, np.array([missing]).astype(of_texts.dtype))[self.codes]


@dataclass(frozen=True)
class Shapes:
    """(n,) texts as codes of their shapes, in which every digit is a 1, or a 0 if it is a zero that begins a number.

    Amounts that all differ have few shapes: patterns see those, and the digits are put back behind them.
    """

    texts: pa.Array
    codes: np.ndarray
    shapes: pa.Array

    @classmethod
    def of(cls, texts: pa.Array) -> Shapes:
        import pyarrow.compute as pc

        starts, text = _bytes_of(texts)
        digits = _are_digits(text)
        inner = digits.copy()
        inner[1:] &= digits[:-1]
        inner[starts[:-1][starts[:-1] < len(text)]] = False
        digits &= inner | (text != ord("0"))
        shapes = text.copy()
        shapes[digits] = ord("1")
        coded = pc.dictionary_encode(_texts_of(starts, shapes))
        return cls(texts, coded.indices.to_numpy(), coded.dictionary)

    def with_digits(self, of_shapes: pa.Array) -> pa.Array:
        """(n,) what is written for each shape, with the digits of each text; null where that is null.

        Args:
            of_shapes: texts with as many digits as their shapes, in the same order.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        written = of_shapes.take(pa.array(self.codes))
        known = pc.is_valid(written)
        starts, text = _bytes_of(pc.fill_null(written, ""))
        _, cells = _bytes_of(self.texts.filter(known))
        text = text.copy()
        text[_are_digits(text)] = cells[_are_digits(cells)]
        return pc.if_else(known, _texts_of(starts, text), pa.scalar(None, written.type))


def _are_digits(text: np.ndarray) -> np.ndarray:
    return text - ord("0") < 10  # of bytes without a sign: what is below 0 is far above 9


def _bytes_of(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """(n + 1,) where texts without nulls start, and their bytes."""
    import numpy as np

    if not len(texts):
        return np.zeros(1, np.int64), np.zeros(0, np.uint8)
    _, offsets, data = texts.buffers()
    starts = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    text = np.frombuffer(data or b"", np.uint8)[starts[0] : starts[-1]]
    return starts - starts[0], text


def _texts_of(starts: np.ndarray, text: np.ndarray) -> pa.Array:
    import pyarrow as pa

    return pa.LargeStringArray.from_buffers(len(starts) - 1, pa.py_buffer(starts), pa.py_buffer(text))


@cache
def pattern(arrows: str) -> re.Pattern:
    """A pattern of Arrow's for a few cells, compiled once; Arrow compiles it at every call, for milliseconds."""
    return re.compile(re.sub(r"\[\\pL([^]]+)\]", r"(?:[^\\W\\d_]|[\1])", arrows).replace(r"\pL", r"[^\W\d_]"))


def says_missing(cells: pa.Array) -> pa.Array:
    """Which of the trimmed texts are null, or mean a gap among numbers and dates."""
    import pyarrow as pa
    import pyarrow.compute as pc

    known = pc.is_in(pc.utf8_lower(cells), pa.array(GAPS, cells.type))
    return pc.or_(known, pc.is_null(cells))
