"""The one reader of tables: for the commands, for fine-tuning, and in Python as `icl.read_table`."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import IO, TYPE_CHECKING, Any

from icl.tables.cells import is_text, text_of
from icl.tables.dates import PLAIN_DATES, AmbiguousDatesError, Dates
from icl.tables.files import TableFile, did_you_mean, open_table
from icl.tables.numbers import Numbers, may_be_thousands
from icl.tables.reading import Reading
from icl.tables.source import TEXT
from icl.tables.taken import Taken, decide, first_look, read_answers, shown_marks

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class ReadTable:
    """A table with numbers and dates where people wrote them as text, and how its columns are read."""

    frame: pd.DataFrame
    file: TableFile
    columns: list[Taken] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What was read otherwise than it stands, for a person."""

    def notes_on(self, column: str) -> list[str]:
        """What to know of a column whose missing cells matter: an outcome.

        Raises:
            ValueError: if it holds words among numbers or dates, which are missing in other columns.
        """
        taken = next((taken for taken in self.columns if taken.name == column), None)
        if taken is not None and taken.odd:
            raise ValueError(
                f"column {column!r} holds {taken.kind}s, but also {taken.odd[0]!r} ({taken.n_odd} such cells); mend "
                f"these cells, or leave them empty (or, if they mean no value: --na {column}={taken.odd[0]})."
            )
        if taken is None or not taken.n_words:
            return []
        return [f"NA and the like are missing cells of {column}; if they are labels, say --na none"]

    def summary(self) -> pd.DataFrame:
        """A row for each column: its name, what it is taken for and why, an example."""
        import pandas as pd

        rows = []
        for taken in self.columns:
            known = self.frame[taken.name].dropna()
            example = "" if not len(known) else str(known.iloc[0])
            if taken.kind == "date":
                example = example.removesuffix(" 00:00:00")
            rows.append((str(taken.name), taken.kind, taken.why, example[:40]))
        return pd.DataFrame(rows, columns=["column", "taken_for", "why", "example"])

    def written_plainly(self) -> ReadTable:
        """The same columns in a file that this program wrote: dates as 2020-03-31, numbers as 1234.5."""
        plain = [
            replace(taken, format=PLAIN_DATES if isinstance(taken.format, Dates) else taken.format and Numbers())
            for taken in self.columns
        ]
        return replace(self, columns=plain)

    def chunks_of(self, file: TableFile, n_rows: int | None, needed: Collection) -> Iterator[pd.DataFrame]:
        """Parts of another file, its columns read as those of this table are; see `pairs_of`."""
        return (read for read, _ in self.pairs_of(file, n_rows, needed))

    def pairs_of(
        self, file: TableFile, n_rows: int | None, needed: Collection
    ) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
        """Parts of another file, its columns read as those of this table are, and as they stand.

        Args:
            needed: columns in which a cell that is no number or date, where this table has them, is an error.
        Raises:
            ValueError: naming such a cell.
        """
        known = {taken.name: taken for taken in self.columns}
        for part in file.chunks(n_rows):
            read = {}
            for name in part:
                cells = _without_gaps(part[name], file.reading)
                taken = known.get(name)
                if taken is None or taken.kind == "empty":
                    taken = first_look(cells)
                    _decide(taken, cells, ".", "dmy", "")
                    read[name] = taken.values
                else:
                    read[name] = self._read_alike(taken, cells, file, name in needed)
            yield (
                part.assign(**{str(n): v for n, v in read.items()})
                if all(isinstance(n, str) for n in read)
                else _set(part, read),
                part,
            )

    def _read_alike(self, taken: Taken, cells: pd.Series, file: TableFile, is_needed: bool) -> pd.Series:
        if taken.format is not None and (is_text(cells) or getattr(taken.format, "shape", "") == "serial"):
            values, wrong = taken.format.read(cells)
            wrong &= ~cells.map(lambda cell: isinstance(cell, str) and cell.strip() in taken.odd).astype(bool)
            if not wrong.any():
                return values
            if is_needed:
                raise ValueError(
                    f"column {taken.name!r} of {file.path} holds {cells[wrong].iloc[0]!r} ({int(wrong.sum())} "
                    f"such cells), where {self.file.path} has {taken.format}; mend these cells or leave them empty."
                )
        elif taken.answers and is_text(cells) and (answers := read_answers(taken, cells)) is not None:
            return answers
        elif taken.kind == "number" and is_text(cells):
            values, wrong = Numbers().read(cells)
            if not wrong.any():
                return values
        alike = Taken(taken.name, keeps_na=taken.keeps_na)
        _decide(alike, cells, ".", "dmy", "text" if is_text(cells) else "")
        return alike.values


def read_table(source: str | os.PathLike | IO[bytes] | bytes, **options: Any) -> pd.DataFrame:
    """The table in a CSV, TSV (also .gz, .bz2, .xz, .zip, .zst), Parquet, Feather or Excel file, as commands read it.

    Encoding, separator, decimal mark and the line with the names are told from the file. "38.361,86 EUR", "$1,200",
    "19.4 %" and "(5)" become numbers, dates in common notations become dates; "?", "-" and the like are missing in
    columns of them. Codes such as 04109 stay text. `inspect_table` says what each column was taken for, and why.

    Args:
        source: a path, "-" for the standard input, a binary file, or its bytes.
        options: fields of `icl.tables.reading.Reading`: dates="dmy", decimal=",", sheet="2024", encoding=, na=,
            columns={"zip": "category", "note": "skip"}.
    Raises:
        ValueError, OSError: for what cannot be read or is ambiguous, naming file, column and remedy.

    >>> import icl
    >>> icl.read_table(b"name;price\\nbolt;1.234,50 EUR\\nnut;0,99 EUR\\n")["price"].tolist()
    [1234.5, 0.99]
    """
    return _read(source, options).frame


def inspect_table(source: str | os.PathLike | IO[bytes] | bytes, **options: Any) -> pd.DataFrame:
    """What `read_table` takes each column for, and why: a row for each, as `icl inspect` shows them.

    >>> import icl
    >>> icl.inspect_table(b"plz;share\\n04109;19,4 %\\n10115;7,5 %\\n")["taken_for"].tolist()
    ['code', 'number']
    """
    return _read(source, options).summary()


def _read(source: Any, options: dict[str, Any]) -> ReadTable:
    data = source.read() if hasattr(source, "read") else source
    if isinstance(data, str) and data is not source:  # a file that was opened as text
        data = data.encode()
    if not isinstance(data, str | bytes | os.PathLike):
        raise TypeError(
            f"a path, a binary file or its bytes is expected, got {type(data).__name__}; what is a table already needs "
            f"no reading: pass it to fit, infer, impute and the others as it is."
        )
    return read_file(open_table(data, Reading(**options)))


def read_file(file: TableFile) -> ReadTable:
    """The whole table in a file.

    Raises:
        ValueError: for cells that cannot be read, and dates that are dates in two orders.
    """
    [frame] = file.chunks(None)
    kinds: dict[Any, str] = dict(file.reading.kinds)
    for name in kinds:
        if name not in frame:
            raise ValueError(
                f"--columns {name}: {file.path} has no such column{did_you_mean(name, list(map(str, frame))) or '.'}"
            )
    cells = {name: _without_gaps(frame[name], file.reading) for name in frame if kinds.get(name) != "skip"}
    cells = {name: column for name, column in cells.items() if not _is_empty_margin(name, column)}
    taken = {name: first_look(column, kinds.get(name, "")) for name, column in cells.items()}
    for found in taken.values():
        found.keeps_na = not file.reading.na_is_missing
    decimal: str = file.reading.decimal
    unsure: list[str] = []
    if decimal == "auto":
        decimal, unsure = _decimal_of(file, taken, cells)
    _decide_all(file, taken, cells, decimal, kinds)
    table = ReadTable(
        _set(frame[list(cells)], {name: found.values for name, found in taken.items()}), file, list(taken.values())
    )
    table.notes = [*_notes(table, [str(name) for name in frame if name not in cells]), *unsure]
    return table


def _decimal_of(file: TableFile, taken: dict[Any, Taken], cells: dict[Any, pd.Series]) -> tuple[str, list[str]]:
    """The decimal mark of a file, and what to say if nothing in it tells."""
    looks = {name: found.look for name, found in taken.items() if found.look is not None and not found.look.why_not}
    has_semicolons = file.kind == TEXT and file.layout.separator == ";"
    commas = [name for name, look in looks.items() if "," in look.marks]
    unsure = [name for name, look in looks.items() if "," in look.unsure and not look.marks]
    if not commas and not (unsure and has_semicolons):
        plain = [name for name, found in taken.items() if found.look is None and found.format is not None]
        odd = [name for name in plain if has_semicolons and may_be_thousands(text_of(cells[name]))]
        said = "hold numbers such as 1.234, read with a decimal point; if these are thousands, say --decimal ,"
        return ".", [f"{', '.join(map(str, odd[:6]))} {said}"] if odd else []
    # Only where no column speaks against it: 1,234 may be one thousand.
    if file.kind != TEXT or file.layout.separator == "," or any("." in shown_marks(taken[n], cells[n]) for n in taken):
        return ".", []
    said = (
        "hold numbers such as 1,234, read with a decimal comma as the file has semicolons; if these are thousands, say"
    )
    return ",", [] if commas else [f"{', '.join(map(str, unsure[:6]))} {said} --decimal ."]


def _decide_all(
    file: TableFile, taken: dict[Any, Taken], cells: dict[Any, pd.Series], decimal: str, kinds: dict
) -> None:
    """An order of dates that one column shows holds for the others."""
    unsure: dict[Any, AmbiguousDatesError] = {}
    for name, found in taken.items():
        try:
            _decide(found, cells[name], decimal, file.reading.dates, kinds.get(name, ""))
        except AmbiguousDatesError as error:
            unsure[name] = error
    formats = [found.format for found in taken.values() if isinstance(found.format, Dates)]
    orders = {known.order for known in formats if known.shape.startswith("xx")}
    for name, reason in unsure.items():
        if len(orders) != 1:
            raise ValueError(f"{file.path}: {reason}")
        _decide(taken[name], cells[name], decimal, next(iter(orders)), kinds.get(name, ""))


def _decide(taken: Taken, cells: pd.Series, decimal: str, order: str, asked: str) -> None:
    if taken.values is None and taken.look is None and taken.format is None and not asked:
        first = first_look(cells)
        taken.values, taken.look, taken.format = first.values, first.look, first.format
        taken.coded, taken.may_be_dates = first.coded, first.may_be_dates
    decide(taken, cells, decimal, order, asked)


def _without_gaps(column: pd.Series, reading: Reading) -> pd.Series:
    """The cells without those that a person calls missing."""
    words = reading.na_of(column.name)
    if not words:
        return column
    numbers = {float(word) for word in words if word.lstrip("+-").replace(".", "", 1).isdecimal()}
    if is_text(column):
        return column.where(
            ~column.map(lambda cell: (isinstance(cell, str) and cell.strip() in words) or cell in numbers).astype(bool)
        )
    return column.where(~column.isin(list(numbers))) if column.dtype.kind in "iuf" else column


def _is_empty_margin(name: Any, column: pd.Series) -> bool:
    """Whether a column has neither a name nor a cell."""
    if not str(name).startswith("Unnamed: "):
        return False
    return bool((column.isna() | (column.astype(str).str.strip() == "")).all())


def _set(frame: pd.DataFrame, columns: dict[Any, pd.Series]) -> pd.DataFrame:
    import pandas as pd

    parts = [columns.get(name, frame[name]) for name in frame]
    return pd.concat(parts, axis=1, keys=list(frame)) if parts else frame


def _notes(table: ReadTable, left_out: list[str]) -> list[str]:
    file = table.file
    notes = [*file.layout.notes, *file.said]
    empty = [name for name in left_out if name not in file.reading.kinds]
    if empty:
        notes.append(f"columns without a name and without cells are left out ({len(empty)})")
    if file.kind == TEXT and file.encoding != "utf-8":
        notes.append(f"{file.path.name} is read as {file.encoding}; otherwise name its --encoding")
    for words in dict.fromkeys(str(taken.format) for taken in table.columns if taken.format):
        if words == str(Numbers()) or "year, month" in words:
            continue
        names = [str(taken.name) for taken in table.columns if taken.format and str(taken.format) == words]
        notes.append(f"{', '.join(names[:6])}{' ...' if len(names) > 6 else ''} read as {words}")
    return [*notes, *(note for taken in table.columns for note in taken.notes)]
