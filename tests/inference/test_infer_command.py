"""`icl estimate`: what the line of text means, what is written, and errors a person understands."""

import json

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from icl.commands.estimate.run import make_predictor
from icl.commands.main import main
from icl.commands.options import ModelOptions
from icl.inference import OLS, Design, Effect, Logistic, Mean, Multinomial, Poisson, Quantile, infer
from icl.inference.estimands.reading import read_estimand
from icl.inference.estimands.registry import example_table, registered


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    x, e = rng.normal(size=(2, 240))
    region = rng.choice(["north", "south"], 240)
    rows = pd.DataFrame({"income": np.round(30 + 5 * x + 4 * (region == "south") + 4 * e, 2), "region": region})
    rows["age"], rows["f"] = np.round(40 + 10 * x + 3 * rng.normal(size=240)), 30 + 4 * x + 2 * e
    rows["owns"] = np.where(rng.uniform(size=240) < 0.4, "yes", "no")
    rows.loc[70:, ["income", "owns"]] = None
    return rows


@pytest.fixture(scope="module")
def path(table, tmp_path_factory) -> str:
    file = tmp_path_factory.mktemp("estimate") / "people.csv"
    table.to_csv(file, index=False)
    return str(file)


@pytest.mark.parametrize(
    ("line", "options", "expected"),
    [
        ("mean: income", {}, Mean("income")),
        ("mean", {"outcome": "income"}, Mean("income")),
        ("mean: income by region", {}, Mean("income", by="region")),
        ("share: owns = yes", {}, Mean("owns", event="yes")),
        ("share: owns=yes by region", {}, Mean("owns", event="yes", by="region")),
        ("share", {"outcome": "age", "event": "40"}, Mean("age", event=40.0)),
        ("median: income", {}, Quantile("income")),
        ("quantile: 0.9: income", {}, Quantile("income", 0.9)),
        ("quantile:0.9", {"outcome": "income"}, Quantile("income", 0.9)),
        ("OLS: income ~ age + C(region)", {}, OLS("income ~ age + C(region)")),
        ("ols: age + C(region)", {"outcome": "income"}, OLS("income ~ age + C(region)")),
        ("logistic: owns ~ age", {"event": "yes"}, Logistic("owns ~ age", event="yes")),
        ("poisson: age ~ f", {"outcome": "age"}, Poisson("age ~ f")),
        ("multinomial: owns ~ age", {}, Multinomial("owns ~ age")),
    ],
)
def test_lines_of_text_are_estimands(table, line, options, expected):
    assert read_estimand(line, options.get("outcome"), options.get("event"), table) == expected


def test_infer_takes_the_same_lines(table):
    for line, estimand in (
        ("ols: income ~ age + C(region)", OLS("income ~ age + C(region)")),
        ("share: owns = yes by region", Mean("owns", event="yes", by="region")),
        ("quantile: 0.9: income", Quantile("income", 0.9)),
    ):
        pd.testing.assert_frame_equal(infer(line, table=table).to_frame(), infer(estimand, table=table).to_frame())
    numbers = {"passed": [1.0, 0.0, 1.0, 1.0, None, 0.0] * 4}
    assert infer("share: passed = 1", numbers).estimate.iloc[0] == pytest.approx(0.6)
    rows, rest = table[:70], table[70:].drop(columns="income")
    assert infer("mean: income", labeled=rows, unlabeled=rest).estimand == Mean("income")
    for line, words in (
        ("mode: income", "Known are mean"),
        ("difference: income by region", r"has \.differences\(\)"),
        ("mean", "names no outcome"),
        ("ols: income", "names no"),
        ("mean: income by", "no column after 'by'"),
    ):
        with pytest.raises(ValueError, match=words):
            infer(line, table=table)


@pytest.mark.parametrize("line", ["ols: y ~ x", "median: y", "shares: y", "poisson: y ~ x", "cox: days, died ~ x"])
def test_an_event_that_would_count_for_nothing_is_refused(line):
    with pytest.raises(ValueError, match=f"'yes' says which value .* and '{line.partition(':')[0]}' asks for no such"):
        read_estimand(line, event="yes")


@pytest.mark.parametrize("kind", ["day", "span"])
def test_dates_are_no_weights_probabilities_or_predictions(kind):
    days = pd.date_range("2024-01-01", periods=60)
    times = pd.Series(days if kind == "day" else days - days[0] + pd.Timedelta(days=1))
    table = pd.DataFrame({"y": np.arange(60.0), "t": times, "arm": np.arange(60) % 2})
    half = table.assign(y=table["y"].where(table.index < 30))
    for call in (
        lambda: infer(Mean("y"), table, design=Design(weights="t")),
        lambda: infer(Mean("y"), half, design=Design(probability="t")),
        lambda: infer(Mean("y"), half, predictions="t"),
        lambda: infer(Mean("y"), half, predictions=times.to_numpy()),
        lambda: infer(Effect("y", "arm", randomised="t"), table),
    ):
        with pytest.raises(ValueError, match=r"holds dates, times or spans .*Count from a day"):
            call()


def test_predictors_fit_the_outcome(table):
    kinds = {"mean: income": "Regressor", "share: owns = yes": "Classifier", "ols: income ~ age": "Regressor"}
    for line, kind in kinds.items():
        estimand = read_estimand(line, None, None, table)
        made = make_predictor("icl", estimand, table, ModelOptions(checkpoint="nano", members=1))
        assert type(made).__name__ == f"ICL{kind}"
        assert make_predictor("rf", estimand, table, ModelOptions())[-1].__class__.__name__ == f"RandomForest{kind}"
    assert make_predictor("none", estimand, table, ModelOptions()) is None


def test_the_answer_is_that_of_infer_on_screen_and_in_every_file(table, path, tmp_path, capsys):
    files = {kind: tmp_path / f"result.{kind}" for kind in ("json", "csv", "md", "html")}
    line = "ols: income ~ age + C(region)"
    command = ["estimate", path, "--estimand", line, "--predictions", "f", "--level", "0.9"]
    assert main([*command, "--output", ",".join(map(str, files.values()))]) == 0
    expected = infer(OLS("income ~ age + C(region)"), table, predictions="f", level=0.9)
    shown = capsys.readouterr().out
    for words in (
        "70 labeled, 170 unlabeled",
        "synsurr",
        "imputed (INVALID)",
        "90% low",
        "missing completely at random",
    ):
        assert words in " ".join(shown.split()), words
    stored = json.loads(files["json"].read_text())
    assert_allclose([row["estimate"] for row in stored["estimates"]], expected.estimate)
    assert stored["level"] == 0.9 and {row["method"] for row in stored["comparison"]} >= {"classical", "imputed"}
    frame = pd.read_csv(files["csv"])
    assert list(frame.columns[:3]) == ["term", "estimate", "std.error"]
    assert_allclose(frame["conf.high"], expected.interval()["upper"])
    assert "| C(region)[T.south] |" in files["md"].read_text()
    page = files["html"].read_text()
    assert (
        page.count("<table>") == 2 and "data:image/png;base64" in page and "http" not in page.replace("http-equiv", "")
    )


# A line for every estimand that needs no function, on the columns of `example_table`, and columns of predictions.
LINES = {
    "mean: y": "f", "mean: y by group": "f", "share: level = 2": "q2", "shares: level": "q0,q1,q2", "median: y": "f",
    "ols: y ~ x": "f", "logistic: event ~ x": "p", "poisson: count ~ x": "mu", "multinomial: level ~ x": "q0,q1,q2",
    "probit: event ~ x": "p", "cloglog: event ~ x": "p", "gamma: amount ~ x": "mu",
    "negative-binomial: count ~ x": "mu", "effect: y ~ treated + x, randomised=0.5": "f", "cvar: 0.7: y": "f",
    "gini: count": "mu", "top: 0.5: count": "mu", "below: 0.5: y": "f", "survival: 0.8: time, died": "p",
    "cox: time, died ~ x + z": "f,mu", "2sls: y ~ dose + z, dose=tool": "f",
    "disparity: accuracy: treated by group, outcome=event": "p",
}  # fmt: skip


@pytest.fixture(scope="module")
def example_path(tmp_path_factory) -> str:
    file = tmp_path_factory.mktemp("lines") / "rows.csv"
    example_table().to_csv(file, index=False)
    return str(file)


@pytest.mark.parametrize("line", LINES)
def test_every_estimand_is_a_line_with_the_answer_and_the_findings_of_infer(line, example_path, tmp_path, capsys):
    output, names = tmp_path / "result.json", LINES[line].split(",")
    command = ["estimate", example_path, "--estimand", line, "--predictions", LINES[line], "--output", str(output)]
    assert main(command) == 0, capsys.readouterr().err
    stored = json.loads(output.read_text())
    expected = infer(line, pd.read_csv(example_path), predictions=names[0] if len(names) == 1 else names)
    assert_allclose([row["estimate"] for row in stored["estimates"]], expected.estimate, rtol=1e-9)
    assert [d["code"] for d in stored["diagnostics"]] == [d.code for d in expected.diagnostics]
    assert {row["method"] for row in stored["comparison"]} == set(expected.compare().index.get_level_values("method"))


def test_no_estimand_lacks_its_line():
    found = {type(read_estimand(line, None, None, example_table())) for line in LINES}
    assert {kind.__name__ for kind in registered() if kind not in found} == {"MEstimand", "Statistic"}  # functions


@pytest.mark.parametrize("line, names", [("shares: level", "q0,q1,q2"), ("share: event = 1", "p")])
def test_label_shift_from_the_command_line(line, names, example_path, capsys):
    assert main(["estimate", example_path, "--estimand", line, "--predictions", names, "--shift", "label"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "label shift" in shown and "delta method" in shown and "classical (INVALID)" in shown
    assert main(["estimate", example_path, "--estimand", "mean: y", "--predictions", "f", "--shift", "label"]) == 1
    assert "is for the shares of classes" in " ".join(capsys.readouterr().err.split())


def test_forest_and_in_context_model_run_from_the_command_line(path, capsys):
    for options in (["--predictor", "rf"], ["--checkpoint", "nano", "--members", "1", "--features", "age,region"]):
        assert main(["estimate", path, "--estimand", "share: owns = yes", "--folds", "2", *options]) == 0
        assert "cross-fitted inside the call (2 folds" in " ".join(capsys.readouterr().out.split())
    assert main(["estimate", path, "--outcome", "income", "--predictor", "none"]) == 0
    assert "no predictions were used" in capsys.readouterr().out


def test_two_files_and_a_design(table, path, tmp_path, capsys):
    labeled, rest = tmp_path / "labeled.parquet", tmp_path / "rest.tsv"
    table["p"] = np.where(table["region"] == "south", 0.4, 0.2)
    table[:70].to_parquet(labeled)
    table[70:].drop(columns=["income", "owns"]).to_csv(rest, index=False, sep="\t")
    command = ["estimate", str(labeled), "--outcome", "income", "--unlabeled", str(rest), "--predictions", "f"]
    assert main([*command, "--probability", "p", "--weight", "1"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "with the probability that was given" in shown and "weight 1.000 (fixed)" in shown


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--estimand", "mode: income"], "Known are mean, share"),
        (["--estimand", "mean"], "names no outcome"),
        (["--estimand", "mean: income", "--outcome", "age"], "leave one of them out"),
        (["--estimand", "ols: income"], "names no outcome"),
        (["--estimand", "ols: income ~"], "has no covariates"),
        (["--estimand", "quantile: income"], "has no fraction"),
        (["--estimand", "share: owns"], "which value to count"),
        (["--estimand", "mean: wage"], "no column 'wage'"),
        (["--estimand", "mean: owns"], "not numbers"),
        (["--outcome", "income", "--predictor", "gpt"], "use icl, rf, none"),
        (["--outcome", "income", "--predictions", "yhat"], "no column 'yhat'"),
        (["--outcome", "income", "--predictions", "f", "--weight", "best"], "weight got 'best'"),
        (["--outcome", "income", "--output", "result.doc"], ".json, .csv, .md, .html"),
        (["--outcome", "income", "--output", "nowhere/result.md"], "there is no folder"),
        (["--outcome", "income", "--predictions", "f", "--strata", "zone"], "no column 'zone'"),
    ],
)
def test_mistakes_exit_1_with_advice(path, options, words, capsys):
    assert main(["estimate", path, *options]) == 1
    shown = capsys.readouterr()
    assert words in shown.err and "Traceback" not in shown.err and shown.out == ""


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("income ~ age", "such as 'ols: income ~ age'"),
        ("income ~ age:owns", "such as 'ols: income ~ age:owns'"),
        ("logit: owns ~ age", "did you mean 'logistic: owns ~ age'?"),
        ("lm: income ~ age", "did you mean 'ols: income ~ age'?"),
        ("Medain: income", "did you mean 'median: income'?"),
        ("qantile: 0.9: income", "did you mean 'quantile: 0.9: income'?"),
    ],
)
def test_lines_that_come_near_a_kind_are_asked_about(line, words):
    with pytest.raises(ValueError, match="Known are mean, share") as refused:
        read_estimand(line)
    assert words in str(refused.value)


@pytest.mark.parametrize("options", [["--level", "95"], ["--folds", "0"], ["--colour", "red"]])
def test_wrong_usage_exits_2(path, options, capsys):
    assert main(["estimate", path, *options]) == 2
    assert options[0].strip("-") in capsys.readouterr().err


def test_files_that_are_no_table_exit_1(tmp_path, capsys):
    (tmp_path / "people.csv").write_text("income,age\n")
    for name in ("people.csv", "peoples.csv", "people.docx"):
        assert main(["estimate", str(tmp_path / name), "--outcome", "income"]) == 1
        assert name in capsys.readouterr().err
