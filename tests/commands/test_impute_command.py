"""`icl impute`: gaps of a file filled, told, pooled and written."""

from functools import partial

import numpy as np
import pandas as pd
import pytest

import icl
from icl.commands.main import main


@pytest.fixture
def file(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=60)
    table = pd.DataFrame({"x": x.round(3), "y": (x + rng.normal(size=60)).round(3), "sex": rng.choice(["F", "M"], 60)})
    table.loc[::4, "x"] = np.nan
    table.loc[::7, "sex"] = None
    table.to_csv(tmp_path / "t.csv", index=False)
    return tmp_path / "t.csv"


def test_gaps_are_filled_pooled_and_written(file, capsys):
    out = file.parent / "out.parquet"
    options = ["--m", "3", "--rounds", "2", "--checkpoint", "nano", "--estimand", "ols: y ~ x", "--output", str(out)]
    assert main(["impute", str(file), *options]) == 0
    said = capsys.readouterr().out
    assert "chains" not in said  # two rounds tell nothing
    assert "x" in said and "network" in said and "completed tables" in said and "missing" in said
    written = pd.read_parquet(out)
    assert written.shape == (180, 4) and not written.isna().any(axis=None)
    direct = icl.impute(icl.read_table(file), m=3, rounds=2, checkpoint="nano")
    first = written[written["imputation"] == 0].drop(columns="imputation").reset_index(drop=True)
    pd.testing.assert_frame_equal(first, direct[0].reset_index(drop=True), check_dtype=False)


def test_whether_chains_agree_is_told(file, capsys):
    assert main(["impute", str(file), "--m", "2", "--rounds", "4", "--budget", "1", "--checkpoint", "nano"]) == 0
    said = capsys.readouterr().out
    assert any(words in said for words in ("chains agree (R-hat", "too few rounds to tell", "chains disagree on"))


def test_known_cells_are_written_as_they_were(tmp_path):
    """Whole numbers beyond 2**53 beside gaps, and nanoseconds: of those, floats and microseconds lose digits."""
    known = [f"{10**17 + 3 * i + 1},2024-01-01 10:00:00.{i * 7 + 1:09d}" for i in range(30)]
    lines = ["x,code,when", *(f"{i % 7},{cells if i % 5 else ','}" for i, cells in enumerate(known))]
    path, out = tmp_path / "t.csv", tmp_path / "out.csv"
    path.write_text("\n".join(lines) + "\n")
    options = ["--m", "2", "--rounds", "1", "--budget", "1", "--output", str(out)]
    assert main(["impute", str(path), *options]) == 0
    written = out.read_text().split("\n")[1:31]
    assert all(f"0,{line}" in written for i, line in enumerate(lines[1:]) if i % 5)
    assert not any(",," in line or line.endswith(",") for line in written)


def test_what_is_wrong_is_said(file, capsys):
    for options, words in (
        (["--shift", "x"], "--shift takes column=number"),
        (["--shift", "y=1"], "of which no cell is imputed"),
        (["--keep", "z"], "keep names"),
        (["--output", str(file)], "is one of the input files"),
    ):
        assert main(["impute", str(file), "--m", "2", *options]) == 1
        assert words in capsys.readouterr().err


@pytest.mark.parametrize("command", ["impute", "generate"])
def test_an_ending_without_a_format_is_told_before_any_work(command, file, capsys, monkeypatch):
    monkeypatch.setattr("icl.tables.reader.read_file", lambda *a: pytest.fail("work had begun"))
    assert main([command, str(file), "--output", str(file.parent / "filled")]) == 1
    assert "the ending (none) names no known format" in capsys.readouterr().err


def test_estimate_uses_rows_with_gaps(file, capsys):
    pd.read_csv(file)[["x", "y"]].to_csv(file, index=False)  # one column with gaps, which is enough
    ask = ["estimate", str(file), "--estimand", "ols: y ~ x", "--predictor", "none"]
    assert (
        main(ask) == 1
        and "pass --missing impute, which fills them many times, or --missing patterns" in capsys.readouterr().err
    )
    assert main([*ask, "--missing", "patterns"]) == 0
    assert "without x" in capsys.readouterr().out
    assert main([*ask, "--missing", "impute", "--checkpoint", "nano"]) == 0
    said = capsys.readouterr().out
    assert "20 completed tables" in said and "gaps: about" in said and "gaps: chains agree" not in said  # one round
    assert main([*ask, "--missing", "impute", "--unlabeled", str(file)]) == 1
    assert "takes one table" in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["csv", "tsv", "xlsx", "parquet"])
def test_text_of_the_file_stays_as_it_is(tmp_path, ending):
    marks = ["+", "-", "=1+1", "@a", "-b", "'c"]
    table = pd.DataFrame({"x": np.arange(60.0), "=name": marks * 10, "whole": np.arange(60) % 7})
    table.loc[::7, "=name"] = None
    table.loc[::5, "x"] = np.nan
    table.to_csv(tmp_path / "t.csv", index=False)
    out = tmp_path / f"out.{ending}"
    assert main(["impute", str(tmp_path / "t.csv"), "--m", "2", "--budget", "1", "--output", str(out)]) == 0
    read = {"csv": pd.read_csv, "tsv": partial(pd.read_csv, sep="\t"), "xlsx": pd.read_excel}
    written = read.get(ending, pd.read_parquet)(out)
    seen = table["=name"].notna().to_numpy()
    for number in range(2):
        cells = written.loc[written["imputation"] == number, "=name"].to_numpy()
        assert (cells[seen] == table["=name"].to_numpy()[seen]).all() and set(cells) <= set(marks)
