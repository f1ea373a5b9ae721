"""Prediction intervals of another population: density ratios and weighted ranks."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import LogisticRegression

from icl.estimators.conformity import plus_interval
from icl.estimators.shifted import density_ratios


def test_ratios_are_those_of_two_normal_populations():
    rng = np.random.default_rng(0)
    old, new = (pd.DataFrame({"x": rng.normal(size=2000) + d}) for d in (0, 0.7))
    ours, theirs = density_ratios(LogisticRegression(C=1e6), old, new, 0)
    for ratio, table in ((ours, old), (theirs, new)):
        assert_allclose(np.log(ratio), 0.7 * table["x"] - 0.245, atol=0.3)
    assert abs(ours.mean() - 1) < 1e-9 and abs(np.average(old["x"], weights=ours) - 0.7) < 0.1


def test_populations_far_apart_are_said_to_be():
    rng = np.random.default_rng(0)
    old, new = (pd.DataFrame({"x": rng.normal(size=300) + d}) for d in (0, 2.0))
    with pytest.warns(UserWarning, match="hardly overlap"):
        density_ratios(LogisticRegression(), old, new, 0)


def test_weighted_intervals_cover_the_shifted_rows_and_unweighted_ones_do_not():
    """Split conformal with the known ratio, noise that grows with x: Tibshirani et al. (2019), theorem 2."""
    rng, hits = np.random.default_rng(0), {"weighted": [], "plain": []}
    for _ in range(200):
        x, q = rng.normal(size=100), rng.normal(size=50) + 1
        score = np.abs(rng.normal(size=100)) * np.exp(0.7 * x)
        truth = rng.normal(size=50) * np.exp(0.7 * q)
        ends = [np.zeros(50)], [np.zeros(50)], [score], 0.9
        weighted = plus_interval(*ends, weights=[np.exp(x - 0.5)], unit=np.exp(q - 0.5))
        for name, (low, high) in (("weighted", weighted), ("plain", plus_interval(*ends))):
            hits[name].append(((low <= truth) & (truth <= high)).mean())
    assert np.mean(hits["plain"]) < 0.8 and 0.88 < np.mean(hits["weighted"]) < 0.96


def test_a_row_that_outweighs_all_others_has_no_end():
    low, high = plus_interval([np.zeros(2)], [np.zeros(2)], [np.ones(50)], 0.9, [np.ones(50)], np.array([1.0, 20.0]))
    assert np.isfinite([low[0], high[0]]).all() and np.isinf([low[1], high[1]]).all()
    assert_allclose([low[0], high[0]], [-1, 1])
