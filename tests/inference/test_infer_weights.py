"""Weights: what they are on simple problems, how they are ordered, what they refuse."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import sqrtm

from icl.inference import OLS, Design, Logistic, Mean, Quantile, Statistic, infer
from icl.inference.engine.covariance import _restore
from icl.inference.engine.weights import Weight, decide_weight


def draw(seed: int = 0, n: int = 150, N: int = 900) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x, z, e, other = rng.normal(size=(4, n + N))
    table = pd.DataFrame({"x": x, "z": z, "y": 1 + 0.5 * x + e})
    table["f"] = 0.7 * table["y"] + 0.3 * x**2 + 0.4 * other
    table.loc[n:, "y"] = np.nan
    return table


def test_synsurr_is_the_partial_slope():
    table = draw()
    labeled = table.dropna()
    X = np.column_stack([labeled["f"], np.ones(len(labeled)), labeled["x"]])
    slope = np.linalg.lstsq(X, labeled["y"], rcond=None)[0][0]
    assert_allclose(infer(OLS("y ~ x"), table, predictions="f", weight="synsurr").weight, slope, rtol=1e-10)


def test_all_tuned_weights_of_one_mean_agree_up_to_the_pooling():
    table = draw()
    weights = {
        w: infer(Mean("y"), table, predictions="f", weight=w) for w in ("synsurr", "matrix", "ppi++", "coordinate")
    }
    assert_allclose(weights["matrix"].weight, weights["synsurr"].weight, rtol=1e-10)
    assert_allclose(weights["coordinate"].weight, weights["ppi++"].weight, rtol=1e-10)
    # eta on all rows instead of unlabeled ones: the same up to n / N, and to the variance of f in the two samples.
    assert_allclose(weights["ppi++"].weight * (1 + 150 / 900), weights["synsurr"].weight, rtol=0.15)


@pytest.mark.parametrize("estimand", [OLS("y ~ x + z"), Logistic("high ~ x")], ids=str)
def test_more_freedom_is_never_worse_without_small_sample_corrections(estimand):
    """With many labels: matrix <= coordinate <= scalar <= classical in variance, one by one or summed."""
    table = draw(n=4_000, N=20_000)
    table["high"] = np.where(table["y"].isna(), np.nan, table["y"] > 1)
    table["p"] = 1 / (1 + np.exp(-2 * (table["f"] - 1)))
    f = "f" if isinstance(estimand, OLS) else "p"
    variance = {
        w: infer(estimand, table, predictions=f, weight=w, std_error="HC0").std_error.to_numpy() ** 2
        for w in ("matrix", "coordinate", "ppi++", 0)
    }
    assert (variance["matrix"] < 1.01 * variance["coordinate"]).all()
    assert variance["coordinate"].sum() < 1.01 * variance["ppi++"].sum() < 1.01 * variance[0].sum()
    assert (variance["coordinate"] < 1.01 * variance[0]).all()


def test_weights_are_decided_once():
    """Interval, p-value, comparison and effective size speak of one weight."""
    result = infer(OLS("y ~ x"), draw(), predictions="f", weight="ppi++")
    assert result._solver.under("ppi++") is result._answer
    alone = infer(OLS("y ~ x"), draw(), predictions="f", weight=float(result.weight))
    assert_allclose(alone.estimate, result.estimate, rtol=1e-12)
    assert_allclose(result.compare().loc["ppi++", "weight"], result.weight)


@pytest.mark.parametrize(("estimand", "n"), [(Mean("y"), 20), (OLS("y", covariates=["x"]), 50)], ids=str)
def test_a_scalar_weight_does_not_swing_with_single_rows(estimand, n):
    """Good predictions of a heavy-tailed outcome: PPI++ is about as narrow and as near as SynSurr, in the mean too."""
    width, error = {"ppi++": [], "synsurr": [], 0: []}, {"ppi++": [], "synsurr": [], 0: []}
    for r in range(150):
        rng = np.random.default_rng(r)
        x, e, other = rng.normal(size=(3, n + 500))
        y = 1 + 0.8 * x + 0.4 * (x**2 - 1) + (0.6 + 0.4 * np.abs(x)) * e
        table = pd.DataFrame({"x": x, "y": np.where(np.arange(n + 500) < n, y, np.nan), "f": y + 0.3 * other})
        solver = infer(estimand, table, predictions="f", weight=0)._solver
        for weight in width:
            answer = solver.under(weight)
            width[weight].append(np.ptp(answer.interval(0.9), axis=0)[-1])
            error[weight].append(answer.estimate[-1] - (1.0 if n == 20 else 0.8))
    assert np.mean(width["ppi++"]) < 1.1 * np.mean(width["synsurr"]) < 0.5 * np.mean(width[0])
    assert np.std(error["ppi++"]) < 1.15 * np.std(error["synsurr"]) < 0.5 * np.std(error[0])


@pytest.mark.parametrize("kind", ["HC2", "HC3"])
def test_a_row_gets_back_what_its_own_share_in_a_scalar_weight_took(kind):
    rng = np.random.default_rng(0)
    b, lever, rest, tilt = rng.normal(size=(4, 5, 3)) * 0.4
    share = np.einsum("np,np->n", b, lever)
    W = Weight("ppi++", np.eye(3), tilt=np.zeros((5, 3)), leverage=share, block=(b, lever))
    power = {"HC2": 0.5, "HC3": 1.0}[kind]
    for i, got in enumerate(_restore(rest, W, kind)):
        block = np.eye(3) - np.outer(b[i], lever[i])
        assert_allclose(got, np.linalg.inv(block if kind == "HC3" else sqrtm(block).real) @ rest[i], rtol=1e-9)
    with_tilt = _restore(rest, replace(W, tilt=tilt), kind) - _restore(rest, W, kind)
    assert_allclose(with_tilt, tilt / (1 - share[:, None]) ** power, rtol=1e-9)


def test_overconfident_probabilities_do_not_count_for_more():
    """Scores, not coefficients, are compared: sharpening f in the logit scale leaves most of the weight."""
    table = draw(n=1_000, N=5_000)
    table["high"] = np.where(table["y"].isna(), np.nan, table["y"] > 1)
    calm, sharp = (
        infer(Logistic("high ~ x"), table.assign(p=1 / (1 + np.exp(-k * (table["f"] - 1)))), predictions="p")
        for k in (2.0, 8.0)
    )
    assert 0.3 < sharp.weight / calm.weight < 1.0
    assert_allclose(sharp.std_error, calm.std_error, rtol=0.1)


def test_recalibration_repairs_predictions_that_miss_the_covariates():
    """f errs by a multiple of x: a regression of y on (x, f) knows, and the matrix weight cannot be far behind."""
    table = draw(n=900, N=9_000)
    table["f"] = table["f"] - 2 * table["x"]
    repaired = infer(OLS("y ~ x"), table, predictions="f", weight="recalibrated")
    assert (repaired.std_error < infer(OLS("y ~ x"), table, predictions="f", weight=1).std_error).all()
    classical = infer(OLS("y ~ x"), table)
    assert (repaired.std_error < 0.85 * classical.std_error).all()
    assert (np.abs(repaired.estimate - [1, 0.5]) < 4 * repaired.std_error).all()


def test_refused_with_advice():
    table = draw().assign(w=1.0 + np.arange(1_050) % 2)
    for estimand, options, message in (
        (OLS("y ~ x"), dict(weight="recalibrated", design=Design(weights="w")), "count alike"),
        (OLS("y ~ x + z + x:z + np.sin(x) + np.cos(z)"), dict(weight="recalibrated"), "180 are needed"),
        (Quantile("y"), dict(weight="recalibrated"), "regressions and means"),
        (OLS("y ~ x"), dict(weight="coordinate", compat="ppi_py"), "single coordinates of means"),
        (OLS("y ~ x"), dict(weight="synsurr", compat="ipd"), "'coordinate' or 'matrix'"),
        (OLS("y ~ x"), dict(weight=0.5, compat="ipd"), "not reproduced"),
        (OLS("y ~ x"), dict(weight="best"), "known are"),
    ):
        with pytest.raises(ValueError, match=message):
            infer(estimand, table, predictions="f", **options)


def skewed(seed: int = 0, n: int = 30, N: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x, z, e = rng.normal(size=(3, n + N))
    y = 1 + x + e
    table = pd.DataFrame({"x": x, "z": z, "y": y, "f": np.exp(0.7 * y + 0.3 * z), "high": (y > 1) * 1.0})
    table["p"] = table["f"] / (1 + table["f"])
    table.loc[n:, ["y", "high"]] = np.nan
    return table


@pytest.mark.parametrize("estimand", [OLS("y", ["x", "z"]), Logistic("high", ["x"])], ids=str)
def test_units_and_origin_of_covariates_do_not_change_a_scalar_weight(estimand):
    f = "f" if isinstance(estimand, OLS) else "p"
    table = skewed(1, n=60)
    one = infer(estimand, table, predictions=f, weight="ppi++")
    other = infer(estimand, table.assign(x=1e3 * table["x"] + 4e3, z=-table["z"]), predictions=f, weight="ppi++")
    assert_allclose(other.weight, one.weight, rtol=1e-9)
    assert_allclose(1e3 * other.interval().loc["x"], one.interval().loc["x"], rtol=1e-8)


def test_a_matrix_and_its_variance_leave_out_one_row_at_a_time():
    result = infer(OLS("y", ["x", "z"]), skewed(), predictions="f", weight="matrix")
    parts, h = result._solver.parts, result._solver.parts.leverage[:, None]
    a, b, gap = parts.influence_y, parts.influence_f, parts.gap(True)
    W = decide_weight(parts, "matrix").W
    beside = parts.all_f.influence(parts.problem.rows_f)
    beside = beside / (1 - parts.all_f.leverage(parts.problem.rows_f))[:, None]
    rows = []
    for i in range(len(a)):
        others = np.arange(len(a)) != i
        without = np.linalg.solve(b[others].T @ b[others], b[others].T @ a[others]).T
        rows.append(a[i] / (1 - h[i]) - without @ (b[i] / (1 - h[i]) - beside[i]) + (W - without) @ gap)
    expected = np.array(rows).T @ np.array(rows) + W @ parts.all_spread.corrected @ W.T
    assert_allclose(result.covariance, expected, rtol=1e-8)


def test_one_weight_for_each_coefficient_leaves_out_one_row_at_a_time():
    parts = infer(OLS("y", ["x"]), skewed(), predictions="f", weight="coordinate")._solver.parts
    W, a, b = decide_weight(parts, "coordinate"), parts.influence_y, parts.influence_f
    elsewhere = np.diag(parts.unlabeled_spread_on_bridge)
    for i in (0, 7, 29):
        others = np.arange(len(a)) != i
        total = (b[others] ** 2).sum(axis=0) + elsewhere
        assert_allclose(W.refit[i], (a[others] * b[others]).sum(axis=0) / total, rtol=1e-9)


def test_degrees_of_freedom_are_those_of_uneven_levers():
    """Given the predictions a tuned mean is a sum of outcomes, of which some count for more, and may vary more."""
    table = skewed(3)
    n, f, full = 30, table["f"].to_numpy()[:30], table["f"].mean()
    levers = 1 / n + (f - f.mean()) / ((f - f.mean()) ** 2).sum() * (full - f.mean())
    even = (levers**2).sum() ** 2 / (levers**4).sum() / n
    worth = (np.abs(levers) ** 3).sum() ** 2 / (levers**6).sum() / n
    assert worth < even < 0.97
    assert_allclose(infer(Mean("y"), table, predictions="f", weight="synsurr").df, (n - 2) * worth, rtol=1e-9)
    for weight in (0, 1, 0.3):  # what no outcome has moved is as even as labels alone
        assert infer(Mean("y"), table, predictions="f", weight=weight).df == n - 1
    # As far from the average as labels are, no row counts for more.
    level = table.assign(f=np.where(np.arange(230) < n, table["f"], table["f"][:n].mean()))
    assert_allclose(infer(Mean("y"), level, predictions="f", weight="synsurr").df, n - 2, rtol=1e-9)


def test_a_statistic_tunes_its_weight_anew_in_every_resample():
    """The spread of the draws takes in that of the weight: predictions of noise seem to help by chance only."""
    rng, ratio = np.random.default_rng(0), []
    for seed in range(8):
        table = skewed(seed, n=20).assign(f=rng.normal(size=220))
        mean = Statistic(lambda d: d["y"].to_numpy().mean(), "y", n_draws=300)
        result = infer(mean, table, predictions="f")
        ratio.append(result.std_error.iloc[0] / infer(Mean("y"), table).std_error.iloc[0])
    assert 0.97 < np.mean(ratio) < 1.12
