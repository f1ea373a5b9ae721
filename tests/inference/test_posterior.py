"""Predictive resampling: the exact posterior where it is known; the correction repairs a wrong prior."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression

import icl
from icl.inference import Quantile, posterior


class Conjugate(BaseEstimator):
    """y = X beta + noise of variance 1, beta normal: a prior whose posterior is known; rows are drawn jointly."""

    def __init__(self, center=0.0, precision=1.0):
        self.center, self.precision = center, precision

    def fit(self, X, y):
        Z = np.column_stack([np.ones(len(X)), X])
        P = self.precision * np.eye(Z.shape[1])
        self.covariance_ = np.linalg.inv(P + Z.T @ Z)
        self.mean_ = self.covariance_ @ (P @ np.full(Z.shape[1], self.center) + Z.T @ np.asarray(y))
        return self

    def draw(self, X, rng):
        beta = rng.multivariate_normal(self.mean_, self.covariance_)
        return np.column_stack([np.ones(len(X)), X]) @ beta + rng.normal(size=len(X))


def table_of(n: int, seed: int, beta=(0.3, 1.0)) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    return pd.DataFrame({"x": x, "y": beta[0] + beta[1] * x + rng.normal(size=n)})


def test_it_is_the_exact_posterior_where_that_is_known():
    table = table_of(50, 0)
    found = posterior("ols: y ~ x", table, Conjugate(precision=4.0), draws=1000, seed=1)
    exact = Conjugate(precision=4.0).fit(table[["x"]], table["y"])
    std = np.sqrt(np.diag(exact.covariance_))
    # Four errors of 1,000 draws: of a standard deviation, a mean, and a range between quantiles.
    assert found.believed.std().to_numpy() == pytest.approx(std, rel=0.09)
    assert np.abs(found.believed.mean().to_numpy() - exact.mean_).max() < 0.13 * std.max()
    width = np.ptp(found.interval(0.9, corrected=False).to_numpy(), axis=1)
    assert width == pytest.approx(2 * 1.645 * std, rel=0.13)


def test_the_correction_repairs_a_wrong_prior():
    """A prior that insists on a slope of -2: its intervals never cover, corrected ones nearly at their rate."""
    hits = np.zeros(2)
    for seed in range(50):
        found = posterior("ols: y ~ x", table_of(60, seed), Conjugate(-2.0, 20.0), draws=40, rows=200, seed=seed)
        for k, corrected in enumerate((True, False)):
            low, high = found.interval(0.9, corrected).loc["x"]
            hits[k] += low <= 1.0 <= high
    rate = hits / 50
    assert rate[1] < 0.3 and abs(rate[0] - 0.88) < 4 * np.sqrt(0.88 * 0.12 / 50)


def test_same_seed_same_draws_and_it_shows_itself():
    table = table_of(40, 3)
    one, again = (posterior("mean: y", table, Conjugate(), draws=20, seed=2) for _ in range(2))
    pd.testing.assert_frame_equal(one.draws, again.draws)
    assert one.to_frame().columns.tolist()[:3] == ["term", "mean", "low"] and "20 draws" in repr(one)
    assert one.plot().get_xlabel() == one.draws.columns[0]


def test_in_context_models_and_classifiers_draw_too():
    table = table_of(30, 4)
    model = icl.ICLRegressor("nano", quality="fast")
    found = posterior("mean: y", table, model, draws=4, rows=30, blocks=2)
    assert np.isfinite(found.draws.to_numpy()).all()
    table["y"] = (table["y"] > 0) * 1.0
    share = posterior("mean: y", table, LogisticRegression(), draws=30, rows=200)
    assert abs(share.draws.mean().iloc[0] - table["y"].mean()) < 0.1


@pytest.mark.parametrize("estimand", ("mean: y", "logistic: y ~ x"))
@pytest.mark.parametrize("blocks", (1, 3))
def test_one_rolled_row_and_two_draws_are_enough(estimand, blocks):
    """More blocks than rows asked predictors for no rows, which those of scikit-learn refuse."""
    table = table_of(30, 6)
    table["y"] = (table["y"] > 0) * 1.0
    found = posterior(estimand, table, LogisticRegression(), draws=2, rows=1, blocks=blocks)
    ends = found.to_frame().drop(columns="term").to_numpy()
    assert np.isfinite(ends).all() and (ends[:, 1::3] <= ends[:, 2::3]).all()


@pytest.mark.parametrize("rows", (0, -1, 2.5, True))
def test_rows_are_a_number_of_rows(rows):
    with pytest.raises(ValueError, match="rows got"):
        posterior("mean: y", table_of(30, 7), Conjugate(), draws=2, rows=rows)


def test_what_cannot_be_rolled_is_refused():
    table = table_of(30, 5)
    with pytest.raises(ValueError, match="draw\\(X, rng\\)"):
        posterior("mean: y", table, LinearRegression(), draws=3)
    with pytest.raises(ValueError, match="solved from scores"):
        posterior(Quantile("y", 0.5), table, Conjugate(), draws=3)
    with pytest.raises(ValueError, match="rows with gaps"):
        posterior("mean: y", table.assign(y=np.nan), Conjugate(), draws=3)
    with pytest.raises(ValueError, match="at least 2 and 1"):
        posterior("mean: y", table, Conjugate(), draws=1)
