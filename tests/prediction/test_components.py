"""Components of numeric columns: uncorrelated, as loud as each other, whatever the units and gaps."""

import numpy as np
import pytest

from icl import ICLClassifier, ICLRegressor
from icl.prediction.components import Components


def table(n=200, f=5, seed=0, own=0.1):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 1)) + own * rng.normal(size=(n, f))


def test_components_of_the_context_are_white():
    X = table()
    parts = Components(X, 10)(X)
    assert parts.shape == (200, 5)
    np.testing.assert_allclose(parts.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(parts.T @ parts / 200, np.eye(5), atol=1e-5)
    # Of cells that are not cut off, the same space as the columns span.
    fitted = np.linalg.lstsq(np.c_[np.ones(200), parts], X, rcond=None)[0]
    np.testing.assert_allclose(np.c_[np.ones(200), parts] @ fitted, X, atol=0.05)


@pytest.mark.parametrize("unit", [1e-300, 1.0, 1e300])
def test_units_do_not_matter(unit):
    X = table()
    plain, scaled = Components(X, 10), Components(X * unit, 10)
    np.testing.assert_allclose(np.abs(scaled(X[:7] * unit)), np.abs(plain(X[:7])), atol=2e-6)


def test_rows_answer_one_by_one_and_gaps_and_far_cells_do_no_harm():
    X = table()
    X[::7, 2], X[5, 1] = np.nan, 1e12
    parts = Components(X, 10)
    whole = parts(X)
    assert np.isfinite(whole).all() and np.abs(whole).max() < 100
    np.testing.assert_allclose(np.concatenate([parts(row[None]) for row in X]), whole, atol=2e-6)
    assert np.isfinite(parts(np.full((2, 5), np.nan))).all()


def test_a_gap_between_near_copies_is_what_the_others_say():
    X, holes = table(400, own=0.02), np.random.default_rng(1)
    parts = Components(X[:300], 10)
    whole = parts(X[300:])
    gone = X[300:].copy()
    gone[:, 2] = np.nan
    some = np.where(holes.random(gone.shape) < 0.2, np.nan, X[300:])
    for rows in (gone, some):
        assert np.abs(parts(rows)).max() < 6
        # As far off as what is gone was loud: a column's own part, which one component in five is.
        assert np.square(parts(rows) - whole).mean() < 1.0
    shifted = X[300:] + 3 * (np.arange(5) == 1)
    assert np.abs(parts(shifted)).max() <= 6
    gappy = np.where(holes.random(X.shape) < 0.1, np.nan, X)
    assert np.abs(Components(gappy, 10)(gappy)).max() <= 6


def test_the_order_of_rows_does_not_matter():
    X = table(own=0.02)
    order = np.random.default_rng(2).permutation(len(X))
    np.testing.assert_allclose(Components(X[order], 10)(X), Components(X, 10)(X), atol=2e-6)


def grid(*levels):
    return np.stack(np.meshgrid(*[np.arange(n, dtype=float) for n in levels], indexing="ij"), -1).reshape(
        -1, len(levels)
    )


def twice(X, seed):
    """Each column a second time in another unit, in any order: degrees of two kinds, a code and its complement."""
    rng = np.random.default_rng(seed)
    both = np.c_[X, 1.8 * X * rng.choice([-1, 1], X.shape[1]) + 32]
    return both[:, rng.permutation(both.shape[1])]


CENTRAL = np.r_[2 * grid(2, 2, 2) - 1, 2 * np.eye(3), -2 * np.eye(3), np.zeros((6, 3))]
TIED = {
    "two columns": table(100, 2),
    "two opposed columns": table(100, 2) * [1, -1],
    "3^3 grid": grid(3, 3, 3),
    "3^4 grid": grid(3, 3, 3, 3),
    "2^6 grid": grid(2, 2, 2, 2, 2, 2),
    "panel": grid(12, 5, 3),
    "fraction": np.c_[grid(3, 3, 3), grid(3, 3, 3).sum(1) % 3],
    "central composite": CENTRAL,
    "balanced levels": np.eye(4)[np.arange(80) % 4],
    "copies": table(60, 2).repeat(3, 1),
    "copies from outside in": grid(2, 2, 2, 2)[np.arange(96) % 16][:, [0, 1, 2, 3, 3, 2, 1, 0]],
    "pairs of copies that are opposed": np.c_[table(60, 2), -table(60, 2)],
} | {f"twice, {seed}": twice(X, seed) for seed, X in enumerate([grid(2, 2, 2, 2), grid(3, 3, 3, 3), CENTRAL] * 5)}


@pytest.mark.parametrize("name", TIED)
def test_rounding_decides_no_tie(name):
    """Equal variances, equal loadings: neither the order of rows nor the last bits of cells turn a component."""
    X = TIED[name]
    parts = Components(X, 10)(X)
    assert np.allclose(parts.T @ parts / len(X), np.eye(parts.shape[1]), atol=1e-5)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        turned = Components(X[rng.permutation(len(X))], 10)(X)
        np.testing.assert_allclose(turned, parts, atol=2e-6)
        # Cells that are equal stay equal, or their ranks would tell them apart.
        assert [len(np.unique(c)) for c in turned.T] == [len(np.unique(c)) for c in parts.T]
        moved = X * (1 + 1e-15 * rng.normal(size=X.shape))
        np.testing.assert_allclose(Components(moved, 10)(X), parts, atol=2e-6)


@pytest.mark.parametrize("make", [ICLClassifier, ICLRegressor])
@pytest.mark.parametrize("name", ["3^3 grid", "3^4 grid", "central composite", "twice, 1"])
def test_the_order_of_rows_of_a_design_does_not_matter(make, name):
    X = TIED[name]
    rng = np.random.default_rng(1)
    y, order = X[:, 0] - X[:, 1] * X[:, -1] + rng.normal(size=len(X)), rng.permutation(len(X))
    y = y / y.std() if make is ICLRegressor else y > np.median(y)
    models = [make("nano", n_estimators=4, companions=(), random_state=0).fit(X[o], y[o]) for o in (slice(None), order)]
    one, other = (m.predict(X) if make is ICLRegressor else m.predict_proba(X) for m in models)
    np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize(
    ("cells", "most", "n_kept"),
    [
        (table(f=5), 3, 3),
        (np.repeat(table(f=1), 4, axis=1), 9, 1),  # columns that are one
        (table(n=4, f=6), 9, 3),  # fewer rows than columns
        (table(f=1), 9, 0),
        (np.ones((20, 3)), 9, 0),
        (np.full((20, 3), np.nan), 9, 0),
    ],
)
def test_how_many(cells, most, n_kept):
    assert Components(cells, most)(cells).shape == (len(cells), n_kept)


@pytest.mark.parametrize("make", [ICLClassifier, ICLRegressor])
def test_every_second_member_sees_them(make):
    X = table(120)
    y = X[:, 0] - X[:, 1]
    y = (y > 0).astype(int) if make is ICLClassifier else y

    def n_more(**options):
        model = make("nano", random_state=0, **options).fit(X[:100], y[:100])
        return [len(context.X_NF.T) - 5 for member in model._members for context in member.contexts]

    assert n_more(n_estimators=4, companions=()) == [0, 5, 0, 5]
    assert n_more(n_estimators=1, companions=()) == [0]
    beside = n_more(n_estimators=2, companions=("ridge",))
    assert beside[0] > 0 and beside[1] == beside[0] + 5


def test_what_is_left_of_a_size_is_read():
    """A difference of columns that repeat each other: members that see components read it, the others hardly do."""
    rng = np.random.default_rng(3)
    size = rng.normal(size=(600, 1))
    X = size + 0.02 * rng.normal(size=(600, 8))
    y = np.tanh(40 * (X[:, 0] - X[:, 1])) + np.square(40 * (X[:, 2] - X[:, 3])) / 4

    def r2(n_estimators):
        model = ICLRegressor("base", n_estimators=n_estimators, companions=(), random_state=0)
        answer = model.fit(X[:400], y[:400]).predict(X[400:])
        return 1 - np.square(answer - y[400:]).mean() / y[400:].var()

    without, with_them = r2(1), r2(2)
    assert with_them > without + 0.1


@pytest.mark.filterwarnings("ignore:the context has 120 rows")
@pytest.mark.parametrize("make", [ICLClassifier, ICLRegressor])
def test_a_member_may_be_shown_no_cell_of_a_column(make):
    """Of a nearly empty column all cells may lie among the rows that other members see."""
    X = np.random.default_rng(5).normal(size=(120, 5))
    X[1:, 0] = X[2:, 1] = np.nan
    y = X[:, 2] > 0 if make is ICLClassifier else X[:, 2]
    for options in ({"companions": ()}, {}):
        model = make("nano", n_estimators=3, max_rows=40, random_state=0, **options).fit(X, y)
        answer = model.predict_proba(X) if make is ICLClassifier else model.predict(X)
        assert np.isfinite(answer).all()


def test_what_a_cell_is_off_is_what_filling_it_would_miss():
    rng = np.random.default_rng(0)
    X = 3 + rng.normal(size=(200, 5)) @ rng.normal(size=(5, 5))
    components = Components(X, 0)
    off = components.off(X)
    for j in range(5):
        masked = X.copy()
        masked[:, j] = np.nan
        np.testing.assert_allclose(off[:, j], X[:, j] - components.fill(masked)[:, j], atol=1e-5)
    X[3, 2] = np.nan
    assert np.isnan(components.off(X)).sum() == 1
