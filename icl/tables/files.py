"""Tables in files: CSV, TSV (also compressed), Parquet, Excel; read whole or in chunks, written whole or not at all."""

from __future__ import annotations

import contextlib
import csv
import difflib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icl.atomic import replacing

if TYPE_CHECKING:
    import pandas as pd

TEXT, PARQUET, EXCEL = "text", "parquet", "excel"
_KINDS = {".csv": TEXT, ".tsv": TEXT, ".txt": TEXT, ".parquet": PARQUET, ".pq": PARQUET, ".xlsx": EXCEL, ".xls": EXCEL}
_COMPRESSED = (".gz", ".bz2", ".xz")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?")


@dataclass(frozen=True)
class TableFile:
    """A file that holds one table, and how it is read."""

    path: Path
    kind: str
    separator: str = ","

    def read(self, texts: Sequence[str] = ()) -> pd.DataFrame:
        """The whole table; `texts` as for `chunks`."""
        [table] = self.chunks(None, texts)
        return table

    def chunks(self, n_rows: int | None, texts: Sequence[str] = (), raw: bool = False) -> Iterator[pd.DataFrame]:
        """Parts of at most `n_rows` rows in order, at least one; None for a single part.

        Args:
            texts: columns of a text file that are not to be read as numbers.
            raw: cells of a text file as the text they are, nothing read as a number or as missing.
        """
        import pandas as pd

        with _explained(self.path):
            if self.kind == TEXT:
                options: dict[str, Any] = {"sep": self.separator, "encoding": "utf-8-sig"}
                if texts:
                    options["dtype"] = dict.fromkeys(texts, str)
                if raw:
                    options |= {"dtype": str, "keep_default_na": False}
                if n_rows is None:
                    yield pd.read_csv(self.path, **options)
                else:
                    with pd.read_csv(self.path, chunksize=n_rows, **options) as parts:
                        yield from parts
            elif self.kind == PARQUET:
                yield from _parquet_chunks(self.path, n_rows)
            else:
                table = pd.read_excel(self.path)
                step = n_rows or max(len(table), 1)
                for start in range(0, max(len(table), 1), step):
                    yield table.iloc[start : start + step]

    def leading_zeros(self) -> list[str]:
        """Columns of a text file with cells such as 007: post codes and identifiers, which are no numbers."""
        if self.kind != TEXT:
            return []
        head = next(self.chunks(1_000, raw=True))
        return [str(name) for name in head if head[name].str.fullmatch(r"0\d+").any()]

    def count_rows(self) -> int | None:
        """Rows, if that is known without reading the cells; of a text file its lines, quoted line ends included."""
        if self.kind == PARQUET:
            import pyarrow.parquet as pq

            with _explained(self.path):
                return pq.ParquetFile(self.path).metadata.num_rows
        if self.kind == TEXT and self.path.suffix.lower() not in _COMPRESSED:
            with open(self.path, "rb") as file:
                return max(sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b"")) - 1, 0)
        return None


def open_table(name: str | os.PathLike) -> TableFile:
    """The table in a file.

    Raises:
        FileNotFoundError: with the names that come close.
        ValueError: for a folder, an empty file, or an ending that names no known format.
    """
    path = Path(name).expanduser()
    if not path.exists():
        folder = path.parent
        others = [p.name for p in folder.iterdir()] if folder.is_dir() else []
        where = "" if folder.is_dir() else f" (there is no folder {folder})"
        raise FileNotFoundError(f"there is no file {path}{where}{did_you_mean(path.name, others) or '.'}")
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name a file.")
    kind = _kind_of(path)
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty; it needs a line with the column names and a line for each row.")
    return TableFile(path, kind, _separator(path) if kind == TEXT else ",")


def did_you_mean(name: str, known: list[str]) -> str:
    """ "; did you mean ...?", or nothing if no known name comes close."""
    folded = {str(k).casefold(): str(k) for k in known}
    close = [folded[k] for k in difflib.get_close_matches(name.casefold(), folded, n=2, cutoff=0.75)]
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""


def dates_in(table: pd.DataFrame) -> list:
    """Text columns in which every cell is an ISO date or time."""
    found = []
    for name in table.columns:
        column = table[name]
        if column.dtype.kind not in "OTU" and str(column.dtype) not in ("str", "string"):
            continue
        cells = column.dropna()
        if len(cells) and all(isinstance(c, str) and _DATE.fullmatch(c.strip()) for c in cells):
            found.append(name)
    return found


class TableWriter:
    """Writes a table part by part beside its place, and puts it there when all is done.

    Use as a context: leaving it by an exception, ctrl-C included, leaves no file behind and an earlier one untouched.
    """

    def __init__(self, name: str | os.PathLike):
        self.path = Path(name).expanduser()
        self.kind = _kind_of(self.path)
        if self.path.is_dir():
            raise ValueError(f"--output {self.path} is a folder; name a file, such as {self.path / 'predictions.csv'}.")
        if self.path.suffix.lower() == ".xls":
            raise ValueError(f"--output {self.path}: the old .xls format cannot be written; use .xlsx or .csv.")
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"there is no folder {self.path.parent} to write {self.path.name} into.")
        self.n_rows = 0
        self._parts: list = []
        self._writer: Any = None

    def __enter__(self) -> TableWriter:
        self._stack = contextlib.ExitStack()
        # Pandas and Arrow choose format and compression by the ending, which the partial file shares.
        self._partial = self._stack.enter_context(replacing(self.path))
        self._stack.push(self._finish)
        return self

    def write(self, part: pd.DataFrame) -> None:
        if self.kind == TEXT:
            separator = "\t" if ".tsv" in [s.lower() for s in self.path.suffixes] else ","
            # Members of one compressed file may follow each other: readers join them.
            part.to_csv(self._partial, mode="a", header=self.n_rows == 0, index=False, sep=separator)
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
        if kind is None and self.kind == EXCEL:
            import pandas as pd

            with _explained(self.path):
                pd.concat(self._parts).to_excel(self._partial, index=False)


def _kind_of(path: Path) -> str:
    endings = [s.lower() for s in path.suffixes]
    compressed = bool(endings) and endings[-1] in _COMPRESSED
    ending = endings[-2] if compressed and len(endings) > 1 else endings[-1] if endings else ""
    kind = _KINDS.get(ending)
    if kind is None or (compressed and kind != TEXT):
        raise ValueError(
            f"{path}: the ending {''.join(endings[-2:]) or '(none)'} names no known format; use .csv, .tsv (also with "
            f"{', '.join(_COMPRESSED)}), .parquet or .xlsx."
        )
    return kind


def _separator(path: Path) -> str:
    """Tab for .tsv; otherwise whichever of comma, semicolon and tab stands most often between the column names."""
    if ".tsv" in [s.lower() for s in path.suffixes]:
        return "\t"
    from pandas.io.common import get_handle  # type: ignore[import-not-found]  # the stubs leave it out

    with _explained(path), get_handle(path, "r", encoding="utf-8-sig", compression="infer") as handles:
        header = handles.handle.readline()
    counts = {s: len(next(csv.reader([header], delimiter=s), [])) for s in ",;\t"}
    return max(counts, key=counts.__getitem__)


def _parquet_chunks(path: Path, n_rows: int | None) -> Iterator[pd.DataFrame]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        if n_rows is None or file.metadata.num_rows == 0:
            yield file.read().to_pandas()
            return
        for batch in file.iter_batches(n_rows):
            # The schema carries pandas' own index and types.
            yield pa.Table.from_batches([batch], schema=file.schema_arrow).to_pandas()


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Errors of the readers, in words that name the file and the remedy."""
    import pandas as pd

    try:
        yield
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error.reason}); save it as UTF-8, or as .parquet.") from error
    except pd.errors.EmptyDataError as error:
        raise ValueError(f"{path} holds no columns; it needs a line with the column names.") from error
    except pd.errors.ParserError as error:
        raise ValueError(f"{path} cannot be read as a table: {str(error).strip()}.") from error
    except ImportError as error:
        missing = error.name or next((m for m in ("openpyxl", "xlrd") if m in str(error)), "openpyxl")
        raise ValueError(
            f"{path}: Excel files need the package {missing}, which is not installed; `pip install {missing}`, or save "
            f"the table as .csv."
        ) from error
    except Exception as error:
        # Arrow's and zip's own classes; ours and the system's speak for themselves.
        if type(error).__module__.startswith("pyarrow") or type(error).__name__ in ("BadZipFile", "BadGzipFile"):
            raise ValueError(f"{path} cannot be read: {error}. Is it damaged, or of another format?") from error
        raise
