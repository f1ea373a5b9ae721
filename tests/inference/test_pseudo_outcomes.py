"""Measures of a distribution, survival, Cox: their classical answers, influences by finite differences, coverage."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import LinearRegression
from statsmodels.duration.hazard_regression import PHReg
from statsmodels.duration.survfunc import SurvfuncRight

from icl.inference import Cox, Distribution, Survival, infer


def incomes(seed: int, n: int = 200, N: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x, e = rng.normal(size=(2, n + N))
    y = np.exp(0.6 * x + 0.4 * e)
    return pd.DataFrame(
        {"y": np.where(np.arange(n + N) < n, y, np.nan), "x": x, "f": np.exp(0.6 * x), "g": np.exp(1.2 * x)}
    )


def times(seed: int, n: int = 200, N: int = 0, hazard: float = 0.7) -> pd.DataFrame:
    """Event times follow x and w; m, which all rows show, tells early who goes, and xm and wm are its products."""
    rng = np.random.default_rng(seed)
    x, w = rng.normal(size=(2, n + N))
    until = rng.exponential(np.exp(-hazard * x - w))
    lost = rng.exponential(2.0, size=n + N)
    table = pd.DataFrame({"t": np.minimum(until, lost), "d": (until <= lost) * 1.0, "x": x, "w": w})
    m = np.log(until) + hazard * x + w + rng.normal(size=n + N) / 2
    table = table.assign(m=m, xm=x * m, wm=w * m)
    table.loc[n:, ["t", "d"]] = np.nan
    return table


def plain(measure: str, y: np.ndarray) -> float:
    """Each measure from its definition, by counting."""
    y = np.sort(y)
    if measure == "gini":
        return np.abs(y[:, None] - y).mean() / (2 * y.mean())
    top = y[int(np.ceil(0.75 * len(y) - 1e-9)) :]
    return top.sum() / y.sum() if measure == "share" else top.mean()


@pytest.mark.parametrize("measure, at", [("gini", None), ("share", (0.75, 1)), ("cvar", 0.75)])
def test_labels_alone_give_the_textbook_measure(measure, at):
    table = incomes(0)
    assert_allclose(
        infer(Distribution("y", measure, at), table).estimate.iloc[0], plain(measure, table["y"]), rtol=1e-12
    )


@pytest.mark.parametrize("measure, at", [("gini", None), ("share", (0.75, 1)), ("cvar", 0.75)])
def test_standard_error_is_that_of_the_jackknife(measure, at):
    y = incomes(1, 100)["y"].to_numpy()
    left_out = np.array([plain(measure, np.delete(y, i)) for i in range(100)])
    jackknife = np.sqrt(99 / 100 * ((left_out - left_out.mean()) ** 2).sum())
    ours = infer(Distribution("y", measure, at), incomes(1, 100)).std_error.iloc[0]
    assert_allclose(ours, jackknife, rtol=0.05)


def test_gini_of_two_people_and_of_equal_ones():
    from icl.inference.estimands.registry import example_table

    table = example_table()
    assert infer(Distribution("count", "gini"), table).estimate.iloc[0] < 1
    rich = pd.DataFrame({"y": [0.0, 1.0] * 20})
    assert_allclose(infer(Distribution("y", "gini"), rich).estimate, 0.5)


def test_kaplan_meier_and_greenwood():
    table = times(0)
    fit = SurvfuncRight(table["t"], table["d"])
    for at in (0.2, 0.7, 1.5):
        ours = infer(Survival("t", "d", at), table, std_error="HC0")
        k = np.searchsorted(fit.surv_times, at, side="right") - 1
        assert_allclose(ours.estimate.iloc[0], fit.surv_prob[k], rtol=1e-10)
        assert_allclose(ours.std_error.iloc[0], fit.surv_prob_se[k], rtol=0.01)


def test_cox_is_phreg_with_robust_errors():
    table = times(0).round({"t": 2})  # with ties
    ours = infer(Cox("t", "d", covariates="x + w"), table, std_error="HC0")
    fit = PHReg.from_formula("t ~ x + w", table, status=table["d"], ties="breslow").fit(groups=np.arange(len(table)))
    assert_allclose(ours.estimate, fit.params, rtol=1e-7)
    assert_allclose(ours.std_error, fit.bse, rtol=1e-6)


@pytest.mark.parametrize(
    "estimand, draw, truth",
    [
        (Distribution("y", "gini"), incomes, None),
        (Distribution("y", "share", (0.75, 1)), incomes, None),
        (Survival("t", "d", 0.7), times, None),
        (Cox("t", "d", covariates="x + w"), times, 0.7),
    ],
)
def test_covers_with_predictions_and_gains_from_them(estimand, draw, truth):
    n_reps, hits, gain = 30, 0, []
    if truth is None:  # of a large sample
        truth = infer(estimand, draw(999, 60_000)).estimate.iloc[0]
    for seed in range(n_reps):
        table = draw(seed, 150, 600)
        features = ["f", "g"] if "f" in table else ["x", "w", "m", "xm", "wm"]
        result = infer(estimand, table, predictor=LinearRegression(), features=features, level=0.9)
        low, high = result.interval().to_numpy()[0]
        hits += low <= truth <= high
        gain.append(result.gain.iloc[0])
    assert abs(hits / n_reps - 0.9) < 4 * np.sqrt(0.09 / n_reps)
    assert np.mean(gain) > 1.05


def test_predicted_values_stand_in_through_the_measure():
    table = incomes(3, 200, 2000)
    ours = infer(Distribution("y", "cvar", 0.9), table, predictions="f")
    assert ours.gain.iloc[0] > 1.1 and ours.method == "shrunk"


def test_what_has_no_answer_is_refused():
    table = times(0)
    with pytest.raises(ValueError, match="beyond the longest"):
        infer(Survival("t", "d", 1e3), table)
    with pytest.raises(ValueError, match="must be 1 where"):
        infer(Survival("t", "x", 0.5), table)
    with pytest.raises(ValueError, match="negative"):
        infer(Distribution("x", "gini"), table)
    with pytest.raises(ValueError, match="separates"):
        infer(Cox("t", "d", covariates="z"), table.assign(z=table["d"]))
