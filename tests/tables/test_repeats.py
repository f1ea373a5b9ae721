"""Copies of rows are found however they came about, and rows that are alike by nature are left alone."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from icl.tables.repeats import copies, same_rows


def table(seed: int, n: int = 30):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3)).astype(np.float32)
    X[:, 2] = rng.integers(0, 3, n)
    hidden = rng.random((n, 3)) < 0.2
    hidden[:, 0] = False  # the first column tells rows apart: none equals another by chance
    X[hidden] = np.nan
    return X, rng.normal(size=n), rng.integers(0, 3, n)


@given(st.integers(0, 2**32), st.lists(st.integers(0, 29), min_size=2, max_size=90), st.booleans())
def test_copies_are_found_whatever_is_repeated(seed, rows, is_class):
    X, y, label = table(seed)
    group = copies(X[rows], (label if is_class else y)[rows])
    assert_array_equal(group[:, None] == group, np.array(rows)[:, None] == rows)
    assert group[0] == 0 and np.all(np.diff(np.unique(group)) == 1)


@given(st.integers(0, 2**32))
def test_few_cells_of_classes_are_no_copies(seed):
    """Two columns of three levels, labels that differ within a cell: rows stand for themselves."""
    rng = np.random.default_rng(seed)
    X, y = rng.integers(0, 3, (80, 2)).astype(float), rng.integers(0, 3, 80)
    assert_array_equal(copies(X, y), np.arange(80))


@given(st.integers(0, 2**32), st.integers(2, 5))
def test_numbers_measured_twice_are_no_copies_unless_repeated(seed, k):
    """The same features with another outcome each time; then all of it repeated."""
    rng = np.random.default_rng(seed)
    X, y = np.repeat(rng.normal(size=(20, 2)), 3, axis=0), rng.normal(size=60)
    assert_array_equal(copies(X, y), np.arange(60))
    assert_array_equal(copies(np.tile(X, (k, 1)), np.tile(y, k)), np.tile(np.arange(60), k))


def test_zeros_and_gaps_are_equal_to_themselves():
    X = np.array([[0.0, np.nan], [-0.0, -np.nan], [0.0, 1.0]])
    assert_array_equal(same_rows(X), [0, 0, 1])
    assert_array_equal(same_rows(X, np.array([1, 2, 1])), [0, 1, 2])
