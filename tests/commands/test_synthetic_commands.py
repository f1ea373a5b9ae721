"""`icl generate` and `icl audit`: rows, conditions and pages from files."""

import io
import json
import shlex

import numpy as np
import pandas as pd
import pytest

from icl.commands.generate import read_conditions
from icl.commands.main import main
from icl.joint.audit import likeness
from icl.tables.dates import Dates
from icl.tables.numbers import Numbers


@pytest.fixture(autouse=True)
def small_trees(monkeypatch):
    """What a command says and writes does not depend on how well rows are told apart."""
    monkeypatch.setattr(likeness, "ROUNDS", 10)


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
    large = pd.DataFrame({"id": [2**60 + 1, 2**60 + 3]})
    for formats in (None, {"id": Numbers()}):
        assert read_conditions(f"id={2**60 + 3}", large, formats) == {"id": 2**60 + 3}  # to the last digit
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


N = 60
DAYS = pd.date_range("2020-01-13", periods=N)
AMOUNTS = 1000 + 37.25 * np.arange(N)
NOTATIONS = {  # separator, options of reading, a day and an amount as the file writes them
    "german": (";", [], "%d.%m.%Y", lambda v: f"{v:_.2f}".replace(".", ",").replace("_", ".")),
    "american": (",", [], "%m/%d/%Y", lambda v: f"{v:.2f}"),
    "british, said": (";", ["--dates", "dmy"], "%d/%m/%Y", lambda v: f"{v:.1f} %"),
    "words": (";", [], "%d %B %Y", lambda v: f"{v:.2f} EUR".replace(".", ",")),
    "iso": (",", [], "%Y-%m-%d", lambda v: f"{v:.2f}"),
}


@pytest.fixture(params=NOTATIONS)
def written(request, tmp_path):
    separator, options, day, amount = NOTATIONS[request.param]
    table = pd.DataFrame(
        {"when": DAYS.strftime(day), "paid": map(amount, AMOUNTS), "kind": ["=1+1", "+", "-", "@a"] * 15}
    )
    table.to_csv(tmp_path / "my file.csv", index=False, sep=separator)
    return tmp_path / "my file.csv", options, day, amount


def test_conditions_are_written_as_the_file_is_or_plainly(written, capsys):
    file, options, day, amount = written
    draw = ["generate", str(file), "--rows", "4", "--model", "quick", "--orders", "1", "--output", "-", *options]
    plain = ("2020-02-01", "2020-02-05", "1372.5")
    theirs = (*(f"{d:{day}}" for d in DAYS[19:24:4]), amount(1372.5) if "," not in amount(1372.5) else "1372.5")
    for first, last, said in (theirs, plain):
        assert main([*draw, "--given", f"when={first}..{last}"]) == 0
        rows = pd.read_csv(io.StringIO(capsys.readouterr().out))
        assert rows["when"].between("2020-02-01", "2020-02-05").all()
        assert main([*draw, "--given", f"when={first},paid={said}"]) == 0
        rows = pd.read_csv(io.StringIO(capsys.readouterr().out))
        assert set(rows["when"]) == {"2020-02-01"} and set(rows["paid"]) == {1372.5}


def test_the_command_that_is_advised_works(written, capsys):
    file, options, *_ = written
    out = file.parent / "new.csv"
    assert main(["generate", str(file), "--model", "quick", "--orders", "1", "--output", str(out), *options]) == 0
    advised = shlex.split(capsys.readouterr().out.splitlines()[-1].partition("icl audit ")[2])
    assert main(["audit", *advised]) == 0
    assert "Told from real rows" in capsys.readouterr().out
    assert set(pd.read_csv(out)["kind"]) <= {"=1+1", "+", "-", "@a"}


@pytest.mark.parametrize("options", [["--encoding", "cp1252"], ["--sheet", "rows"]])
def test_it_works_with_what_was_said_of_the_real_file(tmp_path, capsys, options):
    real, out = tmp_path / ("real.xlsx" if "--sheet" in options else "real.csv"), tmp_path / "new.csv"
    table = pd.DataFrame({"town": ["Köln", "Århus", "Genf"] * 20, "x": np.sin(np.arange(60.0)).round(2)})
    if "--sheet" in options:
        with pd.ExcelWriter(real) as book:
            for name in ("notes", "rows"):
                table.to_excel(book, sheet_name=name, index=False)
    else:
        table.to_csv(real, index=False, encoding="cp1252")
    assert main(["generate", str(real), "--model", "quick", "--orders", "1", "--output", str(out), *options]) == 0
    advised = shlex.split(capsys.readouterr().out.splitlines()[-1].partition("icl audit ")[2])
    assert advised[2:] == options
    assert main(["audit", *advised, "--output", str(tmp_path / "audit.json")]) == 0
    assert set(pd.read_csv(out)["town"]) == {"Köln", "Århus", "Genf"}
    columns = pd.DataFrame(json.loads((tmp_path / "audit.json").read_text())["columns"])
    assert (columns["strange"] == 0).all()


def test_what_may_be_two_values_is_refused():
    table = pd.DataFrame({"wage": [1000.5, 2000], "day": pd.to_datetime(["2020-01-13", "2020-02-14"])})
    with pytest.raises(ValueError, match="may be 1\\.5 or 1500"):
        read_conditions("wage=1.500", table, {"wage": Numbers(decimal=",")})
    assert read_conditions("wage=1500.5", table, {"wage": Numbers(decimal=",")}) == {"wage": 1500.5}
    days = read_conditions("day=1/2/2020", table, {"day": Dates("dmy", r"xxy\.")})
    assert days == {"day": pd.Timestamp("2020-02-01")}


def test_a_file_that_is_neither_as_the_real_one_nor_plain_is_refused(tmp_path, capsys):
    real, new = tmp_path / "real.csv", tmp_path / "new.csv"
    pd.DataFrame({"when": DAYS.strftime("%d.%m.%Y"), "x": range(N)}).to_csv(real, index=False)
    pd.DataFrame({"when": ["2020-01-13", "13.01.2020"] * 30, "x": range(N)}).to_csv(new, index=False)
    assert main(["audit", str(real), str(new)]) == 1
    assert "holds '2020-01-13' (30 such cells), where" in capsys.readouterr().err
