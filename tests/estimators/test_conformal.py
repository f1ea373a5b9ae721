"""Conformal intervals and sets: the definitions by brute force, the laws of calibration, and coverage as a rate."""

import math
import pickle
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from icl import ICLClassifier, ICLRegressor
from icl.estimators.conformity import class_scores, n_better, n_labels_needed, plus_interval


def make_table(n_rows: int, seed: int) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Features, a number and one of three labels that depend on them."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(rng.normal(size=(n_rows, 2)), columns=["a", "b"])
    table["kind"] = rng.choice(["red", "green", "blue"], n_rows)
    table.loc[rng.random(n_rows) < 0.2, "b"] = np.nan
    signal = table["a"].to_numpy() + 0.5 * rng.normal(size=n_rows)
    return table, 100 + 10 * signal, np.array(["low", "mid", "top"])[np.digitize(signal, [-0.6, 0.6])]


@pytest.fixture(scope="module")
def rows():
    return make_table(60, seed=0)


@pytest.fixture(scope="module")
def query():
    return make_table(17, seed=1)[0]


@pytest.fixture(scope="module")
def regressor(tiny_release, rows):
    return ICLRegressor(tiny_release, n_estimators=1).fit(rows[0], rows[1])


@pytest.fixture(scope="module")
def classifier(tiny_release, rows):
    return ICLClassifier(tiny_release, n_estimators=1).fit(rows[0], rows[2])


# The definitions


@pytest.mark.parametrize(("coverage", "needed"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99), (0.999, 999)])
def test_labels_needed(coverage, needed):
    assert n_labels_needed(coverage) == needed
    # The least n of which floor(a (n + 1)) is at least 1, in exact arithmetic.
    outside = 1 - Fraction(str(coverage))
    assert math.floor(outside * (needed + 1)) >= 1 > math.floor(outside * needed)


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
@pytest.mark.parametrize("n_folds", [1, 3, 25])
def test_interval_is_the_definition_of_cv_plus(coverage, n_folds):
    rng = np.random.default_rng(n_folds)
    sizes = [25] if n_folds == 1 else [len(part) for part in np.array_split(np.arange(25), n_folds)]
    scores = [rng.normal(1, 1, size).round(1) for size in sizes]  # with ties
    lower = [rng.normal(size=7) for _ in sizes]
    upper = [low + rng.uniform(0.1, 1, 7) for low in lower]
    low, high = plus_interval(lower, upper, scores, coverage)
    outside = 1 - Fraction(str(coverage))
    first, last = math.floor(outside * 26), math.ceil((1 - outside) * 26)
    for j in range(7):
        ends = [(a[j] - e, b[j] + e) for a, b, part in zip(lower, upper, scores) for e in part]
        expected = sorted(e[0] for e in ends)[first - 1], sorted(e[1] for e in ends)[last - 1]
        assert (low[j], high[j]) == expected or (low[j] == high[j] == sum(expected) / 2 and expected[0] > expected[1])


def test_one_fold_is_split_conformal():
    scores = np.random.default_rng(0).exponential(size=39)
    low, high = plus_interval([np.array([1.0])], [np.array([3.0])], [scores], 0.9)
    widening = np.sort(scores)[36 - 1]  # ceil(.9 x 40)
    assert_allclose([low[0], high[0]], [1 - widening, 3 + widening])


def test_many_rows_are_answered_in_parts_of_the_same_answer(monkeypatch):
    rng = np.random.default_rng(0)
    ends = [rng.normal(size=50) for _ in range(4)]
    scores = [rng.exponential(size=20) for _ in range(2)]
    whole = plus_interval(ends[:2], [e + 1 for e in ends[:2]], scores, 0.8)
    monkeypatch.setattr("icl.estimators.conformity._BLOCK_CELLS", 130)
    assert_array_equal(plus_interval(ends[:2], [e + 1 for e in ends[:2]], scores, 0.8), whole)


def test_aps_is_half_way_through_its_own_probability():
    assert_allclose(class_scores(np.array([[0.2, 0.5, 0.3]]), "aps"), [[0.9, 0.25, 0.65]])
    assert_allclose(class_scores(np.array([[0.2, 0.5, 0.3]]), "lac"), [[0.8, 0.5, 0.7]])


def test_rows_that_conform_better_are_counted_strictly():
    of_query = [np.array([[0.5, 0.1]]), np.array([[0.6, 0.9]])]
    assert n_better(of_query, [np.array([0.1, 0.5]), np.array([0.55, 0.6, 0.95])]).tolist() == [[2, 2]]


# Rates that need no model


def test_split_coverage_is_that_of_a_rank():
    """For continuous scores, coverage is exactly ceil(.9 (n + 1)) / (n + 1) on average: 20 of 22 at n = 21."""
    rng = np.random.default_rng(0)
    n_reps, n = 8_000, 21
    noise = rng.standard_t(3, size=(n_reps, n + 1))
    inside = 0
    for row in noise:
        low, high = plus_interval([np.zeros(1)], [np.zeros(1)], [np.abs(row[:n])], 0.9)
        inside += low[0] <= row[n] <= high[0]
    expected = 20 / 22
    assert abs(inside / n_reps - expected) < 4 * math.sqrt(expected * (1 - expected) / n_reps)


@pytest.mark.parametrize("noise", ["normal", "heavy", "whole numbers"])
def test_cv_plus_covers_and_is_narrower_than_split(noise):
    """Least squares with 6 columns on 40 rows: contexts of 36 rows against 20."""
    n_reps, n, n_folds = 600, 40, 10
    covered, width = {"cv+": 0.0, "split": 0.0}, {"cv+": [], "split": []}
    rng = np.random.default_rng(3)
    for _ in range(n_reps):
        X = rng.normal(size=(n + 1, 6))
        error = {"normal": rng.normal, "heavy": lambda size: rng.standard_t(3, size=size)}.get(noise, rng.normal)
        y = X @ np.ones(6) + error(size=n + 1)
        y = np.round(y) if noise == "whole numbers" else y
        for method, held_out in (("cv+", np.split(np.arange(n), n_folds)), ("split", [np.arange(n // 2)])):
            at, scores = [], []
            for fold in held_out:
                context = np.delete(np.arange(n), fold)
                beta = np.linalg.lstsq(X[context], y[context], rcond=None)[0]
                at.append(X[[n]] @ beta)
                scores.append(np.abs(y[fold] - X[fold] @ beta))
            low, high = plus_interval(at, at, scores, 0.8)
            covered[method] += low[0] <= y[n] <= high[0]
            width[method].append(high[0] - low[0])
    error = 4 * math.sqrt(0.8 * 0.2 / n_reps)
    for method in covered:
        assert 0.8 - error < covered[method] / n_reps < 0.8 + 0.03 + error, method
    assert np.mean(width["cv+"]) < 0.95 * np.mean(width["split"])


# Laws of the estimators


def test_interval_is_made_of_models_that_never_saw_the_row(regressor, tiny_release, rows, query):
    table, y, _ = rows
    folds = regressor._deal("cv+", 4)
    assert sorted(np.concatenate(folds)) == list(range(60))
    lower, upper, scores = [], [], []
    for fold in folds:
        context = np.delete(np.arange(60), fold)
        part = ICLRegressor(tiny_release, n_estimators=1).fit(table.iloc[context], y[context])
        ends = part.predict_quantiles(table.iloc[fold], [0.1, 0.9])
        scores.append(np.maximum(ends[:, 0] - y[fold], y[fold] - ends[:, 1]))
        ends = part.predict_quantiles(query, [0.1, 0.9])
        lower.append(ends[:, 0])
        upper.append(ends[:, 1])
    expected = np.column_stack(plus_interval(lower, upper, scores, 0.8))
    assert_allclose(regressor.predict_interval(query, 0.8, folds=4), expected, rtol=1e-5)


def test_sets_are_made_of_models_that_never_saw_the_row(classifier, tiny_release, rows, query):
    table, _, labels = rows
    folds = classifier._deal("cv+", 4)
    codes = np.searchsorted(classifier.classes_, labels)
    assert all(abs(np.mean(codes[fold] == c) - np.mean(codes == c)) < 0.1 for fold in folds for c in range(3))
    better = np.zeros((17, 3))
    for fold in folds:
        context = np.delete(np.arange(60), fold)
        part = ICLClassifier(tiny_release, n_estimators=1).fit(table.iloc[context], labels[context])
        own = 1 - part.predict_proba(table.iloc[fold])[np.arange(len(fold)), codes[fold]]
        better += (own[:, None, None] < 1 - part.predict_proba(query)[None]).sum(0)
    inside = better < math.ceil(0.8 * 61)
    assert_array_equal(classifier.predict_set(query, 0.8, folds=4, allow_empty=True), inside)


def test_later_calls_fit_nothing_and_a_new_fit_starts_again(tiny_release, rows, query, monkeypatch):
    table, y, _ = rows
    model = ICLRegressor(tiny_release, n_estimators=1, companions=()).fit(table, y)
    before = model.predict_interval(query)
    fits = []
    fit = ICLRegressor.fit
    monkeypatch.setattr(ICLRegressor, "fit", lambda self, *args, **kwargs: fits.append(1) or fit(self, *args, **kwargs))
    assert_array_equal(model.predict_interval(query), before)
    assert np.diff(model.predict_interval(query, 0.5)).mean() < np.diff(before).mean()
    assert fits == []
    model.predict_interval(query, folds=3)
    assert len(fits) == 3
    assert not np.allclose(model.fit(table, -y).predict_interval(query), before)


def test_alone_or_together_shuffled_or_not_a_row_gets_one_answer(regressor, classifier, query):
    ends = regressor.predict_interval(query)
    assert_allclose(regressor.predict_interval(query[3:4])[0], ends[3], rtol=1e-5)
    assert_array_equal(classifier.predict_set(query[3:4])[0], classifier.predict_set(query)[3])
    assert_array_equal(regressor.predict_interval(query[["kind", "b", "a"]]), ends)
    assert regressor.predict_interval(query[:0]).shape == (0, 2)
    assert classifier.predict_set(query[:0]).shape == (0, 3)


def test_arrays_have_no_names_to_warn_of(tiny_release):
    X = np.random.default_rng(0).normal(size=(30, 3))
    model = ICLRegressor(tiny_release, n_estimators=1).fit(X[:20], X[:20, 0])
    assert model.predict_interval(X[20:]).shape == (10, 2)
    with pytest.raises(ValueError, match="2 features"):
        model.predict_interval(X[20:, :2])


def test_units_of_y_carry_over(tiny_release, rows, query):
    table, y, _ = rows
    plain = ICLRegressor(tiny_release, n_estimators=1).fit(table, y).predict_interval(query)
    shifted = ICLRegressor(tiny_release, n_estimators=1).fit(table, 1e3 * y + 5).predict_interval(query)
    assert_allclose((shifted - 5) / 1e3, plain, rtol=1e-5)


def test_higher_coverage_holds_the_lower_one(classifier, query):
    small, large = classifier.predict_set(query, 0.6), classifier.predict_set(query, 0.95)
    assert np.all(small <= large) and np.any(small < large)


def test_sets_are_empty_only_when_allowed(classifier, query):
    assert classifier.predict_set(query, 0.05).sum(axis=1).min() == 1
    assert classifier.predict_set(query, 0.05, allow_empty=True).sum(axis=1).min() == 0


def test_seed_decides_and_the_callers_stays(tiny_release, rows, query):
    table, y, _ = rows
    state = np.random.RandomState(3)
    model = ICLRegressor(tiny_release, n_estimators=1, random_state=state).fit(table, y)
    before = state.get_state()[1].copy()
    first = model.predict_interval(query)
    assert_array_equal(state.get_state()[1], before)
    assert_array_equal(model.predict_interval(query), first)
    fresh = ICLRegressor(tiny_release, random_state=None).fit(table, y)
    assert_array_equal(fresh.predict_interval(query), fresh.predict_interval(query))


def test_a_pickle_is_small_and_answers_alike(regressor, query):
    before = regressor.predict_interval(query)
    data = pickle.dumps(regressor)
    assert len(data) < 30_000
    assert_allclose(pickle.loads(data).predict_interval(query), before, rtol=1e-6)


def test_what_the_caller_does_to_the_table_changes_nothing(tiny_release, rows, query):
    table, y = rows[0].copy(), rows[1].copy()
    model = ICLRegressor(tiny_release, n_estimators=1).fit(table, y)
    expected = ICLRegressor(tiny_release, n_estimators=1).fit(*rows[:2]).predict_interval(query)
    table["a"] = 0.0
    y[:] = 0.0
    assert_array_equal(model.predict_interval(query), expected)


# Strange labels


def test_few_rows_get_infinite_intervals_and_are_told_what_is_missing(tiny_release, rows, query):
    model = ICLRegressor(tiny_release, n_estimators=1).fit(rows[0][:15], rows[1][:15])
    assert np.isfinite(model.predict_interval(query, 0.9)).all()
    with pytest.warns(UserWarning, match=r"15 rows .* coverage of 0\.95, which needs 19.*0\.93 or less") as caught:
        ends = model.predict_interval(query, 0.95)
    assert caught[0].filename == __file__
    assert_array_equal(ends, np.tile([-np.inf, np.inf], (17, 1)))
    with pytest.warns(UserWarning, match=r"8 rows .*half of the labelled rows.*Label 38 rows"):
        model.predict_interval(query, 0.95, method="split")


def test_few_rows_get_full_sets_and_are_told_what_is_missing(tiny_release, rows, query):
    model = ICLClassifier(tiny_release, n_estimators=1).fit(rows[0][:15], rows[2][:15])
    with pytest.warns(UserWarning, match=r"the sets hold every class: 15 rows .* needs 19") as caught:
        assert model.predict_set(query, 0.95).all()
    assert caught[0].filename == __file__


def test_by_class_keeps_a_rare_class_in_every_set_and_says_so(tiny_release, rows, query):
    labels = rows[2].astype(object)
    labels[:3] = "rare"
    model = ICLClassifier(tiny_release, n_estimators=1, companions=()).fit(rows[0], labels)
    with pytest.warns(UserWarning, match=r"needs 4 labelled rows of it .*'rare' has fewer"):
        sets = model.predict_set(query, 0.8, by_class=True)
    assert sets[:, model.classes_.tolist().index("rare")].all() and not sets.all()


@pytest.mark.parametrize("method", ["cv+", "split"])
def test_folds_without_variation_still_answer(method, tiny_release, rows, query):
    """All values equal but one, all labels equal but one: some contexts hold a constant."""
    y = np.full(20, 7.0)
    y[4] = 9.0
    ends = ICLRegressor(tiny_release, n_estimators=1).fit(rows[0][:20], y).predict_interval(query, method=method)
    assert np.isfinite(ends).all() and np.all(ends[:, 0] <= ends[:, 1])
    model = ICLClassifier(tiny_release, n_estimators=1).fit(rows[0][:20], y == 9)
    sets = model.predict_set(query, method=method)
    assert sets.shape == (17, 2) and sets[:, 0].all()


def test_counts_with_ties_and_many_classes(tiny_release):
    table, y, _ = make_table(80, seed=4)
    counts = np.round((y - 80) / 10)
    ends = ICLRegressor(tiny_release, n_estimators=1).fit(table[:60], counts[:60]).predict_interval(table[60:])
    assert np.isfinite(ends).all() and np.all(ends[:, 0] <= ends[:, 1])
    labels = np.arange(60) % 20  # four times the classes that the checkpoint knows
    sets = ICLClassifier(tiny_release, n_estimators=1).fit(table[:60], labels).predict_set(table[60:])
    assert sets.shape == (20, 20) and sets.any(axis=1).all()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"coverage": 90}, r"fraction in \(0, 1\), got 90"),
        ({"coverage": float("nan")}, "coverage"),
        ({"method": "jackknife"}, r"'cv\+', 'split'"),
        ({"folds": 1}, "folds"),
        ({"folds": 2.5}, "folds"),
        ({"score": "raps"}, "'lac', 'aps'"),
    ],
)
def test_wrong_options_are_named(options, named, regressor, classifier, query):
    with pytest.raises(ValueError, match=named):
        classifier.predict_set(query, **options)
    if "score" not in options:
        with pytest.raises(ValueError, match=named):
            regressor.predict_interval(query, **options)


# Coverage of the estimators as a rate


def test_coverage_holds_for_a_model_that_knows_nothing(tiny_release):
    """Random weights: the guarantee asks nothing of the model."""
    n_reps, n, m, level = 20, 25, 40, 0.8
    inside, in_set = [], []
    for rep in range(n_reps):
        table, y, labels = make_table(n + m, seed=100 + rep)
        options = {"checkpoint": tiny_release, "n_estimators": 1, "random_state": rep, "companions": ()}
        ends = ICLRegressor(**options).fit(table[:n], y[:n]).predict_interval(table[n:], level, folds=5)
        inside.append(np.mean((ends[:, 0] <= y[n:]) & (y[n:] <= ends[:, 1])))
        model = ICLClassifier(**options).fit(table[:n], labels[:n])
        sets = model.predict_set(table[n:], level, folds=5)
        in_set.append(sets[np.arange(m), np.searchsorted(model.classes_, labels[n:])].mean())
    # From below only: the contexts of such a model disagree, which makes CV+ wide. Rates above are two-sided.
    for rates in (inside, in_set):
        assert np.mean(rates) > level - 4 * np.std(rates) / math.sqrt(n_reps)


def test_nano_covers_and_its_cv_plus_is_narrower_than_split():
    from priors import TaskShape, make_prior
    from priors.stream import seeded_generator

    n_reps, n, m, level = 24, 30, 20, 0.8
    batch = make_prior("linear").sample(TaskShape(n_reps, n + m, n, 3), seeded_generator(0, 5))
    X, y = batch.X.double().numpy(), batch.y.double().numpy()
    inside, ratio = {"cv+": [], "split": []}, []
    for rep in range(n_reps):
        model = ICLRegressor("nano", n_estimators=1, random_state=rep).fit(X[rep, :n], y[rep, :n])
        width = {}
        for method in inside:
            low, high = model.predict_interval(X[rep, n:], level, method=method, folds=5).T
            inside[method].append(np.mean((low <= y[rep, n:]) & (y[rep, n:] <= high)))
            width[method] = np.mean(high - low)
        ratio.append(np.log(width["cv+"] / width["split"]))
    for method, rates in inside.items():
        error = np.std(rates) / math.sqrt(n_reps)
        assert level - 4 * error < np.mean(rates) < level + 0.05 + 4 * error, method
    assert np.exp(np.mean(ratio)) < 0.97


def test_answers_come_labelled_on_request(regressor, classifier, query):
    rows = query.set_axis(query.index * 10 + 3, axis=0)
    ends = regressor.predict_interval(rows, 0.8, as_frame=True)
    assert ends.columns.tolist() == ["lower", "upper"] and ends.index.equals(rows.index)
    assert_array_equal(ends.to_numpy(), regressor.predict_interval(query, 0.8))
    sets = classifier.predict_set(rows, 0.8, as_frame=True)
    assert sets.columns.tolist() == ["low", "mid", "top"] and sets.index.equals(rows.index)
    assert_array_equal(sets.to_numpy(), classifier.predict_set(query, 0.8))


@pytest.mark.filterwarnings("ignore:X differs from the rows of fit")
@pytest.mark.parametrize("method", ["cv+", "split"])
@pytest.mark.parametrize("by_class", [False, True])
def test_the_predicted_class_is_in_every_set(classifier, query, method, by_class):
    """Also where what folds saw of the rows points elsewhere: a column that is empty in all of them."""
    for X in (query, query.assign(a=np.nan)):
        sets = classifier.predict_set(X, 0.2, method=method, by_class=by_class)
        assert sets[np.arange(len(X)), classifier.predict_proba(X).argmax(axis=1)].all()
        assert not sets.all(axis=1).all()
