"""Tables in files: CSV, TSV (also compressed), Parquet, Excel; read whole or in chunks, written whole or not at all."""

from __future__ import annotations

import contextlib
import difflib
import io
import os
import sys
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icl.atomic import replacing
from icl.tables.cells import MISSING_WORDS
from icl.tables.dialect import Dialect, look_at, open_bytes
from icl.tables.reading import Reading

if TYPE_CHECKING:
    import pandas as pd

TEXT, PARQUET, EXCEL = "text", "parquet", "excel"
_KINDS = {".csv": TEXT, ".tsv": TEXT, ".txt": TEXT, ".parquet": PARQUET, ".pq": PARQUET, ".xlsx": EXCEL, ".xls": EXCEL}
_COMPRESSED = (".gz", ".bz2", ".xz", ".zip")
_LARGEST_SHEET = 4 << 30  # bytes of unpacked XML: a million rows of twenty columns take about one gigabyte


@dataclass(frozen=True)
class TableFile:
    """A file that holds one table, or its bytes, and how it is read."""

    path: Path
    kind: str
    dialect: Dialect = field(default_factory=Dialect)
    reading: Reading = field(default_factory=Reading)
    data: bytes | None = None

    def chunks(self, n_rows: int | None, texts: Sequence[str] = (), raw: bool = False) -> Iterator[pd.DataFrame]:
        """Parts of at most `n_rows` rows in order, at least one; None for a single part.

        Args:
            texts: columns of a text file that are not to be read as numbers.
            raw: cells of a text file as the text they are, nothing read as a number or as missing.
        """
        import pandas as pd

        with explained(self.path):
            if self.kind == TEXT:
                with open_bytes(self._source) as file:
                    options = self._text_options(texts, raw)
                    if n_rows is None:
                        yield pd.read_csv(file, **options)
                    else:
                        yield from pd.read_csv(file, chunksize=n_rows, **options)
            elif self.kind == PARQUET:
                yield from _parquet_chunks(self._handle(), n_rows)
            else:
                table = self._sheet()
                step = n_rows or max(len(table), 1)
                for start in range(0, max(len(table), 1), step):
                    yield table.iloc[start : start + step]

    def count_rows(self) -> int | None:
        """Rows, if that is known without reading the cells; of a text file its lines, quoted line ends included."""
        if self.kind == PARQUET:
            import pyarrow.parquet as pq

            with explained(self.path):
                return pq.ParquetFile(self._handle()).metadata.num_rows
        if self.kind == TEXT and self.data is None and self.path.suffix.lower() not in _COMPRESSED:
            with open(self.path, "rb") as file:
                return max(sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b"")) - 1, 0)
        return None

    @property
    def _source(self) -> Path | bytes:
        return self.path if self.data is None else self.data

    def _handle(self) -> Any:
        return self.path if self.data is None else io.BytesIO(self.data)

    def _text_options(self, texts: Sequence[str], raw: bool) -> dict[str, Any]:
        dialect, na = self.dialect, self.reading.na
        options: dict[str, Any] = {"sep": dialect.separator, "encoding": dialect.encoding, "skiprows": dialect.skip}
        if raw:
            return options | {"dtype": str, "keep_default_na": False}
        if dialect.decimal == ",":
            options["dtype"] = str  # 38.361 is a whole number here
        elif texts:
            options["dtype"] = dict.fromkeys(texts, str)
        if na != "auto":
            return options | {"keep_default_na": False, "na_values": ["", *na]}
        if dialect.keep:
            import pandas as pd

            with open_bytes(self._source) as file:
                names = list(pd.read_csv(file, nrows=0, **options))
            known = {name: [""] if name in dialect.keep else ["", *MISSING_WORDS] for name in names}
            options |= {"keep_default_na": False, "na_values": known}
        return options

    def _sheet(self) -> pd.DataFrame:
        import pandas as pd

        if self.path.suffix.lower() == ".xlsx" or self.data is not None:
            with zipfile.ZipFile(self._handle()) as archive:
                unpacked = sum(part.file_size for part in archive.infolist())
            if unpacked > _LARGEST_SHEET:
                raise ValueError(f"{self.path} unpacks to {unpacked / 1e9:.1f} GB; save the table as .csv or .parquet.")
        with pd.ExcelFile(self._handle()) as book:
            name = _sheet_of(book, self.path, self.reading.sheet)
            na: dict[str, Any] = (
                {} if self.reading.na == "auto" else {"keep_default_na": False, "na_values": ["", *self.reading.na]}
            )
            # As objects, cells keep the type they have: pandas would make a number of the text 04109.
            table = pd.read_excel(book, sheet_name=name, dtype=object, **na).infer_objects()
        table.columns = [str(column) for column in table.columns]
        return table


def open_table(name: str | os.PathLike | bytes, reading: Reading = Reading()) -> TableFile:  # noqa: B008 - frozen
    """The table in a file; "-" is the standard input; bytes are those of a file.

    Raises:
        FileNotFoundError: with the names that come close.
        ValueError: for a folder, an empty file, or an ending that names no known format.
    """
    data = name if isinstance(name, bytes) else sys.stdin.buffer.read() if str(name) == "-" else None
    if data is not None:
        path, kind = Path("bytes" if isinstance(name, bytes) else "stdin"), _kind_of_bytes(data)
        is_empty = not data
    else:
        path = Path(name).expanduser()  # type: ignore[arg-type]
        _refuse_absent(path)
        kind = kind_of(path)
        is_empty = path.stat().st_size == 0
    if is_empty:
        raise ValueError(f"{path} is empty; it needs a line with the column names and a line for each row.")
    if reading.sheet and kind != EXCEL:
        raise ValueError(f"--sheet {reading.sheet}: {path} is no Excel file.")
    if kind != TEXT:
        return TableFile(path, kind, Dialect(), reading, data)
    with explained(path):
        separator = "\t" if ".tsv" in [s.lower() for s in path.suffixes] else ""
        return TableFile(path, kind, look_at(path if data is None else data, reading, separator), reading, data)


def _refuse_absent(path: Path) -> None:
    if not path.exists():
        folder = path.parent
        others = [p.name for p in folder.iterdir()] if folder.is_dir() else []
        where = "" if folder.is_dir() else f" (there is no folder {folder})"
        raise FileNotFoundError(f"there is no file {path}{where}{did_you_mean(path.name, others) or '.'}")
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name a file.")
    if not path.is_file():
        raise ValueError(f"{path} is a device or a pipe; name a file, or - for the standard input.")


def did_you_mean(name: str, known: list[str]) -> str:
    """ "; did you mean ...?", or nothing if no known name comes close."""
    folded = {str(k).casefold(): str(k) for k in known}
    close = [folded[k] for k in difflib.get_close_matches(name.casefold(), folded, n=2, cutoff=0.75)]
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""


class TableWriter:
    """Writes a table part by part beside its place, and puts it there when all is done.

    Use as a context: leaving it by an exception, ctrl-C included, leaves no file behind and an earlier one untouched.
    """

    def __init__(self, name: str | os.PathLike):
        self.path = Path(name).expanduser()
        self.kind = kind_of(self.path)
        if self.path.is_dir():
            raise ValueError(f"--output {self.path} is a folder; name a file, such as {self.path / 'predictions.csv'}.")
        if self.path.suffix.lower() == ".xls":
            raise ValueError(f"--output {self.path}: the old .xls format cannot be written; use .xlsx or .csv.")
        if self.path.suffix.lower() == ".zip":
            raise ValueError(f"--output {self.path}: zip archives are read, not written; use .csv.gz.")
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

            try:
                with pd.ExcelWriter(self._partial, engine="openpyxl") as book:
                    pd.concat(self._parts).to_excel(book, index=False)
                    for cell in (c for sheet in book.sheets.values() for row in sheet for c in row):
                        if cell.data_type == "f":  # text of a table that begins with "=" is no formula of ours
                            cell.data_type = "s"
            except ImportError as error:
                raise ValueError(
                    f"{self.path}: Excel files need the package openpyxl; `pip install openpyxl`."
                ) from error


def kind_of(path: Path) -> str:
    """Text, Parquet or Excel, by the ending of the name.

    Raises:
        ValueError: for another ending.
    """
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


def _kind_of_bytes(data: bytes) -> str:
    return PARQUET if data.startswith(b"PAR1") else EXCEL if data.startswith((b"PK", b"\xd0\xcf\x11\xe0")) else TEXT


def _sheet_of(book: Any, path: Path, wanted: str) -> str:
    names = [str(name) for name in book.sheet_names]
    if wanted:
        if wanted in names:
            return wanted
        if wanted.isdecimal() and 1 <= int(wanted) <= len(names):
            return names[int(wanted) - 1]
        raise ValueError(f"--sheet {wanted}: {path} has the sheets {', '.join(names)}{did_you_mean(wanted, names)}")
    filled = names
    if len(names) > 1:
        import pandas as pd

        filled = [name for name in names if len(pd.read_excel(book, sheet_name=name, header=None, nrows=2))]
    if len(filled) > 1:
        raise ValueError(f"{path} has {len(filled)} sheets with cells; say which with --sheet: {', '.join(filled)}.")
    return (filled or names)[0]


def _parquet_chunks(source: Any, n_rows: int | None) -> Iterator[pd.DataFrame]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(source) as file:
        names = file.schema_arrow.names
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"it has several columns called {twice[0]!r}; rename them.")
        if n_rows is None or file.metadata.num_rows == 0:
            yield _to_pandas(file.read())
            return
        for batch in file.iter_batches(n_rows):
            # The schema carries pandas' own index and types.
            yield _to_pandas(pa.Table.from_batches([batch], schema=file.schema_arrow))


def _to_pandas(table: Any) -> pd.DataFrame:
    try:
        return table.to_pandas()
    except (ValueError, TypeError, KeyError, AttributeError, IndexError):
        return table.replace_schema_metadata(None).to_pandas()  # of what another program wrote under pandas' key


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Errors of the readers, in words that name the file and the remedy."""
    import pandas as pd

    try:
        yield
    except UnicodeError as error:
        raise ValueError(f"{path} is not text of its encoding ({error}); name it with --encoding.") from error
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
    except (FileNotFoundError, PermissionError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, ValueError) and str(path) in str(error):
            raise  # ours
        # Arrow's, zip's, XML's and the decompressors' own classes, whatever they are.
        said = " ".join(str(error).split())[:300] or type(error).__name__
        raise ValueError(f"{path} cannot be read: {said}. Is it damaged, or of another format?") from error
