"""Targets whose values repeat: which of them are atoms, what mass they get, and what the regressor makes of them."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch

from icl import ICLRegressor
from icl.network.atoms import AtomicPredictive
from icl.network.distribution import histogram_edges
from icl.prediction.atoms import AtomShares, find_atoms, in_bins


def zeros_and_amounts(n, seed=0):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({"a": rng.normal(size=n), "b": rng.normal(size=n)})
    amount = np.exp(X["a"] + 0.3 * rng.normal(size=n))
    return X, np.where(X["b"] + 0.3 * rng.normal(size=n) < 0, 0.0, amount)


def test_which_values_are_atoms():
    rng = np.random.default_rng(0)
    smooth = rng.normal(size=400)
    assert not len(find_atoms(smooth))
    assert not len(find_atoms(smooth.round(2)))  # rounded: values repeat, but none more than others
    assert find_atoms(np.where(rng.random(400) < 0.2, 7.0, smooth)).tolist() == [7.0]
    assert find_atoms(rng.integers(0, 8, 400)).tolist() == list(range(8))
    assert not len(find_atoms(np.r_[np.zeros(4), rng.normal(size=30)]))  # four rows are no pattern


def test_the_rows_of_a_bin_share_its_mass():
    """Bins as full as in the context give each atom exactly its share of the rows, and the rest to the rest."""
    rng = np.random.default_rng(1)
    y = np.where(rng.random(500) < 0.3, -0.5, rng.normal(size=500))
    n_bins = 64
    counts = np.bincount(np.searchsorted(histogram_edges(n_bins).numpy(), y), minlength=n_bins)
    shares = AtomShares(np.array([-0.5]), y, n_bins)
    out = shares.split(torch.from_numpy(np.log(counts / 500 + 1e-30))[None]).exp()
    assert out[0, -1].item() == pytest.approx((y == -0.5).mean(), abs=1e-6)
    assert out.sum().item() == pytest.approx(1, abs=1e-6)
    again = np.exp(in_bins(out.log().numpy(), shares.bin_of_atom_A))
    np.testing.assert_allclose(again[0], counts / 500, atol=1e-6)


def test_beside_a_lone_atom_all_mass_means_it():
    y = np.r_[np.full(20, -4.7), np.linspace(-1, 1, 400)]
    shares = AtomShares(np.array([-4.7]), y, 128)
    away = np.searchsorted(histogram_edges(128).numpy(), [-5.5, -4.0])
    assert (shares.shares_KA[away, 0] == 1).all()
    assert shares.shares_KA[64, 0] == 0


@pytest.mark.parametrize("n", [120, 300], ids=["network alone", "with trees"])
def test_zeros_hold_mass_of_their_own(n):
    X, y = zeros_and_amounts(n + 200)
    model = ICLRegressor("nano", n_estimators=2, companions=("trees",) if n == 300 else ()).fit(X[:n], y[:n])
    assert model.atoms_.tolist() == [0.0]
    d = model.predict_distribution(X[n:])
    assert isinstance(d, AtomicPredictive)
    at_zero = d.cdf(0.0) - d.cdf(-1e-9)
    truth = torch.from_numpy((y[n:] == 0).astype(float))
    assert ((at_zero - truth) ** 2).mean() < 0.6 * truth.var()  # better than the share of zeros by itself
    assert (d.icdf(0.05)[at_zero > 0.15] == 0).double().mean() > 0.95
    assert d.cdf(-0.2).mean() < 0.02  # nothing lies below zero
    draws = d.sample(200)
    assert abs((draws == 0).double().mean() - at_zero.mean()) < 0.02


def test_whole_numbers_stay_whole_in_any_unit():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(300, 2))
    y = np.clip(np.round(X[:, 0] + 3 + 0.5 * rng.normal(size=300)), 0, 6)
    model = ICLRegressor("nano", n_estimators=1, companions=()).fit(X[:200], y[:200])
    quantiles = model.predict_quantiles(X[200:], [0.1, 0.5, 0.9])
    assert np.mean(quantiles % 1 == 0) > 0.99
    scaled = ICLRegressor("nano", n_estimators=1, companions=()).fit(X[:200], 1e6 + 0.25 * y[:200])
    np.testing.assert_allclose((scaled.predict_quantiles(X[200:], 0.5)[:, 0] - 1e6) * 4, quantiles[:, 1], atol=1e-6)
    np.testing.assert_allclose(scaled.predict(X[200:]), 1e6 + 0.25 * model.predict(X[200:]), atol=1e-4)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X[200:]), model.predict(X[200:]))
    inside = model.predict_interval(X[200:], 0.8, method="split")
    assert np.mean((inside[:, 0] <= y[200:]) & (y[200:] <= inside[:, 1])) > 0.7


def test_intervals_of_zeros_and_amounts_do_not_waste_a_tail():
    """Nothing lies below zero: with equal tails intervals covered .965 at nominal .90, and were a seventh longer."""
    inside = []
    for seed in range(3):
        X, y = zeros_and_amounts(700, seed)
        model = ICLRegressor("nano", n_estimators=1, companions=()).fit(X[:200], y[:200])
        low, high = model.predict_interval(X[200:], 0.9, method="split").T
        inside.append(np.mean((low <= y[200:]) & (y[200:] <= high)))
    assert 0.87 < np.mean(inside) < 0.95
