"""A hundred damaged files: a table, or one sentence that names the file."""

import pytest

from benchmarks.fuzz_files import Maker, fuzz, try_file


def test_damaged_files_are_read_or_refused_by_name(tmp_path):
    pytest.importorskip("openpyxl")
    found = fuzz(100, seed=1, folder=tmp_path)
    assert found["bad"] == [] and found["slowest"] < 20
    outcomes = {outcome for _, outcome in found["outcomes"]}
    assert outcomes == {"read", "refused"}  # both happen, or nothing was tried


def test_an_error_without_the_name_counts(tmp_path, monkeypatch):
    def fail(path):
        raise KeyError("columns")

    (tmp_path / "t.csv").write_bytes(Maker(0).strange())
    monkeypatch.setattr("benchmarks.fuzz_files.read_table", fail)
    assert try_file(tmp_path / "t.csv") == "KeyError"
