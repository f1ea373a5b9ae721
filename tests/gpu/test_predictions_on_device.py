"""Estimators answer on the device as they do on the CPU."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes, load_iris

from icl import ICLClassifier, ICLRegressor

pytestmark = pytest.mark.gpu
COMMON = {"checkpoint": "nano", "n_estimators": 2, "random_state": 0}


@pytest.fixture
def where(device):
    """The two devices; rehearsed on a CPU, both are it."""
    return (torch.device("cpu"), device)


@pytest.mark.parametrize("companions", [(), ("ridge", "trees")], ids=["alone", "companions"])
def test_probabilities_are_those_of_the_cpu(where, exact, companions):
    X, y = load_iris(return_X_y=True)
    here, there = (
        ICLClassifier(device=str(d), companions=companions, **COMMON).fit(X[::2], y[::2]).predict_proba(X[1::2])
        for d in where
    )
    np.testing.assert_allclose(there, here, atol=2e-3)


def test_means_and_quantiles_are_those_of_the_cpu(where, exact):
    X, y = load_diabetes(return_X_y=True)
    models = [ICLRegressor(device=str(d), companions=(), **COMMON).fit(X[:200], y[:200]) for d in where]
    for ask in (lambda m: m.predict(X[200:]), lambda m: m.predict_quantiles(X[200:], [0.1, 0.5, 0.9])):
        here, there = (np.asarray(ask(model), dtype=float) for model in models)
        np.testing.assert_allclose(there, here, atol=2e-3 * y.std(), rtol=2e-3)
