"""One wild label among many: what is said of all other rows stays what it was, and a group of its own is no error."""

import functools
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from icl import ICLRegressor
from icl.estimators.prior_limits import OutOfPriorWarning
from icl.tables.schema import SchemaWarning


def a_table(n, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n + 200, 3))
    f = X[:, 0] - 0.5 * X[:, 1]
    return X, f, f + 0.3 * rng.normal(size=n + 200)


def fitted(X, y, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SchemaWarning)
        return ICLRegressor("nano", n_estimators=1, random_state=0, **options).fit(X, y)


@functools.cache
def said(n, wild, unit):
    """Root mean squared error and median width of intervals, with wild labels among n others."""
    X, f, y = a_table(n)
    y = y[:n].copy()
    y[3 : 3 + len(wild)] = wild
    distribution = fitted(X[:n], unit * y).predict_distribution(X[n:])
    low, high = (distribution.icdf(torch.full((200,), q, dtype=torch.float64)).numpy() / unit for q in (0.05, 0.95))
    return np.sqrt(np.mean((distribution.mean.numpy() / unit - f[n:]) ** 2)), np.median(high - low)


CODES = (999.0, 999.0, 999.0)


@pytest.mark.parametrize(
    ("wild", "unit"),
    [((1e3,), 1.0), ((1e3,), 1e-6), ((-1e6,), 1.0), ((-1e6,), 1e6), ((1e300,), 1.0), (CODES, 1.0), ((5e4, -2e3), 1.0)],
)
@pytest.mark.parametrize("n", [40, 300])
def test_wild_labels_change_little(n, wild, unit):
    off, width = zip(said(n, (), 1.0), said(n, wild, unit))
    few = n == 40 and len(wild) > 1  # errors of a few percent, which lie at the end of the others
    assert off[1] < (2.0 if few else 1.3) * off[0] + 0.05
    assert 0.8 < width[1] / width[0] < (2.5 if few else 1.7)


def test_a_wild_label_is_named():
    X, _, y = a_table(60)
    y[7] = 1e5
    with pytest.warns(SchemaWarning, match=r"y holds 100000 in one row, far from all its other numbers, -\d"):
        ICLRegressor("nano", n_estimators=1).fit(X[:60], y[:60])


@pytest.mark.parametrize("share", [0.03, 0.1])
def test_a_group_with_labels_of_its_own_keeps_them(share):
    rng = np.random.default_rng(1)
    n = 200
    group = rng.random(n) < share
    X = pd.DataFrame({"type": np.where(group, "company", "person"), "x": rng.normal(size=n)})
    y = np.where(group, 10_000 + 500 * rng.normal(size=n), 50 + 5 * rng.normal(size=n))
    with warnings.catch_warnings():
        warnings.simplefilter("error", SchemaWarning)
        warnings.simplefilter("ignore", OutOfPriorWarning)
        model = ICLRegressor("nano", n_estimators=1).fit(X, y)
    said = model.predict(pd.DataFrame({"type": ["company", "person"], "x": [0.0, 0.0]}))
    assert said[0] > 5_000 > 1_500 > said[1]


def test_heavy_tails_are_no_errors():
    rng = np.random.default_rng(2)
    for y in (np.exp(2 * rng.normal(size=300)), rng.standard_t(3, size=300), rng.exponential(size=300)):
        with warnings.catch_warnings():
            warnings.simplefilter("error", SchemaWarning)
            warnings.simplefilter("ignore", OutOfPriorWarning)
            ICLRegressor("nano", n_estimators=1, quality="fast").fit(rng.normal(size=(300, 2)), y)
