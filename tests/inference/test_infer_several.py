"""Several predictions of one outcome."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.tree import DecisionTreeRegressor

from icl.inference import OLS, Disparity, Distribution, Logistic, Mean, infer


def draw(seed: int, n: int = 100, N: int = 800, slopes=(1.0, 0.8)) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n + N, 3))
    y = x[:, : len(slopes)] @ slopes + 0.7 * rng.normal(size=n + N)
    table = pd.DataFrame(x + 0.4 * rng.normal(size=x.shape), columns=["f", "g", "h"]).assign(x=x[:, 0], y=y)
    table.loc[n:, "y"] = np.nan
    return table


def test_two_predictions_say_more_than_each_and_a_useless_third_costs_little():
    widths = {"f": [], "fg": [], "fgh": []}
    for seed in range(5):
        for names in widths:
            predictions = list(names) if len(names) > 1 else names
            widths[names].append(infer(Mean("y"), draw(seed), predictions=predictions).std_error.iloc[0])
    f, fg, fgh = (np.mean(v) for v in widths.values())
    assert fg < 0.85 * f and fgh < 1.05 * fg


def test_useless_companions_of_a_good_prediction_cost_little():
    ratio = []
    for seed in range(10):
        table = draw(seed, n=30, slopes=(1.0,))
        many, one = (infer(Mean("y"), table, predictions=p).std_error.iloc[0] for p in (["f", "g", "h"], "f"))
        ratio.append(many / one)
    assert np.mean(ratio) < 1.06


@pytest.mark.parametrize("n", [30, 100])
def test_covers_at_its_nominal_rate(n):
    n_reps, hits = 40, 0
    for seed in range(n_reps):
        low, high = (
            infer(Mean("y"), draw(seed, n, 400), predictions=["f", "g", "h"], level=0.9).interval().to_numpy()[0]
        )
        hits += low <= 0 <= high
    assert abs(hits / n_reps - 0.9) < 4 * np.sqrt(0.09 / n_reps)


MEASURES = [
    *(
        Disparity("d", "s", m, "y")
        for m in ("equal opportunity", "false positive rate", "predictive parity", "accuracy")
    ),
    *(Distribution("a", *m) for m in (("gini",), ("share", (0.75, 1)), ("cvar", 0.75), ("below", 1.0))),
]


@pytest.mark.parametrize("estimand", MEASURES, ids=str)
def test_of_measures_predictions_are_combined_by_what_they_say_about_them(estimand):
    """A constant or a copy beside a good prediction takes little of what it gains."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=2000)
    table = pd.DataFrame({"s": rng.choice(["f", "m"], 2000), "x": x, "d": (x + rng.normal(size=2000) > 0) * 1.0})
    table["p"], table["q"] = 1 / (1 + np.exp(-3 * x)), 0.5
    table["y"], table["f"] = (rng.random(2000) < table["p"]) * 1.0, np.exp(x)
    table["a"] = np.exp(x + 0.3 * rng.normal(size=2000))
    table.loc[300:, ["y", "a"]] = np.nan
    good = "p" if isinstance(estimand, Disparity) else "f"
    alone = infer(estimand, table, predictions=good).std_error.iloc[0]
    most = alone + (infer(estimand, table).std_error.iloc[0] - alone) / 3
    for more in ("q", good):
        assert infer(estimand, table, predictions=[good, more]).std_error.iloc[0] < most
    if isinstance(estimand, Disparity):
        both = infer(estimand, table, predictor=[LogisticRegression(), LinearRegression()], features=["x"])
        assert both.std_error.iloc[0] < most


def test_units_of_the_predictions_and_of_the_outcome_are_irrelevant():
    table = draw(0)
    ours = infer(Mean("y"), table, predictions=["f", "g"])
    other = infer(Mean("y"), table.assign(f=3 * table.f - 7, g=-table.g, y=100 * table.y), predictions=["f", "g"])
    assert_allclose(other.estimate, 100 * ours.estimate, rtol=1e-6)
    assert_allclose(other.std_error, 100 * ours.std_error, rtol=1e-6)


def test_weight_zero_is_the_classical_answer_and_order_is_irrelevant():
    table = draw(0)
    zero = infer(OLS("y ~ x"), table, predictions=["f", "g"], weight=0)
    assert_allclose(zero.std_error, infer(OLS("y ~ x"), table).std_error)
    swapped = infer(OLS("y ~ x"), table, predictions=["g", "f"])
    assert_allclose(swapped.estimate, infer(OLS("y ~ x"), table, predictions=["f", "g"]).estimate, rtol=1e-8)


def test_predictors_are_combined_and_named():
    table = draw(1)
    models = [LinearRegression(), DecisionTreeRegressor(max_depth=3, random_state=0)]
    result = infer(Mean("y"), table, predictor=models)
    alone = infer(Mean("y"), table, predictor=models[1])
    assert "LinearRegression + DecisionTreeRegressor" in result.predictions
    assert "combined_predictions" in {d.code for d in result.diagnostics}
    assert result.std_error.iloc[0] < alone.std_error.iloc[0]


def test_probabilities_stay_probabilities():
    table = draw(2)
    table = table.assign(y=(table["y"] > 0).where(table["y"].notna()).astype(float))
    table = table.assign(f=1 / (1 + np.exp(-table.f)), g=1 / (1 + np.exp(-table.g)))
    result = infer(Logistic("y ~ x"), table, predictions=["f", "g"])
    assert np.isfinite(result.estimate).all()
