"""Ridge columns against scikit-learn's ridge, and the laws that keep a context honest."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from icl import ICLRegressor
from icl.prediction.companions.ridge import _PENALTIES, RidgeColumns, _by_columns, _by_rows, _folds, _Ridge


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 5))
    y = X[:, 0] - 2 * X[:, 1] + 0.5 * rng.normal(size=400)
    return X, (y - y.mean()) / y.std()


def columns(X, y, n_classes=None, n_levels=None):
    return RidgeColumns(X, np.zeros(X.shape[1], int) if n_levels is None else n_levels, y, n_classes)


def test_penalty_and_predictions_are_those_of_scikit_learn(table):
    """The leave-one-out error in closed form, against 60 fits for each of three penalties; then the predictions."""
    A, y = table[0][:60] - table[0][:60].mean(0), (table[1][:60] - table[1][:60].mean())[:, None]
    ours = _Ridge(A, y, None)
    assert ours._penalty in _PENALTIES
    k = int(np.flatnonzero(ours._penalty == _PENALTIES)[0])

    def loo(penalty):
        total = 0.0
        for i in range(60):
            rest = np.arange(60) != i
            total += float((Ridge(penalty).fit(A[rest], y[rest, 0]).predict(A[i : i + 1])[0] - y[i, 0]) ** 2)
        return total

    errors = [loo(_PENALTIES[j]) for j in (k - 1, k, k + 1)]
    assert errors[1] <= min(errors) + 1e-9
    null = sum((y[i, 0] - np.delete(y[:, 0], i).mean()) ** 2 for i in range(60))
    assert abs(ours.gain - (1 - errors[1] / null)) < 1e-9
    theirs = Ridge(ours._penalty).fit(A, y[:, 0])
    np.testing.assert_allclose(ours.predict(A[:7])[:, 0], theirs.predict(A[:7]), atol=1e-10)
    fold = _folds(A, y[:, 0])
    rest = fold != 3
    theirs = Ridge(ours._penalty, fit_intercept=False).fit(A[rest], y[rest, 0])
    np.testing.assert_allclose(ours.out_of_fold(A, y, fold)[~rest, 0], theirs.predict(A[~rest]), atol=1e-10)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_rows", [40, 75])
def test_few_rows_are_left_out_as_many_are(table, n_rows, weighted):
    """By products of rows, of which there are fewer than columns, as by products of columns; so are the weights."""
    A, y = table[0][:n_rows], table[1][:n_rows, None]
    weight = np.linspace(1e-6, 2, n_rows) if weighted else None
    ours = _Ridge(A, y, 0.3, weight)
    root = 1.0 if weight is None else np.sqrt(weight)[:, None]
    Phi, Y = ours._features(A) * root, y * root
    assert Phi.shape[1] > n_rows
    for held in (np.arange(3, 9), np.array([0])):
        by_rows, by_columns = (way(Phi, Y, ours._penalty)(held) for way in (_by_rows, _by_columns))
        np.testing.assert_allclose(by_rows, by_columns, atol=1e-8)
        rest = np.setdiff1d(np.arange(n_rows), held)
        theirs = Ridge(ours._penalty, fit_intercept=False).fit(Phi[rest], Y[rest, 0]).coef_
        np.testing.assert_allclose(by_rows[:, 0], theirs, atol=1e-8)
    whole = Ridge(ours._penalty, fit_intercept=False).fit(Phi, Y[:, 0])
    expected = np.clip(whole.predict(ours._features(A)), y.min(), y.max())
    np.testing.assert_allclose(ours.predict(A)[:, 0], expected, atol=1e-8)


def test_a_row_never_sees_its_own_target(table):
    """Moving one target moves its own out-of-fold prediction only through the common penalty, not directly."""
    X, y = table
    A, Y = X - X.mean(0), y[:, None]
    ridge = _Ridge(A, Y, 1.0)
    moved = Y.copy()
    moved[5] += 3.0
    fold = _folds(A, y)
    before, after = ridge.out_of_fold(A, Y, fold), ridge.out_of_fold(A, moved, fold)
    same = fold == fold[5]
    np.testing.assert_allclose(before[same], after[same], atol=1e-9)
    assert np.abs(before[~same] - after[~same]).max() > 1e-4


def test_columns_are_as_good_in_the_context_as_among_queries(table):
    X, y = table
    made = columns(X[:300], y[:300])
    inside = 1 - ((made.context_NS - y[:300, None]) ** 2).mean(0) / y[:300].var()
    outside = 1 - ((made(X[300:]) - y[300:, None]) ** 2).mean(0) / y[300:].var()
    assert made.context_NS.shape == (300, 2)
    assert (inside > 0.85).all()
    np.testing.assert_allclose(inside, outside, atol=0.06)


def test_folds_follow_the_rows_wherever_they_stand(table):
    X, y = table
    fold, order = _folds(X, y), np.random.default_rng(4).permutation(400)
    assert np.array_equal(_folds(X[order], y[order]), fold[order])
    assert np.array_equal(np.bincount(fold), np.full(10, 40))
    means = [y[fold == k].mean() for k in range(10)]
    assert np.std(means) < 0.2 * y.std() / np.sqrt(40)  # of folds at random: 1 in place of .2


def test_noise_makes_no_column_and_does_not_leak(table):
    """Where nothing can be found hardly anything is made; what is made does not tell the target of its own row."""
    made, leaks = 0, []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        X, y = rng.normal(size=(60, 4)), rng.normal(size=60)
        found = columns(X, (y - y.mean()) / y.std()).context_NS
        made += found.shape[1]
        leaks += [np.corrcoef(column, y)[0, 1] for column in found.T]
    assert made < 30  # of 120
    # Chosen because they happened to predict, so above 0; a leak would show as a strong correlation of either sign.
    assert 0 < np.mean(leaks) < 0.35


@pytest.mark.parametrize("n_classes", [2, 4])
def test_classes_get_a_column_each_and_two_classes_one(n_classes):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(200, 3))
    codes = np.digitize(X[:, 0] + 0.2 * rng.normal(size=200), np.linspace(-1, 1, n_classes + 1)[1:-1])
    made = columns(X, codes, n_classes)
    assert made.context_NS.shape == (200, 2 if n_classes == 2 else n_classes)
    assert made.context_NS.shape[1] <= RidgeColumns.most(n_classes)
    right = made.context_NS[:, :1] > 0 if n_classes == 2 else made.context_NS.argmax(1)[:, None]
    assert (right[:, 0] == codes).mean() > 0.6


def test_categories_gaps_and_extreme_cells_are_taken():
    rng = np.random.default_rng(2)
    level = rng.integers(0, 50, 300)
    X = np.stack([level.astype(float), rng.normal(size=300), np.full(300, 1e300), rng.normal(size=300)], 1)
    X[::3, 1] = np.nan
    X[0, 2] = -1e300
    X[level == 3, 0] = np.nan
    y = np.where(level < 10, 1.0, -1.0) + 0.1 * rng.normal(size=300)
    made = columns(X, (y - y.mean()) / y.std(), n_levels=np.array([50, 0, 0, 0]))
    assert made.context_NS.shape[1] > 0 and np.isfinite(made.context_NS).all()
    new = made(np.array([[49.0, np.nan, np.inf, 0.0], [np.nan, 1.0, -1e308, 1e308]]))
    assert np.isfinite(new).all()
    wide = rng.normal(size=(80, 900))
    assert columns(wide, (wide[:, 7] > 0).astype(int), 2).context_NS.shape[0] == 80


def test_fewer_than_thirty_rows_make_none_and_rows_do_not_depend_on_each_other(table):
    X, y = table
    assert columns(X[:29], y[:29]).context_NS.shape == (29, 0)
    made = columns(X[:200], y[:200])
    np.testing.assert_allclose(made(X[200:])[:1], made(X[200:201]), rtol=1e-6)


def test_a_linear_table_is_predicted_better_with_them(table):
    """Twenty columns that all count: what a small model blurs and a ridge regression does not."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(260, 20))
    y = X @ rng.normal(size=20)
    errors = {
        companions: np.square(
            ICLRegressor("nano", n_estimators=1, companions=companions).fit(X[:200], y[:200]).predict(X[200:]) - y[200:]
        ).mean()
        for companions in (("ridge",), ())
    }
    assert errors["ridge",] < 0.5 * errors[()]


def test_the_switch_of_earlier_versions_still_works(table):
    X, y = table[0][:60], table[1][:60]
    with pytest.raises(ValueError, match="stacking must be True or False"):
        ICLRegressor(stacking=3).fit(X, y)
    for stacking, companions in ((True, ["ridge"]), (False, [])):
        with pytest.warns(FutureWarning, match="stacking is deprecated"):
            switched = ICLRegressor("nano", n_estimators=1, stacking=stacking).fit(X, y)
        assert switched.companions_ == companions
