"""Many tables at once are each by itself."""

import numpy as np
import pytest

import icl
from icl import ICLClassifier, ICLRegressor


@pytest.fixture(scope="module")
def tables():
    rng = np.random.default_rng(0)
    made = [(rng.normal(size=(n, f)), rng.normal(size=n)) for n, f in [(40, 3), (40, 3), (31, 2), (40, 3)]]
    return [(X[:-6], y[:-6], X[-6 + i :]) for i, (X, y) in enumerate(made)]


def test_answers_are_those_of_each_by_itself(tables, tiny_release):
    model = ICLRegressor(checkpoint=tiny_release, n_estimators=2)
    found = icl.predict_many(tables, model)
    for (X, y, X_new), one in zip(tables, found):
        np.testing.assert_allclose(one, model.fit(X, y).predict(X_new), rtol=0, atol=1e-6)
    assert [len(one) for one in found] == [6, 5, 4, 3]


def test_classes_and_probabilities(tables, tiny_release):
    labelled = [(X, np.where(y > 0, "up", "down"), X_new) for X, y, X_new in tables]
    model = ICLClassifier(checkpoint=tiny_release, n_estimators=2)
    found = icl.predict_many(labelled, model, "predict_proba")
    for (X, y, X_new), one, label in zip(labelled, found, icl.predict_many(labelled, model)):
        model.fit(X, y)
        np.testing.assert_allclose(one, model.predict_proba(X_new), rtol=0, atol=1e-6)
        assert label.tolist() == model.predict(X_new).tolist()
    assert icl.predict_many([]) == []


def test_the_table_at_fault_is_named(tables, tiny_release):
    model = ICLRegressor(checkpoint=tiny_release)
    X, y, X_new = tables[0]
    with pytest.raises(ValueError, match="table 1: X has 34 rows"):
        icl.predict_many([tables[0], (X, y[:-1], X_new)], model)
    with pytest.raises(ValueError, match="table 0 must be three things"):
        icl.predict_many([(X, y)], model)
    with pytest.raises(ValueError, match="predict_proba needs classes"):
        icl.predict_many(tables, model, "predict_proba")
    with pytest.raises(ValueError, match="output must be one of"):
        icl.predict_many(tables, model, "sample")
