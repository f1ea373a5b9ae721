"""Tables in files: text (also packed), Parquet, Feather, Excel; read whole or in parts, as they stand."""

from __future__ import annotations

import contextlib
import difflib
import os
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icl.tables.layout import Layout, layout_of_text, with_layout_of_rows
from icl.tables.parse import rows_of_table, text_tables
from icl.tables.reading import Reading
from icl.tables.source import EXCEL, FEATHER, HEAD, PARQUET, TEXT, Source, encoding_of, look_at

if TYPE_CHECKING:
    import pandas as pd

_KINDS = {
    **dict.fromkeys((".csv", ".tsv", ".txt", ".tab", ".psv", ".dat", ".data"), TEXT),
    **dict.fromkeys((".parquet", ".pq"), PARQUET),
    **dict.fromkeys((".feather", ".arrow"), FEATHER), **dict.fromkeys((".xlsx", ".xls", ".xlsm"), EXCEL),
}  # fmt: skip
_COMPRESSED = (".gz", ".bz2", ".xz", ".zip", ".zst")
_LARGEST_SHEET = 4 << 30  # bytes of unpacked XML: a million rows of twenty columns take about one gigabyte


@dataclass(frozen=True)
class TableFile:
    """A file that holds one table, or its bytes, and how its cells are set."""

    path: Path
    kind: str
    source: Source
    reading: Reading = field(default_factory=Reading)
    encoding: str = "utf-8"
    layout: Layout = field(default_factory=Layout)
    said: list[str] = field(default_factory=list)
    """What was left out of the rows so far."""

    def chunks(self, n_rows: int | None) -> Iterator[pd.DataFrame]:
        """Parts of about `n_rows` rows in order, at least one; None for a single part.

        Cells of text files are text as it stands, empty where they are; other files have types.
        """
        import pandas as pd

        with explained(self.path):
            if self.kind == TEXT:
                parts = rows_of_table(self._text_parts(n_rows))
            elif self.kind == EXCEL:
                parts = rows_of_table(iter([self._sheet()]))
            else:
                parts = ((part, []) for part in _arrow_chunks(self.source.handle(), self.kind, n_rows))
            whole = []
            for part, said in parts:
                self.said.extend(sentence for sentence in said if sentence not in self.said)
                if n_rows is None:
                    whole.append(part)
                else:
                    yield from (part.iloc[k : k + n_rows] for k in range(0, max(len(part), 1), n_rows))
            if n_rows is None:
                yield whole[0] if len(whole) == 1 else pd.concat(whole, ignore_index=True)

    def how(self) -> str:
        """How it is read, for a person."""
        if self.kind != TEXT:
            return {PARQUET: "Parquet", FEATHER: "Feather", EXCEL: "Excel"}[self.kind]
        marks = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "blanks"}
        packed = f", packed by {self.source.packer}" if self.source.packer else ""
        between = marks.get(self.layout.separator, repr(self.layout.separator))
        return f"text in {self.encoding}, {between} between cells{packed}"

    def count_rows(self) -> int | None:
        """Rows, if that is known without reading the cells; of a text file its lines, quoted line ends included."""
        if self.kind == PARQUET:
            import pyarrow.parquet as pq

            with explained(self.path):
                return pq.ParquetFile(self.source.handle()).metadata.num_rows
        if self.kind == TEXT and self.source.data is None and not self.source.packer:
            with open(self.path, "rb") as file:
                lines = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
            return max(lines - self.layout.skip, 0)
        return None

    def _text_parts(self, n_rows: int | None) -> Iterator[pd.DataFrame]:
        import pyarrow as pa

        kept: list[pa.Table] = []
        n_kept, is_first = 0, True
        for part in text_tables(self.source.open, self.encoding, self.layout):
            kept.append(part)
            n_kept += part.num_rows
            if n_rows is None or n_kept < n_rows:
                continue
            table = pa.concat_tables(kept)
            whole = n_kept - n_kept % n_rows
            for start in range(0, whole, n_rows):
                yield table.slice(start, n_rows).to_pandas()
                is_first = False
            kept, n_kept = [table.slice(whole)], n_kept - whole
        if n_kept or is_first:
            yield pa.concat_tables(kept).to_pandas()

    def _sheet(self) -> pd.DataFrame:
        import pandas as pd

        handle = self.source.handle()
        if zipfile.is_zipfile(handle):
            with zipfile.ZipFile(self.source.handle()) as archive:
                unpacked = sum(part.file_size for part in archive.infolist())
            if unpacked > _LARGEST_SHEET:
                raise ValueError(f"{self.path} unpacks to {unpacked / 1e9:.1f} GB; save the table as .csv or .parquet.")
        with pd.ExcelFile(self.source.handle()) as book:
            name = _sheet_of(book, self.path, self.reading.sheet)
            # As objects, cells keep the type they have: pandas would make a number of the text 04109.
            cells = pd.read_excel(
                book, sheet_name=name, header=None, dtype=object, keep_default_na=False, na_values=[""]
            )
        cells = cells.dropna(how="all").dropna(how="all", axis=1)
        if not len(cells):
            raise ValueError(f"{self.path}: the sheet {name} is empty; it needs a row with the column names.")
        head = [
            ["" if cell is None or cell != cell else str(cell) for cell in row] for row in cells.head(200).to_numpy()
        ]
        start, layout = with_layout_of_rows(head)
        self.said.extend(layout.notes)
        table = cells.iloc[start:].reset_index(drop=True).set_axis(list(layout.names), axis=1)
        return table.infer_objects()


def open_table(name: str | os.PathLike | bytes, reading: Reading = Reading()) -> TableFile:  # noqa: B008 - frozen
    """The table in a file; "-" is the standard input; bytes are those of a file.

    Raises:
        FileNotFoundError: with the names that come close.
        ValueError: for a folder, an empty file, or what is no table.
    """
    data = name if isinstance(name, bytes) else sys.stdin.buffer.read() if str(name) == "-" else None
    if data is not None:
        path = Path("the file" if isinstance(name, bytes) else "stdin")
        is_empty = not data
    else:
        path = Path(name).expanduser()  # type: ignore[arg-type]
        _refuse_absent(path)
        kind_of(path)
        is_empty = path.stat().st_size == 0
    if is_empty:
        raise ValueError(f"{path} is empty; it needs a line with the column names and a line for each row.")
    with explained(path):
        source, kind = look_at(path, data, reading.sheet)
        if reading.sheet and kind != EXCEL and not source.member:
            raise ValueError(f"--sheet {reading.sheet}: {path} is no Excel file.")
        if kind != TEXT:
            return TableFile(path, kind, source, reading)
        source.refuse_bomb()
        encoding = encoding_of(source, reading.encoding)
        with source.open() as file:
            head = file.read(HEAD)
        text = head.decode(encoding, errors="replace").lstrip("\ufeff")
        if len(head) == HEAD and "\n" in text:
            text = text[: text.rindex("\n") + 1]
        return TableFile(path, kind, source, reading, encoding, layout_of_text(text, separator_of(path)))


def separator_of(path: Path) -> str:
    """The mark between cells that the ending of a name tells."""
    return "\t" if {".tsv", ".tab"} & {ending.lower() for ending in path.suffixes} else ""


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


def kind_of(path: Path) -> str:
    """Text, Parquet, Feather or Excel, by the ending of the name.

    Raises:
        ValueError: for another ending.
    """
    endings = [s.lower() for s in path.suffixes]
    compressed = bool(endings) and endings[-1] in _COMPRESSED
    ending = endings[-2] if compressed and len(endings) > 1 else endings[-1] if endings else ""
    kind = _KINDS.get(ending, TEXT if compressed and len(endings) == 1 else None)
    if kind is None or (compressed and kind != TEXT):
        raise ValueError(
            f"{path}: the ending {''.join(endings[-2:]) or '(none)'} names no known format; use .csv, .tsv (also with "
            f"{', '.join(_COMPRESSED)}), .parquet, .feather or .xlsx."
        )
    return kind


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

        filled = [
            name for name in names if len(pd.read_excel(book, sheet_name=name, header=None, nrows=2).dropna(how="all"))
        ]
    if len(filled) > 1:
        raise ValueError(f"{path} has {len(filled)} sheets with cells; say which with --sheet: {', '.join(filled)}.")
    return (filled or names)[0]


def _arrow_chunks(source: Any, kind: str, n_rows: int | None) -> Iterator[pd.DataFrame]:
    import pyarrow as pa
    import pyarrow.feather as feather
    import pyarrow.parquet as pq

    with contextlib.ExitStack() as stack:
        file = stack.enter_context(pq.ParquetFile(source)) if kind == PARQUET else None
        table = None if file else feather.read_table(source)
        schema = file.schema_arrow if file else table.schema  # type: ignore[union-attr]
        twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
        if twice:
            raise ValueError(f"it has several columns called {twice[0]!r}; rename them.")
        n_all = file.metadata.num_rows if file else table.num_rows  # type: ignore[union-attr]
        if n_rows is None or n_all == 0:
            yield _to_pandas(file.read() if file else table)
            return
        for batch in file.iter_batches(n_rows) if file else table.to_batches(n_rows):  # type: ignore[union-attr]
            # The schema carries pandas' own index and types.
            yield _to_pandas(pa.Table.from_batches([batch], schema=schema))


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
        said = " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
        raise ValueError(f"{path} cannot be read: {said.rstrip('.')}. Is it damaged, or of another format?") from error
