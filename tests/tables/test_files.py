"""The ugly files of tests/files: each is read as its sidecar says, or stopped with a sentence that names what to do."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest

from icl.tables.files import open_table
from icl.tables.reader import read_file
from icl.tables.reading import Reading

FOLDER = Path(__file__).parents[1] / "files"
FILES = sorted(path.with_suffix("").name for path in FOLDER.glob("*.json"))


def plain(cell):
    if cell is None or cell is pd.NaT or (isinstance(cell, float) and math.isnan(cell)):
        return None
    if isinstance(cell, pd.Timestamp):
        return cell.isoformat().removesuffix("T00:00:00")
    return cell


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_read_as_meant_or_stopped(name):
    if ".xlsx" in name:
        pytest.importorskip("openpyxl")
    meant = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    reading = Reading(**meant.get("options", {}))
    if "stops" in meant:
        with pytest.raises(ValueError, match=meant["stops"].replace(".", r"\.")) as stopped:
            read_file(open_table(FOLDER / name, reading))
        assert name in str(stopped.value)
        return
    read = read_file(open_table(FOLDER / name, reading))
    found = {column: [plain(cell) for cell in read.frame[column].tolist()] for column in read.frame}
    assert found == meant["table"]
    taken = {column.name: column.kind for column in read.columns}
    assert {column: taken[column] for column in meant.get("taken_for", {})} == meant.get("taken_for", {})
    for words in meant.get("notes", []):
        assert words in " ".join(read.notes)


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith((".csv", ".txt", ".dat"))])
def test_a_file_in_parts_is_the_file(name):
    meant = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    if "stops" in meant:
        return
    reading = Reading(**meant.get("options", {}))
    whole = read_file(open_table(FOLDER / name, reading))
    n_rows = max(3, len(whole.frame) // 4)
    parts = list(whole.chunks_of(open_table(FOLDER / name, reading), n_rows, ()))
    assert all(len(part) <= n_rows for part in parts)
    for column in whole.frame:
        found = [plain(cell) for part in parts for cell in part[column].tolist()]
        assert found == [plain(cell) for cell in whole.frame[column].tolist()], column


def test_there_are_enough_files():
    assert len(FILES) >= 100
