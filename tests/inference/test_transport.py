"""Labels from one population, an answer about another."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import LinearRegression, LogisticRegression

from icl.inference import OLS, Mean, Transport, infer


def draw(d: float, n: int = 200, N: int = 600, seed: int = 0) -> tuple[pd.DataFrame, float]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n + N) + d * (np.arange(n + N) >= n)
    y = x + 0.3 * x**2 + rng.normal(size=n + N)
    table = pd.DataFrame({"x": x, "y": np.where(np.arange(n + N) < n, y, np.nan)})
    return table, d + 0.3 * (1 + d**2)


def test_with_a_known_ratio_weight_zero_is_the_weighted_mean():
    table, _ = draw(0.7)
    p = 200 / (200 + 600 * np.exp(0.7 * table["x"] - 0.245))
    design = Transport(probability=p.to_numpy())
    result = infer(Mean("y"), table.assign(f=table.x), predictions="f", design=design, weight=0)
    ratio = np.exp(0.7 * table["x"][:200] - 0.245)
    assert_allclose(result.estimate.iloc[0], np.average(table["y"][:200], weights=ratio))
    one = infer(Mean("y"), table.assign(f=table.x), predictions="f", design=design, weight=1)
    rest = np.average((table["y"] - table["x"])[:200], weights=ratio)
    assert_allclose(one.estimate.iloc[0], table["x"][200:].mean() + rest)


def test_covers_the_other_population_where_the_default_misses_it():
    hits, missed = [], []
    design = Transport(propensity=LogisticRegression())
    for seed in range(40):
        table, truth = draw(0.6, seed=seed)
        for design_, kept in ((design, hits), (None, missed)):
            options = {"predictor": LinearRegression(), "level": 0.9, "design": design_, "folds": 2}
            low, high = infer(Mean("y"), table, **options).interval().to_numpy()[0]
            kept.append(low <= truth <= high)
    assert abs(np.mean(hits) - 0.9) < 4 * np.sqrt(0.09 / 40) and np.mean(missed) < 0.5


def test_without_shift_it_is_as_narrow_as_plain_ppi():
    table, _ = draw(0.0)
    ours = infer(Mean("y"), table, predictor=LinearRegression(), design=Transport())
    plain = infer(Mean("y"), table, predictor=LinearRegression(), weight=1)
    assert_allclose(ours.std_error, plain.std_error, rtol=0.08)


def test_slopes_move_too():
    """The best line through a parabola is steeper further right: slope 1 + .6 d."""
    table, _ = draw(0.8, n=2000, N=4000)
    result = infer(OLS("y ~ x"), table, predictor=LinearRegression(), design=Transport())
    assert abs(result.estimate["x"] - 1.48) < 4 * result.std_error["x"] < 0.5


def test_populations_that_hardly_overlap_are_refused():
    with pytest.raises(ValueError, match="resemble"):
        infer(Mean("y"), draw(2.5)[0], predictor=LinearRegression(), design=Transport())
    said = [
        d.code for d in infer(Mean("y"), draw(1.0)[0], predictor=LinearRegression(), design=Transport()).diagnostics
    ]
    assert "transport_overlap" in said and "shift" not in said


def test_label_shift_recovers_the_share_from_hard_labels_like_rogan_and_gladen():
    rng = np.random.default_rng(0)
    y = np.r_[rng.random(400) < 0.3, rng.random(3000) < 0.7] * 1.0
    f = np.where(rng.random(3400) < 0.85, y, 1 - y)
    table = pd.DataFrame({"y": np.where(np.arange(3400) < 400, y, np.nan), "f": f})
    result = infer(Mean("y"), table, predictions="f", design=Transport(shift="label"))
    q1, q0 = f[:400][y[:400] == 1].mean(), 1 - f[:400][y[:400] == 0].mean()
    assert_allclose(result.estimate.iloc[0], (f[400:].mean() + q0 - 1) / (q0 + q1 - 1))
    low, high = result.interval().to_numpy()[0]
    assert low < 0.7 < high and result.method == "label shift"
    with pytest.raises(ValueError, match="cannot show"):
        infer(Mean("y"), table.assign(f=rng.random(3400)), predictions="f", design=Transport(shift="label"))
