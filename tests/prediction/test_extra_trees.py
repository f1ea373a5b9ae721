"""Trees are those of scikit-learn to the bit, by its parts or, where a release has others, by its estimators."""

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.tree import ExtraTreeRegressor

from icl.prediction.extra_trees import Forest, grown


@pytest.fixture(params=["its parts", "its estimators"], autouse=True)
def made_of(request, monkeypatch):
    if request.param == "its estimators":
        monkeypatch.setattr("sklearn.tree._tree.DepthFirstTreeBuilder", lambda: None)  # takes other arguments


@pytest.fixture(params=[0.0, 0.1], ids=["whole", "with gaps"])
def cells(request):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(80, 5)).astype("f4").round(1)
    rows[rng.random(rows.shape) < request.param] = np.nan
    return rows


WEIGHT = np.random.default_rng(1).integers(1, 4, 80)


@pytest.mark.parametrize(("n_tried", "words"), [(2, "sqrt"), (5, 1.0)])
def test_a_tree_is_that_of_its_estimator(cells, n_tried, words):
    Y = np.random.default_rng(2).normal(size=(80, 3))
    theirs = ExtraTreeRegressor(max_features=words, random_state=7).fit(cells, Y, sample_weight=WEIGHT).tree_
    ours = grown(cells, Y, WEIGHT, np.random.RandomState(7), n_tried)
    np.testing.assert_array_equal(ours.threshold, theirs.threshold)
    np.testing.assert_array_equal(ours.predict(cells), theirs.predict(cells))


@pytest.mark.parametrize("classify", [False, True])
def test_a_forest_is_that_of_its_estimator(cells, classify):
    y = 3 * np.random.default_rng(3).integers(0, 4, 80)
    Theirs, words = (ExtraTreesClassifier, "sqrt") if classify else (ExtraTreesRegressor, 0.5)
    theirs = Theirs(10, min_samples_leaf=5, max_features=words, random_state=7).fit(cells, y, sample_weight=WEIGHT)
    ours = Forest(cells, y, WEIGHT, 7, 10, 5, classify)
    np.testing.assert_array_equal(ours.apply(cells), theirs.apply(cells))
    if classify:
        np.testing.assert_array_equal(ours.classes_, theirs.classes_)
        np.testing.assert_array_equal(ours.predict_proba(cells), theirs.predict_proba(cells))
