"""Companions inside the estimators: refitted with every part, made again from a pickle, refused when they are none."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression
from sklearn.tree import DecisionTreeRegressor

from icl import ICLClassifier, ICLRegressor
from icl.prediction.companions import crossfit
from icl.prediction.companions.columns import Columns
from icl.prediction.companions.protocol import Labelled
from icl.prediction.guise import Limits, draw_guises
from icl.prediction.member import Member


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 3))
    return X, X[:, 0] - 2 * X[:, 1] + 0.3 * rng.normal(size=90)


@pytest.mark.parametrize(
    "companions", [("kernel", "trees"), ("ridge",), ("boosting",), (DecisionTreeRegressor(max_depth=4),)]
)
def test_cross_fitting_keeps_a_label_from_its_own_prediction(table, companions, monkeypatch):
    """Companions are fitted anew in each fold; fitted on all rows they would carry the label into the context."""
    monkeypatch.setattr(crossfit, "_FEW_ROUNDS", 12)
    X, y = table
    folds = np.arange(90) % 3
    model = ICLRegressor("nano", n_estimators=1, companions=companions)
    before, _ = model.predict_folds(X, y, folds, X[:2])
    changed = y.copy()
    changed[4] += 1.0
    after, _ = model.predict_folds(X, changed, folds, X[:2])
    own = folds == folds[4]
    np.testing.assert_allclose(before[own], after[own], rtol=1e-5, atol=1e-5)
    assert np.abs(before[~own] - after[~own]).max() > 1e-3


def test_companions_side_by_side_answer_as_one_after_the_other():
    """One core or two: the same columns, the same answers."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(260, 4))
    y = np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2]
    before, found = torch.get_num_threads(), []
    try:
        for n_threads in (1, 2):
            torch.set_num_threads(n_threads)
            fitted = ICLRegressor("nano", n_estimators=1).fit(X, y)
            found.append((fitted._members[0].made.context_NS, fitted.predict(X[:20])))
    finally:
        torch.set_num_threads(before)
    assert fitted.companions_ == ["ridge", "kernel", "trees", "boosting"]
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-5, atol=1e-6)


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
    assert ICLRegressor("nano", n_estimators=1).fit(X, y).companions_ == ["ridge", "kernel", "trees", "boosting"]
    assert ICLRegressor("nano", n_estimators=1).fit(X[1:], y[1:]).companions_ == ["ridge", "trees"]
    assert ICLRegressor("nano", n_estimators=1).fit(X[:79], y[:79]).companions_ == ["ridge"]


def test_many_classes_are_asked_with_columns_of_each_question():
    """Of 12 classes and 5 answers a question: log-odds of what a companion gives to an answer, among what is asked."""
    labelled = Labelled(
        np.random.default_rng(0).normal(size=(240, 3)).astype("f4"), np.zeros(3, int), np.arange(240) % 12, 12
    )
    labelled.cells_NF[:, 0] += labelled.y_N  # in place: the array, not the field
    made = Columns(labelled, ["trees"])
    [guise] = draw_guises(1, 0, Limits(20, 5, 999), labelled.n_levels_F, labelled.cells_NF, labelled.y_N, 12, 5)
    member = Member(guise, labelled.cells_NF, labelled.y_N, np.zeros(3, bool), made)
    odds = np.exp(made.context_NS.astype(float))
    shares = (odds * (1 + 1 / 75) - 1 / 75) / (1 + odds)
    assert len(member.contexts) == len(guise.answers) > 1
    for context, answers in zip(member.contexts, guise.answers):
        n_answers = answers.max() + 1
        own = answers[labelled.y_N] >= 0
        sums = np.stack([shares[own][:, answers == a].sum(1) for a in range(n_answers)], 1) + 1 / 75 / n_answers
        sums /= sums.sum(1, keepdims=True)
        shown = np.log(sums + 1 / 75) - np.log(1 - sums + 1 / 75)
        np.testing.assert_allclose(context.X_NF[:, 3:], shown[:, 1:] if n_answers == 2 else shown, atol=1e-4)
    queries = labelled.cells_NF[:4]
    for view, together in zip(member.views(queries), member.views(labelled.cells_NF)):
        np.testing.assert_allclose(view, together[:4], rtol=1e-5, atol=1e-5)


def test_of_a_long_context_companions_see_all_that_the_network_does_not():
    """The network is shown 60 of 400 rows; the label of one of them reaches no column of its own."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 4))
    y = np.sign(X[:, 0] * X[:, 1]) + X[:, 2]
    model = ICLRegressor("nano", n_estimators=2, max_rows=60, companions=("boosting", "trees", "kernel", "ridge"))
    fitted = model.fit(X, y)
    first, second = fitted._members
    shown = first.guise.rows
    assert 50 <= len(shown) <= 60 and np.array_equal(shown, second.guise.rows)
    assert np.isnan(fitted._members[0].made.context_NS).any(1).sum() == 400 - len(shown)
    before = fitted._members[0].made.context_NS[shown]
    labels = np.where(np.isin(np.arange(400), shown[::2]), y + 0.01, y)
    labelled = Labelled(fitted._context_NF, fitted._encoder.n_levels_, (labels - y.mean()) / y.std(), None)
    after = Columns(labelled, model.companions, 0, shown).context_NS[shown]
    np.testing.assert_allclose(before, after, atol=1e-4)
    truth = (y - y.mean()) / y.std()
    worth = np.corrcoef(before[:, 0], truth[shown])[0, 1]
    query = rng.normal(size=(300, 4))
    assert worth > 0.8
    truth = np.sign(query[:, 0] * query[:, 1]) + query[:, 2]
    with pytest.warns(UserWarning, match="400 rows.*members sees 60.*name companions"):
        alone = ICLRegressor("nano", n_estimators=2, max_rows=60, companions=()).fit(X, y)
    errors = [np.mean((m.predict(query) - truth) ** 2) for m in (fitted, alone)]
    assert errors[0] < 0.5 * errors[1]


def test_copies_of_a_shown_row_are_no_rows_for_companions():
    rng = np.random.default_rng(1)
    X = np.repeat(rng.normal(size=(100, 2)), 3, axis=0).astype("f4")
    y = np.repeat(rng.normal(size=100), 3)
    labelled = Labelled(X, np.zeros(2, int), y, None, np.repeat(np.arange(100), 3))
    apart = np.arange(0, 90, 3)
    made = Columns(labelled, [DecisionTreeRegressor()], 0, apart)
    # A tree answers what it has seen exactly; noise that it has not seen, it cannot.
    assert made.shown == []
    leaky = Columns(Labelled(X, np.zeros(2, int), y, None), [DecisionTreeRegressor()], 0, apart)
    few = Columns(labelled, [DecisionTreeRegressor()], 0, apart[:5], n_learnt=40)
    assert few.context_NS.shape[0] == 300  # of whatever they learn, rows stay
    assert leaky.shown and np.abs(leaky.context_NS[apart, 0] - y[apart]).max() < 1e-6


@pytest.mark.parametrize("companions", ["trees", ["forest"], [LinearRegression], 3, ["trees", "trees"]])
def test_what_is_no_companion_is_refused(table, companions):
    with pytest.raises(ValueError, match="companions must"):
        ICLClassifier(companions=companions).fit(*table)
