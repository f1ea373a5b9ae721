"""The attention that is reported is the one that answers are made with."""

import numpy as np
import pytest
import torch

from icl.network.blocks import Attention


@pytest.fixture
def tables(seeded):
    X_BRF = torch.randn(2, 30, 4, generator=seeded(0))
    return X_BRF[:, :22], torch.randn(2, 22, generator=seeded(1)), X_BRF[:, 22:]


def test_shares_are_those_that_rows_are_read_with(tiny_model, seeded):
    """With one-hot values attention returns its own weights: against `read`, which predictions go through."""
    layer: Attention = tiny_model.blocks[0].over_rows
    H, E, K = layer.n_heads, tiny_model.config.d_embed, tiny_model.config.d_embed // layer.n_heads
    x_BME = torch.randn(1, 5, E, generator=seeded(2))
    keys = torch.randn(1, 1, H, K, E // H, generator=seeded(3))
    values = torch.eye(K).expand(1, 1, H, K, K)
    out = layer.out.weight.detach().clone()
    with torch.no_grad():
        layer.out.weight.copy_(torch.eye(E))
        try:
            read = layer.read(x_BME[:, :, None], torch.stack([keys, values])).unflatten(-1, (H, K)).mean(-2)[:, :, 0]
        finally:
            layer.out.weight.copy_(out)
        shares = layer.shares(x_BME, keys[:, 0])
    torch.testing.assert_close(shares, read, rtol=0, atol=1e-5)


def test_shares_sum_to_one_and_follow_the_order_of_the_context(tiny_model, tables, seeded):
    X_BNF, y_BN, X_BMF = tables
    shares = tiny_model.attention(X_BMF, tiny_model.read_context(X_BNF, y_BN))
    assert shares.shape == (2, 8, 22) and bool((shares > 0).all())
    torch.testing.assert_close(shares.sum(-1), torch.ones(2, 8))
    order = torch.randperm(22, generator=seeded(4))
    moved = tiny_model.attention(X_BMF, tiny_model.read_context(X_BNF[:, order], y_BN[:, order]))
    torch.testing.assert_close(moved, shares[..., order], rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("ignore:the context has 40 rows:UserWarning")  # that is what is tested
def test_rows_that_members_see_twice_or_not_at_all(tiny_release):
    """Shares come back to the rows of `fit`, where members see other rows, copies, or a class question's rows only."""
    from icl import ICLClassifier

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 3)), np.arange(40) % 8  # more classes than slots: a tree of questions
    model = ICLClassifier(checkpoint=tiny_release, max_rows=30).fit(X, y, sample_weight=rng.uniform(0.5, 2, 40))
    found = model.nearest_rows(X[:4], n=40)
    assert len(found) == 160 and set(found["label"]) == set(range(8))
    np.testing.assert_allclose(found.groupby("row")["share"].sum(), 1, atol=1e-6)
    assert (found.groupby("row")["share"].diff().dropna() <= 0).all()
    np.testing.assert_array_equal(found["label"], y[found["labeled"]])
