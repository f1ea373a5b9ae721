"""Input that cannot give a valid answer is refused with advice; doubtful input is answered with a diagnostic."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from icl.inference import OLS, Logistic, Mean, Poisson, Quantile, infer


def draw(n: int = 50, N: int = 200, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x, noise, other = rng.normal(size=(3, n + N))
    y = 1 + x + noise
    table = pd.DataFrame({"y": y, "x": x, "f": 0.7 * y + other, "group": np.resize(["a", "b", "c"], n + N)})
    table["twice"] = 2 * table["x"]
    table["text"] = np.resize(["yes", "no", "no"], n + N)
    table["flat"] = 2.5
    table.loc[n:, ["y", "flat"]] = np.nan
    table.loc[n:, "text"] = None
    return table


def set_cell(column: str, value: object, row: int = 3) -> pd.DataFrame:
    table = draw()
    table.loc[row, column] = value
    return table


def fewer(n: int, N: int = 200) -> pd.DataFrame:
    return pd.concat([draw().head(n), draw().tail(N)])


class Odd:
    """A predictor that gives whatever it was told to."""

    def __init__(self, answer):
        self.answer = answer

    def fit(self, X, y):
        return self

    def predict(self, X):
        return self.answer(len(X))


T, F = Mean("y"), OLS("y ~ x")
REFUSED = {
    "empty table": (T, dict(table=draw().head(0)), "no rows"),
    "empty labeled": (T, dict(labeled=draw().head(0), unlabeled=draw()), "no rows"),
    "no labels": (T, dict(table=draw().tail(200)), "none of the 200 rows"),
    "no table": (T, dict(), "neither"),
    "both tables": (T, dict(table=draw(), labeled=draw()), "both"),
    "table and unlabeled": (T, dict(table=draw(), unlabeled=draw()), "already holds"),
    "array as table": (T, dict(table=np.ones((3, 2))), "DataFrame"),
    "missing outcome column": (Mean("income"), dict(table=draw()), r"no column 'income'.*they have: y, x"),
    "missing covariate": (OLS("y ~ age"), dict(table=draw()), r"no column 'age'"),
    "missing predictions": (T, dict(table=draw(), predictions="yhat"), r"no column 'yhat'"),
    "twice the same column": (T, dict(table=draw()[["y", "x", "x"]]), r"several columns named \['x'\]"),
    "labeled without label": (T, dict(labeled=draw()), "200 of 250 rows in labeled="),
    "covariate with NaN": (F, dict(table=set_cell("x", np.nan)), "covariate 'x' is missing on 1 of 50 labeled"),
    "infinite covariate": (F, dict(table=set_cell("x", np.inf)), "'x'.*not finite|infinite"),
    "infinite outcome": (T, dict(table=set_cell("y", np.inf)), "1 infinite"),
    "log of a negative": (OLS("np.log(y - 9) ~ x"), dict(table=draw()), "not finite"),
    "NaN prediction": (T, dict(table=set_cell("f", np.nan), predictions="f"), "1 of 50 are NaN or infinite"),
    "infinities that cancel": (
        T,
        dict(table=draw().replace({"y": {draw()["y"][3]: np.inf, draw()["y"][4]: -np.inf}})),
        "2 inf",
    ),
    "infinite prediction": (T, dict(table=set_cell("f", -np.inf, 99), predictions="f"), "unlabeled rows.*1 of 200"),
    "text predictions": (T, dict(table=draw(), predictions="group"), "predicted probability"),
    "short array": (T, dict(table=draw(), predictions=np.ones(7)), r"shape \(7,\).*250 rows"),
    "short pair": (T, dict(table=draw(), predictions=(np.ones(50), np.ones(7))), r"\(7,\) for the 200 unlabeled"),
    "text outcome": (Mean("text"), dict(table=draw()), r"not numbers. Use Mean\('text', event"),
    "text outcome in ols": (OLS("text ~ x"), dict(table=draw()), "not numbers"),
    "unknown event": (Mean("text", event="maybe"), dict(table=draw()), "'no', 'yes'"),
    "constant outcome": (Mean("flat"), dict(table=draw()), "all 50 labeled outcomes equal 2.5"),
    "two labels": (T, dict(table=fewer(2)), "2 labeled rows are too few.*at least 3"),
    "three labels": (F, dict(table=fewer(3)), "at least 4"),
    "collinear": (OLS("y ~ x + twice"), dict(table=draw()), r"\['x', 'twice'\].*collinear"),
    "unlabeled level": (OLS("y ~ C(group)"), dict(table=set_cell("group", "d", 99)), r"C\(group\)\[T.d\].*always zero"),
    "single row level": (OLS("y ~ C(group)"), dict(table=set_cell("group", "d")), "alone decide"),
    "no formula": (lambda: OLS("y"), dict(), "names no covariates"),
    "broken formula": (OLS("y ~ x + ("), dict(table=draw()), "cannot be read"),
    "unknown function": (OLS("y ~ nonsense(x)"), dict(table=draw()), "a call of nonsense"),
    "no estimand": ("y", dict(table=draw()), "Known are mean"),
    "predictor and predictions": (T, dict(table=draw(), predictor=LinearRegression(), predictions="f"), "not both"),
    "class as predictor": (T, dict(table=draw(), predictor=LinearRegression), "the class LinearRegression"),
    "number as predictor": (T, dict(table=draw(), predictor=3), "fit and predict"),
    "classifier of numbers": (T, dict(table=draw(), predictor=LogisticRegression(), features=["x"]), "regressor"),
    "outcome as feature": (T, dict(table=draw(), predictor=LinearRegression(), features=["y"]), "must not see it"),
    "string as features": (T, dict(table=draw(), predictor=LinearRegression(), features="x"), "list of columns"),
    "no features": (T, dict(table=draw()[["y"]], predictor=LinearRegression()), "no column that the predictor"),
    "one fold": (T, dict(table=draw(), predictor=LinearRegression(), features=["x"], folds=1), "folds got 1"),
    "too many folds": (T, dict(table=draw(), predictor=LinearRegression(), features=["x"], folds=51), "from 2 to 50"),
    "NaN from predictor": (T, dict(table=draw(), predictor=Odd(lambda n: np.full(n, np.nan))), "Odd gave predictions"),
    "matrix from predictor": (T, dict(table=draw(), predictor=Odd(lambda n: np.ones((n, 2)))), r"shape \(10, 2\)"),
    "unknown weight": (T, dict(table=draw(), weight="pspa"), "known are 'auto'"),
    "no weight": (T, dict(table=draw(), weight=None), "weight got None"),
    "infinite weight": (T, dict(table=draw(), weight=np.inf), "finite number"),
    "percent level": (T, dict(table=draw(), level=95), "write 0.95"),
    "unknown std_error": (T, dict(table=draw(), std_error="HC4"), "known are 'auto'"),
    "unknown reference": (T, dict(table=draw(), reference="z"), "'normal'"),
    "unknown compat": (T, dict(table=draw(), compat="spss"), "'ppi_py'"),
    "one fold of nothing": (T, dict(table=draw(), folds=1), "folds got 1"),
    "half a fold": (T, dict(table=draw(), predictions="f", folds=2.5), "folds got 2.5"),
    "weight of nothing": (T, dict(table=draw(), weight="ppi++"), "no predictions to weigh"),
    "number as weight of nothing": (Quantile("y", 0.5), dict(table=draw(), weight=1), "no predictions to weigh"),
    "features of nothing": (T, dict(table=draw(), features=["x"]), "no model to see them"),
    "features beside predictions": (T, dict(table=draw(), predictions="f", features=["x"]), "no model to see them"),
    "synsurr in compat": (T, dict(table=draw(), compat="ppi_py", weight="synsurr"), "knows no weight"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_advice(name):
    estimand, options, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        infer(estimand() if callable(estimand) else estimand, **options)


def codes(estimand, table, **options) -> list[str]:
    return [finding.code for finding in infer(estimand, table, **options).diagnostics]


def test_an_ordinary_analysis_has_nothing_to_say():
    for estimand in (T, F, OLS("y ~ x + C(group)"), Mean("text", event="yes")):
        assert codes(estimand, draw()) == []
    for seed in range(30):
        for estimand in (T, F):
            assert codes(estimand, draw(seed=seed), predictions="f") == []


def test_cross_fitting_by_itself_is_no_shift():
    from sklearn.tree import DecisionTreeRegressor

    options = dict(predictor=DecisionTreeRegressor(), features=["x", "f"], seed=1)
    for seed in range(20):
        assert "shift" not in codes(T, draw(seed=seed, n=150, N=1_000), **options)


def test_shifted_labels_are_flagged_in_mean_and_in_spread():
    table = draw(n=100, N=400)
    biased = table.assign(f=table["f"] + 1.5 * table["y"].notna())
    tight = table.assign(f=table["f"] * np.where(table["y"].notna(), 0.4, 1.0))
    for shifted in (biased, tight):
        finding = infer(F, shifted, predictions="f").diagnostics
        assert [d.code for d in finding if d.code == "shift"] and "predictions" in str(finding[-1])


def test_no_unlabeled_rows_give_the_classical_answer_and_say_so():
    labeled = draw().head(50)
    result = infer(T, labeled, predictions="f")
    assert result.method == "classical"
    assert [d.code for d in result.diagnostics] == ["no_unlabeled_rows"]
    assert infer(T, labeled, predictor=LinearRegression()).estimate.equals(result.estimate)


def test_outcomes_of_unlabeled_rows_are_not_used_and_that_is_said():
    rows = draw(n=250, N=0)
    hidden = infer(T, labeled=rows.head(50), unlabeled=rows.tail(200), predictions="f")
    assert [d.code for d in hidden.diagnostics] == ["unused_labels"]
    honest = infer(T, labeled=rows.head(50), unlabeled=rows.tail(200).drop(columns="y"), predictions="f")
    assert honest.estimate.equals(hidden.estimate) and not honest.diagnostics


@pytest.mark.parametrize("digits", [0, 1, 2])
def test_rounded_predictions_are_not_taken_for_the_same_rows(digits):
    """Every labeled value occurs among the unlabeled ones, as every value does."""
    rng = np.random.default_rng(0)
    f = pd.Series(rng.normal(size=20_000)).round(digits)
    labeled = pd.DataFrame({"f": f[:10], "y": f[:10] + rng.normal(size=10)})
    result = infer(Mean("y"), labeled=labeled, unlabeled=pd.DataFrame({"f": f[10:]}), predictions="f")
    assert "repeated_rows" not in [d.code for d in result.diagnostics]


@pytest.mark.parametrize("place", [0, 3, 7])
def test_labeled_rows_among_every_so_many_unlabeled_ones_are_found(place):
    """Of many rows some are looked at first; a pattern of the table must not hide the copies from them."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"f": rng.normal(size=8_000)})
    labeled = table.iloc[place::8].assign(y=lambda rows: rows["f"] + rng.normal(size=1_000))
    with pytest.raises(ValueError, match="among the unlabeled rows too"):
        infer(Mean("y"), labeled=labeled, unlabeled=table, predictions="f")
    others = table.drop(labeled.index)
    assert not infer(Mean("y"), labeled=labeled, unlabeled=others, predictions="f").diagnostics


def test_rounded_rows_are_not_taken_for_repeated_ones():
    rng = np.random.default_rng(0)
    x = rng.normal(size=8_000).round(3)
    y = np.where(np.arange(8_000) < 2_000, rng.random(8_000) < 0.02, np.nan)
    table = pd.DataFrame({"x": x, "f": 0.02 + 0 * x, "y": y})
    assert table[:2_000].duplicated().mean() > 0.15
    assert "repeated_rows" not in [d.code for d in infer(Mean("y"), table, predictions="f").diagnostics]
    thrice = pd.concat([table[:2_000]] * 2 + [table])
    thrice["x"] += np.where(thrice["y"].notna(), 0, rng.normal(size=len(thrice)))  # unlabeled rows are no such rows
    assert "repeated_rows" in [d.code for d in infer(Mean("y"), thrice, predictions="f").diagnostics]


def test_columns_of_only_one_table_are_named():
    rows = draw()
    with pytest.raises(ValueError, match=r"no column \['x', .*\], which the labeled rows have"):
        infer(T, labeled=rows.head(50), unlabeled=rows.tail(200)[["f"]], predictor=LinearRegression(), features=None)


def test_level_that_no_unlabeled_row_has_leaves_synsurr_and_explains_ppi():
    table = draw()
    table.loc[:9, "group"] = "d"
    result = infer(OLS("y ~ C(group)"), table, predictions="f")
    assert np.isfinite(result.std_error).all()
    comparison = result.compare()
    assert comparison.loc["ppi", "estimate"].isna().all()
    assert comparison.loc["ppi", "note"].str.contains("unlabeled rows the terms").all()
    assert "ppi" in result.plot(terms=["C(group)[T.b]"]).get_yticklabels()[2].get_text()


def test_two_unlabeled_rows_are_enough_for_synsurr_only():
    table = fewer(50, 2)
    assert np.isfinite(infer(F, table, predictions="f").std_error).all()
    with pytest.raises(ValueError, match="2 unlabeled rows cannot support"):
        infer(F, table, predictions="f", weight=1)


def test_labels_in_part_of_the_predictions_are_flagged():
    table = draw()
    seen = np.arange(250) < 20  # a model that memorised some of the labeled rows
    table["f"] = np.where(seen, table["y"], table["f"])
    assert "in_sample" in codes(T, table, predictions="f")
    rounded = table.assign(y=np.where(table["y"].isna(), np.nan, (table["y"] > 1) * 1.0))
    rounded["f"] = np.where(np.arange(250) % 4 == 0, 1 - (table["x"] > 0), table["x"] > 0) * 1.0
    assert codes(T, rounded, predictions="f") == ["hard_labels"]  # often right, by merit


@pytest.mark.parametrize(("n_events", "is_rare"), [(4, True), (9, True), (10, False), (40, False)])
def test_few_events_for_a_slope_are_named(n_events, is_rare):
    x = np.random.default_rng(0).normal(size=100)
    y = np.zeros(100)
    y[:n_events] = 1
    for estimand in (Logistic("y", covariates=["x"]), Poisson("y", covariates=["x"])):
        codes = [d.code for d in infer(estimand, {"x": x, "y": y}).diagnostics]
        assert ("rare_event_slopes" in codes) == is_rare
    assert "rare_event_slopes" not in [d.code for d in infer(Mean("y"), {"y": y}).diagnostics]
