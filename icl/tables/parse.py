"""The rows of a text file as tables of text, part by part; what is no row of the table is left out.

Arrow parses what is well formed, as fast as pandas; where it gives up, at rows of another length or blanks before
quotes, Python's own reader goes on at the row where it stopped.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from icl.tables.layout import Layout, records

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_BLOCK = 8 << 20  # bytes that Arrow parses at once
_SLOW_ROWS = 20_000
_FOOT_ROWS = 8
_TOTAL = re.compile(
    r"((grand|sub|general|overall)[ -]?)?(total|totals|totale|totaux|sum|summe|gesamt|gesamtsumme|insgesamt|somme|suma|"
    r"average|mean|mittelwert|durchschnitt|moyenne|media|count|anzahl)( g[ée]n[ée]ral| general)?:?",
    re.I,
)


def text_tables(open_file: Any, encoding: str, layout: Layout) -> Iterator[pa.Table]:
    """Tables of strings, an empty text where a cell is; rows that are no rows of the table included.

    Args:
        open_file: gives the bytes of the file anew.
    Raises:
        ValueError: for rows with more cells than there are names and for quotes that are not closed, by line.
    """
    import pyarrow as pa

    done, last = 0, ""
    if not layout.loose:
        try:
            for part in _quickly(open_file, encoding, layout):
                yield part
                done += part.num_rows
                last = part.column(part.num_columns - 1)[-1].as_py() if part.num_rows else last
            if "\n" in last:  # Arrow takes the rest of a file behind an open quote for a cell
                with open_file() as file:
                    text = io.TextIOWrapper(file, encoding, newline=None)
                    for _ in records(text, layout.separator, skip=layout.skip, whole=True):
                        pass
            return
        except pa.ArrowInvalid:
            pass
    with open_file() as file:
        text = io.TextIOWrapper(file, encoding, newline=None)
        yield from _slowly(text, layout, done)


def rows_of_table(parts: Iterator[pd.DataFrame]) -> Iterator[tuple[pd.DataFrame, list[str]]]:
    """The parts without empty rows, repeated names, and totals or remarks at the end; and sentences about those."""
    last = next(parts, None)
    if last is None:
        return
    last, said = _without_empty(last)
    for part in parts:
        part, more = _without_empty(part)
        if len(part) > _FOOT_ROWS:
            yield last, said
            last, said = part, more
        else:  # the end of a table is told beside rows before it
            import pandas as pd

            last, said = pd.concat([last, part], ignore_index=True), said + more
    n_foot, why = _foot(last)
    yield (last.iloc[: len(last) - n_foot], [*said, *why]) if n_foot else (last, said)


def _quickly(open_file: Any, encoding: str, layout: Layout) -> Iterator[pa.Table]:
    import pyarrow as pa
    import pyarrow.csv as pv

    names = list(layout.names)
    with open_file() as file:
        try:
            reader = pv.open_csv(
                file,
                pv.ReadOptions(
                    use_threads=False, block_size=_BLOCK, skip_rows=layout.skip, column_names=names,
                    encoding="utf8" if encoding == "utf-8" else encoding,
                ),
                pv.ParseOptions(delimiter=layout.separator, newlines_in_values=True),
                pv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False),
            )  # fmt: skip
        except pa.ArrowInvalid as error:
            if "Empty CSV file" in str(error):
                yield pa.table({name: pa.array([], pa.string()) for name in names})
                return
            raise
        yield pa.Table.from_batches([], reader.schema)  # a file of names only has no batch
        for batch in reader:
            yield pa.Table.from_batches([batch])


def _slowly(text: io.TextIOWrapper, layout: Layout, done: int) -> Iterator[pa.Table]:

    width, n_comments = len(layout.names), 0
    rows: list[list[str]] = []
    is_first = True
    source = records(text, layout.separator, layout.loose, layout.skip, whole=True)
    for line, row in islice(source, done, None):
        if layout.loose and row[0].startswith("#") and len(row) != width:
            n_comments += 1
            continue
        if len(row) > width:
            if any(cell.strip() for cell in row[width:]):
                raise ValueError(
                    f"line {line} has {len(row)} cells, but there are {width} names ({row[width].strip()[:40]!r} is "
                    f"one too many); put cells that hold the separator {layout.separator!r} into quotes."
                )
            row = row[:width]
        rows.append(row if len(row) == width else [*row, *[""] * (width - len(row))])
        if len(rows) == _SLOW_ROWS:
            yield _as_arrow(rows, layout.names)
            rows, is_first = [], False
    if rows or is_first:
        yield _as_arrow(rows, layout.names)


def _as_arrow(rows: list[list[str]], names: Sequence[str]) -> pa.Table:
    import pyarrow as pa

    columns = zip(*rows) if rows else [()] * len(names)
    return pa.table(
        [pa.array([c.replace("\x00", "") for c in column], pa.string()) for column in columns], names=list(names)
    )


def _without_empty(part: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Without rows in which every cell is empty, or holds the name of its column."""
    import numpy as np

    said: list[str] = []
    drop = np.zeros(len(part), bool)
    for what, is_so in (
        ("empty", lambda cells, name: _is_empty(cells)),
        ("the names again", lambda cells, name: cells == name),
    ):
        rows = np.arange(len(part))
        for j, name in enumerate(part.columns):
            rows = rows[np.asarray(is_so(part.iloc[rows, j], name), bool)]
            if not len(rows):
                break
        if len(rows):
            said.append(f"{len(rows)} rows are {what}, and left out")
            drop[rows] = True
    return (part[~drop].reset_index(drop=True) if drop.any() else part), said


def _is_empty(cells: pd.Series) -> Any:
    if cells.dtype == object:
        return cells.isna() | cells.map(lambda cell: isinstance(cell, str) and not cell.strip()).astype(bool)
    return cells.isna() | (cells.str.strip() == "") if str(cells.dtype) in ("str", "string") else cells.isna()


def _foot(part: pd.DataFrame) -> tuple[int, list[str]]:
    """How many rows at the end are totals or remarks, and a sentence about them."""
    n, shown = 0, ""
    if part.shape[1] < 2 or len(part) < 3:
        return 0, []
    while n < min(_FOOT_ROWS, len(part) - 2):
        row = part.iloc[len(part) - 1 - n]
        filled = [j for j, empty in enumerate(_is_empty(row.astype(object))) if not empty]
        if not filled or not (_is_remark(row, filled, part) or _is_total(row, filled, part.iloc[: len(part) - 1 - n])):
            break
        n, shown = n + 1, str(row.iloc[filled[0]]).strip()
    if not n:
        return 0, []
    what = (
        "rows at the end are taken for totals or remarks"
        if n > 1
        else "row at the end is taken for a total or a remark"
    )
    return n, [f"{n} {what}, from {shown[:40]!r} on, and left out"]


def _is_remark(row: pd.Series, filled: list[int], part: pd.DataFrame) -> bool:
    """One cell of several words, where the rows before it are filled."""
    if filled != [0] or part.shape[1] < 3 or not isinstance(row.iloc[0], str):
        return False
    words = row.iloc[0].split()
    usual = part.head(50).iloc[:, 0].astype(str).map(lambda cell: len(cell.split())).median()
    return len(words) > max(2, usual) or words[0].startswith(("*", "#", "©")) or words[0].endswith(":")


def _is_total(row: pd.Series, filled: list[int], above: pd.DataFrame) -> bool:
    """A word for a total, that no other row has, and cells left empty or sums."""
    if filled[0] > 0 and len(filled) > 1 and not _is_empty(above.iloc[:, 0]).any():
        return all(_adds_up(row.iloc[j], above.iloc[:, j]) for j in filled)
    word = row.iloc[filled[0]]
    if not isinstance(word, str) or not _TOTAL.fullmatch(word.strip()):
        return False
    labels = above.iloc[-1_000:, filled[0]]
    if any(isinstance(cell, str) and _TOTAL.fullmatch(cell.strip()) for cell in labels):
        return False
    near = above.tail(50)
    empty = [j for j in range(len(row)) if j not in filled]
    if any(not _is_empty(near.iloc[:, j]).any() for j in empty) or not len(filled) > 1:
        return True
    from icl.tables.layout import is_number

    if all(is_number(str(cell)) for cell in near.iloc[:, filled[0]]):
        return True
    return any(_adds_up(row.iloc[j], above.iloc[:, j]) for j in filled[1:])


def _adds_up(cell: Any, above: pd.Series) -> bool:
    """Whether a cell is the sum or the mean of those above it; marks and signs are passed over."""

    def number(text: Any) -> float:
        kept = re.sub(r"[^\d.,-]", "", str(text))
        if kept.count(",") + kept.count(".") > 1:
            kept = kept.replace("," if kept.rfind(".") > kept.rfind(",") else ".", "")
        try:
            return float(kept.replace(",", "."))
        except ValueError:
            return float("nan")

    total, cells = number(cell), [v for v in map(number, above) if v == v]
    if len(cells) < 2 or total != total or total == 0:
        return False
    return min(abs(total - sum(cells)), abs(total - sum(cells) / len(cells))) < 0.006 * abs(total)
