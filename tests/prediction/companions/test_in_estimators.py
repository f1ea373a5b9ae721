"""Companions inside the estimators: refitted with every part, made again from a pickle, refused when they are none."""

import pickle

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.tree import DecisionTreeRegressor

from icl import ICLClassifier, ICLRegressor


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 3))
    return X, X[:, 0] - 2 * X[:, 1] + 0.3 * rng.normal(size=90)


def test_cross_fitting_keeps_a_label_from_its_own_prediction(table):
    """Companions are fitted anew in each fold; fitted on all rows they would carry the label into the context."""
    X, y = table
    folds = np.arange(90) % 3
    model = ICLRegressor("nano", n_estimators=1, companions=("kernel", "trees"))
    before, _ = model.predict_folds(X, y, folds, X[:2])
    changed = y.copy()
    changed[4] += 1.0
    after, _ = model.predict_folds(X, changed, folds, X[:2])
    own = folds == folds[4]
    np.testing.assert_allclose(before[own], after[own], rtol=1e-5, atol=1e-5)
    assert np.abs(before[~own] - after[~own]).max() > 1e-3


def test_a_pickle_makes_the_same_companions_again(table):
    X, y = table
    theirs = DecisionTreeRegressor(max_depth=4, splitter="random")  # draws, from the seed of the estimator
    fitted = ICLRegressor("nano", n_estimators=1, companions=["trees", theirs], random_state=3).fit(X, y)
    assert fitted.companions_ == ["trees", theirs]
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(X[:9]), fitted.predict(X[:9]))
    assert len(pickle.dumps(fitted)) < 20_000  # of 90 rows; 200 trees would be a megabyte


def test_companions_of_users_help(table):
    """The network cannot see through a product of three columns in 60 rows; a companion that was told can."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(160, 6))
    y = X[:, 0] * X[:, 1] * X[:, 2]

    class Product(LinearRegression):
        def fit(self, X, y):
            return super().fit(np.prod(X[:, :3], axis=1, keepdims=True), y)

        def predict(self, X):
            return super().predict(np.prod(X[:, :3], axis=1, keepdims=True))

    errors = [
        np.square(
            ICLRegressor("nano", n_estimators=1, companions=c).fit(X[:60], y[:60]).predict(X[60:]) - y[60:]
        ).mean()
        for c in ((), [Product()])
    ]
    assert errors[1] < 0.8 * errors[0]


def test_the_number_of_rows_chooses_where_nobody_does(table):
    rng = np.random.default_rng(2)
    X = rng.normal(size=(250, 3))
    y = np.sign(X[:, 0]) + X[:, 1] + 0.1 * rng.normal(size=250)
    assert ICLRegressor("nano", n_estimators=1).fit(X, y).companions_ == ["ridge", "kernel", "trees"]
    assert ICLRegressor("nano", n_estimators=1).fit(X[1:], y[1:]).companions_ == ["ridge"]


@pytest.mark.parametrize("companions", ["trees", ["forest"], [LinearRegression], 3, ["trees", "trees"]])
def test_what_is_no_companion_is_refused(table, companions):
    with pytest.raises(ValueError, match="companions must"):
        ICLClassifier(companions=companions).fit(*table)
