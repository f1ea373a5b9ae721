"""Repeated rows and weights: copies are one unit everywhere, and a weight is what copies would be."""

import math
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from icl import ICLClassifier, ICLRegressor
from icl.estimators.baseline import BetterBaselineWarning
from icl.estimators.conformity import most_better, n_better, n_outside, plus_interval
from icl.estimators.folds import deal, deal_share, sklearn_folds
from icl.estimators.weights import shown_rows
from icl.prediction.companions.ridge import RidgeColumns
from icl.prediction.guise import Limits, draw_guises
from icl.tables.repeats import Units

FEW = settings(max_examples=40, deadline=None)


def make_table(n_rows: int, seed: int) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(rng.normal(size=(n_rows, 2)), columns=["a", "b"])
    table["kind"] = rng.choice(["red", "green", "blue"], n_rows)
    signal = table["a"].to_numpy() + 0.5 * rng.normal(size=n_rows)
    return table, 100 + 10 * signal, np.array(["low", "mid", "top"])[np.digitize(signal, [-0.6, 0.6])]


# Folds


@FEW
@given(st.lists(st.integers(0, 12), min_size=8, max_size=60), st.integers(2, 9), st.integers(0, 99), st.booleans())
def test_units_are_never_split(group, n_folds, seed, stratify):
    group = np.unique(group, return_inverse=True)[1]
    y = np.arange(len(group)) % 3 if not stratify else group % 3
    for folds in (
        deal(y, n_folds, seed, stratify, group),
        [deal_share(y, 0.5, seed, stratify, group)] if group.max() else [],
        sklearn_folds(y, n_folds, stratify, group) if group.max() >= 1 and n_folds <= group.max() + 1 else [],
    ):
        for rows in folds:
            assert not set(group[rows]) & set(np.delete(group, rows))
    assert sorted(np.concatenate(deal(y, n_folds, seed, stratify, group))) == list(range(len(group)))


def test_without_copies_folds_are_what_they_were():
    y = np.random.default_rng(0).integers(0, 3, 50)
    for own in (None, np.arange(50)):
        assert [f.tolist() for f in deal(y, 5, 3, True, own)] == [f.tolist() for f in deal(y, 5, 3, True)]
        assert len(Units(own, 50)) == 50


def test_units_of_some_of_the_rows_are_all_dealt():
    """Numbers of units have gaps where rows were left out; every row lies in one fold all the same, copies together."""
    group = np.random.default_rng(0).integers(0, 5_000, 200)
    y = group % 3
    for folds in (deal(y, 4, 0, True, group), deal(y, 4, 0, False, group), sklearn_folds(y, 4, True, group)):
        assert sorted(np.concatenate(folds)) == list(range(200))
        assert all(not set(group[rows]) & set(np.delete(group, rows)) for rows in folds)
    assert len(deal_share(y, 0.5, 0, True, group)) > 80


# Ranks


@FEW
@given(st.integers(0, 2**32), st.integers(1, 5), st.sampled_from([0.5, 0.8, 0.9, 0.95]))
def test_k_copies_of_all_scores_change_nothing(seed, k, coverage):
    """With the weight that a copy has, ranks are those of the rows themselves."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 12, 3)
    lower, upper = rng.normal(size=(3, 4)), rng.normal(size=(3, 4)) + 2
    scores = [rng.normal(size=size).round(1) for size in sizes]
    many = [np.tile(s, k) for s in scores]
    once = plus_interval(lower, upper, scores, coverage)
    assert_array_equal(plus_interval(lower, upper, many, coverage, [np.ones(len(s)) for s in many], k), once)
    halves = [np.full(len(s), 0.5) for s in scores]
    assert_array_equal(plus_interval(lower, upper, scores, coverage, halves, 0.5), once)
    of_query = [rng.normal(size=(4, 2)).round(1) for _ in sizes]
    inside = n_better(of_query, scores) < sum(sizes) + 1 - n_outside(sum(sizes), coverage)
    better = n_better(of_query, many, [np.ones(len(s)) for s in many])
    assert_array_equal(better < most_better(k * sum(sizes), k, coverage), inside)


def test_weighted_split_covers_where_the_weights_say():
    """Scores larger to the right, new rows from the right: weights exp(x) bring coverage back, none leave it short."""
    rng = np.random.default_rng(0)
    n_reps, n, level = 1_500, 100, 0.9
    inside = {"weighted": 0, "plain": 0}
    for _ in range(n_reps):
        x = rng.uniform(0, 2, n)
        far = rng.uniform(0, 2, 200)
        new = rng.choice(far, p=np.exp(far) / np.exp(far).sum())
        scores, score = np.abs(rng.normal(size=n)) * (0.3 + x), abs(rng.normal()) * (0.3 + new)
        weight = np.exp(x) / np.exp(x).mean()
        unit = np.square(weight).sum() / weight.sum()
        for name, options in (("weighted", ([weight], unit)), ("plain", ())):
            low, high = plus_interval([np.zeros(1)], [np.zeros(1)], [scores], level, *options)
            inside[name] += low[0] <= score <= high[0]
    error = 4 * math.sqrt(level * (1 - level) / n_reps)
    assert level - error < inside["weighted"] / n_reps < level + 0.015 + error
    assert inside["plain"] / n_reps < level - error


# Rows that weights show


@FEW
@given(st.lists(st.integers(0, 4), min_size=3, max_size=20).filter(any))
def test_whole_numbers_are_copies_and_ratios_count(counts):
    X, y = np.arange(len(counts))[:, None], np.arange(len(counts))
    shown, labels, weight, origin = shown_rows(X, y, counts, 1_000)
    expected = np.repeat(y, np.array(counts) // np.gcd.reduce(counts))
    assert_array_equal(labels, expected)
    assert_array_equal(shown[:, 0], expected)
    assert weight is None and (origin is None) == (len(set(expected.tolist())) == len(expected))
    for factor in (3, 0.5):
        again = shown_rows(X, y, factor * np.array(counts, float), 1_000)
        if factor == 3:
            assert_array_equal(again[1], labels)
        else:
            assert set(again[1]) == set(labels)  # nothing but rows of weight 0 is left out


@FEW
@given(st.integers(0, 2**32), st.integers(1, 6), st.booleans())
def test_members_show_rows_in_proportion_to_weights(seed, n_members, is_class):
    rng = np.random.default_rng(seed)
    n = 40
    weight = rng.exponential(size=n)
    weight /= weight.mean()
    y = rng.integers(0, 3, n) if is_class else rng.normal(size=n)
    n_classes = 3 if is_class else None
    cells = rng.normal(size=(n, 2))
    guises = draw_guises(n_members, 0, Limits(20, 10, 100), np.zeros(2, int), cells, y, n_classes, False, weight)
    counts = np.array([np.bincount(g.rows, minlength=n) for g in guises])
    kept = 3 if is_class else 1  # rows that were added so that every class is there
    assert np.all(counts >= np.floor(weight)) and np.all(counts <= np.ceil(weight) + kept)
    assert np.all(np.abs(counts.sum(1) - n) <= kept)
    # Together they are closer to the weights than one alone can be.
    assert np.all(np.abs(counts.sum(0) - n_members * weight) <= 1 + kept * n_members)


@pytest.mark.parametrize("Estimator", [ICLRegressor, ICLClassifier])
def test_whole_weights_equal_repetition_to_the_bit(Estimator, tiny_release):
    table, y, label = make_table(40, seed=0)
    y = y if Estimator is ICLRegressor else label
    counts = np.random.default_rng(1).integers(0, 4, 40)
    rows = np.repeat(np.arange(40), counts)
    weighted = Estimator(tiny_release, n_estimators=2).fit(table, y, sample_weight=counts)
    repeated = Estimator(tiny_release, n_estimators=2).fit(table.iloc[rows], y[rows])
    if Estimator is ICLRegressor:
        temperatures = [
            Estimator(tiny_release, n_estimators=1, calibrate=True).fit(*given).temperature_
            for given in ((table, y, counts), (table.iloc[rows], y[rows]))
        ]
        assert temperatures[0] == temperatures[1]
    asked = table.iloc[:7]
    if Estimator is ICLRegressor:
        assert_array_equal(weighted.predict(asked), repeated.predict(asked))
        assert_array_equal(
            weighted.predict_interval(asked, 0.8, folds=4), repeated.predict_interval(asked, 0.8, folds=4)
        )
    else:
        assert_array_equal(weighted.predict_proba(asked), repeated.predict_proba(asked))
        assert_array_equal(weighted.predict_set(asked, 0.8, folds=4), repeated.predict_set(asked, 0.8, folds=4))


@pytest.mark.parametrize("Estimator", [ICLRegressor, ICLClassifier])
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_weights_equal_removal_and_repetition_in_any_order(seed, Estimator, tiny_release):
    rng = np.random.default_rng(seed)
    table, y, label = make_table(20, seed)
    y = y if Estimator is ICLRegressor else label
    counts = rng.integers(0, 4, 20)
    counts[:3] = 1, 2, 3
    assume(len(np.unique(y[counts > 0])) > 1)
    rows, order = np.repeat(np.arange(20), counts), rng.permutation(20)
    weighted = Estimator(tiny_release, n_estimators=1).fit(table.iloc[order], y[order], sample_weight=counts[order])
    repeated = Estimator(tiny_release, n_estimators=1).fit(table.iloc[rows], y[rows])
    method = "predict" if Estimator is ICLRegressor else "predict_proba"
    assert_allclose(getattr(weighted, method)(table), getattr(repeated, method)(table), rtol=1e-5, atol=1e-6)


def test_equal_weights_are_no_weights(tiny_release):
    table, y, _ = make_table(30, seed=2)
    plain = ICLRegressor(tiny_release, n_estimators=2).fit(table, y).predict_interval(table, 0.8)
    for weight in (np.full(30, 0.3), np.full(30, 7)):
        model = ICLRegressor(tiny_release, n_estimators=2).fit(table, y, sample_weight=weight)
        assert_array_equal(model.predict_interval(table, 0.8), plain)


def test_heavier_rows_pull_predictions_and_need_more_labels(tiny_release):
    table, y, label = make_table(60, seed=3)
    plain = ICLClassifier("nano", n_estimators=2).fit(table, label)
    weight = np.where(label == "top", 2.7, 1.0)
    tilted = ICLClassifier("nano", n_estimators=2).fit(table, label, sample_weight=weight)
    top = plain.classes_.tolist().index("top")
    gained = tilted.predict_proba(table)[:, top] - plain.predict_proba(table)[:, top]
    assert gained.mean() > 0.05
    lone = np.where(np.arange(60) < 5, 1e6, 1.0)
    few = ICLRegressor(tiny_release, n_estimators=1).fit(table, y, sample_weight=lone)
    with pytest.warns(UserWarning, match=r"5 rows to calibrate with"):
        few.predict_interval(table, 0.9)


def test_baseline_weighs_what_the_estimator_weighs():
    """Three copies tell no more than one: the linear model is not flattered, the error no smaller by sqrt(3)."""
    ratios = []
    for seed in (0, 1, 3):
        table, y, _ = make_table(50, seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BetterBaselineWarning)
            # The same companions for both: by itself the number of rows, copies counted, decides on them.
            model = ICLRegressor("nano", n_estimators=1, companions=("ridge",))
            copied = model.fit(pd.concat([table] * 3), np.tile(y, 3)).check_baseline()
            alone = model.fit(table, y).check_baseline()
        assert_allclose(copied.baseline_loss, alone.baseline_loss, rtol=0.1)
        ratios.append(copied.std_error / alone.std_error)
    assert 0.75 < np.exp(np.mean(np.log(ratios))) < 1.35


# Ridge columns


@pytest.mark.parametrize("n_classes", [None, 3])
def test_copies_do_not_flatter_ridge_columns(n_classes):
    """Noise that no column explains: the columns of a table repeated three times explain as little."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(100, 6)), rng.normal(size=100) if n_classes is None else rng.integers(0, 3, 100)
    group = np.tile(np.arange(100), 3)
    levels = np.zeros(6, int)
    torn = RidgeColumns(np.tile(X, (3, 1)), levels, np.tile(y, 3), n_classes)
    whole = RidgeColumns(np.tile(X, (3, 1)), levels, np.tile(y, 3), n_classes, group)
    once = RidgeColumns(X, levels, y, n_classes)
    assert torn.context_NS.shape[1] > 0 and whole.context_NS.shape[1] == once.context_NS.shape[1]
    if n_classes is None:
        assert once.context_NS.shape[1] == 0
    else:  # by luck a column clears the bar; copies then make its fit no bolder
        assert whole.context_NS.std() < 1.1 * once.context_NS.std() < 0.5 * torn.context_NS.std()


def test_weighted_ridge_columns_are_those_of_repeated_rows():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(80, 3))
    y = X[:, 0] + 0.5 * rng.normal(size=80)
    counts = rng.integers(1, 4, 80)
    rows = np.repeat(np.arange(80), counts)
    levels = np.zeros(3, int)
    weighted = RidgeColumns(X, levels, y, None, None, counts / counts.mean())
    repeated = RidgeColumns(X[rows], levels, y[rows], None, rows)
    asked = rng.normal(size=(9, 3))
    assert weighted(asked).shape[1] == 2
    assert_allclose(weighted(asked), repeated(asked), rtol=1e-4, atol=1e-5)
    assert_allclose(weighted.context_NS[rows], repeated.context_NS, rtol=1e-4, atol=1e-5)


# Coverage


def test_repeated_rows_leave_coverage_where_it_was():
    """Nano, every row three times: .488 before copies were kept together."""
    n_reps, n, m, level = 16, 30, 40, 0.8
    inside = []
    for rep in range(n_reps):
        table, y, _ = make_table(n + m, seed=300 + rep)
        known = pd.concat([table[:n]] * 3)
        model = ICLRegressor("nano", n_estimators=1, random_state=rep).fit(known, np.tile(y[:n], 3))
        low, high = model.predict_interval(table[n:], level, folds=5).T
        inside.append(np.mean((low <= y[n:]) & (y[n:] <= high)))
    error = np.std(inside) / math.sqrt(n_reps)
    assert level - 4 * error < np.mean(inside) < level + 0.06 + 4 * error
