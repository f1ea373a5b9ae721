"""Estimated probabilities, mended: exact laws of the tilt, and rates where both working models are wrong."""

import math

import numpy as np
import pandas as pd
import pytest
from light_models import Odds
from numpy.testing import assert_allclose
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin

from icl.inference import OLS, Design, Mean, infer
from icl.inference.inputs import design as design_module
from icl.inference.inputs.balance import balance, correct_predictions, tilt

LEVEL = 0.90


class Known(ClassifierMixin, BaseEstimator):
    """Log-odds that are a line in x, whatever it was fitted on: not those by which rows were labeled."""

    def fit(self, X, y):
        self.classes_ = np.array([0, 1])
        return self

    def predict(self, X):
        return self.predict_proba(X).argmax(axis=1)

    def predict_proba(self, X):
        p = expit(-1 + 0.8 * X["x"].to_numpy())
        return np.column_stack([1 - p, p])


def draw(n_rows: int, seed: int) -> pd.DataFrame:
    """Labels level off where log-odds do not; E[y - f | x] is a parabola; the mean of y is 0, its best slope 1."""
    rng = np.random.default_rng(seed)
    x, e, u = rng.normal(size=(3, n_rows))
    y = x + 0.7 * e
    labeled = rng.uniform(size=n_rows) < 0.06 + 0.24 * expit(2 * x)
    f = 0.5 * x**2 + y + 0.4 * u
    return pd.DataFrame({"x": x, "full": y, "y": np.where(labeled, y, np.nan), "f": f})


def test_tilted_weights_balance_and_stay_positive():
    rng = np.random.default_rng(0)
    w, Z = rng.uniform(0.5, 2, 80), rng.normal(size=(80, 2))
    target = np.array([0.3, -0.2])
    tilted = tilt(w, Z, target)
    assert tilted.min() > 0
    assert_allclose(tilted.mean(), 1)
    assert_allclose(tilted @ Z / 80, target, atol=1e-9)
    assert_allclose(tilt(w, Z, w @ Z / w.sum()), w / w.mean(), rtol=1e-8)  # nothing to do
    # The tilt is exponential in Z: its logarithm lies in the span of (1, Z).
    ones = np.column_stack([np.ones(80), Z])
    change = np.log(tilted / w)
    assert_allclose(ones @ np.linalg.lstsq(ones, change, rcond=None)[0], change, atol=1e-9)
    assert tilt(w, Z, np.array([9.0, 0.0])) is None  # outside all rows: no weights reach it


def test_constant_probabilities_are_left_alone():
    weights, basis = balance(np.ones(50), np.full(200, 0.25), np.ones(200))
    assert basis is None and (weights == 1).all()


@pytest.mark.parametrize("estimand", [Mean("y"), OLS("y", covariates=["x"])], ids=str)
def test_errors_that_are_a_parabola_in_the_score_are_removed_exactly(estimand):
    """Then corrected predictions are the outcomes themselves, and the answer is that of the full data."""
    rows = draw(400, 1)
    likely = np.random.default_rng(3).uniform(size=400) < expit(
        np.abs(rows["x"]) - 0.7
    )  # as no line in x would have it
    rows["y"] = rows["full"].where(likely)
    rows["f"] = rows["full"] - (2 + 3 * rows["x"] - 0.7 * rows["x"] ** 2)
    ours = infer(estimand, rows, predictions="f", design=Design(propensity=Known(), features=["x"]))
    whole = infer(estimand, rows.drop(columns="y").rename(columns={"full": "y"}))
    assert_allclose(ours.estimate, whole.estimate, rtol=1e-8, atol=1e-8)
    assert_allclose(ours.std_error, whole.std_error, rtol=0.01)
    assert "corrected along the estimated probabilities" in ours.predictions


def test_no_labeled_row_is_corrected_by_its_own_label():
    rng = np.random.default_rng(2)
    y, f, Z = rng.normal(size=30), rng.normal(size=30), np.column_stack([np.ones(90), rng.normal(size=90)])
    w = rng.uniform(0.5, 2, 30)
    before = correct_predictions(y, f, np.zeros(60), w, Z)[0]
    moved = y.copy()
    moved[7] += 5
    after = correct_predictions(moved, f, np.zeros(60), w, Z)[0]
    assert_allclose(after[7], before[7], rtol=1e-9)
    assert np.abs(after - before).max() > 0.01


def test_both_models_wrong_cover_at_a_smaller_width(monkeypatch):
    hits, ours, plain = [], [], []
    for r in range(150):
        rows = draw(1_200, 300 + r).drop(columns="full")
        options = dict(predictions="f", level=LEVEL, seed=r)
        design = Design(propensity=Odds(), features=["x"])
        result = infer(Mean("y"), rows, design=design, **options)
        lower, upper = result.interval().iloc[0]
        hits.append(lower <= 0 <= upper)
        if r < 10:
            ours.append(result.std_error.iloc[0])
            with monkeypatch.context() as patch:
                patch.setattr(design_module, "balance", lambda weights, *_: (weights, None))
                plain.append(infer(Mean("y"), rows, design=design, **options).std_error.iloc[0])
    noise = math.sqrt(LEVEL * (1 - LEVEL) / len(hits))
    assert abs(np.mean(hits) - LEVEL) < 4 * noise
    assert np.mean(ours) < 0.75 * np.mean(plain)
