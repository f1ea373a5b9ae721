"""Weights from cross-fitted predictions, and weights that are shrunk: a predictor that learns nothing costs nothing."""

import functools
import math

import numpy as np
import pandas as pd
import pytest
from light_models import Line
from numpy.testing import assert_allclose
from sklearn.dummy import DummyClassifier, DummyRegressor

from icl.inference import OLS, Design, Logistic, Mean, MEstimand, Poisson, Quantile, Statistic, infer
from icl.inference.engine.shrink import settle_weight
from icl.inference.inputs.cross_fit import cross_fit

N_LABELED = 24


class Ridge:
    """Ridge regression that predicts all folds at once; a penalty of infinity learns the mean alone."""

    def __init__(self, penalty=100.0, shift=0.0):
        self.penalty, self.shift = penalty, shift

    def fit(self, X, y):
        X = np.asarray(X, dtype=float)
        self.center, self.mean = X.mean(axis=0), y.mean()
        off = X - self.center
        self.slopes = np.linalg.solve(off.T @ off + self.penalty * np.eye(X.shape[1]), off.T @ (y - self.mean))
        return self

    def predict(self, X):
        return self.mean + (np.asarray(X, dtype=float) - self.center) @ self.slopes

    def predict_folds(self, X, y, fold_of_row, X_unlabeled):
        f, by_fold = np.empty(len(y)), []
        for k in range(fold_of_row.max() + 1):
            model = Ridge(self.penalty).fit(X[fold_of_row != k], y[fold_of_row != k])
            f[fold_of_row == k] = model.predict(X[fold_of_row == k]) + k * self.shift
            by_fold.append(model.predict(X_unlabeled) + k * self.shift)
        return f, np.stack(by_fold)


def draw(seed: int = 0, n: int = N_LABELED, N: int = 90, signal: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x, z, noise = rng.normal(size=(3, n + N))
    y = 3 + x + signal * z + noise
    table = pd.DataFrame({"y": y, "x": x, "z": z, "high": (y > 3) * 1.0, "count": rng.poisson(np.exp(0.5 * x)) * 1.0})
    table["g"], table["school"] = np.resize(["a", "b", "b"], n + N), np.arange(n + N) // 4
    table.loc[n:, ["y", "high", "count"]] = np.nan
    return table


ESTIMANDS = {
    "mean": Mean("y"),
    "means by group": Mean("y", by="g"),
    "two means": Mean(["y", "count"]),
    "least squares": OLS("y", covariates=["x"]),
    "logistic": Logistic("high", covariates=["x"]),
    "poisson": Poisson("count", covariates=["x"]),
    "median": Quantile("y"),
    "m-estimand": MEstimand(lambda t, X, y: X * (y - X @ t)[:, None], "y", ["x"], ["Intercept", "x"], intercept=True),
    "statistic": Statistic(lambda t: t["y"].mean(), "y", n_draws=100),
}


@functools.cache
def of_the_mean(name: str, folds: int, weight):
    """An estimand from predictions by the mean of the labels, which know nothing."""
    model = DummyClassifier(strategy="prior") if name == "logistic" else Line(constant=True)
    return infer(ESTIMANDS[name], draw(), predictor=model, weight=weight, features=["z"], folds=folds)


@pytest.mark.parametrize("weight", ["auto", "ppi++", "coordinate", "matrix"])
@pytest.mark.parametrize("folds", [2, 5, N_LABELED])
@pytest.mark.parametrize("name", ESTIMANDS)
def test_the_mean_of_the_labels_as_predictor_gives_the_classical_answer(name, folds, weight):
    """Without leveling folds the tuned weight is 1 - K: a slope of 1 from 40 labels in 40 folds came out as .085."""
    ours, classical = of_the_mean(name, folds, weight), of_the_mean(name, folds, 0)
    assert_allclose(ours.estimate, classical.estimate, rtol=1e-9)
    assert_allclose(ours.interval(), classical.interval(), rtol=1e-9)


@pytest.mark.parametrize("design", [Design(clusters="school"), Design(strata="g"), Design(weights="w")])
@pytest.mark.parametrize("estimand", [Mean("y"), OLS("y", covariates=["x"])], ids=str)
def test_so_it_does_under_every_design(estimand, design):
    table = draw(n=40).assign(w=np.resize([1.0, 2.0, 4.0], 130))
    options = dict(predictor=DummyRegressor(), features=["z"], design=design, folds=5)
    ours, classical = (infer(estimand, table, weight=weight, **options) for weight in ("auto", 0))
    assert_allclose(ours.interval(), classical.interval(), rtol=1e-8)


@pytest.mark.parametrize("name", ["mean", "means by group", "least squares", "logistic", "poisson", "m-estimand"])
def test_what_a_fold_model_adds_to_all_its_predictions_changes_nothing(name):
    """Held-out rows of fold k and unlabeled rows are predicted by one model: its level cancels."""
    estimand, table = ESTIMANDS[name], draw(signal=1.0)
    outcome = estimand.outcome_columns[0]
    L, U = table[:N_LABELED][["z"]], table[N_LABELED:][["z"]]
    y = table[outcome][:N_LABELED].to_numpy()
    answers = []
    for shift in (0.0, 0.01):
        f = cross_fit(Ridge(100.0, shift), L, y, U)
        for values in (f.f_labeled, f.f_unlabeled, f.by_fold[1]):
            values -= 2 * shift  # the average of five folds stays where it was
        answers.append(infer(estimand, table, predictions=f))
    assert_allclose(answers[0].estimate, answers[1].estimate, rtol=1e-8)
    assert_allclose(answers[0].std_error, answers[1].std_error, rtol=1e-8)


def test_models_that_learned_labels_get_no_negative_weight_and_given_predictions_do():
    for seed in range(6):
        table = draw(seed)
        for estimand in (Mean("y"), OLS("y", covariates=["x"])):
            for weight in ("auto", "ppi++", "coordinate"):
                learned = infer(estimand, table, predictor=Line(), features=["z"], weight=weight, folds=12)
                assert np.min(learned.weight) >= 0
    table["f"] = -draw(seed, n=114, N=0)["y"].to_numpy()
    for weight in ("auto", "ppi++", "coordinate", "matrix"):
        assert infer(Mean("y"), table, predictions="f", weight=weight).weight < -0.7


@pytest.mark.parametrize("folds", [5, 30])
def test_a_weak_predictor_keeps_coverage_and_width(folds):
    """Ridge that learns next to nothing: .345 covered with 30 folds before, at .6 times the slope."""
    n_reps, n, level = 100, 30, 0.90
    hits, narrower = [], []
    for r in range(n_reps):
        result = infer(
            OLS("y", covariates=["x"]), draw(1_000 + r, n=n), predictor=Ridge(), features=["x", "z"], folds=folds
        )
        lower, upper = result.interval(level).loc["x"]
        hits.append(lower <= 1 <= upper)
        narrower.append(1 / math.sqrt(result.gain["x"]))
    assert abs(np.mean(hits) - level) < 4 * math.sqrt(level * (1 - level) / n_reps)
    assert 0.97 < np.mean(narrower) < 1.03


@pytest.mark.parametrize("estimand", [Mean("y"), OLS("y", covariates=["x"]), Mean("y", by="g")], ids=str)
def test_the_variance_under_a_shrunk_weight_leaves_out_one_row_at_a_time(estimand):
    table = draw(2, n=20, N=40).assign(f=lambda t: t["x"] + 0.3 * t["z"])
    result = infer(estimand, table, predictions="f", std_error="HC3")
    W = settle_weight(result._solver.parts, "shrunk")
    without = [infer(estimand, table.drop(i), predictions="f", weight=float(W.refit[i, 0])) for i in range(20)]
    synsurr = [infer(estimand, table.drop(i), predictions="f", weight="synsurr") for i in range(20)]
    # A fixed weight compares with unlabeled rows, a pooled one with all rows.
    estimates = np.array([a.estimate + W.refit[i, 0] * _pooling(a) for i, a in enumerate(without)])
    labeled = result.estimate.to_numpy() - estimates
    unlabeled = result._solver.parts.all_spread.corrected * result.weight**2
    assert_allclose(result.covariance, labeled.T @ labeled + unlabeled, rtol=1e-8)
    assert np.ptp([s.weight for s in synsurr]) > 0


def _pooling(answer) -> np.ndarray:
    parts = answer._solver.parts
    return parts.gap(pooled=True) - parts.gap(pooled=False)


def test_the_textbook_interval_of_a_mean_stays():
    table = draw(3)
    y = table["y"].dropna()
    assert_allclose(infer(Mean("y"), table).std_error["y"], y.std(ddof=1) / math.sqrt(len(y)), rtol=1e-12)
    by = infer(Mean("y", by="g"), table).std_error.to_numpy()
    groups = table.dropna().groupby("g")["y"]
    assert_allclose(by, groups.std(ddof=1) / np.sqrt(groups.size()), rtol=1e-12)


def test_good_predictions_keep_their_weight_and_useless_ones_lose_it():
    rng = np.random.default_rng(4)
    kept, lost = [], []
    for _ in range(60):
        y, noise = rng.normal(size=(2, 220))
        table = {"y": np.where(np.arange(220) < 20, y, np.nan)}
        good, none = (infer(Mean("y"), table, predictions=f) for f in (y + 0.3 * noise, noise))
        kept.append(good.weight / infer(Mean("y"), table, predictions=y + 0.3 * noise, weight="synsurr").weight)
        lost.append(none.weight == 0)
    assert np.mean(kept) > 0.97 and np.max(kept) < 1 and np.mean(lost) > 0.5


def test_predictions_that_labels_have_not_seen_at_their_extremes_count_less():
    """f = exp(1.5 x) has its variance in rows that few samples of 20 contain; .85 covered before."""
    rng = np.random.default_rng(5)
    n_reps, hits, width = 400, [], []
    for _ in range(n_reps):
        x, e = rng.normal(size=(2, 220))
        y = x + e
        result = infer(Mean("y"), {"y": np.where(np.arange(220) < 20, y, np.nan)}, predictions=np.exp(1.5 * x))
        lower, upper = result.interval(0.9).loc["y"]
        hits.append(lower <= 0 <= upper)
        width.append((upper - lower) / (2 * 1.729 * np.std(y[:20], ddof=1) / math.sqrt(20)))
    assert abs(np.mean(hits) - 0.9) < 4 * math.sqrt(0.09 / n_reps)
    assert 0.9 < np.mean(width) < 1.05
