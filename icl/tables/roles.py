"""What a column is for: a feature, a name of rows, free text; and whether a column can be predicted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icl.tables.cells import format_of, is_gap, is_text

if TYPE_CHECKING:
    import pandas as pd

# Whole numbers that differ in every row are a feature, unless the column is called like this.
_ROW_NAMES = {"id", "index", "row", "row_id", "rowid", "unnamed: 0"}
_FEWEST_ROWS = 20
_WORDS_OF_TEXT = 4.0
_MOST_LABELS = 20


def why_unused(column: pd.Series) -> str:
    """Why a column tells a model nothing, "" if it may: it names rows, or is text that is different in each of them."""
    if len(column) < _FEWEST_ROWS:
        return ""
    if column.dtype.kind in "iu":
        is_name = str(column.name).strip().casefold() in _ROW_NAMES
        return "names rows" if is_name and column.is_unique else ""
    if not is_text(column) or not all(isinstance(cell, str) for cell in column.dropna()) or not column.is_unique:
        return ""
    return "free text" if _words_of(column) >= _WORDS_OF_TEXT else "names rows"


def check_target(y: pd.Series, name: str, asked: str) -> None:
    """Refuse labels that no model can learn as they stand.

    Args:
        y: known labels.
        asked: the task that was asked for, or auto.
    Raises:
        ValueError: for dates, for text that is different in most rows, saying what to do.
    """
    if y.dtype.kind in "mM":
        raise ValueError(
            f"column {name!r} holds dates or durations; predict a number made of them, such as the days from a fixed "
            f"date."
        )
    n, labels = len(y), y.nunique()
    if asked == "classification" or not is_text(y) or labels <= max(_MOST_LABELS, n / 2):
        return
    example = repr(str(y.iloc[0])[:60])
    if _words_of(y) >= _WORDS_OF_TEXT:
        raise ValueError(
            f"column {name!r} holds free text ({labels} different texts in {n} rows, such as {example}); choose a "
            f"column of numbers or labels."
        )
    head = y.head(1_000)
    is_number = [format_of(head.iloc[[i]]) is not None for i in range(len(head))]
    if sum(is_number) > len(head) / 2:
        strange = [str(cell)[:60] for cell, known in zip(head, is_number, strict=True) if not known]
        said = f"{strange[0]!r} ({len(strange)} such cells)" if strange else "two notations of them"
        raise ValueError(
            f"column {name!r} holds numbers or dates, but also {said}; mend these cells, or leave them empty."
        )
    raise ValueError(
        f"column {name!r} holds {labels} different texts in {n} rows, such as {example}: hardly a row has a label in "
        f"common with another. If it names rows, choose another column; if it holds amounts, write them as numbers; if "
        f"these are classes, --task classification takes them."
    )


def _words_of(column: pd.Series) -> float:
    """Words of a cell on average."""
    cells = [cell for cell in column[~is_gap(column)].head(1_000) if isinstance(cell, str)]
    return sum(len(cell.split()) for cell in cells) / max(len(cells), 1)
