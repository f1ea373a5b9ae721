"""Gaps of new rows where labelled rows have none: companions are asked with them filled, and nothing else changes."""

import pickle

import numpy as np
import pandas as pd
import pytest

from icl import ICLClassifier, ICLRegressor
from icl.prediction.companions.donors import Donors
from icl.prediction.companions.surprise import Surprise, mean_of_logarithms


@pytest.fixture
def cells():
    """Two near copies, a number apart from them, a column that often has gaps, and three levels."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=400)
    b, c, d = 5 + 3 * a + 0.01 * rng.normal(size=400), rng.normal(size=400), rng.normal(size=400)
    d[::4] = np.nan
    return np.stack([a, b, c, d, np.arange(400) % 3], 1).astype("f4"), np.array([0, 0, 0, 0, 3])


def seen_by(surprise, rows):
    """What a companion is asked."""
    asked = []
    surprise.answered(rows, lambda filled: (asked.append(filled), np.zeros((len(filled), 1)))[1])
    return asked


def test_rows_without_surprises_are_asked_as_they_are(cells):
    X, levels = cells
    [asked] = seen_by(Surprise(X, levels), X)  # with the gaps that the context has too
    assert asked is X


def test_a_number_is_what_the_others_say(cells):
    X, levels = cells
    rows = X[:4].copy()
    rows[0, 0] = rows[1, 1] = rows[2, 2] = rows[3, 3] = np.nan
    whole, draws = seen_by(Surprise(X, levels), rows)
    draws = draws.reshape(-1, 3, 5)  # the last row is no surprise
    assert len(draws) > 10 and whole is rows
    asked, spread = np.mean(draws, 0), np.std(draws, 0)
    np.testing.assert_allclose(asked[0, 0], X[0, 0], atol=0.03)  # by its near copy
    np.testing.assert_allclose(asked[1, 1], X[1, 1], atol=0.1)
    assert abs(asked[2, 2] - X[:, 2].mean()) < 0.5  # nothing says anything of it
    kept = ~np.isnan(rows[:3])
    np.testing.assert_allclose(asked[kept], rows[:3][kept], rtol=1e-6)
    assert (spread[kept] < 1e-6).all()
    # A Gaussian's conditional distribution: least squares on the other column, of many rows, and what it leaves.
    slope, intercept = np.polyfit(X[:, 0], X[:, 1], 1)
    np.testing.assert_allclose(asked[1, 1], intercept + slope * X[1, 0], atol=0.02)
    left = np.std(X[:, 1] - intercept - slope * X[:, 0])
    assert 0.5 * left < spread[1, 1] < 2 * left and 0.5 < spread[2, 2] < 2


def test_levels_are_borrowed_and_answers_averaged(cells):
    X, levels = cells
    rows = X[:3].copy()
    rows[0, 4] = np.nan
    surprise = Surprise(X, levels)
    answers = surprise.answered(rows, lambda filled: (filled[:, 4:] == np.arange(3)).astype(float))
    np.testing.assert_array_equal(answers[1:], np.eye(3)[1:])
    lent = surprise._donors.cells_NF[surprise._donors(rows[:1], 16)[0], 4].astype(int)
    np.testing.assert_allclose(answers[0], np.bincount(lent, minlength=3) / len(lent))
    assert answers[0].min() > 0.1  # a third each, give or take sixteen draws
    masses = surprise.answered(rows, lambda filled: np.log((filled[:, 4:] == np.arange(3)) + 0.5), mean_of_logarithms)
    np.testing.assert_allclose(np.exp(masses[0]), answers[0] + 0.5)


def test_donors_are_the_rows_most_like_it(cells):
    """By brute force over the cells that both have; the row itself comes first if the context holds it."""
    X, levels = cells
    donors = Donors(X, levels)
    rows = np.where(np.random.default_rng(3).random((40, 5)) < 0.3, np.nan, X[:40]).astype("f4")
    numbers = X[:, :4].astype(float)
    mean, std = np.nanmean(numbers, 0), np.nanstd(numbers, 0)
    scaled = lambda values: np.clip((values - mean) / std, -5, 5)
    for row, chosen in zip(rows, donors(rows, 16)):
        assert len(set(chosen)) == 16
        known = ~np.isnan(row)
        apart = np.where(np.isnan(donors.cells_NF), 2.0, 0.0)
        apart[:, :4] += np.nan_to_num(np.square(scaled(donors.cells_NF[:, :4]) - scaled(row[:4])))
        apart[:, 4] = 2.0 * (donors.cells_NF[:, 4] != row[4])
        apart = apart[:, known].sum(1)
        assert apart[chosen].max() <= np.sort(apart)[15] + 1e-5
        assert not known.all() or apart[chosen].min() < 1e-5


def test_donors_of_rows_of_the_context_are_those_they_had_without_a_cell(cells):
    X, levels = cells
    donors = Donors(X, levels)
    found = list(donors.of_others(30, 17))
    assert len(found) == 4
    for j, near in enumerate(found):
        rows = donors.cells_NF[:30].copy()
        rows[:, j] = np.nan
        for i, (own, wanted) in enumerate(zip(near, donors(rows, 17))):
            assert set(own) - {-1} == set(wanted) - {i}


def test_rows_that_tie_are_drawn_from_all():
    """Of a row with no cells, or of equal ones, donors are spread over the context, and more than it has are not."""
    X = np.stack([np.sort(np.random.default_rng(0).normal(size=1000)), np.zeros(1000)], 1).astype("f4")
    donors = Donors(X, np.array([0, 2]))
    empty = np.full((9, 2), np.nan, "f4")
    lent = donors.cells_NF[donors(empty, 16), 0]
    assert np.quantile(X[:, 0], 0.3) < np.median(lent) < np.quantile(X[:, 0], 0.7) and lent.std() > 0.5
    np.testing.assert_array_equal(donors(empty, 16)[0], donors(empty[:1], 16)[0])
    assert donors(empty, 2000).shape == (9, 1000)


def test_what_donors_are_off_counts_where_relations_are_no_lines():
    """A column on a parabola of another takes its donors' word, one on a line or apart from all does not."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=500)
    columns = [a, a**2 + 0.1 * rng.normal(size=500), 2 * a + 0.5 * rng.normal(size=500), rng.normal(size=500)]
    X = np.stack(columns, 1).astype("f4")
    surprise = Surprise(X, np.zeros(4, int))
    kept = surprise._kept_f
    assert kept.shape == (4,) and kept[1] > 0.8 and kept[2] < 0.3 and kept[3] < 0.3
    rows = X[:200].copy()
    rows[:, 1] = rows[:, 3] = np.nan
    _, draws = seen_by(surprise, rows)
    mean = draws.reshape(-1, 200, 4).mean(0)
    assert np.square(mean[:, 1] - X[:200, 1]).mean() < 0.2 * X[:, 1].var()
    # Of sixteen draws alone the mean of what nothing says would be off by a sixteenth of its variance.
    assert np.square(mean[:, 3] - X[:, 3].mean()).mean() < 0.03 * X[:, 3].var()


def test_answers_hang_on_neither_other_rows_nor_the_order_of_the_context(cells):
    X, levels = cells
    rng = np.random.default_rng(1)
    rows = np.where(rng.random((60, 5)) < 0.3, np.nan, X[:60]).astype("f4")
    weights = np.random.default_rng(2).normal(size=(5, 2))
    ask = lambda filled: np.nan_to_num(filled) @ weights
    whole = Surprise(X, levels).answered(rows, ask)
    for i in (0, 7, 31):
        alone = Surprise(X, levels).answered(rows[i : i + 1], ask)
        np.testing.assert_allclose(alone[0], whole[i], rtol=1e-6, atol=1e-6)
    other = Surprise(X[rng.permutation(400)], levels).answered(rows, ask)
    np.testing.assert_allclose(other, whole, rtol=1e-4, atol=1e-4)


def test_many_columns_are_borrowed():
    X = np.random.default_rng(0).normal(size=(50, 120)).astype("f4") + 2
    rows = X[:2].copy()
    rows[0, 5] = np.nan
    surprise = Surprise(X, np.zeros(120, int))
    _, draws = seen_by(surprise, rows)
    [donors] = surprise._donors(rows[:1], 16)
    np.testing.assert_allclose(draws[:, 5], surprise._donors.cells_NF[donors, 5], rtol=1e-5)


@pytest.mark.parametrize("Estimator", [ICLClassifier, ICLRegressor])
def test_companions_do_no_harm_where_new_rows_lack_cells(Estimator):
    """A tenth of the cells of new rows gone, columns that say much of each other: better than without companions."""
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(700, 3))
    X = pd.DataFrame(np.repeat(Z, 4, axis=1) + 0.1 * rng.normal(size=(700, 12)))
    y = Z[:, 0] + np.abs(Z[:, 1]) * Z[:, 2] + 0.1 * rng.normal(size=700)
    y = (y > 0).astype(int) if Estimator is ICLClassifier else y
    new = X[300:].mask(rng.random((400, 12)) < 0.1)
    fit = lambda **options: Estimator("nano", n_estimators=1, **options).fit(X[:300], y[:300])

    def loss(model):
        if Estimator is ICLRegressor:
            return np.mean((model.predict(new) - y[300:]) ** 2)
        return -np.log(model.predict_proba(new)[np.arange(400), y[300:]]).mean()

    assert loss(fit()) < loss(fit(companions=()))


def test_nothing_is_kept_of_rows_that_are_gone(cells):
    """Filled once for all companions; a predictor that has answered holds neither the rows nor how they were filled."""
    X, levels = cells
    surprise = Surprise(X, levels)
    whole = np.where(np.random.default_rng(0).random((40, 5)) < 0.3, np.nan, X[:40]).astype("f4")
    rows, other = whole[:20], whole[20:]
    first, second = (seen_by(surprise, rows)[1] for _ in range(2))
    assert first.base is not None and np.shares_memory(first, second)
    assert not np.array_equal(seen_by(surprise, other)[1], first, equal_nan=True)
    np.testing.assert_array_equal(seen_by(surprise, rows)[1], first)
    kept = pickle.loads(pickle.dumps(surprise))
    assert kept._last == (None, []) and surprise._last[1]
    del rows
    assert surprise._last == (None, [])
