"""Measures of a distribution, survival, Cox: their classical answers, influences by finite differences, coverage."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.special import chdtrc
from sklearn.linear_model import LinearRegression
from statsmodels.duration.hazard_regression import PHReg
from statsmodels.duration.survfunc import SurvfuncRight, survdiff

from icl.inference import Cox, Distribution, Survival, infer
from icl.inference.estimands.partial_likelihood import PartialLikelihood
from icl.inference.estimands.tails import tail_shape
from icl.inference.estimands.times import censoring_weight, log_rank


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


@pytest.mark.parametrize("unit", [0.01, 1.0, 100.0])
def test_a_monotone_partial_likelihood_is_refused_in_any_units(unit):
    """A group without events: a Newton step that is short in its units had been taken for the end."""
    table = times(1, 100)
    table = table.assign(g=unit * (np.arange(100) % 20 == 3), d=table["d"] * (np.arange(100) % 20 != 3))
    with pytest.raises(ValueError, match="separates"):
        infer(Cox("t", "d", covariates="g + x"), table)


@pytest.mark.parametrize("unit", [0.01, 100.0])
def test_units_of_covariates_carry_over_and_leave_the_findings(unit):
    plain, other = (infer(Cox("t", "d", "x + w"), times(2).assign(x=lambda t, k=k: k * t.x)) for k in (1, unit))
    assert_allclose(unit * other.estimate["x"], plain.estimate["x"], rtol=1e-8)
    assert_allclose(unit * other.std_error["x"], plain.std_error["x"], rtol=1e-8)
    assert [d.code for d in other.diagnostics] == [d.code for d in plain.diagnostics]


def test_tests_of_assumptions_err_at_their_level():
    """Proportional hazards, and censoring that does not go with a covariate: both true here."""
    n_reps, found = 200, []
    for t, d, x, w in times(0, 80 * n_reps)[["t", "d", "x", "w"]].to_numpy().reshape(n_reps, 80, 4).transpose(0, 2, 1):
        X, seen = np.column_stack([x, w]), d == 1
        together, _ = PartialLikelihood(t, seen, X, np.ones(80), "x").trend
        found.append([chdtrc(2, together), log_rank(t, ~seen, X)[0]])
    rate = (np.array(found) < 0.05).mean(axis=0)
    assert (np.abs(rate - 0.05) < 4 * np.sqrt(0.05 * 0.95 / n_reps)).all()


def test_columns_that_tell_nothing_of_censoring_do_no_harm():
    table = times(0, 100).assign(
        gap=np.nan, some=np.where(np.arange(100) % 2, 1.0, np.nan), same=3.0, far=1e200, endless=np.inf, word="a",
        day=pd.Timestamp("2020"), span=pd.Timedelta(days=1), yes=np.arange(100) % 2 == 0,
    )  # fmt: skip
    for estimand in (Survival("t", "d", 0.7), Cox("t", "d", "x + w")):
        assert "dependent_censoring" not in [d.code for d in infer(estimand, table).diagnostics]


def test_log_rank_is_that_of_statsmodels():
    table = times(4, 100).assign(g=np.arange(100) % 2)
    _, p = survdiff(table["t"], table["d"], table["g"])
    seen = table["d"].to_numpy() == 1
    assert_allclose(log_rank(table["t"].to_numpy(), seen, table[["g"]].to_numpy()), p, rtol=0.02)


def test_censoring_weights_are_the_reverse_kaplan_meier():
    table = times(5, 150)
    fit = SurvfuncRight(table["t"], 1 - table["d"])
    k = np.searchsorted(fit.surv_times, 0.7, side="left") - 1
    ours = censoring_weight(table["t"].to_numpy(), table["d"].to_numpy() == 1, 0.7)
    assert_allclose(1 / ours, fit.surv_prob[k], rtol=1e-12)


@pytest.mark.parametrize("shape", [-0.3, 0.0, 0.4])
def test_the_shape_of_a_tail_is_found(shape):
    """Of a generalised Pareto distribution, from its quantiles, whatever its units and origin."""
    p = (np.arange(20_000) + 0.5) / 20_000
    y = -np.log1p(-p) if shape == 0 else ((1 - p) ** -shape - 1) / shape
    assert_allclose(tail_shape(7 + 3 * y), shape, atol=0.02)


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


@pytest.mark.parametrize(
    "estimand",
    [
        Distribution("y", "cvar", 0.999),
        Distribution("b", "cvar", 0.9),
        Survival("t", "d", 0.0),
        Survival("t", "d", 1e-9),
    ],
    ids=str,
)
def test_outcomes_that_differ_are_not_said_to_be_equal(estimand):
    table = pd.concat([incomes(0)["y"], times(0)], axis=1).assign(b=lambda t: (t["y"] > t["y"].median()) * 1.0)
    with pytest.raises(ValueError, match="though their outcomes differ"):
        infer(estimand, table)


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
