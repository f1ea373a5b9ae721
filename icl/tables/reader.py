"""The one reader of tables: for the commands, for fine-tuning, and in Python as `icl.read_table`."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import IO, TYPE_CHECKING, Any

from icl.tables.cells import AmbiguousDatesError, Dates, Format, Numbers, format_of, is_text
from icl.tables.files import TEXT, TableFile, open_table
from icl.tables.reading import Reading

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class ReadTable:
    """A table with numbers and dates where people wrote them as text, and how its columns are read."""

    frame: pd.DataFrame
    file: TableFile
    formats: dict[Any, Format] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """What was read otherwise than it stands, for a person."""

    def notes_on(self, column: str) -> list[str]:
        """What to know of a column whose missing cells matter: an outcome."""
        if column not in self.file.dialect.gaps:
            return []
        return [f"NA and the like are missing cells of {column}; if they are labels, say --na none"]

    def chunks_of(self, file: TableFile, n_rows: int | None, needed: Collection) -> Iterator[pd.DataFrame]:
        """Parts of another file, its columns read as those of this table are.

        Args:
            needed: columns in which a cell that is no number or date, where this table has them, is an error.
        Raises:
            ValueError: naming such a cell.
        """
        import pandas as pd

        numbers = {name for name in self.frame if pd.api.types.is_numeric_dtype(self.frame[name].dtype)}
        file = replace(file, dialect=replace(file.dialect, keep=self.file.dialect.keep))
        texts = [*self.file.dialect.codes, *self.formats]
        plain = Numbers(file.dialect.decimal)
        for part in file.chunks(n_rows, texts):
            read: dict[Any, pd.Series] = {}
            for name in part:
                known = self.formats.get(name)
                if known is not None and is_text(part[name]):
                    values, wrong = known.read(part[name])
                    if wrong.any() and name not in needed:
                        continue
                    if wrong.any():
                        raise ValueError(
                            f"column {name!r} of {file.path} holds {part[name][wrong].iloc[0]!r} ({int(wrong.sum())} "
                            f"such cells), where {self.file.path} has {known}; mend these cells or leave them empty."
                        )
                    read[name] = values
                elif name in numbers and is_text(part[name]):
                    values, wrong = plain.read(part[name])
                    if not wrong.any():
                        read[name] = values
            yield part.assign(**read) if read else part


def read_table(source: str | os.PathLike | IO[bytes] | bytes, **options: Any) -> pd.DataFrame:
    """The table in a CSV, TSV (also .gz, .bz2, .xz, .zip), Parquet or Excel file, as every command reads it.

    Encoding, separator and decimal mark are told from the file. "38.361,86 EUR", "$1,200", "19.4 %" and "(5)" become
    numbers, dates in common notations become dates; "?", "-" and the like are missing in columns of them. Codes such as
    04109 stay text.

    Args:
        source: a path, "-" for the standard input, a binary file, or its bytes.
        options: fields of `icl.tables.reading.Reading`: dates="dmy", decimal=",", sheet="2024", encoding=, na=.
    Raises:
        ValueError, OSError: for what cannot be read or is ambiguous, naming file, column and remedy.
    """
    data = source.read() if hasattr(source, "read") else source
    reading = Reading(**options)
    return read_file(open_table(data, reading)).frame


def read_file(file: TableFile) -> ReadTable:
    """The whole table in a file.

    Raises:
        ValueError: for cells that cannot be read, and dates that are dates in two orders.
    """
    [frame] = file.chunks(None, file.dialect.codes)
    table = ReadTable(frame, file, _formats(frame, file))
    read = {name: _as_whole(known.read(frame[name])[0]) for name, known in table.formats.items()}
    table.frame = frame.assign(**read) if read else frame
    if file.kind == TEXT and file.dialect.encoding not in ("utf-8-sig", "utf-8"):
        table.notes.append(f"{file.path.name} is read as {file.dialect.encoding}; otherwise name its --encoding")
    for words in dict.fromkeys(str(known) for known in table.formats.values()):
        if words == str(Numbers()) or "year, month" in words:
            continue
        names = [str(name) for name, known in table.formats.items() if str(known) == words]
        table.notes.append(f"{', '.join(names[:6])}{' ...' if len(names) > 6 else ''} read as {words}")
    return table


def _formats(frame: pd.DataFrame, file: TableFile) -> dict[Any, Format]:
    """How the columns are written; an order of dates that one column shows holds for the others."""
    found: dict[Any, Format | None] = {}
    unsure: dict[Any, AmbiguousDatesError] = {}
    for name in frame:
        try:
            found[name] = format_of(frame[name], file.dialect.decimal, file.reading.dates)
        except AmbiguousDatesError as error:
            unsure[name] = error
    orders = {known.order for known in found.values() if isinstance(known, Dates) and known.shape.startswith("xx")}
    for name, reason in unsure.items():
        if len(orders) != 1:
            raise ValueError(f"{file.path}: {reason}")
        found[name] = format_of(frame[name], file.dialect.decimal, next(iter(orders)))
    return {name: known for name in frame if (known := found.get(name)) is not None}


def _as_whole(values: pd.Series) -> pd.Series:
    """Whole numbers as such."""
    if values.dtype.kind == "f" and len(values) and bool((values % 1 == 0).all()) and values.abs().max() < 2**53:
        return values.astype("int64")
    return values
