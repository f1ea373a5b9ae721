"""`icl generate` and `icl audit`: rows, conditions and pages from files."""

import json

import numpy as np
import pandas as pd
import pytest

from icl.commands.generate import read_conditions
from icl.commands.main import main


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic")
    rng = np.random.default_rng(0)
    n = 160
    table = pd.DataFrame(
        {
            "name": [f"p{i}" for i in range(n)],
            "age": rng.integers(20, 80, n),
            "sex": rng.choice(["F", "M"], n),
            "wage": (rng.normal(3000, 500, n)).round(1),
        }
    )
    table.loc[::10, "wage"] = None
    table[:80].to_csv(folder / "real.csv", index=False)
    table[80:].to_csv(folder / "kept.csv", index=False)
    return folder


def test_rows_are_drawn_audited_and_shown(files, capsys):
    new, page = files / "new.csv", files / "page.html"
    draw = ["generate", str(files / "real.csv"), "--rows", "60", "--model", "quick", "--orders", "1"]
    assert main([*draw, "--given", "sex=F,age=30..60", "--output", str(new)]) == 0
    assert "left out name: names rows" in capsys.readouterr().out
    rows = pd.read_csv(new)
    assert len(rows) == 60 and (rows["sex"] == "F").all() and rows["age"].between(30, 60).all()
    assert rows["age"].dtype == "int64"
    arguments = ["audit", str(files / "real.csv"), str(new), "--holdout", str(files / "kept.csv"), "--output"]
    assert main([*arguments, str(page)]) == 0
    assert "Told from real rows" in capsys.readouterr().out and "<img" in page.read_text()
    assert main([*arguments, str(files / "audit.json")]) == 0
    assert json.loads((files / "audit.json").read_text())["n_holdout"] == 80
    assert main(draw) == 0 and "First 10 of 60" in capsys.readouterr().out


def test_conditions_are_read_in_the_kinds_of_columns():
    table = pd.DataFrame({"n": [1.5, 2], "s": ["a", "b"], "t": [True, False], "d": pd.to_datetime(["2020", "2021"])})
    read = read_conditions("n=1..,s=a|b,t=True,d=2020-03-01..2020-05-01", table)
    assert read == {"n": (1.0, None), "s": ["a", "b"], "t": True, "d": ("2020-03-01", "2020-05-01")}
    assert read_conditions("", table) is None and read_conditions("n=", table) == {"n": None}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--given", "height=3"], "--given takes NAME=VALUE"),
        (["--given", "age=old"], "holds numbers"),
        (["--given", "age=1,age=2"], "twice"),
        (["--given", "sex=X"], "its levels are"),
        (["--constraints", "age > 50"], "broken by"),
        (["--output", "real.csv"], "is one of the input files"),
    ],
)
def test_what_cannot_be_is_said(files, options, said, capsys, monkeypatch):
    monkeypatch.chdir(files)
    assert main(["generate", "real.csv", "--rows", "5", "--model", "quick", *options]) == 1
    assert said in capsys.readouterr().err


def test_a_page_needs_its_ending(files, capsys):
    real = str(files / "real.csv")
    assert main(["audit", real, real, "--output", str(files / "page.txt")]) == 1
    assert ".html" in capsys.readouterr().err
