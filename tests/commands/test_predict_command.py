"""`icl predict`: what it writes is what the estimators say, and what it refuses it explains."""

import gzip
import re

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.utils.multiclass import type_of_target

from icl import ICLClassifier, ICLRegressor
from icl.commands.main import main
from icl.prediction.timing import Pace
from icl.tables.target import choose_task


def make_table(n_rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"a": rng.normal(size=n_rows), "kind": rng.choice(["red", "green"], n_rows)})
    table["day"] = pd.date_range("2024-01-01", periods=n_rows).strftime("%Y-%m-%d")
    table["code"] = [f"{seed}{i:03d}" for i in range(n_rows)]
    table["amount"] = (3 * table["a"] + rng.normal(size=n_rows)).round(3)
    table["grade"] = np.where(table["a"] > 0, "good", "poor")
    return table


@pytest.fixture(scope="module")
def train():
    return make_table(40, seed=0)


@pytest.fixture(scope="module")
def test():
    return make_table(23, seed=1)


@pytest.fixture
def files(tmp_path, train, test, monkeypatch):
    """train.csv and test.csv in the working directory; the codes have leading zeros only in the train file's."""
    monkeypatch.chdir(tmp_path)
    train.to_csv("train.csv", index=False)
    test.to_csv("test.csv", index=False)
    return tmp_path


@pytest.fixture
def predict(files, tiny_release, capsys):
    """predict(*args): exit code, what was printed, what went to stderr; no baseline unless asked for."""

    def run(*args: str, train="train.csv", test="test.csv"):
        quiet = [] if "--check" in args else ["--no_check"]
        code = main(
            ["predict", train, test, "--checkpoint", str(tiny_release), "--members", "1", *quiet]
            + [arg for arg in args if arg != "--check"]
        )
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


FEATURES = ["a", "kind", "day", "grade"]


def as_read(table: pd.DataFrame, columns=FEATURES) -> pd.DataFrame:
    return table[columns].assign(day=pd.to_datetime(table["day"], utc=True))


def test_companions_are_named_with_commas_and_shown(predict):
    code, shown, err = predict("--target", "amount", "--companions", "kernel,trees")
    assert (code, err) == (0, "") and "companions" in shown and "kernel, trees" in shown
    code, shown, err = predict("--target", "amount", "--companions", "none")
    assert code == 0 and "none: the network alone" in shown
    code, shown, err = predict("--target", "amount", "--companions", "forest")
    assert code != 0 and "--companions must be" in err and "forest" in err


def test_a_time_budget_leaves_out_what_it_names(predict, monkeypatch):
    monkeypatch.setattr("icl.estimators.timed.pace_here", lambda model: Pace(1e-7, 1.0, 1))
    code, shown, err = predict("--target", "amount", "--members", "4", "--time_budget", "1.5", "--check")
    assert (code, err) == (0, "")
    assert "--time_budget 1.5" in shown and re.search(r"\d of 4 members", shown)
    assert "baseline" not in shown
    code, shown, err = predict("--target", "amount", "--members", "1", "--time_budget", "1000")
    assert code == 0 and "left out" not in shown
    for budget in ("0", "inf", "1e300", "nan"):
        code, shown, err = predict("--target", "amount", "--time_budget", budget)
        assert code != 0 and f"--time_budget takes a number above 0 and below 1e12; got {budget}" in err


def test_writes_what_the_regressor_says(predict, tiny_release, train, test):
    code, shown, err = predict("--target", "amount", "--quantiles", "0.1,0.5", "--interval", "0.8", "--output", "o.csv")
    assert (code, err) == (0, "")
    out = pd.read_csv("o.csv", dtype={"code": str})
    model = ICLRegressor(tiny_release, n_estimators=1).fit(as_read(train), train["amount"])
    assert_allclose(out["prediction"], model.predict(as_read(test)), rtol=1e-5)
    assert_allclose(out[["q0.1", "q0.5"]], model.predict_quantiles(as_read(test), [0.1, 0.5]), rtol=1e-5)
    assert_allclose(out[["lower_80", "upper_80"]], model.predict_interval(as_read(test), 0.8), rtol=1e-5)
    assert list(out.columns[:6]) == list(test.columns) and out["code"].tolist() == test["code"].tolist()
    assert "40 labelled rows" in shown and "code (names rows)" in shown and "1 date" in shown
    error = out["prediction"] - test["amount"]
    r2 = 1 - np.sum(error**2) / np.sum((test["amount"] - test["amount"].mean()) ** 2)
    words = " ".join(shown.split())
    assert f"R2 {r2:.3f}" in words and "the 23 rows" in words
    inside = ((out["lower_80"] <= test["amount"]) & (test["amount"] <= out["upper_80"])).mean()
    assert f"inside the 80% interval {inside:.1%}" in words


def test_writes_what_the_classifier_says(predict, tiny_release, train, test):
    code, shown, _ = predict("--target", "grade", "--proba", "--interval", "0.8", "--output", "o.parquet")
    assert code == 0
    out = pd.read_parquet("o.parquet")
    columns = ["a", "kind", "day", "amount"]
    model = ICLClassifier(tiny_release, n_estimators=1).fit(as_read(train, columns), train["grade"])
    probs = model.predict_proba(as_read(test, columns))
    assert_allclose(out[["p_good", "p_poor"]], probs, rtol=1e-5)
    assert_array_equal(out["prediction"], model.classes_[probs.argmax(axis=1)])
    sets = model.predict_set(as_read(test, columns), 0.8)
    assert [set(s.split("|")) for s in out["set_80"]] == [set(model.classes_[row]) for row in sets]
    words = " ".join(shown.split())
    assert "classification of grade (2 different labels)" in words
    assert f"accuracy {np.mean(out['prediction'] == test['grade']):.3f}" in words


def german(table: pd.DataFrame) -> str:
    shown = table.assign(
        amount=[f"{v * 1e4:,.2f} EUR".translate(str.maketrans(",.", ".,")) for v in table["amount"]],
        day=pd.to_datetime(table["day"]).dt.strftime("%d.%m.%Y"),
    )
    return "\ufeff" + shown.to_csv(index=False, sep=";", decimal=",")


def american(table: pd.DataFrame) -> str:
    shown = table.assign(
        amount=[f"${v * 1e4:,.2f}" if v >= 0 else f"(${-v * 1e4:,.2f})" for v in table["amount"]],
        day=pd.to_datetime(table["day"]).dt.strftime("%m/%d/%Y %I:%M %p"),
    )
    shown["a"] = shown["a"].astype(object).where(shown.index != 3, "?")
    return shown.to_csv(index=False)


@pytest.mark.parametrize("write", [german, american])
def test_notation_changes_no_prediction(write, predict, train, test):
    """What a person would have cleaned by hand, and what came of it uncleaned, are one table."""
    for name, table in (("train", train), ("test", test)):
        clean = table.assign(amount=(table["amount"] * 1e4).round(2))
        if write is american:
            clean["a"] = clean["a"].where(clean.index != 3)
        clean.to_csv(f"{name}.csv", index=False)
        with open(f"{name}_as_it_came.csv", "w", encoding="utf-8") as file:
            file.write(write(table))
    assert predict("--target", "amount", "--output", "clean.csv")[0] == 0
    code, shown, err = predict(
        "--target", "amount", "--output", "o.csv", train="train_as_it_came.csv", test="test_as_it_came.csv"
    )
    assert (code, err) == (0, "") and "day read as dates" in shown and "code (names rows)" in shown
    clean = pd.read_csv("clean.csv")["prediction"]
    assert_allclose(pd.read_csv("o.csv")["prediction"], clean, rtol=1e-5, atol=1e-4 * clean.abs().max())


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (lambda n: [f"2024-01-{i % 28 + 1:02d}" for i in range(n)], "holds dates"),
        (lambda n: [f"word{i}" for i in range(n)], "different texts in 40 rows"),
        (lambda n: [f"number {i} of a long story that goes on" for i in range(n)], "holds free text"),
        (lambda n: [f"{i}.5" for i in range(n - 1)] + ["many"], "but also 'many' (1 such cells)"),
        (lambda n: [7] * n, "holds 7 in all 40 labelled rows"),
    ],
)
def test_targets_that_nothing_can_predict_are_explained(cells, said, predict, train):
    train.assign(amount=cells(len(train))).to_csv("train.csv", index=False)
    code, _, err = predict("--target", "amount")
    assert code == 1 and said in err


def test_labels_called_na_are_asked_about(predict, train):
    train.assign(grade=np.where(train["a"] > 0, "NA", np.where(train["a"] > -1, "EU", "AS"))).to_csv(
        "train.csv", index=False
    )
    _, shown, _ = predict("--target", "grade", "--output", "o.csv")
    assert "if they are labels, say --na none" in " ".join(shown.split())
    _, shown, _ = predict("--target", "grade", "--output", "o.csv", "--na", "none")
    assert "3 different labels" in shown and "--na none" not in shown


def test_cells_pass_through_as_they_are(predict, test):
    odd = test.astype(object)
    odd["a"] = ["1.10", "007.5", "NA", "", '"x,y"'.strip('"')] + ["2"] * 18
    odd.drop(columns=["a"]).assign(text=odd["a"]).assign(a=test["a"]).to_csv("test.csv", index=False)
    assert predict("--target", "amount", "--output", "o.csv")[0] == 0
    assert pd.read_csv("o.csv", dtype=str, keep_default_na=False)["text"].tolist() == odd["a"].tolist()


def test_chunks_change_nothing(predict, monkeypatch):
    predict("--target", "amount", "--output", "whole.csv")
    monkeypatch.setattr("icl.commands.predict.run.CHUNK_ROWS", 7)
    predict("--target", "amount", "--output", "parts.csv")
    predict("--target", "amount", "--output", "parts.tsv.gz")
    whole, parts = pd.read_csv("whole.csv"), pd.read_csv("parts.csv")
    assert len(parts) == 23
    assert_allclose(parts["prediction"], whole["prediction"], rtol=1e-5)
    with gzip.open("parts.tsv.gz", "rt") as file:
        assert_allclose(pd.read_csv(file, sep="\t")["prediction"], whole["prediction"], rtol=1e-5)


@pytest.mark.parametrize("ending", [".parquet", ".tsv", ".csv.gz", ".xlsx", ".txt"])
def test_every_format_is_read_and_written(ending, predict, train, test, files):
    if ending == ".xlsx":
        pytest.importorskip("openpyxl")
    for name, table in (("train", train), ("test", test)):
        path = f"{name}{ending}"
        if ending == ".parquet":
            table.to_parquet(path)
        elif ending == ".xlsx":
            table.to_excel(path, index=False)
        else:
            table.to_csv(path, index=False, sep={".tsv": "\t", ".txt": ";"}.get(ending, ","))
    code, _, err = predict("--target", "amount", "--output", f"o{ending}", train=f"train{ending}", test=f"test{ending}")
    assert (code, err) == (0, "")
    read = {".parquet": pd.read_parquet, ".xlsx": pd.read_excel}.get(
        ending, lambda p: pd.read_csv(p, sep=None, engine="python")
    )
    out = read(f"o{ending}")
    assert len(out) == 23 and np.isfinite(out["prediction"]).all()


def test_rows_without_a_target_are_left_out_or_predicted(predict, train):
    train.assign(amount=train["amount"].where(train.index >= 4)).to_csv("train.csv", index=False)
    _, shown, _ = predict("--target", "amount", "--output", "o.csv")
    assert "36 labelled rows; 4 without amount are not used" in shown
    assert predict("--target", "amount", "--output", "o.csv", test="train.csv")[0] == 0
    out = pd.read_csv("o.csv", dtype=str)
    assert out["code"].tolist() == train["code"][:4].tolist() and out["prediction"].notna().all()


def test_columns_of_one_file_only_are_said(predict, train, test):
    train.assign(more=1).to_csv("train.csv", index=False)
    test.drop(columns=["amount"]).assign(other=2).to_csv("test.csv", index=False)
    _, shown, _ = predict("--target", "amount", "--output", "o.csv")
    words = " ".join(shown.split())
    assert "more (not in test.csv)" in words and "other (not in train.csv)" in words and "scores" not in words
    assert "other" in pd.read_csv("o.csv")


def test_only_predictions_and_ids(predict, test):
    assert predict("--target", "amount", "--id", "kind,code", "--only_predictions", "--output", "o.csv")[0] == 0
    out = pd.read_csv("o.csv", dtype=str)
    assert list(out.columns) == ["kind", "code", "prediction"] and out["code"].tolist() == test["code"].tolist()


def test_without_output_the_first_rows_are_shown(predict):
    code, shown, _ = predict("--target", "amount", "--quantiles", "0.9")
    assert code == 0 and "First 10 of 23 rows" in shown and "q0.9" in shown


def test_a_column_called_prediction_stays(predict, test):
    test.assign(prediction="mine").to_csv("test.csv", index=False)
    predict("--target", "amount", "--output", "o.csv")
    out = pd.read_csv("o.csv")
    assert out["prediction"].eq("mine").all() and np.isfinite(out["icl_prediction"]).all()


def test_baseline_and_notes_are_said(predict, train):
    train.assign(grade=np.where(train.index < 1, "odd", train["grade"])).to_csv("train.csv", index=False)
    _, shown, _ = predict("--target", "amount", "--output", "o.csv", "--check")
    assert re.search(r"ridge\s+regression", shown)


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (["a", "b"], "classification"),
        ([True, False], "classification"),
        ([0, 1, 1], "classification"),
        ([3, 4, 5, 4], "classification"),
        ([1000, 2000], "classification"),
        ([0.5, 1.5], "regression"),
        ([1, 5, 50], "regression"),
        (list(range(11)), "regression"),
    ],
)
def test_auto_task(values, task):
    assert choose_task(pd.Series(values), "auto")[0] == task


def test_ages_are_amounts_to_us_and_classes_to_scikit_learn():
    """Why the rule is our own."""
    ages = pd.Series(range(18, 78)).repeat(3)
    assert choose_task(ages, "auto")[0] == "regression" and type_of_target(ages) == "multiclass"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--target", "amuont"], "did you mean 'amount'"),
        ([], "--target is missing: name the column to predict, one of a, kind"),
        (["--target", "amount", "--id", "cod"], "--id cod: train.csv has no such column; did you mean 'code'"),
        (["--target", "amount", "--quantiles", "5,95"], "fractions"),
        (["--target", "amount", "--proba"], "--proba is for classification, but this is regression"),
        (["--target", "kind", "--task", "regression"], "needs numbers, and column 'kind' holds"),
        (["--target", "amount", "--output", "o.json"], "ending .json"),
        (["--target", "amount", "--output", "no/o.csv"], "there is no folder no"),
        (["--target", "amount", "--output", "test.csv"], "one of the input files"),
    ],
)
def test_mistakes_are_explained(args, said, predict):
    code, shown, err = predict(*args)
    assert code == 1 and shown == ""
    assert said in err and err.startswith("icl: ") and err.count("\n") == 1


def test_files_that_cannot_be_read_are_explained(predict, files, train):
    (files / "empty.csv").write_text("")
    (files / "latin.csv").write_bytes("größe,y\nä,1\n".encode("latin-1"))
    (files / "broken.parquet").write_bytes(b"PAR1 not really")
    train.assign(amount=np.nan).to_csv("none.csv", index=False)
    for name, said in [
        ("trian.csv", "there is no file trian.csv; did you mean 'train.csv'?"),
        ("no/train.csv", "there is no folder no"),
        (".", "is a folder"),
        ("empty.csv", "is empty"),
        ("latin.csv", "It has größe, y"),
        ("broken.parquet", "cannot be read"),
        ("none.csv", "missing in all 40 rows"),
        ("train.json", "no file"),
    ]:
        code, _, err = predict("--target", "amount", train=name)
        assert code == 1 and said in err, (name, err)


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError("bad cell")])
def test_a_broken_run_leaves_the_earlier_file(failure, predict, files, monkeypatch):
    (files / "o.csv").write_text("earlier")
    calls = []

    def fail(*args):
        calls.append(1)
        if len(calls) == 3:
            raise failure
        return answer(*args)

    from icl.commands.predict.run import answer_rows as answer

    monkeypatch.setattr("icl.commands.predict.run.answer_rows", fail)
    monkeypatch.setattr("icl.commands.predict.run.CHUNK_ROWS", 5)
    code, _, _ = predict("--target", "amount", "--output", "o.csv")
    assert code == (130 if failure is KeyboardInterrupt else 1) and len(calls) == 3
    assert (files / "o.csv").read_text() == "earlier"
    assert sorted(p.name for p in files.iterdir()) == ["o.csv", "test.csv", "train.csv"]


def test_text_in_a_column_of_numbers_names_the_column(predict, test):
    test.astype({"a": object}).assign(a=["many"] + test["a"].tolist()[1:]).to_csv("test.csv", index=False)
    code, _, err = predict("--target", "amount", "--output", "o.csv")
    assert code == 1 and "'a'" in err and "many" in err
