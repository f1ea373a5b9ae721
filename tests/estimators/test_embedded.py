"""Rows as vectors: laws of `embed`."""

import numpy as np
import pandas as pd
import pytest

from icl import ICLClassifier, ICLRegressor


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "age": rng.normal(50, 10, 60),
            "sex": rng.choice(["F", "M"], 60),
            "dose": np.where(rng.random(60) < 0.2, np.nan, rng.random(60)),
        }
    )
    return X, X["age"].to_numpy() + 5 * (X["sex"] == "F") + rng.normal(0, 2, 60)


@pytest.fixture(params=[ICLRegressor, ICLClassifier])
def fitted(request, table, tiny_release):
    X, y = table
    model = request.param(checkpoint=tiny_release, n_estimators=2)
    return model.fit(X, y if request.param is ICLRegressor else np.where(y > 55, "old", "young"))


def test_a_row_has_the_same_vector_alone_and_among_others(fitted, table):
    X, _ = table
    whole = fitted.embed(X)
    assert whole.shape == (60, 2 * fitted._base_model().config.d_embed) and whole.dtype == np.float32
    assert np.ptp(whole, axis=0).max() > 0.1  # rows differ
    np.testing.assert_allclose(np.concatenate([fitted.embed(X.iloc[[i]]) for i in range(5)]), whole[:5], atol=1e-5)
    order = np.random.default_rng(1).permutation(60)
    np.testing.assert_allclose(fitted.embed(X.iloc[order]), whole[order], atol=1e-5)


def test_blocks_of_rows_do_not_show(fitted, table):
    X, _ = table
    many = pd.concat([X] * 10, ignore_index=True)
    np.testing.assert_allclose(fitted.embed(many)[300:360], fitted.embed(X), atol=1e-5)


def test_order_of_labelled_rows_and_of_columns_is_irrelevant(fitted, table):
    X, y = table
    order = np.random.default_rng(2).permutation(60)
    labels = y if isinstance(fitted, ICLRegressor) else np.where(y > 55, "old", "young")
    other = type(fitted)(**fitted.get_params(deep=False)).fit(X.iloc[order], labels[order])
    np.testing.assert_allclose(other.embed(X), fitted.embed(X), atol=1e-4)
    np.testing.assert_array_equal(fitted.embed(X[["dose", "sex", "age"]]), fitted.embed(X))


def test_no_rows_and_rows_without_cells(fitted, table):
    X, _ = table
    assert fitted.embed(X.iloc[:0]).shape == (0, fitted.embed(X[:1]).shape[1])
    assert np.isfinite(fitted.embed(X.iloc[:1].assign(age=np.nan, dose=np.nan, sex=None))).all()


def test_the_heads_read_the_vectors(table, tiny_release):
    """A linear head on the vectors of a network without companions gives the network's scores."""
    X, y = table
    model = ICLRegressor(checkpoint=tiny_release, n_estimators=1, companions=()).fit(X, y)
    network = model._base_model()
    import torch

    scores = network.bin_head(torch.from_numpy(model.embed(X[:9]))).double().detach()
    expected = model.predict_distribution(X[:9])
    assert len(model.atoms_) == 0
    np.testing.assert_allclose(torch.log_softmax(scores, -1).numpy(), expected.log_probs.numpy(), atol=1e-4)


def test_unfitted_is_refused(table):
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        ICLRegressor().embed(table[0])
