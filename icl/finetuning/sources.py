"""Where the tables of a domain come from: files, folders, frames, Hugging Face datasets."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icl.tables.encoder import as_pandas
from icl.tables.files import kind_of, open_table
from icl.tables.reader import read_file
from icl.tables.reading import Reading

if TYPE_CHECKING:
    import pandas as pd


def read_tables(source: Any, reading: Reading = Reading()) -> dict[str, pd.DataFrame]:  # noqa: B008 - frozen
    """Name -> table.

    Args:
        source: a folder of CSV, TSV, Parquet or Excel files, or one such file; a folder of a Hugging Face dataset
            (`save_to_disk`), `hf://owner/name`, a Dataset or DatasetDict; a DataFrame; a mapping of names to any of
            these, or a sequence.
        reading: how files are read.
    Raises:
        ValueError, OSError: for what cannot be read, naming the file.
    """
    if _is_path(source):
        return _from_path(str(source), reading)
    if isinstance(source, Mapping):
        return _several(source.items(), reading)
    if _is_table(source):
        return {"table": _as_frame(source, "table")}
    if isinstance(source, Iterable):
        found = _several(((None if _is_path(item) else f"table {k}", item) for k, item in enumerate(source)), reading)
        if found:
            return found
    raise ValueError(
        f"tables= got {type(source).__name__}{' without a table' if isinstance(source, Iterable) else ''}; pass a "
        f"folder, a file, a DataFrame, a dict of DataFrames, or a Hugging Face dataset."
    )


def _is_path(source: Any) -> bool:
    return isinstance(source, str | os.PathLike)


def _is_table(source: Any) -> bool:
    return hasattr(source, "to_pandas") or type(source).__name__ == "DataFrame"


def _several(items: Iterable[tuple[Any, Any]], reading: Reading) -> dict[str, pd.DataFrame]:
    """Tables, and whatever holds several (a path, a DatasetDict), under one roof; without a name files keep theirs."""
    found: dict[str, pd.DataFrame] = {}
    for name, item in items:
        if _is_path(item):
            part = _from_path(str(item), reading)
            if name is not None:
                part = {str(name) if len(part) == 1 else f"{name}/{inner}": table for inner, table in part.items()}
        elif isinstance(item, Mapping):  # the splits of a DatasetDict
            part = {f"{name}/{split}": _as_frame(table, f"{name}/{split}") for split, table in item.items()}
        else:
            part = {str(name): _as_frame(item, str(name))}
        for inner, table in part.items():
            if inner in found:
                raise ValueError(f"two tables are called {inner}; pass a dict with a name for each.")
            found[inner] = table
    return found


def _as_frame(table: Any, name: str) -> pd.DataFrame:
    import pandas as pd

    table = as_pandas(table)
    if not isinstance(table, pd.DataFrame):
        raise ValueError(f"{name} is a {type(table).__name__}; pass a DataFrame or a Hugging Face dataset.")
    return table


def _from_path(text: str, reading: Reading) -> dict[str, pd.DataFrame]:
    if text.startswith("hf://"):
        import datasets

        try:
            data = datasets.load_dataset(text.removeprefix("hf://").removeprefix("datasets/"))
        except OSError as error:
            raise OSError(
                f"cannot load {text}: {error}. Check the name (hf://owner/name); without a network pass the folder of "
                f"save_to_disk, or files."
            ) from error
        return _of_datasets(data, text)
    path = Path(text).expanduser()
    if not path.is_dir():
        return {path.name: _read(path, reading)}
    if (path / "dataset_info.json").is_file() or (path / "dataset_dict.json").is_file():
        import datasets

        return _of_datasets(datasets.load_from_disk(str(path)), path.name)
    files = [p for p in sorted(path.iterdir()) if p.is_file() and _is_readable(p)]
    if not files:
        raise FileNotFoundError(f"folder {path} holds no .csv, .tsv, .parquet or .xlsx file; name a folder of tables.")
    return {p.name: _read(p, reading) for p in files}


def _is_readable(path: Path) -> bool:
    try:
        kind_of(path)
    except ValueError:
        return False
    return not path.name.startswith(".")


def _read(path: Path, reading: Reading) -> pd.DataFrame:
    return read_file(open_table(path, reading)).frame


def _of_datasets(data: Any, name: str) -> dict[str, pd.DataFrame]:
    """Each split of a DatasetDict is a table."""
    if isinstance(data, Mapping):
        return _several([(name, data)], Reading())
    return {name: _as_frame(data, name)}
