"""The kernels against PyTorch's own in float64."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from icl.network import kernels

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(params=[True, False], ids=["onednn", "plain"])
def onednn(request, monkeypatch):
    if request.param and not kernels._HAS_ONEDNN:
        pytest.skip("this build of PyTorch has no oneDNN")
    monkeypatch.setattr(kernels, "_HAS_ONEDNN", request.param)
    with torch.no_grad():
        yield


@pytest.mark.parametrize("gelu", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_linear_is_the_layer(onednn, gelu, bias, seeded):
    layer = nn.Linear(12, 7, bias=bias)
    x = torch.randn(3, 5, 4, 12, generator=seeded(0))
    exact = layer.double()(x.double())
    exact = nn.functional.gelu(exact) if gelu else exact
    assert_close(kernels.linear(x, layer.float(), gelu).double(), exact, **CLOSE)
    assert kernels.linear(x[:0], layer, gelu).shape == (0, 5, 4, 7)


@pytest.mark.parametrize("n_queries", [1, None], ids=["one token asks", "all ask"])
@pytest.mark.parametrize("n_tokens", [1, 2, kernels._FEW_TOKENS, kernels._FEW_TOKENS + 1, 9])
def test_attention_within_a_row_is_softmax_of_scores_times_values(n_tokens, n_queries, seeded):
    q, k, v = torch.randn(3, 40, n_tokens, 2, 8, generator=seeded(3))
    q = q[:, -n_queries:] if n_queries else q
    scores = torch.einsum("zqhd,zthd->zqth", q.double(), k.double()) / 8**0.5
    exact = torch.einsum("zqth,zthd->zqhd", scores.softmax(2), v.double())
    with torch.no_grad():
        assert_close(kernels.attend_within(q, k, v).double(), exact, **CLOSE)
    assert_close(kernels.attend_within(q, k, v).double(), exact, **CLOSE)  # where gradients are kept


@pytest.mark.parametrize("scale", [1.0, 4.0], ids=["bounded scores", "large scores"])
@pytest.mark.parametrize(("n_queries", "n_keys"), [(1, 300), (300, 40), (200, 260), (131, 9000)])
def test_attention_is_softmax_of_scores_times_values(onednn, n_queries, n_keys, scale, seeded):
    q = torch.randn(2, n_queries, 3, 2, 8, generator=seeded(1)) * scale
    k, v = torch.randn(2, 2, 3, 2, n_keys, 8, generator=seeded(2))
    scores = torch.einsum("blthd,bthkd->blthk", q.double(), k.double())
    exact = torch.einsum("blthk,bthkd->blthd", scores.softmax(-1), v.double())
    assert_close(kernels.attend(q, k, v).double(), exact, **CLOSE)


def test_attention_with_scores_beyond_the_range_of_exp_is_finite(onednn, seeded):
    """Scores of several hundred: their powers would overflow, their softmax picks the best key."""
    k, v = torch.randn(2, 1, 1, 1, 200, 8, generator=seeded(6))
    k = torch.nn.functional.normalize(k, dim=-1)
    q = 700 * k.permute(0, 3, 1, 2, 4)  # each query matches its own key
    assert_close(kernels.attend(q, k, v), v.permute(0, 3, 1, 2, 4), rtol=1e-4, atol=1e-4)


def test_rows_split_into_tiles_get_the_same_answers(onednn, seeded, monkeypatch):
    q = torch.randn(1, 700, 2, 1, 8, generator=seeded(3))
    k, v = torch.randn(2, 1, 2, 1, 150, 8, generator=seeded(4))
    whole = kernels.attend(q, k, v)
    monkeypatch.setattr(kernels, "TILE", 150 * 192)
    assert_close(kernels.attend(q, k, v), whole, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [(3, 5, 12), (1, 300, 12), (40, 12), (2, 7, 24)])
def test_gradients_of_a_product_are_those_of_pytorch(shape, seeded):
    """Also where the input is a slice of wider rows."""
    layer = nn.Linear(12, 7)
    wide = torch.randn(shape, generator=seeded(5))
    answers = []
    for product in (lambda x: kernels.linear(x, layer, gelu=True), lambda x: nn.functional.gelu(layer(x))):
        leaf = wide.clone().requires_grad_()
        out = product(leaf[..., :12])
        answers.append((out, *torch.autograd.grad(out.square().sum(), [leaf, layer.weight, layer.bias])))
    for ours, theirs in zip(*answers, strict=True):
        assert_close(ours, theirs, **CLOSE)


def test_attention_of_more_rows_than_a_device_takes_is_that_of_all(seeded, monkeypatch):
    """In parts, with gradients; CUDA's takes 65,535 rows, here 7."""
    inputs = [torch.randn(17, 2, 5, 8, generator=seeded(k), requires_grad=True) for k in range(3)]
    whole = kernels.fused_attention(*inputs)
    expected = torch.autograd.grad(whole.square().sum(), inputs)
    monkeypatch.setitem(kernels.MOST_ROWS, "cpu", 7)
    parts = kernels.fused_attention(*inputs)
    assert torch.equal(parts, whole)
    for a, b in zip(torch.autograd.grad(parts.square().sum(), inputs), expected):
        assert torch.equal(a, b)
