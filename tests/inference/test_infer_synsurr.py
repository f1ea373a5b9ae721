"""SynSurr by EM: the published program's numbers, an independent maximiser, and the jackknife."""

import json

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize
from scipy.stats import multivariate_normal, norm

from icl.inference import OLS, fit_synsurr, infer
from icl.inference.synsurr import _covariance, _precisions, _Rows
from tests.inference.conftest import DATA

REFERENCE = json.loads((DATA / "synsurr_R_reference.json").read_text())
FORMULA = "y_lin ~ x1 + x2"


@pytest.fixture(scope="module")
def published(table):
    return fit_synsurr(FORMULA, table, predictions="f_lin", std_error="model", reference="normal")


def draw(n_complete: int = 25, n_outcome: int = 10, n_prediction: int = 40, seed: int = 3) -> pd.DataFrame:
    """Rows of all three kinds and five with neither."""
    rng = np.random.default_rng(seed)
    sizes = np.array([n_complete, n_outcome, n_prediction, 5])
    x, e, u = rng.normal(size=(3, sizes.sum()))
    table = pd.DataFrame({"x": x, "y": 1 + x + e, "f": 0.5 - x + 0.8 * e + 0.6 * u})
    kind = np.repeat(range(4), sizes)
    table.loc[kind >= 2, "y"] = np.nan
    table.loc[(kind == 1) | (kind == 3), "f"] = np.nan
    return table.sample(frac=1, random_state=seed)


def test_equals_the_published_em(published):
    assert_allclose(published.estimate, REFERENCE["EM/target/est"], atol=2e-8)
    assert_allclose(published.std_error, REFERENCE["EM/target/se"], atol=1e-8)
    sigma = published.sigma.to_numpy()
    assert_allclose([sigma[0, 0], sigma[0, 1], sigma[1, 1]], REFERENCE["EM/sigma(TT,TS,SS)"], atol=1e-7)


def test_gaps_on_both_sides_equal_the_published_em(table):
    gaps = table.copy()
    gaps.loc[np.arange(0, 400, 10), "f_lin"] = np.nan  # every tenth labeled row lacks its prediction
    fit = fit_synsurr(FORMULA, gaps, predictions="f_lin", std_error="model", reference="normal")
    assert_allclose(fit.estimate, REFERENCE["EM_bilateral/target/est"], atol=1e-7)
    assert_allclose(fit.std_error, REFERENCE["EM_bilateral/target/se"], atol=1e-7)


def test_score_and_wald_tests_equal_the_published_ones(published):
    # That program stops its iteration at a looser tolerance, hence five digits.
    for test, key in ((published.score_test("x1"), "EM/score x1=0"), (published.wald("x1"), "EM/wald x1=0")):
        statistic, df, p = REFERENCE[key]
        assert_allclose(test.statistic, statistic, rtol=3e-5)
        assert test.df == df and test.df_residual == np.inf
        assert_allclose(np.log(test.p_value), np.log(p), rtol=3e-5)


def test_with_all_predictions_present_em_is_the_closed_form(published, table):
    closed = infer(OLS(FORMULA), table, predictions="f_lin", weight="synsurr")
    assert_allclose(published.estimate, closed.estimate, rtol=1e-10)
    assert_allclose(published.sigma.iloc[0, 1] / published.sigma.iloc[1, 1], closed.weight, rtol=1e-10)


def test_an_independent_maximiser_finds_the_same():
    table = draw()
    fit = fit_synsurr("y ~ x", table, predictions="f")
    assert (fit.n_complete, fit.n_outcome_only, fit.n_prediction_only) == (25, 10, 40)
    x, y, f = (table[name].to_numpy() for name in ("x", "y", "f"))
    both, only_y, only_f = np.isfinite(y) & np.isfinite(f), np.isfinite(y) & np.isnan(f), np.isnan(y) & np.isfinite(f)

    def negative_log_likelihood(v):
        L = np.array([[np.exp(v[4]), 0], [v[5], np.exp(v[6])]])
        sigma = L @ L.T
        e, u = y - v[0] - v[1] * x, f - v[2] - v[3] * x
        total = multivariate_normal(cov=sigma).logpdf(np.column_stack([e, u])[both]).sum()
        total += norm.logpdf(e[only_y], scale=np.sqrt(sigma[0, 0])).sum()
        return -total - norm.logpdf(u[only_f], scale=np.sqrt(sigma[1, 1])).sum()

    best = minimize(negative_log_likelihood, np.zeros(7), method="BFGS", options={"gtol": 1e-7})
    assert_allclose(fit.estimate, best.x[:2], atol=1e-5)
    assert_allclose(fit.surrogate, best.x[2:4], atol=1e-5)
    at_fit = np.r_[fit.estimate, fit.surrogate]
    L = np.linalg.cholesky(fit.sigma)
    assert negative_log_likelihood(np.r_[at_fit, np.log(L[0, 0]), L[1, 0], np.log(L[1, 1])]) <= best.fun + 1e-8


def test_exchanging_outcome_and_prediction_exchanges_the_answers():
    table = draw()
    fit, mirrored = (
        fit_synsurr("y ~ x", table, predictions="f"),
        fit_synsurr("f ~ x", table, predictions="y"),
    )
    assert_allclose(fit.surrogate, mirrored.estimate, rtol=1e-8)
    assert_allclose(fit.sigma, mirrored.sigma.to_numpy()[::-1, ::-1], rtol=1e-8)


def test_units_carry_over():
    table = draw()
    fit = fit_synsurr("y ~ x", table, predictions="f")
    other = fit_synsurr("y ~ x", table.assign(y=3 * table["y"] + 2, f=-7 * table["f"] + 1), predictions="f")
    assert_allclose(other.estimate, 3 * fit.estimate + [2, 0], rtol=1e-8)
    assert_allclose(other.std_error, 3 * fit.std_error, rtol=1e-8)


def test_hc3_is_the_jackknife_at_fixed_sigma():
    table = draw().dropna(how="all", subset=["y", "f"])
    fit = fit_synsurr("y ~ x", table, predictions="f", std_error="HC3")
    sigma = fit.sigma.to_numpy()

    def solve(rows):  # generalised least squares, row by row
        X = np.column_stack([np.ones(len(rows)), rows["x"]])
        W = _precisions(_Rows(X, rows["y"].to_numpy(), rows["f"].to_numpy()), sigma)
        Z = np.stack([np.kron(np.eye(2), x) for x in X])
        e = np.nan_to_num(rows[["y", "f"]].to_numpy())
        A = np.einsum("rip,rij,rjq->pq", Z, W, Z)
        return np.linalg.solve(A, np.einsum("rip,rij,rj->p", Z, W, e))

    whole = solve(table)
    assert_allclose(whole[:2], fit.estimate, rtol=1e-8)
    moves = np.stack([solve(table.drop(index=i)) - whole for i in table.index])
    assert_allclose((moves.T @ moves)[:2, :2], fit.covariance, rtol=1e-8)


def test_sandwich_holds_where_the_published_variance_fails():
    n, N, n_reps, level, hits = 60, 240, 300, 0.9, {"HC3": [], "model": []}
    rng = np.random.default_rng(0)
    for _ in range(n_reps):
        x, e, u = rng.normal(size=(3, n + N))
        e = e * (0.3 + np.abs(x))
        table = pd.DataFrame({"x": x, "y": 1 + x + e, "f": e + u})
        table.loc[n:, "y"] = np.nan
        table.loc[:14, "f"] = np.nan
        fit = fit_synsurr(OLS("y", covariates=["x"]), table, predictions="f")
        rows = fit._rows
        for kind in hits:
            covariance = _covariance(
                rows, fit.estimate.to_numpy(), fit.surrogate.to_numpy(), fit.sigma.to_numpy(), kind
            )
            reach = 1.671 * np.sqrt(covariance[1, 1])  # t with 58 degrees of freedom
            hits[kind].append(abs(fit.estimate["x"] - 1) <= reach)
    noise = np.sqrt(level * (1 - level) / n_reps)
    assert abs(np.mean(hits["HC3"]) - level) < 4 * noise
    assert np.mean(hits["model"]) < 0.82


def test_result_prints_and_tabulates():
    fit = fit_synsurr("y ~ x", draw(), predictions="f", level=0.9)
    text = repr(fit)
    assert "25 with outcome and prediction, 10 with the outcome alone, 40 with the prediction alone" in text
    assert "90% low" in text and "missing completely at random" in text and fit.df == 33
    frame = fit.to_frame()
    assert_allclose(frame[["conf.low", "conf.high"]], fit.interval(0.9))
    assert_allclose(frame["p.value"], fit.p_value())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(estimand="y"), "names no covariates"),
        (dict(estimand=3), "linear model"),
        (dict(std_error="HC9"), "known are 'HC3'"),
        (dict(predictions="yhat"), r"no column 'yhat'"),
        (dict(predictions=np.ones(3)), r"shape \(3,\)"),
        (dict(table=draw(4)), "4 rows have both"),
        (dict(table=draw().assign(f=lambda t: 2 * t["x"])), "linear function of the covariates"),
    ],
)
def test_refused_with_advice(options, words):
    options = dict(estimand="y ~ x", table=draw(), predictions="f") | options
    with pytest.raises(ValueError, match=words):
        fit_synsurr(options.pop("estimand"), options.pop("table"), **options)


def test_score_test_refuses_what_it_cannot_test(published):
    with pytest.raises(ValueError, match="the terms are"):
        published.score_test("age")
    with pytest.raises(ValueError, match="every term"):
        published.score_test(["Intercept", "x1", "x2"])
