"""A table written part by part: whole or not at all."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icl.atomic import replacing
from icl.tables.files import EXCEL, FEATHER, PARQUET, TEXT, kind_of, separator_of

if TYPE_CHECKING:
    import pandas as pd

STDOUT = "-"
_READ_ONLY = (".xls", ".zip", ".zst")


def written_kind(path: Path) -> str:
    """What a file of this name is written as.

    Raises:
        ValueError: for an ending that names no format, or one that is read only.
    """
    endings = ".csv, .tsv, .txt (also with .gz, .bz2, .xz), .parquet, .feather, .arrow or .xlsx"
    if path.suffix.lower() in _READ_ONLY:
        raise ValueError(f"--output {path}: {path.suffix} files are read, not written; use {endings}.")
    try:
        return kind_of(path)
    except ValueError:
        raise ValueError(
            f"--output {path}: the ending {path.suffix or '(none)'} names no known format; use {endings}."
        ) from None


class TableWriter:
    """Writes a table part by part beside its place, and puts it there when all is done; "-" is the standard output.

    Use as a context: leaving it by an exception, ctrl-C included, leaves no file behind and an earlier one untouched.
    """

    def __init__(self, name: str | os.PathLike):
        self.n_rows = 0
        self._parts: list = []
        self._writer: Any = None
        self.path = Path(name).expanduser()
        self.is_stdout = str(name) == STDOUT
        if self.is_stdout:
            self.kind = TEXT
            return
        if self.path.is_dir():
            raise ValueError(f"--output {self.path} is a folder; name a file, such as {self.path / 'predictions.csv'}.")
        self.kind = written_kind(self.path)
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"there is no folder {self.path.parent} to write {self.path.name} into.")

    def __enter__(self) -> TableWriter:
        self._stack = contextlib.ExitStack()
        if not self.is_stdout:
            # Pandas and Arrow choose format and compression by the ending, which the partial file shares.
            self._partial = self._stack.enter_context(replacing(self.path))
        self._stack.push(self._finish)
        return self

    def write(self, part: pd.DataFrame) -> None:
        if self.kind == TEXT:
            # Members of one compressed file may follow each other: readers join them.
            place: Any = sys.stdout if self.is_stdout else self._partial
            options: dict[str, Any] = {} if self.is_stdout else {"mode": "a"}
            part.to_csv(place, header=self.n_rows == 0, index=False, sep=separator_of(self.path) or ",", **options)
        elif self.kind == PARQUET:
            self._write_parquet(part)
        else:
            self._parts.append(part)
        self.n_rows += len(part)

    def _write_parquet(self, part: pd.DataFrame) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = self._writer.schema if self._writer else None
        try:
            table = pa.Table.from_pandas(part, schema=schema, preserve_index=False)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise ValueError(
                f"a column of the test file changes its type after {self.n_rows} rows, which Parquet does not take "
                f"({error}); write .csv, or only the predictions with --only_predictions."
            ) from error
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._partial, table.schema)
        self._writer.write_table(table)

    def __exit__(self, *error) -> None:
        self._stack.__exit__(*error)

    def _finish(self, kind, error, trace) -> None:
        """What is left to write before the file takes its place."""
        if self._writer is not None:
            self._writer.close()
        if kind is not None or self.kind not in (EXCEL, FEATHER):
            return
        import pandas as pd

        table = pd.concat(self._parts)
        if self.kind == FEATHER:
            table.reset_index(drop=True).to_feather(self._partial)
            return
        try:
            with pd.ExcelWriter(self._partial, engine="openpyxl") as book:
                table.to_excel(book, index=False)
                for cell in (c for sheet in book.sheets.values() for row in sheet for c in row):
                    if cell.data_type == "f":  # text of a table that begins with "=" is no formula of ours
                        cell.data_type = "s"
        except ImportError as error:
            raise ValueError(f"{self.path}: Excel files need the package openpyxl; `pip install openpyxl`.") from error
