"""What a column is for: a feature, a name of rows, free text; and whether a column can be predicted."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from icl.tables.cells import Coded, all_text, is_text, says_missing, text_of
from icl.tables.dates import look_for_dates
from icl.tables.numbers import look_for_numbers

if TYPE_CHECKING:
    import pandas as pd

# Whole numbers that differ in every row are a feature, unless the column is called like this. Words that may count
# things ("rooms no", "number of visits") are none of these; "paid" and "humid" are no ids, "PassengerId" is one.
_ROW_NAMES = re.compile(
    r"unnamed: 0|index|row|row[_ ]?(id|nr|no|number)|rowid|lfd\.? ?nr\.?|nr\.?|no\.?|n°|#|(.*[_ .-])?(id|uuid|guid)"
    r"|.+[_ .-]nr\.?|.*nummer|(numéro|n°) ?.+|matricule"
    r"|.*(patient|passenger|person|subject|participant|respondent|customer|client|member|user|employee|student|policy|"
    r"account|order|invoice|serial|record|case|sample|specimen)s?[_ .-]?(id|ids|no\.?|nr\.?|num|number|key)"
)
_CAMEL = re.compile(r"(?<=[a-z])(?=I[Dd]$)")
_FEWEST_ROWS = 20
_WORDS_OF_TEXT = 4.0
_MOST_LABELS = 20
# Text is read by its letters where most rows have one of their own.
_SHARE_OF_TEXT = 0.5


def why_unused(column: pd.Series) -> str:
    """Why a column tells a model nothing, "" if it may: it names rows."""
    if len(column) < _FEWEST_ROWS:
        return ""
    if column.dtype.kind in "iu":
        is_name = bool(_ROW_NAMES.fullmatch(_CAMEL.sub("_", str(column.name).strip()).casefold()))
        return "names rows" if is_name and column.is_unique else ""
    if not all_text(column) or not column.is_unique:
        return ""
    return "" if words_of(column) >= _WORDS_OF_TEXT else "names rows"


def reads_as_text(column: pd.Series) -> bool:
    """Whether a column of text holds sentences, hardly two of them alike."""
    if len(column) < _FEWEST_ROWS or not all_text(column):
        return False
    known = column.dropna()
    return len(known) > 0 and known.nunique() > _SHARE_OF_TEXT * len(known) and words_of(column) >= _WORDS_OF_TEXT


def check_target(y: pd.Series, name: str, asked: str) -> None:
    """Refuse labels that no model can learn as they stand.

    Args:
        y: known labels.
        asked: the task that was asked for, or auto.
    Raises:
        ValueError: for dates, for text that is different in most rows, for a constant, saying what to do.
    """
    if y.dtype.kind in "mM":
        raise ValueError(
            f"column {name!r} holds dates or durations; predict a number made of them, such as the days from a fixed "
            f"date (if these are numbers, --columns {shlex.quote(f'{name}=number')})."
        )
    n, labels = len(y), y.nunique()
    if labels == 1:
        raise ValueError(
            f"column {name!r} holds {str(y.iloc[0])[:60]} in all {n} labelled rows: there is nothing to predict. "
            f"Choose another column, or add rows with other values."
        )
    if asked == "classification" or not is_text(y) or labels <= max(_MOST_LABELS, n / 2):
        return
    example = repr(str(y.iloc[0])[:60])
    if words_of(y) >= _WORDS_OF_TEXT:
        raise ValueError(
            f"column {name!r} holds free text ({labels} different texts in {n} rows, such as {example}); choose a "
            f"column of numbers or labels."
        )
    head = [str(cell) for cell in y.head(1_000)]
    is_number = [
        not look_for_numbers(Coded.of_one(cell)).why_not or look_for_dates({cell: 1}, name, "dmy")[0] is not None
        for cell in head
    ]
    if sum(is_number) > len(head) / 2:
        strange = [cell[:60] for cell, known in zip(head, is_number, strict=True) if not known]
        said = f"{strange[0]!r} ({len(strange)} such cells)" if strange else "two notations of them"
        raise ValueError(
            f"column {name!r} holds numbers or dates, but also {said}; mend these cells, or leave them empty."
        )
    raise ValueError(
        f"column {name!r} holds {labels} different texts in {n} rows, such as {example}: hardly a row has a label in "
        f"common with another. If it names rows, choose another column; if it holds amounts, write them as numbers; if "
        f"these are classes, --task classification takes them."
    )


def words_of(column: pd.Series) -> float:
    """Words of a cell on average."""
    cells = text_of(column.dropna().head(1_000))
    known = [cell for cell, gap in zip(cells.to_pylist(), says_missing(cells).to_pylist()) if not gap]
    return sum(len(cell.split()) for cell in known) / max(len(known), 1)
