"""Rates: intervals cover as often as they say, and the two common mistakes are seen to fail."""

import math

import numpy as np
import pandas as pd
import pytest

from icl.inference import OLS, Mean, infer

LEVEL, N_REPS = 0.90, 1_000
ESTIMANDS = {"mean": (Mean("y"), "y", 1.0), "ols": (OLS("y", covariates=["x"]), "x", 0.8)}


def draw(n_reps: int, n_rows: int, seed: int) -> dict[str, np.ndarray]:
    """Heteroskedastic, nonlinear in x; E y = 1 and the best linear slope is 0.8. Predictions of three qualities."""
    rng = np.random.default_rng(seed)
    x, noise, other = rng.normal(size=(3, n_reps, n_rows))
    y = 1 + 0.8 * x + 0.4 * (x**2 - 1) + (0.6 + 0.4 * np.abs(x)) * noise
    return {
        "x": x,
        "y": y,
        "useless": other,
        "biased": 5 - 0.5 * y + x + 0.3 * x**2 + 0.5 * other,
        "good": y + 0.3 * other,
    }


def assert_nominal(hits: list[bool]) -> None:
    rate, noise = np.mean(hits), math.sqrt(LEVEL * (1 - LEVEL) / len(hits))
    assert abs(rate - LEVEL) < 4 * noise, f"covered {rate:.3f}, nominal {LEVEL}, Monte Carlo error {noise:.3f}"


@pytest.mark.parametrize("name", ESTIMANDS)
@pytest.mark.parametrize("quality", ["useless", "biased", "good"])
def test_interval_covers_at_its_nominal_rate(name, quality):
    estimand, term, truth = ESTIMANDS[name]
    n, N = 40, 400
    data = draw(N_REPS, n + N, seed=11)
    data["y"][:, n:] = np.nan
    hits, widths, classical_widths = [], [], []
    for r in range(N_REPS):
        table = {"x": data["x"][r], "y": data["y"][r]}
        result = infer(estimand, table, predictions=data[quality][r], level=LEVEL)
        lower, upper = result.interval().loc[term]
        hits.append(lower <= truth <= upper)
        widths.append(upper - lower)
        classical_widths.append((upper - lower) * math.sqrt(result.gain[term]))
    assert_nominal(hits)
    ratio = np.mean(widths) / np.mean(classical_widths)
    assert ratio < 0.6 if quality == "good" else ratio < 1.05


class TwoNearest:
    """Overfits by design: a row it was fitted on is predicted half by its own label."""

    def fit(self, X, y):
        self.x_, self.y_ = X["x"].to_numpy(), np.asarray(y)
        return self

    def predict(self, X):
        distance = np.abs(X["x"].to_numpy()[:, None] - self.x_)
        return self.y_[np.argpartition(distance, 1, axis=1)[:, :2]].mean(axis=1)


@pytest.fixture(scope="module")
def overfit_tables():
    n, N, n_reps = 60, 300, 500
    data = draw(n_reps, n + N, seed=5)
    data["y"][:, n:] = np.nan
    return [pd.DataFrame({"x": data["x"][r], "y": data["y"][r]}) for r in range(n_reps)]


def mean_is_covered(result) -> bool:
    lower, upper = result.interval(LEVEL).iloc[0]
    return lower <= 1.0 <= upper


def test_cross_fitting_an_overfit_predictor_covers(overfit_tables):
    assert_nominal(
        [mean_is_covered(infer(Mean("y"), t, predictor=TwoNearest(), seed=r)) for r, t in enumerate(overfit_tables)]
    )


@pytest.mark.parametrize("weight", ["auto", "ppi++", 1])
def test_double_dipping_is_seen_to_fail(overfit_tables, weight):
    hits = []
    for table in overfit_tables:
        labeled = table.dropna()
        dipped = TwoNearest().fit(labeled, labeled["y"]).predict(table)
        hits.append(mean_is_covered(infer(Mean("y"), table, predictions=dipped, weight=weight)))
    assert 0.4 < np.mean(hits) < 0.8  # nominal 0.9


def test_imputation_is_seen_to_fail(overfit_tables):
    hits = []
    for r, table in enumerate(overfit_tables):
        result = infer(Mean("y"), table, predictor=TwoNearest(), seed=r, level=LEVEL)
        imputed = result.compare().loc[("imputed", "y")]
        assert not imputed["valid"]
        hits.append(imputed["lower"] <= 1.0 <= imputed["upper"])
    assert np.mean(hits) < 0.75  # nominal 0.9
